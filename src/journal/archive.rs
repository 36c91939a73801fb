//! [`Archive`]: the journal as commands read it, beside a running instance or without one.
//!
//! Only reads. What it knows of the index is of one moment; of the last segment it also reads what
//! was written and not indexed then, up to the first record that is not whole, as recovery does.
//! What retention removes meanwhile is told, never passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::index::{self, Run};
use super::recover::keep_whole;
use super::segment::{self, FIRST_RECORD};
use super::window::Window;
use super::{Error, folder};
use crate::chunk::Chunk;
use crate::lsn::{Position, Timestamp};
use crate::relation::Relation;
use crate::state::Reader;

/// The journal at one moment.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    segments: Vec<Segment>,
    begin: Position,
}

/// A segment file, and what was indexed of it.
#[derive(Clone, Debug)]
struct Segment {
    number: u32,
    runs: Vec<Run>,
    /// It may be written to.
    is_last: bool,
}

impl Archive {
    /// Looks at the journal in a state's folder. Changes nothing.
    ///
    /// # Errors
    /// An index that can't be read, or that knows a file that is not there though older ones are.
    pub fn open(state_folder: &Path, reader: &Reader) -> Result<Self, Error> {
        let folder = folder(state_folder);
        // In this order: what retention removes between the two is then missing at the front.
        let rows = reader.read(index::load).map_err(Error::State)?;
        let numbers = match segment::list(&folder) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Vec::new()
            }
            listed => listed?,
        };
        let mut indexed: BTreeMap<u32, Vec<Run>> = BTreeMap::new();
        for run in rows {
            indexed.entry(run.segment).or_default().push(run);
        }
        let mut segments = Vec::with_capacity(numbers.len());
        for number in &numbers {
            let mut runs = indexed.remove(number).unwrap_or_default();
            keep_whole(&mut runs);
            segments.push(Segment { number: *number, runs, is_last: false });
        }
        if let Some(last) = segments.last_mut() {
            last.is_last = true;
        }
        let oldest = numbers.first().copied().unwrap_or(u32::MAX);
        if let Some(number) = indexed.keys().find(|number| **number > oldest) {
            return Err(Error::Missing { path: segment::path(&folder, *number) });
        }
        let begin = begin(&folder, &segments)?;
        Ok(Self { folder, segments, begin })
    }

    /// Returns the lowest position from which on everything is here.
    #[must_use]
    pub const fn begin(&self) -> Position {
        self.begin
    }

    /// Returns when the oldest change in it was committed; none where none is indexed.
    #[must_use]
    pub fn oldest(&self) -> Option<Timestamp> {
        self.segments.iter().flat_map(|segment| &segment.runs).find_map(|run| run.oldest)
    }

    /// Returns where its last `runs` runs begin: for who wants only what is newest.
    #[must_use]
    pub fn near_end(&self, runs: usize) -> Position {
        let newest = self.segments.iter().rev().flat_map(|segment| segment.runs.iter().rev());
        newest.take(runs).last().map_or(self.begin, |run| run.first)
    }

    /// Whether there is nothing in it at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Returns the chunks that may hold something of `window`, in order. Runs that hold nothing of
    /// it are not read; which changes of a chunk lie in it is for [`Window::holds`] to say.
    #[must_use]
    pub fn read(&self, window: Window) -> Chunks<'_> {
        Chunks { archive: self, wanted: Wanted::Window(window), next: 0, open: None }
    }

    /// Returns the oids of the tables whose shape fits, as they were first and last seen here: one
    /// that was renamed is found by its old name and its new.
    ///
    /// # Errors
    /// A file that can't be read, or that is not as it was written.
    pub fn tables(&self, fits: impl Fn(&Relation) -> bool) -> Result<BTreeSet<u32>, Error> {
        let runs = || self.segments.iter().flat_map(|segment| &segment.runs);
        let (mut first, mut last) = (BTreeMap::new(), BTreeMap::new());
        for run in runs() {
            for oid in &run.relations {
                first.entry(*oid).or_insert(run.place());
                last.insert(*oid, run.place());
            }
        }
        let wanted = Wanted::Runs(first.into_values().chain(last.into_values()).collect());
        let mut found = BTreeSet::new();
        for chunk in (Chunks { archive: self, wanted, next: 0, open: None }) {
            match chunk {
                Ok(chunk) => {
                    let fit = chunk.relations.iter().filter(|relation| fits(relation));
                    found.extend(fit.map(|relation| relation.oid.0));
                }
                // Whoever reads on is told.
                Err(Error::Gone { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// Where the first segment begins that is still there.
fn begin(folder: &Path, segments: &[Segment]) -> Result<Position, Error> {
    for segment in segments {
        let file = match segment::open(folder, segment.number, false) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
            file => file?,
        };
        let begin = segment::begin(&file, &segment::path(folder, segment.number))?;
        return Ok(begin.unwrap_or(Position::ZERO));
    }
    Ok(Position::ZERO)
}

/// What is read.
#[derive(Debug)]
enum Wanted {
    Window(Window),
    /// These runs, by their places, and what is not indexed.
    Runs(BTreeSet<(u32, u64)>),
}

impl Wanted {
    fn takes(&self, run: &Run) -> bool {
        match self {
            Self::Window(window) => window.takes(run),
            Self::Runs(places) => places.contains(&run.place()),
        }
    }

    fn meets(&self, first: Position, end: Position) -> bool {
        match self {
            Self::Window(window) => window.meets(first, end),
            Self::Runs(_) => true,
        }
    }
}

/// Chunk after chunk of an archive.
///
/// An error ends it, but for [`Error::Gone`]: retention has removed a segment before it was read,
/// and what follows is behind that.
#[derive(Debug)]
pub struct Chunks<'a> {
    archive: &'a Archive,
    wanted: Wanted,
    /// The index of the segment that is opened next.
    next: usize,
    open: Option<Open<'a>>,
}

/// A segment that is being read.
#[derive(Debug)]
struct Open<'a> {
    file: File,
    path: PathBuf,
    length: u64,
    offset: u64,
    /// Runs that begin at `offset` or behind it.
    runs: &'a [Run],
    is_last: bool,
}

impl Iterator for Chunks<'_> {
    type Item = Result<Arc<Chunk>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(open) = &mut self.open else {
                match self.open_next()? {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(self.failed(error))),
                }
            };
            match open.next(&self.wanted) {
                Ok(Some(chunk)) => return Some(Ok(Arc::new(chunk))),
                Ok(None) => self.open = None,
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
    }
}

