//! [`Server`]: ClickHouse's engine behind ClickHouse's HTTP interface.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use url::form_urlencoded::Serializer;

use crate::formats::interpreter;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;
use crate::support::{loopback, web};

/// The password of its user `default`.
pub(crate) const PASSWORD: &str = "the password of this test";

/// A server with a folder of its own. Ends with its drop.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    address: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// Starts one and runs statements there, parted by semicolons.
    #[track_caller]
    pub(crate) fn start(schema: &str) -> Self {
        let (address, listener) = loopback();
        drop(listener);
        let mut server = Self { child: None, address, folder: tempfile::tempdir().unwrap() };
        server.listen(PASSWORD);
        server.sql(schema);
        server
    }

    /// Starts it again at the same address, with what it had.
    #[track_caller]
    pub(crate) fn listen(&mut self, password: &str) {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/sinks/clickhouse/server.py");
        let log = File::create(self.folder.path().join("log")).unwrap();
        let mut command = Command::new(interpreter());
        command.arg(script).arg(self.address.port().to_string());
        command.arg(self.folder.path().join("data")).arg(password);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.child = Some(command.spawn().unwrap());
        eventually("ClickHouse is up", PATIENCE, || {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it has ended:\n{}", self.log());
            std::net::TcpStream::connect(self.address).is_ok()
        });
    }

    /// Kills it with signal 9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Runs statements, parted by semicolons.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) {
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            self.value(statement);
        }
    }

    /// Returns what a statement says, as `TabSeparated`.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        let query = Serializer::new(String::new()).append_pair("query", sql).finish();
        let answer = web::get(self.address, &format!("/chdb?{query}"), &[]);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.body);
        answer.body.trim_end_matches('\n').to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
