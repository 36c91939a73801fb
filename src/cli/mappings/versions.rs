//! `walgate mappings list|show|diff`

use serde_json::{Map, Value, json};

use super::line;
use crate::cli::failure::{Exit, Failure};
use crate::cli::{asking, output};
use crate::config::Config;
use crate::delivery::KeptMapping;
use crate::lsn::Timestamp;
use crate::mapping::{Difference, Mapping, differences};

/// So many digits of a hash tell versions apart for people.
const HASH_SHOWN: usize = 12;

/// A version of a mapping, wherever it is known from.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) name: String,
    pub(super) version: u32,
    pub(super) hash: String,
    /// Its canonical form.
    body: String,
    /// None: it never ran.
    first_seen: Option<Timestamp>,
    /// The config has it.
    pub(super) is_today: bool,
    /// The config has it as the next one.
    pub(super) is_next: bool,
}

impl Version {
    pub(super) fn kept(kept: KeptMapping) -> Self {
        let KeptMapping { name, version, hash, body, first_seen } = kept;
        let first_seen = Some(first_seen);
        Self { name, version, hash, body, first_seen, is_today: false, is_next: false }
    }

    pub(super) fn of_config(mapping: &Mapping, is_next: bool) -> Self {
        Self {
            name: mapping.name.clone(),
            version: mapping.version,
            hash: mapping.hash(),
            body: mapping.canonical(),
            first_seen: None,
            is_today: !is_next,
            is_next,
        }
    }

    /// Where it stands, for people.
    fn place(&self) -> &'static str {
        match (self.is_today, self.is_next, self.first_seen) {
            (true, _, Some(_)) => "today's",
            (true, _, None) => "today's, has not run",
            (_, true, _) => "next, delivers nothing",
            _ => "",
        }
    }
}

pub(super) fn list(config: &Config, all: &[Version], json: bool) -> Result<Exit, Failure> {
    let routes_of = |version: &Version| -> Vec<&str> {
        let is_it = |mapping: &std::sync::Arc<Mapping>| mapping.name == version.name;
        let routes = config.routes.iter().filter(|_| version.is_today);
        let routes = routes.filter(|route| route.mapping.as_ref().is_some_and(is_it));
        routes.map(|route| route.name.as_str()).collect()
    };
    for version in all {
        let first_seen = version.first_seen.map(|time| time.to_string());
        let routes = routes_of(version);
        if json {
            line(&json!({
                "name": version.name,
                "version": version.version,
                "hash": version.hash,
                "first_seen": first_seen,
                "today": version.is_today,
                "next": version.is_next,
                "routes": routes,
            }))?;
            continue;
        }
        let hash = version.hash.get(..HASH_SHOWN).unwrap_or(&version.hash);
        let first_seen = first_seen.unwrap_or_else(|| "-".to_owned());
        let mut said = vec![version.place().to_owned(), routes.join(", ")];
        said.retain(|part| !part.is_empty());
        let text = format!(
            "{:<20} {:>4}  {hash}  {first_seen:<28} {}",
            version.name,
            version.version,
            said.join(": ")
        );
        output::data(&format!("{}\n", text.trim_end()))?;
    }
    if all.is_empty() {
        output::note("there are no mappings");
    }
    Ok(Exit::Done)
}

pub(super) fn show(all: &[Version], wanted: &str, json: bool) -> Result<Exit, Failure> {
    let (name, number) = match wanted.rsplit_once('@') {
        Some((name, number)) => {
            let number = number.parse::<u32>().map_err(|_| {
                Failure::new(Exit::Usage, format!("\"{number}\" is no version"))
                    .help("write NAME@VERSION, such as contact@2")
            })?;
            (name, Some(number))
        }
        None => (wanted, None),
    };
    let version = match number {
        Some(number) => find(all, name, number)?,
        None => today(all, name)?,
    };
    if json {
        let body: Value = serde_json::from_str(&version.body).unwrap_or_default();
        return output::json(&body).map(|()| Exit::Done);
    }
    let mut text = format!("{} version {}", version.name, version.version);
    if !version.place().is_empty() {
        text.push_str(&format!(" ({})", version.place()));
    }
    text.push_str(&format!("\nhash {}\n", version.hash));
    let Ok(Value::Object(mut body)) = serde_json::from_str::<Value>(&version.body) else {
        return output::data(&text).map(|()| Exit::Done);
    };
    if let Some(Value::Array(fields)) = body.shift_remove("fields") {
        for field in fields {
            let Value::Object(mut members) = field else { continue };
            let target = members.shift_remove("target").unwrap_or_default();
            let target = target.as_str().unwrap_or_default();
            text.push_str(&format!("  {target:<20} {}\n", said(&members)));
        }
    }
    for (key, value) in body {
        text.push_str(&format!("{key} = {value}\n"));
    }
    output::data(&text).map(|()| Exit::Done)
}

