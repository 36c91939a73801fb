//! Asking for credentials over HTTP: one request at a time, to whoever has them.

use std::time::{Duration, SystemTime};

use hyper::Method;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use tokio::time::Instant;
use url::{Position, Url};

use super::Credentials;
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::web::Reach;
use crate::sink::web::client::{Ask, Client, Heard};
use crate::sink::{Common, Failure};

/// How long who has credentials may take to answer: they are near.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Somebody who has credentials. Asked once in a while, so that no connection is kept.
pub(super) struct Remote {
    client: Client,
    url: Url,
    timeout: Duration,
}

impl Remote {
    /// `url` is one that may be asked, also where its address is private.
    pub(super) fn new(url: Url, common: &Common) -> Result<Self, Failure> {
        let reach = Reach { allow_private: true, ..Reach::default() };
        let common = Common { timeout: common.timeout.min(TIMEOUT), concurrency: 1, ..*common };
        let client = Client::new("endpoint", &url, None, &reach, &common)
            .map_err(|error| failed(Category::Setup, &crate::failure::chain(&error)))?;
        Ok(Self { client, url, timeout: common.timeout })
    }

    /// Asks with these headers; the path of the URL, or another.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: Option<&str>,
        headers: &[(&'static str, &str)],
    ) -> Result<Heard, Failure> {
        let own = || self.url[Position::BeforePath..Position::AfterQuery].to_owned();
        let ask = Ask::new(method, path.map_or_else(own, str::to_owned));
        self.send(ask.headers(map(headers)?)).await
    }

    /// Sends a form.
    pub(super) async fn send_form(&self, form: String) -> Result<Heard, Failure> {
        let ask = Ask::new(Method::POST, "/").header("accept", "*/*");
        self.send(ask.with("application/x-www-form-urlencoded", form)).await
    }

    async fn send(&self, ask: Ask) -> Result<Heard, Failure> {
        let heard = self.client.ask(&ask, Instant::now() + self.timeout).await;
        heard.map_err(|failure| failed(failure.category, &failure.message))
    }

    /// Says that an answer is none. What it says may be the credentials: it is not shown.
    pub(super) fn refused(&self, heard: &Heard) -> Failure {
        let refusal = self.client.refusal(heard);
        let category = match refusal.category {
            // What is wrong with them is wrong with all events.
            Category::Rejected => Category::Setup,
            other => other,
        };
        Failure { answer: None, ..failed(category, &refusal.message) }
    }

    /// Says that an answer has no credentials in it.
    pub(super) fn empty(&self) -> Failure {
        failed(Category::Transient, &format!("{} answered without any", self.client.host()))
    }
}

pub(super) fn failed(category: Category, why: &str) -> Failure {
    Failure::new(category, format!("no credentials: {why}"))
}

fn map(headers: &[(&'static str, &str)]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let mut value = HeaderValue::try_from(*value)
            .map_err(|_| failed(Category::Setup, "a token with a line end in it"))?;
        value.set_sensitive(true);
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

/// What an agent or an instance answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: String,
}

/// Reads credentials in JSON.
pub(super) fn read(body: &[u8]) -> Option<Credentials> {
    let given: Given = serde_json::from_slice(body).ok()?;
    Some(Credentials {
        access_key_id: given.access_key_id,
        secret_access_key: Secret::new(given.secret_access_key),
        session_token: Some(Secret::new(given.token)),
        end: Some(time(&given.expiration)?),
    })
}

/// Reads a time of RFC 3339.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let seconds = u64::try_from(time.as_second()).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_json_have_an_end() {
        let text = r#"{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"ASIA1",
            "SecretAccessKey":"s","Token":"t","Expiration":"2026-11-24T05:00:00Z"}"#;
        let credentials = read(text.as_bytes()).unwrap();
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_496_400);
        assert_eq!((credentials.access_key_id.as_str(), credentials.end), ("ASIA1", Some(end)));
        let shown = format!("{credentials:?}");
        assert!(!shown.contains("\"s\"") && !shown.contains("\"t\""), "{shown}");
        for wrong in ["", "{}", r#"{"Code":"Failed"}"#, &text.replace("2026", "soon")] {
            assert_eq!(read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
