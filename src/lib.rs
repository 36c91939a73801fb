//! walgate: change data capture from PostgreSQL that does not lose a record.
//!
//! ```text
//! slot ─► source ─► journal ─► mapping ─► delivery ─► sink ─► the outside
//!   ▲     Chunk      Chunk     Envelope   &[Envelope]  │
//!   └── confirmed ◄── progress ◄── acknowledged ◄──────┘        (the one way back)
//! ```
//!
//! A change is done only when its destination has acknowledged it, and until then it is held
//! where a crash cannot reach it. The modules below stand in the order in which a change travels.

// words: values that travel the line, no I/O
pub mod lsn;
pub mod relation;
pub mod chunk;
pub mod change;
pub mod envelope;
pub mod failure;
pub mod secret;

// getting into a server: for the one that is read, and those that are written to
pub mod libpq;

// the line, in the order a change travels it
pub mod source;
pub mod pgoutput;
pub mod journal;
pub mod mapping;
pub mod delivery;
pub mod sink;
pub mod progress;

// the frame around the line
pub mod state;
pub mod alert;
pub mod inspect;
pub mod admin;
pub mod otlp;
pub mod pipeline;
pub mod config;
pub mod telemetry;
pub mod demo;
pub mod cli;
