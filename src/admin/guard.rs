//! [`Guard`]: who may ask (pure).
//!
//! Three dangers: somebody on the network, who must show the token; a web page in a browser on
//! this host whose name was pointed at the loopback (rebinding), which the `Host` header gives
//! away; and such a page that just asks, without a need to read the answer, which browsers say:
//! by `Sec-Fetch-Site` and by `Origin`. That what changes something is JSON, which no form of another
//! site can send, is for those who read it.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use ring::hmac;

use super::session::Sessions;
use crate::secret::Secret;

/// Asked without a token: what watches a process has none, and a person has none yet.
const OPEN_PATHS: &[&str] =
    &["/healthz", "/readyz", "/login", "/console.css", "/console.js", "/favicon.svg"];

/// Below it a question may change something: what is acknowledged.
const ACTING: &str = "/v1/";

/// Decides who may ask.
#[derive(Debug)]
pub(super) struct Guard {
    token: Option<Token>,
    sessions: Option<Sessions>,
    /// On the loopback: the host as the config has it, beside the names that the loopback has.
    listen_host: Option<String>,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The request was meant for another host.
    Host,
    /// A page of another site made a browser ask.
    CrossSite,
    /// It shows no token, or another one.
    Token,
}

impl Refused {
    /// Returns the status to answer with.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Token => StatusCode::UNAUTHORIZED,
        }
    }

    /// Says why, and what to do.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Host => "the host header names another host; ask by a loopback address",
            Self::CrossSite => "a page of another site may not ask",
            Self::Token => "send the header authorization: Bearer TOKEN with admin.token",
        }
    }
}

/// The token as a tag: compared in constant time whatever length is shown.
struct Token {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Token {
    fn new(secret: &Secret) -> Self {
        let bytes = secret.expose().as_bytes();
        let key = hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let tag = hmac::sign(&key, bytes);
        Self { key, tag }
    }

    fn is(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.key, shown, self.tag.as_ref()).is_ok()
    }
}

impl Guard {
    /// Guards a listener at `address`, which the config calls `listen`.
    pub(super) fn new(listen: &str, address: IpAddr, token: Option<&Secret>) -> Self {
        let listen_host = address.is_loopback().then(|| without_port(listen).to_lowercase());
        let sessions = token.map(Sessions::new);
        Self { token: token.map(Token::new), sessions, listen_host }
    }

    /// Returns the `set-cookie` of a session for whoever shows the token; none for whoever shows
    /// another, or where none is wanted.
    pub(super) fn login(&self, shown: &str, now: i64) -> Option<String> {
        let (token, sessions) = (self.token.as_ref()?, self.sessions.as_ref()?);
        token.is(shown.as_bytes()).then(|| sessions.begin(now))
    }

    /// Whether a token is wanted at all.
    pub(super) const fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// Decides; `authority` is that of the request line, where it has one, and `now` in seconds
    /// since 1970.
    pub(super) fn check(
        &self,
        (method, path): (&Method, &str),
        now: i64,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<(), Refused> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if !self.is_meant(host) || (authority.is_some() && !self.is_meant(authority)) {
            return Err(Refused::Host);
        }
        let said = |name: &str| headers.get(name).map(axum::http::HeaderValue::as_bytes);
        let is_foreign = !matches!(said("sec-fetch-site"), None | Some(b"same-origin" | b"none"));
        // A link to what only shows may be followed from anywhere.
        let is_link = said("sec-fetch-mode") == Some(b"navigate") && !path.starts_with(ACTING);
        if is_foreign && !is_link {
            return Err(Refused::CrossSite);
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            // Browsers that do not say where they stand say where a page is from.
            let is_own = |origin: &[u8]| {
                let origin = std::str::from_utf8(origin).unwrap_or_default();
                origin.split_once("://").is_some_and(|(_, own)| Some(own) == host)
            };
            if said(ORIGIN.as_str()).is_some_and(|origin| !is_own(origin)) {
                return Err(Refused::CrossSite);
            }
        }
        match &self.token {
            Some(token) if !OPEN_PATHS.contains(&path) => {
                let shown = headers.get(AUTHORIZATION).map(axum::http::HeaderValue::as_bytes);
                let is_known = match shown.and_then(bearer) {
                    Some(shown) => token.is(shown),
                    None => self.sessions.as_ref().is_some_and(|it| it.holds(headers, now)),
                };
                if is_known { Ok(()) } else { Err(Refused::Token) }
            }
            _ => Ok(()),
        }
    }

