//! The rules of .deny.toml, held without cargo-deny, which takes minutes to build; and that each
//! dependency is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use super::layers;

#[test]
fn licences_ask_for_no_more_than_a_notice() {
    let rules = rules();
    let allowed = strings(&rules["licenses"]["allow"]);
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        assert!(is_allowed(licence, &allowed), "{}: {licence}", package["id"]);
    }
    assert!(is_allowed("MIT/GPL-3.0", &allowed) && is_allowed("(MIT OR X) AND ISC", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0", &allowed) && !is_allowed("GPL-3.0", &allowed));
}

#[test]
fn crates_come_from_the_registry() {
    for package in packages() {
        // The package itself has no source.
        let Some(source) = package["source"].as_str() else { continue };
        assert!(source.contains("crates.io-index"), "{}", package["id"]);
    }
}

#[test]
fn no_crate_comes_twice_without_a_reason() {
    let rules = rules();
    let skipped = rules["bans"]["skip"].as_array().unwrap().iter();
    let skipped: BTreeSet<_> = skipped.map(|one| one["crate"].as_str().unwrap()).collect();
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in packages() {
        let (name, version) =
            (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        if !skipped.contains(format!("{name}@{version}").as_str()) {
            versions.entry(name.to_owned()).or_default().push(version.to_owned());
        }
    }
    versions.retain(|_, versions| versions.len() > 1);
    assert!(versions.is_empty(), "more than one version: {versions:?}");
}

#[test]
fn every_dependency_is_used() {
    let manifest: toml::Table = fs::read_to_string("Cargo.toml").unwrap().parse().unwrap();
    let normal = all_text(&["src"]);
    let any = all_text(&["src", "tests", "benches"]);
    for (section, text) in [("dependencies", &normal), ("dev-dependencies", &any)] {
        for name in manifest[section].as_table().unwrap().keys() {
            let word = name.replace('-', "_");
            let is_used = text.match_indices(&word).any(|(at, _)| {
                let before = text[..at].chars().next_back().unwrap_or(' ');
                let after = text[at + word.len()..].chars().next().unwrap_or(' ');
                !before.is_alphanumeric() && before != '_' && matches!(after, ':' | ';' | ' ')
            });
            assert!(is_used, "{section}: nothing uses {name}");
        }
    }
}

fn rules() -> toml::Table {
    fs::read_to_string(".deny.toml").unwrap().parse().unwrap()
}

fn strings(list: &toml::Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

/// Returns the packages that a build on Linux takes in.
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version=1"])
        .arg("--filter-platform=x86_64-unknown-linux-gnu")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let built: BTreeSet<_> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let all = metadata["packages"].as_array().unwrap().iter();
    all.filter(|package| built.contains(package["id"].as_str().unwrap())).cloned().collect()
}

/// Reads "A AND (B OR C)" as: of each part joined by AND, one alternative must be allowed.
fn is_allowed(licence: &str, allowed: &[&str]) -> bool {
    licence.replace(['(', ')'], "").split(" AND ").all(|part| {
        part.replace('/', " OR ").split(" OR ").any(|one| allowed.contains(&one.trim()))
    })
}

fn all_text(folders: &[&str]) -> String {
    let files = folders.iter().flat_map(|folder| layers::rust_files(folder));
    files
        .filter(|path| !layers::is_of_tests(path))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}
