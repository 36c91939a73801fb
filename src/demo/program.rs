//! walgate itself as a child process: started, killed and asked to stop, as an operator would.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::Error;
use super::watchdog::{Watchdog, signal};

/// How long an orderly stop may take: the demo's `shutdown_grace` and some more.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// `walgate run` over one folder that holds its configuration, state and log.
#[derive(Debug)]
pub(super) struct Program {
    executable: PathBuf,
    folder: PathBuf,
    running: Option<(Child, Watchdog)>,
}

impl Program {
    pub(super) fn new(executable: PathBuf, folder: &Path) -> Self {
        Self { executable, folder: folder.to_owned(), running: None }
    }

    pub(super) fn config(&self) -> PathBuf {
        self.folder.join("walgate.toml")
    }

    pub(super) fn start(&mut self) -> Result<(), Error> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.executable);
        command.arg("run").arg("--config").arg(self.config()).current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        // A Ctrl-C in the terminal reaches it through the demo, in order.
        command.process_group(0).kill_on_drop(true);
        let child = command.spawn()?;
        let process = child.id().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let watchdog = Watchdog::over(process, &self.folder)?;
        self.running = Some((child, watchdog));
        Ok(())
    }

    /// `kill -9`, no goodbye.
    pub(super) async fn kill(&mut self) -> Result<(), Error> {
        if let Some((mut child, _watchdog)) = self.running.take() {
            child.kill().await?;
        }
        Ok(())
    }

    /// Asks it to finish what it has begun, and waits.
    pub(super) async fn stop(&mut self) -> Result<(), Error> {
        let Some((mut child, _watchdog)) = self.running.take() else { return Ok(()) };
        if let Some(process) = child.id() {
            signal("TERM", process)?;
        }
        match timeout(STOP_TIMEOUT, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(_) => Err(self.ended()),
            Err(_) => {
                child.kill().await?;
                Err(Error::NotStopped)
            }
        }
    }

    /// Fails when it has ended by itself.
    pub(super) fn expect_running(&mut self) -> Result<(), Error> {
        if let Some((child, _)) = &mut self.running
            && child.try_wait()?.is_some()
        {
            return Err(self.ended());
        }
        Ok(())
    }

    fn ended(&self) -> Error {
        let log = std::fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        Error::Ended { log: last.join("\n") }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("walgate.log")
    }
}
