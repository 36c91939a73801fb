//! [`Rabbit`]: a RabbitMQ of a test's own, in a temporary folder.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::formats::interpreter;
use crate::support::loopback;
use crate::support::process::eventually;

/// Where Debian puts the server; its wrapper would run it as another user.
const BIN: &str = "/usr/lib/rabbitmq/bin";

/// A start is a virtual machine and a database.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server. Dropping it ends it.
pub(crate) struct Rabbit {
    folder: TempDir,
    address: SocketAddr,
    environment: Vec<(&'static str, String)>,
    /// Erlang's own name service, which would outlive the server.
    epmd: Child,
    server: Option<Child>,
}

impl Rabbit {
    /// Starts a server with `config` in its file.
    #[track_caller]
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("walgate-rabbit-").tempdir().unwrap();
        let [amqp, dist, epmd] = [(); 3].map(|()| loopback().0);
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let written = format!("listeners.tcp.1 = {amqp}\n{config}");
        fs::write(path("rabbitmq.conf"), written).unwrap();
        fs::write(path("enabled_plugins"), "").unwrap();
        let environment = vec![
            ("HOME", path("")),
            // The server takes the place of the shell that starts it.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_NODENAME", format!("walgate-{}@localhost", amqp.port())),
            ("RABBITMQ_DIST_PORT", dist.port().to_string()),
            ("RABBITMQ_MNESIA_BASE", path("data")),
            ("RABBITMQ_LOG_BASE", path("log")),
            ("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins")),
            ("RABBITMQ_PID_FILE", path("pid")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2".to_owned()),
            ("ERL_EPMD_PORT", epmd.port().to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
        ];
        let mut command = Command::new("epmd");
        command.envs(environment.iter().map(|(name, value)| (*name, value)));
        let epmd = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut rabbit = Self { folder, address: amqp, environment, epmd, server: None };
        rabbit.run();
        rabbit
    }

    /// Starts it (again) and waits until it speaks AMQP.
    #[track_caller]
    pub(crate) fn run(&mut self) {
        assert!(self.server.is_none(), "it is running already");
        let log = File::create(self.folder.path().join("out")).unwrap();
        let mut command = self.command("rabbitmq-server");
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(command.spawn().unwrap());
        let log = self.folder.path().join("out");
        eventually("RabbitMQ speaks AMQP", PATIENCE, || {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
            greets(self.address)
        });
    }

    /// Stops it as an operator does.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        let pid = server.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
        server.wait().unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(Path::new(BIN).join(program));
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command.current_dir(self.folder.path());
        command
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL for a user.
    pub(crate) fn url(&self, user: &str) -> String {
        format!("amqp://{user}@{}", self.address)
    }

    /// Runs `rabbitmqctl`.
    #[track_caller]
    pub(crate) fn control(&self, args: &[&str]) {
        let output = self.command("rabbitmqctl").args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// Does what the client for Python is told; returns what it read.
    #[track_caller]
    pub(crate) fn ask(&self, operations: &Value) -> Vec<Value> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/amqp/rabbit.py");
        let (url, operations) = (self.url("guest:guest"), operations.to_string());
        let mut command = Command::new(interpreter());
        let output = command.arg(script).args([url, operations]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        for child in self.server.iter_mut().chain([&mut self.epmd]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether a server answers to AMQP's first words with its own: a method on channel 0.
fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut answer = [0; 3];
    stream.write_all(b"AMQP\0\0\x09\x01").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == [1, 0, 0]
}
