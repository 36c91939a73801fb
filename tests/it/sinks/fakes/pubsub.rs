//! Google Pub/Sub by its REST API. Pages are below <https://cloud.google.com/>.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::{Asked, Says, Service};

/// What a project has and does.
#[derive(Debug)]
pub(crate) struct PubSub {
    /// By their full names: what data may not have in it, which stands for a schema.
    pub(crate) topics: BTreeMap<String, Option<&'static str>>,
    subscriptions: BTreeMap<String, Subscription>,
    /// The key of the one service account, `walgate@walgate-test.iam`; none: nobody is asked who
    /// it is.
    pub(crate) public_key: Option<Vec<u8>>,
    pub(crate) tokens: BTreeSet<String>,
    pub(crate) issued: usize,
    /// No token is good, also a new one.
    pub(crate) refuses: bool,
    /// What the account may do.
    pub(crate) rights: BTreeSet<&'static str>,
    /// Ordering keys whose part of the service is down.
    pub(crate) down: BTreeSet<String>,
    /// Each request to publish: its ordering key, and what it had.
    pub(crate) published: Vec<(Option<String>, Vec<String>)>,
    pub(crate) next: VecDeque<Says>,
    /// The last URL that a token was asked for at.
    address: String,
    ids: u64,
}

#[derive(Debug)]
struct Subscription {
    topic: String,
    messages: Vec<(String, Value)>,
}

impl Default for PubSub {
    fn default() -> Self {
        Self {
            topics: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            public_key: None,
            tokens: BTreeSet::new(),
            issued: 0,
            refuses: false,
            rights: ["pubsub.topics.publish", "pubsub.topics.get"].into(),
            down: BTreeSet::new(),
            published: Vec::new(),
            next: VecDeque::new(),
            address: String::new(),
            ids: 0,
        }
    }
}

/// apis/design/errors
pub(crate) fn error(http: u16, status: &str, message: &str) -> Says {
    let error = json!({ "code": http, "message": message, "status": status });
    Says::json(http, &json!({ "error": error }))
}

fn invalid(message: &str) -> Says {
    error(400, "INVALID_ARGUMENT", message)
}

impl Service for PubSub {
    fn answer(&mut self, asked: &Asked) -> Says {
        if asked.path == "/token" {
            self.address = format!("http://{}", asked.header("host"));
            return self.token(&asked.form());
        }
        let Some(path) = asked.path.strip_prefix("/v1/") else {
            return error(404, "NOT_FOUND", "no such endpoint");
        };
        let (name, method) = path.split_once(':').unwrap_or((path, ""));
        match (asked.method.as_str(), name.split('/').nth(2), method) {
            ("PUT", Some("topics"), "") => {
                self.topics.insert(name.to_owned(), None);
                Says::json(200, &json!({ "name": name }))
            }
            ("PUT", Some("subscriptions"), "") => {
                let topic = asked.json()["topic"].as_str().unwrap().to_owned();
                let subscription = Subscription { topic, messages: Vec::new() };
                self.subscriptions.insert(name.to_owned(), subscription);
                Says::json(200, &json!({ "name": name }))
            }
            ("POST", Some("subscriptions"), "pull") => self.pull(name, &asked.json()),
            ("POST", Some("subscriptions"), "acknowledge") => {
                self.acknowledge(name, &asked.json());
                Says::json(200, &json!({}))
            }
            ("GET", Some("topics"), "") => self.with_right(asked, "pubsub.topics.get", |pubsub| {
                match pubsub.topics.contains_key(name) {
                    true => Says::json(200, &json!({ "name": name })),
                    false => not_found(name),
                }
            }),
            ("POST", Some("topics"), "publish") => {
                self.with_right(asked, "pubsub.topics.publish", |pubsub| {
                    pubsub.publish(name, &asked.json())
                })
            }
            // iam/docs/reference/rest/v1/Policy: whoever may ask is told of their own rights.
            ("POST", Some("topics"), "testIamPermissions") => {
                let wanted = asked.json()["permissions"].as_array().cloned().unwrap();
                let has = |right: &Value| self.rights.contains(right.as_str().unwrap());
                let held: Vec<Value> = wanted.into_iter().filter(has).collect();
                Says::json(200, &json!({ "permissions": held }))
            }
            _ => error(404, "NOT_FOUND", "no such endpoint"),
        }
    }

    fn next(&mut self) -> &mut VecDeque<Says> {
        &mut self.next
    }
}

fn not_found(name: &str) -> Says {
    let id = name.rsplit('/').next().unwrap_or_default();
    error(404, "NOT_FOUND", &format!("Resource not found (resource={id})."))
}

impl PubSub {
    /// Forgets every token that it issued.
    pub(crate) fn expire(&mut self) {
        self.tokens.clear();
    }

    /// identity/protocols/oauth2/service-account
    fn token(&mut self, form: &HashMap<String, String>) -> Says {
        let refused = |why: &str| {
            let body = json!({ "error": "invalid_grant", "error_description": why });
            Says::json(400, &body)
        };
        if form.get("grant_type").map(String::as_str)
            != Some("urn:ietf:params:oauth:grant-type:jwt-bearer")
        {
            return refused("unsupported grant");
        }
        let Some(claims) = self.claims(form.get("assertion").map_or("", String::as_str)) else {
            return refused("Invalid JWT Signature.");
        };
        let seconds = |name: &str| claims[name].as_u64().unwrap_or_default();
        if !(1..=3600).contains(&seconds("exp").saturating_sub(seconds("iat"))) {
            return refused("Invalid JWT: Token must be a short-lived token (60 minutes)");
        }
        let fits = claims["iss"] == "walgate@walgate-test.iam"
            && claims["scope"] == "https://www.googleapis.com/auth/pubsub"
            && claims["aud"] == format!("{}/token", self.address)
            && claims.get("sub").is_none();
        if !fits {
            return refused("Invalid grant: account not found");
        }
        self.issued += 1;
        let token = format!("ya29.token-{}", self.issued);
        self.tokens.insert(token.clone());
        let body = json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" });
        Says::json(200, &body)
    }

