//! A cluster with rows waiting behind a slot that is copied for each run.

use std::cell::Cell;

use walgate::demo::cluster::{Cluster, Installation};

use crate::Outcome;

/// What waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) rows: u32,
    pub(crate) rows_per_transaction: u32,
}

/// Rows behind a slot.
pub(crate) struct Backlog {
    pub(crate) workload: Workload,
    pub(crate) cluster: Cluster,
    /// Where the backlog ends.
    pub(crate) end_lsn: String,
    /// Bytes of write-ahead log in it.
    pub(crate) wal_bytes: f64,
    copies: Cell<u32>,
}

/// Ten columns of ordinary types, about 430 bytes of pgoutput a row.
const TABLE: &str = "CREATE TABLE bench (
    id bigint PRIMARY KEY, customer_id integer NOT NULL, email text NOT NULL, status text NOT NULL,
    total numeric(12, 2) NOT NULL, is_active boolean NOT NULL, created_at timestamptz NOT NULL,
    token uuid NOT NULL, note text, payload text NOT NULL)";

impl Backlog {
    pub(crate) async fn prepare(workload: Workload) -> Outcome<Self> {
        let cluster = start().await?;
        cluster.execute(TABLE).await?;
        cluster.execute("CREATE PUBLICATION bench FOR TABLE bench").await?;
        cluster.execute("SELECT pg_create_logical_replication_slot('origin', 'pgoutput')").await?;
        let before = cluster.value("SELECT pg_current_wal_lsn()").await?;
        let Workload { rows, rows_per_transaction: step, .. } = workload;
        let last = rows.div_ceil(step).saturating_sub(1);
        cluster
            .execute(&format!(
                "DO $$ BEGIN FOR n IN 0..{last} LOOP
                    INSERT INTO bench SELECT i, i % 9973, 'customer' || i || '@shop.example',
                        'delivered', i % 1000 + 0.99, i % 2 = 0, clock_timestamp(),
                        md5(i::text)::uuid, NULL, repeat(md5((i + 1)::text), 8)
                    FROM generate_series(n * {step} + 1, least((n + 1) * {step}, {rows})) i;
                    COMMIT;
                 END LOOP; END $$"
            ))
            .await?;
        let end_lsn = cluster.value("SELECT pg_current_wal_insert_lsn()").await?;
        let wal_bytes = cluster
            .value(&format!("SELECT pg_wal_lsn_diff('{end_lsn}', '{before}')"))
            .await?
            .parse()?;
        // Otherwise the first client would pay for the hint bits and the checkpoint.
        cluster.execute("CHECKPOINT").await?;
        Ok(Self { workload, cluster, end_lsn, wal_bytes, copies: Cell::new(0) })
    }

    pub(crate) async fn copy_slot(&self) -> Outcome<String> {
        self.copies.set(self.copies.get() + 1);
        let name = format!("copy_{}", self.copies.get());
        let copy = format!("SELECT pg_copy_logical_replication_slot('origin', '{name}')");
        self.cluster.execute(&copy).await?;
        Ok(name)
    }

    pub(crate) async fn drop_slot(&self, name: &str) -> Outcome<()> {
        // A walsender lets go of its slot a moment after its client has left.
        let drop = format!(
            "SELECT pg_terminate_backend(active_pid, 5000) FROM pg_replication_slots
                 WHERE slot_name = '{name}' AND active_pid IS NOT NULL;
             SELECT pg_drop_replication_slot('{name}')"
        );
        Ok(self.cluster.execute(&drop).await?)
    }
}

/// Starts the newest server that has `pg_recvlogical` beside it.
pub(crate) async fn start() -> Outcome<Cluster> {
    let all = Installation::all();
    let complete = all.iter().filter(|one| one.bin.join("pg_recvlogical").is_file());
    let major = complete.map(|one| one.major).max().ok_or("no pg_recvlogical found")?;
    let builder = Cluster::builder()
        .major(major)
        .setting("shared_buffers", "256MB")
        .setting("max_wal_size", "16GB")
        .setting("checkpoint_timeout", "1d")
        .setting("autovacuum", "off")
        .setting("max_connections", "50");
    Ok(builder.start().await?)
}
