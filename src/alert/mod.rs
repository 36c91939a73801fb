//! Alerts: what is watched, when it is too much, who is told how often, and what is kept of it.
//!
//! Everything that decides is pure: time and what was seen are arguments. It knows neither how a
//! sink is served nor how a notice travels; that is the pipeline's.
//!
//! ```text
//! Seen ─► Evaluator ─► Happening ─► incidents (store) ─► Notice ─► Post (per destination)
//! ```

mod evaluator;
mod measure;
mod notice;
mod post;
mod rule;
mod seen;
pub mod store;
#[cfg(test)]
mod tests;
mod usual;
mod words;

pub use self::evaluator::{Change, Evaluator, Happening, Standing};
pub use self::notice::{Instance, Notice, Status, folded};
pub use self::post::{Next, Post};
pub use self::rule::{Form, Rule, Subject, Threshold, To, When, in_force};
pub use self::seen::{Seen, SinkSeen, SourceSeen};
