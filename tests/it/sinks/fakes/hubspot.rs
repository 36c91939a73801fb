//! An account of HubSpot. Pages are below <https://developers.hubspot.com/docs/>.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::{Map, Value, json};

use super::{Asked, Says, Service};

/// What an account has and does.
#[derive(Debug)]
pub(crate) struct Account {
    /// Of `contacts`, by HubSpot's own id.
    pub(crate) records: BTreeMap<u64, Map<String, Value>>,
    pub(crate) token: String,
    /// What was asked for, in order: `upsert 2`, `read 1`, `archive 1`.
    pub(crate) calls: Vec<String>,
    /// Requests that are left of the day.
    pub(crate) daily: u64,
    pub(crate) next: VecDeque<Says>,
    /// Properties that there are.
    pub(crate) known: Vec<&'static str>,
    pub(crate) ids: u64,
}

impl Default for Account {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            token: "pat-na1-a-token".to_owned(),
            calls: Vec::new(),
            daily: 250_000,
            next: VecDeque::new(),
            known: vec!["firstname", "note", "amount", "email"],
            ids: 100,
        }
    }
}

/// api-reference/error-handling
fn error(status: u16, category: &str, message: &str) -> Says {
    Says::json(status, &json!({ "status": "error", "category": category, "message": message }))
}

impl Service for Account {
    fn answer(&mut self, asked: &Asked) -> Says {
        if asked.header("authorization") != format!("Bearer {}", self.token) {
            return error(401, "INVALID_AUTHENTICATION", "Authentication credentials not found.");
        }
        // developer-tooling/platform/usage-guidelines
        if self.daily == 0 {
            let body = json!({ "status": "error", "errorType": "RATE_LIMIT", "policyName": "DAILY",
                               "category": "RATE_LIMITS" });
            return Says::json(429, &body);
        }
        self.daily -= 1;
        let says = self.api(asked);
        says.with("x-hubspot-ratelimit-remaining", "99")
            .with("x-hubspot-ratelimit-interval-milliseconds", "10000")
            .with("x-hubspot-ratelimit-daily-remaining", self.daily.max(1).to_string())
    }

    fn next(&mut self) -> &mut VecDeque<Says> {
        &mut self.next
    }
}

impl Account {
    /// The records by their `external_id`, without HubSpot's own id.
    pub(crate) fn by_external_id(&self) -> BTreeMap<String, Map<String, Value>> {
        let records = self.records.values();
        records
            .map(|record| (record["external_id"].as_str().unwrap().to_owned(), record.clone()))
            .collect()
    }

    fn find(&self, id: &str) -> Option<u64> {
        let mut all = self.records.iter();
        all.find(|(_, record)| record["external_id"] == id).map(|(number, _)| *number)
    }

    fn api(&mut self, asked: &Asked) -> Says {
        let batch = asked.path.strip_prefix("/crm/v3/objects/contacts/batch/");
        match (asked.method.as_str(), asked.path.as_str(), batch) {
            ("GET", "/crm/v3/properties/contacts/external_id", _) => {
                Says::json(200, &json!({ "name": "external_id", "hasUniqueValue": true }))
            }
            ("GET", "/crm/v3/properties/contacts/company", _) => {
                Says::json(200, &json!({ "name": "company", "hasUniqueValue": false }))
            }
            ("POST", _, Some(what)) => {
                let body = asked.json();
                let inputs = body["inputs"].as_array().unwrap();
                self.calls.push(format!("{what} {}", inputs.len()));
                // api-reference/crm-objects-v3/batch: 100 inputs.
                if inputs.len() > 100 {
                    return error(400, "VALIDATION_ERROR", "The maximum batch size is 100");
                }
                let ids: HashSet<&Value> = inputs.iter().map(|input| &input["id"]).collect();
                if ids.len() < inputs.len() {
                    return error(400, "VALIDATION_ERROR", "Duplicate IDs found in batch input");
                }
                match what {
                    "upsert" => self.upsert(inputs),
                    "read" => self.read(&body, inputs),
                    "archive" => self.archive(inputs),
                    _ => error(404, "OBJECT_NOT_FOUND", "no such endpoint"),
                }
            }
            _ => error(404, "OBJECT_NOT_FOUND", "no such endpoint"),
        }
    }

