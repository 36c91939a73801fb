//! A throw-away PostgreSQL cluster: in a temporary folder, on a free port, gone when dropped.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_postgres::SimpleQueryMessage;

use super::install::{Account, Installation};

/// How long a cluster may take to accept connections: crash recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the server's state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);
/// Ports tried before giving up: another process may take one between choosing and binding it.
const PORTS_MAX: u32 = 5;

/// What went wrong with a throw-away cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No PostgreSQL server binaries were found.
    #[error(
        "no PostgreSQL {wanted} server binaries found; install them (Debian: apt-get install postgresql) or set WALGATE_PG_BIN to the folder that holds `postgres` and `initdb`"
    )]
    NotInstalled {
        /// The version asked for, or "server" where any would do.
        wanted: String,
    },
    /// A file or process operation failed.
    #[error("failed to {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// A helper program of PostgreSQL ended with an error.
    #[error("{program} failed: {output}")]
    Program {
        /// Its name.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// The server ended, or did not accept connections in time.
    #[error("the server did not start: {log}")]
    NotStarted {
        /// The end of the server's log.
        log: String,
    },
    /// The server did not stop in time.
    #[error("the server did not stop within {}s", .0.as_secs())]
    NotStopped(Duration),
    /// The server refused a statement or a connection.
    #[error("the server refused")]
    Sql(#[from] tokio_postgres::Error),
    /// The thread that prepares the files ended early.
    #[error("the thread that prepares the cluster ended early")]
    Interrupted,
}

/// How the server is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Waits for the clients to leave.
    Smart,
    /// Ends the sessions, flushes, and waits for every walsender's client to confirm.
    Fast,
    /// Ends at once; the next start recovers from the write-ahead log.
    Immediate,
    /// `kill -9` of the postmaster.
    Kill,
}

impl Stop {
    const fn signal(self) -> &'static str {
        match self {
            Self::Smart => "TERM",
            Self::Fast => "INT",
            Self::Immediate => "QUIT",
            Self::Kill => "KILL",
        }
    }
}

/// What a cluster is to be like. Defaults: newest version found, `wal_level=logical`,
/// `fsync=off`, everyone on loopback trusted.
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
                    cluster.port = free_port()?;
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(cluster),
            }
        }
    }

    fn prepare(self) -> Result<Cluster, Error> {
        let installation = Installation::find(self.major)?;
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
        let cluster = Cluster {
            port: free_port()?,
            server: None,
            installation,
            account,
            folder: Some(folder),
            data,
        };
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

/// A real PostgreSQL cluster that lives as long as this value.
///
/// As root the server runs as `postgres`, else `nobody`. Dropping it stops the server at once and
/// removes the folder; a watchdog process does the same should this process be killed.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    account: Account,
    folder: Option<tempfile::TempDir>,
    data: PathBuf,
    port: u16,
    server: Option<Running>,
}

#[derive(Debug)]
struct Running {
    postmaster: Child,
    /// Waits for its standard input to close, which the end of this process does, however it ends.
    watchdog: Child,
}

