//! [`Far`]: Google's emulator where it is installed, else a stand-in; and Google's own client to
//! read back with.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::formats::interpreter;
use crate::sinks::fakes::Fake;
use crate::sinks::fakes::pubsub::PubSub;
use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;

/// Where Google's package for Debian puts the emulator. No registry has it, so that it may be
/// missing.
const EMULATOR: &str = "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib";

/// A server of Pub/Sub. Ends with its drop.
pub(crate) struct Far {
    pub(crate) address: SocketAddr,
    kind: Kind,
}

enum Kind {
    Emulator { child: Child, _folder: TempDir },
    StandIn { _server: Fake<PubSub> },
}

impl Far {
    /// Starts the emulator, or the stand-in where there is none, with topics.
    #[track_caller]
    pub(crate) fn start(topics: &[&str]) -> Self {
        match jar() {
            Some(jar) => Self::emulator(&jar, topics),
            None => Self::stand_in(topics),
        }
    }

    /// Starts the stand-in.
    #[track_caller]
    pub(crate) fn stand_in(topics: &[&str]) -> Self {
        let server = Fake::start(PubSub::default());
        let address = server.url().strip_prefix("http://").unwrap().parse().unwrap();
        let far = Self { address, kind: Kind::StandIn { _server: server } };
        far.python("make", topics);
        far
    }

    #[track_caller]
    fn emulator(jar: &Path, topics: &[&str]) -> Self {
        // It takes a second port of its own, which may be the one that it was told to have.
        let started = (0..3).find_map(|_| Self::run(jar));
        let far = started.unwrap_or_else(|| panic!("the emulator does not start"));
        far.python("make", topics);
        far
    }

    /// Starts the emulator. None where something else is at its address, or it has ended.
    #[track_caller]
    fn run(jar: &Path) -> Option<Self> {
        let (address, listener) = loopback();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("java");
        command.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]).arg(jar);
        command.args(["--host=127.0.0.1", &format!("--port={}", address.port())]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.current_dir(folder.path()).spawn().unwrap();
        let mut far = Self { address, kind: Kind::Emulator { child, _folder: folder } };
        let mut is_up = false;
        eventually("the emulator is up", PATIENCE, || {
            if TcpStream::connect(address).is_err() {
                return far.has_ended();
            }
            is_up = greets(address);
            true
        });
        is_up.then_some(far)
    }

    fn has_ended(&mut self) -> bool {
        match &mut self.kind {
            Kind::Emulator { child, .. } => child.try_wait().unwrap().is_some(),
            Kind::StandIn { .. } => false,
        }
    }

    /// Reads the messages of a topic that were not read yet, in the order of each ordering key.
    #[track_caller]
    pub(crate) fn read(&self, topic: &str) -> Vec<Value> {
        let text = self.python("read", &[topic]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn python(&self, what: &str, names: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/pubsub/far.py");
        let mut command = Command::new(interpreter());
        command.arg(script).args([&self.address.to_string(), what]).args(names);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Kind::Emulator { child, .. } = &mut self.kind {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a server answers to HTTP/1.1.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut answer = [0; 8];
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"HTTP/1.1"
}

/// Returns the emulator's archive, where it can be run.
fn jar() -> Option<PathBuf> {
    let has_java = Command::new("java").arg("-version").output().is_ok();
    let files = fs::read_dir(EMULATOR).ok().filter(|_| has_java)?;
    let mut paths = files.map(|file| file.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|end| end == "jar"))
}
