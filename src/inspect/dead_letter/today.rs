//! What would be sent of a dead letter today.

use super::Originals;
use crate::config::Config;
use crate::delivery::DeadLetterShown;
use crate::inspect::{Error, label};
use crate::mapping::{Mapped, SinkMapper};
use crate::state::Reader;

/// What today's route makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Today {
    /// This body.
    Event(String),
    /// Nothing, for this reason.
    Not(String),
}

/// Maps a dead letter as its route is now.
///
/// # Errors
/// When the state can't be read, or the change can't be decoded.
pub fn today(
    config: &Config,
    reader: &Reader,
    letter: &DeadLetterShown,
    originals: &mut Originals<'_>,
) -> Result<Today, Error> {
    let not = |why: &str| Ok(Today::Not(why.to_owned()));
    let Some((chunk, entry)) = originals.change(letter) else {
        return not("The original is no longer kept.");
    };
    let routes = config.routes.iter().filter(|route| route.sink == letter.listed.sink);
    let Some(route) = routes.clone().find(|route| route.is_called(&letter.listed.route)) else {
        return not("The config no longer has its route.");
    };
    let sink = config.sinks.iter().find(|sink| sink.name == route.sink);
    let Some(sink) = sink else { return not("The config no longer has its sink.") };
    let mut mapper = SinkMapper::new(vec![route.clone()], &label(reader)?, sink.format);
    let mut body = Vec::new();
    Ok(match mapper.map(&chunk, entry, &mut body)? {
        Mapped::Event(draft) => {
            let body = body.get(draft.body).unwrap_or_default();
            Today::Event(String::from_utf8_lossy(body).into_owned())
        }
        Mapped::Unrouted => Today::Not("Its route would not take it.".to_owned()),
        Mapped::Skipped { reason, .. } => Today::Not(format!("It would be skipped: {reason}")),
        Mapped::Rejected { field, reason, .. } => {
            Today::Not(format!("It would be rejected: field `{field}` {reason}"))
        }
    })
}
