//! Throw-away clusters leave nothing behind, not even when nobody can clean up.

use std::env;
use std::future::pending;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use walgate::demo::cluster::Cluster;

const IS_CHILD: &str = "WALGATE_TEST_IS_CHILD";

#[tokio::test]
async fn a_killed_process_takes_its_cluster_along() {
    if env::var_os(IS_CHILD).is_some() {
        let cluster = Cluster::builder().start().await.unwrap();
        let ready = format!("\nready {} {}\n", cluster.pid().unwrap(), cluster.data().display());
        std::io::stdout().write_all(ready.as_bytes()).unwrap();
        return pending().await;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "cluster::a_killed_process_takes_its_cluster_along", "--nocapture"])
        .env(IS_CHILD, "yes")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let line = output
        .lines()
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("ready ").map(str::to_owned))
        .unwrap();
    let (process, data) = line.split_once(' ').unwrap();
    let (process, data) = (format!("/proc/{process}"), Path::new(data));
    assert!(Path::new(&process).exists() && data.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    let folder = data.parent().unwrap();
    tokio::time::timeout(Duration::from_secs(10), async {
        while Path::new(&process).exists() || folder.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
}
