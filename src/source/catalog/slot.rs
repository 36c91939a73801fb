//! [`SlotRow`]: what the server says of a slot.

use serde_json::Value;

use crate::lsn::Lsn;

/// Whether somebody else moved a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// Nobody.
    No,
    /// Somebody, over what was received: nothing is missed. A slot that was made anew is never
    /// there, it begins behind all that anybody has read.
    Within,
    /// Somebody, or it was made anew: there is a gap.
    Over,
}

/// A row of `pg_replication_slots`.
#[derive(Clone, Debug)]
pub struct SlotRow {
    /// Every column of the server's version, as it prints them.
    pub row: serde_json::Map<String, Value>,
}

impl SlotRow {
    fn text(&self, column: &str) -> Option<&str> {
        self.row.get(column).and_then(Value::as_str)
    }

    fn is(&self, column: &str) -> bool {
        self.row.get(column).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("slot_name").unwrap_or_default()
    }

    /// Returns its confirmed position; none while it is being made.
    #[must_use]
    pub fn confirmed(&self) -> Option<Lsn> {
        self.text("confirmed_flush_lsn").and_then(|text| text.parse().ok())
    }

    /// Returns where the WAL that is kept for it starts.
    #[must_use]
    pub fn restart(&self) -> Option<Lsn> {
        self.text("restart_lsn").and_then(|text| text.parse().ok())
    }

    /// Returns whether a connection holds it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.is("active")
    }

    /// Returns the process that holds it.
    #[must_use]
    pub fn active_pid(&self) -> Option<i32> {
        self.row.get("active_pid").and_then(Value::as_i64).and_then(|pid| pid.try_into().ok())
    }

    /// Returns whether it sends a transaction when it is prepared.
    #[must_use]
    pub fn is_two_phase(&self) -> bool {
        self.is("two_phase")
    }

    /// Compares its position with what was `confirmed` and `received` from here.
    ///
    /// What is prepared and not ended lies before the one and is not part of the other: it has to
    /// come again.
    #[must_use]
    pub fn moved(&self, confirmed: Lsn, received: Lsn) -> Moved {
        match self.confirmed() {
            Some(seen) if seen <= confirmed => Moved::No,
            None => Moved::No,
            Some(seen) if seen <= received && !self.is_two_phase() => Moved::Within,
            Some(_) => Moved::Over,
        }
    }

    /// Returns `reserved`, `extended`, `unreserved` or `lost`.
    #[must_use]
    pub fn wal_status(&self) -> Option<&str> {
        self.text("wal_status")
    }

    /// Returns whether it is a copy of the primary's, from PostgreSQL 17 on. It says nothing on a
    /// primary.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.is("synced")
    }

    /// Returns whether standbys may keep a copy of it; none where the server knows no such thing.
    #[must_use]
    pub fn fails_over(&self) -> Option<bool> {
        self.row.get("failover").and_then(Value::as_bool)
    }

    /// Returns why the server can no longer serve it, where it cannot.
    #[must_use]
    pub fn lost(&self) -> Option<String> {
        if let Some(reason) = self.text("invalidation_reason") {
            return Some(reason.to_owned());
        }
        if self.is("conflicting") {
            return Some("conflicting".to_owned());
        }
        (self.wal_status() == Some("lost")).then(|| "wal_status lost".to_owned())
    }

    /// Returns what makes it unfit for `database`, and how it is instead.
    #[must_use]
    pub fn foreign(&self, database: &str) -> Option<(&'static str, String)> {
        let differs = |what: &'static str, column: &str, wanted: &str| {
            let seen = self.text(column).unwrap_or("none");
            (seen != wanted).then(|| (what, seen.to_owned()))
        };
        differs("type", "slot_type", "logical")
            .or_else(|| differs("plugin", "plugin", "pgoutput"))
            .or_else(|| differs("database", "database", database))
            .or_else(|| self.is("temporary").then(|| ("temporary", "true".to_owned())))
    }
}
