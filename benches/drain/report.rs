//! The table at the end: medians of the rounds, with the least and the greatest.

use std::fmt;

use crate::backlog::{Backlog, Workload};
use crate::drain::Client;
use crate::measure::Measured;

/// What was measured on one backlog.
pub(crate) struct Report {
    workload: Workload,
    title: String,
    rows: f64,
    wal_bytes: f64,
    runs: Vec<(Client, Measured)>,
}

impl Report {
    pub(crate) fn new(backlog: &Backlog) -> Self {
        let workload = backlog.workload;
        Self {
            workload,
            title: format!(
                "PostgreSQL {}, {}: {} rows, {} a transaction, {:.0} MB of WAL",
                backlog.cluster.version(),
                workload.name,
                workload.rows,
                workload.rows_per_transaction,
                backlog.wal_bytes / 1e6
            ),
            rows: f64::from(workload.rows),
            wal_bytes: backlog.wal_bytes,
            runs: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, client: Client, measured: Measured) {
        self.runs.push((client, measured));
    }

    fn of(&self, client: Client, figure: impl Fn(&Measured) -> f64) -> Spread {
        let runs = self.runs.iter().filter(|(who, _)| *who == client);
        Spread::of(runs.map(|(_, measured)| figure(measured)))
    }

    /// Ratios are taken inside a round: both then had the same neighbours.
    fn ratio(&self, client: Client, to: Client) -> Spread {
        let seconds = |of: Client| {
            self.runs.iter().filter(move |(who, _)| *who == of).map(|(_, run)| run.seconds)
        };
        Spread::of(seconds(to).zip(seconds(client)).map(|(base, own)| base / own))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.title)?;
        writeln!(
            f,
            "| client | x of pg_recvlogical | x of walgate file | rows/s | MB/s WAL | client CPU µs/row | \
             walsender CPU µs/row | receiver CPU µs/row | peak memory MiB | other load, cores |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for client in Client::of(self.workload) {
            let rate = self.of(client, |run| self.rows / run.seconds);
            let megabytes = self.of(client, |run| self.wal_bytes / 1e6 / run.seconds);
            let per_row = |figure: fn(&Measured) -> f64| {
                self.of(client, move |run| figure(run) * 1e6 / self.rows).median
            };
            writeln!(
                f,
                "| {} | {:.2} | {:.2} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.0} | {:.2} |",
                client.name(),
                self.ratio(client, Client::Recvlogical),
                self.ratio(client, Client::File),
                rate,
                megabytes.median,
                per_row(|run| run.client_cpu_seconds),
                per_row(|run| run.walsender_cpu_seconds),
                per_row(|run| run.receiver_cpu_seconds),
                self.of(client, |run| run.peak_memory_bytes / 1_048_576.0).median,
                self.of(client, |run| run.other_cores).median,
            )?;
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
struct Spread {
    least: f64,
    median: f64,
    greatest: f64,
}

impl Spread {
    fn of(figures: impl Iterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = figures.collect();
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
        Self { least: at(0), median: at(all.len() / 2), greatest: at(all.len().saturating_sub(1)) }
    }
}

/// `1.02 (0.98-1.07)`, with the precision asked for.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(2);
        let Self { least, median, greatest } = self;
        write!(f, "{median:.digits$} ({least:.digits$}-{greatest:.digits$})")
    }
}
