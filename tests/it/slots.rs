//! The slot's life over the whole road: failover, standbys, backups, and who else wants it.

use std::process::Command;
use std::time::Duration;

use walgate::demo::cluster::{Builder, Cluster, Stop};
use walgate::lsn::Lsn;

use super::support::process::{Walgate, eventually};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route};

/// What lets a standby keep a copy of a failover slot, from PostgreSQL 17 on, when it is asked to.
const SYNC: &[(&str, &str)] = &[("hot_standby_feedback", "on"), ("synchronized_standby_slots", "")];

/// Asks it to.
const SYNC_NOW: &str = "SELECT pg_sync_replication_slots()";

/// Says how many slots are ready for a promotion.
const SYNCED: &str = "SELECT count(*) FROM pg_replication_slots
                      WHERE synced AND NOT temporary AND invalidation_reason IS NULL";

/// Whether clusters know failover slots, which then wait for a standby's slot of this name.
fn with_failover() -> Option<Builder> {
    let major = std::env::var("WALGATE_PG_MAJOR").ok();
    let knows = major.is_none_or(|major| major.parse::<u32>().unwrap() >= 17);
    knows.then(|| Cluster::builder().setting("synchronized_standby_slots", "standby"))
}

fn sinks(receiver: &Receiver) -> String {
    format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"))
}

/// A primary with a standby; walgate knows both and wants the primary. Not started.
struct Pair {
    road: Road,
    standby: Cluster,
}

impl Pair {
    #[track_caller]
    fn new(builder: Builder, receiver: &Receiver, settings: &[(&str, &str)]) -> Self {
        Self::with(builder, receiver, settings, "")
    }

    /// The same with `keys` of `[source]`.
    #[track_caller]
    fn with(builder: Builder, receiver: &Receiver, settings: &[(&str, &str)], keys: &str) -> Self {
        let mut road = Road::bare(builder, T);
        road.sql("CREATE PUBLICATION walgate FOR TABLE t");
        let standby = road.standby("standby", settings);
        let url = format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=primary",
            road.cluster.port(),
            standby.port()
        );
        road.configure_at(&url, "", keys, &sinks(receiver));
        Self { road, standby }
    }

    /// Ends the primary and puts the standby in its place.
    #[track_caller]
    fn fail_over(mut self) -> Road {
        self.road.stop_server(Stop::Immediate, PATIENCE);
        assert_eq!(self.road.value_at(&self.standby, "SELECT pg_promote()"), "t");
        drop(self.road.move_to(self.standby));
        self.road
    }
}

/// Holds how a run ends that is under way, and what it says.
#[track_caller]
fn ended(road: &mut Road, code: i32, says: &[&str]) {
    assert_eq!(road.walgate.exit_code(PATIENCE), code);
    let log = road.walgate.log();
    for says in says {
        assert!(log.contains(says), "{says:?} is not said");
    }
}

/// Holds that `walgate check` says this.
#[track_caller]
fn checks(walgate: &Walgate, says: &str) {
    let text = String::from_utf8(walgate.call(&["check"]).stdout).unwrap();
    assert!(text.contains(says), "{says:?} is not said:\n{text}");
}

/// How the way out of a gap begins.
const WAY_OUT: &str = "walgate backfill start TABLE --sweep";

/// The way on where the server lacks what was received.
const ANEW: &str = "set state.path to a new one and run with --adopt-slot if there is a slot; \
                    routes then begin with the rows that are there";

#[test]
fn a_failover_slot_goes_on_at_the_promoted_standby_without_loss_or_repeat() {
    let receiver = Receiver::start();
    let Some(builder) = with_failover() else { return };
    let mut pair = Pair::new(builder, &receiver, SYNC);
    pair.road.start();
    let failover = "SELECT failover FROM pg_replication_slots WHERE slot_name = 'walgate'";
    assert_eq!(pair.road.value(failover), "t");
    pair.road.sql("INSERT INTO t SELECT g, 'before' FROM generate_series(1, 100) g");
    let journal = pair.road.arrived(&receiver);
    assert_eq!(journal.events_processed, 100);
    eventually("the slot is synced", PATIENCE, || {
        pair.road.value_at(&pair.standby, SYNC_NOW);
        pair.road.value_at(&pair.standby, SYNCED) == "1"
    });
    // After the last sync: the standby's copy of the slot lies behind.
    pair.road.sql("INSERT INTO t SELECT g, 'last' FROM generate_series(101, 120) g");
    pair.road.arrived(&receiver);
    let mut road = pair.fail_over();
    road.sql("INSERT INTO t SELECT g, 'after' FROM generate_series(201, 250) g");
    road.streams();
    let journal = road.arrived(&receiver);
    assert_eq!((journal.events_processed, journal.repeats()), (170, 0));
    let last = journal.events().last().unwrap().id().to_owned();
    assert!(last.starts_with("00000002-"), "{last} is not of the new timeline");
}

