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

#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) key: u64,
    pub(super) before: Option<u64>,
    pub(super) truncate: bool,
    pub(super) nature: Nature,
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
    /// A person holds the route, or lets it go.
    Hold(bool),
    /// A person stops the sink, or lets it go on.
    Pause(bool),
    /// After some of what was to be stored was.
    Crash(prop::sample::Index),
}

pub(super) fn planned() -> impl Strategy<Value = Planned> {
    let nature = prop_oneof![
        8 => Just(Nature::Good), 1 => Just(Nature::Poison), 1 => Just(Nature::Bad)
    ];
    let before = prop_oneof![6 => Just(None), 1 => (0u64..6).prop_map(Some)];
    (0u64..6, before, prop::bool::weighted(0.03), nature)
        .prop_map(|(key, before, truncate, nature)| Planned { key, before, truncate, nature })
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
        1 => prop::bool::weighted(0.4).prop_map(Step::Hold),
        1 => prop::bool::weighted(0.4).prop_map(Step::Pause),
        1 => any::<prop::sample::Index>().prop_map(Step::Crash),
    ]
}

pub(super) fn settings() -> impl Strategy<Value = Settings> {
    (1u32..6, 1u32..5, 2u32..5, any::<bool>()).prop_map(|(concurrency, events, attempts, block)| {
        let mut settings = Settings { concurrency, ..Settings::default() };
        settings.batch.max_events = events;
        settings.retry.max_attempts = attempts;
        settings.on_dead = if block { OnDead::Block } else { OnDead::Continue };
        settings
    })
}
