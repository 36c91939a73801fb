//! What the catalog tells of servers, publications and tables (`sql/source/`).

use serde::{Deserialize, Serialize};

use crate::lsn::{Lsn, Oid};
use crate::relation::ReplicaIdentity;

/// From here on a publication may send generated columns, and they count for the replica identity:
/// where one of it is not sent, the server refuses updates and deletes.
pub const GENERATED_SINCE: u32 = 180_000;

/// What the server is and what the role may do.
#[derive(Clone, Debug, Deserialize)]
pub struct Server {
    /// 150018 for 15.18.
    pub version_num: u32,
    /// As the server prints it.
    pub version: String,
    /// `logical` is what is needed.
    pub wal_level: String,
    /// It is a standby.
    pub in_recovery: bool,
    /// Where its log ends now.
    #[serde(deserialize_with = "lsn")]
    pub lsn: Lsn,
    /// When it was started, in seconds since 1970: tells two servers of one cluster apart.
    pub started: String,
    /// The database.
    pub database: String,
    /// The database's encoding.
    pub encoding: String,
    /// How many slots there can be.
    pub max_replication_slots: i64,
    /// How many there are.
    pub used_replication_slots: i64,
    /// How many replication connections there can be.
    pub max_wal_senders: i64,
    /// How many there are.
    pub used_wal_senders: i64,
    /// Beyond it a slot that lags is lost; `-1` is no limit.
    pub max_slot_wal_keep_size: String,
    /// After this much silence the server closes the connection.
    pub wal_sender_timeout: String,
    /// The same in milliseconds; 0 is never.
    pub wal_sender_timeout_ms: i64,
    /// A transaction that is larger goes to the server's disk before it is sent, in KiB.
    pub logical_decoding_work_mem_kb: i64,
    /// A slot that nobody reads for so long is lost; none before PostgreSQL 18.
    pub idle_replication_slot_timeout: Option<String>,
    /// The connection is encrypted.
    pub tls: bool,
    /// It does not leave the machine.
    pub is_local: bool,
    /// How many slots of standbys there are.
    pub standbys: i64,
    /// What its clock said, in microseconds since 1970.
    pub now: i64,
    /// A standby tells its primary which rows it still needs.
    pub hot_standby_feedback: bool,
    /// The role.
    pub role: String,
    /// It may do anything.
    pub superuser: bool,
    /// It may replicate.
    pub replication: bool,
    /// It may make publications.
    pub create: bool,
}

/// A publication.
#[derive(Clone, Debug, Deserialize)]
pub struct Publication {
    /// Its name.
    #[serde(rename = "pubname")]
    pub name: String,
    /// `FOR ALL TABLES`.
    #[serde(rename = "puballtables")]
    pub all_tables: bool,
    /// Publishes inserts.
    #[serde(rename = "pubinsert")]
    pub insert: bool,
    /// Publishes updates.
    #[serde(rename = "pubupdate")]
    pub update: bool,
    /// Publishes deletes.
    #[serde(rename = "pubdelete")]
    pub delete: bool,
    /// Publishes truncates.
    #[serde(rename = "pubtruncate")]
    pub truncate: bool,
    /// Changes of partitions come as the root table's.
    #[serde(rename = "pubviaroot")]
    pub via_root: bool,
}

/// A table of a publication.
#[derive(Clone, Debug, Deserialize)]
pub struct PublishedTable {
    /// The schema, unquoted.
    #[serde(rename = "schemaname")]
    pub namespace: String,
    /// The name, unquoted.
    #[serde(rename = "tablename")]
    pub name: String,
    /// The column list's columns, from PostgreSQL 15; all columns where there is no list.
    #[serde(rename = "attnames")]
    pub columns: Option<Vec<String>>,
    /// The row filter, from PostgreSQL 15.
    #[serde(rename = "rowfilter")]
    pub row_filter: Option<String>,
    /// The columns that it is about.
    #[serde(rename = "filtercolumns")]
    pub filter_columns: Vec<String>,
}

impl PublishedTable {
    /// Whether the stream brings a column, from a server of this version (150018 for 15.18).
    #[must_use]
    pub fn sends(&self, column: &TableColumn, version: u32) -> bool {
        match &self.columns {
            Some(list) => {
                list.contains(&column.name) && (!column.generated || version >= GENERATED_SINCE)
            }
            None => !column.generated,
        }
    }
}

/// In which file a published table lies (`sql/source/table_files.sql`).
#[derive(Clone, Debug, Deserialize)]
pub struct TableFile {
    /// The table's oid.
    #[serde(deserialize_with = "oid")]
    pub oid: Oid,
    /// The schema, unquoted.
    pub namespace: String,
    /// The name, unquoted.
    pub name: String,
    /// The file's number; those of its partitions where it is partitioned.
    pub file: String,
    /// Its columns and their defaults.
    pub columns: Vec<FileColumn>,
    /// The file is not empty.
    pub has_rows: bool,
}

