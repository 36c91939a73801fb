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
    let folders = ["docs", "docs/sinks"].into_iter();
    let docs = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    let docs = docs.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    for page in pages.into_iter().chain(docs) {
        let text = fs::read_to_string(&page).unwrap();
        for (_, rest) in text.match_indices("](").map(|(at, _)| text.split_at(at + 2)) {
            let link = rest.split(')').next().unwrap();
            let file = link.split('#').next().unwrap();
            if file.contains("://") {
                continue;
            }
            let there =
                if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(there.exists(), "{} links to {link}", page.display());
            if let Some((_, anchor)) = link.split_once('#') {
                let there = fs::read_to_string(&there).unwrap();
                assert!(has_heading(&there, anchor), "{} links to {link}", page.display());
            }
        }
    }
}

/// Whether a page has a heading of that anchor: in small letters, spaces as `-`, no other signs.
fn has_heading(page: &str, anchor: &str) -> bool {
    let slug = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
    };
    page.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor)
}

/// The page is read with a line of a log in hand: a message that walgate no longer says so is a
/// trap.
#[test]
fn the_messages_of_the_troubleshooting_page_are_what_walgate_says() {
    let said = strings_of(Path::new("src"));
    let page = fs::read_to_string("docs/troubleshooting.md").unwrap();
    let mut count = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let message = line.trim_start_matches("| `").split('`').next().unwrap();
        for part in message.split('…').map(str::trim).filter(|part| part.len() > 3) {
            let part = part.replace('"', "\\\"");
            assert!(said.contains(&part), "nowhere is said: {part}");
        }
        count += 1;
    }
    assert!(count > 40, "{count} messages are looked for");
}

/// Returns the sources under a folder, with the strings that go over several lines in one.
fn strings_of(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.push_str(&strings_of(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut parts = text.split("\\\n");
            all.push_str(parts.next().unwrap());
            parts.for_each(|part| all.push_str(part.trim_start()));
        }
    }
    all
}

#[test]
fn the_page_of_the_config_lists_every_key() {
    let page = fs::read_to_string("docs/config.md").unwrap();
    let made = "docs/config.md is made by `walgate schema --markdown`";
    assert_eq!(page, config::reference(), "{made}");
}
