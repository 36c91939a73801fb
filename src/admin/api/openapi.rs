//! The description of `/v1/…` (<https://spec.openapis.org/oas/v3.1.0>).

use serde_json::{Map, Value, json};

use crate::inspect::history::FIGURES;

/// Returns the description.
pub(super) fn description() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "walgate",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What walgate's commands say and do, over HTTP. Numbers of rows keep \
                their digits. Any listener but one of the loopback asks for the token; what \
                changes something takes application/json alone.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{}, { "token": [] }],
        "paths": paths(),
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn paths() -> Value {
    let mut paths = Map::new();
    for (path, operations) in general().into_iter().chain(of_rows()).chain(asked()) {
        paths.insert(path.to_owned(), operations);
    }
    Value::Object(paths)
}

/// What is only shown of the whole.
fn general() -> Vec<(&'static str, Value)> {
    let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
    let span = json!({ "type": "string", "enum": ["hour", "day"], "default": "hour" });
    let point = object(&json!({
        "time": { "type": "integer", "description": "seconds since 1970" }, "value": number(),
    }));
    let figures = vec![
        query("name", "which figure", &json!({ "type": "string", "enum": names }), true),
        query("sink", "of this sink; none: of the source", &text(), false),
        query("span", "every 10 s of an hour, or every 2 min of a day", &span, false),
    ];
    let request = object(&json!({ "id": integer(), "time": text(), "by": text(),
        "what": maybe("string"), "arguments": {}, "state": text(), "answer": maybe("string"),
        "answered": maybe("string") }));
    let series = object(&json!({ "points": list(&point) }));
    let config = object(&json!({ "toml": text(), "warnings": list(&text()) }));
    let incident = object(&json!({ "id": integer(), "alert": text(), "when": text(), "of": text(),
        "sink": maybe("string"), "began": text(), "ended": maybe("string"), "told": text(),
        "tellings": integer(), "message": text(), "worst": number(), "next": text() }));
    let incidents = object(&json!({ "incidents": list(&incident), "next": maybe("integer") }));
    let narrow = vec![
        query("open", "what is firing alone", &boolean(), false),
        query("sink", "of this sink", &text(), false),
        query("before", "below this number", &id(), false),
        limit(),
    ];
    let audit = object(&json!({ "requests": list(&request) }));
    let status = "How everything is: `walgate status --json`";
    let of =
        |what: &str, schema: &Value, parameters| json!({ "get": get(what, schema, parameters) });
    vec![
        ("/v1/openapi.json", of("This description", &any_object(), vec![])),
        ("/v1/status", of(status, &named("Status"), vec![])),
        ("/v1/history", of("A figure over time", &series, figures)),
        ("/v1/config", of("The config in force, without secrets", &config, vec![])),
        ("/v1/incidents", of("What alerts were about, newest first", &incidents, narrow)),
        ("/v1/audit", of("What was asked for, newest first", &audit, vec![limit()])),
        ("/v1/requests/{id}", of("How far a request is", &named("Request"), vec![path_id()])),
    ]
}

/// What is only shown of rows, sinks and loads.
fn of_rows() -> Vec<(&'static str, Value)> {
    let text_of = |name, what| query(name, what, &text(), false);
    let narrow = vec![
        text_of("sink", "of this sink"),
        text_of("route", "of this route"),
        text_of("table", "of this table, as SQL would quote it"),
        text_of("category", "that failed so"),
        text_of("state", "in this state"),
        text_of("message", "that failed with exactly this message"),
        key("with these columns in the key", false),
        query("before", "below this number", &id(), false),
        limit(),
    ];
    let row = vec![
        query("table", "the table, as SQL would quote it", &table(), true),
        key("every column of the key", true),
        text_of("sink", "one sink alone"),
        query("from", "from then on", &moment(), false),
        query("to", "up to then", &moment(), false),
    ];
    let cause = object(&json!({ "sink": text(), "state": text(), "category": maybe("string"),
        "message": maybe("string"), "count": integer(), "newest": integer(),
        "last_failed": maybe("string") }));
    let load = object(&json!({ "id": integer(), "table": text(), "sink": maybe("string"),
        "state": text(), "rows": integer(), "total_estimate": maybe("integer"),
        "rows_per_second": number(), "routes": list(&text()), "where": maybe("string"),
        "reason": maybe("string") }));
    let letters =
        object(&json!({ "dead_letters": list(&named("DeadLetter")), "next": maybe("integer") }));
    let causes = object(&json!({ "causes": list(&cause) }));
    let life = object(&json!({ "changes": list(&any_object()), "has_more": boolean(),
        "oldest": maybe("string") }));
    let loads = object(&json!({ "backfills": list(&load) }));
    let batches = object(&json!({ "batches": list(&any_object()) }));
    let wanted = optional(
        &json!({ "table": table(), "sink": some(), "where": some(), "sweep": boolean() }),
        &["table"],
    );
    let shown = "One, with its row and every answer: `walgate dlq show --json`";
    let of =
        |what: &str, schema: &Value, parameters| json!({ "get": get(what, schema, parameters) });
    vec![
        ("/v1/dead-letters", of("Newest first: `walgate dlq list --json`", &letters, narrow)),
        ("/v1/dead-letters/causes", of("Grouped by cause", &causes, vec![])),
        ("/v1/dead-letters/{id}", of(shown, &named("DeadLetterShown"), vec![path_id()])),
        ("/v1/trace", of("A row's newest 500 changes: `walgate trace --json`", &life, row)),
        (
            "/v1/backfills",
            json!({
                "get": get("Loads: `walgate backfill list --json`", &loads, vec![]),
                "post": post("Sends rows that are there: `walgate backfill start`", &wanted, vec![]),
            }),
        ),
        (
            "/v1/sinks/{name}/batches",
            of("Acknowledged last, newest first", &batches, vec![path_name("the sink"), limit()]),
        ),
    ]
}

