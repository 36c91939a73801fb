//! [`Conninfo`]: where the server is and how to get in, as libpq users write it.
//!
//! One parser serves both connections, the stream's and the one for ordinary SQL. Knows nothing of
//! sockets. Source: <https://www.postgresql.org/docs/current/libpq-connect.html>.

mod error;
mod given;
mod passfile;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

pub use error::Error;
pub use text::anchored;

use crate::secret::Secret;
use given::Given;

/// Everything a connection needs to know before it is made.
#[derive(Clone, Debug)]
pub struct Conninfo {
    /// Tried in this order until one answers and has the wanted attributes.
    pub hosts: Vec<Host>,
    /// The role.
    pub user: String,
    /// The database.
    pub database: String,
    /// Shown in `pg_stat_replication` and `pg_stat_activity`.
    pub application_name: String,
    /// The user's own `-c name=value` settings; walgate's come behind them and win.
    pub options: String,
    /// What the server must be.
    pub target_session_attrs: TargetSessionAttrs,
    /// How long one address may take to answer; none waits as long as the system does.
    pub connect_timeout: Option<Duration>,
    /// TCP keepalive, unless turned off.
    pub keepalives: Option<Keepalives>,
    /// How long sent data may stay unacknowledged before the system ends the connection.
    pub tcp_user_timeout: Option<Duration>,
    /// TLS and its certificates.
    pub tls: Tls,
    /// Whether SCRAM binds itself to the TLS channel.
    pub channel_binding: ChannelBinding,
}

/// One address to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A host name, an address, or the folder of a Unix socket (it starts with `/`).
    pub name: String,
    /// The address to use instead of asking for the name's (`hostaddr`).
    pub address: Option<IpAddr>,
    /// The port; part of the file's name with a Unix socket.
    pub port: u16,
    /// The password, from the string, the environment or the password file.
    pub password: Option<Secret>,
}

impl Host {
    /// Returns the path of the Unix socket, none where TCP is meant.
    #[must_use]
    pub fn socket_path(&self) -> Option<PathBuf> {
        let unix = self.name.starts_with('/') && self.address.is_none();
        unix.then(|| Path::new(&self.name).join(format!(".s.PGSQL.{}", self.port)))
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.socket_path(), &self.address) {
            (Some(path), _) => path.display().fmt(f),
            (None, Some(address)) if self.name.is_empty() => write!(f, "{address}:{}", self.port),
            (None, _) => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    #[default]
    Any,
    /// One that takes writes by default.
    ReadWrite,
    /// One that takes none by default.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// A standby, and when no host is one, any.
    PreferStandby,
}

/// TCP keepalive. None leaves the system's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalives {
    /// Silence before the first probe.
    pub idle: Option<Duration>,
    /// Between two probes.
    pub interval: Option<Duration>,
    /// Unanswered probes that end the connection.
    pub count: Option<u32>,
}

/// `sslmode`, weakest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Plain first, TLS when that fails.
    Allow,
    /// TLS first, plain when that fails.
    #[default]
    Prefer,
    /// TLS, whoever answers (with a root certificate at hand: as `verify-ca`).
    Require,
    /// TLS with a certificate that a root signed.
    VerifyCa,
    /// The same, and it names the host.
    VerifyFull,
}

/// `channel_binding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Not used.
    Disable,
    /// Used where the server offers it.
    #[default]
    Prefer,
    /// Nothing else is accepted.
    Require,
}

/// The trusted roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// A PEM file.
    File(PathBuf),
    /// Those the system trusts.
    System,
}

/// How TLS is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`, or libpq's default file where it exists.
    pub root: Option<RootCert>,
    /// `sslcert`.
    pub certificate: Option<PathBuf>,
    /// `sslkey`.
    pub key: Option<PathBuf>,
    /// `sslnegotiation=direct`: no `SSLRequest` before the handshake (PostgreSQL 17 and up).
    pub direct: bool,
}

