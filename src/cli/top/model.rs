//! [`Model`]: everything that is drawn (pure).

use std::collections::{BTreeMap, VecDeque};

use crate::delivery::SinkState;
use crate::inspect::status::{SinkStatus, Status};
use crate::lsn::Timestamp;

/// So many looks are remembered of a sink's rate: three minutes at one a second.
const LOOKS_MAX: usize = 180;

/// What can be done to a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Pause,
    Resume,
}

impl Act {
    /// Returns the word of the command line.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What the keys are for at the moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// Looking on.
    #[default]
    Watch,
    /// The keys are explained.
    Help,
    /// It is asked whether this is to be done to that sink.
    Confirm(Act, String),
}

/// Everything that is drawn.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// How things were at the newest look; none: it was not had yet.
    pub(super) status: Option<Status>,
    /// When that was.
    pub(super) looked_at: Option<Timestamp>,
    /// Why there is no newer one.
    pub(super) problem: Option<String>,
    /// What came of what was asked for.
    pub(super) said: Option<String>,
    pub(super) mode: Mode,
    /// Whether there is colour.
    pub(super) colour: bool,
    /// The config's file, where it has to be said.
    pub(super) file: Option<String>,
    /// The selected sink, by name: it stays selected wherever it stands.
    selected: Option<String>,
    /// Events a second of each sink, oldest first.
    rates: BTreeMap<String, VecDeque<f64>>,
}

impl Model {
    pub(super) fn new(colour: bool, file: Option<String>) -> Self {
        Self { colour, file, ..Self::default() }
    }

    /// Takes what is seen.
    pub(super) fn look(&mut self, status: Status, at: Timestamp) {
        self.rates.retain(|name, _| status.sinks.iter().any(|sink| sink.name == *name));
        for sink in &status.sinks {
            let rates = self.rates.entry(sink.name.clone()).or_default();
            if rates.len() >= LOOKS_MAX {
                rates.pop_front();
            }
            rates.push_back(sink.events_per_second);
        }
        self.status = Some(status);
        self.looked_at = Some(at);
        self.problem = None;
    }

    pub(super) fn sinks(&self) -> &[SinkStatus] {
        self.status.as_ref().map_or(&[], |status| status.sinks.as_slice())
    }

    /// Returns where the selected sink stands: the first while none is selected, or it is gone.
    pub(super) fn index(&self) -> usize {
        let is_it = |sink: &SinkStatus| self.selected.as_ref() == Some(&sink.name);
        self.sinks().iter().position(is_it).unwrap_or(0)
    }

    /// Returns the selected sink; none where there is none.
    pub(super) fn selected(&self) -> Option<&SinkStatus> {
        self.sinks().get(self.index())
    }

    /// Returns the rates of a sink, oldest first.
    pub(super) fn rates(&self, sink: &str) -> Option<&VecDeque<f64>> {
        self.rates.get(sink)
    }

    /// Selects a sink that stands so far from the selected one, or the last on the way there.
    pub(super) fn go(&mut self, by: isize) {
        let last = self.sinks().len().saturating_sub(1);
        self.select(self.index().saturating_add_signed(by).min(last));
    }

    /// Selects the next sink that is not ok, from the top again behind the last.
    pub(super) fn go_to_trouble(&mut self) {
        let (index, sinks) = (self.index(), self.sinks());
        let after = (index + 1..sinks.len()).chain(0..index.min(sinks.len()));
        let in_trouble =
            |index: &usize| sinks.get(*index).is_some_and(|sink| sink.state != SinkState::Ok);
        if let Some(found) = after.into_iter().find(in_trouble) {
            self.select(found);
        }
    }

    fn select(&mut self, index: usize) {
        self.selected = self.sinks().get(index).map(|sink| sink.name.clone());
    }

    /// Returns the command that does the same.
    pub(super) fn twin(&self, act: Act, sink: &str) -> String {
        let file = self.file.as_ref().map(|file| format!(" -c {file}")).unwrap_or_default();
        format!("walgate sink {} {sink}{file}", act.as_str())
    }
}
