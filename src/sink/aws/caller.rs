//! [`Caller`]: signed requests to one service, and what their answers mean.

use std::time::Duration;

use hyper::Method;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::code::{Meaning, Said};
use super::credentials::{Credentials, Profiles, Provider};
use super::place::Place;
use super::service::Request;
use super::sign::{self, Scope};
use super::{Around, Config, Error};
use crate::failure::Category;
use crate::sink::web::answer;
use crate::sink::web::client::{Ask, Client, Heard};
use crate::sink::{Common, Failure};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TARGET: &str = "x-amz-target";
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Where codes stand that the body does not have.
const ERROR_TYPE: &str = "x-amzn-errortype";

/// See the module.
pub(super) struct Caller {
    client: Client,
    provider: Provider,
    place: Place,
    /// What addresses and signatures call the service.
    service: &'static str,
    /// Of one call.
    timeout: Duration,
}

/// Why there is no answer that can be used.
pub(super) struct Refusal {
    pub(super) failure: Failure,
    /// What the service said, where it did.
    pub(super) said: Option<Said>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self { failure, said: None }
    }
}

impl Caller {
    /// Makes a caller of what the settings name. Connects to nothing.
    pub(super) fn new(config: &Config, common: &Common, around: &Around) -> Result<Self, Error> {
        let profiles = Profiles::new(config.identity.profile.as_deref(), around);
        let place = Place::new(config, &profiles, around)?;
        let client = Client::new(place.key, &place.url, None, &config.reach, common)?;
        let (identity, service) = (&config.identity, config.target.service());
        let provider = Provider::new(identity, &place.region, profiles, around, common);
        Ok(Self { client, provider, place, service, timeout: common.timeout })
    }

    /// Returns scheme, host and port.
    pub(super) fn origin(&self) -> &str {
        self.client.origin()
    }

    /// Lets go of connections that nobody used for long. Returns when to ask again.
    pub(super) fn tidy(&self) -> Option<Instant> {
        self.client.tidy()
    }

    /// Connects, and tells what was seen.
    ///
    /// # Errors
    /// What stands in the way.
    pub(super) async fn reach(&self) -> Result<String, Failure> {
        self.client.check(Instant::now() + self.timeout).await
    }

    /// Sends a request and returns the answer to one that was taken. Credentials that have ended
    /// are asked for anew, once.
    ///
    /// # Errors
    /// There is no answer, or it is a no.
    pub(super) async fn ask(&self, request: &Request) -> Result<Heard, Box<Refusal>> {
        let mut refused = None;
        loop {
            let credentials = self.provider.get(refused.as_ref()).await.map_err(Refusal::from)?;
            let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let ask = self.signed(request, &now, &credentials).map_err(Refusal::from)?;
            let deadline = Instant::now() + self.timeout;
            let heard = self.client.ask(&ask, deadline).await.map_err(Refusal::from)?;
            if heard.status.is_success() {
                return Ok(heard);
            }
            let header = heard.headers.get(ERROR_TYPE).and_then(|value| value.to_str().ok());
            let said = Said::read(&heard.body, header);
            let has_ended = said.as_ref().and_then(Said::meaning) == Some(Meaning::Ended);
            if has_ended && refused.is_none() {
                refused = Some(credentials);
                continue;
            }
            let failure = self.refusal(&heard, said.as_ref(), &credentials);
            return Err(Box::new(Refusal { failure, said }));
        }
    }

    fn signed(
        &self,
        request: &Request,
        time: &str,
        credentials: &Credentials,
    ) -> Result<Ask, Failure> {
        let host = self.place.host();
        let mut headers = vec![
            ("host", host.as_str()),
            ("content-type", request.content_type),
            ("x-amz-date", time),
        ];
        headers.extend(request.target.map(|target| (TARGET, target)));
        let token = credentials.session_token.as_ref();
        headers.extend(token.map(|token| ("x-amz-security-token", token.expose())));
        let scope = Scope { time, region: &self.place.region, service: self.service };
        let authorization = sign::authorization(&headers, &request.body, scope, credentials);
        let mut map = HeaderMap::new();
        let texts = [(DATE, Some(time)), (AUTHORIZATION, Some(authorization.as_str()))];
        let token = [(TOKEN, token.map(crate::secret::Secret::expose))];
        for (name, text) in texts.into_iter().chain(token) {
            let Some(text) = text else { continue };
            let mut value = HeaderValue::try_from(text).map_err(|_| {
                let why = "no credentials: they have a line end or a control character in them";
                Failure::new(Category::Setup, why)
            })?;
            value.set_sensitive(true);
            map.insert(name, value);
        }
        // Some services would answer forms in JSON of their own.
        let ask = Ask::new(Method::POST, "/").header("accept", "*/*");
        let ask = match request.target {
            Some(target) => ask.header(TARGET, target),
            None => ask,
        };
        Ok(ask.with(request.content_type, request.body.clone()).headers(map))
    }

    /// Says what an answer means that is a no.
    fn refusal(&self, heard: &Heard, said: Option<&Said>, credentials: &Credentials) -> Failure {
        let plain = self.client.refusal(heard);
        let Some(said) = said else {
            return Failure { answer: self.text(heard, credentials), ..plain };
        };
        let (category, why) = match said.meaning() {
            Some(Meaning::Is(category)) => (category, said.code.clone()),
            Some(Meaning::Ended) => {
                (Category::Setup, format!("{}: the credentials have ended", said.code))
            }
            Some(Meaning::Skewed) => {
                let why = format!("{} (clock skew): the clock here is not theirs", said.code);
                (Category::Setup, why)
            }
            None => (plain.category, said.code.clone()),
        };
        let text = self.text(heard, credentials);
        answer::no(heard.status, category, &why, heard.asked, &heard.host, text)
    }

    /// Says that an answer, of a request that was taken, tells nothing.
    pub(super) fn unread(&self, heard: &Heard) -> Failure {
        self.client.nonsense(heard, "it can't be told what became of each event")
    }

    /// Says that one of the entries of a request that was taken was not.
    pub(super) fn entry(&self, heard: &Heard, said: &Said) -> Failure {
        let message = format!("{} refused the event: {}", heard.host, said.code);
        let text = format!("{}: {}", said.code, said.message);
        let answer = self.client.text(heard, text.as_bytes());
        Failure { answer, ..Failure::new(said.of_entry(), message) }
    }

    /// Makes text of an answer. One to a wrong signature may have in it what was signed: that is
    /// hidden before the text is cut, so that no part of it is left.
    fn text(&self, heard: &Heard, credentials: &Credentials) -> Option<String> {
        let whole = credentials.hide_in(&String::from_utf8_lossy(&heard.body));
        self.client.text(heard, whole.as_bytes())
    }
}
