//! The clients that drain a slot.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;
use crate::backlog::{Backlog, Workload};
use crate::measure::{self, Measured};
use crate::receiver::Receiver;

/// Who drains, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    Recvlogical,
    File,
    /// To a file, by a mapping of ten plain fields.
    Fields,
    /// To a file, with a `where` of comparisons that is true.
    Where,
    /// To a file, by a mapping of ten fields, two of which the interpreter computes.
    Computed,
    Http,
    Single,
}

impl Client {
    /// Single events only where transactions are single rows: a request an event takes its time.
    /// What mapping costs is seen on the backlog that has nothing else to it.
    pub(crate) fn of(workload: Workload) -> Vec<Self> {
        let mut clients = vec![Self::Recvlogical, Self::File];
        if workload.name == "bulk" {
            clients.extend([Self::Fields, Self::Where, Self::Computed]);
        }
        clients.push(Self::Http);
        if workload.rows_per_transaction == 1 {
            clients.push(Self::Single);
        }
        clients
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Recvlogical => "pg_recvlogical",
            Self::File => "walgate file",
            Self::Fields => "file, 10 fields",
            Self::Where => "file, where",
            Self::Computed => "file, 2 of 10 interpreted",
            Self::Http => "walgate http 500",
            Self::Single => "walgate http 1 x 32",
        }
    }
}

/// Drains one slot and checks that every row arrived.
pub(crate) fn run(
    backlog: &Backlog,
    client: Client,
    slot: &str,
    walgate: &Path,
) -> Outcome<Measured> {
    let postmaster = backlog.cluster.pid().ok_or("the server is gone")?;
    let url = backlog.cluster.url("postgres", "postgres");
    let rows = u64::from(backlog.workload.rows);
    if client == Client::Recvlogical {
        let mut command = Command::new(backlog.cluster.bin().join("pg_recvlogical"));
        command.args(["--start", "--no-loop", "-f", "/dev/null"]);
        command.args(["-o", "proto_version=1", "-o", "publication_names=bench"]);
        command.args(["--dbname", &url, "--slot", slot, "--endpos", &backlog.end_lsn]);
        return measure::watch(command.spawn()?, postmaster, None);
    }
    let folder = tempfile::tempdir()?;
    let receiver = Receiver::start()?;
    let is_file = !matches!(client, Client::Http | Client::Single);
    let sink = match client {
        _ if is_file => "[sink.out.file]\npath = \"events.ndjson\"\n".to_owned(),
        _ => {
            let (events, concurrency) = if client == Client::Single { (1, 32) } else { (500, 4) };
            format!(
                "[sink.out]\nbatch = {{ max_events = {events} }}\nconcurrency = {concurrency}\n\n\
                 [sink.out.http]\nurl = \"http://{}/discard\"\n",
                receiver.address
            )
        }
    };
    let config = folder.path().join("walgate.toml");
    let rules = rules(client);
    fs::write(&config, configuration(&url, slot, "bench", &sink) + &rules)?;
    let log = folder.path().join("log");
    let mut command = Command::new(walgate);
    command.args(["run", "--until-caught-up", "--adopt-slot", "--config"]).arg(&config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
    let measured = measure::watch(command.spawn()?, postmaster, Some(receiver.pid()));
    let measured = measured
        .map_err(|error| format!("{error}\n{}", fs::read_to_string(&log).unwrap_or_default()))?;
    let arrived = match client {
        _ if is_file => lines(&folder.path().join("events.ndjson"))?,
        _ => receiver.take()?.0,
    };
    if arrived != rows {
        return Err(format!("{}: {arrived} of {rows} rows arrived", client.name()).into());
    }
    Ok(measured)
}

/// What stands behind the route, which the config ends with.
fn rules(client: Client) -> String {
    let columns = [
        "id",
        "customer_id",
        "email",
        "status",
        "total",
        "is_active",
        "created_at",
        "token",
        "note",
        "payload",
    ];
    let plain = |names: &[&str]| -> String {
        names.iter().map(|name| format!("{name} = {{ column = \"{name}\" }}\n")).collect()
    };
    let head = "mapping = \"row\"\n[mapping.row]\nversion = 1\n[mapping.row.fields]\n";
    match client {
        Client::Fields => format!("{head}{}", plain(&columns)),
        Client::Where => {
            "where = 'row.status != \"draft\" && row.customer_id >= 0 && row.total > 0.5'\n"
                .to_owned()
        }
        Client::Computed => format!(
            "{head}{}mail = {{ expr = 'row.email.lowerAscii()' }}\n\
             cents = {{ expr = 'int(math.round(row.total * 100.0))' }}\n",
            plain(columns.get(..8).unwrap_or_default())
        ),
        _ => String::new(),
    }
}

pub(crate) fn configuration(url: &str, slot: &str, table: &str, sink: &str) -> String {
    format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n\n[source]\nurl = \"{url}\"\npublication = \"{table}\"\nslot = \"{slot}\"\n\n\
         [state]\npath = \"state\"\n\n{sink}\n\
         [[route]]\nname = \"all\"\ntable = \"public.{table}\"\nstart = \"now\"\nsink = \"out\"\n"
    )
}

fn lines(path: &Path) -> Outcome<u64> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut count = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(count);
        }
        count += u64::try_from(memchr::memchr_iter(b'\n', buffer).count())?;
        let length = buffer.len();
        reader.consume(length);
    }
}
