//! The whole thing at once on a throw-away Postgres: what `walgate demo` runs.
//!
//! Knows nothing of how the line works inside: it starts the program as a user would, and
//! believes only what the tables and the receiving end say.

pub mod cluster;
mod crm;
mod program;
mod shop;
mod summary;
mod watchdog;

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::cluster::{Cluster, Stop};
use self::crm::Crm;
use self::program::Program;
use self::shop::{Committed, Worker};
pub use self::summary::Summary;

/// How often the live line is written and the child looked at.
const TICK: Duration = Duration::from_millis(200);
/// How often there is a line where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// How long the slot may take to be there and read.
const SLOT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the last changes may take without any progress at all.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
/// Where walgate shows itself unless told otherwise.
const ADMIN_PORT: u16 = 7717;
/// How long a killed walgate stays away.
const AWAY: Duration = Duration::from_millis(500);

/// What `walgate demo` is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the shop works.
    pub duration: Duration,
    /// Whether the endpoint misbehaves and walgate gets killed.
    pub with_faults: bool,
    /// The program to run; `None` is this one.
    pub executable: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { duration: Duration::from_secs(20), with_faults: false, executable: None }
    }
}

/// Why a demo could not be shown to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database did not do its part.
    #[error("the demo's database failed")]
    Cluster(#[from] cluster::Error),
    /// A file, socket or process operation failed.
    #[error("the demo could not be set up")]
    Io(#[from] io::Error),
    /// The child process ended by itself.
    #[error("walgate ended by itself; the end of its log:\n{log}")]
    Ended {
        /// The last lines that it logged.
        log: String,
    },
    /// The child process did not end when asked to.
    #[error("walgate did not stop when asked to")]
    NotStopped,
    /// The slot never became active.
    #[error("walgate did not start to read within {}s", SLOT_TIMEOUT.as_secs())]
    NotReading,
    /// A session of the shop ended by a panic.
    #[error("a session of the shop ended early")]
    Interrupted,
}

/// Runs the demo: the live line goes to stderr, the summary is returned.
///
/// Ctrl-C ends the shop's work early; what was committed is still delivered and compared.
///
/// Cancel safety: dropping the future stops every process and removes every file.
///
/// # Errors
/// When it can't be set up, or walgate ends by itself.
pub async fn run(options: Options) -> Result<Summary, Error> {
    let mut cluster = Cluster::builder().start().await?;
    shop::open(&cluster).await?;
    let folder = tempfile::Builder::new().prefix("walgate-demo-").tempdir()?;
    let crm = Arc::new(Crm::default());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut server = JoinSet::new();
    server.spawn(Arc::clone(&crm).serve(listener));

    let executable = options.executable.clone().map_or_else(std::env::current_exe, Ok)?;
    let mut program = Program::new(executable, folder.path());
    let admin = admin_address().await?;
    std::fs::write(program.config(), configuration(&cluster, address.port(), admin))?;
    program.start()?;
    wait_for_slot(&cluster, &mut program).await?;
    say(&format!(
        "PostgreSQL {} on port {}, a CRM at http://{address}/events",
        cluster.version(),
        cluster.port()
    ));
    say(&format!("metrics at http://{admin}/metrics, health at http://{admin}/healthz"));

    let mut demo = Demo {
        options,
        crm,
        program,
        committed: Arc::default(),
        started: Instant::now(),
        kills: 0,
        live: Live::default(),
    };
    demo.work(&cluster).await?;
    let duration = demo.started.elapsed();
    demo.drain().await?;
    demo.program.stop().await?;
    let summary = demo.compare(&cluster, duration).await?;
    cluster.stop(Stop::Immediate, Duration::from_secs(10)).await?;
    Ok(summary)
}

struct Demo {
    options: Options,
    crm: Arc<Crm>,
    program: Program,
    committed: Arc<Committed>,
    started: Instant,
    kills: u64,
    live: Live,
}

impl Demo {
    /// The shop works; with faults, the endpoint and walgate suffer.
    async fn work(&mut self, cluster: &Cluster) -> Result<(), Error> {
        let stop = CancellationToken::new();
        let _stops_in_any_case = stop.clone().drop_guard();
        let mut workers = JoinSet::new();
        for number in 0..shop::WORKERS {
            let committed = Arc::clone(&self.committed);
            let worker = Worker::open(cluster, number, committed, self.options.with_faults).await?;
            workers.spawn(worker.run(stop.clone()));
        }
        self.crm.misbehaves.store(self.options.with_faults, Ordering::Relaxed);
        let mut next_kill = self.options.duration / 5;
        while self.started.elapsed() < self.options.duration {
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = tokio::signal::ctrl_c() => break,
            }
            self.program.expect_running()?;
            if self.options.with_faults {
                self.set_outage();
                if self.started.elapsed() >= next_kill {
                    next_kill += self.options.duration / 4;
                    self.kill_and_restart().await?;
                }
            }
            self.show(false);
        }
        stop.cancel();
        while let Some(ended) = workers.join_next().await {
            ended.map_err(|_| Error::Interrupted)??;
        }
        Ok(())
    }

    /// The endpoint is away for a tenth of the time, in the middle.
    fn set_outage(&self) {
        let part = self.started.elapsed().as_secs_f64() / self.options.duration.as_secs_f64();
        self.crm.is_down.store((0.5..0.6).contains(&part), Ordering::Relaxed);
    }

    async fn kill_and_restart(&mut self) -> Result<(), Error> {
        self.program.kill().await?;
        self.kills += 1;
        tokio::time::sleep(AWAY).await;
        self.program.start()
    }

    /// Waits until everything has arrived or nothing moves any more.
    async fn drain(&mut self) -> Result<(), Error> {
        self.crm.is_down.store(false, Ordering::Relaxed);
        let committed = self.committed.changes.load(Ordering::Relaxed);
        let (mut best, mut moved) = (0, Instant::now());
        loop {
            self.program.expect_running()?;
            let accounted = self.accounted();
            if accounted > best {
                (best, moved) = (accounted, Instant::now());
            }
            self.show(accounted >= committed);
            if accounted >= committed || moved.elapsed() > DRAIN_TIMEOUT {
                return Ok(());
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                // The second Ctrl-C: what has not arrived by now counts as lost.
                _ = tokio::signal::ctrl_c() => return Ok(()),
            }
        }
    }

    fn accounted(&self) -> u64 {
        let seen = self.crm.seen();
        seen.delivered() + seen.refused()
    }

    fn show(&mut self, is_last: bool) {
        let committed = self.committed.changes.load(Ordering::Relaxed);
        let line = {
            let seen = self.crm.seen();
            format!(
                "{:>3}s  committed {committed}  delivered {}  repeated {}  dead letters {}  \
                 walgate killed {}",
                self.started.elapsed().as_secs(),
                seen.delivered(),
                seen.repeated,
                seen.refused(),
                self.kills
            )
        };
        self.live.show(&line, is_last);
    }

    async fn compare(&self, cluster: &Cluster, duration: Duration) -> Result<Summary, Error> {
        let session = cluster.connect(shop::DATABASE).await?;
        let mut summary = Summary { duration, kills: self.kills, ..Summary::default() };
        for (table, query) in shop::TRUTHS {
            let truth: HashMap<_, _> =
                session.rows(query).await?.iter().filter_map(|row| key_and_row(row)).collect();
            summary.rows += u64::try_from(truth.len()).unwrap_or(u64::MAX);
            summary.rows_differing += self.crm.seen().differing(table, &truth);
        }
        let seen = self.crm.seen();
        summary.committed = self.committed.changes.load(Ordering::Relaxed);
        summary.transactions = self.committed.transactions.load(Ordering::Relaxed);
        summary.delivered = seen.delivered();
        summary.repeated = seen.repeated;
        summary.dead_letters = seen.refused();
        summary.lost = summary.committed.saturating_sub(summary.delivered + summary.dead_letters);
        summary.never_committed = seen.never;
        summary.out_of_order = seen.out_of_order;
        summary.faults.clone_from(&seen.faults);
        Ok(summary)
    }
}

