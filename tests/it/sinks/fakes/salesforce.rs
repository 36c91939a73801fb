//! An org of Salesforce. Pages are below <https://developer.salesforce.com/docs/>.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Map, Value, json};

use super::{Asked, Says, Service};

const BASE: &str = "/services/data/v66.0";

/// What an org has and does.
#[derive(Debug)]
pub(crate) struct Org {
    /// Of `Contact`, by `Ext__c`.
    pub(crate) records: BTreeMap<String, Map<String, Value>>,
    pub(crate) published: Vec<Value>,
    /// `client_secret` of the app; what anything else gets is a refusal.
    pub(crate) secret: String,
    /// The app's certificate, for JWT.
    pub(crate) public_key: Option<Vec<u8>>,
    /// Where tokens are good for.
    pub(crate) instance_url: Option<String>,
    pub(crate) tokens: HashSet<String>,
    pub(crate) issued: usize,
    pub(crate) used: u64,
    pub(crate) max: u64,
    /// Records that another transaction has locked, and for how many attempts.
    pub(crate) locked: HashMap<String, usize>,
    /// What was asked for, in order: `upsert 2`, `delete 1`, `job 5`, …
    pub(crate) calls: Vec<String>,
    /// How many questions for a job it takes until it is complete.
    pub(crate) polls: usize,
    pub(crate) jobs: BTreeMap<String, Job>,
    pub(crate) next: VecDeque<Says>,
    /// What a contact may be sent with.
    pub(crate) contact_fields: Vec<&'static str>,
    pub(crate) ids: usize,
}

/// A job of Bulk API 2.0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Job {
    state: String,
    csv: String,
    polls: usize,
    saved: Vec<String>,
    failed: Vec<(String, String)>,
}

impl Default for Org {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            published: Vec::new(),
            secret: "the app's secret".to_owned(),
            public_key: None,
            instance_url: None,
            tokens: HashSet::new(),
            issued: 0,
            used: 0,
            max: 100_000,
            locked: HashMap::new(),
            calls: Vec::new(),
            polls: 1,
            jobs: BTreeMap::new(),
            next: VecDeque::new(),
            contact_fields: vec!["attributes", "Ext__c", "Name", "Note__c", "Amount__c"],
            ids: 0,
        }
    }
}

/// atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
fn error(status: u16, code: &str, message: &str) -> Says {
    Says::json(status, &json!([{ "message": message, "errorCode": code }]))
}

impl Service for Org {
    fn answer(&mut self, asked: &Asked) -> Says {
        if asked.path == "/services/oauth2/token" {
            return self.token(asked);
        }
        let token = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        if !self.tokens.contains(token) {
            return error(401, "INVALID_SESSION_ID", "Session expired or invalid");
        }
        self.used += 1;
        let says = if self.used > self.max {
            error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        } else {
            self.api(asked)
        };
        // atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm
        says.with("sforce-limit-info", format!("api-usage={}/{}", self.used, self.max))
    }

    fn next(&mut self) -> &mut VecDeque<Says> {
        &mut self.next
    }
}

impl Org {
    /// Every token that was issued has ended.
    pub(crate) fn expire(&mut self) {
        self.tokens.clear();
    }

    /// Help: OAuth 2.0 client credentials flow, and JWT bearer flow: both answer without
    /// `expires_in`.
    fn token(&mut self, asked: &Asked) -> Says {
        let form = asked.form();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let is_known = match field("grant_type") {
            "client_credentials" => {
                field("client_id") == "app" && field("client_secret") == self.secret
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                self.is_signed(field("assertion"), asked.header("host"))
            }
            _ => false,
        };
        if !is_known {
            let body = json!({ "error": "invalid_grant", "error_description": "who is it" });
            return Says::json(400, &body);
        }
        self.issued += 1;
        let token = format!("00Dx!token-{}", self.issued);
        self.tokens.insert(token.clone());
        let host = asked.header("host");
        let instance = self.instance_url.clone().unwrap_or_else(|| format!("http://{host}"));
        let body =
            json!({ "access_token": token, "instance_url": instance, "token_type": "Bearer" });
        Says::json(200, &body)
    }

