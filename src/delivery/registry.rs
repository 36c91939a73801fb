//! The registry of mappings: versions that ran, read back as they were.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use crate::lsn::Timestamp;
use crate::mapping::{
    CanonicalError, Difference, Format, Mapping, Route, SinkMapper, SourceLabel, differences,
    routes_at,
};

/// Why a version of a mapping is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum NotKept {
    /// It never ran here.
    #[error("version {version} of mapping \"{name}\" never ran here{}", ran(known))]
    Unknown {
        /// The mapping.
        name: String,
        /// What was asked for.
        version: u32,
        /// The versions that did.
        known: Vec<u32>,
    },
    /// What is stored of it can't be read.
    #[error("version {version} of mapping \"{name}\" can't be read")]
    Unreadable {
        /// The mapping.
        name: String,
        /// The version.
        version: u32,
        /// The cause.
        source: CanonicalError,
    },
    /// It hid values with another key, which is not stored.
    #[error(
        "version {version} of mapping \"{name}\" hid values with another `mask_key`: give the \
         mapping that key to have this version again"
    )]
    OtherKey {
        /// The mapping.
        name: String,
        /// The version.
        version: u32,
    },
    /// It looked values up in a file that was too large to be stored.
    #[error(
        "version {version} of mapping \"{name}\" can be had only while the file that its field \
         `{field}` looked values up in is as it was: it was too large to be kept, and has changed"
    )]
    OtherFile {
        /// The mapping.
        name: String,
        /// The version.
        version: u32,
        /// The field.
        field: String,
    },
    /// What is stored of it is not what ran.
    #[error("version {version} of mapping \"{name}\" is not as it was stored")]
    Changed {
        /// The mapping.
        name: String,
        /// The version.
        version: u32,
    },
}

fn ran(known: &[u32]) -> String {
    let known: Vec<String> = known.iter().map(u32::to_string).collect();
    if known.is_empty() { String::new() } else { format!("; versions {} did", known.join(", ")) }
}

/// Makes mappers that write events as another version of a mapping does.
#[derive(Clone, Debug)]
pub struct Versions {
    /// The sink's, in the order of the config.
    pub routes: Vec<Arc<Route>>,
    /// Where events come from.
    pub source: SourceLabel,
    /// What bodies look like.
    pub format: Format,
}

impl Versions {
    /// Returns the routes that are held when a table of theirs changes.
    pub(super) fn watched(&self) -> impl Iterator<Item = String> + '_ {
        let routes = self.routes.iter().filter(|route| route.holds_at_schema_change);
        routes.map(|route| route.name.clone())
    }

    /// Returns the mapper of today's versions.
    #[must_use]
    pub fn today(&self) -> SinkMapper {
        SinkMapper::new(self.routes.clone(), &self.source, self.format)
    }

    /// Returns the mapper with these versions in place of their mappings' own.
    #[must_use]
    pub fn at(&self, mappings: &[Arc<Mapping>]) -> SinkMapper {
        let routes = mappings.iter().fold(self.routes.clone(), |routes, m| routes_at(&routes, m));
        SinkMapper::new(routes, &self.source, self.format)
    }
}

/// Returns the mapping of this name that routes have.
#[must_use]
pub fn mapping_today<'r>(routes: &'r [Arc<Route>], name: &str) -> Option<&'r Arc<Mapping>> {
    routes.iter().filter_map(|route| route.mapping.as_ref()).find(|own| own.name == name)
}

/// A version of a mapping, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The mapping.
    pub name: String,
    /// The version.
    pub version: u32,
    /// See [`Mapping::hash`].
    pub hash: String,
    /// See [`Mapping::canonical`].
    pub body: String,
    /// When it ran first.
    pub first_seen: Timestamp,
}

/// Returns every version that ran, by name and number. To run inside `State::read` or
/// `Reader::read`.
///
/// # Errors
/// Any of SQLite's.
pub fn all(connection: &Connection) -> rusqlite::Result<Vec<Kept>> {
    let sql = "SELECT name, version, hash, body, first_seen FROM mappings ORDER BY name, version";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Kept {
            name: row.get(0)?,
            version: row.get(1)?,
            hash: row.get(2)?,
            body: row.get(3)?,
            first_seen: Timestamp::from_unix_micros(row.get(4)?),
        })
    })?;
    rows.collect()
}

/// Stores a version that runs from now on; one that is stored stays as it is. To run inside
/// `State::write`.
///
/// # Errors
/// Any of SQLite's.
pub fn remember(
    connection: &Connection,
    mapping: &Mapping,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO mappings (name, version, hash, body, first_seen)
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (name, version) DO NOTHING";
    let Mapping { name, version, .. } = mapping;
    let (hash, body) = (mapping.hash(), mapping.canonical());
    connection.prepare(sql)?.execute((name, version, hash, body, now.unix_micros())).map(drop)
}

/// A mapping that is not what ran under its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// The mapping.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// In what it is not as it was, never empty.
    pub differences: Vec<Difference>,
    /// The lowest number above every version that ran.
    pub free: u32,
}

