//! What a person does to events that are under way, or that the stream brings again.

use super::*;

impl Bench {
    /// Event 0 is set aside and due, 1 waits behind it; 2 and 3 are done.
    fn fails_first(&mut self) {
        self.push(&[1, 1, 2]);
        let sent: Vec<Dispatch> = std::iter::from_fn(|| self.next()).collect();
        for dispatch in &sent {
            let is_first = ordinals(dispatch) == [0];
            let answer = if is_first { failed(Category::Transient) } else { Answer::Acknowledged };
            self.answer(dispatch, answer);
        }
        self.warm();
        self.wake();
        self.fails(&[0]);
        self.push(&[4]);
        self.warm();
        self.ok(&[3]);
        assert_eq!(self.stored(), [(0, RETRYING), (1, BLOCKED)]);
        self.wake();
    }

    fn discard(&mut self, ordinal: u64) {
        self.scheduler.discarded(id(ordinal), self.now, &mut self.effects);
    }

    fn replay(&mut self, ordinal: u64, key: u64) {
        let stored = letter(ordinal, key, LetterState::Replaying);
        self.scheduler.replay(&stored, self.now, &mut self.effects);
    }
}

#[test]
fn what_is_behind_a_discarded_event_waits_until_that_has_landed() {
    let answers = [
        Answer::Acknowledged,
        failed(Category::Transient),
        failed(Category::Rejected),
        failed(Category::Throttled),
    ];
    for answer in answers {
        let mut bench = Bench::new(|s| s.concurrency = 4);
        bench.fails_first();
        let under_way = bench.next().expect("it is due");
        assert_eq!(ordinals(&under_way), [0]);
        bench.discard(0);
        assert_eq!(bench.scheduler.parked_counts(), (0, 1));
        bench.waits();
        bench.effects.clear();
        bench.answer(&under_way, answer);
        assert_eq!(bench.stored(), [], "nobody wants it any more");
        assert_eq!(bench.scheduler.dead_letters(), 0);
        bench.pass(seconds(3600));
        bench.ok(&[1]);
    }
}

#[test]
fn a_discarded_event_that_is_found_gone_lets_the_next_go() {
    let mut bench = Bench::new(|s| s.concurrency = 4);
    bench.fails_first();
    let under_way = bench.next().expect("it is due");
    bench.discard(0);
    bench.scheduler.withdraw(under_way.id, bench.now, &mut bench.effects);
    // As the runner does, which knows no row of it.
    bench.scheduler.resolved(id(0), bench.now, &mut bench.effects);
    bench.ok(&[1]);
}

#[test]
fn what_a_person_discarded_is_not_sent_when_the_stream_brings_it_again() {
    for state in [RETRYING, DEAD] {
        let mut bench = Bench::new(|_| {});
        bench.scheduler.restore(&letter(0, 1, state), Position::ZERO);
        bench.discard(0);
        bench.push(&[1]);
        assert!(matches!(bench.effects[..], [Effect::Safe { ordinal: 0 }]));
    }
    let mut bench = Bench::new(|s| s.on_dead = OnDead::Block);
    let discarded = Stored { is_discarded: true, ..letter(0, 1, DEAD) };
    bench.scheduler.restore(&discarded, Position::ZERO);
    bench.push(&[1, 1]);
    assert!(matches!(bench.effects[..], [Effect::Safe { ordinal: 0 }]));
    bench.ok(&[1]);
}

