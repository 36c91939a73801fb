//! [`Road`]: a real server, the built binary, and what lies between them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;
use walgate::demo::cluster::{Builder, Cluster, Session, Stop};
use walgate::lsn::Lsn;
use walgate::source::catalog;

use super::process::{Walgate, eventually};
use super::receiver::{Journal, Receiver};

/// As whom walgate connects.
const ROLE: &str = "walgate";

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A server with tables, and walgate with a config for them. Walgate ends before the server.
#[derive(Debug)]
pub(crate) struct Road {
    pub(crate) walgate: Walgate,
    pub(crate) cluster: Cluster,
    runtime: Runtime,
}

impl Road {
    /// Starts a server of `builder`, runs `schema` there, publishes every table of it and starts
    /// walgate with `sinks`: the config behind the url of `[source]`.
    #[track_caller]
    pub(crate) fn new(builder: Builder, schema: &str, sinks: &str) -> Self {
        let mut road = Self::quiet(builder, schema, sinks);
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        road.start();
        road
    }

    /// One where nothing is published and walgate is not started.
    #[track_caller]
    pub(crate) fn quiet(builder: Builder, schema: &str, sinks: &str) -> Self {
        let road = Self::bare(builder, schema);
        road.configure(sinks);
        road
    }

    /// Starts a server of `builder` and runs `schema` there: nothing is published or configured.
    #[track_caller]
    pub(crate) fn bare(builder: Builder, schema: &str) -> Self {
        let runtime = runtime();
        let cluster = runtime.block_on(builder.start()).unwrap();
        let road = Self { walgate: Walgate::new(""), cluster, runtime };
        road.sql(schema);
        road.make_role();
        road
    }

    /// Makes the role that walgate has: with the least of rights, as `walgate init` would.
    #[track_caller]
    fn make_role(&self) {
        let tables = "SELECT coalesce(json_agg(relname), '[]') FROM pg_class
                      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')";
        let tables: Vec<String> = serde_json::from_str(&self.value(tables)).unwrap();
        let tables: Vec<_> = tables.iter().map(|name| ("public", name.as_str())).collect();
        let mut statements = vec![
            catalog::create_role(ROLE, "secret"),
            catalog::grant_database("postgres", ROLE),
            catalog::grant_schema("public", ROLE),
        ];
        if !tables.is_empty() {
            statements.push(catalog::grant_tables(&tables, ROLE));
        }
        self.sql(&statements.join("; "));
        // What a test makes later.
        self.sql(&format!("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {ROLE}"));
    }

    /// One with a table `t`, which goes to the sink `far`.
    #[track_caller]
    pub(crate) fn of_t(sink: &str) -> Self {
        let builder = Cluster::builder();
        Self::new(builder, T, &format!("{sink}{}", route("t", "far")))
    }

    /// Replaces the config for the next start.
    pub(crate) fn configure(&self, sinks: &str) {
        self.configure_as("", "", sinks);
    }

    /// Replaces the config for the next start; `top` are keys of no table, `source` keys of
    /// `[source]`.
    pub(crate) fn configure_as(&self, top: &str, source: &str, sinks: &str) {
        let url = self.cluster.url(ROLE, "postgres");
        self.configure_at(&url, top, source, sinks);
    }

    /// Replaces the config for the next start, with a source at `url`.
    pub(crate) fn configure_at(&self, url: &str, top: &str, source: &str, sinks: &str) {
        self.walgate.configure(&format!(
            "{top}\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [source]\nurl = \"{url}\"\n{source}\n{sinks}"
        ));
    }

    /// Starts walgate and waits until it streams.
    #[track_caller]
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts `walgate run` with `args` and waits until it streams.
    #[track_caller]
    pub(crate) fn start_with(&mut self, args: &[&str]) {
        self.walgate.start(args);
        self.streams();
    }

