//! The journal, over crashes and with readers at different places.

use std::fs::OpenOptions;
use std::io::Write;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::chunk::{Operation, Transaction};
use crate::lsn::Xid;

const SETTINGS: Settings =
    Settings { retain: Duration::from_secs(7 * 24 * 3600), max_bytes: 10 << 30, reserve_bytes: 0 };

/// One whole transaction of one message of `bytes` that can't be compressed.
pub(super) fn chunk(lsn: u64, bytes: usize) -> Arc<Chunk> {
    let mut random = fastrand::Rng::with_seed(lsn);
    let frames: Bytes = std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
    let transaction = Transaction {
        commit_lsn: Lsn(lsn),
        end_lsn: Some(Lsn(lsn + 1)),
        xid: Some(Xid(1)),
        commit_time: Some(Timestamp(i64::try_from(lsn).unwrap())),
    };
    Arc::new(Chunk::of_one(1, transaction, None, 0, Operation::Message, frames).unwrap())
}

pub(super) fn opened(folder: &Path) -> (State, Journal) {
    let state = State::open(folder).unwrap();
    let journal = Journal::open(SETTINGS, &state).unwrap();
    (state, journal)
}

/// Makes everything durable as the keeper does.
pub(super) async fn keep(state: &State, journal: &Journal) -> Durable {
    let durable = journal.sync().await.unwrap();
    let runs = durable.runs.clone();
    state.write(move |connection| store(connection, &runs)).await.unwrap();
    durable
}

async fn read(cursor: &mut Cursor, count: usize) -> Vec<u64> {
    let mut read = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(10), cursor.next());
        read.push(next.await.unwrap().unwrap().transactions[0].commit_lsn.0);
    }
    read
}

#[tokio::test]
async fn what_was_appended_is_read_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        let mut cursor = journal.cursor(Position::ZERO).unwrap();
        for lsn in 1..=20 {
            journal.append(chunk(lsn * 10, 1000)).await.unwrap();
        }
        assert_eq!(read(&mut cursor, 20).await, (1..=20).map(|n| n * 10).collect::<Vec<_>>());
        let durable = keep(&state, &journal).await;
        assert_eq!(durable.through, Some(Position::after_transaction(Lsn(200))));
        assert_eq!(durable.received, Some(Lsn(201)));
        // These are written, but not in the index when the process is gone.
        journal.append(chunk(210, 1000)).await.unwrap();
    }
    let (_state, journal) = opened(folder.path());
    assert_eq!(journal.end(), Position::after_transaction(Lsn(210)));
    assert_eq!(journal.received(), Some(Lsn(211)));
    let mut cursor = journal.cursor(Position::after_transaction(Lsn(50))).unwrap();
    assert_eq!(read(&mut cursor, 16).await, (6..=21).map(|n| n * 10).collect::<Vec<_>>());
    journal.append(chunk(220, 10)).await.unwrap();
    assert_eq!(read(&mut cursor, 1).await, [220]);
}

#[tokio::test]
async fn a_torn_tail_is_cut_off_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        for lsn in 1..=5 {
            journal.append(chunk(lsn, 5000)).await.unwrap();
        }
        keep(&state, &journal).await;
        journal.append(chunk(6, 5000)).await.unwrap();
    }
    let path = segment::path(&folder.path().join("journal"), 1);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - 7).unwrap();
    drop(file);
    let (_state, journal) = opened(folder.path());
    assert_eq!(journal.end(), Position::after_transaction(Lsn(5)));
    journal.append(chunk(6, 300)).await.unwrap();
    let mut cursor = journal.cursor(Position::ZERO).unwrap();
    assert_eq!(read(&mut cursor, 6).await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn rows_of_the_index_that_were_never_stored_hide_nothing() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        for lsn in 1..=4 {
            journal.append(chunk(lsn, 2 << 20)).await.unwrap();
            // The disk was full for the second one's transaction.
            if lsn == 2 {
                journal.sync().await.unwrap();
            } else {
                keep(&state, &journal).await;
            }
        }
    }
    let (_state, journal) = opened(folder.path());
    let mut cursor = journal.cursor(Position::ZERO).unwrap();
    assert_eq!(read(&mut cursor, 4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_read_that_is_dropped_again_and_again_still_ends() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        for lsn in 1..=3 {
            journal.append(chunk(lsn, 1 << 20)).await.unwrap();
        }
        keep(&state, &journal).await;
    }
    let (_state, journal) = opened(folder.path());
    let mut cursor = journal.cursor(Position::ZERO).unwrap();
    let mut read = Vec::new();
    for _ in 0..1_000_000 {
        // Ready once at most: whoever waits along with it is always sooner.
        if let Some(next) = futures_util::FutureExt::now_or_never(cursor.next()) {
            read.push(next.unwrap().transactions[0].commit_lsn.0);
        }
        if read.len() == 3 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(read, [1, 2, 3]);
}

#[tokio::test]
async fn garbage_behind_the_last_record_is_no_record() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        journal.append(chunk(1, 100)).await.unwrap();
        keep(&state, &journal).await;
    }
    let path = segment::path(&folder.path().join("journal"), 1);
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(&[0xAB; 500]).unwrap();
    let (_state, journal) = opened(folder.path());
    assert_eq!(journal.end(), Position::after_transaction(Lsn(1)));
}

