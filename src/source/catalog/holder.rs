//! [`Holder`]: who keeps the slot's WAL, or its making, waiting.

use std::fmt;

use serde::Deserialize;

use super::{Catalog, quote_literal};
use crate::source::Error;

/// A transaction that has written and not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Holder {
    /// The process; none of a prepared transaction.
    pub pid: Option<i32>,
    /// The name of a prepared transaction.
    pub gid: Option<String>,
    /// Its number.
    pub xid: String,
    /// Its role.
    pub role: Option<String>,
    /// Its database.
    pub database: Option<String>,
    /// What the session calls itself.
    pub application_name: Option<String>,
    /// What the session does, where we may see it; `prepared` of a prepared transaction.
    pub state: Option<String>,
    /// How long it has been open, where we may see it.
    pub seconds: Option<i64>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.gid, self.pid) {
            (Some(gid), _) => write!(f, "prepared transaction {gid:?}")?,
            (None, Some(pid)) => write!(f, "the transaction of process {pid}")?,
            (None, None) => write!(f, "transaction {}", self.xid)?,
        }
        let state = self.state.clone().filter(|_| self.gid.is_none());
        let name = self.application_name.clone().filter(|name| !name.is_empty());
        let role = self.role.as_ref().map(|role| format!("role {role}"));
        let parts: Vec<String> = [name, role, state].into_iter().flatten().collect();
        if !parts.is_empty() {
            write!(f, " ({})", parts.join(", "))?;
        }
        self.seconds.map_or(Ok(()), |seconds| write!(f, ", open for {seconds} s"))
    }
}

impl Holder {
    /// Returns the statement that ends it.
    #[must_use]
    pub fn cure(&self) -> String {
        match (&self.gid, self.pid) {
            (Some(gid), _) => {
                let gid = quote_literal(gid);
                format!("COMMIT PREPARED {gid}; or ROLLBACK PREPARED {gid};")
            }
            (None, Some(pid)) => format!("SELECT pg_terminate_backend({pid});"),
            (None, None) => String::new(),
        }
    }
}

impl Catalog {
    /// Returns who keeps the slot's WAL, or its making, waiting: the oldest first, a few of them.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn holders(&mut self) -> Result<Vec<Holder>, Error> {
        let sql = include_str!("../../../sql/source/holders.sql");
        self.objects("look at open transactions", sql, &[]).await
    }

    /// Returns the slots of standbys that failover slots wait for and that are not served now.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn absent_standbys(&mut self) -> Result<Vec<String>, Error> {
        let sql = include_str!("../../../sql/source/standby_slots.sql");
        self.objects("look at the standbys' slots", sql, &[]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_named_with_what_is_known_of_it_and_how_to_end_it() {
        let session = Holder {
            pid: Some(42),
            application_name: Some("psql".to_owned()),
            role: Some("app".to_owned()),
            state: Some("idle in transaction".to_owned()),
            seconds: Some(61),
            ..Holder::default()
        };
        let expected =
            "the transaction of process 42 (psql, role app, idle in transaction), open for 61 s";
        assert_eq!(session.to_string(), expected);
        assert_eq!(session.cure(), "SELECT pg_terminate_backend(42);");
        let prepared = Holder {
            gid: Some("it's".to_owned()),
            state: Some("prepared".to_owned()),
            ..Holder::default()
        };
        assert_eq!(prepared.to_string(), "prepared transaction \"it's\"");
        assert_eq!(prepared.cure(), "COMMIT PREPARED 'it''s'; or ROLLBACK PREPARED 'it''s';");
    }
}
