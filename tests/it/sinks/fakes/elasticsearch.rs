//! A cluster of Elasticsearch. Pages are below <https://www.elastic.co/docs/>.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde_json::{Map, Value, json};

use super::{Asked, Says, Service};

/// What a cluster has and does.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) indices: BTreeMap<String, Index>,
    /// What `authorization` has to be; none: security is off.
    pub(crate) authorization: Option<String>,
    /// `action.auto_create_index`
    pub(crate) creates: bool,
    /// `http.max_content_length`, in bytes.
    pub(crate) content_max: usize,
    /// Items that its queues are too full for.
    pub(crate) busy: usize,
    /// What was asked for, in order: `bulk 2`, `refresh`, `clear`.
    pub(crate) calls: Vec<String>,
    pub(crate) next: VecDeque<Says>,
}

/// Documents and what the cluster knows of them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub(crate) documents: BTreeMap<String, Document>,
    /// Versions of documents that were deleted less than `index.gc_deletes` ago.
    pub(crate) deleted: HashMap<String, u64>,
    /// What a search sees: versions as of the last refresh.
    seen: HashMap<String, u64>,
    types: BTreeMap<String, &'static str>,
    pub(crate) is_blocked: bool,
}

/// A document.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) version: u64,
    pub(crate) source: Map<String, Value>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            indices: BTreeMap::new(),
            authorization: None,
            creates: true,
            content_max: 100 * 1024 * 1024,
            busy: 0,
            calls: Vec::new(),
            next: VecDeque::new(),
        }
    }
}

/// An error of a request.
fn error(status: u16, kind: &str, reason: &str) -> Says {
    let error = json!({ "type": kind, "reason": reason });
    Says::json(status, &json!({ "error": error, "status": status }))
}