#[test]
fn what_a_person_discarded_does_not_come_back_when_the_set_up_seems_wrong() {
    let mut bench = Bench::new(|_| {});
    bench.scheduler.rejections_max = 2;
    bench.push(&[1, 2]);
    bench.refused(&[0]);
    bench.discard(0);
    bench.refused(&[1]);
    let reopened = bench.effects.iter().find_map(|effect| match effect {
        Effect::Reopen { events } => Some(events.iter().map(|event| event.id).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(reopened, Some(vec![id(1)]));
}

#[test]
fn with_block_what_is_behind_a_discarded_unmappable_event_waits_for_what_is_before_it() {
    let mut bench = Bench::new(|s| s.on_dead = OnDead::Block);
    bench.push(&[1]);
    let under_way = bench.next().expect("a request");
    let unmappable = bench.event(1, None, Operation::Update);
    bench.scheduler.refuse(unmappable, failure(Category::Rejected), bench.now, &mut bench.effects);
    bench.push(&[1]);
    assert_eq!(bench.stored(), [(1, DEAD), (2, BLOCKED)]);
    bench.discard(1);
    bench.waits();
    bench.answer(&under_way, Answer::Acknowledged);
    bench.ok(&[2]);
}

#[test]
fn with_block_an_unmappable_event_that_is_sent_again_waits_for_what_is_under_way() {
    let mut bench = Bench::new(|s| (s.on_dead, s.concurrency) = (OnDead::Block, 4));
    bench.push(&[1]);
    let under_way = bench.next().expect("a request");
    let unmappable = bench.event(2, Some(1), Operation::Update);
    bench.scheduler.refuse(unmappable, failure(Category::Rejected), bench.now, &mut bench.effects);
    bench.scheduler.passed(Position::new(Lsn(9), 0), bench.now);
    assert_eq!(bench.stored(), [(1, DEAD)]);
    bench.replay(1, 2);
    bench.waits();
    bench.answer(&under_way, Answer::Acknowledged);
    bench.ok(&[1]);
}

#[test]
fn a_letter_that_is_sent_again_waits_for_what_the_stream_brings_again_before_it() {
    for restored in [false, true] {
        let mut bench = Bench::new(|_| {});
        if restored {
            bench.scheduler.restore(&letter(1, 1, LetterState::Replaying), Position::ZERO);
        }
        bench.replay(1, 1);
        bench.waits();
        bench.push(&[1]);
        assert_eq!(bench.stored(), [(0, BLOCKED)]);
        bench.ok(&[0]);
        bench.stored();
        bench.push(&[1]);
        assert!(matches!(bench.effects[..], [Effect::Safe { ordinal: 1 }]));
        bench.waits();
        bench.scheduler.passed(Position::new(Lsn(3), 0), bench.now);
        bench.ok(&[1]);
    }
}

#[test]
fn with_block_a_dead_one_of_an_earlier_run_waits_once_for_the_stream() {
    let mut bench = Bench::new(|s| s.on_dead = OnDead::Block);
    bench.scheduler.restore(&letter(0, 1, DEAD), Position::ZERO);
    bench.replay(0, 1);
    bench.scheduler.passed(Position::new(Lsn(9), 0), bench.now);
    bench.ok(&[0]);
}

#[test]
fn a_letter_waits_for_a_truncate_that_is_under_way_and_goes_first_if_that_fails() {
    for accepted in [true, false] {
        let mut bench = Bench::new(|s| s.concurrency = 4);
        bench.push(&[1]);
        bench.refused(&[0]);
        assert_eq!(bench.stored(), [(0, DEAD)]);
        bench.push_truncate();
        bench.scheduler.passed(Position::new(Lsn(9), 0), bench.now);
        let truncate = bench.next().expect("a request");
        bench.replay(0, 1);
        bench.waits();
        if accepted {
            bench.answer(&truncate, Answer::Acknowledged);
            let again = bench.next().expect("it is looked at");
            assert_eq!(again.id.stored(), Some(id(0)));
            assert!(bench.scheduler.is_overtaken(id(0)));
            continue;
        }
        bench.answer(&truncate, failed(Category::Transient));
        assert_eq!(bench.stored(), [(1, BLOCKED)]);
        assert!(!bench.scheduler.is_overtaken(id(0)));
        bench.ok(&[0]);
        bench.stored();
        bench.ok(&[1]);
    }
}

#[test]
fn a_letter_waits_for_a_truncate_that_is_tried_again_too() {
    for accepted in [true, false] {
        let mut bench = Bench::new(|_| {});
        bench.scheduler.restore(
            &Stored { is_truncate: true, ..letter(1, 0, RETRYING) },
            Position::new(Lsn(9), 0),
        );
        bench.scheduler.passed(Position::new(Lsn(9), 0), bench.now);
        let truncate = bench.next().expect("it is due");
        bench.replay(0, 1);
        bench.waits();
        if accepted {
            bench.answer(&truncate, Answer::Acknowledged);
            bench.stored();
            bench.next().expect("it is looked at");
            assert!(bench.scheduler.is_overtaken(id(0)));
            continue;
        }
        bench.answer(&truncate, failed(Category::Transient));
        assert!(!bench.scheduler.is_overtaken(id(0)));
        bench.ok(&[0]);
    }
}

#[test]
fn a_discarded_letter_that_is_older_than_what_the_sink_has_counts_no_more() {
    let mut bench = Bench::new(|_| {});
    bench.push(&[1]);
    bench.refused(&[0]);
    bench.scheduler.passed(Position::new(Lsn(9), 0), bench.now);
    bench.replay(0, 1);
    let under_way = bench.next().expect("it is due");
    bench.discard(0);
    bench.effects.clear();
    bench.scheduler.stays_dead(under_way.id, bench.now, &mut bench.effects);
    assert!(bench.effects.is_empty(), "{:?}", bench.effects);
    assert_eq!(bench.scheduler.dead_letters(), 0);
}
