//! Who walgate says that it is: fixed credentials, or tokens that an OAuth server issues.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, Uri};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};
use url::Url;
use url::form_urlencoded::Serializer;

use super::answer::{self, Asked};
use super::body::Body;
use super::guard::Guard;
use super::jwt::Assertion;
use super::pool::Pool;
use super::rest::{self, Need};
use super::transport::{self, Broken, Lasting, Way};
use super::{Error, Jwt, Reach, authority, path_and_query};
use crate::failure::Category;
use crate::secret::Secret;
use crate::sink::Failure;

/// `[sink.NAME.http.auth]`
#[derive(Clone, Debug)]
pub enum Auth {
    /// RFC 7617.
    Basic {
        /// The user.
        user: Secret,
        /// Its password.
        password: Secret,
    },
    /// RFC 6750, a token that does not change.
    Bearer(Secret),
    /// A key of Elasticsearch, as it hands them out: base64 of `id:key`.
    ApiKey(Secret),
    /// RFC 6749, section 4.4: a token for the client's own credentials.
    OAuth2(Box<OAuth2>),
    /// RFC 7523: a token for an assertion that the client signs.
    Jwt(Box<Jwt>),
    /// Whom the machine runs as.
    Machine(Machine),
}

/// The metadata server of a machine of Google's, which has a token for whoever asks. It is asked
/// at its private address, whatever `allow_private` says.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Where the token is.
    pub url: String,
}

/// Client credentials, and where they are exchanged for tokens.
#[derive(Clone, Debug)]
pub struct OAuth2 {
    /// Where tokens are issued.
    pub token_url: Secret,
    /// Who asks.
    pub client_id: Secret,
    /// By what it is known.
    pub client_secret: Secret,
    /// What for; none: the server's default.
    pub scope: Option<String>,
    /// For whom, where the server asks for that.
    pub audience: Option<String>,
    /// Whether the credentials go in the form, not in a header.
    pub in_body: bool,
}

/// A token is asked for anew so long before it ends.
const MARGIN: Duration = Duration::from_secs(60);