/// A keepalive had let the slot move over a tail of the log that only the old primary had; as far
/// as that, what the new one wrote was confirmed as soon as it came.
#[test]
fn what_a_promoted_standby_writes_where_the_old_primary_wrote_is_confirmed_only_once_it_is_done() {
    let receiver = Receiver::start();
    if with_failover().is_none() {
        return;
    }
    // Nothing waits for the standby.
    let mut pair = Pair::with(Cluster::builder(), &receiver, SYNC, "heartbeat = \"0s\"");
    pair.road.sql("CREATE TABLE noise (v text)");
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'on both')");
    pair.road.arrived(&receiver);
    eventually("the slot is synced", PATIENCE, || {
        pair.road.value_at(&pair.standby, SYNC_NOW);
        pair.road.value_at(&pair.standby, SYNCED) == "1"
    });
    pair.road.stop_other(&mut pair.standby, Stop::Fast);
    pair.road.sql("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 5000)");
    let tail: Lsn = pair.road.wal_end().parse().unwrap();
    pair.road.confirms(&tail.to_string());
    pair.road.stop_server(Stop::Immediate, PATIENCE);
    pair.road.start_other(&mut pair.standby);
    receiver.otherwise(Reply::hang());
    let mut road = pair.fail_over();
    road.streams();
    let before: Lsn = road.wal_end().parse().unwrap();
    road.sql("INSERT INTO t VALUES (2, 'not done')");
    assert!(road.wal_end().parse::<Lsn>().unwrap() < tail);
    receiver.wait("the row", PATIENCE, |journal| journal.requests.len() > 1);
    let end = road.wal_end();
    road.until(&format!("SELECT write_lsn >= '{end}' FROM pg_stat_replication"));
    assert!(road.confirmed() <= before, "{} was confirmed of {before}", road.confirmed());
    // Nor did an earlier position come back out of the state.
    road.walgate.kill();
    road.until_free();
    assert!(road.confirmed() <= before, "{} was confirmed of {before}", road.confirmed());
    receiver.behave();
    road.start();
    road.arrived(&receiver);
}

/// The server warns then, and with the very code of a publication that is missing.
#[test]
fn a_standby_that_a_failover_slot_waits_for_is_waited_for() {
    let receiver = Receiver::start();
    let Some(builder) = with_failover() else { return };
    let mut pair = Pair::new(builder, &receiver, SYNC);
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'a')");
    pair.road.arrived(&receiver);
    pair.road.stop_other(&mut pair.standby, Stop::Fast);
    pair.road.sql("INSERT INTO t VALUES (2, 'waits')");
    let said = "the server waits for a standby";
    eventually("it is said", PATIENCE, || pair.road.walgate.log().contains(said));
    checks(&pair.road.walgate, "waits for standby \"standby\", which is away");
    assert!(pair.road.walgate.is_running());
    assert_eq!(receiver.journal().events_processed, 1);
    pair.road.start_other(&mut pair.standby);
    pair.road.arrived(&receiver);
}

#[test]
fn what_was_received_and_is_not_on_the_promoted_standby_is_said() {
    let receiver = Receiver::start();
    let mut pair = Pair::new(Cluster::builder(), &receiver, &[]);
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'on both')");
    pair.road.arrived(&receiver);
    let end = pair.road.wal_end();
    let has = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    eventually("the standby has it", PATIENCE, || pair.road.value_at(&pair.standby, &has) == "t");
    // The standby hears of nothing more.
    pair.road.stop_other(&mut pair.standby, Stop::Fast);
    pair.road.sql("INSERT INTO t SELECT g, 'only here' FROM generate_series(2, 50) g");
    pair.road.arrived(&receiver);
    pair.road.stop_server(Stop::Immediate, PATIENCE);
    pair.road.start_other(&mut pair.standby);
    let mut road = pair.fail_over();
    let said = ["the server is on timeline 2, which left timeline 1 at", ANEW];
    ended(&mut road, 4, &said);
    assert_eq!(receiver.journal().events_processed, 50);
}

#[test]
fn a_slot_that_the_promoted_standby_does_not_have_is_missing() {
    let receiver = Receiver::start();
    let mut pair = Pair::new(Cluster::builder(), &receiver, &[]);
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'a')");
    pair.road.arrived(&receiver);
    let end = pair.road.wal_end();
    let has = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
    eventually("the standby has it", PATIENCE, || pair.road.value_at(&pair.standby, &has) == "t");
    let mut road = pair.fail_over();
    let said = ["slot \"walgate\" is gone", "is lost to the stream", WAY_OUT, "--accept-gap"];
    ended(&mut road, 4, &said);
    road.sql("INSERT INTO t VALUES (2, 'lost')");
    road.start_with(&["--accept-gap"]);
    road.sql("INSERT INTO t VALUES (3, 'behind the gap')");
    receiver.wait("it", PATIENCE, |journal| journal.events_processed == 2);
    let last = receiver.journal().events()[1].0["data"]["id"].clone();
    assert_eq!(last, 3);
}

