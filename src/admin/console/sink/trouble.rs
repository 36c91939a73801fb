//! What of a sink did not go as it should: which keys wait, and what was wrong when.

use std::sync::Arc;

use maud::{Markup, html};

use crate::admin::console::{dead_letters, incidents};
use crate::admin::refusal::Refusal;
use crate::admin::{Shown, beside};
use crate::alert::store::{self as alerts, Incident};
use crate::delivery::{DeadLetter, DeadLetterFilter, newest_dead_letters};

/// So many of each are shown.
const NEWEST: u32 = 25;

/// What is shown.
#[derive(Debug)]
pub(super) struct Trouble {
    /// Events that go on trying, and those that wait behind them.
    waiting: Vec<DeadLetter>,
    incidents: Vec<Incident>,
}

/// Reads what there is of a sink.
pub(super) async fn read(shown: &Arc<dyn Shown>, sink: &str) -> Result<Trouble, Refusal> {
    let sink = sink.to_owned();
    beside::read(shown, move |_, reader| {
        Ok(reader.read(|connection| {
            let mut waiting = Vec::new();
            for state in ["retrying", "blocked"] {
                let filter = DeadLetterFilter {
                    sink: Some(sink.clone()),
                    state: Some(state.to_owned()),
                    ..DeadLetterFilter::default()
                };
                waiting.extend(newest_dead_letters(connection, &filter, i64::MAX, NEWEST)?);
            }
            let filter = alerts::Filter { sink: Some(sink), ..alerts::Filter::default() };
            Ok(Trouble { waiting, incidents: alerts::list(connection, &filter, NEWEST)? })
        })?)
    })
    .await
}

/// Shows it; nothing where there is nothing.
pub(super) fn section(trouble: &Trouble) -> Markup {
    html! {
        @if !trouble.waiting.is_empty() {
            section.card {
                h2 { "Keys that wait" }
                p.note { "An event that is retrying goes on by itself; what came after it for the same key is blocked until it is through, a dead letter, or discarded. Other keys flow." }
                (dead_letters::rows(&trouble.waiting))
            }
        }
        @if !trouble.incidents.is_empty() {
            section.card {
                h2 { "What was wrong" }
                (incidents::table(&trouble.incidents))
            }
        }
    }
}
