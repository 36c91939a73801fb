//! What the server's words mean for each event of a batch, and its errors for all of them.

use std::collections::HashSet;
use std::time::Duration;

use super::message::Writer;
use crate::chunk::Operation;
use crate::envelope::{Envelope, TableTag};
use crate::failure::Category;
use crate::sink::{Answer, Failure};

/// `312 NO_ROUTE`: why a message comes back.
const NO_ROUTE: u16 = 312;

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The server has it. Together with the word came a message that went to no queue, this one or
    /// another.
    Taken {
        /// Whether one came.
        carries_return: bool,
    },
    /// A queue refused it.
    Full,
    /// It can't be made a message of.
    Unfit(String),
    /// It was not sent, or nobody knows what became of it.
    Unsent,
}

/// What was heard of a batch.
#[derive(Debug, Default)]
pub(super) struct Heard {
    said: Vec<Said>,
    /// The ids of messages that went to no queue.
    pub(super) returned: HashSet<String>,
    /// Why nothing more was heard.
    broken: Option<Failure>,
}

impl Heard {
    /// Says what became of the next event.
    pub(super) fn say(&mut self, said: Said) {
        self.said.push(said);
    }

    /// Says what became of an event after all.
    pub(super) fn set(&mut self, place: usize, said: Said) {
        if let Some(slot) = self.said.get_mut(place) {
            *slot = said;
        }
    }

    pub(super) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The channel broke. Of several reasons the one that the server gave tells most.
    pub(super) fn broke(&mut self, failure: Failure) {
        if self.broken.as_ref().is_none_or(|known| known.status.is_none()) {
            self.broken = Some(failure);
        }
    }
}

/// The keys of which an event has failed: what follows them counts as failed too.
#[derive(Debug, Default)]
pub(super) struct Order {
    keys: HashSet<u64>,
    tables: HashSet<TableTag>,
}

impl Order {
    /// Whether an event of its key has failed before it.
    pub(super) fn is_behind(&self, event: &Envelope) -> bool {
        let tag = event.table_tag();
        let is_after_truncate = self.tables.contains(&tag);
        let is_truncate_after = || self.keys.iter().any(|key| TableTag::of(*key) == tag);
        match event.operation {
            Operation::Truncate => is_after_truncate || is_truncate_after(),
            _ => is_after_truncate || keys(event).any(|key| self.keys.contains(&key)),
        }
    }

    pub(super) fn failed(&mut self, event: &Envelope) {
        self.keys.extend(keys(event));
        if event.operation == Operation::Truncate {
            self.tables.insert(event.table_tag());
        }
    }
}

fn keys(event: &Envelope) -> impl Iterator<Item = u64> {
    [Some(event.key_hash), event.before_key_hash].into_iter().flatten()
}

/// Whom failures speak of.
pub(super) struct Words<'a> {
    pub(super) host: &'a str,
    pub(super) to: &'a Writer,
}

impl Words<'_> {
    /// No queue got it. Where all go the same way there is no queue for any of them.
    fn unroutable(&self) -> Failure {
        let (host, exchange) = (self.host, self.to.exchange.as_str());
        let (category, message) = match self.to.fixed_key() {
            Some(key) if exchange.is_empty() => {
                (Category::Setup, format!("{host} has no queue {key:?}"))
            }
            Some(key) => (
                Category::Setup,
                format!("{host} has no queue for {key:?} from exchange {exchange:?}"),
            ),
            None if exchange.is_empty() => {
                (Category::Rejected, format!("{host} has no queue of the event's routing key"))
            }
            None => (
                Category::Rejected,
                format!(
                    "{host} has no queue for the event's routing key from exchange {exchange:?}"
                ),
            ),
        };
        Failure { status: Some(NO_ROUTE), ..Failure::new(category, message) }
    }

    fn full(&self) -> Failure {
        let message =
            format!("{}: a queue refused it (nack): it is full, or can't store it", self.host);
        Failure::new(Category::Throttled, message)
    }
}