/// A column of a [`TableFile`], or a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileColumn {
    /// Its number in the table; of a default that of the column, negative.
    pub number: i32,
    /// Another after each change of its row in the catalog.
    pub version: String,
    /// Rows that were there before it have a value that is written nowhere in the file.
    pub filled: bool,
}

/// A table as it is now.
#[derive(Clone, Debug, Deserialize)]
pub struct Table {
    /// Its oid.
    #[serde(deserialize_with = "oid")]
    pub oid: Oid,
    /// The schema, unquoted.
    pub namespace: String,
    /// The name, unquoted.
    pub name: String,
    /// It has partitions.
    pub partitioned: bool,
    /// It is one.
    pub partition: bool,
    /// It is not in the log, so that no change of it can be seen.
    pub unlogged: bool,
    /// The table that it is a partition of, over all levels.
    #[serde(deserialize_with = "maybe_oid")]
    pub root: Option<Oid>,
    /// Row-level security is on, and for this role.
    pub row_security: bool,
    /// Some value of it is stored apart.
    pub toasted: bool,
    /// `REPLICA IDENTITY`.
    #[serde(deserialize_with = "identity")]
    pub identity: ReplicaIdentity,
    /// About how many rows, by the last ANALYZE.
    pub rows: i64,
    /// The role may use the schema.
    pub may_use: bool,
    /// The role may read it, where it may use the schema.
    pub may_select: bool,
    /// The role owns it, and may add it to a publication.
    pub owned: bool,
    /// Its columns in order.
    pub columns: Vec<TableColumn>,
    /// The primary key in the key's own order.
    pub primary_key: Vec<String>,
    /// The columns of the index that `REPLICA IDENTITY USING INDEX` names.
    pub identity_index: Vec<String>,
}

impl Table {
    /// Returns the columns that an update or delete brings of the old row.
    #[must_use]
    pub fn identity_columns(&self) -> Vec<&str> {
        match self.identity {
            ReplicaIdentity::Nothing => Vec::new(),
            ReplicaIdentity::Default => self.primary_key.iter().map(String::as_str).collect(),
            ReplicaIdentity::Index => self.identity_index.iter().map(String::as_str).collect(),
            ReplicaIdentity::Full => self.columns.iter().map(|c| c.name.as_str()).collect(),
        }
    }
}

/// What one might take for a table.
#[derive(Clone, Debug, Deserialize)]
pub struct NotTable {
    /// The schema, unquoted.
    pub namespace: String,
    /// The name, unquoted.
    pub name: String,
    /// What it is: `view`, `foreign table`, …
    pub kind: String,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, Deserialize)]
pub struct TableColumn {
    /// The name, unquoted.
    pub name: String,
    /// The type's oid.
    #[serde(deserialize_with = "oid")]
    pub type_oid: Oid,
    /// The type modifier.
    pub type_modifier: i32,
    /// The type as SQL writes it.
    #[serde(rename = "type")]
    pub type_name: String,
    /// `NOT NULL`.
    pub not_null: bool,
    /// `GENERATED ALWAYS AS`: up to PostgreSQL 17 it is never in the stream.
    pub generated: bool,
    /// A large value is stored apart, and not sent with an update that leaves it alone.
    pub toastable: bool,
}

/// What a slot holds back.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SlotWal {
    /// WAL kept for it, in bytes.
    pub retained: Option<i64>,
    /// From its confirmed position to the log's end, in bytes.
    pub lag: Option<i64>,
    /// May still be written before the slot may be lost, in bytes; none where nothing bounds it.
    pub safe: Option<i64>,
    /// The log's end.
    #[serde(deserialize_with = "lsn")]
    pub server_lsn: Lsn,
}

fn lsn<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Lsn, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

fn oid<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Oid, D::Error> {
    u32::deserialize(deserializer).map(Oid)
}

fn maybe_oid<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Oid>, D::Error> {
    Ok(Option::deserialize(deserializer)?.map(Oid))
}

fn identity<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<ReplicaIdentity, D::Error> {
    match String::deserialize(deserializer)?.as_str() {
        "d" => Ok(ReplicaIdentity::Default),
        "n" => Ok(ReplicaIdentity::Nothing),
        "f" => Ok(ReplicaIdentity::Full),
        "i" => Ok(ReplicaIdentity::Index),
        _ => Err(serde::de::Error::custom("unknown replica identity")),
    }
}