/// An error of an item.
type Refusal = (u16, &'static str, String);

impl Service for Cluster {
    fn answer(&mut self, asked: &Asked) -> Says {
        // reference/elasticsearch/configuration-reference/networking-settings
        if asked.body.len() > self.content_max {
            return Says::text(413, "");
        }
        if self.authorization.as_deref().is_some_and(|own| own != asked.header("authorization")) {
            return error(401, "security_exception", "unable to authenticate");
        }
        let path: Vec<&str> = asked.path.split('/').skip(1).collect();
        match (asked.method.as_str(), path.as_slice()) {
            ("GET", [""]) => Says::json(200, &json!({ "version": { "number": "9.4.1" } })),
            ("POST", ["_bulk"]) => self.bulk(asked),
            ("POST", [index, "_refresh"]) => self.refresh(index, asked),
            ("POST", [index, "_delete_by_query"]) => self.clear(index, asked),
            _ => error(400, "illegal_argument_exception", "no handler found"),
        }
    }

    fn next(&mut self) -> &mut VecDeque<Says> {
        &mut self.next
    }
}

impl Cluster {
    /// The documents of an index, in no order that means something.
    pub(crate) fn documents(&self, index: &str) -> Vec<String> {
        let documents = self.indices.get(index).map(|index| index.documents.values());
        let mut all: Vec<String> =
            documents.into_iter().flatten().map(|document| sorted(&document.source)).collect();
        all.sort_unstable();
        all
    }

    /// Deletes are forgotten, as after a minute.
    pub(crate) fn forget(&mut self) {
        self.indices.values_mut().for_each(|index| index.deleted.clear());
    }

    /// api/doc/elasticsearch/operation/operation-bulk
    fn bulk(&mut self, asked: &Asked) -> Says {
        let kind = asked.header("content-type");
        if !["application/x-ndjson", "application/json"].contains(&kind) {
            let message = format!("Content-Type header [{kind}] is not supported");
            return Says::json(406, &json!({ "error": message, "status": 406 }));
        }
        let text = str::from_utf8(&asked.body).unwrap();
        if !text.ends_with('\n') {
            let reason = "The bulk request must be terminated by a newline [\\n]";
            return error(400, "illegal_argument_exception", reason);
        }
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut items = Vec::new();
        while let Some(head) = lines.next() {
            let (action, meta) = head.as_object().unwrap().iter().next().unwrap();
            let document = if action == "delete" { Value::Null } else { lines.next().unwrap() };
            if let Some(why) = invalid(action, meta) {
                return error(400, "action_request_validation_exception", why);
            }
            items.push((action.clone(), meta.clone(), document));
        }
        self.calls.push(format!("bulk {}", items.len()));
        let mut errors = false;
        let answers: Vec<Value> = items
            .into_iter()
            .map(|(action, meta, document)| {
                let (status, mut outcome) = match self.item(&action, &meta, &document) {
                    Ok((status, result)) => (status, json!({ "result": result })),
                    Err((status, kind, reason)) => {
                        errors = true;
                        (status, json!({ "error": { "type": kind, "reason": reason } }))
                    }
                };
                outcome["status"] = json!(status);
                outcome["_index"] = meta["_index"].clone();
                outcome["_id"] = meta["_id"].clone();
                json!({ action: outcome })
            })
            .collect();
        Says::json(200, &json!({ "took": 1, "errors": errors, "items": answers }))
    }

    fn item(
        &mut self,
        action: &str,
        meta: &Value,
        document: &Value,
    ) -> Result<(u16, &'static str), Refusal> {
        if self.busy > 0 {
            self.busy -= 1;
            let reason = "rejected execution of primary operation".to_owned();
            return Err((429, "es_rejected_execution_exception", reason));
        }
        let name = meta["_index"].as_str().unwrap();
        if !self.creates && !self.indices.contains_key(name) {
            return Err((404, "index_not_found_exception", format!("no such index [{name}]")));
        }
        let index = self.indices.entry(name.to_owned()).or_default();
        if index.is_blocked {
            let reason = "index blocked by: [FORBIDDEN/8/index write (api)];".to_owned();
            return Err((403, "cluster_block_exception", reason));
        }
        let id = meta["_id"].as_str().unwrap();
        match action {
            "index" => index.put(id, meta, document.as_object().unwrap()),
            "update" => index.change(id, document),
            _ => index.delete(id, meta),
        }
    }

    /// api/doc/elasticsearch/operation/operation-indices-refresh
    fn refresh(&mut self, name: &str, asked: &Asked) -> Says {
        self.calls.push("refresh".to_owned());
        match self.indices.get_mut(name) {
            Some(index) => index.refresh(),
            None if asked.query.contains_key("ignore_unavailable") => {}
            None => return error(404, "index_not_found_exception", "no such index"),
        }
        Says::json(200, &json!({ "_shards": { "failed": 0 } }))
    }

    /// api/doc/elasticsearch/operation/operation-delete-by-query: what a search sees is deleted,
    /// unless it was changed since.
    fn clear(&mut self, name: &str, asked: &Asked) -> Says {
        self.calls.push("clear".to_owned());
        assert_eq!(asked.json(), json!({ "query": { "match_all": {} } }));
        let (mut deleted, mut conflicts) = (0, 0);
        match self.indices.get_mut(name) {
            Some(index) => {
                for (id, seen) in std::mem::take(&mut index.seen) {
                    let version = index.documents.get(&id).map(|document| document.version);
                    if version != Some(seen) {
                        conflicts += 1;
                        continue;
                    }
                    index.documents.remove(&id);
                    index.deleted.insert(id, seen + 1);
                    deleted += 1;
                }
                index.refresh();
            }
            None if asked.query.contains_key("ignore_unavailable") => {}
            None => return error(404, "index_not_found_exception", "no such index"),
        }
        let body = json!({ "timed_out": false, "deleted": deleted, "version_conflicts": conflicts,
                           "failures": [] });
        Says::json(200, &body)
    }
}

/// A document with its fields in one order.
pub(crate) fn sorted(source: &Map<String, Value>) -> String {
    let fields: BTreeMap<_, _> = source.iter().collect();
    serde_json::to_string(&fields).unwrap()
}

/// What a whole request is refused for.
fn invalid(action: &str, meta: &Value) -> Option<&'static str> {
    let id = meta["_id"].as_str().unwrap();
    if id.is_empty() {
        return Some("if _id is specified it must not be empty");
    }
    // reference/elasticsearch/mapping-reference/mapping-id-field
    if id.len() > 512 {
        return Some("id is too long, must be no longer than 512 bytes");
    }
    if action == "update" && meta.get("version").is_some() {
        return Some("can't provide version in an update request");
    }
    // reference/elasticsearch/rest-apis: a version is a non-negative long number.
    let version = meta.get("version").map(|version| version.as_u64().unwrap());
    if version.is_some_and(|version| i64::try_from(version).is_err()) {
        return Some("illegal version value");
    }
    None
}