impl Cluster {
    /// Returns a description of a cluster to be started.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    /// When it ends or does not get ready within a minute.
    pub async fn start(&mut self) -> Result<(), Error> {
        if self.server.is_some() {
            return Ok(());
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(io("open the server's log"))?;
        let logged_before = log.metadata().map_err(io("read the server's log"))?.len();
        let again = log.try_clone().map_err(io("open the server's log"))?;
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-p")
            .arg(self.port.to_string())
            .arg(format!("--unix_socket_directories={}", self.socket_folder()))
            .stdin(Stdio::null())
            .stdout(again)
            .stderr(log)
            // A Ctrl-C in the terminal is for walgate, which stops the server in its own time.
            .process_group(0);
        let postmaster = command.spawn().map_err(io("start the server"))?;
        let watchdog = self.watch(&postmaster).map_err(io("start the watchdog"))?;
        self.server = Some(Running { postmaster, watchdog });
        if self.is_ready_in_time().await? {
            return Ok(());
        }
        self.end_now();
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let log = log.get(usize::try_from(logged_before).unwrap_or(0)..).unwrap_or("").to_owned();
        Err(Error::NotStarted { log })
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// When it has not ended within `timeout`: it then goes on stopping.
    pub async fn stop(&mut self, how: Stop, timeout: Duration) -> Result<(), Error> {
        let Some(server) = &mut self.server else { return Ok(()) };
        signal(how, &server.postmaster).map_err(io("signal the server"))?;
        let mut waited = Duration::ZERO;
        while server.postmaster.try_wait().map_err(io("wait for the server"))?.is_none() {
            if waited >= timeout {
                return Err(Error::NotStopped(timeout));
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
        self.end_now();
        Ok(())
    }

    /// Stops the server and starts it again on the same port.
    ///
    /// # Errors
    /// When it does not stop within 30 seconds or does not start.
    pub async fn restart(&mut self, how: Stop) -> Result<(), Error> {
        self.stop(how, Duration::from_secs(30)).await?;
        self.start().await
    }

    /// Returns a libpq URL for a user and database.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// Opens a session as the superuser `postgres`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self, database: &str) -> Result<Session, Error> {
        Session::open(&self.url("postgres", database)).await
    }

    /// Runs statements, parted by semicolons, as the superuser in the database `postgres`.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn execute(&self, sql: &str) -> Result<(), Error> {
        Ok(self.connect("postgres").await?.batch_execute(sql).await?)
    }

    /// Runs a query as the superuser in the database `postgres`; values as text.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.connect("postgres").await?.rows(sql).await
    }

    /// Runs a query and returns the first value of its first row, empty where there is none.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn value(&self, sql: &str) -> Result<String, Error> {
        let rows = self.query(sql).await?;
        Ok(rows.into_iter().flatten().next().flatten().unwrap_or_default())
    }

    /// Returns the port on loopback.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the major version: `15`.
    #[must_use]
    pub const fn major(&self) -> u32 {
        self.installation.major
    }

    /// Returns the full version as the server prints it: `15.18`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.installation.version
    }

    /// Returns the folder of the server's programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.installation.bin
    }

    /// Returns the data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns what the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Returns the postmaster's process id while the server runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.postmaster.id())
    }

    /// Returns a command for one of the server's programs, to be run as the server's user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.account.command(&self.installation.bin.join(program));
        if let Some(folder) = &self.folder {
            command.current_dir(folder.path());
        }
        command
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_file_name("log")
    }

    /// A Unix socket's path is at most 107 bytes; without room for it there is none.
    fn socket_folder(&self) -> String {
        let folder = self.data.parent().map(|path| path.display().to_string()).unwrap_or_default();
        if folder.len() <= 80 { folder } else { String::new() }
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.data.join(name);
        fs::write(&path, contents).map_err(io("write a file of the cluster"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(io("write a file of the cluster"))?;
        self.account.own(&path)
    }

    async fn is_ready_in_time(&mut self) -> Result<bool, Error> {
        let status = self.data.join("postmaster.pid");
        let mut waited = Duration::ZERO;
        while waited < START_TIMEOUT {
            let Some(server) = &mut self.server else { return Ok(false) };
            if server.postmaster.try_wait().map_err(io("wait for the server"))?.is_some() {
                return Ok(false);
            }
            // Line 1 is the postmaster's pid and line 8 its state, which pg_ctl waits for too.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let mut lines = text.lines();
            let is_ours = lines.next() == Some(server.postmaster.id().to_string().as_str());
            if is_ours && lines.nth(6).is_some_and(|state| state.trim() == "ready") {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
            waited += POLL;
        }
        Ok(false)
    }

    fn watch(&self, postmaster: &Child) -> io::Result<Child> {
        let folder = self.folder.as_ref().map(|folder| folder.path().to_owned());
        // "done" says that the server was stopped in good order. An end of input without it says
        // that this process is gone.
        let script = r#"trap '' INT TERM HUP; read -r word || word=
            test "$word" = done && exit 0
            kill -QUIT "$1" 2>/dev/null; n=0
            while kill -0 "$1" 2>/dev/null && test $n -lt 50; do sleep 0.1; n=$((n+1)); done
            kill -KILL "$1" 2>/dev/null
            rm -rf "$2""#;
        Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg("walgate-watchdog")
            .arg(postmaster.id().to_string())
            .arg(folder.unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }

    /// Ends what still runs, without waiting longer than an immediate stop takes.
    fn end_now(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let mut has_ended = matches!(server.postmaster.try_wait(), Ok(Some(_)));
        if !has_ended && signal(Stop::Immediate, &server.postmaster).is_ok() {
            for _ in 0..500 {
                has_ended = matches!(server.postmaster.try_wait(), Ok(Some(_)));
                if has_ended {
                    break;
                }
                nap();
            }
        }
        if !has_ended {
            // It may have ended meanwhile: then there is nothing to kill.
            drop(server.postmaster.kill());
            drop(server.postmaster.wait());
        }
        if let Some(mut input) = server.watchdog.stdin.take() {
            drop(io::Write::write_all(&mut input, b"done\n"));
        }
        drop(server.watchdog.wait());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end_now();
    }
}

/// An SQL session and the task that drives it; dropping it ends both.
#[derive(Debug)]
pub struct Session {
    client: tokio_postgres::Client,
    _driver: JoinSet<()>,
}

impl Session {
    /// Connects without TLS.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
        let mut driver = JoinSet::new();
        // Its errors come back from the client's calls.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { client, _driver: driver })
    }

    /// Runs a query; values as text.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|index| row.get(index).map(str::to_owned));
                rows.push(cells.collect());
            }
        }
        Ok(rows)
    }
}

