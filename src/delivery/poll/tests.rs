//! The poller beside a state and a journal.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::delivery::dead_letter::{self, Filter};
use crate::delivery::orders::{Order, Orders};
use crate::delivery::settings::Settings;
use crate::journal;
use crate::progress::decoded::Decoded;
use crate::progress::ledger::Reached;
use crate::state::State;

const JOURNAL: journal::Settings =
    journal::Settings { retain: Duration::from_secs(3600), max_bytes: 1 << 30, reserve_bytes: 0 };

/// Sets one aside, by its number and place, as a sink of another kind has left it.
fn left(number: i64, letter: &str, has_copy: bool) -> String {
    let original = if has_copy { "x'00'" } else { "NULL" };
    format!(
        "INSERT INTO dead_letters (id, event_id, sink, route, op, commit_lsn, seq, state, original)
         VALUES ({number}, '{number}', 'far', 'r', 'insert', {number}, 0, '{letter}', {original});"
    )
}

async fn is_pinned_from(progress: &SinkProgress, lsn: Option<u64>) {
    let wanted = lsn.map(|lsn| Position::new(Lsn(lsn), 0));
    let pinned = async {
        while progress.snapshot().pinned_from != wanted {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(10), pinned).await;
    assert!(waited.is_ok(), "{wanted:?}: {:?}", progress.snapshot().pinned_from);
}

#[tokio::test]
async fn the_journal_keeps_what_waits_and_has_no_copy_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let state = State::open(folder.path()).unwrap();
    let journal = Arc::new(Journal::open(JOURNAL, &state).unwrap());
    let letters = [
        left(5, "retrying", true),
        left(6, "replaying", true),
        left(7, "dead", false),
        left(10, "blocked", false),
        left(20, "blocked", false),
    ];
    state.write(move |connection| connection.execute_batch(&letters.concat())).await.unwrap();
    let progress =
        SinkProgress::new("far", &Reached::default(), &Arc::new(Decoded::new(Position::ZERO)));
    let (orders, ordered) = Orders::new();
    let poller = Poller::new(PollParts {
        name: "far".to_owned(),
        settings: Settings::default(),
        sinks: 1,
        routes: Vec::new(),
        label: SourceLabel::default(),
        format: Format::default(),
        journal,
        state: state.clone(),
        progress: progress.clone(),
        orders: ordered,
    });
    let discards = async {
        is_pinned_from(&progress, Some(10)).await;
        for (number, then) in [(10, Some(20)), (20, None)] {
            let filter = Box::new(Filter { ids: vec![number], ..Filter::default() });
            let given = orders.give(|asked| Order::Discard(filter, "a test".to_owned(), asked));
            assert_eq!(given.await, Ok(1));
            is_pinned_from(&progress, then).await;
        }
    };
    tokio::select! {
        ended = poller.unwrap().run(CancellationToken::new()) => unreachable!("{ended:?}"),
        () = discards => {}
    }
    // One that is sent again is needed until it is delivered, and by the next run.
    let again = "UPDATE dead_letters SET state = 'replaying' WHERE id = 7";
    let pinned = state.write(move |connection| {
        connection.execute_batch(again)?;
        dead_letter::pinned_from(connection, "far")
    });
    assert_eq!(pinned.await.unwrap(), Some(Position::new(Lsn(7), 0)));
}
