//! The layers of ARCHITECTURE.md, held: who may import whom; and small tidy rules.

use std::fs;
use std::path::{Path, PathBuf};

/// Values that travel the line.
const WORDS: &[&str] = &["lsn", "relation", "chunk", "change", "envelope", "failure", "secret"];

/// Each module and what it may import beside itself and the words.
const LAYERS: &[(&str, &[&str])] = &[
    ("pgoutput", &[]),
    ("mapping", &["pgoutput"]),
    ("progress::ledger", &[]),
    ("progress", &["state"]),
    ("state", &[]),
    ("libpq", &[]),
    ("source", &["libpq", "pgoutput"]),
    ("sink", &[]),
    ("sink::postgres", &["libpq"]),
    ("journal", &["state"]),
    ("delivery", &["journal", "mapping", "pgoutput", "progress", "sink", "state"]),
    ("alert", &["state"]),
    ("telemetry", STAGES),
    ("otlp", &["admin", "config", "delivery", "sink"]),
    ("inspect", INSPECT),
    ("admin", FRAME),
    ("config", STAGES),
    ("pipeline", FRAME),
    ("demo", FRAME),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

const STAGES: &[&str] = &[
    "alert", "delivery", "journal", "libpq", "mapping", "pgoutput", "progress", "sink", "source",
    "state",
];

const FRAME: &[&str] = &[
    "admin",
    "alert",
    "config",
    "delivery",
    "inspect",
    "journal",
    "libpq",
    "mapping",
    "otlp",
    "pgoutput",
    "progress",
    "sink",
    "source",
    "state",
    "telemetry",
];

const INSPECT: &[&str] = &[
    "alert", "config", "delivery", "journal", "libpq", "mapping", "pgoutput", "progress", "sink",
    "source", "state",
];

/// Where time is an argument; beside the words, which name it.
const PURE: &[&str] = &[
    "cli::tap::lines",
    "cli::top::draw",
    "cli::top::keys",
    "cli::top::model",
    "cli::top::spark",
    "alert",
    "pgoutput",
    "mapping",
    "progress::decoded",
    "progress::ledger",
    "source::cutter",
    "source::frame",
    "source::held::record",
    "source::held::undone",
    "source::pending",
    "source::streaming",
    "delivery::backoff",
    "delivery::breaker",
    "delivery::budget",
    "delivery::compact",
    "delivery::lane",
    "delivery::parked",
    "delivery::poll::cursor",
    "delivery::poll::desk",
    "delivery::poll::shelf",
    "delivery::ramp",
    "delivery::schedule",
    "delivery::scheduler",
    "otlp::json",
    "otlp::metrics",
    "otlp::spans",
    "otlp::verdict",
    "pipeline::ages",
    "pipeline::freshness",
    "pipeline::full",
    "pipeline::lag",
    "pipeline::shadow::tally",
    "pipeline::tally",
    "pipeline::withheld",
    "sink::amqp::message",
    "sink::amqp::outcome",
    "sink::aws::calls",
    "sink::aws::code",
    "sink::aws::eventbridge",
    "sink::aws::firehose",
    "sink::aws::kinesis",
    "sink::aws::message",
    "sink::aws::service",
    "sink::aws::sign",
    "sink::aws::sns",
    "sink::aws::sqs",
    "sink::aws::xml",
    "sink::clickhouse::code",
    "sink::clickhouse::name",
    "sink::clickhouse::step",
    "sink::elasticsearch::answer",
    "sink::elasticsearch::index",
    "sink::elasticsearch::plan",
    "sink::elasticsearch::version",
    "sink::fold",
    "sink::http::ack",
    "sink::http::plan",
    "sink::http::request",
    "sink::http::signature",
    "sink::hubspot::limits",
    "sink::hubspot::record",
    "sink::hubspot::verdict",
    "sink::in_order",
    "sink::kafka::behind",
    "sink::kafka::cloudevents",
    "sink::kafka::code",
    "sink::kafka::message",
    "sink::kafka::topic",
    "sink::keyed",
    "sink::lasting",
    "sink::name",
    "sink::nats::absent",
    "sink::nats::answer",
    "sink::nats::message",
    "sink::nats::subject",
    "sink::outbox",
    "sink::postgres::name",
    "sink::postgres::plan",
    "sink::postgres::rows",
    "sink::postgres::statement",
    "sink::postgres::text",
    "sink::postgres::widen",
    "sink::pubsub::cloudevents",
    "sink::pubsub::held",
    "sink::pubsub::message",
    "sink::pubsub::requests",
    "sink::pubsub::topic",
    "sink::pubsub::verdict",
    "sink::redis::answer",
    "sink::redis::entry",
    "sink::redis::place",
    "sink::row",
    "sink::salesforce::record",
    "sink::salesforce::verdict",
    "sink::template",
    "sink::web::answer",
    "sink::web::guard",
    "sink::web::limit",
    "telemetry::repeats",
];

const LINES_MAX: usize = 600;

#[test]
fn imports_point_down() {
    let mut wrong = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_of_tests(path)) {
        let module = module_of(&path);
        let text = fs::read_to_string(&path).unwrap();
        for (line, name) in imports(without_tests(&text)) {
            if !may_import(&module, &name) {
                wrong.push(format!("{}:{line}: {module} imports {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "against the layers:\n{}", wrong.join("\n"));
}

#[test]
fn what_decides_reads_no_clock() {
    for pure in PURE {
        let files = rust_files("src").into_iter().filter(|path| is_within(&module_of(path), pure));
        let files: Vec<_> = files.collect();
        assert!(!files.is_empty(), "there is no {pure}");
        for path in files.into_iter().filter(|path| !is_of_tests(path)) {
            let text = fs::read_to_string(&path).unwrap();
            let reads = without_tests(&text).contains("::now()");
            assert!(!reads, "{} reads a clock", path.display());
        }
    }
}

#[test]
fn every_module_is_in_the_layers() {
    for path in rust_files("src") {
        let module = module_of(&path);
        let known = WORDS.contains(&top(&module)) || rule(&module).is_some();
        assert!(known, "{} has no place in the layers", path.display());
    }
}

#[test]
fn files_are_short_and_tidy() {
    let mut wrong = Vec::new();
    let files = ["src", "tests", "benches"].into_iter().flat_map(rust_files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let count = text.lines().count();
        if count > LINES_MAX {
            wrong.push(format!("{}: {count} lines; cut it in two", path.display()));
        }
        for (index, line) in text.lines().enumerate() {
            if line.ends_with([' ', '\t']) {
                wrong.push(format!("{}:{}: trailing space", path.display(), index + 1));
            }
        }
        let opens_a_module =
            path.starts_with("src") && !is_of_tests(&path) || path.ends_with("mod.rs");
        if opens_a_module && path != Path::new("src/main.rs") {
            let first = text.lines().next().unwrap_or("");
            if !first.starts_with("//! ") {
                wrong.push(format!("{}:1: says not what it is for", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "untidy:\n{}", wrong.join("\n"));
}

#[test]
fn the_layers_read_imports_as_rust_does() {
    let text = "use crate::{lsn::Lsn, state::{State, meta}};\nlet x = crate::sink::Answer::Ok;\n\
                use crate::journal;\n// crate::cli is only named here\n";
    let names: Vec<String> = imports(text).into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["lsn", "state", "sink", "journal"]);
    assert!(may_import("progress::store", "state") && !may_import("progress::ledger", "state"));
    assert!(!may_import("sink::http", "source") && may_import("sink::http", "envelope"));
}

fn may_import(module: &str, name: &str) -> bool {
    if WORDS.contains(&name) || name == top(module) {
        return true;
    }
    rule(module).is_some_and(|allowed| allowed.contains(&"*") || allowed.contains(&name))
}

/// The longest entry that is the module or contains it.
fn rule(module: &str) -> Option<&'static [&'static str]> {
    let found = LAYERS.iter().filter(|(name, _)| is_within(module, name));
    found.max_by_key(|(name, _)| name.len()).map(|(_, allowed)| *allowed)
}

/// Whether a module is the one of that name or lies in it.
fn is_within(module: &str, name: &str) -> bool {
    module.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn top(module: &str) -> &str {
    module.split("::").next().unwrap_or(module)
}

/// Returns the modules named after `crate::`, with their line, comments left out.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut depth_of_group = None::<i32>;
    for (index, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or("");
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("crate::") {
            if let Some(group) = after.strip_prefix('{') {
                depth_of_group = Some(0);
                rest = group;
                break;
            }
            found.push((index + 1, word(after)));
            rest = after;
        }
        if depth_of_group.is_some() {
            read_group(rest, index + 1, &mut depth_of_group, &mut found);
        }
    }
    found
}

/// Reads the outermost names of `use crate::{a::X, b::{Y, Z}};`, one line of it.
fn read_group(text: &str, line: usize, depth: &mut Option<i32>, found: &mut Vec<(usize, String)>) {
    let mut expects_name = true;
    for (at, letter) in text.char_indices() {
        let Some(level) = depth else { return };
        match letter {
            '{' => *level += 1,
            '}' if *level == 0 => *depth = None,
            '}' => *level -= 1,
            ',' if *level == 0 => expects_name = true,
            letter if *level == 0 && expects_name && letter.is_alphanumeric() => {
                found.push((line, word(&text[at..])));
                expects_name = false;
            }
            _ => {}
        }
    }
}

fn word(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}

/// Unit tests stand last in a file and may use what they like.
fn without_tests(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod tests {");
    end.map_or(text, |end| &text[..end])
}

/// Unit tests that fill files of their own: `x/tests.rs`, `x/tests/`.
pub(super) fn is_of_tests(path: &Path) -> bool {
    path.starts_with("src") && path.with_extension("").iter().any(|part| part == "tests")
}

/// `src/progress/ledger.rs` is `progress::ledger`.
fn module_of(path: &Path) -> String {
    let inner = path.strip_prefix("src").unwrap().with_extension("");
    let parts: Vec<_> = inner.iter().map(|part| part.to_str().unwrap()).collect();
    let parts = parts.strip_suffix(&["mod"]).unwrap_or(&parts);
    parts.join("::")
}

/// The Rust files below a folder of the package; tests run with the package's folder as theirs.
pub(super) fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