/// What is asked of the run.
fn asked() -> Vec<(&'static str, Value)> {
    let version = json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX,
        "description": "with this version of the mapping; 0: with the one that each had" });
    let why = optional(&json!({ "reason": some() }), &[]);
    let nothing = optional(&json!({}), &[]);
    let turn = json!({ "name": "turn", "in": "path", "required": true,
        "schema": { "type": "string", "enum": ["pause", "resume", "cancel"] } });
    let reason = json!({ "type": "string", "pattern": "\\S" });
    let of = |summary: &str, body: &Value, parameters: Vec<Value>| json!({ "post": post(summary, body, parameters) });
    vec![
        (
            "/v1/dead-letters/replay",
            of(
                "Sends dead letters again: `walgate dlq replay`",
                &optional(
                    &json!({ "which": which(), "mapping_version": version, "force": boolean() }),
                    &["which"],
                ),
                vec![],
            ),
        ),
        (
            "/v1/dead-letters/discard",
            of(
                "Gives up what was set aside: `walgate dlq discard`",
                &object(&json!({ "which": which(), "reason": reason })),
                vec![],
            ),
        ),
        (
            "/v1/backfills/{id}/{turn}",
            of("Pauses, resumes or gives up a load", &nothing, vec![path_id(), turn]),
        ),
        (
            "/v1/sinks/{name}/pause",
            of("Stops a sink for a while: `walgate sink pause`", &why, vec![path_name("the sink")]),
        ),
        (
            "/v1/sinks/{name}/resume",
            of("Lets a sink go on: `walgate sink resume`", &nothing, vec![path_name("the sink")]),
        ),
        (
            "/v1/routes/{name}/hold",
            of(
                "Keeps a route's events in the journal: `walgate route hold`",
                &why,
                vec![path_name("the route")],
            ),
        ),
        (
            "/v1/routes/{name}/release",
            of(
                "Lets a route go on: `walgate route release`",
                &nothing,
                vec![path_name("the route")],
            ),
        ),
    ]
}

/// Which dead letters are meant; nothing at all is not enough.
fn which() -> Value {
    let mut which = optional(
        &json!({
            "ids": { "type": "array", "items": id(), "minItems": 1 }, "sink": some(),
            "route": some(), "table": some(), "category": some(), "state": some(),
            "message": some(),
            "all": { "const": true, "description": "every one, where nothing else is given" },
        }),
        &[],
    );
    if let Some(members) = which.as_object_mut() {
        members.insert("minProperties".to_owned(), json!(1));
    }
    which
}

fn schemas() -> Value {
    let listed = json!({
        "id": integer(), "event_id": text(), "sink": text(), "route": text(),
        "table": maybe("string"), "key": {}, "op": text(), "state": text(),
        "category": maybe("string"), "message": maybe("string"), "attempts": integer(),
        "first_failed": maybe("string"), "last_failed": maybe("string"), "mapping": {},
    });
    let listed = listed.as_object().cloned().unwrap_or_default();
    let always: Vec<&str> = listed.keys().map(String::as_str).collect();
    let with = |more: Value| {
        let mut all = listed.clone();
        all.extend(more.as_object().cloned().unwrap_or_default());
        all.insert("reason".to_owned(), text());
        Value::Object(all)
    };
    let tried = object(&json!({ "time": text(), "category": maybe("string"),
        "status": maybe("integer"), "answer": maybe("string") }));
    let shown = with(json!({ "original": {}, "payload": {}, "tries": list(&tried) }));
    let always_shown = [always.as_slice(), &["original", "payload", "tries"]].concat();
    json!({
        "Error": object(&json!({ "error": text() })),
        "Request": object(&json!({
            "request": integer(),
            "state": { "type": "string", "enum": ["asked", "taken", "done", "failed"] },
            "outcome": {}, "error": maybe("string"),
        })),
        "Status": object(&json!({
            "source": any_object(), "journal": any_object(), "sinks": list(&any_object()),
        })),
        "DeadLetter": optional(&with(json!({})), &always),
        "DeadLetterShown": optional(&shown, &always_shown),
    })
}

