//! What a desk hands out and what it says is to be noted.

use super::*;
use crate::lsn::Lsn;

fn id(lsn: u64) -> EventId {
    EventId { timeline: 1, position: Position::new(Lsn(lsn), 0) }
}

fn label() -> Arc<RouteLabel> {
    Arc::new(RouteLabel { name: "r".into(), mapping: None })
}

fn returned(lsn: u64, key: u64, forced: bool) -> Returned {
    Returned {
        row: lsn.cast_signed(),
        id: id(lsn),
        keys: [Some(key), None],
        table: Some("public.t".into()),
        forced,
        replays: 1,
        body: Bytes::from(lsn.to_string()),
        route: label(),
        commit_time: None,
    }
}

fn ready(lsn: u64, key: Option<u64>) -> Ready {
    Ready {
        ordinal: lsn,
        id: id(lsn),
        keys: [key, None],
        truncated: key.is_none().then(|| "public.t".to_owned()),
        body: Bytes::new(),
        route: label(),
        commit_time: None,
    }
}

/// A desk with these on the shelf, and dead letters of keys 1 and 2 at 10 and 11.
fn desk(events: &[(u64, Option<u64>)]) -> Desk {
    let mut desk = Desk::new(Position::ZERO);
    desk.died([1], id(10));
    desk.died([2], id(11));
    for (lsn, key) in events {
        assert!(desk.shelf.put(ready(*lsn, *key)).is_none());
        desk.shelf.pass(id(*lsn).position.next());
    }
    desk
}

fn bodies(desk: &mut Desk) -> Vec<Bytes> {
    desk.again(10, 100).map(|(bodies, _)| bodies).unwrap_or_default()
}

/// The only step of what is to be noted.
#[track_caller]
fn step(desk: &mut Desk) -> Noting {
    let [step] = desk.begin_noting().try_into().unwrap();
    step
}

fn lsns(ids: impl IntoIterator<Item = EventId>) -> Vec<u64> {
    ids.into_iter().map(|id| id.position.commit_lsn.0).collect()
}

#[test]
fn a_tray_goes_first_and_is_acknowledged_by_its_own_number() {
    let mut desk = desk(&[(20, Some(9))]);
    desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, false)], None);
    let (bodies, tray) = desk.again(1, 100).unwrap();
    assert_eq!((&bodies[..], tray), (&[Bytes::from("10")][..], Tray { number: 7, count: 1 }));
    desk.fetched(Tray { number: 6, count: 2 });
    assert!(desk.begin_noting().is_empty(), "that was another tray");
    desk.fetched(tray);
    desk.fetched(tray);
    let noting = step(&mut desk);
    let [(newer, one)] = &noting.returned[..] else { unreachable!("{noting:?}") };
    assert_eq!((one.id, &newer[..]), (id(10), &[Newer::Key(1, id(10))][..]));
    let (bodies, tray) = desk.again(5, 100).unwrap();
    assert_eq!((&bodies[..], tray.count), (&[Bytes::from("11")][..], 2));
    assert!(!desk.is_clear());
    desk.fetched(tray);
    assert!(desk.is_clear());
}

#[test]
fn what_is_sent_again_goes_behind_what_is_older_and_before_what_is_newer() {
    let mut desk = desk(&[(8, Some(1)), (9, Some(3)), (20, Some(1))]);
    desk.lay_again(7, vec![returned(10, 1, false), returned(30, 2, false)], None);
    assert!(bodies(&mut desk).is_empty());
    let page = |desk: &Desk| lsns(desk.page(10, 100).into_iter().map(|(id, _)| id));
    assert_eq!(page(&desk), [8, 9]);
    desk.acknowledge(id(9).position);
    assert_eq!((bodies(&mut desk).len(), page(&desk)), (0, vec![9]));
    desk.acknowledge(id(9).position.next());
    assert_eq!((bodies(&mut desk), page(&desk).len()), (vec![Bytes::from("10")], 0));
    let (_, tray) = desk.again(10, 100).unwrap();
    desk.fetched(tray);
    assert!(desk.awaits());
    assert_eq!((bodies(&mut desk).len(), page(&desk).len()), (0, 0), "it is not noted yet");
    desk.begin_noting();
    assert_eq!((bodies(&mut desk).len(), page(&desk).len()), (0, 0));
    desk.noted();
    assert_eq!((bodies(&mut desk).len(), page(&desk)), (0, vec![20]));
    desk.acknowledge(id(20).position.next());
    // What is older may not have been read yet.
    assert_eq!((bodies(&mut desk).len(), page(&desk).len()), (0, 0));
    desk.shelf.pass(id(30).position.next());
    assert_eq!(bodies(&mut desk), ["30"]);
}

