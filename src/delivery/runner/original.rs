//! The originals of events that were set aside.

use std::sync::Arc;

use super::super::dead_letter;
use crate::chunk::Chunk;
use crate::failure::Category;
use crate::journal::{Journal, record};
use crate::lsn::EventId;
use crate::sink::Failure;
use crate::state::State;

/// The original of a stored event; none when its row is gone.
pub(super) type Found = Option<(Arc<Chunk>, u32)>;

/// Reads the original of a stored event, from its row or from the journal.
pub(super) async fn load(
    state: &State,
    journal: Arc<Journal>,
    row: i64,
    event: EventId,
) -> Result<Found, Failure> {
    let broken = |message: String| Failure::new(Category::Transient, message);
    let original = state.read(move |connection| dead_letter::original(connection, row)).await;
    match original.map_err(|error| broken(error.to_string()))? {
        None => Ok(None),
        Some(Some(bytes)) => {
            let chunk = record::decode(&bytes).map_err(|error| broken(error.to_string()))?;
            Ok(Some((Arc::new(chunk), 0)))
        }
        Some(None) => {
            let read = tokio::task::spawn_blocking(move || journal.read_at(event.position));
            let read = read.await.map_err(|error| broken(error.to_string()))?;
            match read.map_err(|error| broken(error.to_string()))? {
                Some(found) => Ok(Some(found)),
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
