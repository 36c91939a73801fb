//! [`open`]: everything that is checked between the first byte and the stream; [`tap()`]: beside it.

mod tap;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::catalog::{Catalog, Moved, Server, SlotRow};
use super::command::{self, Lasts, System};
use super::connection::Connection;
use super::conninfo::Conninfo;
use super::cutter::{Cutter, Have, Timelines};
use super::held::{self, Held};
use super::reader::{Parts, Reader};
use super::timeline;
use super::writer::{Confirmer, Shared, Writer};
use super::{Error, Gap, Identity, Intent, OpenOptions, Opened, Resume, Settings};
use crate::lsn::Lsn;

pub use tap::tap;

/// How long another may hold the slot: a server takes a while to notice that a client died.
const BUSY_MAX: Duration = Duration::from_secs(30);

/// Between two looks at a slot that another holds.
const BUSY_POLL: Duration = Duration::from_millis(250);

/// How long the making of a slot waits for open transactions before it says which they are.
const CREATE_MAX: Duration = Duration::from_secs(10);

/// PostgreSQL 14: `messages` and streaming positions are as they are needed.
const VERSION_MIN: u32 = 140_000;

/// From here on a slot can be kept on standbys, so that it is there after a promotion.
const FAILOVER_SINCE: u32 = 170_000;

/// Connects, checks that server, slot and publication are what the state knows, makes the slot
/// where there is none to know, and starts the stream.
///
/// Cancel safety: safe; a slot that was made stays.
///
/// # Errors
/// [`Error::ends_run`] tells those that waiting mends from the others.
pub async fn open(
    settings: &Settings,
    resume: &Resume,
    options: OpenOptions,
) -> Result<(Reader, Writer, Opened), Error> {
    let conninfo: Conninfo = settings.url.expose().parse().map_err(Error::Conninfo)?;
    held::clear(&settings.spill)?;
    let mut connection = Connection::connect(&conninfo).await?;
    let catalog = Catalog::of(&conninfo.narrowed_to(&connection.host)).await?;
    let (identity, timelines) = identify(&mut connection, settings).await?;
    let switch = same_system(resume, &identity, &timelines)?;
    // Of the log that the server has, nothing behind that was ever confirmed.
    let confirmed = switch.map_or(resume.confirmed, |switch| resume.confirmed.min(switch));
    let mut attach = Attach {
        settings,
        resume,
        confirmed,
        options,
        connection,
        catalog,
        identity,
        log_end: Lsn::ZERO,
        in_recovery: false,
    };
    let server = attach.server().await?;
    let wal_sender_timeout = command::wal_sender_timeout(&mut attach.connection).await?;
    let fails_over = server.version_num >= FAILOVER_SINCE && !server.in_recovery;
    let started = attach.start(server.version_num, fails_over).await?;
    let Attach { connection, catalog, identity, in_recovery, .. } = attach;

    // Behind a gap the old positions stay below everything that comes.
    let received = started.gap.map_or(resume.received, |gap| gap.to.max(resume.received));
    let have = Have { received, journaled: resume.journaled };
    let streams = Streams {
        settings,
        connection,
        catalog,
        cutter: Cutter::new(have, identity.timeline, timelines),
        from: started.from,
        confirmed,
        in_recovery,
        gap_end: options.accept_gap.then_some(server.lsn),
        wal_sender_timeout,
    };
    let (reader, writer, confirmer) = streams.halves();
    let opened = Opened {
        identity,
        server_version: server.version_num,
        started_at: started.from,
        confirmed: started.confirmed,
        created: started.created,
        gap: started.gap,
        switch,
        confirmer,
        wal_sender_timeout,
    };
    Ok((reader, writer, opened))
}

/// A connection whose stream has started.
struct Streams<'a> {
    settings: &'a Settings,
    connection: Connection,
    catalog: Catalog,
    cutter: Cutter,
    /// Where the stream starts.
    from: Lsn,
    /// What the server may have been told before.
    confirmed: Lsn,
    /// The server is a standby.
    in_recovery: bool,
    /// Where a gap ends that a person accepted; none: nobody did.
    gap_end: Option<Lsn>,
    wal_sender_timeout: Option<Duration>,
}