fn key_and_row(row: &[Option<String>]) -> Option<(String, serde_json::Value)> {
    let [Some(key), Some(row)] = row else { return None };
    let key = serde_json::from_str(key).ok()?;
    Some((crm::canonical(&key), serde_json::from_str(row).ok()?))
}

/// The configuration a user would write, but for the short waits: a demo has no time for long ones.
fn configuration(cluster: &Cluster, port: u16, admin: SocketAddr) -> String {
    let url = cluster.url("walgate", shop::DATABASE);
    format!(
        r#"shutdown_grace = "5s"

[source]
url = "{url}"
publication = "walgate"
slot = "walgate"

[state]
path = "state"

[admin]
listen = "{admin}"

[sink.crm]
batch = {{ max_events = 50 }}
concurrency = 4
timeout = "5s"
retry = {{ initial = "100ms", max = "2s" }}
breaker = {{ failures = 5, window = "10s", cooldown = "1s" }}

[sink.crm.http]
url = "http://127.0.0.1:{port}/events"

[mapping.contact]
version = 1

[mapping.contact.fields]
external_id = {{ column = "id", as = "string" }}
email = {{ column = "email", required = true }}
name = {{ column = "name" }}
"address.city" = {{ column = "city", on_null = {{ default = "unknown" }} }}
revision = {{ column = "revision" }}
source = {{ value = "shop" }}

[[route]]
name = "customers-to-crm"
table = "public.customers"
start = "now"
mapping = "contact"
sink = "crm"

[[route]]
name = "orders-to-crm"
table = "public.orders"
start = "now"
sink = "crm"

[[route]]
name = "order-items-to-crm"
table = "public.order_items"
start = "now"
sink = "crm"
"#
    )
}

