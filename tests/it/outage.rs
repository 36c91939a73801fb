//! Two of six sinks are out for long, walgate is killed again and again, and writing goes on.
//!
//! Real time is scaled down: a retry waits no longer than 50 ms, so that ten seconds are hundreds
//! of retries. What the default settings do in hours is told in the scheduler's own tests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use walgate::demo::cluster::Cluster;

use super::support::load::Load;
use super::support::process::{eventually, pause, say};
use super::support::receiver::{Journal, Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, file, http, route};
use super::support::state::letters;

const MEMORY_BYTES_MAX: u64 = 150 << 20;
const LONG: Duration = Duration::from_secs(120);

const LANES: usize = 4;
const BATCH: usize = 20;

const SCALED: &str = "concurrency = 4\nbatch = { max_events = 20 }\ntimeout = \"500ms\"\n\
    retry = { initial = \"5ms\", max = \"50ms\" }\nbreaker = { cooldown = \"30ms\" }\n\
    halt_probe = \"50ms\"";

const NAMES: [&str; 6] = ["a", "b", "c", "d", "down", "gone"];
const KILLS: usize = 4;
/// Between two kills.
const PERIOD: Duration = Duration::from_millis(2500);

/// What a sink got again after a kill, and how much of it may have come again.
fn repeats(journal: &Journal, killed: Instant, next: Option<Instant>) -> (usize, usize) {
    let mut before: BTreeMap<String, Instant> = BTreeMap::new();
    let mut again = 0;
    for request in journal.requests.iter().filter(|request| request.processed) {
        for event in request.events() {
            if request.at < killed {
                before.insert(event.id().to_owned(), request.at);
            } else if next.is_none_or(|next| request.at < next) {
                again += usize::from(before.contains_key(event.id()));
            }
        }
    }
    let remembered = Duration::from_millis(200);
    let answered_late = before.values().filter(|at| **at + remembered >= killed).count();
    (again, LANES * BATCH + answered_late)
}

/// The log that the server keeps for the slot, and what of it is not confirmed, in KiB.
fn kept(road: &Road) -> [u64; 2] {
    ["restart_lsn", "confirmed_flush_lsn"].map(|from| {
        let sql = format!(
            "SELECT (pg_current_wal_lsn() - {from})::bigint / 1024 FROM pg_replication_slots"
        );
        road.value(&sql).parse().unwrap()
    })
}

fn all_get_everything(confirm: &str) {
    let receivers: Vec<Receiver> = NAMES.iter().map(|_| Receiver::start()).collect();
    let mut config = format!("[journal]\nconfirm = \"{confirm}\"\n");
    for (name, receiver) in NAMES.iter().zip(&receivers) {
        config += &http(name, &receiver.url("/"), SCALED);
        config += &route("t", name);
    }
    let mut road = Road::new(Cluster::builder().major(15), T, &config);
    let load = Load::start(&road, Duration::from_millis(1));
    load.goes_on(200);
    receivers[4].otherwise(Reply::status(503));
    receivers[5].refuse();
    let (mut kills, mut kept_max, mut peak) = (Vec::new(), [0; 2], 0);
    for round in 0..=KILLS {
        if round == KILLS / 2 {
            // The set-up is wrong for a while, too.
            receivers[4].otherwise(Reply::status(401));
        }
        let until = Instant::now() + PERIOD;
        while Instant::now() < until {
            let now = kept(&road);
            kept_max = [kept_max[0].max(now[0]), kept_max[1].max(now[1])];
            pause(Duration::from_millis(100));
        }
        peak = peak.max(road.walgate.peak_memory_bytes());
        if round < KILLS {
            road.walgate.kill();
            kills.push(Instant::now());
            road.start();
        }
    }
    let waiting = receivers[4].journal().requests.len();
    assert!(waiting > 100, "only {waiting} attempts in all that time");
    assert_eq!(letters(&road.walgate, "true"), 0, "an outage is no reason to give up");
    let came = |receiver: &Receiver| receiver.journal().events_processed;
    let (behind, ahead) = (came(&receivers[5]), came(&receivers[0]));
    assert!(behind * 3 < ahead, "{behind} of {ahead}");
    receivers[4].behave();
    receivers[5].listen();
    let mended = Instant::now();
    load.end();
    road.confirms(&road.wal_end());
    eventually("both have caught up", LONG, || {
        let status = road.walgate.status();
        status["sinks"].as_array().unwrap().iter().all(|sink| sink["lag_events"] == 0)
    });
    let caught_up = mended.elapsed();
    peak = peak.max(road.walgate.peak_memory_bytes());
    for (receiver, name) in receivers.iter().zip(NAMES) {
        let journal = road.arrived(receiver);
        let mut counts = Vec::new();
        for (index, killed) in kills.iter().enumerate() {
            let (again, most) = repeats(&journal, *killed, kills.get(index + 1).copied());
            assert!(again <= most, "{name}: {again} came again where {most} may");
            assert!(journal.repeats_over(*killed) <= LANES * BATCH, "{name}");
            counts.push(format!("{again} of at most {most}"));
        }
        let total = journal.repeats();
        say(&format!("{name}: {} events, {total} repeats; a kill: {counts:?}", came(receiver)));
    }
    say(&format!(
        "confirm = {confirm}: {ahead} events while out, {behind} of them at the far side; \
         caught up in {caught_up:?}; memory at most {} MiB; WAL kept at most {} KiB, not confirmed at most {} KiB",
        peak >> 20,
        kept_max[0],
        kept_max[1]
    ));
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    assert_eq!(letters(&road.walgate, "state <> 'delivered'"), 0);
    road.stop();
}

#[test]
fn six_sinks_get_everything_over_a_long_outage_and_kills() {
    all_get_everything("delivered");
}

#[test]
fn so_they_do_where_the_slot_waits_for_the_journal_alone() {
    all_get_everything("journaled");
}

/// What each setting costs the source while a sink is out.
#[test]
fn an_outage_costs_the_source_its_log_unless_the_journal_is_enough() {
    let mut held = Vec::new();
    for confirm in ["delivered", "journaled"] {
        let receiver = Receiver::start();
        let sinks = [http("far", &receiver.url("/"), SCALED), file("near"), route("t", "near")];
        let road = Road::of_t(&format!("[journal]\nconfirm = \"{confirm}\"\n{}", sinks.concat()));
        receiver.refuse();
        for part in 0..10 {
            road.sql(&format!(
                "INSERT INTO t SELECT {part} * 5000 + g, repeat(md5(g::text), 8)
                 FROM generate_series(1, 5000) g"
            ));
        }
        let end = road.wal_end();
        eventually("all of it was read", PATIENCE, || {
            let status = road.walgate.status();
            let near = status["sinks"].as_array().unwrap().iter().find(|s| s["name"] == "near");
            near.unwrap()["delivered"] == 50_000
        });
        if confirm == "journaled" {
            road.confirms(&end);
        }
        // The server itself looks now and then what it may let go.
        road.sql("CHECKPOINT");
        let sql = "SELECT (pg_current_wal_lsn() - confirmed_flush_lsn)::bigint / 1024
                   FROM pg_replication_slots";
        held.push(road.value(sql).parse::<u64>().unwrap());
        receiver.listen();
        receiver.wait("all of it", LONG, |journal| journal.events_processed >= 50_000);
        road.arrived(&receiver);
    }
    say(&format!(
        "50,000 rows of some 300 bytes, KiB not confirmed: {held:?} (delivered, journaled)"
    ));
    assert!(held[0] > 10_000, "{held:?}");
    assert!(held[1] < 1000, "{held:?}");
}
