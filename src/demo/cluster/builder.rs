//! What a cluster is to be like, and the files that make it so.

use std::env;
use std::net::TcpListener;
use std::process::Command;

use super::install::{Account, Installation};
use super::{Cluster, Error, io, run};

/// Ports tried before giving up: another process may take one between choosing and binding it.
const PORTS_MAX: u32 = 5;

/// The major version of clusters that ask for none.
const MAJOR_VARIABLE: &str = "WALGATE_PG_MAJOR";

/// What a cluster is to be like. Defaults: the version that `WALGATE_PG_MAJOR` names, else the
/// newest found, `wal_level=logical`, `fsync=off`, everyone on loopback trusted.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    major: Option<u32>,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    own_identity: bool,
}

impl Builder {
    /// Asks for a major version: `15`.
    #[must_use]
    pub const fn major(mut self, major: u32) -> Self {
        self.major = Some(major);
        self
    }

    /// Adds a line to `postgresql.conf`; later ones win.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a line to `pg_hba.conf`, before those that trust loopback.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Puts a file into the data folder, readable by the server alone.
    #[must_use]
    pub fn file(mut self, name: &str, contents: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), contents.into()));
        self
    }

    /// Turns TLS on with a certificate and its key, and, where given, the CA of client
    /// certificates (all PEM).
    #[must_use]
    pub fn tls(self, certificate: &str, key: &str, client_ca: Option<&str>) -> Self {
        let built = self
            .setting("ssl", "on")
            .setting("ssl_cert_file", "server.crt")
            .setting("ssl_key_file", "server.key")
            .file("server.crt", certificate)
            .file("server.key", key);
        match client_ca {
            Some(ca) => built.setting("ssl_ca_file", "client-ca.crt").file("client-ca.crt", ca),
            None => built,
        }
    }

    /// Gives the cluster a system identifier of its own (slower by an `initdb`): clusters are
    /// otherwise copies of one template and share it.
    #[must_use]
    pub const fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Makes the cluster and starts it.
    ///
    /// # Errors
    /// When no binaries are found, or the server does not start.
    pub async fn start(self) -> Result<Cluster, Error> {
        let prepared = tokio::task::spawn_blocking(move || self.prepare());
        let mut cluster = prepared.await.map_err(|_| Error::Interrupted)??;
        let mut tries = 0;
        loop {
            tries += 1;
            match cluster.start().await {
                Err(Error::NotStarted { log })
                    if tries < PORTS_MAX && log.contains("could not bind") =>
                {
                    cluster.move_to(free_port()?);
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
        }
    }

    fn prepare(self) -> Result<Cluster, Error> {
        let installation = Installation::find(self.major.or_else(major_of_environment))?;
        let account = Account::for_server();
        let base = account.temporary_folder();
        let folder = tempfile::Builder::new()
            .prefix("walgate-postgres-")
            .tempdir_in(&base)
            .map_err(io("make a temporary folder"))?;
        account.own(folder.path())?;
        let data = folder.path().join("data");
        if self.own_identity {
            installation.initdb(&account, &data)?;
        } else {
            let template = installation.template(&account, &base)?;
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(template).arg(&data);
            run("cp", copy)?;
        }
        let cluster = Cluster::new(installation, account, folder, free_port()?);
        for (name, contents) in &self.files {
            cluster.write(name, contents)?;
        }
        cluster.write("walgate.conf", self.configuration().as_bytes())?;
        cluster.write("pg_hba.conf", self.host_based_access().as_bytes())?;
        let included = "include 'walgate.conf'\n";
        cluster.write("postgresql.conf", included.as_bytes())?;
        Ok(cluster)
    }

    fn configuration(&self) -> String {
        let fixed = [
            ("listen_addresses", "127.0.0.1"),
            ("wal_level", "logical"),
            ("fsync", "off"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("max_prepared_transactions", "10"),
            ("log_line_prefix", "%m [%p] "),
        ];
        let mut text = String::new();
        let given = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in fixed.into_iter().chain(given) {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        text
    }

    fn host_based_access(&self) -> String {
        let mut text = self.hba.join("\n");
        text.push_str("\nlocal all all trust\nhost all all 127.0.0.1/32 trust\n");
        text.push_str("local replication all trust\nhost replication all 127.0.0.1/32 trust\n");
        text
    }
}

fn major_of_environment() -> Option<u32> {
    env::var(MAJOR_VARIABLE).ok()?.parse().ok()
}

pub(super) fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(io("find a free port"))?;
    Ok(listener.local_addr().map_err(io("find a free port"))?.port())
}
