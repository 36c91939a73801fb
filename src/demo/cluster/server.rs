//! The running server: started, stopped every way there is, watched.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::install::{Account, Installation};
use super::{Builder, Error, Session, Stop, io as failed};
use crate::demo::watchdog::{Watchdog, signal};

/// How long a cluster may take to accept connections: crash recovery included.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// What a server logs that finds the processes of a killed one still attached to its memory.
const MEMORY_IN_USE: &str = "pre-existing shared memory block";
/// How often the server's state is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(10);

/// A real PostgreSQL cluster that lives as long as this value.
///
/// As root the server runs as `postgres`, else `nobody`. Dropping it stops the server at once and
/// removes the folder; a watchdog process does the same should this process be killed.
#[derive(Debug)]
pub struct Cluster {
    installation: Installation,
    account: Account,
    folder: tempfile::TempDir,
    data: PathBuf,
    port: u16,
    server: Option<Running>,
}

#[derive(Debug)]
struct Running {
    postmaster: Child,
    watchdog: Watchdog,
}

impl Cluster {
    pub(super) fn new(
        installation: Installation,
        account: Account,
        folder: tempfile::TempDir,
        port: u16,
    ) -> Self {
        let data = folder.path().join("data");
        Self { installation, account, folder, data, port, server: None }
    }

    pub(super) const fn move_to(&mut self, port: u16) {
        self.port = port;
    }

    /// Returns a description of a cluster to be started.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// After a [`Stop::Kill`] its processes live on until they notice, and their shared memory
    /// keeps a new server from starting: it is tried again until they are gone.
    ///
    /// # Errors
    /// When it ends or does not get ready within a minute.
    pub async fn start(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        while self.server.is_none() {
            match self.try_start().await {
                Err(Error::NotStarted { log })
                    if log.contains(MEMORY_IN_USE) && started.elapsed() < START_TIMEOUT =>
                {
                    tokio::time::sleep(POLL).await;
                }
                tried => return tried,
            }
        }
        Ok(())
    }

    async fn try_start(&mut self) -> Result<(), Error> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .map_err(failed("open the server's log"))?;
        let logged_before = log.metadata().map_err(failed("read the server's log"))?.len();
        let again = log.try_clone().map_err(failed("open the server's log"))?;
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
        let postmaster = command.spawn().map_err(failed("start the server"))?;
        let watchdog = Watchdog::over(postmaster.id(), self.folder.path())
            .map_err(failed("start the watchdog"))?;
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
        signal(how.signal(), server.postmaster.id()).map_err(failed("signal the server"))?;
        let mut waited = Duration::ZERO;
        while server.postmaster.try_wait().map_err(failed("wait for the server"))?.is_none() {
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
        command.current_dir(self.folder.path());
        command
    }

    pub(super) const fn installation(&self) -> &Installation {
        &self.installation
    }

    pub(super) const fn account(&self) -> &Account {
        &self.account
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_file_name("log")
    }

    /// A Unix socket's path is at most 107 bytes; without room for it there is none.
    fn socket_folder(&self) -> String {
        let folder = self.folder.path().display().to_string();
        if folder.len() <= 80 { folder } else { String::new() }
    }

    pub(super) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.data.join(name);
        fs::write(&path, contents).map_err(failed("write a file of the cluster"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(failed("write a file of the cluster"))?;
        self.account.own(&path)
    }

    async fn is_ready_in_time(&mut self) -> Result<bool, Error> {
        let status = self.data.join("postmaster.pid");
        let mut waited = Duration::ZERO;
        while waited < START_TIMEOUT {
            let Some(server) = &mut self.server else { return Ok(false) };
            if server.postmaster.try_wait().map_err(failed("wait for the server"))?.is_some() {
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

    /// Ends what still runs, without waiting longer than an immediate stop takes.
    fn end_now(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let mut has_ended = matches!(server.postmaster.try_wait(), Ok(Some(_)));
        if !has_ended && signal(Stop::Immediate.signal(), server.postmaster.id()).is_ok() {
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
        drop(server.watchdog);
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.end_now();
    }
}

#[expect(clippy::disallowed_methods, reason = "only where nothing can be awaited: in drop")]
fn nap() {
    std::thread::sleep(POLL);
}
