//! [`Served`]: a server of a destination, and what it has, held against the table.

use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::receiver::{Journal, Request};
use crate::support::road::{PATIENCE, Road};

/// A server with a folder of its own, on a port that stays its own over restarts. Killed on drop.
#[derive(Debug)]
pub(super) struct Served {
    program: PathBuf,
    args: Vec<String>,
    pub(super) folder: TempDir,
    pub(super) address: SocketAddr,
    child: Option<Child>,
}

impl Served {
    /// Prepares one; `args` are those for its folder and port.
    pub(super) fn new(program: PathBuf, args: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let folder = tempfile::Builder::new().prefix("walgate-far-").tempdir().unwrap();
        let (address, _) = loopback();
        let args = args(folder.path(), address.port());
        Self { program, args, folder, address, child: None }
    }

    /// Starts it, and waits until it accepts connections.
    #[track_caller]
    pub(super) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.unwrap();
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        eventually("the server accepts connections", PATIENCE, || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            let log = || std::fs::read_to_string(self.folder.path().join("log"));
            assert!(ended.is_none(), "it has ended: {}", log().unwrap());
            TcpStream::connect(self.address).is_ok()
        });
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Makes a journal of what the server has: place, headers and body of each event, in order.
pub(super) fn journal(
    had: impl IntoIterator<Item = (String, Vec<(String, String)>, String)>,
) -> Journal {
    let mut journal = Journal::default();
    for (target, headers, body) in had {
        let headers = headers.into_iter();
        journal.requests.push(Request {
            method: String::new(),
            target,
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
            body: body.into_bytes(),
            at: Instant::now(),
            processed: true,
        });
    }
    journal
}

/// Waits until everything committed so far is done; then holds what `read` returns against `t`:
/// nothing lost, order per key kept, repeats alike.
#[track_caller]
pub(super) fn arrived(road: &Road, read: impl FnOnce() -> Journal) -> Journal {
    road.confirms(&road.wal_end());
    let journal = read();
    assert_eq!(journal.fold(), road.table("t"), "the far side differs from the table");
    assert_eq!(journal.out_of_order(), Vec::<String>::new());
    assert_eq!(journal.repeats_unlike(), Vec::<String>::new());
    journal
}

/// Waits until the sink `far` is in a state, and returns the reason.
#[track_caller]
pub(super) fn until_state(road: &Road, state: &str) -> String {
    let mut sink = serde_json::Value::Null;
    eventually(state, PATIENCE, || {
        sink = road.walgate.status()["sinks"][0].clone();
        sink["state"] == state
    });
    sink["reason"].as_str().unwrap_or_default().to_owned()
}

/// Returns what `walgate check` says of the sink `far`: whether it is well, and what was seen.
#[track_caller]
pub(super) fn checked(road: &Road) -> (bool, String) {
    let output = road.walgate.call(&["check", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = report["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["id"] == "sink.ready").unwrap();
    (check["status"] == "ok", check["seen"].as_str().unwrap().to_owned())
}
