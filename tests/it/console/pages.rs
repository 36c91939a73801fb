//! The pages in headless Chromium, and the interface under generated questions.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LAB, Shop};
use crate::formats;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;

/// Returns the folder that `scripts/setup test` has put the browser's driver into.
#[track_caller]
fn modules() -> PathBuf {
    let home = std::env::var("HOME").unwrap_or_default();
    let places = ["/var/cache/walgate".to_owned(), format!("{home}/.cache/walgate")];
    let mut places = places.iter().map(|place| Path::new(place).join("node/node_modules"));
    let found = places.find(|modules| modules.join("playwright-core").exists());
    found.unwrap_or_else(|| panic!("`scripts/setup test` fetches the browser's driver"))
}

#[test]
fn a_person_reads_it_all_and_sends_a_dead_letter_again() {
    let shop = Shop::start(LAB);
    // What the sink takes from now on.
    shop.receiver.behave();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/console/pages.js");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules()).arg(script);
    command.arg(format!("http://{}", shop.road.walgate.admin()));
    // Where the screenshots of the docs are to be made anew.
    if let Ok(folder) = std::env::var("WALGATE_SCREENSHOTS") {
        command.arg(folder);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    eventually("it arrived", PATIENCE, || {
        let events = shop.receiver.journal().events();
        events.iter().filter(|event| event.0["data"]["id"] == 3).count() == 1
    });
}

#[test]
fn the_token_is_shown_by_a_form_that_a_browser_sends() {
    let mut shop = Shop::start("");
    let token = shop.wants_token();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/console/login.js");
    let mut command = Command::new("node");
    command.env("NODE_PATH", modules()).arg(script);
    command.args([&format!("http://{}", shop.road.walgate.admin()), token]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn generated_questions_find_nothing_that_the_description_does_not_say() {
    let shop = Shop::start(LAB);
    let address = format!("http://{}", shop.road.walgate.admin());
    let schemathesis = formats::interpreter().with_file_name("schemathesis");
    let mut command = Command::new(schemathesis);
    command.args(["run", &format!("{address}/v1/openapi.json"), "--url", &address]);
    // Below what is allowed in changes a second; the same questions on every machine.
    command.args(["--rate-limit", "20/s", "--max-examples", "12", "--seed", "1"]);
    command.args(["--phases", "coverage,fuzzing", "--checks", "all", "--no-color"]);
    // Those that others have to be found by hand: there is one sink `near`, and no route `0`.
    let output = command.current_dir(shop.road.walgate.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let description = shop.road.walgate.get("/v1/openapi.json").body;
    let description: serde_json::Value = serde_json::from_str(&description).unwrap();
    let paths = description["paths"].as_object().unwrap();
    let operations: usize = paths.values().map(|path| path.as_object().unwrap().len()).sum();
    // The description itself is left out: it was read before.
    let tested = format!("Tested: {}", operations - 1);
    assert!(said.contains(&tested), "{tested} of {operations}: {said}");
    assert_eq!(shop.road.walgate.get("/healthz").status, 200);
}
