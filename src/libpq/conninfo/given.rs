//! What a connection string and the environment give, by key, and how each is read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{
    ChannelBinding, Environment, Error, KEYS, Keepalives, RootCert, SslMode, TargetSessionAttrs,
    Tls, UNSUPPORTED, text,
};

/// The values given by hand, from the string first and the environment second.
pub(super) struct Given(pub(super) BTreeMap<&'static str, String>);

impl Given {
    pub(super) fn collect(text: &str, environment: &Environment) -> Result<Self, Error> {
        let mut values = BTreeMap::new();
        for (key, value) in text::pairs(text)? {
            if let Some((key, why)) = UNSUPPORTED.iter().find(|(name, _)| *name == key) {
                return Err(Error::Unsupported { key, why });
            }
            let Some((key, _)) = KEYS.iter().find(|(name, _)| *name == key) else {
                return Err(Error::unknown(&key));
            };
            values.insert(*key, value);
        }
        // A host by the string makes the variables' address someone else's.
        let addressed = values.contains_key("host") || values.contains_key("hostaddr");
        for (key, variable) in KEYS.iter().filter(|(_, variable)| !variable.is_empty()) {
            if addressed && ["host", "hostaddr"].contains(key) {
                continue;
            }
            if let Some(value) = environment.get(variable) {
                values.entry(key).or_insert_with(|| value.to_owned());
            }
        }
        values.retain(|_, value| !value.is_empty());
        Ok(Self(values))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub(super) fn number(&self, key: &'static str) -> Result<Option<i64>, Error> {
        let parse = |text: &str| text.trim().parse().ok();
        match self.get(key) {
            None => Ok(None),
            Some(text) => match parse(text) {
                Some(number) => Ok(Some(number)),
                None => Err(Error::Value { key, expected: "a whole number" }),
            },
        }
    }

    /// Seconds above zero; zero and less leave the system's value.
    pub(super) fn seconds(&self, key: &'static str) -> Result<Option<Duration>, Error> {
        let seconds = self.number(key)?.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        Ok(seconds.map(Duration::from_secs))
    }

    pub(super) fn connect_timeout(&self) -> Result<Option<Duration>, Error> {
        if self.get("connect_timeout").is_none() {
            // libpq would wait for the system's minutes; a streamer that reconnects had better not.
            return Ok(Some(Duration::from_secs(10)));
        }
        // libpq rounds 1 up to 2.
        Ok(self.seconds("connect_timeout")?.map(|timeout| timeout.max(Duration::from_secs(2))))
    }

    pub(super) fn keepalives(&self) -> Result<Option<Keepalives>, Error> {
        if self.number("keepalives")? == Some(0) {
            return Ok(None);
        }
        let or = |value: Option<Duration>, key, seconds| match (value, self.get(key)) {
            (None, None) => Some(Duration::from_secs(seconds)),
            (value, _) => value,
        };
        // The system's two hours of silence are too long for a stream that pins WAL.
        let count = self.number("keepalives_count")?;
        Ok(Some(Keepalives {
            idle: or(self.seconds("keepalives_idle")?, "keepalives_idle", 30),
            interval: or(self.seconds("keepalives_interval")?, "keepalives_interval", 10),
            count: count.map_or(Some(3), |n| u32::try_from(n).ok().filter(|n| *n > 0)),
        }))
    }

    pub(super) fn tcp_user_timeout(&self) -> Result<Option<Duration>, Error> {
        Ok(match self.number("tcp_user_timeout")? {
            None => Some(Duration::from_secs(60)),
            Some(ms) => u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis),
        })
    }

    pub(super) fn target_session_attrs(&self) -> Result<TargetSessionAttrs, Error> {
        Ok(match self.get("target_session_attrs") {
            None | Some("any") => TargetSessionAttrs::Any,
            Some("read-write") => TargetSessionAttrs::ReadWrite,
            Some("read-only") => TargetSessionAttrs::ReadOnly,
            Some("primary") => TargetSessionAttrs::Primary,
            Some("standby") => TargetSessionAttrs::Standby,
            Some("prefer-standby") => TargetSessionAttrs::PreferStandby,
            Some(_) => {
                return Err(Error::Value {
                    key: "target_session_attrs",
                    expected: "any, read-write, read-only, primary, standby or prefer-standby",
                });
            }
        })
    }

    pub(super) fn channel_binding(&self) -> Result<ChannelBinding, Error> {
        Ok(match self.get("channel_binding") {
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            Some(_) => {
                let key = "channel_binding";
                return Err(Error::Value { key, expected: "disable, prefer or require" });
            }
        })
    }

    pub(super) fn tls(&self, environment: &Environment) -> Result<Tls, Error> {
        let system = self.get("sslrootcert") == Some("system");
        let mode = match self.get("sslmode") {
            None if system => SslMode::VerifyFull,
            None => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            Some("allow") => SslMode::Allow,
            Some("prefer") => SslMode::Prefer,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(_) => {
                let expected = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(Error::Value { key: "sslmode", expected });
            }
        };
        if system && mode < SslMode::VerifyFull {
            // Anybody can have a certificate of a public authority; only the name tells him apart.
            let expected = "verify-full with sslrootcert=system";
            return Err(Error::Value { key: "sslmode", expected });
        }
        let direct = match self.get("sslnegotiation") {
            None | Some("postgres") => false,
            Some("direct") if mode >= SslMode::Require => true,
            Some("direct") => {
                let expected = "require or stronger with sslnegotiation=direct";
                return Err(Error::Value { key: "sslmode", expected });
            }
            Some(_) => {
                let key = "sslnegotiation";
                return Err(Error::Value { key, expected: "postgres or direct" });
            }
        };
        let file = |key: &str, default: &str| {
            let default = || environment.home(default).filter(|path| path.exists());
            self.get(key).map(PathBuf::from).or_else(default)
        };
        let root = match system {
            true => Some(RootCert::System),
            false => file("sslrootcert", ".postgresql/root.crt").map(RootCert::File),
        };
        let certificate = file("sslcert", ".postgresql/postgresql.crt");
        let key = file("sslkey", ".postgresql/postgresql.key");
        Ok(Tls { mode, root, certificate, key, direct })
    }
}
