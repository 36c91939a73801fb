//! A disk that is full, readers that are slow, and a start with much on the disk.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use walgate::chunk::{Chunk, Operation, Transaction};
use walgate::demo::cluster::Cluster;
use walgate::journal::{self, Journal};
use walgate::lsn::{Lsn, Timestamp, Xid};
use walgate::state::State;

use super::support::process::{Walgate, eventually, pause, say};
use super::support::receiver::{Receiver, Reply};
use super::support::road::{PATIENCE, Road, T, http, route, runtime};
use super::support::state::{change, letters, number};

const MEMORY_BYTES_MAX: u64 = 150 << 20;
const LONG: Duration = Duration::from_secs(120);
/// A start, whatever lies on the disk, may take so long until rows flow.
const START_MAX: Duration = Duration::from_secs(10);

const HASTY: &str = "timeout = \"500ms\"\nbatch = { max_events = 500 }\n\
    retry = { initial = \"20ms\", max = \"100ms\" }\nbreaker = { cooldown = \"200ms\" }";

/// A file system of a bounded size at the place of the state folder. Gone on drop.
struct Volume(PathBuf);

impl Volume {
    /// None where this user may not mount one.
    fn mount(walgate: &Walgate, mebibytes: u32) -> Option<Self> {
        let path = walgate.folder().join("walgate-state");
        std::fs::create_dir(&path).unwrap();
        let options = format!("size={mebibytes}m,mode=0700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        let is_mounted = command.stderr(Stdio::null()).status().is_ok_and(|s| s.success());
        is_mounted.then_some(Self(path))
    }

    fn grow(&self, mebibytes: u32) {
        let options = format!("remount,size={mebibytes}m");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }

    fn free_bytes(&self) -> u64 {
        let output = Command::new("df").args(["-B1", "--output=avail"]).arg(&self.0).output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        text.lines().nth(1).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Whoever was killed a moment ago may still be there.
        let _ = Command::new("umount").args(["-l"]).arg(&self.0).status();
    }
}

/// Rows that do not compress, about 200 bytes each.
fn rows(from: u32, to: u32) -> String {
    let parts = ["a", "b", "c", "d", "e", "f"].map(|part| format!("md5(g || '{part}')"));
    format!("INSERT INTO t SELECT g, {} FROM generate_series({from}, {to}) g", parts.join(" || "))
}

/// A road whose state lies on a small volume, with a sink that hangs and one that does not.
fn small(mebibytes: u32, reserve: &str) -> Option<(Road, Volume, [Receiver; 2])> {
    let [far, near] = [Receiver::start(), Receiver::start()];
    far.otherwise(Reply::hang());
    let config = [
        format!("[journal]\nreserve = \"{reserve}\"\n"),
        http("far", &far.url("/"), HASTY),
        http("near", &near.url("/"), HASTY),
        route("t", "far"),
        route("t", "near"),
    ];
    let mut road = Road::quiet(Cluster::builder().major(15), T, &config.concat());
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let Some(volume) = Volume::mount(&road.walgate, mebibytes) else {
        say("left out: only root may mount a volume");
        return None;
    };
    road.start();
    Some((road, volume, [far, near]))
}

/// All the rows come once there is room, each in order.
fn arrives_with_room(road: &Road, volume: &Volume, receivers: &[Receiver; 2], rows: usize) {
    volume.grow(1024);
    receivers[0].behave();
    for receiver in receivers {
        receiver.wait("all rows", LONG, |journal| journal.events_processed >= rows);
    }
    road.confirms(&road.wal_end());
    receivers.iter().for_each(|receiver| drop(road.arrived(receiver)));
}

/// A road whose volume has become full.
fn full() -> Option<(Road, Volume, [Receiver; 2])> {
    let (mut road, volume, receivers) = small(16, "0")?;
    road.sql(&rows(1, 200_000));
    eventually("it is told", LONG, || {
        road.walgate.log().contains("ERROR the disk is full: nothing more is read")
    });
    assert!(volume.free_bytes() < 1 << 20, "{} are free", volume.free_bytes());
    pause(Duration::from_secs(2));
    assert!(road.walgate.is_running());
    Some((road, volume, receivers))
}

#[test]
fn a_volume_that_is_full_pauses_reading_and_loses_nothing() {
    let Some((road, volume, receivers)) = full() else { return };
    arrives_with_room(&road, &volume, &receivers, 200_000);
    assert!(road.walgate.log().contains("the journal is written again"));
    assert_eq!(receivers[1].journal().repeats(), 0);
    drop(road);
    drop(volume);
}

#[test]
fn a_kill_on_a_volume_that_is_full_loses_nothing() {
    let Some((mut road, volume, receivers)) = full() else { return };
    let held = road.confirmed();
    road.walgate.kill();
    road.walgate.start(&[]);
    pause(Duration::from_secs(2));
    // Without room for a word of its own it ends; whoever runs it starts it again.
    let is_running = road.walgate.is_running();
    say(&format!("started on a full disk: {}", if is_running { "it runs" } else { "it ended" }));
    assert_eq!(road.confirmed(), held);
    if !is_running {
        assert_eq!(road.walgate.exit_code(PATIENCE), 1);
        volume.grow(1024);
        road.start();
    }
    arrives_with_room(&road, &volume, &receivers, 200_000);
    drop(road);
    drop(volume);
}

#[test]
fn the_reserve_stays_free_for_progress_and_dead_letters() {
    const RESERVE: u64 = 24 << 20;
    let Some((road, volume, receivers)) = small(64, "24MiB") else { return };
    road.sql(&rows(1, 400_000));
    let told = "ERROR the disk is nearly full: nothing more is read";
    eventually("it is told", LONG, || road.walgate.log().contains(told));
    eventually("status says so", PATIENCE, || {
        let reason = "the disk has no more than `journal.reserve` left";
        road.walgate.status()["source"]["reason"] == reason
    });
    // What was read before is still written, and progress is stored beside it.
    pause(Duration::from_secs(1));
    let free = volume.free_bytes();
    say(&format!("{} KiB of a reserve of {} KiB are free", free >> 10, RESERVE >> 10));
    assert!(free > RESERVE / 2, "{free} bytes are left of the reserve");
    // The one that keeps up goes on, and its progress is stored.
    let came = receivers[1].journal().events_processed;
    eventually("its progress is stored", PATIENCE, || {
        let sql = "SELECT delivered FROM progress WHERE sink = 'near'";
        number(&road.walgate, sql) >= i64::try_from(came).unwrap()
    });
    assert!(!road.walgate.log().contains("can't be stored"), "{}", road.walgate.log());
    arrives_with_room(&road, &volume, &receivers, 400_000);
    assert!(road.walgate.log().contains("the disk has room again"));
    assert_eq!(receivers[1].journal().repeats(), 0);
    drop(road);
    drop(volume);
}

/// Runs a command whose output nobody reads for now.
fn unread(walgate: &Walgate, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walgate"));
    command.current_dir(walgate.folder()).args(args).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// A command with a long answer that nobody reads kept what was stored since from being let go.
#[test]
fn a_reader_that_stands_still_holds_up_neither_delivery_nor_the_state() {
    let receiver = Receiver::start();
    let keys = format!("max_dead = 1000000\nconcurrency = 8\n{}", HASTY.replace("500 }", "1 }"));
    let road = Road::of_t(&http("far", &receiver.url("/"), &keys));
    let is_bad = |event: &super::support::receiver::Event| event.0["data"]["v"] == "bad";
    receiver.when(is_bad, Reply::status(422).body("x".repeat(500)));
    // Every other one is refused, and one row changes often.
    let write = |from: u32, to: u32| {
        let sql = format!(
            "INSERT INTO t SELECT g, CASE WHEN g % 2 = 0 THEN 'bad' ELSE 'good' END
             FROM generate_series({from}, {to}) g"
        );
        road.sql(&sql);
    };
    road.sql("INSERT INTO t VALUES (0, 'good')");
    for round in 0..2000 {
        road.sql(&format!("UPDATE t SET v = '{round}' WHERE id = 0"));
    }
    write(1, 4000);
    eventually("there is much to list", LONG, || letters(&road.walgate, "state = 'dead'") == 2000);
    let mut commands = [
        unread(&road.walgate, &["dlq", "list", "--json"]),
        unread(&road.walgate, &["dlq", "export"]),
        unread(&road.walgate, &["trace", "--table", "public.t", "--key", "{\"id\": 0}"]),
    ];
    // Until the pipes are full.
    pause(Duration::from_secs(1));
    for command in &mut commands {
        assert!(command.try_wait().unwrap().is_none(), "a pipe holds it all");
    }
    let wal = road.walgate.folder().join("walgate-state/walgate.db-wal");
    let database = road.walgate.folder().join("walgate-state/walgate.db");
    let (before, started) = (size(&database), Instant::now());
    write(4001, 24_000);
    eventually("the rest is refused", LONG, || letters(&road.walgate, "state = 'dead'") == 12_000);
    road.confirms(&road.wal_end());
    let (grown, log) = (size(&database) - before, size(&wal));
    say(&format!(
        "beside three readers: 20,000 events in {:?}; {} KiB stored, the write-ahead log {} KiB",
        started.elapsed(),
        grown >> 10,
        log >> 10
    ));
    assert!(grown > 8 << 20, "this test needs more: {grown}");
    assert!(log <= 16 << 20, "{} MiB", log >> 20);
    for mut command in commands {
        let mut text = String::new();
        command.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(command.wait().unwrap().success());
        assert!(text.lines().count() >= 2000, "{} lines", text.lines().count());
    }
}

/// Stops walgate, has the state filled, and returns how long the next start takes until a row has
/// gone through, and the most memory it took.
fn starts_with(road: &mut Road, receiver: &Receiver, filling: &str) -> (Duration, u64) {
    road.stop();
    let started = Instant::now();
    change(&road.walgate, filling);
    let filled = started.elapsed();
    road.sql("INSERT INTO t VALUES (1000000000, 'behind the start')");
    let started = Instant::now();
    road.walgate.start(&[]);
    receiver.wait("the row", LONG, |journal| {
        journal.events().last().is_some_and(|event| event.0["key"]["id"] == 1_000_000_000)
    });
    let took = started.elapsed();
    let peak = road.walgate.peak_memory_bytes();
    say(&format!("filled in {filled:?}, a row after {took:?}, {} MiB", peak >> 20));
    (took, peak)
}

/// Numbers from 1 to `count`, as a table `n (g)`.
fn numbers(count: u32) -> String {
    format!("WITH RECURSIVE n(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM n WHERE g < {count})")
}

/// Rows of a state and a share of keys, all below what the sink has done.
fn letters_of(state: &str, count: u32, keys: u32) -> String {
    format!(
        "INSERT INTO dead_letters (event_id, sink, route, \"table\", \"key\", key_hash, op,
             commit_lsn, seq, original, payload, category, message, status, attempts, first_failed,
             last_failed, state)
         {} SELECT printf('%08X-%016X-%08X', 1, 1000 + g, 0), 'far', 't-to-far', 'public.t',
             '{{\"id\":' || (g % {keys}) || '}}', (g % {keys}) * 2654435761, 'insert', 1000 + g, 0,
             CASE '{state}' WHEN 'blocked' THEN NULL ELSE zeroblob(100) END,
             CASE '{state}' WHEN 'blocked' THEN NULL ELSE zeroblob(200) END,
             'rejected', 'the far side answered 422', 422, 1, 1700000000000000 + g,
             1700000000000000 + g, '{state}' FROM n",
        numbers(count)
    )
}

#[test]
fn a_start_with_a_million_dead_letters_is_soon_done() {
    let receiver = Receiver::start();
    let mut road = Road::of_t(&http("far", &receiver.url("/"), "max_dead = 2000000"));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    let (took, peak) = starts_with(&mut road, &receiver, &letters_of("dead", 1_000_000, 1 << 30));
    assert!(took < START_MAX, "{took:?}");
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    // And what goes on with them there is not slow either.
    road.sql("INSERT INTO t SELECT g, 'row' FROM generate_series(2, 2000) g");
    let started = Instant::now();
    receiver.wait("rows", LONG, |journal| journal.events_processed >= 2001);
    assert!(started.elapsed() < START_MAX, "{:?}", started.elapsed());
    assert_eq!(letters(&road.walgate, "state = 'dead'"), 1_000_000);
    let started = Instant::now();
    let status = road.walgate.status();
    assert_eq!(status["sinks"][0]["dead_letters"]["rejected"], 1_000_000);
    say(&format!("status after {:?}", started.elapsed()));
    let started = Instant::now();
    road.stop();
    say(&format!("stopped after {:?}", started.elapsed()));
}

#[test]
fn a_start_with_a_hundred_thousand_that_wait_is_soon_done() {
    let receiver = Receiver::start();
    let keys = "on_dead = \"block\"\nmax_blocked = 200000";
    let mut road = Road::of_t(&http("far", &receiver.url("/"), keys));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    // A thousand dead ones, and a hundred thousand of the same keys behind them.
    let dead = letters_of("dead", 1000, 1000);
    let blocked = letters_of("blocked", 100_000, 1000).replace("1000 + g", "3000 + g");
    let (took, peak) = starts_with(&mut road, &receiver, &format!("{dead}; {blocked}"));
    assert!(took < START_MAX, "{took:?}");
    assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
    assert_eq!(letters(&road.walgate, "state = 'blocked'"), 100_000);
    road.stop();
}

/// A chunk of one logical message that can't be compressed.
fn chunk(lsn: u64, frame: Bytes) -> Arc<Chunk> {
    let transaction = Transaction {
        commit_lsn: Lsn(lsn),
        end_lsn: Some(Lsn(lsn + 1)),
        xid: Some(Xid(1)),
        commit_time: Some(Timestamp(0)),
    };
    Arc::new(Chunk::of_one(1, transaction, None, 0, Operation::Message, frame).unwrap())
}

/// Fills the journal of a folder where nothing has run yet, with chunks of a mebibyte below
/// anything that the server sends.
fn fill_journal(folder: &Path, mebibytes: u64) {
    runtime().block_on(async {
        let state = State::open(folder).unwrap();
        let day = Duration::from_secs(24 * 3600);
        let settings = journal::Settings { retain: day, max_bytes: 10 << 30, reserve_bytes: 0 };
        let journal = Journal::open(settings, &state).unwrap();
        let mut random = fastrand::Rng::with_seed(1);
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(1 << 20).collect();
        for number in 1..=mebibytes {
            bytes[0] = random.u8(..);
            journal.append(chunk(number * 10, Bytes::from(bytes.clone()))).await.unwrap();
            if number.is_multiple_of(32) || number == mebibytes {
                let durable = journal.sync().await.unwrap();
                let store = move |c: &rusqlite::Connection| journal::store(c, &durable.runs);
                state.write(store).await.unwrap();
            }
        }
    });
}

#[test]
fn a_start_with_a_large_journal_is_soon_done() {
    let receiver = Receiver::start();
    let config = http("far", &receiver.url("/"), "") + &route("t", "far");
    let mut road = Road::quiet(Cluster::builder().major(15), T, &config);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let folder = road.walgate.folder().join("walgate-state");
    let started = Instant::now();
    fill_journal(&folder, 1024);
    say(&format!("1 GiB of journal in {:?}", started.elapsed()));
    road.start();
    road.sql("INSERT INTO t VALUES (1, 'a')");
    road.arrived(&receiver);
    assert!(road.walgate.status()["journal"]["bytes"].as_u64().unwrap() > 1 << 30);
    for kill in [false, true] {
        if kill {
            road.walgate.kill();
        } else {
            road.stop();
        }
        let id = 2 + u32::from(kill);
        road.sql(&format!("INSERT INTO t VALUES ({id}, 'behind the start')"));
        let started = Instant::now();
        road.walgate.start(&[]);
        receiver.wait("the row", LONG, |journal| {
            journal.events().last().is_some_and(|event| event.0["key"]["id"] == id)
        });
        let (took, peak) = (started.elapsed(), road.walgate.peak_memory_bytes());
        say(&format!("killed: {kill}; a row after {took:?}, {} MiB", peak >> 20));
        assert!(took < START_MAX, "{took:?}");
        assert!(peak < MEMORY_BYTES_MAX, "{} MiB", peak >> 20);
        road.arrived(&receiver);
    }
}
