use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A change as a table made it: `a` and `big` are its columns.
#[derive(Clone, Debug)]
struct Event {
    at: u64,
    act: Act,
    key: u8,
    old: Option<u8>,
    route: u32,
    a: Option<u64>,
    /// None: not sent.
    big: Option<u64>,
    whole: bool,
    refused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Write,
    Delete,
    Truncate,
}

impl Event {
    fn of(at: u64, act: Act, key: u8) -> Self {
        let whole = true;
        let (old, route, a, big, refused) = (None, 0, Some(at), Some(at), false);
        Self { at, act, key, old, route, a, big, whole, refused }
    }

    fn unsent(self) -> Self {
        Self { big: None, whole: false, ..self }
    }

    fn from(self, old: u8) -> Self {
        Self { old: Some(old), ..self }
    }

    fn by(self, route: u32) -> Self {
        Self { route, ..self }
    }

    fn refused(self) -> Self {
        Self { refused: true, ..self }
    }
}

fn write(at: u64, key: u8) -> Event {
    Event::of(at, Act::Write, key)
}

fn delete(at: u64, key: u8) -> Event {
    Event::of(at, Act::Delete, key)
}

/// What is sent of a stretch, where keys share a hash by `hashes`.
fn sent(events: &[Event], hashes: u64, keys_max: usize) -> Vec<Event> {
    let mut compaction = Compaction::new(keys_max);
    let with = |event: &Event, use_it: &mut dyn FnMut(&Change<'_>)| {
        let (key, old) = ([event.key], event.old.map(|old| [old]));
        let of = |bytes: &[u8]| u64::from(bytes[0]) % hashes;
        use_it(&Change {
            position: Position::new(Lsn(event.at), 0),
            route: event.route,
            key: (event.act != Act::Truncate).then_some(Key { hash: of(&key), bytes: Some(&key) }),
            old: old.as_ref().map(|old| Key { hash: of(old), bytes: Some(old) }),
            whole: event.whole,
            refused: event.refused,
        });
    };
    for event in events {
        with(event, &mut |change| compaction.note(change));
    }
    let mut sent = Vec::new();
    for event in events {
        with(event, &mut |change| {
            if !compaction.is_superseded(change) {
                sent.push(event.clone());
            }
        });
    }
    sent
}

#[track_caller]
fn check(events: &[Event], expected: &[u64]) {
    let sent: Vec<u64> = sent(events, 256, 100).iter().map(|event| event.at).collect();
    assert_eq!(sent, expected);
}

/// A row of the far side: columns that it was never told are none.
type Row = (Option<u64>, Option<u64>);

/// The far side: applies what it is sent.
fn apply(rows: &mut BTreeMap<u8, Row>, event: &Event) {
    if event.refused {
        return;
    }
    let base = match event.old {
        Some(old) => rows.remove(&old),
        None => rows.get(&event.key).copied(),
    };
    match event.act {
        Act::Truncate => rows.clear(),
        Act::Delete => drop(rows.remove(&event.key)),
        Act::Write => {
            let (a, big) = base.unwrap_or_default();
            rows.insert(event.key, (event.a.or(a), event.big.or(big)));
        }
    }
}

#[test]
fn the_last_whole_change_of_a_key_is_sent_and_what_follows_it() {
    check(&[write(1, 7), write(2, 7), write(3, 8), write(4, 7)], &[3, 4]);
    check(&[write(1, 7), write(2, 7), write(3, 7).unsent(), write(4, 7).unsent()], &[2, 3, 4]);
    check(&[write(1, 7).unsent(), write(2, 7)], &[2]);
}

#[test]
fn a_row_that_came_and_went_is_sent_as_gone() {
    check(&[write(1, 7), write(2, 7), delete(3, 7)], &[3]);
    check(&[delete(1, 7), write(2, 7)], &[2]);
}

#[test]
fn a_truncate_is_sent_wherever_it_stands() {
    let truncate = |at| Event::of(at, Act::Truncate, 0);
    check(&[write(1, 7), truncate(2), write(3, 7), truncate(4)], &[2, 3, 4]);
}

#[test]
fn a_row_that_changed_its_key_is_sent_and_makes_what_was_there_needless() {
    check(&[write(1, 7), write(2, 8), write(3, 8).from(7), write(4, 8), write(5, 8)], &[3, 5]);
    check(&[write(1, 7), write(2, 8).from(7), write(3, 7), write(4, 7)], &[2, 4]);
}

#[test]
fn what_a_row_took_to_its_new_key_is_sent_before_it() {
    let moved = || vec![write(1, 7), write(2, 8).from(7).unsent()];
    check(&moved(), &[1, 2]);
    // The row that comes after it must not take away what it was made of.
    check(&[moved(), vec![write(3, 7), write(4, 8)]].concat(), &[1, 2, 3, 4]);
}