/// Picks where walgate shows itself: the usual address, or a free one where that is taken. It stays
/// the same over kills.
async fn admin_address() -> io::Result<SocketAddr> {
    let listener = match TcpListener::bind(("127.0.0.1", ADMIN_PORT)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await?,
    };
    listener.local_addr()
}

async fn wait_for_slot(cluster: &Cluster, program: &mut Program) -> Result<(), Error> {
    let query = "SELECT active FROM pg_replication_slots WHERE slot_name = 'walgate'";
    let started = Instant::now();
    while cluster.value(query).await? != "t" {
        program.expect_running()?;
        if started.elapsed() > SLOT_TIMEOUT {
            return Err(Error::NotReading);
        }
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// One line that keeps changing on a terminal; elsewhere a line now and then.
#[derive(Debug, Default)]
struct Live {
    written: Option<Instant>,
}

impl Live {
    fn show(&mut self, line: &str, is_last: bool) {
        if io::stderr().is_terminal() {
            say_raw(&format!("\r{line}\x1b[K{}", if is_last { "\n" } else { "" }));
        } else if is_last || self.written.is_none_or(|then| then.elapsed() >= LINE_EVERY) {
            self.written = Some(Instant::now());
            say(line);
        }
    }
}

fn say(line: &str) {
    say_raw(&format!("{line}\n"));
}

/// A closed stderr must not end the demo.
fn say_raw(text: &str) {
    let mut stderr = io::stderr().lock();
    drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Environment};

    #[tokio::test]
    async fn the_demos_configuration_is_one() {
        let cluster = Cluster::builder().start().await.unwrap();
        let text = configuration(&cluster, 8000, ([127, 0, 0, 1], 7717).into());
        let nothing = |_: &str| None;
        let environment = Environment { variable: &nothing, folder: std::path::Path::new(".") };
        let config = config::parse("demo.toml", &text, &environment).unwrap();
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    }
}
