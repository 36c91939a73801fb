//! A CRM on loopback that takes events as a careful receiver does, and misbehaves when told.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::shop;

/// A request's head and body are refused beyond this.
const REQUEST_BYTES_MAX: usize = 16 << 20;

/// The address that the CRM takes for none.
const BAD_EMAIL: &str = "no address";

/// The endpoint: what it has been told, and how it behaves.
#[derive(Debug, Default)]
pub(super) struct Crm {
    seen: Mutex<Seen>,
    /// Answers some requests badly.
    pub(super) misbehaves: AtomicBool,
    /// Refuses every request.
    pub(super) is_down: AtomicBool,
}

/// What came in.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Events taken, by id.
    taken: HashSet<String>,
    /// Events refused for good, by id.
    refused: HashSet<String>,
    /// The newest event of each key.
    newest: HashMap<(String, String), String>,
    /// The rows as the events leave them, by table and key.
    rows: HashMap<(String, String), Value>,
    /// Events that came again after they had been taken.
    pub(super) repeated: u64,
    /// Events that came after a newer one of their key.
    pub(super) out_of_order: u64,
    /// Events of transactions that were rolled back.
    pub(super) never: u64,
    /// Bad answers given on purpose, by what they were.
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl Seen {
    /// Returns how many different events were taken.
    pub(super) fn delivered(&self) -> u64 {
        count(self.taken.len())
    }

    /// Returns how many events were refused for good.
    pub(super) fn refused(&self) -> u64 {
        count(self.refused.len())
    }

    /// Returns how many rows of a table differ from what is true: missing, stale, or too many.
    pub(super) fn differing(&self, table: &str, truth: &HashMap<String, Value>) -> u64 {
        let mut rows = self.rows.iter().filter(|((of, _), _)| of == table);
        let wrong = rows.by_ref().filter(|((_, key), row)| truth.get(key) != Some(row)).count();
        let is_there = |key: &&String| self.rows.contains_key(&(table.to_owned(), (*key).clone()));
        let missing = truth.keys().filter(|key| !is_there(key)).count();
        count(wrong + missing)
    }

    fn take(&mut self, event: &Value) {
        let id = text(event, "id").to_owned();
        if !self.taken.insert(id.clone()) {
            self.repeated += 1;
            return;
        }
        let table = text(event, "table").to_owned();
        let mut data = event.get("data").cloned().unwrap_or_default();
        self.never += u64::from(data.get("name").is_some_and(|name| name == shop::NEVER));
        if let Some(row) = data.as_object_mut() {
            // Its form differs from the server's own JSON; everything else is compared.
            row.remove("placed_at");
        }
        let old = event.get("before_key").map(|key| (table.clone(), canonical(key)));
        let key = (table, event.get("key").map(canonical).unwrap_or_default());
        for place in old.iter().chain([&key]) {
            if self.newest.get(place).is_some_and(|newest| *newest > id) {
                self.out_of_order += 1;
            }
            self.newest.insert(place.clone(), id.clone());
        }
        if let Some(old) = old {
            self.rows.remove(&old);
        }
        if text(event, "op") == "delete" {
            self.rows.remove(&key);
        } else {
            self.rows.insert(key, data);
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conduct {
    Proper,
    Answers(&'static str),
    /// Closes the connection: before the events are taken, or after.
    Hangs {
        taken: bool,
    },
    Slow,
}

impl Crm {
    /// Returns what came in so far.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        // What a panicking holder left is still a count of what came in.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves until it is dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        let crm = Arc::clone(&self);
                        // A connection that breaks concerns its client.
                        connections.spawn(async move { drop(crm.converse(stream).await) });
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        while let Some(body) = read_request(&mut stream, &mut buffer).await? {
            let conduct = self.conduct();
            if let Some(name) = conduct.name() {
                *self.seen().faults.entry(name).or_default() += 1;
            }
            let head = match conduct {
                Conduct::Hangs { taken } => {
                    if taken {
                        self.answer(&body);
                    }
                    return Ok(());
                }
                Conduct::Answers(head) => head,
                Conduct::Slow => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    self.answer(&body)
                }
                Conduct::Proper => self.answer(&body),
            };
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    fn conduct(&self) -> Conduct {
        if self.is_down.load(Ordering::Relaxed) {
            return Conduct::Answers("503 Service Unavailable");
        }
        if !self.misbehaves.load(Ordering::Relaxed) {
            return Conduct::Proper;
        }
        match fastrand::u16(0..1000) {
            0..15 => Conduct::Answers("500 Internal Server Error"),
            15..20 => Conduct::Answers("429 Too Many Requests\r\nretry-after: 1"),
            20..30 => Conduct::Hangs { taken: false },
            30..40 => Conduct::Hangs { taken: true },
            40..50 => Conduct::Slow,
            _ => Conduct::Proper,
        }
    }

    /// Takes the events, all or none, and returns the status.
    fn answer(&self, body: &[u8]) -> &'static str {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return "400 Bad Request" };
        let events = match &body {
            Value::Array(events) => events.as_slice(),
            one => std::slice::from_ref(one),
        };
        let is_bad = |event: &&Value| {
            event.get("data").and_then(|data| data.get("email")).is_some_and(|it| it == BAD_EMAIL)
        };
        let mut seen = self.seen();
        if let Some(bad) = events.iter().find(is_bad) {
            if events.len() == 1 {
                seen.refused.insert(text(bad, "id").to_owned());
            }
            return "422 Unprocessable Content";
        }
        for event in events {
            seen.take(event);
        }
        "200 OK"
    }
}

impl Conduct {
    /// The fault's name in the summary.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Proper => None,
            Self::Answers(head) => head.get(..3),
            Self::Hangs { taken: false } => Some("reset"),
            Self::Hangs { taken: true } => Some("lost answer"),
            Self::Slow => Some("slow"),
        }
    }
}

/// Returns the body of the next request, `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some((head, length)) = head_of(buffer)? {
            let end = head + length;
            if buffer.len() >= end {
                let rest = buffer.split_off(end);
                let request = std::mem::replace(buffer, rest);
                return Ok(request.get(head..).map(<[u8]>::to_vec));
            }
        }
        if buffer.len() > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Returns the lengths of a request's head and body once the head is there.
