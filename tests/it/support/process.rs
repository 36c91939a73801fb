//! [`Walgate`]: the built binary with a config and a state folder of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::web;

/// The built binary as a user runs it. Killed on drop; its folder goes with it.
#[derive(Debug)]
pub(crate) struct Walgate {
    folder: TempDir,
    child: Option<Child>,
    /// How often it was started.
    starts: usize,
}

impl Walgate {
    /// Writes `config` to a folder of its own; nothing is started yet.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("walgate-it-").tempdir().unwrap();
        let walgate = Self { folder, child: None, starts: 0 };
        walgate.configure(config);
        walgate
    }

    /// Replaces the config; the next start reads it.
    pub(crate) fn configure(&self, config: &str) {
        fs::write(self.folder().join("walgate.toml"), config).unwrap();
    }

    /// Returns the folder of the config; the state lies in `walgate-state` there.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log_path(&self) -> PathBuf {
        self.folder().join("walgate.log")
    }

    /// Returns all it has logged so far, over all starts.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_walgate"));
        command.current_dir(self.folder()).args(args).env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Starts `walgate run` with `args` in the background; its log is appended to a file.
    #[track_caller]
    pub(crate) fn start(&mut self, args: &[&str]) {
        let out = File::create(self.folder().join("walgate.out")).unwrap();
        self.spawn(args, out.into());
    }

    /// As [`Walgate::start`], and returns the end of the pipe that it writes to.
    #[track_caller]
    pub(crate) fn start_piped(&mut self, args: &[&str]) -> ChildStdout {
        self.spawn(args, Stdio::piped());
        self.child.as_mut().and_then(|child| child.stdout.take()).unwrap()
    }

    #[track_caller]
    fn spawn(&mut self, args: &[&str], out: Stdio) {
        assert!(self.child.is_none(), "it is running already");
        let log = OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        self.starts += 1;
        let mut command = self.command(&["run"]);
        self.child = Some(command.args(args).stdout(out).stderr(log).spawn().unwrap());
    }

    /// Runs any command to its end.
    pub(crate) fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs `walgate status --json`.
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.call(&["status", "--json"]);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
            panic!("status said no JSON ({error}): {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// Returns the address at which the running instance answers.
    #[track_caller]
    pub(crate) fn admin(&self) -> SocketAddr {
        let mut address = None;
        eventually("the admin listener is up", Duration::from_secs(60), || {
            let log = self.log();
            let line = log.split('\n').filter(|line| line.contains("admin listening"));
            let line = line.clone().nth(self.starts - 1).map(str::to_owned);
            address = line.and_then(|line| {
                let (_, rest) = line.split_once("address=")?;
                rest.split_whitespace().next()?.parse().ok()
            });
            address.is_some()
        });
        address.unwrap()
    }

    /// Asks the running instance with GET.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> web::Answer {
        web::get(self.admin(), path, &[])
    }

    /// Returns the process id of the instance, which must run.
    #[track_caller]
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Returns whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`).
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Asks it to stop and returns its exit code.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal("TERM");
        self.exit_code(Duration::from_secs(30))
    }

    /// Waits for its end and returns the exit code.
    #[track_caller]
    pub(crate) fn exit_code(&mut self, timeout: Duration) -> i32 {
        let deadline = Instant::now() + timeout;
        let child = self.child.as_mut().unwrap();
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status.code().unwrap_or(-1);
            }
            pause(Duration::from_millis(10));
        }
        panic!("walgate did not end within {timeout:?}; its log:\n{}", self.log());
    }

    /// Returns the most memory it has held so far, in bytes.
    #[track_caller]
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}

impl Drop for Walgate {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let _ = writeln!(io::stderr(), "--- the log of walgate ---\n{}", self.log());
        } else {
            // Whatever a test is about: nothing may get lost between the source and a sink.
            let log = self.log();
            assert!(!log.contains("events are not accounted for"), "{log}");
        }
    }
}

/// Waits until `met` holds; panics with `what` when it does not within `timeout`.
#[track_caller]
pub(crate) fn eventually(what: &str, timeout: Duration, mut met: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !met() {
        assert!(Instant::now() < deadline, "{what}: not within {timeout:?}");
        pause(Duration::from_millis(20));
    }
}

/// Says what was measured.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Waits a moment.
#[expect(clippy::disallowed_methods, reason = "a test thread waits between two looks")]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
