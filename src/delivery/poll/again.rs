//! What was acknowledged is handed out again, from the journal: nothing moves by it.

use std::sync::Arc;

use bytes::Bytes;

use super::{Page, Polled, Refusal};
use crate::chunk::Chunk;
use crate::failure::chain;
use crate::journal;
use crate::lsn::EventId;
use crate::mapping::{Mapped, SinkMapper};

/// Chunks that are read for one answer at most. An answer that finds nothing in them says where
/// to go on.
const CHUNKS_MAX: usize = 64;

impl Polled {
    /// Reads the journal from behind `after` up to what is acknowledged; none when nothing there
    /// is for this sink.
    pub(super) async fn again(
        &self,
        after: EventId,
        limit: usize,
    ) -> Result<Option<Page>, Refusal> {
        let from = after.position.next();
        let until = self.desk().shelf.from();
        let mut cursor = self.0.journal.cursor(from).map_err(|error| refusal(&error))?;
        let mut mapper = self.0.recipe.mapper();
        let mut found = Found { limit, bytes_left: self.0.limits.max_bytes, events: Vec::new() };
        for _ in 0..CHUNKS_MAX {
            if cursor.position() >= until || cursor.is_at_end() {
                return Ok(found.page());
            }
            let chunk = cursor.next().await.map_err(|error| refusal(&error))?;
            for (entry, index) in chunk.entries.iter().zip(0_u32..) {
                let position = chunk.position(entry);
                if position >= until {
                    return Ok(found.page());
                }
                if position >= from && !found.take(&mut mapper, &chunk, index)? {
                    return Ok(found.page());
                }
            }
            tokio::task::coop::consume_budget().await;
        }
        let position = cursor.position().min(until).previous().unwrap_or_default();
        let next = EventId { timeline: after.timeline, position };
        Ok(Some(found.page().unwrap_or(Page { events: Vec::new(), next: next.into() })))
    }
}

/// A page that grows.
struct Found {
    limit: usize,
    bytes_left: u64,
    events: Vec<(EventId, Bytes)>,
}

impl Found {
    /// Takes a change if it is an event of the sink; false when there is no room for it.
    fn take(
        &mut self,
        mapper: &mut SinkMapper,
        chunk: &Arc<Chunk>,
        index: u32,
    ) -> Result<bool, Refusal> {
        let mut buffer = Vec::new();
        let mapped = mapper.map(chunk, index, &mut buffer);
        let mapped = mapped.map_err(|error| Refusal::Broken { reason: chain(&error) })?;
        let Mapped::Event(draft) = mapped else { return Ok(true) };
        let event = draft.envelope(&Bytes::from(buffer));
        let bytes = u64::try_from(event.bytes()).unwrap_or(u64::MAX);
        if !self.events.is_empty() && (self.events.len() >= self.limit || bytes > self.bytes_left) {
            return Ok(false);
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        self.events.push((event.id, event.body));
        Ok(true)
    }

    fn page(&mut self) -> Option<Page> {
        let next = self.events.last().map(|(id, _)| (*id).into())?;
        let events = std::mem::take(&mut self.events);
        Some(Page { events: events.into_iter().map(|(_, body)| body).collect(), next })
    }
}

fn refusal(error: &journal::Error) -> Refusal {
    match error {
        journal::Error::Gone { begin, .. } => Refusal::Gone { begin: *begin },
        other => Refusal::Broken { reason: chain(other) },
    }
}