pub(super) fn diff(
    all: &[Version],
    name: &str,
    from: Option<u32>,
    to: Option<u32>,
    json: bool,
) -> Result<Exit, Failure> {
    let to = match to {
        Some(number) => find_last(all, name, number)?,
        None => today(all, name)?,
    };
    let from = match from {
        Some(number) => find(all, name, number)?,
        None => {
            let ran = all.iter().filter(|known| known.name == name && known.first_seen.is_some());
            let Some(newest) = ran.max_by_key(|known| known.version) else {
                output::note(&format!("no version of mapping \"{name}\" has run yet"));
                return Ok(Exit::Done);
            };
            newest
        }
    };
    let found = differences(&from.body, &to.body);
    if json {
        let found: Vec<Value> = found.iter().map(document).collect();
        return output::json(&json!({
            "name": name,
            "from": { "version": from.version, "hash": from.hash },
            "to": { "version": to.version, "hash": to.hash },
            "differences": found,
        }))
        .map(|()| Exit::Done);
    }
    let mut text = format!("{name}: version {} → {}\n", from.version, to.version);
    for difference in &found {
        text.push_str(&format!("{}\n", line_of(difference)));
    }
    if found.is_empty() {
        text.push_str("  the same\n");
    }
    output::data(&text).map(|()| Exit::Done)
}

/// Finds a version as it ran; one that did not run yet, as the config has it.
fn find<'v>(all: &'v [Version], name: &str, number: u32) -> Result<&'v Version, Failure> {
    let of = || all.iter().filter(|known| known.name == name && known.version == number);
    let ran = of().find(|known| known.first_seen.is_some());
    ran.or_else(|| of().next()).map_or_else(|| Err(unknown(all, name, Some(number))), Ok)
}

/// Finds a version as the config has it; one that it does not have, as it ran.
fn find_last<'v>(all: &'v [Version], name: &str, number: u32) -> Result<&'v Version, Failure> {
    let of = || all.iter().filter(|known| known.name == name && known.version == number);
    let own = of().find(|known| known.is_today || known.is_next);
    own.map_or_else(|| find(all, name, number), Ok)
}

/// Finds the version of the config; of a mapping that it does not have any more, the newest.
fn today<'v>(all: &'v [Version], name: &str) -> Result<&'v Version, Failure> {
    let of = || all.iter().filter(|known| known.name == name);
    let found =
        of().find(|known| known.is_today).or_else(|| of().max_by_key(|known| known.version));
    found.ok_or_else(|| unknown(all, name, None))
}

fn unknown(all: &[Version], name: &str, number: Option<u32>) -> Failure {
    let mut names: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
    names.dedup();
    if let Err(failure) = asking::has("mapping", name, names) {
        return failure;
    }
    let versions = all.iter().filter(|known| known.name == name);
    let mut versions: Vec<String> = versions.map(|known| known.version.to_string()).collect();
    // The config's may be another than the one that ran under its number.
    versions.dedup();
    let number = number.unwrap_or_default();
    Failure::new(Exit::Usage, format!("mapping \"{name}\" has no version {number}"))
        .help(format!("it has {}", versions.join(", ")))
}

/// `column = "id", as = "string"`
fn said(members: &Map<String, Value>) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    members.join(", ")
}

fn line_of(difference: &Difference) -> String {
    let or_none = |value: &Option<Value>| {
        value.as_ref().map_or_else(|| "left out".to_owned(), ToString::to_string)
    };
    match difference {
        Difference::Added { field, now } => format!("  + {field}: {}", said(now)),
        Difference::Removed { field, was } => format!("  - {field}: {}", said(was)),
        Difference::Changed { field, key, was, now } => {
            let field = field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
            format!("  ~ {field}{key}: {} → {}", or_none(was), or_none(now))
        }
        Difference::Order => format!("  ~ {difference}"),
    }
}

fn document(difference: &Difference) -> Value {
    match difference {
        Difference::Added { field, now } => {
            json!({ "change": "added", "field": field, "now": now })
        }
        Difference::Removed { field, was } => {
            json!({ "change": "removed", "field": field, "was": was })
        }
        Difference::Changed { field, key, was, now } => {
            json!({ "change": "changed", "field": field, "key": key, "was": was, "now": now })
        }
        Difference::Order => json!({ "change": "order" }),
    }
}
