//! What the far side, the stream, a person and the world may do.

use proptest::prelude::*;

use super::super::super::settings::OnDead;
use super::*;

/// What the far side does with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    Good,
    /// It never gets through, while others do.
    Poison,
    /// It is refused.
    Bad,
    /// Its mapping refuses it, until a person sends it again with a better one.
    Unmappable,
}

/// What the far side does with everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fair,
    Down,
    Busy,
    Locked,
    RefusesAll,
}

/// How many tables there are whose routes can be held.
pub(super) const TABLES: usize = 2;
/// The table of what only shows that the sink is up.
pub(super) const OTHER: usize = TABLES;

#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) table: usize,
    pub(super) key: u64,
    pub(super) before: Option<u64>,
    pub(super) truncate: bool,
    pub(super) nature: Nature,
}

impl Planned {
    pub(super) fn route(&self) -> String {
        format!("r{}", self.table)
    }

    /// A good one that has a key of its own.
    pub(super) fn good(key: u64) -> Self {
        let key = of_table(OTHER, key);
        Self { table: OTHER, key, before: None, truncate: false, nature: Nature::Good }
    }
}

fn of_table(table: usize, key: u64) -> u64 {
    TableTag::of((table as u64) << 48).mark(key)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Read(usize),
    Answer(prop::sample::Index),
    Commit,
    Save,
    Wait(u64),
    Weather(Weather),
    /// A person has a dead letter sent again.
    Replay(prop::sample::Index),
    /// A person discards what was set aside.
    Discard(prop::sample::Index),
    /// A person holds a table's route, or lets it go.
    Hold(usize, bool),
    /// Memory is full.
    Relieve,
    /// Every dead letter is sent again.
    ReplayAll,
    /// A person has a dead letter sent again, whatever came since.
    Force(prop::sample::Index),
    /// A person stops the sink, or lets it go on.
    Pause(bool),
    /// After some of what was to be stored was.
    Crash(prop::sample::Index),
}

pub(super) fn planned() -> impl Strategy<Value = Planned> {
    let nature = prop_oneof![
        12 => Just(Nature::Good), 2 => Just(Nature::Poison), 2 => Just(Nature::Bad),
        1 => Just(Nature::Unmappable)
    ];
    let before = prop_oneof![6 => Just(None), 1 => (0u64..5).prop_map(Some)];
    (0..TABLES, 0u64..5, before, prop::bool::weighted(0.05), nature).prop_map(
        |(table, key, before, truncate, nature)| {
            // As of the rows of a table without a key: of the table's own hash.
            let key = if truncate { 0 } else { key };
            let before = before.filter(|_| !truncate).map(|key| of_table(table, key));
            Planned { table, key: of_table(table, key), before, truncate, nature }
        },
    )
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1usize..8).prop_map(Step::Read),
        12 => any::<prop::sample::Index>().prop_map(Step::Answer),
        6 => Just(Step::Commit),
        3 => Just(Step::Save),
        4 => (1u64..40).prop_map(Step::Wait),
        2 => prop_oneof![
            4 => Just(Weather::Fair), 1 => Just(Weather::Down), 1 => Just(Weather::Busy),
            1 => Just(Weather::Locked), 1 => Just(Weather::RefusesAll)
        ].prop_map(Step::Weather),
        2 => any::<prop::sample::Index>().prop_map(Step::Replay),
        1 => any::<prop::sample::Index>().prop_map(Step::Discard),
        1 => (0..TABLES, prop::bool::weighted(0.4)).prop_map(|(t, hold)| Step::Hold(t, hold)),
        1 => Just(Step::Relieve),
        1 => Just(Step::ReplayAll),
        1 => any::<prop::sample::Index>().prop_map(Step::Force),
        1 => prop::bool::weighted(0.4).prop_map(Step::Pause),
        1 => any::<prop::sample::Index>().prop_map(Step::Crash),
    ]
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    let wait = prop_oneof![3 => Just(0u64), 1 => 1u64..20];
    let most = prop_oneof![3 => Just(10_000u64), 1 => 0u64..6];
    let rate = prop_oneof![4 => Just(None), 1 => (1u64..4, 1u64..4).prop_map(Some)];
    (1u32..6, 1u32..5, 2u32..5, any::<bool>(), wait, most, rate).prop_map(
        |(concurrency, events, attempts, block, wait, most, rate)| {
            let mut settings = Settings { concurrency, ..Settings::default() };
            settings.batch.max_events = events;
            settings.batch.max_wait = Duration::from_secs(wait);
            settings.max_dead = most;
            settings.rate_limit.events = rate.map(|(amount, seconds)| {
                super::super::super::settings::Rate { amount, per: Duration::from_secs(seconds) }
            });
            settings.retry.max_attempts = attempts;
            settings.on_dead = if block { OnDead::Block } else { OnDead::Continue };
            settings
        },
    )
}
