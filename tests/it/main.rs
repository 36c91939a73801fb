//! Tests of walgate as a whole: a module a promise, against real servers.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking, and its helpers too"
)]

mod admin;
mod alerts;
mod binary;
mod bounds;
mod cluster;
mod console;
mod decoder;
mod delivers;
mod dlq;
mod dependencies;
mod disk;
mod docs;
mod doctor;
mod fits;
mod examples;
mod filters;
mod forgets;
mod formats;
mod holds;
mod isolation;
mod journal;
mod large;
mod layers;
mod loads;
mod lost;
mod map;
mod mapping_tests;
mod messages;
mod off;
mod order;
mod outage;
mod otlp;
mod outbox;
mod paces;
mod reconnects;
mod replay;
mod resumes;
mod rows;
mod schedules;
mod schema;
mod shadow;
mod sinks;
mod slots;
mod source;
mod status;
mod stops;
mod streams;
mod support;
mod tap;
mod top;
mod trace;
mod truncates;
mod unsendable;
mod values;
mod versions;
mod watches;