#[tokio::test]
async fn a_damaged_record_is_an_error_never_skipped() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        for lsn in 1..=3 {
            journal.append(chunk(lsn, 4000)).await.unwrap();
        }
        keep(&state, &journal).await;
    }
    let path = segment::path(&folder.path().join("journal"), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (_state, journal) = opened(folder.path());
    let mut cursor = journal.cursor(Position::ZERO).unwrap();
    assert_eq!(read(&mut cursor, 1).await, [1]);
    assert!(matches!(cursor.next().await, Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn a_lost_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    {
        let (state, journal) = opened(folder.path());
        journal.append(chunk(1, 100)).await.unwrap();
        keep(&state, &journal).await;
    }
    std::fs::remove_file(segment::path(&folder.path().join("journal"), 1)).unwrap();
    let state = State::open(folder.path()).unwrap();
    assert!(matches!(Journal::open(SETTINGS, &state), Err(Error::Missing { .. })));
}

#[tokio::test]
async fn a_slow_reader_goes_to_disk_and_comes_back_without_gap_or_repeat() {
    let folder = tempfile::tempdir().unwrap();
    let (_state, journal) = opened(folder.path());
    let mut slow = journal.cursor(Position::ZERO).unwrap();
    assert!(slow.is_at_end());
    for lsn in 1..=60 {
        journal.append(chunk(lsn, 500_000)).await.unwrap();
    }
    assert!(journal.begin() < Position::new(Lsn(1), 0), "nothing is gone");
    assert_eq!(read(&mut slow, 60).await, (1..=60).collect::<Vec<_>>());
    assert!(slow.is_at_end());
    journal.append(chunk(61, 10)).await.unwrap();
    assert_eq!(read(&mut slow, 1).await, [61]);
}

#[tokio::test]
async fn retention_removes_whole_segments_and_never_what_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let (state, journal) = opened(folder.path());
    for lsn in 1..=140 {
        journal.append(chunk(lsn, 1_000_000)).await.unwrap();
    }
    keep(&state, &journal).await;
    let later = Timestamp::from_unix_micros(i64::MAX / 2);
    let files = || segment::list(&folder.path().join("journal")).unwrap();
    assert_eq!(files(), [1, 2, 3]);
    journal.retain(Position::new(Lsn(10), 0), later).await.unwrap();
    assert_eq!(files(), [1, 2, 3], "the first segment is needed");
    let mut cursor = journal.cursor(Position::new(Lsn(100), 0)).unwrap();
    journal.retain(Position::new(Lsn(100), 0), later).await.unwrap();
    assert_eq!(files(), [2, 3]);
    assert_eq!(read(&mut cursor, 41).await, (100..=140).collect::<Vec<_>>());
    assert!(matches!(journal.cursor(Position::new(Lsn(3), 0)), Err(Error::Gone { .. })));
    drop((journal, cursor, state));
    let (_state, journal) = opened(folder.path());
    assert_eq!(journal.end(), Position::after_transaction(Lsn(140)));
}

#[tokio::test]
async fn a_full_journal_waits_until_something_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let settings = Settings { max_bytes: 3 << 20, ..SETTINGS };
    let journal = Arc::new(Journal::open(settings, &state).unwrap());
    for lsn in 1..=3 {
        journal.append(chunk(lsn, 1 << 20)).await.unwrap();
    }
    keep(&state, &journal).await;
    let blocked = tokio::time::timeout(Duration::from_millis(100), journal.append(chunk(4, 10)));
    assert!(blocked.await.is_err(), "it is full");
    assert!(journal.status().paused.is_some());
    journal.retain(Position::new(Lsn(4), 0), Timestamp(0)).await.unwrap();
    journal.append(chunk(4, 10)).await.unwrap();
    assert_eq!(journal.status().paused, None);
}

/// Appends in the background, as one that may have to wait does.
fn appending(journal: &Arc<Journal>, lsn: u64) -> tokio::task::JoinHandle<Result<(), Error>> {
    let journal = Arc::clone(journal);
    #[expect(clippy::disallowed_methods, reason = "a test has no pipeline")]
    tokio::spawn(async move { journal.append(chunk(lsn, 1000)).await })
}

