//! The page for users: its examples are configs that walgate takes.

use std::path::Path;

use walgate::config::{Environment, parse};

#[test]
fn every_example_of_the_page_is_a_config() {
    let page = include_str!("../../../docs/sinks.md");
    let variable = |name: &str| {
        Some(match name {
            "PARTNER_SECRET" => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(),
            _ => "value".to_owned(),
        })
    };
    let environment = Environment { variable: &variable, folder: Path::new("/tmp") };
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 10, "{}", examples.len());
    for example in examples {
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
}
