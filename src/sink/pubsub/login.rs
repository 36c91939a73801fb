//! [`Login`]: who walgate says that it is: a service account by its key, or the one that the
//! machine runs as.
//!
//! In this order: the config, `GOOGLE_APPLICATION_CREDENTIALS`, the metadata server of Google's
//! machines (GCE, Cloud Run, GKE with workload identity). Without TLS nobody but who names a key in
//! the config says anything: that is how emulators are spoken to.

use std::path::Path;

use serde::Deserialize;

use super::{Config, Error};
use crate::secret::Secret;
use crate::sink::web::{Auth, Jwt, Machine, PrivateKey};

/// What tokens are for.
const SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// Where tokens are issued unless the key says otherwise.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// Where Google's machines have their metadata server, and what it has a token at.
const METADATA: &str = "metadata.google.internal";
const TOKEN_PATH: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

const VARIABLE: &str = "GOOGLE_APPLICATION_CREDENTIALS";

/// See the module.
pub(super) enum Login {
    /// Nobody.
    None,
    /// A service account.
    Key(Box<Jwt>),
    /// Whom the machine runs as.
    Machine(Machine),
}

/// A key's file, as Google hands it out.
#[derive(Deserialize)]
struct KeyFile {
    #[serde(rename = "type", default)]
    kind: String,
    client_email: Option<String>,
    private_key: Option<String>,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl Login {
    /// Finds it. `emulator`: what the environment says to send to in Google's place.
    pub(super) fn find(
        config: &Config,
        emulator: Option<&str>,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        if let Some(path) = &config.credentials {
            let is_emulator = config.endpoint.is_none() && emulator.is_some();
            return if is_emulator { Ok(Self::None) } else { Self::read("`credentials`", path) };
        }
        let endpoint = config.endpoint.as_deref().or(emulator);
        if endpoint.is_some_and(|endpoint| !endpoint.starts_with("https://")) {
            return Ok(Self::None);
        }
        if let Some(path) = variable(VARIABLE) {
            return Self::read(VARIABLE, Path::new(&path));
        }
        let host = variable("GCE_METADATA_HOST").unwrap_or_else(|| METADATA.to_owned());
        Ok(Self::Machine(Machine { url: format!("http://{host}{TOKEN_PATH}") }))
    }

    fn read(from: &'static str, path: &Path) -> Result<Self, Error> {
        let at = || path.to_owned();
        let text = std::fs::read_to_string(path).map_err(|source| Error::Unreadable {
            from,
            path: at(),
            source,
        })?;
        let wrong = |why: String| Error::Key { from, path: at(), why };
        let key: KeyFile = serde_json::from_str(&text)
            .map_err(|_| wrong("no key of a service account (JSON)".to_owned()))?;
        let known = match (key.kind.as_str(), key.client_email, key.private_key) {
            ("service_account", Some(email), Some(private_key)) => Some((email, private_key)),
            _ => None,
        };
        let Some((email, private_key)) = known else {
            // What its type is called is no secret.
            let kind: String = key.kind.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(wrong(format!(
                "no whole key of a service account; its type is \"{kind}\", and walgate knows \
                 \"service_account\" alone"
            )));
        };
        let token_uri = key.token_uri.unwrap_or_else(|| TOKEN_URI.to_owned());
        let jwt = Jwt {
            token_url: Secret::new(token_uri.clone()),
            client_id: Secret::new(email),
            user: None,
            audience: token_uri,
            scope: Some(SCOPE.to_owned()),
            key_id: key.private_key_id,
            key: PrivateKey::Pem(Secret::new(private_key)),
        };
        jwt.check().map_err(|_| wrong("its private_key is no RSA key".to_owned()))?;
        Ok(Self::Key(Box::new(jwt)))
    }

    /// Returns how tokens are got.
    pub(super) fn auth(&self) -> Option<Auth> {
        match self {
            Self::None => None,
            Self::Key(jwt) => Some(Auth::Jwt(jwt.clone())),
            Self::Machine(machine) => Some(Auth::Machine(machine.clone())),
        }
    }
}
