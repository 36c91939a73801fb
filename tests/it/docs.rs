//! What the documents show is true.

use std::fs;
use std::path::Path;

use walgate::config::{self, Environment};

#[test]
fn the_readmes_configuration_is_one() {
    let readme = fs::read_to_string("README.md").unwrap();
    let (_, rest) = readme.split_once("<<'TOML'\n").unwrap();
    let (text, _) = rest.split_once("\nTOML\n").unwrap();
    let variable = |_: &str| Some("postgres://postgres@localhost/shop".to_owned());
    let environment = Environment { variable: &variable, folder: Path::new(".") };
    let config = config::parse("walgate.toml", text, &environment).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let pages = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(Into::into);
    let docs = fs::read_dir("docs").unwrap().map(|entry| entry.unwrap().path());
    for page in pages.into_iter().chain(docs) {
        let text = fs::read_to_string(&page).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            let is_local = !file.is_empty() && !file.contains("://");
            let there = page.parent().unwrap().join(file);
            assert!(!is_local || there.exists(), "{} links to {link}", page.display());
        }
    }
}

#[test]
fn the_page_of_the_config_lists_every_key() {
    let page = fs::read_to_string("docs/config.md").unwrap();
    let made = "docs/config.md is made by `walgate schema --markdown`";
    assert_eq!(page, config::reference(), "{made}");
}
