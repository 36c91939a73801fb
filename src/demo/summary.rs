//! What a demo ends with.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What was committed, what arrived, and whether the two are the same.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How long the shop worked.
    pub duration: Duration,
    /// Row changes committed.
    pub committed: u64,
    /// In how many transactions.
    pub transactions: u64,
    /// Different events that the endpoint took.
    pub delivered: u64,
    /// Events that came again after the endpoint had taken them.
    pub repeated: u64,
    /// Events that the endpoint refused for good: dead letters.
    pub dead_letters: u64,
    /// Committed changes that neither arrived nor became dead letters.
    pub lost: u64,
    /// Events of transactions that were rolled back.
    pub never_committed: u64,
    /// Events that came after a newer one of the same key.
    pub out_of_order: u64,
    /// Rows that differ between the tables and what the events say.
    pub rows_differing: u64,
    /// Rows compared.
    pub rows: u64,
    /// How often walgate was killed.
    pub kills: u64,
    /// The endpoint's bad answers, by what they were.
    pub faults: BTreeMap<&'static str, u64>,
}

impl Summary {
    /// Returns whether every promise was kept.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.lost == 0
            && self.never_committed == 0
            && self.out_of_order == 0
            && self.rows_differing == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is_kept: bool| if is_kept { "yes" } else { "NO" };
        let Self { committed, transactions, duration, .. } = self;
        let seconds = duration.as_secs();
        writeln!(f, "changes committed   {committed} in {transactions} transactions, {seconds}s")?;
        writeln!(f, "delivered           {}", self.delivered)?;
        writeln!(f, "repeated            {}", self.repeated)?;
        writeln!(f, "dead letters        {}", self.dead_letters)?;
        writeln!(f, "lost                {}", self.lost)?;
        writeln!(f, "of rolled back      {}", self.never_committed)?;
        writeln!(f, "order kept          {}", yes(self.out_of_order == 0))?;
        let rows = self.rows;
        writeln!(f, "endpoint = tables   {} ({rows} rows)", yes(self.rows_differing == 0))?;
        if self.kills > 0 {
            writeln!(f, "walgate killed      {} times", self.kills)?;
        }
        if !self.faults.is_empty() {
            let faults = self.faults.iter().map(|(name, count)| format!("{name} × {count}"));
            writeln!(f, "endpoint's faults   {}", faults.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
