//! `walgate check --fix`: runs what was found to be safe, after it was shown.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::cli::failure::{Exit, Failure};
use crate::cli::output;
use crate::config::Config;
use crate::source::Catalog;

/// Shows the statements, asks unless told not to, and runs them one by one. False when there was
/// nothing to run.
pub(super) async fn run(config: &Config, repairs: &[String], yes: bool) -> Result<bool, Failure> {
    if repairs.is_empty() {
        output::note("nothing here can be mended without a person");
        return Ok(false);
    }
    for repair in repairs {
        output::note(repair);
    }
    if !yes {
        confirm()?;
    }
    let connected = Catalog::connect(config.source.url.expose()).await;
    let mut catalog = connected.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    for repair in repairs {
        let applied = catalog.apply("mend what was found", repair).await;
        applied.map_err(|error| Failure::of_stage(Exit::Failed, &error))?;
    }
    Ok(true)
}

/// Asks on a terminal; elsewhere there is nobody to ask.
fn confirm() -> Result<(), Failure> {
    let refused = |message: &str| Failure::new(Exit::Usage, message).help("say --yes to run them");
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(refused("these have to be confirmed, and there is no terminal"));
    }
    let mut stderr = io::stderr().lock();
    let _gone = stderr.write_all(b"run these? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match (read, answer.trim()) {
        (Ok(_), "y" | "Y" | "yes") => Ok(()),
        _ => Err(refused("nothing was run")),
    }
}
