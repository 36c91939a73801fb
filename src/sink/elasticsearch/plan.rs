//! A batch becomes the lines of bulk requests.
//!
//! See the bulk API: <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>.

use ring::digest;

use super::{index, version};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::lsn::{Lsn, Position};
use crate::sink::fold::{Action, Put, Work};
use crate::sink::keyed::{Board, Changes};
use crate::sink::row::{Change, Field, Key};
use crate::sink::template::Template;

/// What is left to do of a batch, in order.
#[derive(Debug)]
pub(super) enum Step {
    /// One bulk request.
    Bulk(Vec<Line>),
    /// All documents of an index go.
    Clear {
        /// Its name.
        index: String,
        /// The events that it stands for.
        events: Vec<usize>,
    },
}

/// An item of a bulk request.
#[derive(Debug)]
pub(super) struct Line {
    /// What is done.
    pub(super) act: Act,
    index: String,
    id: String,
    /// Of an index its document, of an update what of it changes.
    document: Option<String>,
    /// Some value of the document is an object.
    has_object: bool,
    position: Position,
    /// The events that it stands for.
    pub(super) events: Vec<usize>,
}

/// The bulk API's actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The whole document.
    Index,
    /// Some of its fields.
    Update,
    /// It goes.
    Delete,
}

/// The longest id that Elasticsearch takes, in bytes.
const ID_BYTES_MAX: usize = 512;

/// A partial document is merged into an object that is there, member by member: what is gone from
/// it would stay. This puts the fields in the place of the old ones.
const REPLACE: &str = "ctx._source.putAll(params.doc)";

const NO_KEY: &str = "the row has no key, which is its document's id: give the route a key";

const NO_ID: &str = "the key is an empty text, which is no document's id";

const NO_INDEX: &str = "`index`: the event makes no index's name of it";

/// A document that moves to another id is written anew, so that all of it has to be there.
const MOVED: &str = "the row's key changed, and the event does not have all of the row: ALTER \
                     TABLE … REPLICA IDENTITY FULL at the source";

/// Makes the steps of a batch. What can't be written is refused on the board.
pub(super) fn steps(template: &Template, events: &[Envelope], board: &mut Board) -> Vec<Step> {
    let name = |text: &str| index::name(text).map_err(|_| NO_INDEX.to_owned());
    let fits = |change: &Change<'_>| {
        let is_of_a_row = change.operation != Operation::Truncate;
        if is_of_a_row && change.key.is_none() { Err(NO_KEY) } else { Ok(()) }
    };
    let changes = Changes::read(events, template, board, name, fits);
    let mut steps = Vec::new();
    for action in changes.fold(board, NO_KEY) {
        let index = changes.tables.get(action.scope).cloned().unwrap_or_default();
        if let Work::Clear = action.work {
            board.expect(&action.events);
            steps.push(Step::Clear { index, events: action.events });
            continue;
        }
        let of = action.events.clone();
        match line(index, action, events) {
            Ok(line) => {
                board.expect(&of);
                match steps.last_mut() {
                    Some(Step::Bulk(lines)) => lines.push(line),
                    _ => steps.push(Step::Bulk(vec![line])),
                }
            }
            Err(why) => board.refuse(&of, why),
        }
    }
    steps
}

fn line(index: String, action: Action<'_>, all: &[Envelope]) -> Result<Line, &'static str> {
    let Action { work, events, .. } = action;
    let position = events.iter().filter_map(|event| all.get(*event)).map(|e| e.id.position).max();
    let (act, key, document) = match &work {
        Work::Clear => return Err(NO_INDEX),
        Work::Delete(key) => (Act::Delete, key, None),
        Work::Put(put) if put.missing.is_empty() => (Act::Index, &put.key, Some(document(put))),
        Work::Put(put) if put.from.is_some() || put.is_anew => return Err(MOVED),
        Work::Put(put) => (Act::Update, &put.key, Some(document(put))),
    };
    let id = id(key);
    if id.is_empty() {
        return Err(NO_ID);
    }
    let has_object = match &work {
        Work::Put(put) => put.fields.iter().any(|field| field.value.get().starts_with('{')),
        Work::Clear | Work::Delete(_) => false,
    };
    let position = position.unwrap_or_default();
    Ok(Line { act, index, id, document, has_object, position, events })
}

impl Line {
    /// When the change committed.
    pub(super) const fn commit(&self) -> Lsn {
        self.position.commit_lsn
    }

    /// Writes the item: an older one than what is there changes nothing. A partial update has no
    /// version of its own.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let version = (self.act != Act::Update).then_some(self.position);
        self.item(self.act, version, out);
    }

    /// Writes the item for a document that another change of its commit has made.
    pub(super) fn force(&self, out: &mut Vec<u8>) {
        self.item(self.act, None, out);
    }

    /// Writes what tells whether a later change has deleted the document that isn't there: the
    /// delete of an older one is refused for that.
    pub(super) fn probe(&self, out: &mut Vec<u8>) {
        self.item(Act::Delete, Some(self.position), out);
    }

    /// Each line ends with a newline, the last one too.
    fn item(&self, act: Act, position: Option<Position>, out: &mut Vec<u8>) {
        let word = match act {
            Act::Index => "index",
            Act::Update => "update",
            Act::Delete => "delete",
        };
        let more = match (act, position.map(version::of)) {
            (Act::Update, _) => ",\"retry_on_conflict\":3".to_owned(),
            (_, Some(version)) => {
                format!(",\"version\":{version},\"version_type\":\"external_gte\"")
            }
            (_, None) => String::new(),
        };
        let Self { index, id, .. } = self;
        let head =
            format!("{{\"{word}\":{{\"_index\":{},\"_id\":{}{more}}}}}\n", text(index), text(id));
        out.extend_from_slice(head.as_bytes());
        match (act, &self.document) {
            (Act::Delete, _) | (_, None) => return,
            (Act::Index, Some(json)) => out.extend_from_slice(json.as_bytes()),
            (Act::Update, Some(json)) if self.has_object => {
                let script = format!(
                    "{{\"script\":{{\"lang\":\"painless\",\"source\":\"{REPLACE}\",\
                     \"params\":{{\"doc\":{json}}}}}}}"
                );
                out.extend_from_slice(script.as_bytes());
            }
            (Act::Update, Some(json)) => {
                out.extend_from_slice(format!("{{\"doc\":{json}}}").as_bytes());
            }
        }
        out.push(b'\n');
    }
}

/// Returns the document's id: the key's value, or of several a list of them; a hash where that is
/// longer than an id may be.
fn id(key: &Key<'_>) -> String {
    let plain = |field: &Field<'_>| {
        let raw = field.value.get();
        serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned())
    };
    let id = match key.fields.as_slice() {
        [field] => plain(field),
        fields => {
            let values: Vec<&str> = fields.iter().map(|field| field.value.get()).collect();
            format!("[{}]", values.join(","))
        }
    };
    if id.len() <= ID_BYTES_MAX {
        return id;
    }
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the document: the key's columns, then what was sent.
fn document(put: &Put<'_>) -> String {
    let is_of_key = |field: &&Field<'_>| !put.key.fields.iter().any(|own| own.name == field.name);
    let fields = put.key.fields.iter().chain(put.fields.iter().filter(is_of_key));
    let members: Vec<String> =
        fields.map(|field| format!("{}:{}", text(&field.name), field.value.get())).collect();
    format!("{{{}}}", members.join(","))
}

fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
