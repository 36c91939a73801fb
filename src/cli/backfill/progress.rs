//! How far a backfill is, on a terminal and in a line.

use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget};

use crate::cli::asking::{self, LOOK_EVERY};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;
use crate::inspect::load::rate;
use crate::lsn::Timestamp;
use crate::progress::load::{self, Load, LoadState};
use crate::state::Reader;

/// Shows how far those are that are newer than `newest`, until they are over.
pub(super) async fn follow(config: &Config, reader: &Reader, newest: i64) -> Result<Exit, Failure> {
    let bar = if stderr().is_terminal() { bar() } else { ProgressBar::hidden() };
    loop {
        let (all, planned) =
            asking::read(reader, |c| Ok((load::all(c, false)?, load::planned(c)?)))?;
        let own: Vec<&Load> = all.iter().filter(|load| load.id > newest).collect();
        show(&bar, &own);
        let is_over = planned.is_empty() && own.iter().all(|load| load.state != LoadState::Running);
        if is_over {
            bar.finish_and_clear();
            return Ok(say(&own));
        }
        if !asking::is_running(config) {
            bar.finish_and_clear();
            let message = "the instance ended; the rest goes on with the next run";
            return Err(Failure::new(Exit::Failed, message));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// With what is left, where it is known about how many rows there are.
const BAR: &str = "{bar:30} {human_pos} of about {human_len} rows, {rate}, {eta} left  {msg}";

/// Without: the table was never analyzed, or more rows came than were counted then.
const COUNT: &str = "{spinner} {human_pos} rows, {rate}  {msg}";

fn bar() -> ProgressBar {
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr())
        .with_style(output::progress(COUNT))
}

fn show(bar: &ProgressBar, own: &[&Load]) {
    let rows: u64 = own.iter().map(|load| load.rows).sum();
    bar.set_style(output::progress(if total(own).is_some() { BAR } else { COUNT }));
    bar.set_length(total(own).unwrap_or(rows));
    bar.set_position(rows);
    bar.set_message(told(own));
}

/// Returns about how many rows there are of all; none while that is not known of one.
fn total(own: &[&Load]) -> Option<u64> {
    let of = |load: &&Load| match load.total_estimate {
        _ if !load.state.is_open() => Some(load.rows),
        Some(total) if total >= load.rows => Some(total),
        _ => None,
    };
    own.iter().map(of).sum::<Option<u64>>().filter(|_| !own.is_empty())
}

/// Says of how many tables all was read, where there are several, and what keeps one from going on.
fn told(own: &[&Load]) -> String {
    let read = own.iter().filter(|load| !load.state.is_open()).count();
    let tables = (own.len() > 1).then(|| format!("{read} of {} tables", own.len()));
    let reason = own.iter().find_map(|load| load.reason.clone());
    tables.into_iter().chain(reason).collect::<Vec<_>>().join(", ")
}

/// Says what came of it.
fn say(own: &[&Load]) -> Exit {
    let now = Timestamp::now();
    for load in own {
        output::note(&line(load, now));
    }
    if own.iter().any(|load| load.state == LoadState::Failed) { Exit::Failed } else { Exit::Done }
}

/// Returns a line for people.
pub(super) fn line(load: &Load, now: Timestamp) -> String {
    let Load { id, table, state, rows, .. } = load;
    let mut line = format!("{id}  {table}  {}  {rows} rows", state.as_str());
    if let Some(total) = load.total_estimate.filter(|_| state.is_open()) {
        line.push_str(&format!(" of about {}", total.max(*rows)));
    }
    line.push_str(&format!(", {:.0} rows/s", rate(load, now)));
    match &load.sink {
        Some(sink) => line.push_str(&format!(", for sink {sink}")),
        None => line.push_str(&format!(", for {}", load.routes.join(", "))),
    }
    if let Some(filter) = &load.filter {
        line.push_str(&format!(", where {filter}"));
    }
    if let Some(reason) = &load.reason {
        line.push_str(&format!("\n   {reason}"));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(state: LoadState, rows: u64, total_estimate: Option<u64>) -> Load {
        Load {
            id: 1,
            table: "public.t".to_owned(),
            relation: None,
            sink: None,
            routes: Vec::new(),
            filter: None,
            sweep: false,
            state,
            reason: None,
            cursor: None,
            rows,
            total_estimate,
            started_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    #[track_caller]
    fn check(loads: &[Load], expected_total: Option<u64>, expected_told: &str) {
        let loads: Vec<&Load> = loads.iter().collect();
        assert_eq!((total(&loads), told(&loads).as_str()), (expected_total, expected_told));
    }

    #[test]
    fn what_is_left_is_told_only_where_it_is_known() {
        use LoadState::{Done, Running};
        check(&[], None, "");
        check(&[load(Running, 5, Some(10))], Some(10), "");
        check(&[load(Running, 5, None)], None, "");
        check(&[load(Running, 11, Some(10))], None, "");
        check(&[load(Done, 11, Some(10)), load(Running, 1, Some(4))], Some(15), "1 of 2 tables");
        let waits = Load { reason: Some("it waits".to_owned()), ..load(Running, 0, None) };
        check(&[waits.clone(), waits], None, "0 of 2 tables, it waits");
    }
}
