//! Where PostgreSQL's programs are, and as whom they run: the server refuses to run as root.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;

use super::{Error, io, run};

/// Folders of server programs, each with `*` for one path component.
const PLACES: [&str; 4] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/var/cache/walgate/postgres/*/bin",
];

/// One installed PostgreSQL server.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The major version: `15`.
    pub major: u32,
    /// The full version: `15.18`.
    pub version: String,
    /// The folder that holds `postgres` and `initdb`.
    pub bin: PathBuf,
}

impl Installation {
    /// Returns every server found: `WALGATE_PG_BIN` first, then the usual places, `PATH`, and what
    /// the project's set-up has unpacked.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut folders: Vec<PathBuf> = split_paths("WALGATE_PG_BIN");
        folders.extend(PLACES.iter().flat_map(|place| expand(place)));
        if let Some(home) = env::var_os("HOME") {
            let cache = Path::new(&home).join(".cache/walgate/postgres/*/bin");
            folders.extend(expand(&cache.to_string_lossy()));
        }
        folders.extend(split_paths("PATH"));
        let mut found: Vec<Self> = Vec::new();
        for one in folders.iter().filter_map(|folder| Self::at(folder)) {
            if found.iter().all(|known| known.bin != one.bin) {
                found.push(one);
            }
        }
        found
    }

    /// Returns the first installation of a major version, or the newest of all.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(major: Option<u32>) -> Result<Self, Error> {
        let all = Self::all();
        let found = match major {
            Some(major) => all.into_iter().find(|one| one.major == major),
            // The first of equals: `max_by_key` alone would take the last.
            None => all.into_iter().rev().max_by_key(|one| one.major),
        };
        let wanted = major.map_or_else(String::new, |major| format!("{major} "));
        found.ok_or(Error::NotInstalled { wanted })
    }

    fn at(bin: &Path) -> Option<Self> {
        // A link in PATH leads to the folder where the other programs are too.
        let initdb = fs::canonicalize(bin.join("initdb")).ok()?;
        let bin = initdb.parent()?.to_owned();
        let output = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
        let version = text.split_whitespace().nth(2)?.to_owned();
        let digits = version.split(|letter: char| !letter.is_ascii_digit()).next()?;
        Some(Self { major: digits.parse().ok()?, version, bin })
    }

    /// Makes a new cluster's files in `data`.
    pub(super) fn initdb(&self, account: &Account, data: &Path) -> Result<(), Error> {
        let mut command = account.command(&self.bin.join("initdb"));
        command.args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]);
        command.args(["--locale=C", "-D"]).arg(data).current_dir("/");
        run("initdb", command)
    }

    /// Returns a folder to copy new clusters from, made once per version and account.
    pub(super) fn template(&self, account: &Account, base: &Path) -> Result<PathBuf, Error> {
        let name = format!("walgate-template-{}-{}", self.version, account.uid);
        let template = base.join(&name);
        // Whoever else can write to the temporary folder must not hand us a cluster.
        let is_ours = |path: &Path| {
            fs::symlink_metadata(path)
                .is_ok_and(|found| found.is_dir() && found.uid() == account.uid)
        };
        if is_ours(&template) {
            return Ok(template);
        }
        let fresh = tempfile::Builder::new()
            .prefix(&format!("{name}-"))
            .tempdir_in(base)
            .map_err(io("make a temporary folder"))?;
        account.own(fresh.path())?;
        let data = fresh.path().join("data");
        self.initdb(account, &data)?;
        match fs::rename(&data, &template) {
            Ok(()) => Ok(template),
            // Another process was faster; its template is as good.
            Err(_) if is_ours(&template) => Ok(template),
            Err(error) => Err(io("keep the template cluster")(error)),
        }
    }
}

/// The user a server runs as.
#[derive(Clone, Debug)]
pub(super) struct Account {
    uid: u32,
    gid: u32,
    /// Whether this process is root and must become that user.
    is_switched: bool,
}

impl Account {
    /// Returns this process's own user; for root, `postgres`, else `nobody`.
    #[must_use]
    pub(super) fn for_server() -> Self {
        let (uid, gid) = fs::metadata("/proc/self").map_or((0, 0), |own| (own.uid(), own.gid()));
        if uid != 0 {
            return Self { uid, gid, is_switched: false };
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let ids = |name: &str| {
            users.lines().find_map(|line| {
                let mut parts = line.split(':');
                (parts.next()? == name).then_some(())?;
                Some((parts.nth(1)?.parse().ok()?, parts.next()?.parse().ok()?))
            })
        };
        // 65534 is nobody's number on every Linux.
        let (uid, gid) = ids("postgres").or_else(|| ids("nobody")).unwrap_or((65534, 65534));
        Self { uid, gid, is_switched: true }
    }

    /// Returns a command that runs as this user.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if self.is_switched {
            command.uid(self.uid).gid(self.gid);
        }
        // The session's settings are not the server's.
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGUSER", "PGDATABASE", "PGOPTIONS"] {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C");
        command
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(&self, path: &Path) -> Result<(), Error> {
        if !self.is_switched {
            return Ok(());
        }
        chown(path, Some(self.uid), Some(self.gid)).map_err(io("change an owner"))
    }

    /// Returns the first temporary folder that this user can reach: `TMPDIR` may lie in a folder
    /// that only root may enter.
    pub(super) fn temporary_folder(&self) -> PathBuf {
        let own = env::temp_dir();
        if !self.is_switched {
            return own;
        }
        let candidates = [own.clone(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")];
        candidates.into_iter().find(|folder| is_open_to_others(folder)).unwrap_or(own)
    }
}

/// Whether every folder on the way may be entered by anyone.
fn is_open_to_others(folder: &Path) -> bool {
    let is_open = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & 0o001 != 0);
    fs::canonicalize(folder).is_ok_and(|folder| folder.ancestors().all(is_open))
}

fn split_paths(variable: &str) -> Vec<PathBuf> {
    env::var_os(variable).map(|value| env::split_paths(&value).collect()).unwrap_or_default()
}

/// Returns the paths that a pattern with one `*` in one component stands for, highest first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(if folder.is_empty() { "/" } else { folder }) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(start))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse((name.len(), name.clone())));
    names.iter().map(|name| PathBuf::from(format!("{folder}/{name}{after}"))).collect()
}
