//! The kinds of sinks: their settings, and how one is made of them.

#[cfg(feature = "amqp")]
use super::amqp;
#[cfg(feature = "kafka")]
use super::kafka;
#[cfg(feature = "nats")]
use super::nats;
#[cfg(feature = "redis")]
use super::redis;
use super::{
    Common, Sink, aws, clickhouse, elasticsearch, file, http, hubspot, postgres, pubsub,
    salesforce, stdout,
};
use crate::failure::{Category, Classify};

/// The kind of a sink and its settings: exactly one table of `[sink.NAME]`.
#[derive(Clone, Debug)]
pub enum Config {
    /// `[sink.NAME.http]`
    Http(Box<http::Config>),
    /// `[sink.NAME.file]`
    File(file::Config),
    /// `[sink.NAME.stdout]`
    Stdout(stdout::Config),
    /// `[sink.NAME.amqp]`
    #[cfg(feature = "amqp")]
    Amqp(Box<amqp::Config>),
    /// `[sink.NAME.sqs]`, `sns`, `kinesis`, `firehose`, `eventbridge`
    Aws(Box<aws::Config>),
    /// `[sink.NAME.clickhouse]`
    ClickHouse(Box<clickhouse::Config>),
    /// `[sink.NAME.elasticsearch]`
    Elasticsearch(Box<elasticsearch::Config>),
    /// `[sink.NAME.hubspot]`
    HubSpot(Box<hubspot::Config>),
    /// `[sink.NAME.kafka]`
    #[cfg(feature = "kafka")]
    Kafka(Box<kafka::Config>),
    /// `[sink.NAME.nats]`
    #[cfg(feature = "nats")]
    Nats(Box<nats::Config>),
    /// `[sink.NAME.postgres]`
    Postgres(Box<postgres::Config>),
    /// `[sink.NAME.pubsub]`
    PubSub(Box<pubsub::Config>),
    /// `[sink.NAME.redis]`
    #[cfg(feature = "redis")]
    Redis(Box<redis::Config>),
    /// `[sink.NAME.salesforce]`
    Salesforce(Box<salesforce::Config>),
}

impl Config {
    /// Returns the kind's word, as the config's table is called.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => http::KIND,
            Self::File(_) => file::KIND,
            Self::Stdout(_) => stdout::KIND,
            #[cfg(feature = "amqp")]
            Self::Amqp(_) => amqp::KIND,
            Self::Aws(config) => config.kind(),
            Self::ClickHouse(_) => clickhouse::KIND,
            Self::Elasticsearch(_) => elasticsearch::KIND,
            Self::HubSpot(_) => hubspot::KIND,
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => kafka::KIND,
            #[cfg(feature = "nats")]
            Self::Nats(_) => nats::KIND,
            Self::Postgres(_) => postgres::KIND,
            Self::PubSub(_) => pubsub::KIND,
            #[cfg(feature = "redis")]
            Self::Redis(_) => redis::KIND,
            Self::Salesforce(_) => salesforce::KIND,
        }
    }
}

/// Whether this build has a kind: those with clients of their own are features.
#[must_use]
pub fn is_built(kind: &str) -> bool {
    let features = [
        ("amqp", cfg!(feature = "amqp")),
        ("kafka", cfg!(feature = "kafka")),
        ("nats", cfg!(feature = "nats")),
        ("redis", cfg!(feature = "redis")),
    ];
    features.into_iter().all(|(feature, is_on)| is_on || feature != kind)
}

/// A sink that can't be made from its settings.
#[derive(Debug, thiserror::Error)]
#[error("sink `{sink}`")]
pub struct Error {
    sink: String,
    key: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Error {
    /// Returns the key below `[sink.NAME.KIND]` that is wrong, with dots: `on.delete.url`.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Classify for Error {
    fn category(&self) -> Category {
        Category::Setup
    }
}

/// Makes a sink from its settings. Opens nothing yet: that is what [`Sink::check`] and the first
/// delivery do.
///
/// # Errors
/// The settings can't work together or a file they name can't be read.
pub fn build(name: &str, config: &Config, common: &Common) -> Result<Box<dyn Sink>, Error> {
    match config {
        Config::Http(config) => made(name, http::Http::new(config, common), |error| error.key()),
        Config::File(config) => Ok(Box::new(file::File::new(config, common.concurrency))),
        Config::Stdout(config) => Ok(Box::new(stdout::Stdout::new(config))),
        #[cfg(feature = "amqp")]
        Config::Amqp(config) => made(name, amqp::Amqp::new(config, common), |error| error.key()),
        Config::Aws(config) => made(name, aws::Aws::new(config, common), |error| error.key()),
        Config::ClickHouse(config) => {
            made(name, clickhouse::ClickHouse::new(config, common), |error| error.key())
        }
        Config::Elasticsearch(config) => {
            made(name, elasticsearch::Elasticsearch::new(config, common), |error| error.key())
        }
        Config::HubSpot(config) => {
            made(name, hubspot::HubSpot::new(config, common), |error| error.key())
        }
        #[cfg(feature = "kafka")]
        Config::Kafka(config) => made(name, kafka::Kafka::new(config, common), |error| error.key()),
        #[cfg(feature = "nats")]
        Config::Nats(config) => made(name, nats::Nats::new(config, common), |error| error.key()),
        Config::Postgres(config) => {
            made(name, postgres::Postgres::new(name, config, common), |error| error.key())
        }
        Config::PubSub(config) => {
            made(name, pubsub::PubSub::new(config, common), |error| error.key())
        }
        #[cfg(feature = "redis")]
        Config::Redis(config) => made(name, redis::Redis::new(config, common), |error| error.key()),
        Config::Salesforce(config) => {
            made(name, salesforce::Salesforce::new(config, common), |error| error.key())
        }
    }
}

/// Boxes a sink; of an error, `key` tells which setting it is about.
fn made<S, E>(name: &str, sink: Result<S, E>, key: fn(&E) -> &str) -> Result<Box<dyn Sink>, Error>
where
    S: Sink + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match sink {
        Ok(sink) => Ok(Box::new(sink)),
        Err(error) => {
            let key = key(&error).to_owned();
            Err(Error { sink: name.to_owned(), key, source: Box::new(error) })
        }
    }
}