#[test]
fn routes_write_different_fields() {
    check(&[write(1, 7), write(2, 7).by(1), write(3, 7).by(1)], &[1, 2, 3]);
    check(&[write(1, 7).by(1), write(2, 7).by(1), write(3, 8)], &[2, 3]);
}

#[test]
fn a_refused_change_supersedes_nothing_and_may_be_superseded() {
    check(&[write(1, 7), write(2, 7).refused()], &[1, 2]);
    check(&[write(1, 7).refused(), write(2, 7)], &[2]);
    check(&[write(1, 7), write(2, 8).from(7).refused(), write(3, 7)], &[1, 2, 3]);
}

#[test]
fn keys_of_one_hash_lose_nothing_to_each_other() {
    let events = [write(1, 7), write(2, 9), write(3, 7), write(4, 9), write(5, 7)];
    let sent: Vec<u64> = sent(&events, 1, 100).iter().map(|event| event.at).collect();
    assert_eq!(sent, [2, 4, 5], "the first key has the place, the other is sent whole");
}

#[test]
fn no_more_keys_are_held_than_may_be() {
    let events: Vec<Event> = (0..20).map(|at| write(at, u8::try_from(at % 10).unwrap())).collect();
    let mut compaction = Compaction::new(4);
    assert_eq!(sent(&events, 256, 4).len(), 16);
    for at in 0..10_u8 {
        let bytes = [at];
        let key = Some(Key { hash: u64::from(at), bytes: Some(&bytes) });
        let position = Position::new(Lsn(u64::from(at)), 0);
        let (route, old, whole, refused) = (0, None, true, false);
        compaction.note(&Change { position, route, key, old, whole, refused });
        assert_eq!(compaction.is_full(), at >= 3);
    }
    assert_eq!(compaction.places.len(), 4);
}

#[test]
fn a_place_is_as_small_as_is_said() {
    assert_eq!(size_of::<(u64, Place)>(), 32);
}

/// What is tried on the table: a kind, two keys, and what of it.
type Try = (u8, u8, u8, bool, u8);

/// Makes the changes of a table on which this was tried.
fn changes(tries: &[Try], table: &mut BTreeMap<u8, Row>, routes: bool) -> Vec<Event> {
    let mut events = Vec::new();
    for ((kind, key, other, toast, luck), at) in tries.iter().copied().zip(1_u64..) {
        let there = table.contains_key(&key);
        let toasted = |event: Event| if toast { event.unsent() } else { event };
        let event = match kind {
            0..=2 if !there => write(at, key),
            0..=4 if there => toasted(write(at, key)).by(u32::from(routes)),
            5 | 6 if there && key != other && !table.contains_key(&other) => {
                toasted(write(at, other).from(key)).by(u32::from(routes))
            }
            7 if there => delete(at, key),
            8 if luck == 0 => Event::of(at, Act::Truncate, 0),
            _ => continue,
        };
        // The second route knows nothing of the large column.
        let event =
            if event.route == 1 { Event { big: None, whole: true, ..event } } else { event };
        let event = Event { refused: luck == 1 && event.act == Act::Write, ..event };
        apply(table, &Event { refused: false, ..event.clone() });
        events.push(event);
    }
    events
}

fn tries() -> impl Strategy<Value = Vec<Try>> {
    let one = (0_u8..9, 0_u8..5, 0_u8..5, any::<bool>(), 0_u8..12);
    prop::collection::vec(one, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_far_side_ends_alike_with_and_without(
        before in tries(), tries in tries(), routes in any::<bool>(), hashes in 1_u64..8,
        keys_max in 1_usize..8, cut in 1_usize..60,
    ) {
        let (mut table, mut whole) = (BTreeMap::new(), BTreeMap::new());
        changes(&before, &mut table, false).iter().for_each(|event| apply(&mut whole, event));
        let mut compacted = whole.clone();
        let events = changes(&tries, &mut table, routes);
        for stretch in events.chunks(cut) {
            let sent = sent(stretch, hashes, keys_max);
            stretch.iter().for_each(|event| apply(&mut whole, event));
            sent.iter().for_each(|event| apply(&mut compacted, event));
            prop_assert_eq!(&whole, &compacted);
            prop_assert!(sent.windows(2).all(|pair| pair[0].at < pair[1].at));
            let always = |event: &&Event| event.act == Act::Truncate || event.old.is_some();
            prop_assert_eq!(stretch.iter().filter(always).count(), sent.iter().filter(always).count());
        }
    }

    #[test]
    fn of_whole_changes_one_a_key_is_sent(tries in tries()) {
        let mut table = BTreeMap::new();
        let mut events = changes(&tries, &mut table, false);
        events.retain(|event| event.whole && event.old.is_none() && event.act != Act::Truncate && !event.refused);
        let keys: std::collections::BTreeSet<u8> = events.iter().map(|event| event.key).collect();
        prop_assert_eq!(sent(&events, 256, 100).len(), keys.len());
    }
}
