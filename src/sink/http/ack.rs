//! [`Ack`]: what the body of an answer says of what was sent, where its status does not tell all.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cel::objects::{Key, Map};
use cel::{Context, Program, Value};
use hyper::StatusCode;
use hyper::header::HeaderMap;
use serde_json::Value as Json;

use crate::envelope::Envelope;
use crate::failure::Category;
use crate::sink::web::answer;

/// So much of an answer is read for it, in bytes.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;

/// `[sink.NAME.http.ack]`: CEL over `status`, `headers` and `body`; of items over `item` too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// True: it was taken.
    pub when: Option<String>,
    /// The way to a list in the body with an answer an event.
    pub items: Option<String>,
    /// True: the event of `item` was taken; without it an item is read as they mostly are.
    pub item: Option<String>,
    /// True of what was not taken: it may be later.
    pub retry: Option<String>,
}

/// An expression that can't be used. `key` stands below `ack`.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) key: &'static str,
    pub(super) message: String,
}

/// Compiled [`Settings`].
pub(super) struct Ack {
    when: Option<Program>,
    items: Option<Vec<String>>,
    item: Option<Program>,
    retry: Option<Program>,
}

/// What an answer said of an event, or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It was taken.
    Yes,
    /// It was not, and why.
    No(Category, String),
}

/// What an answer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// Of all alike.
    All(Said),
    /// Of each event, in the batch's order.
    Each(Vec<Said>),
}

impl Ack {
    pub(super) fn new(settings: &Settings) -> Result<Self, Wrong> {
        let program = |key, source: &Option<String>, names: &[&str]| {
            source.as_deref().map(|source| compile(key, source, names)).transpose()
        };
        let of_all = ["status", "headers", "body"];
        let of_item = ["status", "headers", "body", "item"];
        let has_items = settings.items.is_some();
        let of_retry: &[&str] = if has_items { &of_item } else { &of_all };
        if settings.item.is_some() && !has_items {
            let message = "needs \"items\": the way to the list that has them".to_owned();
            return Err(Wrong { key: "item", message });
        }
        let items = settings.items.as_deref().map(|way| {
            let names: Vec<String> = way.split('.').map(str::to_owned).collect();
            if names.iter().any(String::is_empty) {
                let message = "is no way such as \"results\" or \"data.items\"".to_owned();
                return Err(Wrong { key: "items", message });
            }
            Ok(names)
        });
        Ok(Self {
            when: program("when", &settings.when, &of_all)?,
            items: items.transpose()?,
            item: program("item", &settings.item, &of_item)?,
            retry: program("retry", &settings.retry, of_retry)?,
        })
    }

    /// Whether an answer that is no 2xx says that all was taken.
    pub(super) fn takes(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(when) = &self.when else { return false };
        let scene = Scene::new(status, headers, body);
        matches!(scene.test(when, None), Ok(true))
    }

    /// Reads a 2xx.
    pub(super) fn read(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        events: &[Envelope],
    ) -> Read {
        let scene = Scene::new(status, headers, body);
        if let Some(when) = &self.when {
            match scene.test(when, None) {
                Ok(true) => {}
                Ok(false) => {
                    let why = "its answer is not what `ack.when` asks for";
                    return Read::All(self.refused(&scene, None, why.to_owned()));
                }
                Err(why) => {
                    let why = format!("`ack.when` can't be told of its answer: {why}");
                    return Read::All(Said::No(Category::Transient, why));
                }
            }
        }
        let Some(way) = &self.items else { return Read::All(Said::Yes) };
        match matched(&scene, way, events) {
            Ok(items) => {
                Read::Each(items.into_iter().map(|item| self.of_item(&scene, item)).collect())
            }
            Err(why) => Read::All(Said::No(Category::Transient, why)),
        }
    }

    /// Reads what was said of one event.
    fn of_item(&self, scene: &Scene, item: &Json) -> Said {
        if let Some(program) = &self.item {
            return match scene.test(program, Some(item)) {
                Ok(true) => Said::Yes,
                Ok(false) => {
                    self.refused(scene, Some(item), "not what `ack.item` asks for".to_owned())
                }
                Err(why) => {
                    let why = format!("`ack.item` can't be told of it: {why}");
                    Said::No(Category::Transient, why)
                }
            };
        }
        match usual(item) {
            Some(Said::No(Category::Rejected, why)) => self.refused(scene, Some(item), why),
            Some(said) => said,
            None => {
                let why = "it does not say whether the event was taken; set `ack.item`";
                Said::No(Category::Transient, why.to_owned())
            }
        }
    }

    fn refused(&self, scene: &Scene, item: Option<&Json>, why: String) -> Said {
        let may_be_later =
            self.retry.as_ref().is_some_and(|retry| matches!(scene.test(retry, item), Ok(true)));
        let category = if may_be_later { Category::Transient } else { Category::Rejected };
        Said::No(category, why)
    }
}

impl fmt::Debug for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ack").field("items", &self.items).finish_non_exhaustive()
    }
}

