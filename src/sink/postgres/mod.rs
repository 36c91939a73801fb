//! The `postgres` sink: tables of another PostgreSQL, a transaction a batch.
//!
//! `plan` reads a batch, `fold` (the neighbour) leaves one action a key, `statement`, `text`,
//! `rows`, `widen` and `name` make SQL of it, all without I/O. `table` asks what is there, `evolve`
//! makes it what it has to be, `upsert` and `append` write, `applied` tells what was written
//! before, `session` keeps the connections and `failure` says what an error means.
//!
//! Rows go as one array a column, over what may be there; those that should be new go by COPY
//! (`fill`).

mod append;
mod applied;
mod evolve;
mod failure;
mod fill;
mod name;
mod plan;
mod rows;
mod session;
mod settings;
mod statement;
mod table;
mod text;
mod upsert;
mod widen;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use self::applied::Applied;
use self::evolve::Wanted;
use self::failure::Error as WriteError;
use self::fill::Filler;
use self::name::Name;
use self::plan::Plan;
use self::session::{Pool, Session};
pub use self::settings::{Config, Error, Mode};
use self::table::Table;
use super::fold::{self, Item, NoKey};
use super::template::Template;
use super::{Answer, Batch, BoxFuture, Common, Failure, Sink};
use crate::failure::Category;
use crate::libpq::conninfo::Conninfo;
use crate::lsn::Position;

/// The kind's word.
pub const KIND: &str = "postgres";

/// Shapes of source tables that were compared with their tables here, at most.
const COMPARED_MAX: usize = 10_000;

/// Writes rows to tables.
pub struct Postgres {
    config: Config,
    host: String,
    template: Template,
    pool: Pool,
    applied: Applied,
    filler: Filler,
    tables: Mutex<Known>,
}

