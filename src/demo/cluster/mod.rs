//! A throw-away PostgreSQL cluster: in a temporary folder, on a free port, gone when dropped.

mod builder;
mod install;
mod server;
mod session;
mod standby;

use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

pub use builder::Builder;
pub use install::Installation;
pub use server::Cluster;
pub use session::Session;

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

fn io(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { action, source }
}

fn run(program: &'static str, mut command: Command) -> Result<(), Error> {
    let done = command.stdin(Stdio::null()).output().map_err(io("run a helper program"))?;
    if done.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::Program { program, output })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::demo::watchdog::signal;

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
    async fn a_cluster_starts_again_once_what_a_kill_left_behind_is_gone() {
        let mut cluster = Cluster::builder().start().await.unwrap();
        let session = cluster.connect("postgres").await.unwrap();
        let rows = session.rows("SELECT pg_backend_pid()").await.unwrap();
        let backend: u32 = rows[0][0].as_deref().unwrap().parse().unwrap();
        signal("STOP", backend).unwrap();
        let later = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            signal("CONT", backend)
        };
        let (restarted, continued) = tokio::join!(cluster.restart(Stop::Kill), later);
        restarted.unwrap();
        continued.unwrap();
        assert_eq!(cluster.value("SELECT 7").await.unwrap(), "7");
    }

    #[tokio::test]
    async fn a_cluster_of_its_own_identity_has_another_system_identifier() {
        let identifier = "SELECT system_identifier FROM pg_control_system()";
        let copied = Cluster::builder().start().await.unwrap();
        let own = Cluster::builder().own_identity().start().await.unwrap();
        assert_ne!(copied.value(identifier).await.unwrap(), own.value(identifier).await.unwrap());
    }
}
