//! [`Plan`]: how an event becomes a request's method, URL and headers, checked once.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, USER_AGENT,
};
use hyper::{Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::{Config, Error, Overrides, cloudevents};
use crate::secret::Secret;
use crate::sink::template::{Event, Part, Template};
use crate::sink::web::{self, auth, authority, path_and_query};
use crate::sink::{Common, Form};

/// What needs no escape in a URL: RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The longest value a template may make of a header, in bytes: what common servers still take.
pub(super) const HEADER_VALUE_BYTES_MAX: usize = 8 * 1024;

/// Has a place in each head; each request fills it in.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Headers that walgate or the connection sets itself.
const RESERVED: [&str; 13] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "idempotency-key",
    "walgate-replay",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
];

/// How events of one operation are asked for.
///
/// Without `Debug`: URL and headers hold credentials.
pub(super) struct Plan {
    method: Made<Method>,
    /// Path and query.
    url: Made<Uri>,
    /// The headers that are the same for each event.
    headers: HeaderMap,
    made_headers: Vec<(HeaderName, Template)>,
    /// Headers that the settings name.
    configured: Vec<HeaderName>,
    /// The attributes of a CloudEvent are headers.
    pub(super) binary: bool,
    /// Bodies are compressed, and a header says so.
    gzip: bool,
    /// Credentials come with each request.
    has_auth: bool,
    /// Scheme, host and port, for the check.
    pub(super) origin: Url,
    /// Host and port: what messages may show.
    pub(super) host: String,
}

/// Fixed, or made from each event.
enum Made<T> {
    Fixed(T),
    Template(Template),
}

/// What a request says before its body.
pub(super) struct Head {
    pub(super) method: Method,
    /// Path and query.
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
}

impl Plan {
    /// Reads the settings. `key` is where they stand: empty, or `on.delete.`.
    pub(super) fn new(
        base: &Config,
        over: Option<(&str, &Overrides)>,
        common: &Common,
    ) -> Result<Self, Error> {
        let prefix = over.map_or_else(String::new, |(word, _)| format!("on.{word}."));
        let over = over.map(|(_, over)| over);
        let url = over.and_then(|over| over.url.as_ref()).unwrap_or(&base.url);
        let method = over.and_then(|over| over.method.as_deref()).unwrap_or(&base.method);
        let key = format!("{prefix}url");
        let (url, origin) = url_plan(&key, url)?;
        let has_user = !origin.username().is_empty() || origin.password().is_some();
        if base.auth.is_some() && has_user {
            return Err(Error::TwoCredentials { key });
        }
        let mut plan = Self {
            method: method_plan(&format!("{prefix}method"), method)?,
            url,
            headers: headers_of(&origin, content_type(base, common))
                .ok_or(web::Error::Host { key })?,
            made_headers: Vec::new(),
            configured: Vec::new(),
            binary: base.binary,
            gzip: base.gzip,
            has_auth: base.auth.is_some(),
            host: authority(&origin),
            origin,
        };
        if let Some(value) = auth::fixed(base.auth.as_ref())? {
            plan.headers.insert(AUTHORIZATION, value);
        }
        plan.add_headers("headers.", &base.headers)?;
        if let Some(over) = over {
            plan.add_headers(&format!("{prefix}headers."), &over.headers)?;
        }
        Ok(plan)
    }

    fn add_headers(&mut self, prefix: &str, headers: &[(String, Secret)]) -> Result<(), Error> {
        for (name, value) in headers {
            let key = format!("{prefix}{name}");
            let name: HeaderName =
                name.parse().map_err(|_| Error::HeaderName { key: key.clone() })?;
            if self.sets(&name) {
                return Err(Error::ReservedHeader { key });
            }
            if self.has_auth && name == AUTHORIZATION {
                return Err(Error::TwoCredentials { key });
            }
            let template = Template::parse(value.expose())
                .map_err(|source| Error::Template { key: key.clone(), source })?;
            self.headers.remove(&name);
            self.configured.push(name.clone());
            self.made_headers.retain(|(other, _)| *other != name);
            if let Some(text) = template.fixed() {
                let mut value = HeaderValue::from_bytes(text.as_bytes())
                    .map_err(|_| web::Error::HeaderValue { key })?;
                value.set_sensitive(true);
                self.headers.insert(name, value);
            } else {
                self.made_headers.push((name, template));
            }
        }
        Ok(())
    }

    /// Whether walgate or the connection sets this header.
    fn sets(&self, name: &HeaderName) -> bool {
        RESERVED.contains(&name.as_str())
            || (self.binary && name.as_str().starts_with(cloudevents::PREFIX))
            || (self.gzip && *name == CONTENT_ENCODING)
    }

    /// Whether an event may not set this header: walgate, the connection or the settings do.
    pub(super) fn owns(&self, name: &HeaderName) -> bool {
        self.sets(name)
            || self.configured.contains(name)
            || (*name == AUTHORIZATION
                && (self.has_auth || self.headers.contains_key(AUTHORIZATION)))
    }