/// Keys that are understood, with the variable that stands in for each.
const KEYS: &[(&str, &str)] = &[
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("dbname", "PGDATABASE"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("passfile", "PGPASSFILE"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("client_encoding", ""),
    ("options", "PGOPTIONS"),
    ("application_name", "PGAPPNAME"),
    ("fallback_application_name", ""),
    ("keepalives", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("keepalives_count", ""),
    ("tcp_user_timeout", ""),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslcompression", ""),
    ("sslcert", "PGSSLCERT"),
    ("sslkey", "PGSSLKEY"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslsni", ""),
    ("gssencmode", "PGGSSENCMODE"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
];

const UNSUPPORTED: &[(&str, &str)] = &[
    ("service", "write the service's parameters out"),
    ("servicefile", "write the service's parameters out"),
    ("sslpassword", "decrypt the key and keep the file private"),
    ("sslcrl", "certificate revocation lists are not read"),
    ("sslcrldir", "certificate revocation lists are not read"),
    ("sslcertmode", "leave sslcert out to send no certificate"),
    ("requirepeer", "use file permissions of the socket's folder"),
    ("require_auth", "use channel_binding=require with sslmode=verify-full"),
    ("krbsrvname", "GSSAPI is not supported"),
    ("gsslib", "GSSAPI is not supported"),
    ("gssdelegation", "GSSAPI is not supported"),
    ("ssl_min_protocol_version", "TLS 1.2 and 1.3 are used"),
    ("ssl_max_protocol_version", "TLS 1.2 and 1.3 are used"),
    ("min_protocol_version", "protocol 3.0 is used"),
    ("max_protocol_version", "protocol 3.0 is used"),
    ("replication", "walgate sets it itself"),
];

/// What surrounds the process, as far as a connection string leans on it.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

/// Shows the names alone: one of the values is a password.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Environment {
    /// Reads the process's own.
    #[must_use]
    pub fn of_process() -> Self {
        let wanted =
            |name: &str| name.starts_with("PG") || ["HOME", "USER", "LOGNAME"].contains(&name);
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| wanted(name) && !value.is_empty())
            .collect();
        Self { variables }
    }

    /// Builds one of the given variables.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self { variables: variables.into_iter().map(owned).collect() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    fn home(&self, below: &str) -> Option<PathBuf> {
        self.get("HOME").map(|home| Path::new(home).join(below))
    }
}

impl FromStr for Conninfo {
    type Err = Error;

    /// Parses a connection string beside the process's environment.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text, &Environment::of_process())
    }
}

impl Conninfo {
    /// Parses a URL or `key=value` pairs; what it leaves open comes from `environment` and libpq's
    /// defaults.
    ///
    /// # Errors
    /// When the text has neither form, or a key or value is not understood.
    pub fn parse(text: &str, environment: &Environment) -> Result<Self, Error> {
        let given = Given::collect(text, environment)?;
        let user = given
            .get("user")
            .map(str::to_owned)
            .or_else(|| system_user(environment))
            .ok_or(Error::NoUser)?;
        let database = given.get("dbname").unwrap_or(&user).to_owned();
        let hosts = hosts(&given, environment, &user, &database)?;
        let application_name = given
            .get("application_name")
            .or_else(|| given.get("fallback_application_name"))
            .unwrap_or("walgate")
            .to_owned();
        let word = |key, words: &[(&str, bool)]| match given.get(key) {
            None => Ok(()),
            Some(value) if words.iter().any(|(word, fits)| *fits && *word == value) => Ok(()),
            Some(_) => Err(Error::Value { key, expected: "\"disable\" or left out" }),
        };
        word("gssencmode", &[("disable", true), ("prefer", true)])?;
        word("sslcompression", &[("0", true)])?;
        word("sslsni", &[("1", true)])?;
        let mut conninfo = Self {
            hosts,
            user,
            database,
            application_name,
            options: given.get("options").unwrap_or_default().to_owned(),
            target_session_attrs: given.target_session_attrs()?,
            connect_timeout: given.connect_timeout()?,
            keepalives: given.keepalives()?,
            tcp_user_timeout: given.tcp_user_timeout()?,
            tls: given.tls(environment)?,
            channel_binding: given.channel_binding()?,
        };
        match given.get("load_balance_hosts") {
            None | Some("disable") => {}
            Some("random") => fastrand::shuffle(&mut conninfo.hosts),
            Some(_) => {
                let key = "load_balance_hosts";
                return Err(Error::Value { key, expected: "disable or random" });
            }
        }
        Ok(conninfo)
    }

    /// Returns the same with `host` alone, so that a second connection meets the same server.
    #[must_use]
    pub fn narrowed_to(&self, host: &Host) -> Self {
        Self {
            hosts: vec![host.clone()],
            target_session_attrs: TargetSessionAttrs::Any,
            ..self.clone()
        }
    }
}

/// Joins the lists of hosts, addresses and ports, and finds each one's password.
fn hosts(
    given: &Given,
    environment: &Environment,
    user: &str,
    database: &str,
) -> Result<Vec<Host>, Error> {
    let list = |key: &str| -> Vec<String> {
        let split = |text: &str| text.split(',').map(|part| part.trim().to_owned()).collect();
        given.get(key).map_or_else(Vec::new, split)
    };
    let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"));
    let count = names.len().max(addresses.len()).max(1);
    let fits = |length: usize| length == 0 || length == count;
    if !fits(names.len()) || !fits(addresses.len()) {
        return Err(Error::Value { key: "hostaddr", expected: "as many as there are hosts" });
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::Value { key: "port", expected: "one, or as many as there are hosts" });
    }
    let passfile = match given.get("password") {
        Some(_) => None,
        None => given
            .get("passfile")
            .map(PathBuf::from)
            .or_else(|| environment.home(".pgpass"))
            .and_then(|path| passfile::read(&path)),
    };
    let nth = |list: &[String], index: usize| {
        list.get(index).map(String::as_str).unwrap_or_default().to_owned()
    };
    (0..count)
        .map(|index| {
            let port = if ports.len() == 1 { nth(&ports, 0) } else { nth(&ports, index) };
            let port = match port.as_str() {
                "" => 5432,
                text => text
                    .parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or(Error::Value { key: "port", expected: "a number from 1 to 65535" })?,
            };
            let address = match nth(&addresses, index).as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| Error::Value {
                    key: "hostaddr",
                    expected: "an IPv4 or IPv6 address",
                })?),
            };
            let mut name = nth(&names, index);
            if name.is_empty() && address.is_none() {
                name = default_host(port);
            }
            let mut host = Host { name, address, port, password: None };
            host.password = match given.get("password") {
                Some(password) => Some(Secret::new(password.to_owned())),
                None => passfile.as_ref().and_then(|text| {
                    let name = match (&host.address, host.name.as_str()) {
                        (Some(address), "") => address.to_string(),
                        (_, "/var/run/postgresql" | "/tmp") => "localhost".to_owned(),
                        (_, name) => name.to_owned(),
                    };
                    passfile::find(text, &name, &port.to_string(), database, user)
                }),
            };
            Ok(host)
        })
        .collect()
}

/// The socket's folder as distributions build libpq, where there is a socket; else TCP.
fn default_host(port: u16) -> String {
    ["/var/run/postgresql", "/tmp"]
        .into_iter()
        .find(|folder| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists())
        .unwrap_or("localhost")
        .to_owned()
}

/// The operating system's name of who runs the process.
fn system_user(environment: &Environment) -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let from_passwd = || {
        let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
        let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid).then(|| name.to_owned())
        })
    };
    from_passwd()
        .or_else(|| environment.get("USER").map(str::to_owned))
        .or_else(|| environment.get("LOGNAME").map(str::to_owned))
}