#[tokio::test]
async fn a_disk_with_less_than_the_reserve_pauses_until_there_is_more() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let settings = Settings { reserve_bytes: u64::MAX, ..SETTINGS };
    let journal = Arc::new(Journal::open(settings, &state).unwrap());
    assert_eq!(journal.paused(), Some("the disk has no more than `journal.reserve` left"));
    let append = appending(&journal, 1);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!append.is_finished());
    lock(&journal.shared.disk).free_bytes = Some(u64::MAX);
    append.await.unwrap().unwrap();
    assert_eq!(journal.paused(), None);
}

#[tokio::test]
async fn a_full_disk_delays_records_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("journal");
    {
        let state = State::open(folder.path()).unwrap();
        let journal = Arc::new(Journal::open(SETTINGS, &state).unwrap());
        // The first segment can't even be begun: this device is always full.
        let first = segment::path(&place, 1);
        std::os::unix::fs::symlink("/dev/full", &first).unwrap();
        journal.append(chunk(1, 1000)).await.unwrap();
        let durable = journal.sync().await.unwrap();
        assert_eq!(durable.through, Some(Position::ZERO));
        assert_eq!(journal.paused(), Some("the disk is full"));
        let append = appending(&journal, 2);
        std::fs::remove_file(&first).unwrap();
        append.await.unwrap().unwrap();
        assert_eq!(keep(&state, &journal).await.through, Some(Position::after_transaction(Lsn(2))));
        // Later, in the middle of a segment, with part of the record on the disk.
        lock(&journal.shared.disk).is_full = true;
        journal.append(chunk(3, 50_000)).await.unwrap();
        let durable = journal.sync().await.unwrap();
        assert_eq!(durable.through, Some(Position::after_transaction(Lsn(2))));
        let append = appending(&journal, 4);
        lock(&journal.shared.disk).is_full = false;
        append.await.unwrap().unwrap();
        keep(&state, &journal).await;
    }
    let (_state, journal) = opened(folder.path());
    let mut cursor = journal.cursor(Position::ZERO).unwrap();
    assert_eq!(read(&mut cursor, 4).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn without_a_disk_the_slowest_reader_sets_the_pace() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let journal = Journal::open(Settings { max_bytes: 0, ..SETTINGS }, &state).unwrap();
    let mut fast = journal.cursor(Position::ZERO).unwrap();
    let mut slow = journal.cursor(Position::ZERO).unwrap();
    for lsn in 1..=8 {
        journal.append(chunk(lsn, 1_000_000)).await.unwrap();
    }
    assert_eq!(read(&mut fast, 8).await.len(), 8);
    let blocked =
        tokio::time::timeout(Duration::from_millis(50), journal.append(chunk(9, 1_000_000)));
    assert!(blocked.await.is_err(), "the slow one has read nothing");
    assert_eq!(read(&mut slow, 2).await, [1, 2]);
    journal.append(chunk(9, 1_000_000)).await.unwrap();
    assert_eq!(read(&mut slow, 7).await, [3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn one_change_is_found_again_by_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let (_state, journal) = opened(folder.path());
    for lsn in 1..=40 {
        journal.append(chunk(lsn * 2, 500_000)).await.unwrap();
    }
    journal.sync().await.unwrap();
    for lsn in [2, 40, 80] {
        let (chunk, entry) = journal.read_at(Position::new(Lsn(lsn), 0)).unwrap().unwrap();
        assert_eq!(chunk.position(&chunk.entries[entry as usize]).commit_lsn, Lsn(lsn));
    }
    assert!(journal.read_at(Position::new(Lsn(3), 0)).unwrap().is_none());
    assert!(journal.read_at(Position::new(Lsn(99), 0)).unwrap().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_reader_gets_everything_once_in_order_whatever_the_interleaving(
        steps in prop::collection::vec((0_usize..4, 1_usize..12), 1..40),
        sizes in prop::collection::vec(1_usize..900_000, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (state, journal) = opened(folder.path());
            let mut cursors: Vec<_> =
                (0..3).map(|_| (journal.cursor(Position::ZERO).unwrap(), 0_u64)).collect();
            let mut appended = 0_u64;
            for (what, count) in steps {
                if what == 3 {
                    for _ in 0..count {
                        appended += 1;
                        let size = sizes[usize::try_from(appended).unwrap() % sizes.len()];
                        journal.append(chunk(appended, size)).await.unwrap();
                    }
                    if count % 3 == 0 {
                        keep(&state, &journal).await;
                    }
                } else {
                    let (cursor, seen) = &mut cursors[what];
                    for _ in 0..(appended - *seen).min(count as u64) {
                        *seen += 1;
                        prop_assert_eq!(read(cursor, 1).await, vec![*seen]);
                    }
                }
            }
            for (cursor, seen) in &mut cursors {
                while *seen < appended {
                    *seen += 1;
                    prop_assert_eq!(read(cursor, 1).await, vec![*seen]);
                }
            }
            Ok(())
        })?;
    }
}