/// Asks which process of the server walgate reads.
const STREAMS: &str = "SELECT active_pid FROM pg_replication_slots
                       WHERE active AND confirmed_flush_lsn IS NOT NULL";

/// A primary with a standby, and walgate, which reads the standby; none where that can't be. `keys`
/// are of `[source]`.
#[track_caller]
fn on_standby(receiver: &Receiver, keys: &str) -> Option<(Road, Cluster)> {
    let mut road = Road::bare(Cluster::builder(), T);
    if road.cluster.major() < 16 {
        return None;
    }
    road.sql("CREATE PUBLICATION walgate FOR TABLE t; CREATE TABLE noise (v text)");
    let standby = road.standby("standby", &[("hot_standby_feedback", "on")]);
    road.configure_at(&standby.url("postgres", "postgres"), "", keys, &sinks(receiver));
    road.walgate.start(&[]);
    eventually("walgate streams", PATIENCE, || {
        // The making of a slot there waits for what only the primary can log.
        road.sql("SELECT pg_log_standby_snapshot()");
        !road.value_at(&standby, STREAMS).is_empty()
    });
    Some((road, standby))
}

/// A server that is decoded on a standby: no message can be emitted there, and nothing needs one.
#[test]
fn a_standby_is_decoded_and_its_slot_moves_without_heartbeats() {
    let receiver = Receiver::start();
    let started = on_standby(&receiver, "heartbeat = \"100ms\"");
    let Some((mut road, standby)) = started else { return };
    road.sql("INSERT INTO t VALUES (1, 'a')");
    receiver.wait("the row", PATIENCE, |journal| journal.events_processed == 1);
    road.sql("INSERT INTO noise SELECT repeat('x', 100) FROM generate_series(1, 1000)");
    let end = road.wal_end();
    let confirmed = format!(
        "SELECT confirmed_flush_lsn >= '{end}'::pg_lsn FROM pg_replication_slots
         WHERE slot_name = 'walgate'"
    );
    eventually("the slot moves over noise", PATIENCE, || {
        road.value_at(&standby, &confirmed) == "t"
    });
    assert!(road.walgate.is_running());
    assert!(!road.walgate.log().contains("WARN"), "a standby can't send heartbeats");
    road.stop();
}

/// The connection outlives the promotion, and what came over it was taken for another server's.
#[test]
fn a_standby_that_is_promoted_while_it_is_read_is_read_on() {
    let receiver = Receiver::start();
    let Some((mut road, standby)) = on_standby(&receiver, "") else { return };
    assert_eq!(road.value_at(&standby, "SELECT pg_promote()"), "t");
    drop(road.move_to(standby));
    road.sql("INSERT INTO t VALUES (1, 'promoted')");
    let event = road.arrived(&receiver).events().pop().unwrap();
    let id = event.0["id"].as_str().unwrap();
    assert!(id.starts_with("00000002-"), "{id} is of the timeline that it was written on");
    let before = road.value(STREAMS);
    assert_eq!(road.value(&format!("SELECT pg_terminate_backend({before})")), "t");
    let anew =
        format!("SELECT count(*) = 1 FROM pg_replication_slots WHERE active_pid <> {before}");
    road.until(&anew);
    road.sql("INSERT INTO t VALUES (2, 'behind it')");
    assert_eq!(road.arrived(&receiver).repeats(), 0);
    assert!(road.walgate.is_running());
}

#[test]
fn a_server_restored_to_before_what_was_received_is_told_apart() {
    let receiver = Receiver::start();
    let mut road = Road::new(Cluster::builder(), T, &sinks(&receiver));
    road.sql("INSERT INTO t VALUES (1, 'in the backup')");
    road.arrived(&receiver);
    road.stop();
    road.stop_server(Stop::Fast, PATIENCE);
    let data = road.cluster.data().to_owned();
    let backup = data.with_file_name("backup");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    copy(&data, &backup);
    road.start_server();
    road.start();
    road.sql("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(2, 300) g");
    road.arrived(&receiver);
    road.stop();
    road.stop_server(Stop::Fast, PATIENCE);
    std::fs::remove_dir_all(&data).unwrap();
    copy(&backup, &data);
    road.start_server();
    road.walgate.start(&[]);
    ended(&mut road, 4, &["it was restored to an earlier state", ANEW]);
}

