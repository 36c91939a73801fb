//! The admin listener: health, metrics, the events that receivers fetch, the interface that does
//! over HTTP what commands do, and the console.
//!
//! Knows how to answer, not what is true: what only the run knows it asks of a [`Shown`], which the
//! pipeline gives it; the rest it reads beside the run, by [`crate::inspect`], as commands do. What
//! is to change is asked of the run as commands ask it.

mod answer;
mod api;
mod beside;
mod console;
mod family;
mod fetch;
mod figures;
mod guard;
mod health;
mod listener;
mod metrics;
mod query;
mod refusal;
mod session;
mod trial;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::config::Config;
use crate::delivery::Polled;
use crate::lsn::Lsn;

pub use family::{Family, FamilyKind, Sample, SampleValue};
pub use figures::{Figures, SinkFigures, SourceFigures};
pub use listener::serve;
pub use metrics::families;

/// What a run shows of itself.
pub trait Shown: Send + Sync + fmt::Debug {
    /// Returns what it was told to do. State and journal are read where that says, beside the run,
    /// as commands do.
    fn config(&self) -> &Arc<Config>;

    /// Returns why the process or its state does not work; empty when both do.
    fn ailments(&self) -> Vec<String>;

    /// Returns why it does not do its work: the source is not attached, a sink is halted. Empty
    /// when it does.
    fn hindrances(&self) -> Vec<String>;

    /// Returns what is counted and measured, as it is now.
    fn figures(&self) -> BoxFuture<'_, Figures>;

    /// Whether the run has its sinks.
    fn is_open(&self) -> bool;

    /// Returns the sink of this name that receivers fetch from; none when there is none.
    fn polled(&self, sink: &str) -> Option<Polled>;

    /// Returns where the server's log ends, as far as that is known.
    fn server_end(&self) -> Option<Lsn>;
}
