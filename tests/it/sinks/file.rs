//! The `file` sink on a real file system.

use std::fs;
use std::path::Path;

use walgate::failure::Category;
use walgate::sink::{self, Answer, Config, Sink, file};

use super::{COMMON, batch, failure};

fn build(path: &Path, max_size: u64) -> Box<dyn Sink> {
    let config = file::Config { path: path.to_owned(), max_size };
    sink::build("archive", &Config::File(config), &COMMON).unwrap()
}

/// Returns what a file's lines hold: the `seq` of each event.
fn seqs(path: &Path) -> Vec<u64> {
    let seq = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["key"]["id"].as_u64().unwrap()
    };
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(seq).collect()
}

#[tokio::test]
async fn events_are_appended_a_line_each_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    for ids in [0..3, 3..4] {
        let sink = build(&path, 0);
        assert_eq!(sink.deliver(&batch(ids)).await, Answer::Acknowledged);
    }
    assert_eq!(seqs(&path), [0, 1, 2, 3]);
}

#[tokio::test]
async fn what_a_crash_tore_off_is_cut_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let whole = "{\"key\":{\"id\":100}}\n";
    for (tail, kept) in [
        ("", vec![100, 0]),
        ("{\"key\":{\"id\":101", vec![100, 0]),
        ("{", vec![100, 0]),
        ("\0\0\0", vec![100, 0]),
        ("{\"key\":{\"id\":101}}", vec![100, 101, 0]),
    ] {
        fs::write(&path, whole.to_owned() + tail).unwrap();
        assert_eq!(build(&path, 0).deliver(&batch(0..1)).await, Answer::Acknowledged);
        assert_eq!(seqs(&path), kept, "{tail:?}");
    }
    let long = format!("{whole}{{\"x\":\"{}", "y".repeat(200_000));
    fs::write(&path, long).unwrap();
    assert_eq!(build(&path, 0).deliver(&batch(0..1)).await, Answer::Acknowledged);
    assert_eq!(seqs(&path), [100, 0]);
    fs::write(&path, "a stranger's last words").unwrap();
    assert_eq!(build(&path, 0).deliver(&batch(0..1)).await, Answer::Acknowledged);
    assert!(fs::read_to_string(&path).unwrap().starts_with("a stranger's last words\n{"));
}

#[tokio::test]
async fn a_full_file_is_put_aside_whole_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(folder.path().join("events.jsonl.000007"), "").unwrap();
    let line = u64::try_from(batch(0..1).events[0].body.len() + 1).unwrap();
    let sink = build(&path, line * 2);
    for ids in [0..1, 1..2, 2..3, 3..6, 6..7] {
        assert_eq!(sink.deliver(&batch(ids)).await, Answer::Acknowledged);
    }
    drop(sink);
    assert_eq!(build(&path, line * 2).deliver(&batch(7..9)).await, Answer::Acknowledged);
    let aside = |number: u32| seqs(&folder.path().join(format!("events.jsonl.{number:06}")));
    assert_eq!((aside(8), aside(9), aside(10)), (vec![0, 1], vec![2], vec![3, 4, 5]));
    assert_eq!((aside(11), seqs(&path)), (vec![6], vec![7, 8]));
}

#[tokio::test]
async fn batches_at_the_same_time_are_each_whole_and_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let sink = build(&path, 20_000);
    let batches: Vec<_> = (0..40).map(|n| batch(n * 10..n * 10 + 10)).collect();
    let answers = futures_util::future::join_all(batches.iter().map(|b| sink.deliver(b))).await;
    assert!(answers.iter().all(|answer| *answer == Answer::Acknowledged));
    let mut all = Vec::new();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let seqs = seqs(&entry.unwrap().path());
        for ten in seqs.chunks(10) {
            assert_eq!(ten, (ten[0]..ten[0] + 10).collect::<Vec<_>>());
        }
        all.extend(seqs);
    }
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_moved_away_by_somebody_is_not_written_to_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("events.jsonl"), folder.path().join("moved"));
    let sink = build(&path, 0);
    assert_eq!(sink.deliver(&batch(0..1)).await, Answer::Acknowledged);
    fs::rename(&path, &moved).unwrap();
    assert_eq!(sink.deliver(&batch(1..2)).await, Answer::Acknowledged);
    assert_eq!((seqs(&moved), seqs(&path)), (vec![0], vec![1]));
}

#[tokio::test]
async fn two_sinks_do_not_write_to_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let (first, second) = (build(&path, 0), build(&path, 0));
    assert_eq!(first.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let refused = failure(second.deliver(&batch(0..1)).await);
    assert!(refused.message.ends_with("another process writes to it"), "{}", refused.message);
    drop(first);
    assert_eq!(second.deliver(&batch(1..2)).await, Answer::Acknowledged);
    assert_eq!(seqs(&path), [0, 1]);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_the_set_ups_fault_and_check_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let missing = build(&folder.path().join("no/events.jsonl"), 0);
    assert_eq!(failure(missing.deliver(&batch(0..1)).await).category, Category::Setup);
    assert_eq!(missing.check().await.unwrap_err().category, Category::Setup);
    assert_eq!(build(folder.path(), 0).check().await.unwrap_err().category, Category::Setup);
    let path = folder.path().join("events.jsonl");
    let seen = build(&path, 0).check().await.unwrap();
    assert!(seen.contains("not there yet"), "{seen}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "check leaves nothing behind");
    fs::write(&path, "").unwrap();
    assert!(build(&path, 0).check().await.unwrap().contains("can be appended to"));
}
