//! A search of every state that any order of steps leads to, shortest way first.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashSet, VecDeque};
use std::hash::{Hash, Hasher};

use super::Rules;
use super::world::{Step, World};

/// More states than this mean that the model has grown out of hand.
const STATES_MAX: usize = 6_000_000;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// Different states.
    pub(super) states: usize,
    /// How many of them are ends.
    pub(super) ends: usize,
    /// What is wrong, and the steps to there.
    pub(super) wrong: Option<(&'static str, Vec<Step>)>,
}

/// Looks at all of them, up to the first that is wrong.
pub(super) fn search(rules: &Rules) -> Found {
    let first = World::new(rules);
    let mut seen = HashSet::from([fingerprint(&first)]);
    // How each state was come to: from which, by what.
    let mut ways: Vec<(usize, Option<Step>)> = vec![(0, None)];
    let mut queue = VecDeque::from([(0, first)]);
    let mut ends = 0;
    while let Some((number, world)) = queue.pop_front() {
        let steps = world.steps(rules);
        let ended = !steps.iter().any(|step| step.is_bound());
        ends += usize::from(ended);
        if let Some(wrong) = world.wrong(rules, ended) {
            let path = path(&ways, number);
            return Found { states: seen.len(), ends, wrong: Some((wrong, path)) };
        }
        for step in steps {
            let mut next = world.clone();
            next.take(step, rules);
            if seen.insert(fingerprint(&next)) {
                ways.push((number, Some(step)));
                queue.push_back((ways.len() - 1, next));
            }
        }
        assert!(seen.len() < STATES_MAX, "{} states", seen.len());
    }
    Found { states: seen.len(), ends, wrong: None }
}

/// Two hashes: that two of some million states share both is not to be feared.
fn fingerprint(world: &World) -> (u64, u64) {
    let hash = |seed: u64| {
        let mut hasher = DefaultHasher::new();
        seed.hash(&mut hasher);
        world.hash(&mut hasher);
        hasher.finish()
    };
    (hash(0), hash(1))
}

fn path(ways: &[(usize, Option<Step>)], mut number: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    while let (from, Some(step)) = ways[number] {
        steps.push(step);
        number = from;
    }
    steps.reverse();
    steps
}
