//! What is held, against a plain list of what each transaction did.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::lsn::{Oid, Timestamp};
use crate::pgoutput::build;
use crate::source::Ending;

fn insert(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    build::insert(Oid(7), &[crate::change::Cell::Value(text.as_bytes())], &mut out).unwrap();
    out
}

fn within(xid: u32, frame: &[u8]) -> Vec<u8> {
    [&frame[..1], &xid.to_be_bytes(), &frame[1..]].concat()
}

fn start(xid: u32, is_first: bool) -> Vec<u8> {
    [&b"S"[..], &xid.to_be_bytes(), &[u8::from(is_first)]].concat()
}

fn abort(xid: u32, subxid: u32) -> Vec<u8> {
    [&b"A"[..], &xid.to_be_bytes(), &subxid.to_be_bytes()].concat()
}

fn commit(xid: u32, lsn: u64) -> Vec<u8> {
    let (from, to) = (lsn.to_be_bytes(), (lsn + 5).to_be_bytes());
    [&b"c"[..], &xid.to_be_bytes(), &[0], &from, &to, &[0; 8]].concat()
}

/// `b`, `P`, `p`, `K` or `r` of a transaction.
fn prepared(kind: u8, xid: u32, lsn: u64, gid: &str) -> Vec<u8> {
    let flags: &[u8] = if kind == b'b' { &[] } else { &[0] };
    let times = vec![0; if kind == b'r' { 16 } else { 8 }];
    let (from, to) = (lsn.to_be_bytes(), (lsn + 5).to_be_bytes());
    [&[kind][..], flags, &from, &to, &times, &xid.to_be_bytes(), gid.as_bytes(), b"\0"].concat()
}

fn held(folder: &TempDir, memory_bytes_max: usize) -> Held {
    Held::new(folder.path().join("spill"), memory_bytes_max, false)
}

async fn give(held: &mut Held, frame: &[u8]) -> Taken {
    let taken = held.take(frame).unwrap();
    held.spill().await.unwrap();
    taken
}

/// The messages of a transaction that ends with `frame`.
async fn replayed(held: &mut Held, frame: &[u8]) -> Vec<Vec<u8>> {
    let Taken::Committed(ended) = give(held, frame).await else { panic!("{frame:?}") };
    let mut replay = ended.replay;
    let mut frames = Vec::new();
    loop {
        while let Some(piece) = replay.peek() {
            frames.push(piece.frame.to_vec());
            replay.advance();
        }
        if !replay.fill().await.unwrap() {
            return frames;
        }
    }
}

