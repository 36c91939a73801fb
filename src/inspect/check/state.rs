//! The state folder: whether walgate can write there, and how much.

use std::path::{Path, PathBuf};

use super::report::Report;
use crate::config::Config;
use crate::delivery::{KeptMapping, changed_mappings, kept_mappings};
use crate::inspect::words::bytes;
use crate::state::State;

pub(super) fn check(config: &Config, report: &mut Report) {
    mappings(config, report);
    let folder = &config.state;
    let subject = format!("state {}", folder.display());
    let there = nearest(folder);
    if State::is_in_use(folder) {
        let seen = "in use by a running instance";
        report.warn("state.lock", &subject, seen, "a second `walgate run` here ends with code 6");
    } else if let Err(error) = tempfile::tempfile_in(&there) {
        let seen = format!("cannot write to {}: {error}", there.display());
        let fix = "give it to the user who runs walgate, or set state.path";
        report.fail("state.writable", &subject, seen, fix);
    } else if there == *folder {
        report.ok("state.writable", &subject, "writable, nobody runs on it");
    } else {
        report.ok("state.writable", &subject, "not there yet; `run` makes it");
    }
    let Ok(disk) = rustix::fs::statvfs(&there) else { return };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let (wanted, reserve) = (config.journal.max_size, config.journal.reserve);
    let seen = format!("{} free", bytes(free));
    if free <= reserve {
        let fix = format!("free disk space, or lower journal.reserve ({})", bytes(reserve));
        report.fail("state.disk", &subject, seen, &fix);
    } else if free < wanted.saturating_add(reserve) {
        let seen = format!("{seen}; the journal may grow to {}", bytes(wanted));
        let fix = "free disk space, or lower journal.max_size";
        report.warn("state.disk", &subject, seen, fix);
    } else {
        report.ok("state.disk", &subject, seen);
    }
}

/// Whether each mapping is what ran under its number.
fn mappings(config: &Config, report: &mut Report) {
    let Ok(reader) = State::open_reader(&config.state) else { return };
    let Ok(kept) = reader.read(kept_mappings) else { return };
    let mappings = config.routed_mappings();
    let changed = changed_mappings(&kept, &mappings);
    for mapping in &mappings {
        let subject = format!("mapping {}", mapping.name);
        match changed.iter().find(|changed| changed.name == mapping.name) {
            Some(changed) => {
                let said: Vec<String> =
                    changed.differences.iter().map(ToString::to_string).collect();
                let seen = format!(
                    "version {} is not what it was when it ran: {}; `run` ends with code 4",
                    mapping.version,
                    said.join(", ")
                );
                let fix = format!("version = {}, or take the change back", changed.free);
                report.fail("mapping.version", &subject, seen, &fix);
            }
            None => {
                let is_it = |kept: &KeptMapping| {
                    kept.name == mapping.name && kept.version == mapping.version
                };
                let seen = if kept.iter().any(is_it) { "as it ran" } else { "new" };
                report.ok(
                    "mapping.version",
                    &subject,
                    format!("version {}, {seen}", mapping.version),
                );
            }
        }
    }
}

/// Returns the folder, or the nearest above it that is there.
fn nearest(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|folder| folder.is_dir());
    found.filter(|found| !found.as_os_str().is_empty()).map_or_else(|| ".".into(), Path::to_owned)
}
