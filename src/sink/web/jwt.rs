//! [`Jwt`]: who asks for a token by an assertion of its own, RFC 7523 signed with RSA and SHA-256.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::Error;
use crate::secret::Secret;
use crate::sink::tls;

/// Who asks, for whom, and the key that it is known by.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// Where tokens are issued.
    pub token_url: Secret,
    /// Who asks (`iss`).
    pub client_id: Secret,
    /// On whose behalf (`sub`); none: its own.
    pub user: Option<String>,
    /// Who is to believe it (`aud`).
    pub audience: String,
    /// What the token is for, where the assertion says that.
    pub scope: Option<String>,
    /// What the server calls the key (`kid`).
    pub key_id: Option<String>,
    /// An RSA private key.
    pub key: PrivateKey,
}

/// Where a private key is (PEM).
#[derive(Clone, Debug)]
pub enum PrivateKey {
    /// In a file.
    File(PathBuf),
    /// Here.
    Pem(Secret),
}

impl Jwt {
    /// Whether it can sign.
    ///
    /// # Errors
    /// Why not.
    pub(in crate::sink) fn check(&self) -> Result<(), Error> {
        Assertion::new(self).map(|_| ())
    }
}

/// How long an assertion holds: it is used at once.
const LIFE: Duration = Duration::from_secs(180);

/// The setting that names the key.
const KEY: &str = "auth.jwt.key";

/// Makes assertions.
pub(super) struct Assertion {
    key: RsaKeyPair,
    key_id: Option<String>,
    issuer: Secret,
    subject: Option<String>,
    audience: String,
    scope: Option<String>,
}

impl Assertion {
    /// Reads the key.
    pub(super) fn new(jwt: &Jwt) -> Result<Self, Error> {
        let refused = || Error::RsaKey { key: KEY.to_owned() };
        let key = match &jwt.key {
            PrivateKey::File(path) => PrivateKeyDer::from_pem_file(path)
                .map_err(|_| tls::Error::Pem { key: KEY, path: path.clone() })?,
            PrivateKey::Pem(text) => {
                PrivateKeyDer::from_pem_slice(text.expose().as_bytes()).map_err(|_| refused())?
            }
        };
        let key = match key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(refused()),
        };
        Ok(Self {
            key: key.map_err(|_| refused())?,
            issuer: jwt.client_id.clone(),
            key_id: jwt.key_id.clone(),
            subject: jwt.user.clone(),
            audience: jwt.audience.clone(),
            scope: jwt.scope.clone(),
        })
    }

    /// Returns the form that a token is asked for with.
    pub(super) fn form(&self, now: SystemTime) -> Result<Bytes, &'static str> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut claims = json!({
            "iss": self.issuer.expose(),
            "aud": self.audience,
            "iat": now.as_secs(),
            "exp": now.saturating_add(LIFE).as_secs(),
        });
        let mut head = json!({ "alg": "RS256", "typ": "JWT" });
        add(&mut claims, "sub", self.subject.as_deref());
        add(&mut claims, "scope", self.scope.as_deref());
        add(&mut head, "kid", self.key_id.as_deref());
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&head), part(&claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .map_err(|_| "the assertion can't be signed")?;
        let assertion = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer");
        form.append_pair("assertion", &assertion);
        Ok(Bytes::from(form.finish()))
    }
}

/// Adds a member, where there is one.
fn add(json: &mut Value, name: &str, value: Option<&str>) {
    if let (Some(members), Some(value)) = (json.as_object_mut(), value) {
        members.insert(name.to_owned(), value.into());
    }
}

/// Shows whom it is for.
impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("for", &self.audience).finish_non_exhaustive()
    }
}