fn files(folder: &TempDir) -> usize {
    fs::read_dir(folder.path().join("spill")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_streamed_transaction_comes_as_one_that_came_at_its_commit() {
    let folder = TempDir::new().unwrap();
    let mut held = held(&folder, 1 << 20);
    give(&mut held, &start(9, true)).await;
    assert!(held.is_within());
    give(&mut held, &within(9, &insert("1"))).await;
    give(&mut held, b"E").await;
    assert!(!held.is_within());
    assert!(matches!(give(&mut held, &insert("of another")).await, Taken::Passed));
    give(&mut held, &start(9, false)).await;
    give(&mut held, &within(10, &insert("2"))).await;
    give(&mut held, b"E").await;
    let frames = replayed(&mut held, &commit(9, 100)).await;
    let mut begin = Vec::new();
    build::begin(Lsn(100), Timestamp(0), Xid(9), &mut begin);
    let mut end = Vec::new();
    build::commit(Lsn(100), Lsn(105), Timestamp(0), &mut end);
    assert_eq!(frames, [begin, insert("1"), insert("2"), end]);
    assert_eq!(held.bytes, 0);
}

#[tokio::test]
async fn a_prepared_transaction_waits_for_its_second_half() {
    let folder = TempDir::new().unwrap();
    let mut held = held(&folder, 1 << 20);
    for (xid, gid) in [(9, "it's"), (10, "")] {
        let taken = give(&mut held, &prepared(b'b', xid, 50, gid)).await;
        assert!(matches!(taken, Taken::Prepared(of, Lsn(50)) if of == Xid(xid)));
        give(&mut held, &insert(gid)).await;
        give(&mut held, &prepared(b'P', xid, 50, gid)).await;
    }
    assert!(!held.is_within());
    let taken = give(&mut held, &prepared(b'r', 10, 50, "")).await;
    assert!(matches!(taken, Taken::RolledBack(Xid(10))));
    let frames = replayed(&mut held, &prepared(b'K', 9, 100, "it's")).await;
    assert_eq!(frames[1..frames.len() - 1], [insert("it's")]);
    assert!(held.transactions.is_empty());

    give(&mut held, &start(11, true)).await;
    give(&mut held, &within(11, &insert("x"))).await;
    give(&mut held, b"E").await;
    let taken = give(&mut held, &prepared(b'p', 11, 60, "g")).await;
    assert!(matches!(taken, Taken::Prepared(Xid(11), Lsn(60))));
    let frames = replayed(&mut held, &prepared(b'K', 11, 100, "g")).await;
    assert_eq!(frames[1..frames.len() - 1], [insert("x")]);
}

#[test]
fn one_that_commits_and_never_came_is_passed_only_in_an_accepted_gap() {
    let folder = TempDir::new().unwrap();
    let commit = prepared(b'K', 9, 100, "g");
    let error = held(&folder, 1).take(&commit).unwrap_err();
    assert!(matches!(error, Error::PreparedMissed { .. }), "{error}");
    assert_eq!(error.ends_run(), Some(Ending::Halted));
    let mut held = Held::new(folder.path().to_owned(), 1, true);
    assert!(matches!(held.take(&commit).unwrap(), Taken::Held));
}

#[test]
fn a_broken_order_is_an_error_never_a_guess() {
    let folder = TempDir::new().unwrap();
    for frames in [
        vec![b"E".to_vec()],
        vec![commit(9, 100)],
        vec![start(9, false)],
        vec![start(9, true), b"E".to_vec(), start(9, true)],
        vec![start(9, true), start(10, true)],
        vec![start(9, true), commit(9, 100)],
        vec![start(9, true), b"I\0".to_vec()],
        vec![start(9, true), within(9, b"R")],
        vec![start(9, true), b"?".to_vec()],
        vec![start(9, true), Vec::new()],
        vec![prepared(b'P', 9, 50, "g")],
        vec![prepared(b'p', 9, 50, "g")],
        vec![prepared(b'b', 9, 50, "g"), prepared(b'P', 10, 50, "g")],
        vec![prepared(b'b', 9, 50, "g"), b"B".to_vec()],
        vec![prepared(b'b', 9, 50, "g"), Vec::new()],
        vec![prepared(b'b', 9, 50, "g"), prepared(b'P', 9, 50, "g"), commit(9, 100)],
        vec![prepared(b'b', 9, 50, "g"), prepared(b'P', 9, 50, "g"), prepared(b'K', 9, 100, "h")],
    ] {
        let mut held = held(&folder, 1 << 20);
        let error = frames.iter().find_map(|frame| held.take(frame).err());
        let Some(error) = error else { panic!("{frames:?}") };
        assert_eq!(error.ends_run(), Some(Ending::Halted), "{error}: it would come again");
    }
}

/// It would leave with what commits, and the changes behind it would be counted otherwise than by
/// a server that sends them once they commit.
#[test]
fn a_message_that_may_be_of_what_is_undone_is_not_guessed_about() {
    let folder = TempDir::new().unwrap();
    let mut message = Vec::new();
    build::message(true, Lsn(90), "p", b"c", &mut message).unwrap();
    for (undone, is_told) in [(10, false), (9, true)] {
        let mut held = held(&folder, 1 << 20);
        for frame in [start(9, true), within(9, &message), b"E".to_vec()] {
            held.take(&frame).unwrap();
        }
        let taken = held.take(&abort(9, undone));
        assert_eq!(taken.is_ok(), is_told, "{undone}: {taken:?}");
    }
}

#[tokio::test]
async fn a_disk_that_takes_nothing_is_an_error_that_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("spill"), "in the way").unwrap();
    let mut held = held(&folder, 8);
    held.take(&start(9, true)).unwrap();
    held.take(&within(9, &insert("1"))).unwrap();
    let error = held.spill().await.unwrap_err();
    assert!(matches!(error, Error::Spill { .. }), "{error}");
    assert_eq!(error.ends_run(), None, "the server sends it again");
    assert!(crate::failure::Classify::help(&error).unwrap().contains("source.streaming"));
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_an_error() {
    let folder = TempDir::new().unwrap();
    let mut held = held(&folder, 8);
    give(&mut held, &start(9, true)).await;
    give(&mut held, &within(9, &insert("1"))).await;
    give(&mut held, b"E").await;
    let entry = fs::read_dir(folder.path().join("spill")).unwrap().next().unwrap().unwrap();
    fs::File::options().write(true).open(entry.path()).unwrap().set_len(5).unwrap();
    let Taken::Committed(ended) = give(&mut held, &commit(9, 100)).await else { panic!() };
    let mut replay = ended.replay;
    replay.advance();
    assert!(matches!(replay.fill().await, Err(Error::Spill { .. })));
}

#[test]
fn what_an_earlier_run_left_is_cleared() {
    let folder = TempDir::new().unwrap();
    clear(&folder.path().join("spill")).unwrap();
    fs::write(folder.path().join("0-9"), "old").unwrap();
    clear(folder.path()).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// What one transaction does next.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Subtransaction `sub` writes a row of so many bytes.
    Row {
        sub: u32,
        bytes: usize,
    },
    /// It is undone.
    Undo {
        sub: u32,
    },
    /// All of it is.
    Abort,
    Commit,
}

/// What one transaction did.
struct Model {
    top: u32,
    /// How often each subtransaction was undone: each time it goes on under another id.
    undone: [u32; 5],
    rows: Vec<(u32, Vec<u8>)>,
}

impl Model {
    fn xid(&self, sub: u32) -> u32 {
        self.top + sub + 5 * self.undone[sub as usize]
    }
}

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let step = prop_oneof![
        12 => (0_u32..5, 0_usize..60).prop_map(|(sub, bytes)| Step::Row { sub, bytes }),
        2 => (1_u32..5).prop_map(|sub| Step::Undo { sub }),
        1 => Just(Step::Abort),
        1 => Just(Step::Commit),
    ];
    prop::collection::vec((0_u32..4, step), 1..120)
}

