//! A shop at work: sign-ups, orders, changed keys, transactions that change their mind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Error;
use super::cluster::{Cluster, Session};

/// The tables, the publication, and the role that walgate runs as.
pub(super) const SCHEMA: &str = include_str!("shop.sql");

/// The database's name.
pub(super) const DATABASE: &str = "shop";

/// Sessions that work at the same time.
pub(super) const WORKERS: i32 = 4;

/// Pause after each transaction: some 600 changes a second, which a person can still follow.
const PAUSE: Duration = Duration::from_millis(15);

/// What a value says that must never be sent: its transaction was rolled back.
pub(super) const NEVER: &str = "rolled back";

/// What is true of each table in the end: its name, and a query of key and row as JSON.
pub(super) const TRUTHS: [(&str, &str); 3] = [
    (
        "public.customers",
        "SELECT json_build_object('id', id), json_build_object('external_id', id::text, \
         'email', email, 'name', name, 'address', json_build_object('city', \
         coalesce(city, 'unknown')), 'revision', revision, 'source', 'shop') FROM customers",
    ),
    (
        "public.orders",
        "SELECT json_build_object('id', id), to_jsonb(o) - 'placed_at' FROM orders o",
    ),
    (
        "public.order_items",
        "SELECT json_build_object('order_id', order_id, 'line', line), to_jsonb(i) \
         FROM order_items i",
    ),
];

/// What the shop has committed.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// Row changes.
    pub(super) changes: AtomicU64,
    /// Transactions with at least one change.
    pub(super) transactions: AtomicU64,
}

/// Makes the database and its tables.
pub(super) async fn open(cluster: &Cluster) -> Result<(), Error> {
    cluster.execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    cluster
        .connect(DATABASE)
        .await?
        .batch_execute(SCHEMA)
        .await
        .map_err(super::cluster::Error::Sql)?;
    Ok(())
}

/// One session of the shop. Each works on rows of its own, so that none waits for another.
#[derive(Debug)]
pub(super) struct Worker {
    session: Session,
    committed: Arc<Committed>,
    with_bad_rows: bool,
    number: i32,
    customers: Vec<i32>,
    orders: Vec<i32>,
    next: i32,
}

/// Row changes of a transaction, counted as its statements answer.
type Counted = Result<u64, tokio_postgres::Error>;

impl Worker {
    pub(super) async fn open(
        cluster: &Cluster,
        number: i32,
        committed: Arc<Committed>,
        with_bad_rows: bool,
    ) -> Result<Self, Error> {
        let session = cluster.connect(DATABASE).await?;
        let (customers, orders) = (Vec::new(), Vec::new());
        Ok(Self { session, committed, with_bad_rows, number, customers, orders, next: 0 })
    }

