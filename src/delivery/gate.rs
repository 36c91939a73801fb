//! [`Gates`]: what one sink is told by a host, the others of that host hear as well.
//!
//! Knows no clock and decides nothing: how long a sink believes what it hears is its scheduler's
//! matter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;

/// The gates of all hosts, one a host: never more than there are sinks. Cloned freely.
#[derive(Clone, Debug, Default)]
pub struct Gates(Arc<Mutex<BTreeMap<String, watch::Sender<Told>>>>);

/// Until when a host wants to be left alone; none while it has not said so.
type Told = Option<Instant>;

/// One sink's place at the gate of its host.
#[derive(Debug)]
pub(super) struct Gate {
    host: watch::Sender<Told>,
    ears: watch::Receiver<Told>,
    heard: Told,
}

impl Gates {
    /// Returns a place at the gate of a host. A sink without a host stands at one of its own.
    pub(super) fn of(&self, host: Option<&str>) -> Gate {
        let host = match host {
            Some(host) => {
                // A panic elsewhere leaves a map that is whole.
                let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                gates.entry(host.to_owned()).or_default().clone()
            }
            None => watch::Sender::default(),
        };
        Gate { ears: host.subscribe(), host, heard: None }
    }
}

impl Gate {
    /// Tells the others that the host wants to be left alone until then. What it said before
    /// holds if that is longer.
    pub(super) fn tell(&self, until: Instant) {
        self.host.send_if_modified(|told| {
            let is_later = told.is_none_or(|told| told < until);
            if is_later {
                *told = Some(until);
            }
            is_later
        });
    }

    /// Returns until when the host wants to be left alone, if that was not asked for before.
    pub(super) fn hear(&mut self) -> Told {
        let told = *self.ears.borrow_and_update();
        if told == self.heard {
            return None;
        }
        self.heard = told;
        told
    }

    /// Waits until there is something to [`Gate::hear`].
    ///
    /// Cancel safety: safe; what was told stays to be heard.
    pub(super) async fn wakes(&mut self) {
        // It holds a sender itself, so that the channel never closes.
        let _ = self.ears.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn what_one_is_told_the_others_of_its_host_hear_once() {
        let gates = Gates::default();
        let mut of = ["a:1", "a:1", "a:2"].map(|host| gates.of(Some(host)));
        let mut alone = gates.of(None);
        let later = Instant::now() + Duration::from_secs(5);
        of[0].tell(later);
        of[1].wakes().await;
        assert_eq!(of.each_mut().map(Gate::hear), [Some(later), Some(later), None]);
        assert_eq!(of.each_mut().map(Gate::hear), [None, None, None]);
        of[1].tell(later - Duration::from_secs(1));
        assert_eq!(of[0].hear(), None);
        assert_eq!(alone.hear(), None);
        let late = gates.of(Some("a:1")).hear();
        assert_eq!(late, Some(later));
    }
}