    /// Reads an assertion that is signed with the account's key.
    fn claims(&self, assertion: &str) -> Option<Value> {
        let (signed, signature) = assertion.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let part = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.public_key.as_ref()?);
        key.verify(signed.as_bytes(), &part(signature)?).ok()?;
        let head: Value = serde_json::from_slice(&part(head)?).ok()?;
        let is_known = head["kid"] == "key-1" && head["alg"] == "RS256";
        serde_json::from_slice(&part(claims)?).ok().filter(|_| is_known)
    }

    fn with_right(
        &mut self,
        asked: &Asked,
        right: &'static str,
        act: impl FnOnce(&mut Self) -> Says,
    ) -> Says {
        if self.public_key.is_some() {
            let token = asked.header("authorization").trim_start_matches("Bearer ");
            if self.refuses || !self.tokens.contains(token) {
                let why = format!("Request had invalid authentication credentials: {token}.");
                return error(401, "UNAUTHENTICATED", &why);
            }
        }
        if !self.rights.contains(right) {
            return error(403, "PERMISSION_DENIED", "User not authorized to perform this action.");
        }
        act(self)
    }

    /// pubsub/docs/reference/rest/v1/projects.topics/publish
    fn publish(&mut self, topic: &str, body: &Value) -> Says {
        let Some(schema) = self.topics.get(topic).copied() else { return not_found(topic) };
        let messages = body["messages"].as_array().cloned().unwrap_or_default();
        if let Err(refused) = limits(&messages, schema) {
            return refused;
        }
        let key = messages[0]["orderingKey"].as_str().map(str::to_owned);
        if key.as_ref().is_some_and(|key| self.down.contains(key)) {
            return error(503, "UNAVAILABLE", "The service was unable to fulfill your request.");
        }
        let data = |message: &Value| {
            let data = STANDARD.decode(message["data"].as_str().unwrap_or_default()).unwrap();
            String::from_utf8(data).unwrap()
        };
        self.published.push((key, messages.iter().map(data).collect()));
        let mut ids = Vec::new();
        for mut message in messages {
            self.ids += 1;
            let id = self.ids.to_string();
            message["messageId"] = json!(id);
            message["publishTime"] = json!("2026-11-24T05:00:00Z");
            let all = self.subscriptions.values_mut();
            for subscription in all.filter(|one| one.topic == topic) {
                subscription.messages.push((id.clone(), message.clone()));
            }
            ids.push(id);
        }
        Says::json(200, &json!({ "messageIds": ids }))
    }

    /// pubsub/docs/reference/rest/v1/projects.subscriptions/pull
    fn pull(&self, name: &str, body: &Value) -> Says {
        let Some(subscription) = self.subscriptions.get(name) else { return not_found(name) };
        let most = usize::try_from(body["maxMessages"].as_u64().unwrap()).unwrap();
        let received = subscription.messages.iter().take(most);
        let received: Vec<Value> =
            received.map(|(id, message)| json!({ "ackId": id, "message": message })).collect();
        Says::json(200, &json!({ "receivedMessages": received }))
    }

    fn acknowledge(&mut self, name: &str, body: &Value) {
        let ids: BTreeSet<&str> =
            body["ackIds"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        if let Some(subscription) = self.subscriptions.get_mut(name) {
            subscription.messages.retain(|(id, _)| !ids.contains(id.as_str()));
        }
    }
}

/// `pubsub/quotas#resource_limits`
fn limits(messages: &[Value], schema: Option<&str>) -> Result<(), Says> {
    if messages.is_empty() {
        return Err(invalid("No messages to publish"));
    }
    if messages.len() > 1000 {
        return Err(invalid("Too many messages to publish"));
    }
    let key = |message: &Value| message["orderingKey"].as_str().unwrap_or_default().to_owned();
    let mut bytes = 0;
    for message in messages {
        let none = serde_json::Map::new();
        let attributes = message["attributes"].as_object().unwrap_or(&none);
        let encoded = message["data"].as_str().unwrap_or_default();
        let Ok(data) = STANDARD.decode(encoded) else {
            return Err(invalid("Payload isn't valid for request."));
        };
        if data.is_empty() && attributes.is_empty() {
            return Err(invalid("Some messages are empty"));
        }
        // pubsub/docs/reference/rest/v1/PubsubMessage
        if key(message) != key(&messages[0]) || key(message).len() > 1024 {
            return Err(invalid("All messages must have the same ordering key of 1 KiB at most"));
        }
        let fits = |(name, value): (&String, &Value)| {
            (1..=256).contains(&name.len())
                && value.as_str().is_some_and(|value| value.len() <= 1024)
                && !name.starts_with("goog")
        };
        if attributes.len() > 100 || !attributes.iter().all(fits) {
            return Err(invalid("An attribute is past the limits"));
        }
        // pubsub/docs/schemas: one that does not fit fails the whole request.
        let text = String::from_utf8_lossy(&data);
        if schema.is_some_and(|refused| text.contains(refused)) {
            return Err(invalid("Invalid data in message: Message failed schema validation."));
        }
        bytes += data.len();
    }
    if bytes > 10_000_000 {
        return Err(invalid("The request is larger than 10 MB"));
    }
    Ok(())
}
