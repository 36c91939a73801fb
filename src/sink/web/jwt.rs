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
use serde_json::json;
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
    /// On whose behalf (`sub`).
    pub user: String,
    /// Who is to believe it (`aud`).
    pub audience: String,
    /// An RSA private key (PEM).
    pub key: PathBuf,
}

/// How long an assertion holds: it is used at once.
const LIFE: Duration = Duration::from_secs(180);

/// The setting that names the key.
const KEY: &str = "auth.jwt.key";

/// Makes assertions.
pub(super) struct Assertion {
    key: RsaKeyPair,
    issuer: Secret,
    subject: String,
    audience: String,
}

impl Assertion {
    /// Reads the key.
    pub(super) fn new(jwt: &Jwt) -> Result<Self, Error> {
        let unreadable = || tls::Error::Pem { key: KEY, path: jwt.key.clone() };
        let refused = || Error::RsaKey { key: KEY.to_owned() };
        let key = match PrivateKeyDer::from_pem_file(&jwt.key).map_err(|_| unreadable())? {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(refused()),
        };
        Ok(Self {
            key: key.map_err(|_| refused())?,
            issuer: jwt.client_id.clone(),
            subject: jwt.user.clone(),
            audience: jwt.audience.clone(),
        })
    }

    /// Returns the form that a token is asked for with.
    pub(super) fn form(&self, now: SystemTime) -> Result<Bytes, &'static str> {
        let end = now.checked_add(LIFE).unwrap_or(now);
        let end = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let claims = json!({
            "iss": self.issuer.expose(),
            "sub": self.subject,
            "aud": self.audience,
            "exp": end,
        });
        let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
        let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
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

/// Shows whose it is.
impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Assertion").field("of", &self.subject).finish_non_exhaustive()
    }
}