fn compile(key: &'static str, source: &str, names: &[&str]) -> Result<Program, Wrong> {
    let program = catch_unwind(|| Program::compile(source));
    let program = program.unwrap_or_else(|_| Program::compile("!"));
    program.map_err(|errors| {
        let first = errors.errors.first().map(|error| error.msg.clone()).unwrap_or_default();
        let names = names.join(", ");
        Wrong { key, message: format!("is no CEL over {names}: {first}") }
    })
}

/// What an expression sees.
struct Scene {
    status: i64,
    headers: Value,
    body: Json,
    body_value: Value,
}

impl Scene {
    fn new(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = || Json::String(String::from_utf8_lossy(body).into_owned());
        let body = serde_json::from_slice(body).unwrap_or_else(|_| text());
        let headers = headers.iter().filter_map(|(name, value)| {
            let value = Value::String(Arc::new(value.to_str().ok()?.to_owned()));
            Some((Key::String(Arc::new(name.as_str().to_owned())), value))
        });
        Self {
            status: status.as_u16().into(),
            headers: Value::Map(Map { map: Arc::new(headers.collect::<HashMap<_, _>>()) }),
            body_value: value(&body),
            body,
        }
    }

    /// Asks a condition; the error says why there is no answer.
    fn test(&self, program: &Program, item: Option<&Json>) -> Result<bool, String> {
        let ask = || {
            let mut context = Context::default();
            context.add_variable_from_value("status", self.status);
            context.add_variable_from_value("headers", self.headers.clone());
            context.add_variable_from_value("body", self.body_value.clone());
            if let Some(item) = item {
                context.add_variable_from_value("item", value(item));
            }
            program.execute(&context)
        };
        // What a far side answers must not end the process.
        match catch_unwind(AssertUnwindSafe(ask)) {
            Ok(Ok(Value::Bool(is_true))) => Ok(is_true),
            Ok(Ok(_)) => Err("its value is not true or false".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the interpreter broke at it".to_owned()),
        }
    }
}

/// Takes JSON as CEL has it: whole numbers are ints.
fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(is_true) => Value::Bool(*is_true),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value).collect())),
        Json::Object(members) => {
            let member = |(name, member): (&String, &Json)| {
                (Key::String(Arc::new(name.clone())), value(member))
            };
            Value::Map(Map { map: Arc::new(members.iter().map(member).collect()) })
        }
    }
}

/// Finds the item of each event: by the event's id where the items have ids, else by their order.
fn matched<'s>(
    scene: &'s Scene,
    way: &[String],
    events: &[Envelope],
) -> Result<Vec<&'s Json>, String> {
    let named = || format!("its answer has no list `{}`", way.join("."));
    let found = way.iter().try_fold(&scene.body, |json, name| json.get(name));
    let items = found.and_then(Json::as_array).ok_or_else(named)?;
    let ids: HashMap<&str, &Json> =
        items.iter().filter_map(|item| Some((item.get("id")?.as_str()?, item))).collect();
    let own: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
    let by_id: Option<Vec<&Json>> = own.iter().map(|id| ids.get(id.as_str()).copied()).collect();
    if let Some(found) = by_id {
        return Ok(found);
    }
    if items.len() != events.len() {
        let (items, events) = (items.len(), events.len());
        return Err(format!("its answer speaks of {items} events, and {events} were sent"));
    }
    Ok(items.iter().collect())
}

/// Reads an item as APIs mostly write them; none where it says nothing.
fn usual(item: &Json) -> Option<Said> {
    let no = |why: String| Said::No(Category::Rejected, why);
    let code = ["status", "statusCode", "status_code"].iter().find_map(|name| {
        let number = item.get(name)?;
        u16::try_from(number.as_u64()?).ok().filter(|code| (100..600).contains(code))
    });
    if let Some(code) = code {
        return Some(match answer::category_of_item(code) {
            None => Said::Yes,
            Some(category) => Said::No(category, format!("status {code}")),
        });
    }
    let flag = ["ok", "success", "succeeded"].iter().find_map(|name| item.get(name)?.as_bool());
    if let Some(is_ok) = flag {
        return Some(if is_ok { Said::Yes } else { no("it says no".to_owned()) });
    }
    let word = ["status", "result", "outcome"].iter().find_map(|name| item.get(name)?.as_str());
    if let Some(word) = word {
        return Some(match word.to_ascii_lowercase().as_str() {
            "ok" | "success" | "succeeded" | "accepted" | "delivered" | "created" | "updated"
            | "deleted" | "noop" => Said::Yes,
            "retry" | "throttled" | "busy" => {
                Said::No(Category::Transient, format!("it says {word:?}"))
            }
            _ => no("it says another word than ok".to_owned()),
        });
    }
    let is_empty = |json: &Json| match json {
        Json::Null | Json::Bool(false) => true,
        Json::String(text) => text.is_empty(),
        Json::Array(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => false,
    };
    let errors = ["error", "errors"].iter().find_map(|name| item.get(name))?;
    Some(if is_empty(errors) { Said::Yes } else { no("it has an error".to_owned()) })
}
