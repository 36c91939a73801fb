//! From commit to acknowledgement at a thousand one-row transactions a second.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::runtime::Runtime;

use crate::receiver::Receiver;
use crate::{Outcome, backlog, drain, measure};

const TABLE: &str = "CREATE TABLE ticks (id bigserial PRIMARY KEY, customer_id integer, note text);
    CREATE PUBLICATION ticks FOR TABLE ticks";
const SCRIPT: &str =
    "INSERT INTO ticks (customer_id, note) VALUES (:client_id, repeat('x', 300));\n";
const RATE: u32 = 1000;

/// Runs the load for some seconds; what is printed leaves out the first third.
pub(crate) fn run(runtime: &Runtime, walgate: &Path, seconds: u32) -> Outcome<String> {
    eprintln!("latency: {RATE} transactions a second for {seconds}s");
    let cluster = runtime.block_on(backlog::start())?;
    runtime.block_on(cluster.execute(TABLE))?;
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let sink = format!(
        "[sink.out]\nbatch = {{ max_events = 500 }}\nconcurrency = 4\n\n\
         [sink.out.http]\nurl = \"http://{}/latency\"\n",
        receiver.address
    );
    let url = cluster.url("postgres", "postgres");
    let config = folder.path().join("walgate.toml");
    fs::write(&config, drain::configuration(&url, "ticks", "ticks", &sink))?;
    let log = folder.path().join("log");
    let mut command = Command::new(walgate);
    command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(File::create(&log)?).spawn()?;
    let active = "SELECT count(*) FROM pg_replication_slots WHERE active";
    while runtime.block_on(cluster.value(active))? != "1" {
        if child.try_wait()?.is_some() {
            return Err(fs::read_to_string(&log)?.into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let script = folder.path().join("tick.sql");
    fs::write(&script, SCRIPT)?;
    let cpu_before = measure::cpu_seconds(child.id()).unwrap_or(0.0);
    let pgbench = Command::new(cluster.bin().join("pgbench"))
        .args(["--no-vacuum", "--client=4", "--protocol=prepared", &format!("--rate={RATE}")])
        .arg(format!("--time={seconds}"))
        .arg(format!("--file={}", script.display()))
        .arg(&url)
        .output()?;
    if !pgbench.status.success() {
        return Err(String::from_utf8_lossy(&pgbench.stderr).into());
    }
    std::thread::sleep(Duration::from_secs(1));
    let cpu = measure::cpu_seconds(child.id()).unwrap_or(0.0) - cpu_before;
    let memory = measure::peak_memory_bytes(child.id()).unwrap_or(0.0);
    child.kill()?;
    child.wait()?;
    let committed: u64 = runtime.block_on(cluster.value("SELECT count(*) FROM ticks"))?.parse()?;
    let (events, times) = receiver.take()?;
    if events != committed {
        return Err(format!("{events} of {committed} rows arrived").into());
    }
    let mut times = times.get(times.len() / 3..).unwrap_or_default().to_vec();
    times.sort_by(f64::total_cmp);
    let at = |part: usize| times.get(times.len() * part / 1000).copied().unwrap_or(f64::NAN);
    Ok(format!(
        "commit to acknowledgement over HTTP, {RATE} one-row transactions/s for {seconds}s, ms:\n\
         p50 {:.2}  p90 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2}  \
         (n = {}, client CPU {cpu:.2}s, peak memory {:.0} MiB)",
        at(500),
        at(900),
        at(990),
        at(999),
        times.last().copied().unwrap_or(f64::NAN),
        times.len(),
        memory / 1_048_576.0
    ))
}