/// Returns the mappings that are not what ran under their numbers.
#[must_use]
pub fn changed(kept: &[Kept], mappings: &[Arc<Mapping>]) -> Vec<Changed> {
    let one = |mapping: &Arc<Mapping>| {
        let of = || kept.iter().filter(|kept| kept.name == mapping.name);
        let ran = of().find(|kept| kept.version == mapping.version)?;
        let highest = of().map(|kept| kept.version).max().unwrap_or_default();
        (ran.hash != mapping.hash()).then(|| Changed {
            name: mapping.name.clone(),
            version: mapping.version,
            differences: differences(&ran.body, &mapping.canonical()),
            free: highest.saturating_add(1),
        })
    };
    mappings.iter().filter_map(one).collect()
}

/// Returns a version of a mapping as it was when it ran, for
/// [`routes_at`](crate::mapping::routes_at). To run inside `State::read` or `Reader::read`.
///
/// What is not stored of it, the key of masks and large files, is lent by the mapping as it is
/// `today`.
///
/// # Errors
/// Any of SQLite's; within, why that version is not to be had.
pub fn mapping(
    connection: &Connection,
    name: &str,
    version: u32,
    today: Option<&Mapping>,
) -> rusqlite::Result<Result<Mapping, NotKept>> {
    let sql = "SELECT hash, body FROM mappings WHERE name = ?1 AND version = ?2";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let found: Option<(String, String)> =
        connection.prepare(sql)?.query_row((name, version), row).optional()?;
    let owned = || name.to_owned();
    let Some((hash, body)) = found else {
        let sql = "SELECT version FROM mappings WHERE name = ?1 ORDER BY version";
        let mut statement = connection.prepare(sql)?;
        let known: Result<Vec<u32>, _> = statement.query_map([name], |row| row.get(0))?.collect();
        return Ok(Err(NotKept::Unknown { name: owned(), version, known: known? }));
    };
    Ok(match Mapping::from_canonical(name, version, &body, today) {
        Err(CanonicalError::OtherKey) => Err(NotKept::OtherKey { name: owned(), version }),
        Err(CanonicalError::OtherFile { field }) => {
            Err(NotKept::OtherFile { name: owned(), version, field })
        }
        Err(source) => Err(NotKept::Unreadable { name: owned(), version, source }),
        Ok(mapping) if mapping.hash() != hash => Err(NotKept::Changed { name: owned(), version }),
        Ok(mapping) => Ok(mapping),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::{Field, Rest};
    use crate::state::State;

    fn version(version: u32, column: &str) -> Mapping {
        let fields = vec![Field::column("email", column)];
        Mapping { rest: Rest::Include, ..Mapping::new("contact", version, fields) }
    }

    #[tokio::test]
    async fn a_number_belongs_to_the_fields_that_ran_under_it_first() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let at = |micros| Timestamp::from_unix_micros(micros);
        for (mapping, micros) in [(version(1, "mail"), 5), (version(7, "m"), 6)] {
            state.write(move |c| remember(c, &mapping, at(micros))).await.unwrap();
        }
        let other = version(1, "email");
        let again = other.clone();
        state.write(move |c| remember(c, &again, at(9))).await.unwrap();
        let kept = state.read(all).await.unwrap();
        assert_eq!(kept.len(), 2);
        assert_eq!((kept[0].hash.clone(), kept[0].first_seen), (version(1, "mail").hash(), at(5)));
        let as_they_ran = [version(1, "mail"), version(8, "new")].map(Arc::new);
        assert_eq!(changed(&kept, &as_they_ran), []);
        let [found] = changed(&kept, &[Arc::new(other)]).try_into().unwrap();
        assert_eq!((found.version, found.free), (1, 8));
        let said: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["field \"email\": \"column\" is another"]);
    }

    #[tokio::test]
    async fn a_version_that_ran_is_read_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let store = |version: u32, hash: String, body: String| {
            state.write(move |c| {
                let sql = "INSERT INTO mappings (name, version, hash, body, first_seen)
                           VALUES ('contact', ?1, ?2, ?3, 0)";
                c.execute(sql, (version, hash, body)).map(drop)
            })
        };
        let [one, two] = [version(1, "mail"), version(2, "email")];
        for mapping in [&one, &two] {
            store(mapping.version, mapping.hash(), mapping.canonical()).await.unwrap();
        }
        store(3, two.hash(), one.canonical()).await.unwrap();
        store(4, String::new(), "{}".into()).await.unwrap();
        let load = async |version: u32| {
            state.read(move |c| mapping(c, "contact", version, None)).await.unwrap()
        };
        assert_eq!(load(1).await.unwrap(), one);
        assert_eq!(load(2).await.unwrap(), two);
        assert!(matches!(load(3).await, Err(NotKept::Changed { version: 3, .. })));
        assert!(matches!(load(4).await, Err(NotKept::Unreadable { version: 4, .. })));
        let error = load(9).await.unwrap_err().to_string();
        let expected = "version 9 of mapping \"contact\" never ran here; versions 1, 2, 3, 4 did";
        assert_eq!(error, expected);
    }
}
