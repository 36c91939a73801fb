//! [`Notice`]: what a destination is told, as JSON or as a text for Slack (pure).

use serde_json::{Value, json};

use super::rule::Subject;
use crate::lsn::Timestamp;

/// So many of the notices that are folded into one are named.
const NAMED_MAX: usize = 50;

/// Which walgate tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instance {
    /// The database that it reads.
    pub database: String,
    /// Its slot.
    pub slot: String,
}

/// Whether it is so or over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It is so.
    Firing,
    /// It is over.
    Resolved,
}

impl Status {
    /// Returns the word of the notice and of the state.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One notice of one incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The incident's number.
    pub incident: i64,
    /// The how-manieth notice of it this is, from 1.
    pub number: u32,
    /// The alert's name.
    pub name: String,
    /// What it is about (`when`).
    pub when: String,
    /// Whether it is so or over.
    pub status: Status,
    /// Of what.
    pub subject: Subject,
    /// In words, with value and threshold.
    pub message: String,
    /// Since when it is, or was, so.
    pub since: Timestamp,
    /// Since when it is over.
    pub ended: Option<Timestamp>,
    /// What a person does next.
    pub next: String,
}

impl Notice {
    /// Returns the document that is sent.
    #[must_use]
    pub fn json(&self, instance: &Instance) -> Value {
        json!({
            "name": self.name,
            "when": self.when,
            "status": self.status.as_str(),
            "subject": self.subject(instance),
            "message": self.message,
            "since": self.since.to_string(),
            "ended": self.ended.map(|ended| ended.to_string()),
            "next": (self.status == Status::Firing).then_some(&self.next),
            "incident": self.incident,
            "number": self.number,
            "instance": of(instance),
        })
    }

    /// Returns the text that Slack is sent.
    #[must_use]
    pub fn slack(&self, instance: &Instance) -> Value {
        let (sign, since) = match (self.status, self.ended) {
            (Status::Firing, _) => (":red_circle:", format!("since {}", self.since)),
            (Status::Resolved, Some(ended)) => {
                (":large_green_circle:", format!("from {} to {ended}", self.since))
            }
            (Status::Resolved, None) => (":large_green_circle:", format!("since {}", self.since)),
        };
        let (name, status) = (escaped(&self.name), self.status.as_str());
        let mut text = format!("{sign} *{name}* {status}: {}\n", escaped(&self.message));
        if self.status == Status::Firing {
            text.push_str(&format!("Next: {}\n", escaped(&self.next)));
        }
        let Instance { database, slot } = instance;
        text.push_str(&format!("walgate {}/{}, {since}", escaped(database), escaped(slot)));
        json!({ "text": text })
    }

    fn subject(&self, instance: &Instance) -> Value {
        let name = match &self.subject {
            Subject::Source => &instance.slot,
            Subject::Sink(name) => name,
        };
        json!({ "kind": self.subject.kind(), "name": name })
    }
}

/// Returns what is sent in place of many notices: how many, and the first of them by name.
/// `lost`: so many more were given up, as they could not be sent for too long.
#[must_use]
pub fn folded(notices: &[Notice], lost: u64, instance: &Instance, slack: bool) -> Value {
    let of_status = |status| notices.iter().filter(|notice| notice.status == status).count();
    let (firing, resolved) = (of_status(Status::Firing), of_status(Status::Resolved));
    let mut message = format!("{firing} notices of what is so and {resolved} of what is over");
    if lost > 0 {
        message.push_str(&format!("; {lost} more were given up"));
    }
    let named = notices.iter().take(NAMED_MAX);
    if slack {
        let lines: Vec<String> = named
            .map(|n| {
                format!("• *{}* {}: {}", escaped(&n.name), n.status.as_str(), escaped(&n.message))
            })
            .collect();
        let Instance { database, slot } = instance;
        let text = format!(
            ":warning: {message}\n{}\nwalgate {}/{}: `walgate status`",
            lines.join("\n"),
            escaped(database),
            escaped(slot)
        );
        return json!({ "text": text });
    }
    let notices: Vec<Value> = named.map(|notice| notice.json(instance)).collect();
    json!({
        "status": "folded",
        "message": message,
        "notices": notices,
        "next": "`walgate status` says what is firing",
        "instance": of(instance),
    })
}

fn of(instance: &Instance) -> Value {
    json!({ "database": instance.database, "slot": instance.slot })
}

/// Source: <https://api.slack.com/reference/surfaces/formatting#escaping>.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