    /// Help: JWT bearer flow: RS256, `iss` the app, `sub` the user, `aud` the My Domain.
    fn is_signed(&self, assertion: &str, host: &str) -> bool {
        let Some((signed, signature)) = assertion.rsplit_once('.') else { return false };
        let key =
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.public_key.clone().unwrap());
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (_, claims) = signed.split_once('.').unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        let exp = claims["exp"].as_u64().unwrap();
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
        key.verify(signed.as_bytes(), &signature).is_ok()
            && claims["iss"] == "app"
            && claims["sub"] == "walgate@acme.com"
            && claims["aud"] == format!("http://{host}")
            && (now..now + 300).contains(&exp)
    }

    fn api(&mut self, asked: &Asked) -> Says {
        let path = asked.path.strip_prefix(BASE).unwrap_or_default().trim_end_matches('/');
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match (asked.method.as_str(), parts.as_slice()) {
            ("GET", ["limits"]) => {
                let left = self.max.saturating_sub(self.used);
                let daily = json!({ "Max": self.max, "Remaining": left });
                Says::json(200, &json!({ "DailyApiRequests": daily }))
            }
            ("GET", ["sobjects", "Contact", "describe"]) => Says::json(200, &Self::contact()),
            ("GET", ["sobjects", "Order_Event__e", "describe"]) => {
                Says::json(200, &json!({ "createable": true, "fields": [] }))
            }
            ("PATCH", ["composite", "sobjects", "Contact", "Ext__c"]) => self.upsert(&asked.json()),
            ("POST", ["composite", "sobjects"]) => self.publish(&asked.json()),
            ("POST", ["composite"]) => self.composite(&asked.json()),
            ("GET", ["query"]) => self.query(&asked.query["q"]),
            ("POST", ["jobs", "ingest"]) => self.job(&asked.json()),
            (method, ["jobs", "ingest", id, rest @ ..]) => self.of_job(method, id, rest, asked),
            _ => error(404, "NOT_FOUND", "The requested resource does not exist"),
        }
    }

    fn contact() -> Value {
        let field = |name: &str, external: bool| json!({ "name": name, "externalId": external });
        json!({
            "createable": true, "updateable": true, "deletable": true,
            "fields": [field("Ext__c", true), field("Name", false), field("Note__c", false)]
        })
    }

    /// atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections_upsert.htm:
    /// 200 records of one type, none of them twice, results in their order.
    fn upsert(&mut self, body: &Value) -> Says {
        let records = body["records"].as_array().unwrap();
        self.calls.push(format!("upsert {}", records.len()));
        if records.len() > 200 {
            return error(
                400,
                "EXCEEDED_ID_LIMIT",
                "record limit reached. cannot submit more than 200",
            );
        }
        if let Some(unknown) = records.iter().find_map(|record| self.unknown(record)) {
            return error(400, "INVALID_FIELD", &format!("No such column '{unknown}' on Contact"));
        }
        let id = |record: &Value| as_text(&record["Ext__c"]);
        let mut results = Vec::new();
        for record in records {
            let twice = records.iter().filter(|other| id(other) == id(record)).count() > 1;
            let saved = if twice {
                let message = format!("Duplicate external id specified: {}", id(record));
                Err(("DUPLICATE_VALUE", message, vec!["Ext__c"]))
            } else {
                self.save(&id(record), record.as_object().unwrap())
            };
            results.push(match saved {
                Ok(()) => json!({ "id": "003x", "success": true, "errors": [], "created": false }),
                Err((code, message, fields)) => {
                    let error = json!({ "statusCode": code, "message": message, "fields": fields });
                    json!({ "success": false, "errors": [error] })
                }
            });
        }
        Says::json(200, &Value::Array(results))
    }

    fn unknown(&self, record: &Value) -> Option<String> {
        let mut names = record.as_object()?.keys();
        names.find(|name| !self.contact_fields.contains(&name.as_str())).cloned()
    }

    /// Saves a record: null clears a field, and one that is left out stays.
    fn save(
        &mut self,
        id: &str,
        fields: &Map<String, Value>,
    ) -> Result<(), (&'static str, String, Vec<&'static str>)> {
        if let Some(left) = self.locked.get_mut(id).filter(|left| **left > 0) {
            *left -= 1;
            let message = "unable to obtain exclusive access to this record".to_owned();
            return Err(("UNABLE_TO_LOCK_ROW", message, Vec::new()));
        }
        if fields.get("Name") == Some(&json!("poison")) {
            let message = "this name is not allowed".to_owned();
            return Err(("FIELD_CUSTOM_VALIDATION_EXCEPTION", message, vec!["Name"]));
        }
        let is_new = !self.records.contains_key(id);
        self.ids += usize::from(is_new);
        let number = format!("003{:012}", self.ids);
        let record = self.records.entry(id.to_owned()).or_default();
        if is_new {
            record.insert("Id".to_owned(), json!(number));
        }
        for (name, value) in fields.iter().filter(|(name, _)| !is_of_the_request(name)) {
            match value {
                Value::Null => record.remove(name),
                value => record.insert(name.clone(), value.clone()),
            };
        }
        Ok(())
    }

    /// atlas.en-us.platform_events.meta/platform_events/platform_events_publish_api.htm: an answer
    /// each; success means that it is queued.
    fn publish(&mut self, body: &Value) -> Says {
        let records = body["records"].as_array().unwrap();
        self.calls.push(format!("publish {}", records.len()));
        if records.len() > 200 {
            return error(
                400,
                "EXCEEDED_ID_LIMIT",
                "record limit reached. cannot submit more than 200",
            );
        }
        let each = records.iter().map(|record| {
            self.published.push(record.clone());
            json!({ "id": "e01x", "success": true, "errors": [] })
        });
        Says::json(200, &each.collect())
    }

    /// atlas.en-us.api_rest.meta/api_rest/resources_composite_composite.htm: 25 subrequests.
    fn composite(&mut self, body: &Value) -> Says {
        let parts = body["compositeRequest"].as_array().unwrap();
        self.calls.push(format!("delete {}", parts.len()));
        if parts.len() > 25 {
            return error(
                400,
                "LIMIT_EXCEEDED_",
                "Composite request may contain up to 25 subrequests",
            );
        }
        let each: Vec<Value> = parts
            .iter()
            .map(|part| {
                assert_eq!(part["method"], "DELETE");
                let path = part["url"].as_str().unwrap().strip_prefix(BASE).unwrap();
                let (status, body) = self.delete(path);
                json!({ "httpStatusCode": status, "body": body, "httpHeaders": {},
                        "referenceId": part["referenceId"] })
            })
            .collect();
        Says::json(200, &json!({ "compositeResponse": each }))
    }

    fn delete(&mut self, path: &str) -> (u16, Value) {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let id = match parts.as_slice() {
            // What ends like a top-level domain is read as a format: known from users.
            ["sobjects", "Contact", "Ext__c", id] if !id.contains('.') => Some((*id).to_owned()),
            ["sobjects", "Contact", id] => {
                let mut all = self.records.iter();
                all.find(|(_, record)| record["Id"] == **id).map(|(id, _)| id.clone())
            }
            _ => None,
        };
        match id.and_then(|id| self.records.remove(&id)) {
            Some(_) => (204, Value::Null),
            None => {
                let message = "The requested resource does not exist";
                (404, json!([{ "errorCode": "NOT_FOUND", "message": message }]))
            }
        }
    }

    /// atlas.en-us.soql_sosl.meta/soql_sosl/sforce_api_calls_soql.htm, as far as it is asked for.
    fn query(&mut self, query: &str) -> Says {
        self.calls.push("query".to_owned());
        let (head, list) = query.split_once(" IN (").unwrap();
        assert_eq!(head, "SELECT Id, Ext__c FROM Contact WHERE Ext__c");
        let list = list.strip_suffix(')').unwrap();
        let wanted: Vec<String> =
            list.split(", ").map(|one| one.trim_matches('\'').to_owned()).collect();
        let found = self.records.iter().filter(|(id, _)| wanted.contains(id));
        let found = found.map(|(id, record)| {
            json!({ "attributes": { "type": "Contact" }, "Id": record["Id"], "Ext__c": id })
        });
        let records: Vec<Value> = found.collect();
        Says::json(200, &json!({ "totalSize": records.len(), "done": true, "records": records }))
    }

    /// atlas.en-us.api_asynch.meta/api_asynch/create_job.htm
    fn job(&mut self, body: &Value) -> Says {
        assert_eq!(
            *body,
            json!({ "object": "Contact", "operation": "upsert", "externalIdFieldName": "Ext__c",
                    "contentType": "CSV", "lineEnding": "LF" })
        );
        let id = format!("750{:012}", self.jobs.len() + 1);
        self.jobs.insert(id.clone(), Job { state: "Open".to_owned(), ..Job::default() });
        Says::json(200, &json!({ "id": id, "state": "Open" }))
    }

    fn of_job(&mut self, method: &str, id: &str, rest: &[&str], asked: &Asked) -> Says {
        let Some(mut job) = self.jobs.get(id).cloned() else {
            return error(404, "NOT_FOUND", "The requested resource does not exist");
        };
        let says = match (method, rest, job.state.as_str()) {
            // …/upload_job_data.htm: text/csv, once, while it is open.
            ("PUT", ["batches"], "Open") => {
                assert!(asked.header("content-type").starts_with("text/csv"));
                job.csv = String::from_utf8(asked.body.clone()).unwrap();
                Says::text(201, "")
            }
            // …/close_job.htm
            ("PATCH", [], "Open") => {
                assert_eq!(asked.json(), json!({ "state": "UploadComplete" }));
                job.state = "UploadComplete".to_owned();
                Says::json(200, &json!({ "id": id, "state": "UploadComplete" }))
            }
            // …/get_job_info.htm
            ("GET", [], _) => {
                job.polls += 1;
                if job.polls >= self.polls && job.state == "UploadComplete" {
                    self.work(&mut job);
                }
                let processed = job.saved.len() + job.failed.len();
                Says::json(
                    200,
                    &json!({ "id": id, "state": job.state, "numberRecordsProcessed": processed,
                             "numberRecordsFailed": job.failed.len() }),
                )
            }
            // …/get_job_successful_results.htm: in no order that is promised.
            ("GET", ["successfulResults"], "JobComplete") => {
                let rows = job.saved.iter().rev().map(|id| format!("003x,true,{id}\n"));
                let rows: String = rows.collect();
                Says::text(200, format!("sf__Id,sf__Created,Ext__c\n{rows}"))
            }
            // …/get_job_failed_results.htm
            ("GET", ["failedResults"], "JobComplete") => {
                let rows = job.failed.iter().map(|(id, why)| format!(",\"{why}\",{id}\n"));
                let rows: String = rows.collect();
                Says::text(200, format!("sf__Id,sf__Error,Ext__c\n{rows}"))
            }
            _ => error(400, "INVALIDJOBSTATE", "not in this state"),
        };
        self.jobs.insert(id.to_owned(), job);
        says
    }

    /// …/`datafiles_prepare_csv.htm`: empty leaves a field, `#N/A` clears it.
    fn work(&mut self, job: &mut Job) {
        let mut reader = csv::Reader::from_reader(job.csv.as_bytes());
        let header = reader.headers().unwrap().clone();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        self.calls.push(format!("job {}", rows.len()));
        for row in rows {
            let cells = header.iter().zip(&row).filter(|(_, value)| !value.is_empty());
            let fields = cells.map(|(name, value)| {
                let value = if value == "#N/A" { Value::Null } else { json!(value) };
                (name.to_owned(), value)
            });
            let fields: Map<String, Value> = fields.collect();
            let id = as_text(&fields["Ext__c"]);
            match self.save(&id, &fields) {
                Ok(()) => job.saved.push(id),
                Err((code, message, fields)) => {
                    job.failed.push((id, format!("{code}:{message}:{} --", fields.join(", "))));
                }
            }
        }
        job.state = "JobComplete".to_owned();
    }
}

fn is_of_the_request(name: &str) -> bool {
    matches!(name, "attributes" | "Ext__c")
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