    /// Tells which setting is built from the event, if one is.
    pub(super) fn templated(&self) -> Option<&'static str> {
        match self {
            Self { url: Made::Template(_), .. } => Some("url"),
            Self { method: Made::Template(_), .. } => Some("method"),
            Self { made_headers, .. } if !made_headers.is_empty() => Some("headers"),
            _ => None,
        }
    }

    /// Whether the URL is built from the event, so that a 404 is the event's own.
    pub(super) const fn url_templated(&self) -> bool {
        matches!(self.url, Made::Template(_))
    }

    /// Makes the head of the request for an event, or says what of the event stands in the way.
    pub(super) fn head(&self, event: &Event<'_>) -> Result<Head, String> {
        let method = match &self.method {
            Made::Fixed(method) => method.clone(),
            Made::Template(template) => {
                let text = template.render(event).map_err(|error| format!("method: {error}"))?;
                read_method(&text).ok_or("method: the event makes none of it")?
            }
        };
        let uri = match &self.url {
            Made::Fixed(uri) => uri.clone(),
            Made::Template(template) => self.url(template, event)?,
        };
        let mut headers = self.headers.clone();
        for (name, template) in &self.made_headers {
            let text = template.render(event).map_err(|error| format!("header {name}: {error}"))?;
            if text.len() > HEADER_VALUE_BYTES_MAX {
                return Err(format!("header {name}: longer than {HEADER_VALUE_BYTES_MAX} bytes"));
            }
            let mut value = HeaderValue::from_str(&text)
                .or_else(|_| HeaderValue::from_bytes(text.as_bytes()))
                .map_err(|_| {
                    format!("header {name}: a line end or control character in a value")
                })?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Head { method, uri, headers })
    }

    /// Fills in the URL. A value stays within its segment: what could end it is escaped, and a
    /// segment that would vanish or climb is refused.
    fn url(&self, template: &Template, event: &Event<'_>) -> Result<Uri, String> {
        let mut text = String::new();
        let mut places = Vec::new();
        for part in &template.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Place(path) => {
                    let value = event.value(path).map_err(|error| format!("url: {error}"))?;
                    places.push(text.len());
                    let _ = write!(text, "{}", utf8_percent_encode(&value, ESCAPED));
                }
            }
        }
        let path_end = text.find(['?', '#']).unwrap_or(text.len());
        for place in places.into_iter().filter(|place| *place <= path_end) {
            let (before, after) = text.split_at(place);
            let start = before.rfind('/').map_or(0, |slash| slash.saturating_add(1));
            let length = after.find(['/', '?', '#']).unwrap_or(after.len());
            let segment = text.get(start..place.saturating_add(length)).unwrap_or_default();
            let decoded = percent_decode_str(segment).decode_utf8_lossy();
            if matches!(decoded.as_ref(), "" | "." | "..") {
                return Err("url: a value makes an empty, `.` or `..` part of the path".to_owned());
            }
        }
        let url = Url::parse(&text).map_err(|error| format!("url: {error}"))?;
        // Places in the authority are refused when the config is read; this holds it.
        if url.origin() != self.origin.origin() {
            return Err("url: the event would change the host".to_owned());
        }
        path_and_query(&url).ok_or_else(|| "url: too long".to_owned())
    }
}

/// Returns what a body is.
const fn content_type(config: &Config, common: &Common) -> &'static str {
    match (common.form, common.max_events) {
        (Form::CloudEvents, _) if config.binary => "application/json",
        (Form::CloudEvents, ..=1) => "application/cloudevents+json",
        (Form::CloudEvents, _) => "application/cloudevents-batch+json",
        _ => "application/json",
    }
}

/// Returns the headers that each request to an origin has unless the settings say otherwise. None
/// where it can't be named in a header.
fn headers_of(origin: &Url, content_type: &'static str) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let host = origin.host_str().unwrap_or_default();
    let host = match origin.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    headers.insert(HOST, HeaderValue::try_from(host).ok()?);
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let agent = concat!("walgate/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    // A place for what each request has of its own: a copy then need not grow.
    headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_static(""));
    if !origin.username().is_empty() || origin.password().is_some() {
        let mut credentials: Vec<u8> = percent_decode_str(origin.username()).collect();
        credentials.push(b':');
        credentials.extend(percent_decode_str(origin.password().unwrap_or_default()));
        let text = format!("Basic {}", STANDARD.encode(credentials));
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Some(headers)
}

fn read_method(text: &str) -> Option<Method> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase());
    Method::from_bytes(text.as_bytes()).ok().filter(|method| plain && *method != Method::CONNECT)
}

fn method_plan(key: &str, text: &str) -> Result<Made<Method>, Error> {
    let template =
        Template::parse(text).map_err(|source| Error::Template { key: key.to_owned(), source })?;
    match template.fixed() {
        Some(text) => {
            read_method(text).map(Made::Fixed).ok_or_else(|| Error::Method { key: key.to_owned() })
        }
        None => Ok(Made::Template(template)),
    }
}

/// Reads the URL, with what of it is the same for each event: everything before the path.
fn url_plan(key: &str, url: &Secret) -> Result<(Made<Uri>, Url), Error> {
    let template = Template::parse(url.expose())
        .map_err(|source| Error::Template { key: key.to_owned(), source })?;
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Place(_) => {
                let begun =
                    text.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']));
                if !begun {
                    return Err(Error::TemplatedHost { key: key.to_owned() });
                }
                text.push('x');
            }
        }
    }
    let parsed = web::url(key, &text)?;
    let mut origin = parsed.clone();
    origin.set_path("");
    origin.set_query(None);
    origin.set_fragment(None);
    match template.fixed() {
        Some(_) => {
            let uri =
                path_and_query(&parsed).ok_or_else(|| web::Error::Long { key: key.to_owned() })?;
            Ok((Made::Fixed(uri), origin))
        }
        None => Ok((Made::Template(template), origin)),
    }
}