/// So much of the answer of a token server is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Returns the header of credentials that are always the same.
pub(in crate::sink) fn fixed(auth: Option<&Auth>) -> Result<Option<HeaderValue>, Error> {
    let (key, text) = match auth {
        None | Some(Auth::OAuth2(_) | Auth::Jwt(_) | Auth::Machine(_)) => return Ok(None),
        Some(Auth::Bearer(token)) => ("auth.bearer", format!("Bearer {}", token.expose())),
        Some(Auth::ApiKey(key)) => ("api_key", format!("ApiKey {}", key.expose())),
        Some(Auth::Basic { user, password }) => {
            ("auth.basic", basic(user.expose(), password.expose()))
        }
    };
    let wrong = |_| Error::HeaderValue { key: key.to_owned() };
    let mut value = HeaderValue::try_from(text).map_err(wrong)?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Returns what of the credentials must not show.
pub(in crate::sink) fn hidden(auth: Option<&Auth>) -> Vec<String> {
    match auth {
        None | Some(Auth::Jwt(_) | Auth::Machine(_)) => Vec::new(),
        Some(Auth::Basic { user, password }) => {
            let text = basic(user.expose(), password.expose());
            let code = text.strip_prefix("Basic ").unwrap_or_default().to_owned();
            vec![password.expose().to_owned(), code]
        }
        Some(Auth::Bearer(token) | Auth::ApiKey(token)) => vec![token.expose().to_owned()],
        Some(Auth::OAuth2(oauth)) => vec![oauth.client_secret.expose().to_owned()],
    }
}

/// The tokens of an OAuth server, one at a time: whoever needs one while another asks for it waits.
pub(in crate::sink) struct Tokens {
    pool: Pool,
    uri: Uri,
    headers: HeaderMap,
    form: Form,
    host: String,
    lasting: Lasting,
    hidden: Vec<Secret>,
    current: Mutex<Option<Token>>,
}

/// What a token is asked for with.
enum Form {
    Fixed(Bytes),
    Signed(Box<Assertion>),
    /// Nothing: it is there.
    None,
}

struct Token {
    /// `Bearer …`
    header: HeaderValue,
    /// Where it is good for, if the server says so.
    instance: Option<String>,
    /// From then on a new one is asked for; none: until it is refused.
    good_until: Option<Instant>,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct Issued {
    access_token: String,
    token_type: Option<String>,
    /// Seconds; some servers write a text.
    expires_in: Option<serde_json::Value>,
    /// Not of the RFC: where requests with it go.
    instance_url: Option<String>,
}

impl Tokens {
    /// Reads the settings; none where no tokens are wanted. Asks for nothing yet. `hidden`: what
    /// must not show, should the server echo it.
    pub(in crate::sink) fn new(
        auth: Option<&Auth>,
        reach: &Reach,
        timeout: Duration,
        hidden: &[Secret],
    ) -> Result<Option<Self>, Error> {
        let mut guard = Guard::new(reach.allow_private);
        let (key, token_url, form, in_header) = match auth {
            None | Some(Auth::Basic { .. } | Auth::Bearer(_) | Auth::ApiKey(_)) => return Ok(None),
            Some(Auth::OAuth2(oauth)) => {
                let form = Form::Fixed(form(oauth));
                let in_header = (!oauth.in_body).then_some(oauth);
                ("auth.oauth2.token_url", oauth.token_url.expose(), form, in_header)
            }
            Some(Auth::Jwt(jwt)) => {
                let form = Form::Signed(Box::new(Assertion::new(jwt)?));
                ("auth.jwt.token_url", jwt.token_url.expose(), form, None)
            }
            Some(Auth::Machine(machine)) => {
                guard = Guard::Any;
                ("auth", machine.url.as_str(), Form::None, None)
            }
        };
        let url = super::url(key, token_url)?;
        let tls = transport::tls(&reach.tls, url.scheme() == "https")?;
        let way = Way::new(key, &url, &tls, timeout, guard)?;
        let wrong = || Error::Host { key: key.to_owned() };
        let uri = path_and_query(&url).ok_or_else(|| Error::Long { key: key.to_owned() })?;
        Ok(Some(Self {
            pool: Pool::new(way, 1),
            uri,
            headers: headers(&url, &form, in_header.map(AsRef::as_ref)).ok_or_else(wrong)?,
            form,
            host: authority(&url),
            lasting: Lasting::default(),
            hidden: hidden.to_vec(),
            current: Mutex::new(None),
        }))
    }

    /// Returns a token: the one at hand, or a new one where there is none, it is at its end, or it
    /// is the one that was `refused`.
    pub(in crate::sink) async fn token(
        &self,
        refused: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<HeaderValue, Failure> {
        let mut current = self.current.lock().await;
        let is_good = |token: &&Token| {
            Some(&token.header) != refused
                && token.good_until.is_none_or(|end| Instant::now() < end)
        };
        if let Some(token) = current.as_ref().filter(is_good) {
            return Ok(token.header.clone());
        }
        *current = None;
        let token = self.issue(deadline).await?;
        let header = token.header.clone();
        *current = Some(token);
        Ok(header)
    }

    /// Returns where the token at hand is good for, if its server said so.
    pub(in crate::sink) async fn instance(&self) -> Option<String> {
        self.current.lock().await.as_ref()?.instance.clone()
    }

    async fn issue(&self, deadline: Instant) -> Result<Token, Failure> {
        let (method, form) = match &self.form {
            Form::Fixed(form) => (Method::POST, form.clone()),
            Form::Signed(assertion) => {
                let form = assertion.form(SystemTime::now()).map_err(|why| {
                    Failure::new(Category::Setup, format!("no token: {}: {why}", self.host))
                })?;
                (Method::POST, form)
            }
            Form::None => (Method::GET, Bytes::new()),
        };
        let (body, _) = Body::new(form);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let broke = |broken: &Broken| {
            let mut failure = transport::failure(broken, &self.host, &self.lasting);
            failure.message = format!("no token: {}", failure.message);
            failure
        };
        let (response, connection) = match timeout_at(deadline, self.pool.send(request)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(broken)) => return Err(broke(&broken)),
            Err(_) => return Err(broke(&Broken::Silent)),
        };
        self.lasting.over();
        let (status, asked) =
            (response.status(), Asked::read(response.headers(), SystemTime::now()));
        let need = Need { bytes: ANSWER_BYTES_MAX, until: deadline };
        let rest = rest::read(response, connection, &self.pool, need).await;
        if !status.is_success() {
            let text = answer::text(&rest.kept, &self.hidden);
            let mut failure = answer::refusal(status, asked, false, &self.host, text);
            // What is wrong with the credentials is wrong with all events.
            if failure.category == Category::Rejected {
                failure.category = Category::Setup;
            }
            failure.message = format!("no token: {}", failure.message);
            return Err(failure);
        }
        token(&rest.kept, Instant::now())
            .map_err(|why| Failure::new(Category::Setup, format!("no token: {}: {why}", self.host)))
    }

    /// Asks for a token, and tells from whom.
    pub(in crate::sink) async fn check(&self, deadline: Instant) -> Result<String, Failure> {
        self.token(None, deadline).await?;
        Ok(format!("{} issues a token", self.host))
    }
}

/// Shows where tokens come from.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("from", &self.host).finish_non_exhaustive()
    }
}

