//! [`Far`]: moto's servers of Amazon's services, which check each signature, and Amazon's own
//! client to read back with.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::formats::interpreter;
use crate::support::loopback;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;

/// The servers, with queues, topics, streams and a bus. Ends with its drop.
pub(super) struct Far {
    child: Child,
    pub(super) address: SocketAddr,
    /// What was made: names, and keys that may ask.
    pub(super) made: Value,
    folder: TempDir,
}

impl Far {
    #[track_caller]
    pub(super) fn start() -> Self {
        let (address, listener) = loopback();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(interpreter());
        command.args(["-m", "moto.server", "-p", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.current_dir(folder.path()).spawn().unwrap();
        let mut far = Self { child, address, made: Value::Null, folder };
        eventually("the servers are up", PATIENCE, || {
            let ended = far.child.try_wait().unwrap();
            assert!(ended.is_none(), "moto has ended:\n{}", far.log());
            std::net::TcpStream::connect(address).is_ok()
        });
        far.made = serde_json::from_str(&far.python(&["prepare"])).unwrap();
        far
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Returns what was made.
    #[track_caller]
    pub(super) fn of(&self, name: &str) -> &str {
        self.made[name].as_str().unwrap()
    }

    /// Returns the keys of the config for a user of `made`, and the address where to ask.
    #[track_caller]
    pub(super) fn keys(&self, user: &str, address: SocketAddr) -> String {
        let keys = &self.made[user];
        format!(
            "region = \"eu-central-1\"\nendpoint = \"http://{address}\"\naccess_key_id = {}\n\
             secret_access_key = {}\n",
            keys["id"], keys["secret"]
        )
    }

    /// Reads what is there, oldest first; what was read from a queue is gone.
    #[track_caller]
    pub(super) fn read(&self, what: &str) -> Vec<Value> {
        let text = self.python(&["read", what]);
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[track_caller]
    fn python(&self, args: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/aws/far.py");
        let mut command = Command::new(interpreter());
        command.arg(script).arg(format!("http://{}", self.address)).args(args);
        if let (Some(id), Some(secret)) =
            (self.made["any"]["id"].as_str(), self.made["any"]["secret"].as_str())
        {
            command.env("FAR_ID", id).env("FAR_SECRET", secret);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