impl Deref for Session {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}

pub(super) fn run(program: &'static str, mut command: Command) -> Result<(), Error> {
    let done = command.stdin(Stdio::null()).output().map_err(io("run a helper program"))?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::Program { program, output })
}

/// The shell sends it: the standard library can only kill.
fn signal(how: Stop, postmaster: &Child) -> io::Result<()> {
    let script = format!("kill -{} {} 2>/dev/null", how.signal(), postmaster.id());
    Command::new("sh").arg("-c").arg(script).status().map(drop)
}

fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(io("find a free port"))?;
    Ok(listener.local_addr().map_err(io("find a free port"))?.port())
}

#[expect(clippy::disallowed_methods, reason = "only where nothing can be awaited: in drop")]
fn nap() {
    std::thread::sleep(POLL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_starts_answers_restarts_and_leaves_nothing_behind() {
        for installation in Installation::all() {
            let builder = Cluster::builder().major(installation.major);
            let mut cluster = builder.setting("work_mem", "5MB").start().await.unwrap();
            assert_eq!(cluster.value("SHOW wal_level").await.unwrap(), "logical");
            assert_eq!(cluster.value("SHOW work_mem").await.unwrap(), "5MB");
            cluster.execute("CREATE TABLE t (a int); INSERT INTO t VALUES (7)").await.unwrap();
            for how in [Stop::Fast, Stop::Immediate, Stop::Kill, Stop::Smart] {
                cluster.restart(how).await.unwrap();
                assert_eq!(cluster.value("SELECT a FROM t").await.unwrap(), "7", "after {how:?}");
            }
            let (data, pid) = (cluster.data().to_owned(), cluster.pid().unwrap());
            drop(cluster);
            assert!(!data.exists());
            assert!(!Path::new(&format!("/proc/{pid}")).exists());
        }
    }

    #[tokio::test]
    async fn a_cluster_of_its_own_identity_has_another_system_identifier() {
        let identifier = "SELECT system_identifier FROM pg_control_system()";
        let copied = Cluster::builder().start().await.unwrap();
        let own = Cluster::builder().own_identity().start().await.unwrap();
        assert_ne!(copied.value(identifier).await.unwrap(), own.value(identifier).await.unwrap());
    }
}