    fn is_meant(&self, host: Option<&str>) -> bool {
        let Some(listen_host) = &self.listen_host else { return true };
        let Some(host) = host else { return false };
        let name = without_port(host).to_lowercase();
        name == "localhost"
            || name == *listen_host
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Returns what follows `Bearer`, whose case does not matter.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Returns the host of `host:port`, `[::1]:port` or either without a port.
fn without_port(text: &str) -> &str {
    if let Some((host, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn guard(listen: &str, token: Option<&str>) -> Guard {
        let address = without_port(listen).parse().unwrap_or(IpAddr::from([127, 0, 0, 1]));
        let token = token.map(|token| Secret::new(token.to_owned()));
        Guard::new(listen, address, token.as_ref())
    }

    #[test]
    fn a_name_that_was_pointed_at_the_loopback_is_refused() {
        let check = |listen: &str, host: &str| {
            guard(listen, None).check(
                (&Method::GET, "/metrics"),
                0,
                None,
                &headers(&[("host", host)]),
            )
        };
        for host in [
            "127.0.0.1:7717",
            "127.0.0.1",
            "127.9.9.9:1",
            "localhost:80",
            "LocalHost",
            "[::1]:7717",
            "[::1]",
        ] {
            assert_eq!(check("127.0.0.1:7717", host), Ok(()), "{host}");
        }
        for host in [
            "evil.example:7717",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "10.0.0.1",
            "",
            "[::2]:7717",
            "[::1",
            "127.0.0.1:x",
        ] {
            assert_eq!(check("127.0.0.1:7717", host), Err(Refused::Host), "{host}");
        }
        assert_eq!(check("db.internal:7717", "db.internal:7717"), Ok(()));
        let guard = guard("127.0.0.1:7717", None);
        assert_eq!(
            guard.check((&Method::GET, "/metrics"), 0, None, &HeaderMap::new()),
            Err(Refused::Host)
        );
        let fine = headers(&[("host", "localhost")]);
        assert_eq!(
            guard.check((&Method::GET, "/metrics"), 0, Some("evil.example"), &fine),
            Err(Refused::Host)
        );
    }

    #[test]
    fn an_open_listener_takes_any_name_and_asks_for_the_token() {
        let guard = guard("0.0.0.0:7717", Some("s3cret"));
        let check = |path: &str, authorization: Option<&str>| {
            let mut pairs = vec![("host", "walgate.internal")];
            pairs.extend(authorization.map(|value| ("authorization", value)));
            guard.check((&Method::GET, path), 0, None, &headers(&pairs))
        };
        for right in ["Bearer s3cret", "bearer s3cret", "Bearer  s3cret "] {
            assert_eq!(check("/metrics", Some(right)), Ok(()), "{right}");
        }
        for wrong in ["Bearer s3cre", "Bearer s3crets", "Basic s3cret", "s3cret", "Bearer ", "Bear"]
        {
            assert_eq!(check("/metrics", Some(wrong)), Err(Refused::Token), "{wrong}");
        }
        assert_eq!(check("/metrics", None), Err(Refused::Token));
        assert_eq!(check("/healthz", None), Ok(()));
        assert_eq!(check("/readyz", None), Ok(()));
        assert_eq!(check("/readyz/", None), Err(Refused::Token));
    }

    #[test]
    fn a_page_of_another_site_may_not_even_ask() {
        let check = |site: &str| {
            let headers = headers(&[("host", "localhost:7717"), ("sec-fetch-site", site)]);
            guard("localhost:7717", None).check(
                (&Method::GET, "/v1/sinks/s/events"),
                0,
                None,
                &headers,
            )
        };
        assert_eq!(check("same-origin"), Ok(()));
        assert_eq!(check("none"), Ok(()));
        for site in ["cross-site", "same-site", "whatever"] {
            assert_eq!(check(site), Err(Refused::CrossSite), "{site}");
        }
        let link = headers(&[
            ("host", "localhost:7717"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
        ]);
        let guard = guard("localhost:7717", None);
        assert_eq!(guard.check((&Method::GET, "/metrics"), 0, None, &link), Ok(()));
        assert_eq!(
            guard.check((&Method::GET, "/v1/sinks/s/events"), 0, None, &link),
            Err(Refused::CrossSite)
        );
    }

    #[test]
    fn a_form_of_another_site_changes_nothing() {
        let check = |more: &[(&'static str, &str)]| {
            let pairs: Vec<_> = [("host", "localhost:7717")].iter().chain(more).copied().collect();
            let post = (&Method::POST, "/v1/sinks/s/pause");
            guard("localhost:7717", None).check(post, 0, None, &headers(&pairs))
        };
        let json = ("content-type", "application/json");
        assert_eq!(check(&[json]), Ok(()));
        assert_eq!(check(&[json, ("origin", "http://localhost:7717")]), Ok(()));
        for origin in ["http://evil.example", "http://localhost:80", "null"] {
            assert_eq!(check(&[json, ("origin", origin)]), Err(Refused::CrossSite), "{origin}");
        }
    }

    #[test]
    fn a_session_is_as_good_as_the_token_until_it_ends() {
        let guard = guard("0.0.0.0:7717", Some("s3cret"));
        assert_eq!(guard.login("s3cre", 0), None);
        let cookie = guard.login("s3cret", 0).unwrap();
        let pair = cookie.split_once(';').unwrap().0;
        let check = |now: i64, pairs: &[(&'static str, &str)]| {
            guard.check((&Method::GET, "/"), now, None, &headers(pairs))
        };
        assert_eq!(check(60, &[("cookie", pair)]), Ok(()));
        assert_eq!(check(13 * 3600, &[("cookie", pair)]), Err(Refused::Token));
        let wrong = [("cookie", pair), ("authorization", "Bearer other")];
        assert_eq!(check(60, &wrong), Err(Refused::Token));
        assert_eq!(check(60, &[]), Err(Refused::Token));
    }
}