fn head_of(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else { return Ok(None) };
    let head = buffer.get(..end).unwrap_or_default();
    let head = std::str::from_utf8(head).map_err(|_| io::ErrorKind::InvalidData)?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    });
    // walgate's bodies are made before they are sent: it always knows their length.
    Ok(Some((end + 4, length.ok_or(io::ErrorKind::InvalidData)?)))
}

/// Writes a key so that the order of its columns does not matter.
pub(super) fn canonical(key: &Value) -> String {
    match key.as_object() {
        Some(columns) => {
            let sorted: BTreeMap<_, _> = columns.iter().collect();
            serde_json::to_string(&sorted).unwrap_or_default()
        }
        None => key.to_string(),
    }
}

fn text<'a>(event: &'a Value, name: &str) -> &'a str {
    event.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: &str, op: &str, key: i32, revision: i32) -> Value {
        json!({ "id": id, "op": op, "table": "t", "key": { "id": key }, "data": { "r": revision } })
    }

    #[test]
    fn a_repeat_is_counted_and_changes_nothing() {
        let mut seen = Seen::default();
        for event in [event("1", "insert", 7, 1), event("2", "update", 7, 2)] {
            seen.take(&event);
        }
        seen.take(&event("1", "insert", 7, 1));
        assert_eq!((seen.delivered(), seen.repeated, seen.out_of_order), (2, 1, 0));
        let truth = HashMap::from([(r#"{"id":7}"#.to_owned(), json!({ "r": 2 }))]);
        assert_eq!(seen.differing("t", &truth), 0);
    }

    #[test]
    fn what_comes_late_what_is_missing_and_what_is_stale_is_seen() {
        let mut seen = Seen::default();
        seen.take(&event("2", "update", 7, 2));
        seen.take(&event("1", "insert", 7, 1));
        assert_eq!(seen.out_of_order, 1);
        let truth = |key: &str, r: i32| HashMap::from([(key.to_owned(), json!({ "r": r }))]);
        assert_eq!(seen.differing("t", &truth(r#"{"id":7}"#, 2)), 1, "stale");
        assert_eq!(seen.differing("t", &truth(r#"{"id":8}"#, 1)), 2, "one missing, one too many");
    }

    #[test]
    fn a_changed_key_leaves_its_old_place() {
        let mut seen = Seen::default();
        seen.take(&event("1", "insert", 7, 1));
        let mut moved = event("2", "update", 8, 2);
        moved["before_key"] = json!({ "id": 7 });
        seen.take(&moved);
        let truth = HashMap::from([(r#"{"id":8}"#.to_owned(), json!({ "r": 2 }))]);
        assert_eq!(seen.differing("t", &truth), 0);
    }
}