impl<'a> Chunks<'a> {
    /// Opens the next segment; none behind the last.
    fn open_next(&mut self) -> Option<Result<(), Error>> {
        let archive: &'a Archive = self.archive;
        let segment = archive.segments.get(self.next)?;
        self.next += 1;
        let path = segment::path(&archive.folder, segment.number);
        let opened = segment::open(&archive.folder, segment.number, false).and_then(|file| {
            let length = file.metadata().map_err(Error::file("read", &path))?.len();
            Ok((file, length))
        });
        let (file, length) = match opened {
            Ok(opened) => opened,
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let from = segment.runs.first().map_or(archive.begin, |run| run.first);
                let rest = archive.segments.iter().skip(self.next);
                let behind = rest.flat_map(|segment| &segment.runs).map(|run| run.first).next();
                let begin = behind.or(segment.runs.last().map(|run| run.end)).unwrap_or(from);
                return Some(Err(Error::Gone { from, begin }));
            }
            Err(error) => return Some(Err(error)),
        };
        let indexed = segment.runs.last().map_or(0, Run::next_offset);
        if length < indexed {
            return Some(Err(Error::Missing { path }));
        }
        let (runs, is_last) = (segment.runs.as_slice(), segment.is_last);
        self.open = Some(Open { file, path, length, offset: FIRST_RECORD, runs, is_last });
        Some(Ok(()))
    }

    fn failed(&mut self, error: Error) -> Error {
        if !matches!(error, Error::Gone { .. }) {
            self.open = None;
            self.next = self.archive.segments.len();
        }
        error
    }
}