fn get(summary: &str, schema: &Value, parameters: Vec<Value>) -> Value {
    let ok = json!({ "description": "as it is now", "content": body(schema) });
    operation(summary, parameters, vec![("200", ok)])
}

fn post(summary: &str, asked: &Value, parameters: Vec<Value>) -> Value {
    let told = |what: &str| json!({ "description": what, "content": body(&named("Request")) });
    let could_not = json!({ "anyOf": [named("Request"), named("Error")] });
    let answers = vec![
        ("200", told("done")),
        ("202", told("under way; ask for the request")),
        ("409", json!({ "description": "it could not be done", "content": body(&could_not) })),
        ("413", refusal("the body is too long")),
        ("415", refusal("the body is no JSON")),
        ("429", refusal("too many changes at a time")),
    ];
    let mut operation = operation(summary, parameters, answers);
    if let Some(members) = operation.as_object_mut() {
        let body = json!({ "required": true, "content": body(asked) });
        members.insert("requestBody".to_owned(), body);
    }
    operation
}

fn operation(summary: &str, parameters: Vec<Value>, answers: Vec<(&str, Value)>) -> Value {
    let refusals = [
        ("400", "the question is wrong"),
        ("401", "no token, or another one"),
        ("403", "asked from another site, or for another host"),
        ("404", "there is no such thing"),
        ("409", "it does not fit what is there"),
        ("500", "the state can't be read"),
        ("503", "the run is starting"),
    ];
    let mut responses = Map::new();
    for (status, what) in refusals {
        responses.insert(status.to_owned(), refusal(what));
    }
    responses.extend(answers.into_iter().map(|(status, answer)| (status.to_owned(), answer)));
    json!({ "summary": summary, "parameters": parameters, "responses": responses })
}

fn refusal(what: &str) -> Value {
    json!({ "description": what, "content": body(&named("Error")) })
}

fn body(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn query(name: &str, what: &str, schema: &Value, is_needed: bool) -> Value {
    json!({ "name": name, "in": "query", "description": what, "required": is_needed, "schema": schema })
}

fn path_id() -> Value {
    json!({ "name": "id", "in": "path", "description": "its number", "required": true, "schema": id() })
}

fn path_name(what: &str) -> Value {
    let schema = json!({ "type": "string", "minLength": 1 });
    json!({ "name": "name", "in": "path", "description": what, "required": true, "schema": schema })
}

fn named(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// An object with all of these members and no others.
fn object(members: &Value) -> Value {
    let names: Vec<&str> =
        members.as_object().into_iter().flat_map(|it| it.keys().map(String::as_str)).collect();
    optional(members, &names)
}

/// An object with some of these members and no others.
fn optional(members: &Value, always: &[&str]) -> Value {
    json!({ "type": "object", "properties": members, "required": always, "additionalProperties": false })
}

/// A key goes into an address as JSON.
fn key(what: &str, is_needed: bool) -> Value {
    let schema = json!({ "type": "object", "minProperties": 1 });
    json!({ "name": "key", "in": "query", "description": what, "required": is_needed,
        "content": { "application/json": { "schema": schema } } })
}

/// One table, as SQL would quote it.
fn table() -> Value {
    let name = r#"([a-z_][a-z0-9_]*|"([^"\x00]|"")+")"#;
    json!({ "type": "string", "pattern": format!(r"^{name}\.{name}$") })
}

/// A time or an LSN.
fn moment() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    json!({ "anyOf": [time, { "type": "string", "pattern": "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$" }] })
}

/// A text that is not empty.
fn some() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn any_object() -> Value {
    json!({ "type": "object" })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn limit() -> Value {
    query("limit", "so many at most", &count_to(500), false)
}

fn list(of: &Value) -> Value {
    json!({ "type": "array", "items": of })
}

fn maybe(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn text() -> Value {
    json!({ "type": "string" })
}

fn integer() -> Value {
    json!({ "type": "integer" })
}

fn number() -> Value {
    json!({ "type": "number" })
}

fn id() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX })
}

fn count_to(most: u32) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_of_a_path_is_described() {
        let description = description();
        for (path, operations) in description["paths"].as_object().unwrap() {
            let named: Vec<&str> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .collect();
            for operation in operations.as_object().unwrap().values() {
                let parameters = operation["parameters"].as_array().unwrap();
                let of_path = parameters.iter().filter(|it| it["in"] == "path");
                let described: Vec<&str> = of_path.map(|it| it["name"].as_str().unwrap()).collect();
                assert_eq!(described, named, "{path}");
            }
        }
    }
}
