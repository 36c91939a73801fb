//! [`Load`]: a table under load, over whatever becomes of the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use walgate::demo::cluster::Session;

use super::process::eventually;
use super::road::{PATIENCE, Road, runtime};

/// Rows that the load plays with: few, so that each changes often.
const KEYS: u32 = 200;

#[derive(Debug, Default)]
struct Shared {
    ended: AtomicBool,
    commits: AtomicU64,
}

/// Writes to `t` until it is ended: inserts, updates, deletes, small transactions and larger
/// ones, some of them rolled back.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts writing to the server of `road`, with `pause` between two transactions.
    pub(crate) fn start(road: &Road, pause: Duration) -> Self {
        let url = road.cluster.url("postgres", "postgres");
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            runtime().block_on(async {
                while !told.ended.load(Ordering::Relaxed) {
                    if let Ok(session) = Session::open(&url).await {
                        // An error means that the server went away, or that it fell out with
                        // nobody: the next session goes on.
                        let _ = write(&session, &told, pause).await;
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits until it has committed so many transactions more.
    #[track_caller]
    pub(crate) fn goes_on(&self, transactions: u64) {
        let goal = self.shared.commits.load(Ordering::Relaxed) + transactions;
        eventually("the load goes on", PATIENCE, || {
            self.shared.commits.load(Ordering::Relaxed) >= goal
        });
    }

    /// Ends it and waits for its end.
    pub(crate) fn end(mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.finish();
    }
}

async fn write(
    session: &Session,
    shared: &Shared,
    pause: Duration,
) -> Result<(), tokio_postgres::Error> {
    while !shared.ended.load(Ordering::Relaxed) {
        let id = fastrand::u32(1..=KEYS);
        let sql = match fastrand::u32(0..20) {
            0..8 => format!(
                "INSERT INTO t VALUES ({id}, 'new') ON CONFLICT (id) DO UPDATE SET v = 'again'"
            ),
            8..15 => format!("UPDATE t SET v = md5(random()::text) WHERE id = {id}"),
            15..17 => format!("DELETE FROM t WHERE id = {id}"),
            17 => format!("UPDATE t SET v = md5(random()::text) WHERE id % 10 = {id} % 10"),
            18 => format!("BEGIN; UPDATE t SET v = 'never' WHERE id <= {id}; ROLLBACK"),
            _ => format!(
                "BEGIN; DELETE FROM t WHERE id = {id}; SAVEPOINT s;
                 UPDATE t SET v = 'never'; ROLLBACK TO s; INSERT INTO t VALUES ({id}, 'back');
                 COMMIT"
            ),
        };
        session.batch_execute(&sql).await?;
        shared.commits.fetch_add(1, Ordering::Relaxed);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