impl Open<'_> {
    /// Reads the next chunk that is wanted; none at the end of the segment.
    fn next(&mut self, wanted: &Wanted) -> Result<Option<Chunk>, Error> {
        while self.offset < self.length {
            while let Some((run, rest)) = self.runs.split_first()
                && run.next_offset() <= self.offset
            {
                self.runs = rest;
            }
            let run = self.runs.first();
            if let Some(run) = run
                && !wanted.takes(run)
            {
                self.offset = run.next_offset();
                continue;
            }
            match self.record(wanted) {
                // Written at this moment, or cut off by a crash: there is nothing behind it.
                Err(Error::Damaged { .. }) if self.is_last && run.is_none() => {
                    self.offset = self.length;
                }
                Ok(None) => {}
                read => return read,
            }
        }
        Ok(None)
    }

    /// Reads the record at hand if its positions are wanted, and turns to the next.
    fn record(&mut self, wanted: &Wanted) -> Result<Option<Chunk>, Error> {
        let header = segment::header(&self.file, &self.path, self.offset)?;
        let start = self.offset;
        if !wanted.meets(header.first, header.end) && header.length() <= self.length - start {
            self.offset += header.length();
            return Ok(None);
        }
        let (_, chunk) = segment::chunk(&self.file, &self.path, start, self.length - start)?;
        self.offset += header.length();
        Ok(Some(chunk))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::super::tests::{chunk, keep, opened};
    use super::super::{Journal, Moment};
    use super::*;
    use crate::lsn::{Lsn, Oid};
    use crate::relation::ReplicaIdentity;
    use crate::state::State;

    /// As `chunk`, of a table.
    fn of_table(lsn: u64, bytes: usize, oid: u32, name: &str) -> Arc<Chunk> {
        let mut chunk = Chunk::clone(&chunk(lsn, bytes));
        chunk.relations = vec![Arc::new(Relation {
            oid: Oid(oid),
            namespace: "public".into(),
            name: name.into(),
            identity: ReplicaIdentity::Default,
            columns: vec![],
            primary_key: vec![],
            formerly: None,
        })];
        chunk.entries.iter_mut().for_each(|entry| entry.relation = Some(0));
        Arc::new(chunk)
    }

    fn archive(folder: &Path) -> Archive {
        Archive::open(folder, &State::open_reader(folder).unwrap()).unwrap()
    }

    /// The LSNs of the changes in a window, and of all that was read for them.
    fn read(archive: &Archive, window: &Window) -> (Vec<u64>, usize) {
        let (mut held, mut count) = (Vec::new(), 0);
        for chunk in archive.read(window.clone()) {
            let chunk = chunk.unwrap();
            count += 1;
            let wanted = chunk.entries.iter().filter(|entry| window.holds(&chunk, entry));
            held.extend(wanted.map(|entry| chunk.position(entry).commit_lsn.0));
        }
        (held, count)
    }

    async fn filled(folder: &Path, lsns: std::ops::RangeInclusive<u64>) -> (State, Journal) {
        let (state, journal) = opened(folder);
        for lsn in lsns {
            journal.append(chunk(lsn, 500_000)).await.unwrap();
        }
        keep(&state, &journal).await;
        (state, journal)
    }

    #[tokio::test]
    async fn it_reads_beside_a_running_instance_and_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let (state, journal) = filled(folder.path(), 1..=150).await;
        let all: Vec<u64> = (1..=152).collect();
        assert_eq!(read(&archive(folder.path()), &Window::default()).0, all[..150]);
        // Written, and not in the index.
        journal.append(chunk(151, 100)).await.unwrap();
        journal.append(chunk(152, 100)).await.unwrap();
        journal.sync().await.unwrap();
        assert_eq!(read(&archive(folder.path()), &Window::default()).0, all);
        drop((journal, state));
        let archive = archive(folder.path());
        assert_eq!(read(&archive, &Window::default()).0, all);
        assert_eq!((archive.begin(), archive.oldest()), (Position::ZERO, Some(Timestamp(1))));
    }

    #[tokio::test]
    async fn a_window_reads_little_more_than_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let _open = filled(folder.path(), 1..=150).await;
        let archive = archive(folder.path());
        let moments: [fn(u64) -> Moment; 2] =
            [|n| Moment::Lsn(Lsn(n)), |n| Moment::Time(Timestamp(i64::try_from(n).unwrap()))];
        for moment in moments {
            let window = Window { from: Some(moment(100)), to: Some(moment(103)), tables: None };
            let (held, count) = read(&archive, &window);
            assert_eq!(held, [100, 101, 102, 103]);
            assert!(count < 10, "{count} chunks were read");
        }
    }

    #[tokio::test]
    async fn a_table_is_found_by_its_old_name_and_its_new_and_others_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (state, journal) = opened(folder.path());
        for lsn in 1..=20 {
            let name = if lsn < 10 { "old" } else { "new" };
            let chunk = match lsn % 5 {
                0 => of_table(lsn, 1_100_000, 7, name),
                _ => of_table(lsn, 1_100_000, 8, "other"),
            };
            journal.append(chunk).await.unwrap();
        }
        keep(&state, &journal).await;
        let archive = archive(folder.path());
        for name in ["old", "new"] {
            let tables = archive.tables(|relation| relation.name == name).unwrap();
            assert_eq!(tables, BTreeSet::from([7]), "{name}");
        }
        assert_eq!(archive.tables(|relation| relation.name == "none").unwrap(), BTreeSet::new());
        let window = Window { tables: Some(BTreeSet::from([7])), ..Window::default() };
        assert_eq!(read(&archive, &window), (vec![5, 10, 15, 20], 4));
    }

    #[tokio::test]
    async fn a_torn_tail_ends_it_and_damage_before_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (state, journal) = filled(folder.path(), 1..=3).await;
        journal.append(chunk(4, 1000)).await.unwrap();
        journal.append(chunk(5, 1000)).await.unwrap();
        journal.sync().await.unwrap();
        drop((journal, state));
        let path = segment::path(&folder.path().join("journal"), 1);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        let length = file.metadata().unwrap().len();
        for (cut, left) in [(7, 4), (1300, 3)] {
            file.set_len(length - cut).unwrap();
            let read = read(&archive(folder.path()), &Window::default()).0;
            assert_eq!(read, (1..=left).collect::<Vec<_>>(), "{cut} bytes less");
            assert_eq!(file.metadata().unwrap().len(), length - cut, "it changes nothing");
        }
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xFF; 100], 700_000).unwrap();
        let read: Vec<_> = archive(folder.path()).read(Window::default()).collect();
        assert_eq!(read.len(), 2, "nothing comes behind the damage");
        assert!(matches!(read[1], Err(Error::Damaged { .. })));
    }

    #[tokio::test]
    async fn what_retention_removes_meanwhile_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (state, journal) = filled(folder.path(), 1..=320).await;
        let archive_before = archive(folder.path());
        let mut chunks = archive_before.read(Window::default());
        assert_eq!(chunks.next().unwrap().unwrap().transactions[0].commit_lsn, Lsn(1));
        let later = Timestamp::from_unix_micros(i64::MAX / 2);
        journal.retain(Position::new(Lsn(320), 0), later).await.unwrap();
        let after = archive(folder.path());
        assert!(after.begin() > Position::new(Lsn(200), 0), "{}", after.begin());
        let (mut read, mut gone) = (1, Vec::new());
        for chunk in chunks {
            match chunk {
                Ok(_) => read += 1,
                Err(Error::Gone { from, begin }) => gone.push((from, begin)),
                Err(error) => panic!("{error}"),
            }
        }
        // The first was open already, the second went unread.
        let [(from, begin)] = gone[..] else { panic!("{gone:?}") };
        assert!(begin >= after.begin(), "{begin}");
        assert_eq!(read + (begin.commit_lsn.0 - from.commit_lsn.0), 320);
        drop(state);
    }

    #[tokio::test]
    async fn a_file_that_is_missing_between_others_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        drop(filled(folder.path(), 1..=320).await);
        std::fs::remove_file(segment::path(&folder.path().join("journal"), 2)).unwrap();
        let reader = State::open_reader(folder.path()).unwrap();
        assert!(matches!(Archive::open(folder.path(), &reader), Err(Error::Missing { .. })));
    }

    #[tokio::test]
    async fn without_a_journal_there_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(State::open(folder.path()).unwrap());
        let archive = archive(folder.path());
        assert!(archive.is_empty());
        assert_eq!(read(&archive, &Window::default()), (vec![], 0));
    }
}