/// What tells a metadata server that who asks means it.
const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");

/// `credentials`: those that go in a header.
fn headers(url: &Url, form: &Form, credentials: Option<&OAuth2>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let mut add = |name: HeaderName, text: String| {
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Some(())
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    add(HOST, format!("{host}{port}"))?;
    add(ACCEPT, "application/json".to_owned())?;
    match form {
        Form::None => add(FLAVOR, "Google".to_owned())?,
        Form::Fixed(_) | Form::Signed(_) => {
            add(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned())?;
        }
    }
    add(USER_AGENT, concat!("walgate/", env!("CARGO_PKG_VERSION")).to_owned())?;
    if let Some(oauth) = credentials {
        // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
        let encoded =
            |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let (id, secret) = (oauth.client_id.expose(), oauth.client_secret.expose());
        add(AUTHORIZATION, basic(&encoded(id), &encoded(secret)))?;
    }
    Some(headers)
}

fn form(oauth: &OAuth2) -> Bytes {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if oauth.in_body {
        form.append_pair("client_id", oauth.client_id.expose());
        form.append_pair("client_secret", oauth.client_secret.expose());
    }
    for (name, value) in [("scope", &oauth.scope), ("audience", &oauth.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    Bytes::from(form.finish())
}

/// Reads what was issued. What is said of it when it can't be read holds nothing of it.
fn token(answer: &[u8], now: Instant) -> Result<Token, &'static str> {
    let issued: Issued =
        serde_json::from_slice(answer).map_err(|_| "the answer is no JSON with access_token")?;
    let kind = issued.token_type.as_deref().unwrap_or("bearer");
    if !kind.eq_ignore_ascii_case("bearer") {
        return Err("the token is of another type than bearer");
    }
    let mut header = HeaderValue::try_from(format!("Bearer {}", issued.access_token))
        .map_err(|_| "the token has control characters")?;
    header.set_sensitive(true);
    let seconds = issued.expires_in.as_ref().and_then(|seconds| {
        seconds.as_u64().or_else(|| seconds.as_str().and_then(|text| text.parse().ok()))
    });
    let good_until = seconds.and_then(|seconds| {
        let whole = Duration::from_secs(seconds);
        // One that lives shortly is used for most of its life.
        now.checked_add(whole.saturating_sub(MARGIN.min(whole / 5)))
    });
    Ok(Token { header, instance: issued.instance_url, good_until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oauth(in_body: bool) -> OAuth2 {
        let secret = |text: &str| Secret::new(text.to_owned());
        OAuth2 {
            token_url: secret("https://login.example.com:8443/token"),
            client_id: secret("wal gate"),
            client_secret: secret("a/b:c"),
            scope: Some("write read".to_owned()),
            audience: None,
            in_body,
        }
    }

    #[test]
    fn credentials_go_in_a_header_or_in_the_form_never_in_both() {
        let url = Url::parse("https://login.example.com:8443/token").unwrap();
        let fixed = Form::Fixed(Bytes::new());
        let header = headers(&url, &fixed, Some(&oauth(false))).unwrap();
        let expected = format!("Basic {}", STANDARD.encode("wal+gate:a%2Fb%3Ac"));
        assert_eq!(header[AUTHORIZATION], expected);
        assert_eq!(header[HOST], "login.example.com:8443");
        assert_eq!(form(&oauth(false)), "grant_type=client_credentials&scope=write+read");
        assert!(!headers(&url, &fixed, None).unwrap().contains_key(AUTHORIZATION));
        assert_eq!(
            form(&oauth(true)),
            "grant_type=client_credentials&client_id=wal+gate&client_secret=a%2Fb%3Ac&\
             scope=write+read"
        );
    }

    #[test]
    fn a_token_is_used_until_shortly_before_its_end() {
        let now = Instant::now();
        let life = |answer: &str| {
            let token = token(answer.as_bytes(), now).unwrap();
            assert_eq!(token.header, "Bearer abc");
            token.good_until.map(|until| (until - now).as_secs())
        };
        assert_eq!(
            life(r#"{"access_token":"abc","token_type":"Bearer","expires_in":3600}"#),
            Some(3540)
        );
        assert_eq!(life(r#"{"access_token":"abc","expires_in":"10"}"#), Some(8));
        assert_eq!(life(r#"{"access_token":"abc"}"#), None);
        assert!(token(b"{}", now).is_err());
        assert!(token(br#"{"access_token":"abc","token_type":"mac"}"#, now).is_err());
        assert!(token(b"{\"access_token\":\"a\\nb\"}", now).is_err());
    }
}
