//! [`Families`]: the figures by name, before anybody writes them: for Prometheus as text, for
//! OpenTelemetry by [`crate::otlp`]. Each is described once (pure).

use std::fmt;

/// Figures of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// As Prometheus has it: `walgate_source_lag_bytes`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What they are.
    pub kind: FamilyKind,
    /// One a set of labels; none where nothing is known.
    pub samples: Vec<Sample>,
}

/// What figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They are what is now.
    Gauge,
    /// They count since the start of the process.
    Counter,
    /// How often something took how long, since the start of the process.
    Histogram,
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Names and values.
    pub labels: Vec<(&'static str, String)>,
    /// What it is.
    pub value: SampleValue,
}

/// What a figure is.
#[derive(Clone, Debug, PartialEq)]
pub enum SampleValue {
    /// A count, or what has no parts.
    Integer(i128),
    /// Anything else.
    Float(f64),
    /// Of a histogram.
    Histogram {
        /// What is up to each of these, and above the one before, has a count of its own, in
        /// seconds.
        bounds: Vec<f64>,
        /// One more than bounds: above the last.
        counts: Vec<u64>,
        /// Of all that was measured, in seconds.
        sum: f64,
    },
}

impl FamilyKind {
    /// Returns the word that Prometheus has for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

/// A histogram is written in several lines, none of which is this.
impl fmt::Display for SampleValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Histogram { counts, .. } => counts.iter().sum::<u64>().fmt(f),
        }
    }
}

impl From<i32> for SampleValue {
    fn from(number: i32) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u8> for SampleValue {
    fn from(number: u8) -> Self {
        Self::Integer(number.into())
    }
}

impl From<u64> for SampleValue {
    fn from(number: u64) -> Self {
        Self::Integer(number.into())
    }
}

impl From<i64> for SampleValue {
    fn from(number: i64) -> Self {
        Self::Integer(number.into())
    }
}

impl From<usize> for SampleValue {
    fn from(number: usize) -> Self {
        Self::Integer(i128::try_from(number).unwrap_or(i128::MAX))
    }
}

impl From<f64> for SampleValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

/// The figures as they are gathered, family after family.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    /// Begins a family.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) {
        self.family(name, help, FamilyKind::Gauge);
    }

    /// Begins a family.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) {
        self.family(name, help, FamilyKind::Counter);
    }

    /// Begins a family.
    pub(super) fn family(&mut self, name: &'static str, help: &'static str, kind: FamilyKind) {
        self.0.push(Family { name, help, kind, samples: Vec::new() });
    }

    /// Adds to the family at hand what is known.
    pub(super) fn known(
        &mut self,
        labels: &[(&'static str, &str)],
        value: Option<impl Into<SampleValue>>,
    ) {
        if let Some(value) = value {
            self.sample(labels, value);
        }
    }

    /// Adds to the family at hand.
    pub(super) fn sample(
        &mut self,
        labels: &[(&'static str, &str)],
        value: impl Into<SampleValue>,
    ) {
        let labels = labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if let Some(family) = self.0.last_mut() {
            family.samples.push(Sample { labels, value: value.into() });
        }
    }
}
