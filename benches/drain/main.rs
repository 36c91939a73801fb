//! walgate beside `pg_recvlogical` on the same backlog, in one run: what `make bench` prints.
//!
//! Each round drains copies of one slot with `pg_recvlogical` to nowhere, with walgate to a file,
//! and with walgate to an HTTP receiver in a process of its own. Rows a second swing with the
//! machine's neighbours: read the ratio, taken inside a round, and the CPU per row.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::exit,
    reason = "a harness reports to a terminal, and its samplers are plain threads"
)]

mod backlog;
mod drain;
mod latency;
mod measure;
mod receiver;
mod report;

use std::error::Error;
use std::path::Path;

use clap::Parser;

use backlog::{Backlog, Workload};
use drain::Client;
use report::Report;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The program under test, built by cargo in the same profile.
const WALGATE: &str = env!("CARGO_BIN_EXE_walgate");

/// Compares walgate with `pg_recvlogical`.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the backlog of large transactions.
    #[arg(long, default_value_t = 200_000)]
    bulk: u32,
    /// One-row transactions of the other backlog.
    #[arg(long, default_value_t = 60_000)]
    oltp: u32,
    /// Rows of a single transaction.
    #[arg(long, default_value_t = 500_000)]
    big: u32,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of the latency run; 0 leaves it out.
    #[arg(long, default_value_t = 10)]
    latency: u32,
    /// Be the HTTP receiver of another run (used by the harness itself).
    #[arg(long, hide = true)]
    receiver: bool,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    if arguments.receiver {
        return receiver::serve();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let loads = [
        Workload { name: "bulk", rows: arguments.bulk, rows_per_transaction: 1000 },
        Workload { name: "oltp", rows: arguments.oltp, rows_per_transaction: 1 },
        Workload { name: "big", rows: arguments.big, rows_per_transaction: arguments.big },
    ];
    for workload in loads.into_iter().filter(|load| load.rows > 0) {
        println!("{}", compare(&runtime, workload, arguments.rounds)?);
    }
    if arguments.latency > 0 {
        println!("{}", latency::run(&runtime, Path::new(WALGATE), arguments.latency)?);
    }
    Ok(())
}

fn compare(runtime: &tokio::runtime::Runtime, workload: Workload, rounds: u32) -> Outcome<Report> {
    eprintln!("{}: preparing {} rows", workload.name, workload.rows);
    let backlog = runtime.block_on(Backlog::prepare(workload))?;
    let mut report = Report::new(&backlog);
    for round in 1..=rounds {
        for client in Client::of(workload) {
            let slot = runtime.block_on(backlog.copy_slot())?;
            let measured = drain::run(&backlog, client, &slot, Path::new(WALGATE))?;
            eprintln!(
                "{} round {round}: {} {:.2}s",
                backlog.workload.name,
                client.name(),
                measured.seconds
            );
            runtime.block_on(backlog.drop_slot(&slot))?;
            report.add(client, measured);
        }
    }
    Ok(report)
}
