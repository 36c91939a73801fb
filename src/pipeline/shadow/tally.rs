//! [`Figures`]: how often two versions of a mapping differ, and in what (pure).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::chunk::Operation;
use crate::lsn::EventId;
use crate::mapping::Json;

/// So many fields are counted by name.
const FIELDS_MAX: usize = 256;
/// So many samples are kept …
const SAMPLES_MAX: usize = 20;
/// … and so many that show the same field.
const SAMPLES_FIELD_MAX: u64 = 3;
/// A sample shows so many fields.
const SAMPLE_FIELDS_MAX: usize = 20;
/// Of each value, and of each name, so many characters.
const VALUE_CHARS_MAX: usize = 200;

/// How the two versions compare so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Events that both versions had, each once however many sinks it goes to.
    pub compared: u64,
    /// Those that the next version would send otherwise, or not at all, or the only one to send.
    pub differ: u64,
    /// In how many of them each field differs; at most 256 fields, the others under `…`.
    pub fields: BTreeMap<String, u64>,
    /// Events that would be dead letters.
    pub rejected: Sides,
    /// Events that would be dropped by a rule.
    pub skipped: Sides,
    /// How often changes came too fast and some were not compared.
    pub gaps: u64,
    /// Examples, a few for each field.
    pub samples: Vec<Sample>,
}

/// A count for each of the two versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sides {
    /// By the version that delivers.
    pub present: u64,
    /// By the one beside it.
    pub next: u64,
}

/// An event in which they differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its id.
    pub event: String,
    /// What was done.
    pub op: String,
    /// The table; none for a logical message.
    pub table: Option<String>,
    /// What becomes of it where not both send it: `sent`, `rejected: …`, `skipped: …`.
    pub present: Option<String>,
    /// See `present`.
    pub next: Option<String>,
    /// The fields that differ, without those that are masked.
    pub fields: Vec<SampleField>,
}

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleField {
    /// Its name; a dot leads into an object.
    pub field: String,
    /// JSON of its value now, cut off where it is long; none: it is not there.
    pub present: Option<String>,
    /// JSON of its value by the next version.
    pub next: Option<String>,
}

/// What becomes of an event by one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The mapping's output.
    Sent(Vec<u8>),
    /// Why. Never says a value.
    Rejected(String),
    /// Why.
    Skipped(String),
}

/// What becomes of an event at one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fates {
    /// By the version that delivers.
    pub(super) present: Fate,
    /// By the one beside it.
    pub(super) next: Fate,
}

/// Which event it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) event: EventId,
    pub(super) operation: Operation,
    pub(super) table: Option<String>,
}

impl Figures {
    /// Counts one event, however many sinks it goes to: it is rejected, skipped or differs where
    /// it is or does at one of them. Of the fields that are `hidden` no value is kept.
    pub(super) fn add(&mut self, seen: &Seen, sinks: &[Fates], hidden: &BTreeSet<String>) {
        let any = |is: fn(&Fates) -> bool| u64::from(sinks.iter().any(is));
        self.compared += 1;
        self.rejected.present += any(|fates| matches!(fates.present, Fate::Rejected(_)));
        self.rejected.next += any(|fates| matches!(fates.next, Fate::Rejected(_)));
        self.skipped.present += any(|fates| matches!(fates.present, Fate::Skipped(_)));
        self.skipped.next += any(|fates| matches!(fates.next, Fate::Skipped(_)));
        let mut differ = false;
        let mut names = BTreeSet::new();
        let mut samples: Vec<Sample> = Vec::new();
        for Fates { present, next } in sinks {
            if present == next {
                continue;
            }
            let (Fate::Sent(was), Fate::Sent(now)) = (present, next) else {
                differ = true;
                if self.has_few_fates() {
                    samples.push(sample(seen, Some((said(present), said(next))), Vec::new()));
                }
                continue;
            };
            let fields = differing(was, now);
            differ |= !fields.is_empty();
            let is_rare = fields.iter().any(|field| self.is_rare(&field.field));
            names.extend(fields.iter().map(|field| field.field.clone()));
            if is_rare {
                samples.push(sample(seen, None, shown(fields, hidden)));
            }
        }
        self.differ += u64::from(differ);
        names.iter().for_each(|name| self.count(name));
        samples.dedup();
        samples.into_iter().for_each(|sample| self.keep(sample));
    }