/// Makes the answer to a batch.
///
/// Errors that are no fault of the connection close the channel and say not which event is meant:
/// they are for all, and a refusal is searched for by halving.
pub(super) fn answer(events: &[Envelope], replay: u32, heard: Heard, words: &Words<'_>) -> Answer {
    let Heard { said, returned, broken } = heard;
    if let Some(failure) = &broken
        && matches!(failure.category, Category::Setup | Category::Rejected)
    {
        return Answer::Failed(failure.clone());
    }
    let (mut order, mut outcomes) = (Order::default(), Vec::with_capacity(events.len()));
    // Why the last event that was tried in vain was.
    let mut because: Option<Failure> = None;
    for (event, said) in events.iter().zip(said) {
        let is_returned = || returned.contains(&event.repeat_id(replay));
        let outcome = match said {
            _ if order.is_behind(event) => Err(behind(because.as_ref())),
            Said::Taken { .. } if is_returned() => Err(words.unroutable()),
            // What came back last was not heard of any more: this may be it.
            Said::Taken { carries_return: true } if broken.is_some() => {
                Err(unheard(broken.as_ref()))
            }
            Said::Taken { .. } => Ok(()),
            Said::Full => Err(words.full()),
            Said::Unfit(problem) => {
                Err(Failure::new(Category::Rejected, format!("{}: {problem}", words.host)))
            }
            Said::Unsent => Err(unheard(broken.as_ref())),
        };
        if let Err(failure) = &outcome {
            order.failed(event);
            because = Some(failure.clone());
        }
        outcomes.push(outcome);
    }
    if outcomes.iter().all(Result::is_ok) {
        Answer::Acknowledged
    } else {
        Answer::PerEvent(outcomes)
    }
}

/// It comes again behind what failed before it.
fn behind(because: Option<&Failure>) -> Failure {
    match because {
        Some(failure) if failure.category != Category::Rejected => failure.clone(),
        // Nothing is wrong with it or the sink: it goes at once, and no attempt is used up.
        _ => {
            let message = "sent again: an earlier event of its key was refused";
            let retry_after = Some(Duration::ZERO);
            Failure { retry_after, ..Failure::new(Category::Throttled, message) }
        }
    }
}

fn unheard(broken: Option<&Failure>) -> Failure {
    let unknown = || Failure::new(Category::Transient, "not confirmed");
    broken.cloned().unwrap_or_else(unknown)
}

