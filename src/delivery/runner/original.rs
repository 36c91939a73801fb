//! The originals of events that were set aside.

use std::sync::Arc;

use super::super::dead_letter::{self, Source};
use super::super::registry::{self, NotKept};
use crate::chunk::Chunk;
use crate::envelope::Envelope;
use crate::failure::{Category, chain};
use crate::journal::{Journal, record};
use crate::lsn::EventId;
use crate::mapping::{Mapping, Route};
use crate::sink::Failure;
use crate::state::State;

/// What is needed to send a stored event again; none when it is not to be sent any more.
pub(in crate::delivery) type Found = Option<Loaded>;

/// A stored event under way.
#[derive(Clone, Debug)]
pub(in crate::delivery) struct Loaded {
    pub(in crate::delivery) chunk: Arc<Chunk>,
    pub(in crate::delivery) entry: u32,
    /// The version of the mapping to use; none: today's.
    pub(in crate::delivery) mapping: Option<Arc<Mapping>>,
    /// What was made of it.
    pub(super) sent: Option<Box<Envelope>>,
}

/// Reads the original of a stored event, from its row or from the journal. Its version of a
/// mapping is read for the mappings that the routes have today.
pub(in crate::delivery) async fn load(
    state: &State,
    journal: Arc<Journal>,
    row: i64,
    event: EventId,
    routes: Vec<Arc<Route>>,
) -> Result<Found, Failure> {
    let broken = |message: String| Failure::new(Category::Transient, message);
    let source = state.read(move |connection| {
        let Some(Source { original, mapping }) = dead_letter::source(connection, row)? else {
            return Ok(None);
        };
        let mapping = match mapping {
            Some((name, version)) => {
                let today = registry::mapping_today(&routes, &name).map(Arc::as_ref);
                Some(registry::mapping(connection, &name, version, today)?)
            }
            None => None,
        };
        Ok(Some((original, mapping.transpose())))
    });
    let Some((original, mapping)) = source.await.map_err(|error| broken(error.to_string()))? else {
        return Ok(None);
    };
    let unknown = |error: NotKept| Failure::new(Category::Rejected, chain(&error));
    let mapping = mapping.map_err(unknown)?.map(Arc::new);
    let loaded = |chunk, entry| Some(Loaded { chunk, entry, mapping, sent: None });
    match original {
        Some(bytes) => {
            // It will be no other the next time.
            let unreadable = |error: record::Error| Failure::new(Category::Rejected, chain(&error));
            let chunk = record::decode(&bytes).map_err(unreadable)?;
            Ok(loaded(Arc::new(chunk), 0))
        }
        None => {
            let read = tokio::task::spawn_blocking(move || journal.read_at(event.position));
            let read = read.await.map_err(|error| broken(error.to_string()))?;
            match read.map_err(|error| broken(error.to_string()))? {
                Some((chunk, entry)) => Ok(loaded(chunk, entry)),
                None => Err(Failure::new(
                    Category::Rejected,
                    "the journal does not keep the original any more",
                )),
            }
        }
    }
}

/// Copies one change out of its chunk, as the journal writes it.
pub(in crate::delivery) fn copy(chunk: &Chunk, entry: u32) -> Result<Vec<u8>, record::Error> {
    match chunk.entries.get(entry as usize) {
        Some(entry) => record::encode(&record::extract(chunk, entry)),
        None => record::encode(chunk),
    }
}