#[test]
fn a_slot_that_nobody_read_for_too_long_is_lost_with_that_reason() {
    let receiver = Receiver::start();
    let mut road = Road::bare(Cluster::builder(), T);
    if road.cluster.major() < 18 {
        return;
    }
    road.sql("CREATE PUBLICATION walgate FOR TABLE t");
    road.configure(&sinks(&receiver));
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    road.stop();
    road.sql("ALTER SYSTEM SET idle_replication_slot_timeout = '1s'");
    road.sql("SELECT pg_reload_conf()");
    let lost = "SELECT invalidation_reason = 'idle_timeout' FROM pg_replication_slots";
    eventually("the slot is lost", PATIENCE, || {
        road.sql("CHECKPOINT");
        road.value(lost) == "t"
    });
    road.walgate.start(&[]);
    ended(&mut road, 4, &["slot \"walgate\" is lost (idle_timeout)", WAY_OUT]);
    checks(&road.walgate, "lost (idle_timeout)\n      fix: `walgate run --accept-gap`");
    // A state that knows nothing has no gap to accept.
    std::fs::remove_dir_all(road.walgate.folder().join("walgate-state")).unwrap();
    checks(&road.walgate, "lost (idle_timeout)\n      fix: drop it with `walgate slot drop`");
}

#[test]
fn a_slot_that_another_instance_holds_ends_a_run_with_6_after_half_a_minute() {
    let receiver = Receiver::start();
    let road = Road::new(Cluster::builder(), T, &sinks(&receiver));
    let url = road.cluster.url("postgres", "postgres");
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[source]\nurl = \"{url}\"\n{}",
        sinks(&receiver)
    );
    let mut second = Walgate::new(&config);
    second.start(&[]);
    assert_eq!(second.exit_code(Duration::from_secs(60)), 6);
    assert!(second.log().contains("is in use by process"), "{}", second.log());
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
}

/// It has the slot, and says so, and would let nobody read it.
#[test]
fn the_copy_of_a_slot_on_a_standby_is_waited_for_until_the_standby_is_promoted() {
    let receiver = Receiver::start();
    let Some(builder) = with_failover() else { return };
    let mut pair = Pair::new(builder, &receiver, SYNC);
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'a')");
    pair.road.arrived(&receiver);
    eventually("the slot is synced", PATIENCE, || {
        pair.road.value_at(&pair.standby, SYNC_NOW);
        pair.road.value_at(&pair.standby, SYNCED) == "1"
    });
    pair.road.stop();
    let url = pair.standby.url("postgres", "postgres");
    pair.road.configure_at(&url, "", "", &sinks(&receiver));
    pair.road.walgate.start(&[]);
    let said = "is the copy of a standby, which serves nobody before its promotion";
    eventually("it is said", PATIENCE, || pair.road.walgate.log().contains(said));
    checks(&pair.road.walgate, "the copy of a standby, which serves nobody");
    pair.road.stop();
    let mut road = pair.fail_over();
    checks(&road.walgate, "goes on from timeline 1, which the server left at");
    road.start();
    road.sql("INSERT INTO t VALUES (2, 'b')");
    assert_eq!(road.arrived(&receiver).repeats(), 0);
}

/// A gap that is none: the primary still has the slot.
#[test]
fn a_standby_without_the_slot_is_no_lost_slot() {
    let receiver = Receiver::start();
    let mut pair = Pair::new(Cluster::builder(), &receiver, &[]);
    pair.road.start();
    pair.road.sql("INSERT INTO t VALUES (1, 'a')");
    pair.road.arrived(&receiver);
    pair.road.stop();
    let url = pair.standby.url("postgres", "postgres");
    pair.road.configure_at(&url, "", "", &sinks(&receiver));
    pair.road.walgate.start(&[]);
    ended(&mut pair.road, 3, &["is not on it", "target_session_attrs=primary"]);
}

#[test]
fn a_server_with_no_place_for_one_more_is_waited_for_and_what_it_lacks_is_said() {
    let receiver = Receiver::start();
    let builder =
        Cluster::builder().setting("max_wal_senders", "1").setting("max_replication_slots", "1");
    let mut road = Road::new(builder, T, &sinks(&receiver));
    let url = road.cluster.url("postgres", "postgres");
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[source]\nurl = \"{url}\"\nslot = \"second\"\n{}",
        sinks(&receiver)
    );
    let mut second = Walgate::new(&config);
    second.start(&[]);
    let cure = "raise max_wal_senders and restart PostgreSQL";
    eventually("the walsenders are named", PATIENCE, || second.log().contains(cure));
    checks(&second, &format!("fix: {cure}, or end another replication; it is tried again"));
    road.stop();
    let slots = "all replication slots are in use";
    eventually("the slots are named", PATIENCE, || second.log().contains(slots));
    assert!(second.is_running());
    road.until_free();
    road.sql("SELECT pg_drop_replication_slot('walgate')");
    eventually("it streams", PATIENCE, || second.log().contains(" streaming "));
    assert_eq!(second.stop(), 0);
}