impl Index {
    fn refresh(&mut self) {
        let documents = self.documents.iter();
        self.seen = documents.map(|(id, document)| (id.clone(), document.version)).collect();
    }

    fn current(&self, id: &str) -> Option<u64> {
        let there = self.documents.get(id).map(|document| document.version);
        there.or_else(|| self.deleted.get(id).copied())
    }

    /// Version types: with `external_gte` what is there may not be above what is given.
    fn next_version(&self, id: &str, meta: &Value) -> Result<u64, Refusal> {
        let current = self.current(id);
        let Some(given) = meta.get("version") else { return Ok(current.unwrap_or(0) + 1) };
        assert_eq!(meta["version_type"], "external_gte");
        let given = given.as_u64().unwrap();
        match current {
            Some(current) if current > given => {
                let reason = format!(
                    "[{id}]: version conflict, current version [{current}] is higher than the one \
                     provided [{given}]"
                );
                Err((409, "version_conflict_engine_exception", reason))
            }
            _ => Ok(given),
        }
    }

    fn put(
        &mut self,
        id: &str,
        meta: &Value,
        source: &Map<String, Value>,
    ) -> Result<(u16, &'static str), Refusal> {
        self.fits(id, source)?;
        let version = self.next_version(id, meta)?;
        self.deleted.remove(id);
        let document = Document { version, source: source.clone() };
        let before = self.documents.insert(id.to_owned(), document);
        Ok(if before.is_some() { (200, "updated") } else { (201, "created") })
    }

    /// api/doc/elasticsearch/operation/operation-update: a partial document is merged, objects in
    /// it too; what changes nothing is left alone.
    fn change(&mut self, id: &str, body: &Value) -> Result<(u16, &'static str), Refusal> {
        let Some(before) = self.documents.get(id).cloned() else {
            let reason = format!("[{id}]: document missing");
            return Err((404, "document_missing_exception", reason));
        };
        let mut source = Value::Object(before.source.clone());
        match (body.get("doc"), body.pointer("/script/params/doc")) {
            (Some(part), None) => merge(&mut source, part),
            (None, Some(part)) => {
                assert_eq!(body["script"]["source"], "ctx._source.putAll(params.doc)");
                let part = part.as_object().unwrap().clone();
                source.as_object_mut().unwrap().extend(part);
            }
            _ => unreachable!("{body}"),
        }
        let source = source.as_object().unwrap().clone();
        if source == before.source {
            return Ok((200, "noop"));
        }
        self.fits(id, &source)?;
        let document = Document { version: before.version + 1, source };
        self.documents.insert(id.to_owned(), document);
        Ok((200, "updated"))
    }

    fn delete(&mut self, id: &str, meta: &Value) -> Result<(u16, &'static str), Refusal> {
        let version = self.next_version(id, meta)?;
        self.deleted.insert(id.to_owned(), version);
        let there = self.documents.remove(id);
        Ok(if there.is_some() { (200, "deleted") } else { (404, "not_found") })
    }

    /// reference/elasticsearch/mapping-reference: a field has the type of its first value.
    fn fits(&mut self, id: &str, source: &Map<String, Value>) -> Result<(), Refusal> {
        for (name, value) in source {
            let kind = match value {
                Value::Null => continue,
                Value::Number(_) => "number",
                Value::String(_) => "text",
                Value::Bool(_) => "boolean",
                Value::Object(_) => "object",
                Value::Array(_) => continue,
            };
            let known = *self.types.entry(name.clone()).or_insert(kind);
            let is_number = value.as_str().is_some_and(|text| text.parse::<f64>().is_ok());
            let fits = match known {
                "number" => kind == "number" || is_number,
                "text" => kind != "object",
                other => kind == other,
            };
            if !fits {
                let reason = format!(
                    "[1:9] failed to parse field [{name}] of type [{known}] in document with id \
                     '{id}'. Preview of field's value: '{value}'"
                );
                return Err((400, "document_parsing_exception", reason));
            }
        }
        Ok(())
    }
}

fn merge(into: &mut Value, part: &Value) {
    match (into, part) {
        (Value::Object(into), Value::Object(part)) => {
            for (name, value) in part {
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (into, part) => *into = part.clone(),
    }
}
