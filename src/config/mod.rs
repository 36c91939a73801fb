//! TOML → [`Config`]: every problem at once, each with line, column and cure.
//!
//! Knows the stages' settings and nothing of what they do. What only the server can tell (tables,
//! rights, replica identities) is for `walgate check`.

mod cell;
mod compile;
mod interpolate;
mod keys;
mod problem;
mod reference;
mod schema;
mod shown;
mod tree;
pub mod trial;
pub mod unit;
mod walk;

use std::path::{Path, PathBuf};

use toml::de::DeTable;

pub use self::compile::{Admin, Config, Confirm, Journal, OnFull, Otlp, Sink, SinkKind, Source};
pub use self::interpolate::Environment;
pub use self::keys::{Kind, kinds};
use self::problem::Notes;
pub use self::problem::{Problem, Problems};
pub use self::reference::reference;
pub use self::schema::schema;
use self::walk::Walker;
pub(crate) use self::walk::suggestion;

/// Reads and checks a config file with the process's environment.
///
/// # Errors
/// Everything that is wrong with it, sorted by place.
pub fn load(path: &Path) -> Result<Config, Problems> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| {
        let cure = "; `walgate init --url URL` writes one, `-c FILE` names another";
        let cure = if error.kind() == std::io::ErrorKind::NotFound { cure } else { "" };
        let message = format!("cannot be read: {error}{cure}");
        Problems(vec![Problem { line: 0, column: 0, file: file.clone(), message }])
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let variable = |name: &str| std::env::var(name).ok();
    parse(&file, &text, &Environment { variable: &variable, folder: &folder })
}

/// Reads and checks the text of a config; `file` is what problems call it.
///
/// # Errors
/// Everything that is wrong with it, sorted by place.
pub fn parse(file: &str, text: &str, environment: &Environment<'_>) -> Result<Config, Problems> {
    let mut notes = Notes::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        notes.problem(&error.span().unwrap_or(0..0), format!("not TOML: {}", error.message()));
    }
    // What the parser made of a broken file says nothing about what the user meant.
    if !errors.is_empty() {
        return Err(Problems(notes.finish().0));
    }
    let mut walker = Walker { notes: &mut notes, environment, is_closed: false };
    let tree = walker.table(&keys::ROOT, document.get_ref(), 0..0);
    let config = compile::compile(&tree, environment.folder, &mut notes);
    let (problems, warnings) = notes.finish();
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Config { warnings, text: shown::text(&keys::ROOT, &tree), ..config })
        }
        _ if problems.is_empty() => {
            let message = "could not be understood; this is a fault of walgate".to_owned();
            let file = file.to_owned();
            Err(Problems(vec![Problem { line: 0, column: 0, file, message }]))
        }
        _ => Err(Problems(problems)),
    }
}
