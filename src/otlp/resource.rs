//! Who it is that exports.

use serde_json::{Value, json};

use super::json::attribute;
use crate::config::Config;

/// Returns the resource: what the config says, and what it leaves out of what is always said. The
/// instance is the slot and the host: the same after a restart, and another's on another machine.
pub(super) fn resource(config: &Config) -> Value {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let instance = format!("{}@{host}", config.source.slot);
    let own = config.otlp.iter().flat_map(|otlp| &otlp.resource);
    described(own.map(|(name, value)| (name.as_str(), value)), &instance)
}

fn described<'a>(own: impl Iterator<Item = (&'a str, &'a Value)>, instance: &str) -> Value {
    let own: Vec<_> = own.collect();
    let always = [
        ("service.name", json!("walgate")),
        ("service.version", json!(env!("CARGO_PKG_VERSION"))),
        ("service.instance.id", json!(instance)),
    ];
    let is_own = |name: &str| own.iter().any(|(other, _)| *other == name);
    let attributes = always.iter().map(|(name, value)| (*name, value));
    let attributes = attributes.filter(|(name, _)| !is_own(name)).chain(own.iter().copied());
    let attributes: Vec<Value> = attributes.map(|(name, value)| attribute(name, value)).collect();
    json!({ "attributes": attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_config_says_takes_the_place_of_what_is_always_said() {
        let (name, shard) = (json!("cdc"), json!(3));
        let own = [("service.name", &name), ("shard", &shard)];
        let said = described(own.into_iter(), "walgate@host");
        let expected = json!({ "attributes": [
            { "key": "service.version", "value": { "stringValue": env!("CARGO_PKG_VERSION") } },
            { "key": "service.instance.id", "value": { "stringValue": "walgate@host" } },
            { "key": "service.name", "value": { "stringValue": "cdc" } },
            { "key": "shard", "value": { "intValue": "3" } },
        ] });
        assert_eq!(said, expected);
    }
}
