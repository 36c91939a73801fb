//! The whole thing at once on a throw-away Postgres: what `walgate demo` runs.
//!
//! Knows nothing of how the line works inside: it starts the program as a user would.

pub mod cluster;
