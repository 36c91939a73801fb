//! The request of a batch: its body, and the headers by which a receiver knows a repeat and who
//! sent it.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::Request;
use hyper::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use ring::digest;

use super::cloudevents;
use super::outbox;
use super::plan::{Head, IDEMPOTENCY_KEY, Plan};
use super::signature::Signer;
use crate::envelope::Envelope;
use crate::sink::template::Event;
use crate::sink::web::body::{Body, Taken};
use crate::sink::{Batch, Common, Form, web};

const REPLAY: HeaderName = HeaderName::from_static("walgate-replay");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Makes the requests of a sink.
pub(super) struct Writer {
    /// Whether a body is an array of events.
    array: bool,
    /// What an event's body is.
    form: Form,
    signer: Option<Signer>,
    /// Whether bodies are compressed.
    gzip: bool,
}

impl Writer {
    pub(super) const fn new(common: &Common, signer: Option<Signer>, gzip: bool) -> Self {
        Self { array: common.max_events > 1, form: common.form, signer, gzip }
    }

    /// Makes the request of a batch, whose first event is `first`, or says what of that stands in
    /// the way.
    pub(super) fn write(
        &self,
        batch: &Batch,
        first: &Envelope,
        plan: &Plan,
        now: SystemTime,
    ) -> Result<(Request<Body>, Taken), String> {
        let event = Event { envelope: first, form: self.form };
        let Head { method, uri, mut headers } = plan.head(&event)?;
        if let (Some(outbox), false) = (&first.outbox, self.array) {
            outbox::add_headers(outbox, plan, &mut headers)?;
        }
        let body = if self.array {
            array(&batch.events)
        } else if plan.binary {
            cloudevents::binary(&first.body, plan, &mut headers)?
        } else {
            first.body.clone()
        };
        self.add_headers(&mut headers, batch, &body, now);
        // What is signed is what the receiver reads: it is compressed afterwards.
        let body = if self.gzip && body.len() >= web::GZIP_BYTES_MIN {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            web::gzip(&body).map_err(|error| format!("gzip: {error}"))?
        } else {
            body
        };
        let (body, sent) = Body::new(body);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok((request, sent))
    }

    fn add_headers(&self, headers: &mut HeaderMap, batch: &Batch, body: &Bytes, now: SystemTime) {
        let key = idempotency_key(batch, self.array);
        // Digits, letters and `-` alone make it up, so that it always is a header's value.
        let Ok(value) = HeaderValue::from_str(&key) else { return };
        if batch.replay > 0 {
            headers.insert(REPLAY, HeaderValue::from_static("true"));
        }
        if let Some(signer) = &self.signer {
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let signature = signer.sign(&key, now, body);
            headers.insert(WEBHOOK_ID, value.clone());
            headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(now));
            if let Ok(signature) = HeaderValue::from_str(&signature) {
                headers.insert(WEBHOOK_SIGNATURE, signature);
            }
        }
        headers.insert(IDEMPOTENCY_KEY, value);
    }
}

/// Puts the events into one array without looking into them.
fn array(events: &[Envelope]) -> Bytes {
    let bytes: usize = events.iter().map(|event| event.body.len().saturating_add(1)).sum();
    let mut body = Vec::with_capacity(bytes.saturating_add(2));
    for event in events {
        body.push(if body.is_empty() { b'[' } else { b',' });
        body.extend_from_slice(&event.body);
    }
    body.push(b']');
    Bytes::from(body)
}

/// Returns the key under which a receiver knows a repeat: the event's own, or of an array the
/// SHA-256 over those of its events, the same for as long as they travel together.
fn idempotency_key(batch: &Batch, array: bool) -> String {
    let own = |event: &Envelope| event.repeat_id(batch.replay);
    if !array {
        return batch.events.first().map(own).unwrap_or_default();
    }
    let mut hash = digest::Context::new(&digest::SHA256);
    for event in &batch.events {
        hash.update(own(event).as_bytes());
        hash.update(b"\n");
    }
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