impl Streams<'_> {
    /// Parts it into the half that reads and the half that writes.
    fn halves(self) -> (Reader, Writer, Confirmer) {
        let Self { settings, connection, wal_sender_timeout, .. } = self;
        let shared = Arc::new(Shared::new(self.from, self.confirmed));
        let gather = connection.stream.gather();
        let (half, write_half) = tokio::io::split(connection.stream);
        let accepts_gap = self.gap_end.is_some();
        let reader = Reader::new(Parts {
            half,
            buffer: connection.buffer,
            cutter: self.cutter,
            held: Held::new(settings.spill.clone(), held::MEMORY_BYTES_MAX, accepts_gap),
            catalog: self.catalog,
            shared: Arc::clone(&shared),
            publication: settings.publication.clone(),
            binary: settings.binary,
            in_recovery: self.in_recovery,
            gap_end: self.gap_end,
            wal_sender_timeout,
            gather,
        });
        let interval = settings.status_interval;
        let writer = Writer::new(write_half, Arc::clone(&shared), interval, wal_sender_timeout);
        (reader, writer, Confirmer(shared))
    }
}

/// Opens a replication connection and closes it: shows that host, password, `pg_hba.conf` and role
/// let one in. Starts no stream and makes no slot.
///
/// Cancel safety: safe.
///
/// # Errors
/// What keeps it from being opened.
pub async fn probe(settings: &Settings) -> Result<Probed, Error> {
    let conninfo: Conninfo = settings.url.expose().parse().map_err(Error::Conninfo)?;
    let mut connection = Connection::connect(&conninfo).await?;
    let (identity, timelines) = identify(&mut connection, settings).await?;
    Ok(Probed { identity, timelines })
}

async fn identify(
    connection: &mut Connection,
    settings: &Settings,
) -> Result<(Identity, Timelines), Error> {
    let System { system_id, timeline, database } = command::identify(connection).await?;
    let timelines = command::timelines(connection, timeline).await?;
    let began = timeline::began(&timelines, timeline, timeline).unwrap_or_default();
    let started = command::started(connection).await?;
    let slot = settings.slot.clone();
    Ok((Identity { system_id, timeline, began, started, database, slot }, timelines))
}

/// What a replication connection tells of the server.
#[derive(Clone, Debug)]
pub struct Probed {
    /// Which it is.
    pub identity: Identity,
    timelines: Timelines,
}

impl Probed {
    /// Holds this server against what the state remembers, as [`open`] does before it looks at the
    /// slot. Returns where it left the timeline that the state knows, where it did.
    ///
    /// # Errors
    /// When it is another, or its past is.
    pub fn goes_on_from(&self, resume: &Resume) -> Result<Option<Lsn>, Error> {
        same_system(resume, &self.identity, &self.timelines)
    }
}

/// Looks whether there is a slot. Returns what to store before [`open`] makes one; none when one is
/// there, or nothing can be made there.
///
/// Cancel safety: safe.
///
/// # Errors
/// As [`probe`].
pub async fn intend(settings: &Settings) -> Result<Option<Intent>, Error> {
    let conninfo: Conninfo = settings.url.expose().parse().map_err(Error::Conninfo)?;
    let mut connection = Connection::connect(&conninfo).await?;
    let mut catalog = Catalog::of(&conninfo.narrowed_to(&connection.host)).await?;
    let System { system_id, database, .. } = command::identify(&mut connection).await?;
    // Before the look: a slot that is found later and was made behind it was not there then.
    let lsn = catalog.server().await?.lsn;
    let slot = settings.slot.clone();
    let is_there = catalog.slot(&slot).await?.is_some();
    Ok((!is_there).then_some(Intent { system_id, database, slot, lsn }))
}

impl Intent {
    /// Whether it is about this slot of this server.
    #[must_use]
    pub fn is_of(&self, system_id: &str, database: &str, slot: &str) -> bool {
        self.system_id == system_id && self.database == database && self.slot == slot
    }

    /// Whether its slot, which is confirmed up to `seen`, was made by the attempt that stored it,
    /// and nobody was left to remember that.
    ///
    /// It must have come after this state said that it would make it, and nothing may have been
    /// read from it: then nothing is missed by taking it. One that was there before, or whose
    /// state was lost, never fits.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn made(&self, seen: Lsn, catalog: &mut Catalog) -> Result<bool, Error> {
        Ok(seen >= self.lsn && !catalog.slot_was_used(&self.slot).await?)
    }
}

