//! [`Trial`]: a mapping that somebody tries, as text that may come from anywhere.
//!
//! It reads no environment, no file and no secret: `${…}` is refused, lookups in files are those of
//! the config in force, and `***`, which is shown in a secret's place, is a key of its own.

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::compile::{self, Config, Shelf};
use super::interpolate::Environment;
use super::keys;
use super::problem::{Notes, Problem, Problems};
use super::shown;
use super::walk::{Walker, in_order};
use crate::mapping::{Case, Mapping};
use crate::secret::Secret;

/// What problems call the text.
const FILE: &str = "mapping.toml";

/// The longest text that is read.
pub const TEXT_BYTES_MAX: usize = 128 << 10;

/// The longest expression that is tried: what it is parsed into is as deep as it is long.
const EXPRESSION_BYTES_MAX: usize = 8 << 10;

/// So many problems are told.
const PROBLEMS_MAX: usize = 20;

/// The key that hashes are made with where the text has `***`. It is no secret: with the one in
/// force anybody could try which value has which hash.
const STAND_IN: &str = "a stand-in for the key in force, known to all";

/// A mapping to try.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The mapping.
    pub mapping: Arc<Mapping>,
    /// Its tests, in the order of the text.
    pub tests: Vec<Case>,
    /// Its hashes are made with a key that stands in for that in force.
    pub has_stand_in: bool,
}

/// Reads the text of the mapping `name`, to be tried beside `config`.
///
/// # Errors
/// What is wrong with it, sorted by place, the first few.
pub fn trial(name: &str, text: &str, config: &Config) -> Result<Trial, Problems> {
    let mut notes = Notes::new(FILE, text);
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("a text of {} KiB is the longest to be tried", TEXT_BYTES_MAX >> 10);
        notes.problem(&(0..0), message);
        return Err(few(notes));
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(PROBLEMS_MAX) {
        notes.problem(&error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return Err(few(notes));
    }
    if long_expressions(document.get_ref(), &mut notes) {
        return Err(few(notes));
    }
    let environment = Environment { variable: &|_| None, folder: std::path::Path::new("") };
    let mut walker = Walker { notes: &mut notes, environment: &environment, is_closed: true };
    let tree = walker.table(&keys::TRIAL, document.get_ref(), 0..0);
    for entry in tree.named("mapping").iter().filter(|entry| entry.name != name) {
        let message = format!("this is mapping \"{}\"; only \"{name}\" is tried here", entry.name);
        notes.problem(&entry.place, message);
    }
    let shelf = Shelf::closed(config.held.clone());
    let read = compile::mappings(&tree, &shelf, &mut notes);
    let (problems, _) = notes.finish();
    let found = read.and_then(|(mappings, tests)| {
        Some((mappings.into_iter().find(|mapping| mapping.name == name)?, tests))
    });
    match found {
        Some((mapping, tests)) if problems.is_empty() => Ok(with_stand_in(mapping, tests)),
        _ if problems.is_empty() => {
            let message = format!("there is no [mapping.{name}] in it");
            let file = FILE.to_owned();
            Err(Problems(vec![Problem { line: 1, column: 1, file, message }]))
        }
        _ => Err(Problems(problems.into_iter().take(PROBLEMS_MAX).collect())),
    }
}

fn few(notes: Notes<'_>) -> Problems {
    Problems(notes.finish().0.into_iter().take(PROBLEMS_MAX).collect())
}

fn with_stand_in(mapping: Arc<Mapping>, tests: Vec<Case>) -> Trial {
    let is_shown = |key: &Secret| key.expose() == shown::SECRET;
    if !mapping.mask_key.as_ref().is_some_and(is_shown) {
        return Trial { mapping, tests, has_stand_in: false };
    }
    let mask_key = Some(Secret::new(STAND_IN.to_owned()));
    let mapping = Mapping { mask_key, ..Mapping::clone(&mapping) };
    Trial { mapping: Arc::new(mapping), tests, has_stand_in: true }
}

/// Notes expressions that are too long to be parsed; true where there is one.
fn long_expressions(table: &DeTable<'_>, notes: &mut Notes<'_>) -> bool {
    let mut is_any = false;
    for (name, value) in in_order(table) {
        is_any |= match value.get_ref() {
            DeValue::String(text)
                if name.get_ref() == "expr" && text.len() > EXPRESSION_BYTES_MAX =>
            {
                let most = EXPRESSION_BYTES_MAX >> 10;
                let message = format!("an expression of {most} KiB is the longest to be tried");
                notes.problem(&value.span(), message);
                true
            }
            _ => long_within(value, notes),
        };
    }
    is_any
}

fn long_within(value: &Spanned<DeValue<'_>>, notes: &mut Notes<'_>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => long_expressions(table, notes),
        DeValue::Array(items) => items.iter().filter(|item| long_within(item, notes)).count() > 0,
        _ => false,
    }
}