#[test]
fn what_was_acknowledged_of_a_key_takes_what_is_older_off_the_tray() {
    let mut desk = desk(&[(20, Some(1)), (21, Some(9)), (22, Some(9))]);
    desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, false)], None);
    let (_, stale) = desk.again(1, 100).unwrap();
    assert!(desk.acknowledge(id(21).position).is_empty());
    assert_eq!(bodies(&mut desk), ["11"]);
    // The place on the old tray acknowledges nothing of the new one.
    desk.fetched(stale);
    assert_eq!(bodies(&mut desk), ["11"]);
    let noting = step(&mut desk);
    assert_eq!(noting.newer, [Newer::Key(1, id(20))]);
    assert_eq!(lsns(noting.overtaken.iter().map(|one| one.id)), [10]);
    assert_eq!(lsns(noting.events.iter().map(|one| one.id)), [20]);
    // What follows waits until that is on disk.
    assert!(desk.acknowledge(id(22).position).is_empty());
    desk.noted();
    let noting = step(&mut desk);
    assert_eq!(lsns(noting.events.iter().map(|one| one.id)), [21]);
    desk.noted();
    assert_eq!(desk.acknowledge(id(23).position).len(), 1, "nothing is to be noted any more");
}

#[test]
fn what_was_acknowledged_while_a_tray_was_loaded_counts_and_force_overrides_it() {
    let mut desk = desk(&[(20, Some(1)), (21, Some(2)), (22, None)]);
    assert!(desk.acknowledge(id(22).position).is_empty());
    desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, true)], None);
    assert_eq!(bodies(&mut desk), ["11"]);
    assert!(desk.acknowledge(id(22).position.next()).is_empty());
    assert_eq!(bodies(&mut desk), ["11"], "a TRUNCATE takes no forced one");
    desk.discard(&[id(11)]);
    assert!(desk.is_clear());
}

#[test]
fn nothing_is_sent_again_before_it_is_known_what_the_receiver_has() {
    let mut desk = desk(&[]);
    desk.shelf.pass(id(15).position);
    desk.lay_again(7, vec![returned(10, 1, false)], None);
    assert_eq!(bodies(&mut desk), ["10"]);
    // After a crash: its cursor lies ahead of what was read.
    assert!(desk.acknowledge(id(30).position).is_empty());
    assert!(bodies(&mut desk).is_empty());
    let done = desk.shelf.put(ready(20, Some(1))).unwrap();
    assert!(desk.took(vec![done]).is_empty());
    desk.shelf.pass(id(30).position);
    assert!(bodies(&mut desk).is_empty() && desk.is_clear());
}

#[test]
fn what_is_asked_for_later_falls_in_behind_what_was_handed_out_and_in_order() {
    let mut desk = desk(&[(20, Some(9))]);
    desk.died([1], id(15));
    desk.lay_again(7, vec![returned(11, 2, false), returned(15, 1, false)], None);
    let (_, tray) = desk.again(1, 100).unwrap();
    let all = [(5, 2, false), (6, 2, true), (10, 1, false), (11, 2, false), (15, 1, false)];
    let all = all.map(|(lsn, key, forced)| returned(lsn, key, forced));
    desk.lay_again(8, all.clone().into(), Some(id(16).position));
    assert_eq!(desk.again(9, 100), Some((vec![Bytes::from("11")], tray)), "as it was");
    desk.fetched(tray);
    // The first became older by that, and the next is forced.
    assert_eq!(bodies(&mut desk), ["6", "10", "15"]);
    let noting = step(&mut desk);
    assert_eq!(lsns(noting.overtaken.iter().map(|one| one.id)), [5]);
    desk.noted();
    // What was acknowledged since it was loaded is not laid out once more.
    let (_, tray) = desk.again(2, 100).unwrap();
    desk.fetched(tray);
    desk.lay_again(9, vec![all[1].clone(), all[2].clone(), all[4].clone()], None);
    assert_eq!(bodies(&mut desk), ["15"]);
}

#[test]
fn a_place_counts_on_until_something_before_it_is_taken_away() {
    let mut desk = desk(&[]);
    desk.shelf.pass(id(30).position);
    let all = [returned(10, 1, false), returned(11, 2, false), returned(12, 3, false)];
    desk.lay_again(7, all.into(), None);
    let (_, tray) = desk.again(2, 100).unwrap();
    desk.discard(&[id(12)]);
    desk.fetched(Tray { count: 9, ..tray });
    assert!(desk.is_clear());
    assert_eq!(step(&mut desk).returned.len(), 2);
}

#[test]
fn what_was_acknowledged_is_noted_in_that_order() {
    let mut desk = desk(&[(8, Some(1)), (20, Some(1)), (21, Some(9))]);
    assert!(desk.acknowledge(id(9).position).is_empty());
    desk.lay_again(7, vec![returned(10, 1, false), returned(11, 2, false)], None);
    let (_, tray) = desk.again(2, 100).unwrap();
    desk.fetched(tray);
    // It was handed out before the others were asked for.
    assert!(desk.acknowledge(id(22).position).is_empty());
    assert_eq!(desk.ordinals().collect::<Vec<_>>(), [8, 20, 21]);
    let [first, second] = desk.begin_noting().try_into().unwrap();
    assert_eq!(lsns(first.events.iter().map(|one| one.id)), [8]);
    assert_eq!(first.newer, [Newer::Key(1, id(8))]);
    assert_eq!(lsns(first.returned.iter().map(|(_, one)| one.id)), [10, 11]);
    assert_eq!(lsns(second.events.iter().map(|one| one.id)), [20, 21]);
    assert_eq!(second.newer, [Newer::Key(1, id(20))]);
    assert!(second.returned.is_empty());
}