/// Compares what the state remembers with the server that answered. Returns where that left the
/// timeline that the state knows, where it did.
fn same_system(
    resume: &Resume,
    seen: &Identity,
    timelines: &Timelines,
) -> Result<Option<Lsn>, Error> {
    let Some(stored) = &resume.identity else { return Ok(None) };
    let compared = [
        ("system", &stored.system_id, &seen.system_id),
        ("database", &stored.database, &seen.database),
        ("slot", &stored.slot, &seen.slot),
    ];
    for (what, stored, seen) in compared {
        if stored != seen {
            return Err(Error::Foreign { what, stored: stored.clone(), seen: seen.clone() });
        }
    }
    timeline::left_at(timelines, seen, stored, resume)
}

/// What of the protocol the server is asked for.
fn protocol(settings: &Settings, server_version: u32) -> String {
    let options = settings.streaming.options(server_version);
    let binary = if settings.binary { ", binary 'true'" } else { "" };
    format!("{options}{binary}")
}

struct Attach<'a> {
    settings: &'a Settings,
    resume: &'a Resume,
    /// The highest position that this server may have been told.
    confirmed: Lsn,
    options: OpenOptions,
    connection: Connection,
    catalog: Catalog,
    identity: Identity,
    /// Where the server's log ended when it was looked at.
    log_end: Lsn,
    /// It was a standby then.
    in_recovery: bool,
}

struct Started {
    from: Lsn,
    confirmed: Lsn,
    created: bool,
    gap: Option<Gap>,
}

/// Where a slot lets the stream start.
struct Ready {
    at: Lsn,
    created: bool,
    gap: bool,
    /// It sends a transaction when it is prepared.
    two_phase: bool,
}

