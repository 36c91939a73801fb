//! A caller of the admin listener that says exactly what it is told to say.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(90);

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks with GET; `headers` may name another host.
#[track_caller]
pub(crate) fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n");
    let names_host = headers.iter().any(|(name, _)| *name == "host");
    let host = ("host", &*address.to_string());
    for (name, value) in (!names_host).then_some(&host).into_iter().chain(headers) {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    say(address, &request).unwrap_or_else(|| panic!("no answer to {path}"))
}

/// Asks with POST; `headers` may name another host.
#[track_caller]
pub(crate) fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut request = format!("POST {path} HTTP/1.1\r\nconnection: close\r\n");
    let names_host = headers.iter().any(|(name, _)| *name == "host");
    let host = ("host", &*address.to_string());
    let length = ("content-length", &*body.len().to_string());
    for (name, value) in (!names_host).then_some(&host).into_iter().chain([&length]).chain(headers)
    {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("\r\n{body}"));
    say(address, &request).unwrap_or_else(|| panic!("no answer to {path}"))
}

/// Sends what it is given and reads to the end; none when there is no whole answer.
pub(crate) fn say(address: SocketAddr, request: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
