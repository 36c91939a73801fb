//! The pages for users: their examples are configs that walgate takes.

use std::fs;
use std::path::Path;

use walgate::config::{Environment, parse};

#[test]
fn every_example_of_a_page_is_a_config() {
    let pages = fs::read_dir("docs/sinks").unwrap().map(|entry| entry.unwrap().path());
    let mut count = 0;
    for path in pages.chain(["docs/sinks.md".into()]) {
        let page = fs::read_to_string(&path).unwrap();
        assert!(are_configs(&page) > 0, "{} has no example", path.display());
        count += 1;
    }
    assert!(count > 10, "{count}");
}

/// Returns how many examples a page has, all of them good.
#[track_caller]
fn are_configs(page: &str) -> usize {
    let variable = |name: &str| {
        Some(match name {
            "WAREHOUSE_URL" => "postgres://warehouse/shop".to_owned(),
            "REDIS_URL" => "rediss://localhost".to_owned(),
            "PARTNER_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            _ => "value".to_owned(),
        })
    };
    let environment = Environment { variable: &variable, folder: Path::new("/tmp") };
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    for example in &examples {
        let (_, name) = example.split_once("[sink.").unwrap();
        let (name, _) = name.split_once([']', '.']).unwrap();
        let text = format!(
            "[source]\nurl = \"postgres://localhost/shop\"\npublication = \"walgate\"\n\
             slot = \"walgate\"\n[state]\npath = \"state\"\n{example}\n\
             [[route]]\nname = \"r\"\ntable = \"public.t\"\nsink = \"{name}\"\n"
        );
        let config = parse("sinks.md", &text, &environment);
        assert!(config.is_ok(), "{}\n{example}", config.unwrap_err());
    }
    examples.len()
}
