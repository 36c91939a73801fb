//! What a run cost, from /proc: CPU of client, walsender and receiver, peak memory.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::Outcome;

/// The kernel counts CPU in hundredths of a second on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often the processes are looked at.
const EVERY: Duration = Duration::from_millis(5);

/// A run that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(300);

/// One run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Measured {
    /// From the walsender's start to the client's end.
    pub(crate) seconds: f64,
    pub(crate) client_cpu_seconds: f64,
    pub(crate) walsender_cpu_seconds: f64,
    pub(crate) receiver_cpu_seconds: f64,
    pub(crate) peak_memory_bytes: f64,
    /// Cores busy with something else meanwhile.
    pub(crate) other_cores: f64,
}

/// Watches a client until it ends.
pub(crate) fn watch(
    mut client: Child,
    postmaster: u32,
    receiver: Option<u32>,
) -> Outcome<Measured> {
    let mut measured = Measured::default();
    let began = Instant::now();
    let children_before = children_cpu_seconds();
    let receiver_before = receiver.and_then(cpu_seconds).unwrap_or(0.0);
    let mut started: Option<(Instant, f64)> = None;
    // What each walsender had used when it was first seen, and last: a client may try one
    // connection before it streams on another.
    let mut walsenders: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    let status = loop {
        if let Some(status) = client.try_wait()? {
            break status;
        }
        if began.elapsed() > TIMEOUT {
            client.kill()?;
            return Err("the client did not end in time".into());
        }
        for pid in find_walsenders(postmaster) {
            started.get_or_insert_with(|| (Instant::now(), machine_busy_seconds()));
            if let Some(cpu) = cpu_seconds(pid) {
                walsenders.entry(pid).or_insert((cpu, cpu)).1 = cpu;
            }
        }
        let peak = peak_memory_bytes(client.id()).unwrap_or(0.0);
        measured.peak_memory_bytes = measured.peak_memory_bytes.max(peak);
        std::thread::sleep(EVERY);
    };
    if !status.success() {
        return Err(format!("the client ended with {status}").into());
    }
    let (started, busy_before) = started.ok_or("no walsender was seen")?;
    measured.walsender_cpu_seconds = walsenders.values().map(|(first, last)| last - first).sum();
    measured.seconds = started.elapsed().as_secs_f64();
    measured.client_cpu_seconds = children_cpu_seconds() - children_before;
    measured.receiver_cpu_seconds = receiver.and_then(cpu_seconds).unwrap_or(0.0) - receiver_before;
    let ours = measured.client_cpu_seconds
        + measured.walsender_cpu_seconds
        + measured.receiver_cpu_seconds;
    let busy = machine_busy_seconds() - busy_before;
    measured.other_cores = ((busy - ours) / measured.seconds).max(0.0);
    Ok(measured)
}

fn find_walsenders(postmaster: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"));
    let is_walsender = |pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.contains("walsender"))
    };
    let children = children.unwrap_or_default();
    let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    pids.filter(is_walsender).collect()
}

/// Fields 14 and 15 of /proc/PID/stat: user and system time.
pub(crate) fn cpu_seconds(pid: u32) -> Option<f64> {
    stat_fields(&pid.to_string(), 11, 2)
}

/// Fields 16 and 17: user and system time of the children waited for, exact once they ended.
fn children_cpu_seconds() -> f64 {
    stat_fields("self", 13, 2).unwrap_or(0.0)
}

fn stat_fields(process: &str, skip: usize, count: usize) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in parentheses may hold spaces: fields are counted behind it.
    let (_, rest) = text.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(skip).take(count);
    Some(ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
}

pub(crate) fn peak_memory_bytes(pid: u32) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<f64>().ok().map(|kib| kib * 1024.0)
}

fn machine_busy_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    // cpu user nice system idle iowait irq softirq …
    let fields: Vec<f64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy: f64 = fields.iter().take(3).chain(fields.iter().skip(5).take(2)).sum();
    busy / TICKS_PER_SECOND
}