    fn has_few_fates(&self) -> bool {
        let fates = self.samples.iter().filter(|sample| sample.present.is_some()).count();
        u64::try_from(fates).is_ok_and(|fates| fates < SAMPLES_FIELD_MAX)
    }

    fn is_rare(&self, field: &str) -> bool {
        self.fields.get(&cut(field)).is_none_or(|count| *count < SAMPLES_FIELD_MAX)
    }

    fn count(&mut self, field: &str) {
        let field = &cut(field);
        let is_known = self.fields.contains_key(field) || self.fields.len() < FIELDS_MAX;
        let name = if is_known { field } else { "…" };
        *self.fields.entry(name.to_owned()).or_default() += 1;
    }

    fn keep(&mut self, sample: Sample) {
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(sample);
        }
    }
}

/// What is kept of fields that differ.
fn shown(fields: Vec<SampleField>, hidden: &BTreeSet<String>) -> Vec<SampleField> {
    let is_hidden = |field: &str| {
        hidden.iter().any(|hidden| {
            field
                .strip_prefix(hidden.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    };
    let shown = fields.into_iter().filter(|field| !is_hidden(&field.field));
    let shown = shown.take(SAMPLE_FIELDS_MAX).map(|field| SampleField {
        field: cut(&field.field),
        present: field.present.as_deref().map(cut),
        next: field.next.as_deref().map(cut),
    });
    shown.collect()
}

fn sample(seen: &Seen, fates: Option<(String, String)>, fields: Vec<SampleField>) -> Sample {
    let (present, next) = fates.unzip();
    Sample {
        event: seen.event.to_string(),
        op: seen.operation.as_str().to_owned(),
        table: seen.table.clone(),
        present,
        next,
        fields,
    }
}

fn said(fate: &Fate) -> String {
    match fate {
        Fate::Sent(_) => "sent".to_owned(),
        Fate::Rejected(why) => format!("rejected: {why}"),
        Fate::Skipped(why) => format!("skipped: {why}"),
    }
}

/// Returns the fields of two outputs that are not the same to the letter.
fn differing(was: &[u8], now: &[u8]) -> Vec<SampleField> {
    let (was, now) =
        (Json::read(&String::from_utf8_lossy(was)), Json::read(&String::from_utf8_lossy(now)));
    let texts = |json: &Json| -> BTreeMap<String, String> {
        json.leaves().into_iter().map(|(name, value)| (name, value.to_string())).collect()
    };
    let (was, now) = (texts(&was), texts(&now));
    let names: BTreeSet<&String> = was.keys().chain(now.keys()).collect();
    let differ = names.into_iter().filter(|name| was.get(*name) != now.get(*name));
    let field = |name: &String| SampleField {
        field: name.clone(),
        present: was.get(name).cloned(),
        next: now.get(name).cloned(),
    };
    differ.map(field).collect()
}

fn cut(value: &str) -> String {
    match value.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}…", value.get(..at).unwrap_or_default()),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lsn::{Lsn, Position};

    fn seen() -> Seen {
        let event = EventId { timeline: 1, position: Position::new(Lsn(16), 2) };
        Seen { event, operation: Operation::Insert, table: Some("public.t".into()) }
    }

    fn sent(body: &str) -> Fate {
        Fate::Sent(body.as_bytes().to_vec())
    }

    fn fates(present: Fate, next: Fate) -> Fates {
        Fates { present, next }
    }

    fn add(figures: &mut Figures, was: &str, now: &str, hidden: &[&str]) {
        let hidden = hidden.iter().map(|field| (*field).to_owned()).collect();
        figures.add(&seen(), &[fates(sent(was), sent(now))], &hidden);
    }

    #[test]
    fn each_field_that_differs_is_counted_and_shown() {
        let mut figures = Figures::default();
        add(&mut figures, r#"{"a":1,"b":{"c":"x"}}"#, r#"{"a":1,"b":{"c":"x"}}"#, &[]);
        add(&mut figures, r#"{"a":1,"b":{"c":"x"}}"#, r#"{"a":"1","b":{"c":"x","d":null}}"#, &[]);
        // Another order alone is none.
        add(&mut figures, r#"{"a":1,"e":2}"#, r#"{"e":2,"a":1}"#, &[]);
        assert_eq!((figures.compared, figures.differ), (3, 1));
        assert_eq!(figures.fields, BTreeMap::from([("a".into(), 1), ("b.d".into(), 1)]));
        let field = |field: &str, present: Option<&str>, next: Option<&str>| SampleField {
            field: field.into(),
            present: present.map(Into::into),
            next: next.map(Into::into),
        };
        assert_eq!(
            figures.samples[0].fields,
            [field("a", Some("1"), Some("\"1\"")), field("b.d", None, Some("null"))]
        );
    }

    #[test]
    fn no_value_of_a_hidden_field_is_kept() {
        let mut figures = Figures::default();
        add(&mut figures, r#"{"card":"***1","a":1}"#, r#"{"card":"4111","a":2}"#, &["card"]);
        add(&mut figures, r#"{"c":{"card":1}}"#, r#"{"c":{"card":2}}"#, &["c"]);
        assert_eq!(figures.fields["card"], 1);
        let kept = serde_json::to_string(&figures).unwrap();
        assert!(!kept.contains("4111") && !kept.contains("***1"), "{kept}");
        assert_eq!(figures.samples[1].fields, []);
    }

    #[test]
    fn other_fates_are_counted_by_side() {
        let mut figures = Figures::default();
        let none = BTreeSet::new();
        let rejected = || Fate::Rejected("field \"email\": is NULL".into());
        figures.add(&seen(), &[fates(sent("{}"), rejected())], &none);
        figures.add(&seen(), &[fates(rejected(), rejected())], &none);
        figures.add(&seen(), &[fates(Fate::Skipped("x".into()), sent("{}"))], &none);
        assert_eq!((figures.compared, figures.differ), (3, 2));
        assert_eq!(figures.rejected, Sides { present: 1, next: 2 });
        assert_eq!(figures.skipped, Sides { present: 1, next: 0 });
        assert_eq!(figures.samples[0].next.as_deref(), Some("rejected: field \"email\": is NULL"));
    }

    #[test]
    fn an_event_of_several_sinks_counts_once_and_is_shown_once() {
        let mut figures = Figures::default();
        let none = BTreeSet::new();
        let differ = || fates(sent(r#"{"a":1}"#), sent(r#"{"a":2}"#));
        figures.add(&seen(), &[differ(), differ()], &none);
        assert_eq!((figures.compared, figures.differ, figures.fields["a"]), (1, 1, 1));
        assert_eq!(figures.samples.len(), 1);
        // One sink's `where` drops it: it is compared all the same, and what differs is shown.
        let skipped = || Fate::Skipped("`where` is false".into());
        figures.add(&seen(), &[fates(skipped(), skipped()), differ()], &none);
        assert_eq!((figures.compared, figures.differ, figures.fields["a"]), (2, 2, 2));
        assert_eq!((figures.skipped, figures.samples.len()), (Sides { present: 1, next: 1 }, 2));
    }

    #[test]
    fn what_is_kept_has_bounds() {
        let mut figures = Figures::default();
        let long = "x".repeat(10_000);
        for number in 0..1000 {
            let now = format!(r#"{{"f{number}":"{long}"}}"#);
            add(&mut figures, "{}", &now, &[]);
        }
        assert_eq!((figures.samples.len(), figures.fields.len()), (SAMPLES_MAX, FIELDS_MAX + 1));
        assert_eq!(figures.fields["…"], 1000 - 256);
        assert!(serde_json::to_string(&figures).unwrap().len() < 20_000);
        // One event that differs in very many fields of long names.
        let mut figures = Figures::default();
        let members = (0..5000).map(|number| format!(r#""{long}{number}":"{long}","f{number}":1"#));
        let now = format!("{{{}}}", members.collect::<Vec<_>>().join(","));
        add(&mut figures, "{}", &now, &[]);
        assert_eq!((figures.samples.len(), figures.samples[0].fields.len()), (1, 20));
        assert!(serde_json::to_string(&figures).unwrap().len() < 40_000);
    }

    #[test]
    fn a_document_of_any_depth_is_compared() {
        let mut figures = Figures::default();
        let deep =
            |inner: &str| format!(r#"{{"a":{}{inner}{}}}"#, "[".repeat(6000), "]".repeat(6000));
        add(&mut figures, &deep("1"), &deep("2"), &[]);
        add(&mut figures, &deep("1"), &deep("1"), &[]);
        assert_eq!((figures.compared, figures.differ, figures.fields["a"]), (2, 1, 1));
    }
}
