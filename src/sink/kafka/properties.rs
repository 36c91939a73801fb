//! What librdkafka is told: walgate's own settings, and those that the config passes on.

use std::path::Path;
use std::time::Duration;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::{Config, Error};
use crate::sink::{Common, tls};

/// A transaction that lasts longer is ended by the brokers: above any timeout that is in use, and
/// as far as brokers allow it (`transaction.max.timeout.ms`).
const TRANSACTION_MIN: Duration = Duration::from_secs(120);
const TRANSACTION_MAX: Duration = Duration::from_secs(900);

/// How long a topic that nobody knows may take to become known.
const TOPIC_MAX: Duration = Duration::from_secs(5);

const ORDER: &str = "is what order and completeness rest on, and set by walgate";
const DERIVED: &str = "follows from the sink's `timeout`";

/// Settings that are walgate's, and why.
const OWN: &[(&str, &str)] = &[
    ("bootstrap.servers", "is `brokers`"),
    ("metadata.broker.list", "is `brokers`"),
    ("enable.idempotence", ORDER),
    ("enable.gapless.guarantee", ORDER),
    ("acks", ORDER),
    ("request.required.acks", ORDER),
    ("max.in.flight", ORDER),
    ("max.in.flight.requests.per.connection", ORDER),
    ("retries", ORDER),
    ("message.send.max.retries", ORDER),
    ("queuing.strategy", ORDER),
    ("partitioner", "is murmur2_random, as Java's producers have it"),
    ("delivery.report.only.error", ORDER),
    ("message.timeout.ms", DERIVED),
    ("delivery.timeout.ms", DERIVED),
    ("transaction.timeout.ms", DERIVED),
    ("transactional.id", "is `transactional_id`"),
    ("compression.codec", "is `compression`"),
    ("compression.type", "is `compression`"),
    ("security.protocol", "follows from `tls` and `sasl`"),
    ("sasl.mechanism", "is `sasl.mechanism` of the sink"),
    ("sasl.mechanisms", "is `sasl.mechanism` of the sink"),
    ("sasl.username", "is `sasl.user` of the sink"),
    ("sasl.password", "is `sasl.password` of the sink"),
    ("ssl.ca.location", "is `tls.ca`"),
    ("ssl.certificate.location", "is `tls.cert`"),
    ("ssl.key.location", "is `tls.key`"),
    ("log.queue", "is set by walgate"),
    ("log_level", "is set by walgate"),
];

/// Makes the settings of a producer. Opens nothing.
pub(super) fn client(config: &Config, common: &Common) -> Result<ClientConfig, Error> {
    let mut client = ClientConfig::new();
    client.set_log_level(RDKafkaLogLevel::Info);
    let bare = |broker: &String| !broker.is_empty() && !broker.contains([' ', ',', '/']);
    if config.brokers.is_empty() || !config.brokers.iter().all(bare) {
        return Err(Error::Brokers);
    }
    client.set("bootstrap.servers", config.brokers.join(","));
    client.set("client.id", "walgate");
    client.set("enable.idempotence", "true");
    client.set("acks", "all");
    client.set("partitioner", "murmur2_random");
    client.set("compression.codec", &config.compression);
    client.set("message.timeout.ms", millis(message_timeout(common.timeout)));
    let quarter = (common.timeout / 4).min(TOPIC_MAX);
    client.set("topic.metadata.propagation.max.ms", millis(quarter));
    // A batch is there as a whole: nothing more comes that would be worth waiting for.
    client.set("linger.ms", "1");
    client.set("socket.nagle.disable", "true");
    client.set("socket.keepalive.enable", "true");
    client.set("reconnect.backoff.max.ms", "1000");
    client.set("enable.metrics.push", "false");
    transactions(&mut client, config, common)?;
    security(&mut client, config)?;
    for (name, value) in &config.properties {
        let place = || format!("properties.{name}");
        if let Some((_, why)) = OWN.iter().find(|(own, _)| own == name) {
            return Err(Error::Own { name: place(), why });
        }
        client.set(name, value.expose());
        if let Err(KafkaError::ClientConfig(_, why, refused, _)) = client.create_native_config()
            && refused == *name
        {
            // What it says may repeat the value, which may be a secret.
            let why = why.replace(value.expose(), "***");
            return Err(Error::Property { name: place(), why });
        }
    }
    match client.create_native_config() {
        Ok(_) => Ok(client),
        Err(KafkaError::ClientConfig(_, why, refused, _)) if refused == "compression.codec" => {
            Err(Error::Property { name: "compression".to_owned(), why })
        }
        Err(error) => {
            Err(Error::Property { name: "properties".to_owned(), why: error.to_string() })
        }
    }
}

fn transactions(client: &mut ClientConfig, config: &Config, common: &Common) -> Result<(), Error> {
    let Some(id) = &config.transactional_id else { return Ok(()) };
    if id.is_empty() {
        return Err(Error::NoId);
    }
    if common.concurrency > 1 {
        return Err(Error::Lanes);
    }
    client.set("transactional.id", id);
    let limit = common.timeout.saturating_mul(2).clamp(TRANSACTION_MIN, TRANSACTION_MAX);
    client.set("transaction.timeout.ms", millis(limit));
    Ok(())
}

fn security(client: &mut ClientConfig, config: &Config) -> Result<(), Error> {
    let protocol = match (&config.tls, &config.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    client.set("security.protocol", protocol);
    if let Some(sasl) = &config.sasl {
        client.set("sasl.mechanism", &sasl.mechanism);
        client.set("sasl.username", sasl.user.expose());
        client.set("sasl.password", sasl.password.expose());
    }
    let Some(files) = &config.tls else { return Ok(()) };
    match (&files.cert, &files.key) {
        (Some(_), None) => return Err(Error::Tls(tls::Error::Half { key: "key" })),
        (None, Some(_)) => return Err(Error::Tls(tls::Error::Half { key: "cert" })),
        (Some(_), Some(_)) | (None, None) => {}
    }
    for (key, name, path) in [
        ("ca", "ssl.ca.location", &files.ca),
        ("cert", "ssl.certificate.location", &files.cert),
        ("key", "ssl.key.location", &files.key),
    ] {
        if let Some(path) = path {
            client.set(name, readable(key, path)?);
        }
    }
    Ok(())
}

fn readable(key: &'static str, path: &Path) -> Result<String, Error> {
    let wrong = || Error::Tls(tls::Error::Pem { key, path: path.to_owned() });
    let text = std::fs::read_to_string(path).map_err(|_| wrong())?;
    let path = path.to_str().filter(|_| text.contains("-----BEGIN "));
    path.map(str::to_owned).ok_or_else(wrong)
}

/// Returns how long a message may go on being tried: short enough that librdkafka, which looks
/// once a second, has told before delivery gives the batch up.
pub(super) fn message_timeout(timeout: Duration) -> Duration {
    let latest = if timeout >= Duration::from_secs(6) {
        timeout.saturating_sub(Duration::from_secs(3))
    } else {
        timeout / 2
    };
    latest.clamp(Duration::from_millis(5), TRANSACTION_MAX)
}

fn millis(duration: Duration) -> String {
    duration.as_millis().max(1).to_string()
}