impl Config {
    /// Returns what the config in force has of a mapping, its tests too, as text for [`trial`];
    /// none where there is no such mapping.
    #[must_use]
    pub fn mapping_text(&self, name: &str) -> Option<String> {
        self.mappings.iter().find(|mapping| mapping.name == name)?;
        Some(shown::mapping(&self.text, name))
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::config::{Environment, parse};
    use crate::mapping::Outcome;

    const REST: &str = "[source]\nurl = \"postgres://h/d\"\n[sink.s.stdout]\n[[route]]\nname = \"r\"\n\
                        table = \"public.t\"\nmapping = \"m\"\nsink = \"s\"\n";

    const MAPPING: &str = r#"
[mapping.m]
version = 1
mask_key = "${KEY}"
[mapping.m.fields]
id = { column = "id", required = true }
phone = { column = "phone", mask = "hash", on_null = { default = "$${none}" } }
land = { column = "land", lookup = { file = "lands.csv", key = "code", value = "name" }, on_miss = "null" }
[[mapping.m.test]]
name = "all types"
row = { id = 1, n = 9007199254740993.10, big = 99999999999999999999, b = true, d = 2026-01-02, t = 2026-01-02T03:04:05.6, z = 2026-01-02T03:04:05Z, nan = nan, far = -inf, j = { a = [1, 2.50, "x"], "b c" = false }, text = "1" }
expect = { id = 1 }
[[mapping.m.test]]
name = "no id"
reject = { field = "id", reason = "NULL" }
"#;

    /// A config beside a file `lands.csv`, its folder gone by the time it is returned.
    fn config() -> Config {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lands.csv"), "code,name\nde,Germany\n").unwrap();
        std::fs::write(folder.path().join("secret.csv"), "code,name\nde,Germany\n").unwrap();
        let variable = |name: &str| (name == "KEY").then(|| "0123456789abcdef-key".to_owned());
        let environment = Environment { variable: &variable, folder: folder.path() };
        parse("walgate.toml", &format!("{REST}{MAPPING}"), &environment).unwrap()
    }

    #[track_caller]
    fn refused(text: &str, said: &[&str]) {
        let problems = trial("m", text, &config()).unwrap_err();
        let found: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
        assert_eq!(found, said, "{text}");
    }

    fn with(fields: &str) -> String {
        format!("[mapping.m]\nversion = 1\n[mapping.m.fields]\n{fields}\n")
    }

    #[test]
    fn what_is_shown_of_a_mapping_can_be_tried_as_it_is() {
        let config = config();
        let text = config.mapping_text("m").unwrap();
        assert!(!text.contains("0123456789"), "{text}");
        assert!(!text.contains("[source]") && !text.contains("[[route]]"), "{text}");
        let tried = trial("m", &text, &config).unwrap();
        assert!(tried.has_stand_in);
        assert_eq!(tried.tests, config.tests);
        let now = Mapping {
            mask_key: config.mappings[0].mask_key.clone(),
            ..Mapping::clone(&tried.mapping)
        };
        assert_eq!(now, *config.mappings[0]);
        let row = tried.tests[0].outcome(&tried.mapping).unwrap();
        assert!(matches!(row, Outcome::Sent(body) if body.contains("\"${none}\"")));
        assert_eq!(config.mapping_text("n"), None);
    }

    #[test]
    fn environment_and_files_are_not_read() {
        let env = "of what is tried nothing is read from the environment or a file: write the value \
                   itself, or \"$${\" for a plain \"${\"";
        for value in ["${HOME}", "${HOME:-x}", "${file:/etc/passwd}", "a ${"] {
            let said = format!("mapping.toml:4:15: {env}");
            refused(&with(&format!("a = {{ value = \"{value}\" }}")), &[&said]);
        }
        let said = format!("mapping.toml:4:22: {env}");
        refused(&with("a = { value = { b = [\"${HOME}\"] } }"), &[&said]);
        let test = "a = { value = 1 }\n[[mapping.m.test]]\nname = \"t\"\nrow = { a = \"${HOME}\" }\nskip = true";
        refused(&with(test), &[&format!("mapping.toml:7:13: {env}")]);
        let key = with("a = { column = \"a\", mask = \"hash\" }")
            .replace("version = 1", "version = 1\nmask_key = \"${file:/etc/machine-id}\"");
        let needs =
            "mapping.toml:5:1: \"mask = \"hash\"\" needs a key; give the mapping a \"mask_key\"";
        refused(&key, &[&format!("mapping.toml:3:12: {env}"), needs]);
        for words in [
            r#"file = "secret.csv", key = "code", value = "name""#,
            r#"file = "/etc/passwd.json""#,
            r#"file = "lands.csv", key = "name", value = "code""#,
        ] {
            let text = with(&format!("a = {{ column = \"a\", lookup = {{ {words} }} }}"));
            let problems = trial("m", &text, &config()).unwrap_err().to_string();
            assert!(problems.contains(":4:39: no file is read here"), "{problems}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cure = "did you mean \"column\"?";
        refused(
            &with("a = { columns = \"a\" }"),
            &[&format!("mapping.toml:4:7: unknown key \"columns\"; {cure}")],
        );
        refused("[mapping.m", &["mapping.toml:1:11: not TOML: unclosed table, expected `]`"]);
        let other = with("a = { value = 1 }").replace("mapping.m", "mapping.n");
        refused(&other, &["mapping.toml:1:10: this is mapping \"n\"; only \"m\" is tried here"]);
        let more = format!("{}[sink.s.stdout]\n", with("a = { value = 1 }"));
        refused(&more, &["mapping.toml:5:2: unknown key \"sink\"; what is tried has mapping"]);
        let long = format!("a = {{ expr = \"1{}\" }}", "+1".repeat(5000));
        refused(
            &with(&long),
            &["mapping.toml:4:14: an expression of 8 KiB is the longest to be tried"],
        );
        assert_eq!(trial("m", &"a\n".repeat(10_000), &config()).unwrap_err().0.len(), 20);
        assert!(trial("m", &" ".repeat(TEXT_BYTES_MAX + 1), &config()).is_err());
    }

    #[test]
    fn an_expression_as_long_as_it_may_be_breaks_nothing() {
        let long = [format!("1{}", "+1".repeat(4095)), "a.".repeat(4000) + "b", "!".repeat(8000)];
        for expr in long.into_iter().chain(["(".repeat(8000), "[".repeat(8000)]) {
            // As the playground does: a stack of its own.
            let text = with(&format!("a = {{ expr = \"{expr}\" }}"));
            let config = config();
            let tried = std::thread::Builder::new()
                .stack_size(32 << 20)
                .spawn(move || trial("m", &text, &config).is_err());
            assert!(tried.unwrap().join().unwrap());
        }
    }
}