    /// Works until it is told to stop, always between two transactions.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            let changes = self.transaction().await.map_err(super::cluster::Error::Sql)?;
            if changes > 0 {
                self.committed.changes.fetch_add(changes, Ordering::Relaxed);
                self.committed.transactions.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn transaction(&mut self) -> Counted {
        let (customer, order) = (pick(&self.customers), pick(&self.orders));
        let (Some(customer), Some(order)) = (customer, order) else { return self.sign_up().await };
        match fastrand::u8(0..100) {
            0..35 => self.sign_up().await,
            35..55 => self.edit(customer).await,
            55..70 => self.ship(order).await,
            70..78 => self.change_all_items(order).await,
            78..84 => self.renumber(order).await,
            84..90 => self.cancel(order).await,
            90..94 => self.change_its_mind(customer).await,
            94..98 => self.change_half_its_mind(customer).await,
            _ if self.with_bad_rows => self.mistype(customer).await,
            _ => self.edit(customer).await,
        }
    }

    fn new_id(&mut self) -> i32 {
        self.next += 1;
        self.next * WORKERS + self.number
    }

    /// A customer, an order and its items.
    async fn sign_up(&mut self) -> Counted {
        let (customer, order) = (self.new_id(), self.new_id());
        let lines = fastrand::i32(1..=5);
        let city = match fastrand::u8(0..4) {
            0 => "NULL",
            1 => "'Lyon'",
            2 => "'São Paulo'",
            _ => "'L\u{2019}Aquila \"vecchia\"'",
        };
        let sql = format!(
            "BEGIN;
             INSERT INTO customers (id, email, name, city)
                VALUES ({customer}, 'c{customer}@shop.example', 'Customer {customer}', {city});
             INSERT INTO orders (id, customer_id) VALUES ({order}, {customer});
             INSERT INTO order_items
                SELECT {order}, n, 'product ' || n, n FROM generate_series(1, {lines}) n;
             UPDATE orders SET total = {lines} * 9.90 WHERE id = {order};
             COMMIT"
        );
        let changes = self.run_counted(&sql).await?;
        self.customers.push(customer);
        self.orders.push(order);
        Ok(changes)
    }

    async fn edit(&self, customer: i32) -> Counted {
        self.run_counted(&format!(
            "UPDATE customers SET revision = revision + 1, name = name || '.' WHERE id = {customer}"
        ))
        .await
    }

    async fn ship(&self, order: i32) -> Counted {
        self.run_counted(&format!(
            "UPDATE orders SET status = 'shipped', is_gift = NOT is_gift WHERE id = {order}"
        ))
        .await
    }

    async fn change_all_items(&self, order: i32) -> Counted {
        self.run_counted(&format!(
            "UPDATE order_items SET quantity = quantity + 1 WHERE order_id = {order}"
        ))
        .await
    }

    /// Changes keys: each row leaves one place and takes another.
    async fn renumber(&self, order: i32) -> Counted {
        self.run_counted(&format!(
            "UPDATE order_items SET line = line + 100 WHERE order_id = {order}"
        ))
        .await
    }

    async fn cancel(&mut self, order: i32) -> Counted {
        self.orders.retain(|one| *one != order);
        self.run_counted(&format!(
            "BEGIN; DELETE FROM order_items WHERE order_id = {order};
             DELETE FROM orders WHERE id = {order}; COMMIT"
        ))
        .await
    }

    /// Nothing of this must ever be sent.
    async fn change_its_mind(&self, customer: i32) -> Counted {
        self.run_counted(&format!(
            "BEGIN; UPDATE customers SET name = '{NEVER}' WHERE id = {customer}; ROLLBACK"
        ))
        .await?;
        Ok(0)
    }

    /// One update of two is undone.
    async fn change_half_its_mind(&self, customer: i32) -> Counted {
        self.run_counted(&format!(
            "BEGIN; UPDATE customers SET revision = revision + 1 WHERE id = {customer};
             SAVEPOINT s; UPDATE customers SET name = '{NEVER}' WHERE id = {customer};
             ROLLBACK TO s; COMMIT"
        ))
        .await?;
        Ok(1)
    }

    /// An address that the CRM refuses, mended a transaction later.
    async fn mistype(&self, customer: i32) -> Counted {
        self.run_counted(&format!(
            "UPDATE customers SET email = 'no address' WHERE id = {customer}"
        ))
        .await?;
        self.committed.transactions.fetch_add(1, Ordering::Relaxed);
        self.run_counted(&format!(
            "UPDATE customers SET email = 'c{customer}@shop.example' WHERE id = {customer}"
        ))
        .await?;
        Ok(2)
    }

    async fn run_counted(&self, sql: &str) -> Counted {
        let mut changes = 0;
        for message in self.session.simple_query(sql).await? {
            if let tokio_postgres::SimpleQueryMessage::CommandComplete(rows) = message {
                changes += rows;
            }
        }
        Ok(changes)
    }
}

fn pick(ids: &[i32]) -> Option<i32> {
    ids.get(fastrand::usize(0..ids.len().max(1))).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shop_counts_as_many_changes_as_postgres_sends() {
        let cluster = Cluster::builder().start().await.unwrap();
        open(&cluster).await.unwrap();
        let session = cluster.connect(DATABASE).await.unwrap();
        session.rows("SELECT pg_create_logical_replication_slot('s', 'pgoutput')").await.unwrap();
        let (committed, stop) = (Arc::<Committed>::default(), CancellationToken::new());
        let worker = Worker::open(&cluster, 1, Arc::clone(&committed), true).await.unwrap();
        let timer = tokio::time::sleep(Duration::from_secs(2));
        let (ended, ()) = tokio::join!(worker.run(stop.clone()), async {
            timer.await;
            stop.cancel();
        });
        ended.unwrap();
        let sent = "SELECT count(*) FILTER (WHERE get_byte(data, 0) IN (73, 85, 68)),
             count(*) FILTER (WHERE get_byte(data, 0) = 66)
             FROM pg_logical_slot_get_binary_changes('s', NULL, NULL,
                 'proto_version', '1', 'publication_names', 'walgate')";
        let rows = session.rows(sent).await.unwrap();
        let counted = [&committed.changes, &committed.transactions]
            .map(|count| Some(count.load(Ordering::Relaxed).to_string()));
        assert_eq!(rows, [counted]);
    }
}