/// What is known of the tables.
#[derive(Debug, Default)]
struct Known {
    tables: HashMap<Name, Arc<Table>>,
    /// Versions of source tables whose columns are known to be there.
    compared: HashSet<(Name, u64)>,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Postgres {
    /// Makes the sink. Connects to nothing yet.
    ///
    /// # Errors
    /// The settings can't be used.
    pub fn new(name: &str, config: &Config, common: &Common) -> Result<Self, Error> {
        let conninfo = Conninfo::from_str(config.url.expose()).map_err(Error::Url)?;
        let template = Template::parse(&config.table).map_err(Error::Template)?;
        super::name::look(&template).map_err(Error::Table)?;
        if config.state_schema.is_empty() {
            return Err(Error::Schema);
        }
        let host = conninfo.hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        Ok(Self {
            config: config.clone(),
            host,
            template,
            pool: Pool::new(conninfo, common.timeout),
            applied: Applied::new(name, &config.state_schema),
            filler: Filler::default(),
            tables: Mutex::default(),
        })
    }

    fn known<T>(&self, use_it: impl FnOnce(&mut Known) -> T) -> T {
        use_it(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn send(&self, batch: &Batch) -> Answer {
        let plan = match Plan::read(batch, &self.template, self.config.mode == Mode::Upsert) {
            Ok(plan) => plan,
            Err(failure) => return Answer::Failed(failure),
        };
        match self.attempt(batch, &plan).await {
            // What was remembered or kept may be of another time: once more, from the beginning.
            Err((error, true)) if error.is_lost() || error.is_stale() => {
                match self.attempt(batch, &plan).await {
                    Ok(()) => Answer::Acknowledged,
                    Err((error, _)) => Answer::Failed(error.failure(&self.host)),
                }
            }
            Ok(()) => Answer::Acknowledged,
            Err((error, _)) => Answer::Failed(error.failure(&self.host)),
        }
    }

    /// Writes a batch in one transaction. With an error comes whether something was used that was
    /// kept from before.
    async fn attempt(&self, batch: &Batch, plan: &Plan<'_>) -> Result<(), (WriteError, bool)> {
        let mut connection = self.pool.take().await.map_err(|error| (error, false))?;
        let written = connection.run(async |session| self.write(session, batch, plan).await).await;
        let is_reused = connection.is_reused;
        match written {
            Ok(()) => self.pool.put(connection),
            Err(error) if error.is_lost() => {
                self.pool.clear();
                return Err((error, is_reused));
            }
            Err(error) => {
                if error.is_stale() {
                    self.known(|known| *known = Known::default());
                    self.applied.forget();
                    self.filler.forget();
                }
                let back = connection.run(async |session| session.batch("ROLLBACK").await).await;
                if back.is_ok() {
                    self.pool.put(connection);
                }
                return Err((error, true));
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        session: &mut Session<'_>,
        batch: &Batch,
        plan: &Plan<'_>,
    ) -> Result<(), WriteError> {
        let mut tables = Vec::with_capacity(plan.tables.len());
        for number in 0..plan.tables.len() {
            tables.push(self.table(session, plan, number).await?);
        }
        let is_replay = batch.replay > 0;
        let applied = match self.config.mode {
            Mode::Append => None,
            Mode::Upsert => {
                Some((&self.applied, self.applied.stream(session, &plan.origin).await?))
            }
        };
        let is_filled = !is_replay
            && self.filler.fits(plan, self.config.mode)
            && self.filler.write(session, plan, &tables, applied, &batch.events).await?;
        if !is_filled {
            session.batch("BEGIN").await?;
            match applied {
                None => append::write(session, &tables, plan, is_replay).await?,
                Some((_, stream)) => self.merge(session, batch, plan, &tables, stream).await?,
            }
            session.batch("COMMIT").await?;
            self.filler.passed(plan);
        }
        // The batch is there, whatever becomes of this: it is done again later.
        if let Some((applied, stream)) = applied
            && let Err(error) = applied.prune(session, stream).await
        {
            let reason = error.failure(&self.host).message;
            tracing::warn!(reason, "what was applied long ago can't be let go of yet");
        }
        Ok(())
    }

    /// Writes rows over those that are there, in the open transaction.
    async fn merge(
        &self,
        session: &mut Session<'_>,
        batch: &Batch,
        plan: &Plan<'_>,
        tables: &[Arc<Table>],
        stream: i32,
    ) -> Result<(), WriteError> {
        let is_replay = batch.replay > 0;
        let fresh = self.applied.note(session, stream, &batch.events).await?;
        let items = plan.events.iter().zip(&fresh).enumerate();
        // What an operator sends again is to be written again.
        let items = items.filter(|(_, (_, is_fresh))| **is_fresh || is_replay);
        let items = items.map(|(event, (planned, _))| Item {
            event,
            scope: planned.table,
            change: &planned.change,
        });
        let no_key = |NoKey(_)| WriteError::Event("the row has no key".to_owned());
        let actions = fold::fold(items).map_err(no_key)?;
        upsert::write(session, tables, &actions).await
    }

    /// Returns what is known of a table of the plan, which has then all that the plan needs.
    async fn table(
        &self,
        session: &mut Session<'_>,
        plan: &Plan<'_>,
        number: usize,
    ) -> Result<Arc<Table>, WriteError> {
        let name = plan.tables.get(number).ok_or(WriteError::Lost(None))?;
        let mut table = self.known(|known| known.tables.get(name).cloned());
        if table.is_none() {
            table = Table::read(session, name).await?.map(Arc::new);
        }
        let appends = self.config.mode == Mode::Append;
        if table.is_none() && !appends && plan.of(number).all(|event| !event.is_of_a_row()) {
            // A TRUNCATE of what is not there: the table is made by its first row.
            return Ok(Arc::new(Table { name: name.clone(), columns: HashMap::new() }));
        }
        let (fingerprints, is_compared) = self.compared(plan, number, name);
        if let Some(table) = table.as_ref().filter(|_| is_compared || !self.config.evolve) {
            let wanted = Wanted::of(plan, number, Some(table), appends);
            match wanted.lacks(table).filter(|_| !appends || self.config.evolve) {
                Some(column) if !self.config.evolve => {
                    let (table, column) = (name.to_string(), column.to_owned());
                    return Err(WriteError::NoColumn { table, column });
                }
                Some(_) => {}
                None => return Ok(self.keep(name, Arc::clone(table), fingerprints)),
            }
        }
        if !self.config.evolve {
            return Err(WriteError::NoTable(name.clone()));
        }
        Wanted::of(plan, number, table.as_deref(), appends).make(session, name).await?;
        let table = Table::read(session, name).await?;
        let table = table.ok_or_else(|| WriteError::NoTable(name.clone()))?;
        Ok(self.keep(name, Arc::new(table), fingerprints))
    }

    fn keep(&self, name: &Name, table: Arc<Table>, fingerprints: HashSet<u64>) -> Arc<Table> {
        self.known(|known| {
            if known.compared.len() > COMPARED_MAX {
                known.compared.clear();
            }
            known.compared.extend(fingerprints.into_iter().map(|print| (name.clone(), print)));
            known.tables.insert(name.clone(), Arc::clone(&table));
        });
        table
    }

    /// Returns the versions of source tables that a plan brings for a table, and whether all were
    /// compared with it before.
    fn compared(&self, plan: &Plan<'_>, number: usize, name: &Name) -> (HashSet<u64>, bool) {
        let mut seen = HashSet::new();
        let mut prints = HashSet::new();
        for event in plan.of(number).filter(|event| !event.is_mapped()) {
            if let Some(relation) = event.relation()
                && seen.insert(std::ptr::from_ref(relation))
            {
                prints.insert(relation.fingerprint());
            }
        }
        let all = self.known(|known| {
            prints.iter().all(|print| known.compared.contains(&(name.clone(), *print)))
        });
        (prints, all)
    }

    /// Looks at the server, and at what the role may do there.
    async fn look(&self, session: &mut Session<'_>) -> Result<Result<String, Failure>, WriteError> {
        let schema = name::quoted(&self.config.state_schema);
        let fixed = self.template.fixed().and_then(|text| Name::parse(text).ok());
        let table = fixed.as_ref().map(ToString::to_string);
        let sql = "SELECT current_setting('server_version'), pg_is_in_recovery(),
                          has_database_privilege(current_database(), 'CREATE'),
                          to_regnamespace($1) IS NOT NULL, to_regclass($2) IS NOT NULL,
                          coalesce(has_table_privilege(to_regclass($2), 'SELECT')
                              AND has_table_privilege(to_regclass($2), 'INSERT')
                              AND has_table_privilege(to_regclass($2), 'UPDATE')
                              AND has_table_privilege(to_regclass($2), 'DELETE'), false)";
        let rows = session.query(sql, &[&schema, &table]).await?;
        let row = rows.first().ok_or(WriteError::Lost(None))?;
        let version: String = row.try_get(0)?;
        let (is_standby, may_create): (bool, bool) = (row.try_get(1)?, row.try_get(2)?);
        let (has_state, has_table): (bool, bool) = (row.try_get(3)?, row.try_get(4)?);
        let may_write: bool = row.try_get(5)?;
        let (role, database) = self.pool.who();
        let setup = |message: String| Ok(Err(Failure::new(Category::Setup, message)));
        if is_standby {
            return setup(format!("{} is a standby, which takes no writes", self.host));
        }
        if self.config.mode == Mode::Upsert && !has_state && !may_create {
            return setup(format!(
                "{role} may not make the schema {schema}: GRANT CREATE ON DATABASE \
                 {} TO {}",
                name::quoted(database),
                name::quoted(role)
            ));
        }
        if let Some(name) = fixed {
            if !has_table && !self.config.evolve {
                return Ok(Err(WriteError::NoTable(name).failure(&self.host)));
            }
            if has_table && !may_write && self.config.mode == Mode::Upsert {
                return setup(format!(
                    "{role} may not write to {name}: GRANT SELECT, INSERT, UPDATE, DELETE ON \
                     {name} TO {}",
                    name::quoted(role)
                ));
            }
        }
        Ok(Ok(format!("PostgreSQL {version} at {}, database {database}", self.host)))
    }
}

/// How long `check` waits at most.
const LOOK_MAX: Duration = Duration::from_secs(15);

impl Sink for Postgres {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        Box::pin(self.send(batch))
    }

    fn settled(&self, floor: Position) {
        self.applied.settle(floor);
    }

    fn tidy(&self) -> Option<Instant> {
        self.pool.tidy()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        let looking = async {
            let mut connection = self.pool.take().await?;
            let seen = connection.run(async |session| self.look(session).await).await?;
            self.pool.put(connection);
            Ok::<_, WriteError>(seen)
        };
        Box::pin(async move {
            match tokio::time::timeout(LOOK_MAX, looking).await {
                Ok(looked) => looked.map_err(|error| error.failure(&self.host)).flatten(),
                Err(_) => {
                    let message = format!("{} did not answer within {LOOK_MAX:?}", self.host);
                    Err(Failure::new(Category::Transient, message))
                }
            }
        })
    }
}