proptest! {
    #[test]
    fn whatever_is_undone_and_however_little_room_there_is_the_rest_comes_whole(
        steps in steps(), memory_bytes_max in 0_usize..400
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = TempDir::new().unwrap();
            let mut held = held(&folder, memory_bytes_max);
            let mut open: [Option<Model>; 4] = std::array::from_fn(|_| None);
            let mut next = 0;
            for (count, (place, step)) in steps.into_iter().enumerate() {
                let of = &mut open[place as usize];
                match step {
                    Step::Row { sub, bytes } => {
                        let is_first = of.is_none();
                        let model = of.get_or_insert_with(|| {
                            next += 10_000;
                            Model { top: next, undone: [0; 5], rows: Vec::new() }
                        });
                        let row = insert(&format!("{count}{}", "x".repeat(bytes)));
                        give(&mut held, &start(model.top, is_first)).await;
                        give(&mut held, &within(model.xid(sub), &row)).await;
                        give(&mut held, b"E").await;
                        model.rows.push((model.xid(sub), row));
                    }
                    Step::Undo { sub } => {
                        let Some(model) = of else { continue };
                        let xid = model.xid(sub);
                        give(&mut held, &abort(model.top, xid)).await;
                        model.rows.retain(|(other, _)| *other != xid);
                        model.undone[sub as usize] += 1;
                    }
                    Step::Abort => {
                        if let Some(model) = of.take() {
                            give(&mut held, &abort(model.top, model.top)).await;
                        }
                    }
                    Step::Commit => {
                        let Some(model) = of.take() else { continue };
                        let frames = replayed(&mut held, &commit(model.top, 100)).await;
                        let rows: Vec<_> = model.rows.into_iter().map(|(_, row)| row).collect();
                        assert_eq!(frames[1..frames.len() - 1], rows);
                    }
                }
                assert!(held.bytes <= memory_bytes_max);
                let memory: usize = held.transactions.values().map(|one| one.memory.len()).sum();
                assert_eq!(held.bytes, memory);
                let on_disk = held.transactions.values().filter(|one| one.file.is_some()).count();
                assert_eq!(files(&folder), on_disk, "no file outlives its transaction");
            }
        });
    }
}