impl Attach<'_> {
    async fn server(&mut self) -> Result<Server, Error> {
        let server = self.catalog.server().await?;
        // Behind one address there may be several servers of one cluster, and what one says of the
        // slot is not true of the other.
        if server.started != self.identity.started {
            return Err(Error::TwoServers { host: self.connection.host.to_string() });
        }
        if server.version_num < VERSION_MIN {
            return Err(Error::TooOld { version: server.version });
        }
        if server.wal_level != "logical" {
            return Err(Error::WalLevel { seen: server.wal_level });
        }
        (self.log_end, self.in_recovery) = (server.lsn, server.in_recovery);
        // It would skip what it commits from now on as read already. A standby may lag.
        let received = self.received();
        if received > server.lsn && !server.in_recovery {
            return Err(Error::Restored { received, seen: server.lsn });
        }
        // Before the slot: up to PostgreSQL 17 a slot that is older than its publication never
        // gets past the first change.
        let name = &self.settings.publication;
        if self.catalog.publication(name).await?.is_none() {
            let name = name.clone();
            return Err(if self.options.reconnect {
                Error::PublicationVanished { name }
            } else {
                Error::PublicationMissing { name }
            });
        }
        Ok(server)
    }

    /// Returns up to where anything was received, a transaction that is not whole included.
    fn received(&self) -> Lsn {
        let journaled = self.resume.journaled.map_or(Lsn::ZERO, |position| position.commit_lsn);
        self.resume.received.max(journaled)
    }

    /// Starts the stream once the slot is free and found to be ours; one that has to be made may be
    /// made so that it `fails_over`.
    async fn start(&mut self, server_version: u32, fails_over: bool) -> Result<Started, Error> {
        let since = Instant::now();
        let mut created = false;
        let mut gap = false;
        loop {
            let slot = self.free_slot(since).await?;
            let ready = self.judge(slot, created, fails_over).await?;
            (created, gap) = (created || ready.created, gap || ready.gap);
            // What is prepared and not ended is not in the journal: the server sends it again from
            // where the slot is. The rest of what comes is dropped by what is there.
            let received = if ready.two_phase { Lsn::ZERO } else { self.resume.received };
            let from = ready.at.max(received);
            let Settings { slot, publication, .. } = self.settings;
            let options = protocol(self.settings, server_version);
            let connection = &mut self.connection;
            match command::start(connection, slot, from, publication, &options).await {
                Ok(()) => {
                    let gap = gap.then_some(Gap { from: self.resume.received, to: from });
                    let confirmed = ready.at;
                    return Ok(Started { from, confirmed, created, gap });
                }
                // Somebody was faster, or the server has not noticed yet that he is gone.
                Err(error) if error.code() == Some(command::IN_USE) => self.wait(since).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&mut self, since: Instant) -> Result<(), Error> {
        if !self.options.standby && since.elapsed() >= BUSY_MAX {
            let slot = self.settings.slot.clone();
            let pid = self.catalog.slot(&slot).await?.and_then(|slot| slot.active_pid());
            return Err(Error::SlotBusy { slot, pid });
        }
        sleep(BUSY_POLL).await;
        Ok(())
    }

    /// Returns the slot's row once nobody holds it: before that it is still being moved.
    async fn free_slot(&mut self, since: Instant) -> Result<Option<SlotRow>, Error> {
        let mut told = false;
        loop {
            let slot = self.catalog.slot(&self.settings.slot).await?;
            match slot {
                Some(slot) if slot.is_active() => {
                    if !told {
                        let (name, pid) = (&self.settings.slot, slot.active_pid());
                        tracing::info!(slot = %name, pid, "slot is in use, waiting for it");
                        told = true;
                    }
                    self.wait(since).await?;
                }
                slot => return Ok(slot),
            }
        }
    }

    /// Compares the slot with what the state remembers; makes it where that is called for.
    async fn judge(
        &mut self,
        slot: Option<SlotRow>,
        created: bool,
        fails_over: bool,
    ) -> Result<Ready, Error> {
        let name = self.settings.slot.clone();
        let (resume, accept_gap) = (self.resume, self.options.accept_gap);
        let (received, log_end) = (resume.received, self.log_end);
        let known = resume.identity.is_some();
        let Some(slot) = slot else {
            if known && !accept_gap && self.in_recovery {
                return Err(Error::SlotNotHere { slot: name });
            }
            if known && !accept_gap {
                return Err(Error::SlotMissing { slot: name, received, log_end });
            }
            let at = self.create(fails_over).await?;
            return Ok(Ready { at, created: true, gap: known, two_phase: false });
        };
        if self.in_recovery && slot.is_synced() {
            return Err(Error::SlotSynced { slot: name });
        }
        if let Some((what, seen)) = slot.foreign(&self.identity.database) {
            return Err(Error::SlotForeign { slot: name, what, seen });
        }
        if let Some(reason) = slot.lost() {
            if !(known && accept_gap) {
                return Err(Error::SlotLost { slot: name, reason, received, log_end });
            }
            self.catalog.drop_slot(&name).await?;
            let at = self.create(fails_over).await?;
            return Ok(Ready { at, created: true, gap: true, two_phase: false });
        }
        // None while another is making it: then it is active, and we do not get here.
        let seen = slot.confirmed().unwrap_or_default();
        let two_phase = slot.is_two_phase();
        if created {
            return Ok(Ready { at: seen, created: false, gap: false, two_phase });
        }
        if !known && !self.options.adopt_slot {
            let Identity { system_id, database, .. } = &self.identity;
            let intent = self.resume.intent.as_ref();
            let fits = intent.filter(|intent| intent.is_of(system_id, database, &name));
            let is_ours = match fits {
                Some(intent) => intent.made(seen, &mut self.catalog).await?,
                None => false,
            };
            if !is_ours {
                return Err(Error::SlotExists { slot: name, confirmed: seen });
            }
            tracing::info!(slot = %name, "found the slot that an earlier attempt made");
            return Ok(Ready { at: seen, created: true, gap: false, two_phase });
        }
        let moved = if known { slot.moved(self.confirmed, received) } else { Moved::No };
        if moved == Moved::Within {
            tracing::warn!(
                slot = %name, to = %seen, %received,
                "another moved the slot, over nothing that was not received"
            );
        }
        let gap = moved == Moved::Over;
        if gap && !accept_gap {
            let stored = self.confirmed;
            return Err(Error::SlotAdvanced { slot: name, stored, seen, received });
        }
        Ok(Ready { at: seen, created: false, gap, two_phase })
    }

    /// Says what the making of a slot waits for on a standby.
    fn tell_standby(&self) {
        if self.in_recovery {
            tracing::info!(
                "on a standby that waits for the primary's next checkpoint, or for SELECT \
                 pg_log_standby_snapshot() there"
            );
        }
    }

    async fn create(&mut self, fails_over: bool) -> Result<Lsn, Error> {
        let name = &self.settings.slot;
        tracing::info!(slot = %name, failover = fails_over, "making the slot");
        self.tell_standby();
        let lasts = if fails_over { Lasts::OverFailover } else { Lasts::ForEver };
        match command::create_slot(&mut self.connection, name, lasts, CREATE_MAX).await {
            Err(error) if error.code() == Some(command::LOCK_TIMEOUT) => {
                let holders = self.catalog.holders().await?;
                Err(Error::SlotWaits { slot: name.clone(), holders })
            }
            result => result,
        }
    }
}