    /// api-reference/crm-objects-v3/batch/upsert: a bad property is a 400 of the whole batch; what
    /// conflicts with another record is a 207.
    fn upsert(&mut self, inputs: &[Value]) -> Says {
        for input in inputs {
            assert_eq!(input["idProperty"], "external_id");
            for (name, value) in input["properties"].as_object().unwrap() {
                if !self.known.contains(&name.as_str()) {
                    return error(
                        400,
                        "VALIDATION_ERROR",
                        &format!("Property {name} does not exist"),
                    );
                }
                let Some(text) = value.as_str() else {
                    return error(400, "VALIDATION_ERROR", "Invalid input JSON: not a string");
                };
                if name == "firstname" && text == "poison" {
                    return error(
                        400,
                        "VALIDATION_ERROR",
                        "Property values were not valid: poison",
                    );
                }
            }
        }
        let (mut results, mut errors) = (Vec::new(), Vec::new());
        for input in inputs {
            let id = input["id"].as_str().unwrap();
            let trace = &input["objectWriteTraceId"];
            let email = &input["properties"]["email"];
            let found = self.find(id);
            let others = self.records.iter().filter(|(number, _)| Some(**number) != found);
            if email.is_string()
                && others.clone().any(|(_, other)| other.get("email") == Some(email))
            {
                errors.push(json!({ "status": "error", "category": "CONFLICT",
                    "message": "a record with that email exists",
                    "context": { "objectWriteTraceId": [trace] } }));
                continue;
            }
            let number = found.unwrap_or_else(|| {
                self.ids += 1;
                self.ids
            });
            let record = self.records.entry(number).or_default();
            record.insert("external_id".to_owned(), json!(id));
            for (name, value) in input["properties"].as_object().unwrap() {
                // An empty text clears a property.
                match value.as_str() {
                    Some("") => record.remove(name),
                    _ => record.insert(name.clone(), value.clone()),
                };
            }
            results.push(json!({ "id": number.to_string(), "new": found.is_none(),
                "properties": {}, "objectWriteTraceId": trace }));
        }
        if errors.is_empty() {
            return Says::json(200, &json!({ "status": "COMPLETE", "results": results }));
        }
        let body = json!({ "status": "COMPLETE", "results": results, "numErrors": errors.len(),
                           "errors": errors });
        Says::json(207, &body)
    }

    /// api-reference/crm-objects-v3/batch/read: what is not there is an error of a 207.
    fn read(&self, body: &Value, inputs: &[Value]) -> Says {
        assert_eq!(body["idProperty"], "external_id");
        let (mut results, mut missing) = (Vec::new(), Vec::new());
        for input in inputs {
            match self.find(input["id"].as_str().unwrap()) {
                Some(number) => results.push(json!({ "id": number.to_string(),
                    "properties": { "external_id": input["id"] } })),
                None => missing.push(input["id"].clone()),
            }
        }
        if missing.is_empty() {
            return Says::json(200, &json!({ "status": "COMPLETE", "results": results }));
        }
        let errors = json!([{ "status": "error", "category": "OBJECT_NOT_FOUND",
                              "message": "Could not get some objects", "context": { "ids": missing } }]);
        let body =
            json!({ "status": "COMPLETE", "results": results, "numErrors": 1, "errors": errors });
        Says::json(207, &body)
    }

    /// api-reference/crm-objects-v3/batch/archive: 204.
    fn archive(&mut self, inputs: &[Value]) -> Says {
        for input in inputs {
            let number: HashMap<String, String> = serde_json::from_value(input.clone()).unwrap();
            self.records.remove(&number["id"].parse().unwrap());
        }
        Says::text(204, "")
    }
}