    /// Waits until walgate streams: the server says so first, and walgate itself a moment later,
    /// once it has stored what it begins with.
    #[track_caller]
    pub(crate) fn streams(&mut self) {
        // Not yet where it only makes the slot.
        let pid =
            "SELECT pid FROM pg_replication_slots JOIN pg_stat_replication ON pid = active_pid
                   WHERE slot_name = 'walgate' AND state IN ('catchup', 'streaming')";
        eventually("walgate streams", PATIENCE, || {
            assert!(self.walgate.is_running(), "walgate has ended");
            self.runtime.block_on(self.cluster.value(pid)).is_ok_and(|pid| !pid.is_empty())
        });
        eventually("walgate says that it streams", PATIENCE, || {
            assert!(self.walgate.is_running(), "walgate has ended");
            let state = &self.walgate.status()["source"]["state"];
            state == "streaming" || state == "loading"
        });
    }

    /// Stops walgate as an operator does.
    #[track_caller]
    pub(crate) fn stop(&mut self) {
        assert_eq!(self.walgate.stop(), 0);
    }

    /// Runs statements, parted by semicolons.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) {
        self.runtime.block_on(self.cluster.execute(sql)).unwrap();
    }

    /// Returns the first value of a query.
    #[track_caller]
    pub(crate) fn value(&self, sql: &str) -> String {
        self.runtime.block_on(self.cluster.value(sql)).unwrap()
    }

    /// Opens a session, for a transaction over several calls.
    #[track_caller]
    pub(crate) fn session(&self) -> Session {
        self.session_in("postgres")
    }

    /// Opens a session in a database.
    #[track_caller]
    pub(crate) fn session_in(&self, database: &str) -> Session {
        self.runtime.block_on(self.cluster.connect(database)).unwrap()
    }

    /// Runs statements in a session.
    #[track_caller]
    pub(crate) fn sql_in(&self, session: &Session, sql: &str) {
        self.runtime.block_on(session.batch_execute(sql)).unwrap();
    }

    /// Runs statements in a session that the server refuses; returns what it says.
    #[track_caller]
    pub(crate) fn refuses(&self, session: &Session, sql: &str) -> String {
        format!("{:?}", self.runtime.block_on(session.batch_execute(sql)).unwrap_err())
    }

    /// Stops the server.
    #[track_caller]
    pub(crate) fn stop_server(&mut self, how: Stop, timeout: Duration) {
        self.runtime.block_on(self.cluster.stop(how, timeout)).unwrap();
    }

    /// Starts the server again.
    #[track_caller]
    pub(crate) fn start_server(&mut self) {
        self.runtime.block_on(self.cluster.start()).unwrap();
    }

    /// Makes a standby of the server; see [`Cluster::standby`].
    #[track_caller]
    pub(crate) fn standby(&mut self, name: &str, settings: &[(&str, &str)]) -> Cluster {
        self.runtime.block_on(self.cluster.standby(name, settings)).unwrap()
    }

    /// Stops another server.
    #[track_caller]
    pub(crate) fn stop_other(&self, cluster: &mut Cluster, how: Stop) {
        self.runtime.block_on(cluster.stop(how, PATIENCE)).unwrap();
    }

    /// Starts another server.
    #[track_caller]
    pub(crate) fn start_other(&self, cluster: &mut Cluster) {
        self.runtime.block_on(cluster.start()).unwrap();
    }

    /// Takes another server for the one of this road; returns the old one.
    pub(crate) fn move_to(&mut self, cluster: Cluster) -> Cluster {
        std::mem::replace(&mut self.cluster, cluster)
    }

    /// Returns the first value of a query to another server.
    #[track_caller]
    pub(crate) fn value_at(&self, cluster: &Cluster, sql: &str) -> String {
        self.runtime.block_on(cluster.value(sql)).unwrap()
    }

    /// Returns the rows of a table by table and key, as [`Journal::fold`] does.
    #[track_caller]
    pub(crate) fn table(&self, name: &str) -> BTreeMap<String, Value> {
        let sql = format!("SELECT coalesce(json_agg(x), '[]') FROM {name} x");
        let rows: Vec<Value> = serde_json::from_str(&self.value(&sql)).unwrap();
        let key = |row: &Value| format!("public.{name}{}", json!({ "id": row["id"] }));
        rows.into_iter().map(|row| (key(&row), row)).collect()
    }

    /// Waits until everything committed so far is done and the slot was told; then holds what
    /// came against `t`: nothing lost, order per key kept, repeats alike.
    #[track_caller]
    pub(crate) fn arrived(&self, receiver: &Receiver) -> Journal {
        self.confirms(&self.wal_end());
        let journal = receiver.journal();
        assert_eq!(journal.fold(), self.table("t"), "the far side differs from the table");
        assert_eq!(journal.out_of_order(), Vec::<String>::new());
        assert_eq!(journal.repeats_unlike(), Vec::<String>::new());
        journal
    }

    /// Returns what the slot was told.
    #[track_caller]
    pub(crate) fn confirmed(&self) -> Lsn {
        let sql = "SELECT confirmed_flush_lsn FROM pg_replication_slots
                   WHERE slot_name = 'walgate'";
        self.value(sql).parse().unwrap()
    }

    /// Waits until the server has heard that everything up to `lsn` is done.
    #[track_caller]
    pub(crate) fn confirms(&self, lsn: &str) {
        self.until(&format!(
            "SELECT confirmed_flush_lsn >= '{lsn}'::pg_lsn FROM pg_replication_slots
             WHERE slot_name = 'walgate'"
        ));
    }

    /// Runs `walgate dlq …`; returns its exit code, what it printed (nothing where that are no
    /// JSON lines), and what it said.
    #[track_caller]
    pub(crate) fn dlq(&self, args: &[&str]) -> (i32, Vec<Value>, String) {
        let output = self.walgate.call(&[&["dlq"], args].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), json_lines(&output.stdout).unwrap_or_default(), said)
    }

    /// Returns what `walgate dlq list` tells of the dead letters that fit `args`.
    #[track_caller]
    pub(crate) fn dead_letters(&self, args: &[&str]) -> Vec<Value> {
        let output = self.walgate.call(&[&["dlq", "list", "--json"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        json_lines(&output.stdout).unwrap()
    }

    /// Waits until the query answers true.
    #[track_caller]
    pub(crate) fn until(&self, query: &str) {
        eventually(query, PATIENCE, || self.value(query) == "t");
    }

    /// Waits until nobody has the slot.
    #[track_caller]
    pub(crate) fn until_free(&self) {
        self.until("SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'walgate'");
    }

    /// Returns where the server's log ends.
    #[track_caller]
    pub(crate) fn wal_end(&self) -> String {
        self.value("SELECT pg_current_wal_lsn()")
    }
}

/// The table of [`Road::of_t`].
pub(crate) const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

fn json_lines(text: &[u8]) -> serde_json::Result<Vec<Value>> {
    str::from_utf8(text).unwrap().lines().map(serde_json::from_str).collect()
}

/// A runtime for the calls of one test.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// An http sink; `more` are keys of the sink.
pub(crate) fn http(name: &str, url: &str, more: &str) -> String {
    format!("[sink.{name}]\n{more}\n[sink.{name}.http]\nurl = \"{url}\"\n")
}

/// A file sink that writes `NAME.ndjson` in walgate's folder.
pub(crate) fn file(name: &str) -> String {
    format!("[sink.{name}]\n[sink.{name}.file]\npath = \"{name}.ndjson\"\n")
}

/// A route of every column of a table, named after both.
pub(crate) fn route(table: &str, sink: &str) -> String {
    let name = format!("{table}-to-{sink}");
    format!(
        "[[route]]\nname = \"{name}\"\ntable = \"public.{table}\"\nsink = \"{sink}\"\nstart = \"now\"\n"
    )
}