/// Sorts an error of the server by its code.
///
/// Source: <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>.
pub(super) const fn category(code: u16) -> Category {
    match code {
        // CONTENT_TOO_LARGE and PRECONDITION_FAILED: the latter is what RabbitMQ says of a message
        // that is larger than its limit.
        311 | 406 => Category::Rejected,
        // INVALID_PATH, ACCESS_REFUSED, NOT_FOUND, NOT_ALLOWED (a virtual host that is not there
        // or closed to the user), NOT_IMPLEMENTED.
        402 | 403 | 404 | 530 | 540 => Category::Setup,
        _ => Category::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::amqp::Config;
    use crate::sink::amqp::tests::{config, envelope, writer};

    /// Codes of what became of each event: `.` done, `r` rejected, `s` setup, `t` transient,
    /// `T` throttled; or one for all.
    #[track_caller]
    fn check(keys: &[u64], heard: Heard, routing_key: &str, expected: &str) {
        let events: Vec<Envelope> =
            (0..).zip(keys).map(|(id, key)| Envelope { key_hash: *key, ..envelope(id) }).collect();
        let to = writer(&config(routing_key));
        let letter = |outcome: &Result<(), Failure>| match outcome {
            Ok(()) => '.',
            Err(failure) => match failure.category {
                Category::Rejected => 'r',
                Category::Setup => 's',
                Category::Throttled => 'T',
                Category::Transient | Category::Exhausted => 't',
            },
        };
        let found = match answer(&events, 0, heard, &Words { host: "h:1", to: &to }) {
            Answer::Acknowledged => "all".to_owned(),
            Answer::Failed(failure) => format!("none {}", letter(&Err(failure))),
            Answer::PerEvent(outcomes) => outcomes.iter().map(letter).collect(),
        };
        assert_eq!(found, expected);
    }

    const TAKEN: Said = Said::Taken { carries_return: false };
    const WITH_RETURN: Said = Said::Taken { carries_return: true };

    fn heard(said: &[Said], returned: &[u32], broken: Option<u16>) -> Heard {
        Heard {
            said: said.to_vec(),
            returned: returned.iter().map(|number| envelope(*number).repeat_id(0)).collect(),
            broken: broken.map(|code| Failure::new(category(code), "x")),
        }
    }

    #[test]
    fn what_all_queues_have_is_done() {
        check(&[1, 2], heard(&[TAKEN, TAKEN], &[], None), "k", "all");
    }

    #[test]
    fn a_message_that_came_back_is_not_done_whoever_brought_it() {
        // The return of the second came with the word on the first.
        let said = [WITH_RETURN, TAKEN, TAKEN];
        check(&[1, 2, 3], heard(&said, &[1], None), "{{ key.id }}", ".r.");
        check(&[1, 2, 3], heard(&said, &[1], None), "fixed", ".s.");
    }

    #[test]
    fn what_has_no_queue_is_told_with_what_the_config_says_alone() {
        #[track_caller]
        fn check(exchange: &str, routing_key: &str, expected: &str) {
            let to = writer(&Config { exchange: exchange.into(), ..config(routing_key) });
            let failure = Words { host: "h:1", to: &to }.unroutable();
            assert_eq!((failure.message.as_str(), failure.status), (expected, Some(NO_ROUTE)));
        }
        check("", "q", "h:1 has no queue \"q\"");
        check("x", "q", "h:1 has no queue for \"q\" from exchange \"x\"");
        check("", "{{ op }}", "h:1 has no queue of the event's routing key");
        let event = "h:1 has no queue for the event's routing key from exchange \"x\"";
        check("x", "{{ op }}", event);
    }

    #[test]
    fn a_full_queue_is_waited_for_and_later_events_of_the_key_too() {
        check(&[1, 2, 1], heard(&[Said::Full, TAKEN, TAKEN], &[], None), "k", "T.T");
    }

    #[test]
    fn what_follows_a_refused_event_comes_again_behind_it() {
        let unfit = Said::Unfit("x".into());
        check(&[1, 2, 1, 1], heard(&[unfit, TAKEN, Said::Unsent, TAKEN], &[], None), "k", "r.TT");
        check(&[1, 1, 2], heard(&[WITH_RETURN, TAKEN, TAKEN], &[0], None), "{{ op }}", "rT.");
    }

    #[test]
    fn a_broken_connection_leaves_what_was_confirmed() {
        let said = [TAKEN, Said::Unsent, Said::Unsent];
        check(&[1, 2, 1], heard(&said, &[], Some(320)), "k", ".tt");
        // The return that was its own may not have been heard of.
        let said = [WITH_RETURN, Said::Unsent, Said::Unsent];
        check(&[1, 2, 3], heard(&said, &[1], Some(320)), "{{ op }}", "ttt");
    }

    #[test]
    fn a_closed_channel_is_about_all_or_searched_in() {
        let said = [TAKEN, Said::Unsent];
        check(&[1, 2], heard(&said, &[], Some(404)), "k", "none s");
        check(&[1, 2], heard(&said, &[], Some(403)), "k", "none s");
        check(&[1, 2], heard(&said, &[], Some(406)), "k", "none r");
    }

    #[test]
    fn the_reason_that_the_server_gave_is_kept() {
        let (mut heard, told) = (Heard::default(), Failure::new(Category::Setup, "404"));
        heard.broke(Failure::new(Category::Transient, "closed"));
        heard.broke(Failure { status: Some(404), ..told.clone() });
        heard.broke(Failure::new(Category::Transient, "closed"));
        assert_eq!(heard.broken.unwrap().message, told.message);
    }

    #[test]
    fn a_truncate_is_in_order_with_its_table() {
        let (table, other) = (1 << 48, 2 << 48);
        let event = |key_hash, operation| Envelope { key_hash, operation, ..envelope(1) };
        let (row, truncate) = (Operation::Insert, Operation::Truncate);
        let mut order = Order::default();
        order.failed(&event(table | 1, row));
        assert!(
            order.is_behind(&event(table | 1, row)) && !order.is_behind(&event(table | 2, row))
        );
        assert!(
            order.is_behind(&event(table, truncate)) && !order.is_behind(&event(other, truncate))
        );
        order.failed(&event(table, truncate));
        assert!(
            order.is_behind(&event(table | 2, row)) && !order.is_behind(&event(other | 2, row))
        );
        let moved = Envelope { before_key_hash: Some(table | 1), ..event(other | 3, row) };
        assert!(order.is_behind(&moved));
    }

    #[test]
    fn errors_of_the_server_are_sorted() {
        for (codes, expected) in [
            (vec![311, 406], Category::Rejected),
            (vec![402, 403, 404, 530, 540], Category::Setup),
            (vec![312, 313, 320, 405, 501, 504, 505, 506, 541, 599], Category::Transient),
        ] {
            for code in codes {
                assert_eq!(category(code), expected, "{code}");
            }
        }
    }
}
