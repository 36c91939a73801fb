//! The settings: [`Config`] and what it is made of.

use crate::secret::Secret;
use crate::sink::tls;

/// `[sink.NAME.kafka]`
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to ask for the cluster first: `host:port`, one or several.
    pub brokers: Vec<String>,
    /// A topic's name; may have `{{ }}`.
    pub topic: String,
    /// Messages without a value; none: as the format has it.
    pub tombstones: Option<Tombstones>,
    /// With CloudEvents: attributes are headers, and the value is the data.
    pub binary: bool,
    /// The codec of batches, by librdkafka's word.
    pub compression: String,
    /// Each batch is a transaction of this id; none: there are none.
    pub transactional_id: Option<String>,
    /// Who walgate says that it is; none: nobody.
    pub sasl: Option<Sasl>,
    /// TLS, with whom to trust and what to show; none: plain text.
    pub tls: Option<tls::Files>,
    /// Settings of librdkafka that walgate does not make itself.
    pub properties: Vec<(String, Secret)>,
}

impl Config {
    /// Returns the settings with nothing but a broker and a topic.
    #[must_use]
    pub fn to(broker: impl Into<String>, topic: impl Into<String>) -> Self {
        Self {
            brokers: vec![broker.into()],
            topic: topic.into(),
            tombstones: None,
            binary: false,
            compression: "lz4".to_owned(),
            transactional_id: None,
            sasl: None,
            tls: None,
            properties: Vec::new(),
        }
    }
}

/// What takes a row out of a topic that is compacted: its key without a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tombstones {
    /// There are none.
    Off,
    /// One behind each delete.
    After,
    /// One in place of each delete.
    Instead,
}

/// Credentials.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user.
    pub user: Secret,
    /// Its password.
    pub password: Secret,
}
