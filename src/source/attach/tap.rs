//! [`tap`]: the stream from now on, beside whoever reads the slot.

use super::{Attach, CREATE_MAX, Streams, identify, protocol};
use crate::lsn::Lsn;
use crate::source::catalog::Catalog;
use crate::source::command::{self, Lasts};
use crate::source::connection::Connection;
use crate::source::conninfo::Conninfo;
use crate::source::cutter::{Cutter, Have};
use crate::source::{Error, OpenOptions, Opened, Reader, Resume, Settings, Streaming, Writer};

/// Connects and starts the stream of what commits from now on, from a slot of its own.
///
/// It is gone with the connection. The slot of `settings` is neither read nor moved, but events are
/// called after it: they are those that its stream brings too. Nothing is written to disk here:
/// open transactions stay with the server.
///
/// Cancel safety: safe; nothing stays.
///
/// # Errors
/// [`Error::SlotWaits`] while a transaction is open that has written: to be tried again.
pub async fn tap(settings: &Settings) -> Result<(Reader, Writer, Opened), Error> {
    let conninfo: Conninfo = settings.url.expose().parse().map_err(Error::Conninfo)?;
    let slot = format!("walgate_tap_{:016x}", fastrand::u64(..));
    let settings = Settings { streaming: Streaming::Off, ..settings.clone() };
    let mut connection = Connection::connect(&conninfo).await?;
    let catalog = Catalog::of(&conninfo.narrowed_to(&connection.host)).await?;
    let (identity, timelines) = identify(&mut connection, &settings).await?;
    let resume = Resume::default();
    let mut attach = Attach {
        settings: &settings,
        resume: &resume,
        confirmed: Lsn::ZERO,
        options: OpenOptions::default(),
        connection,
        catalog,
        identity,
        log_end: Lsn::ZERO,
        in_recovery: false,
    };
    let server = attach.server().await?;
    let wal_sender_timeout = command::wal_sender_timeout(&mut attach.connection).await?;
    attach.tell_standby();
    let Attach { mut connection, mut catalog, identity, in_recovery, .. } = attach;
    let lasts = Lasts::WithSession;
    let from = match command::create_slot(&mut connection, &slot, lasts, CREATE_MAX).await {
        Err(error) if error.code() == Some(command::LOCK_TIMEOUT) => {
            return Err(Error::SlotWaits { slot, holders: catalog.holders().await? });
        }
        result => result?,
    };
    let options = protocol(&settings, server.version_num);
    command::start(&mut connection, &slot, from, &settings.publication, &options).await?;
    let have = Have { received: Lsn::ZERO, journaled: None };
    let streams = Streams {
        settings: &settings,
        connection,
        catalog,
        cutter: Cutter::new(have, identity.timeline, timelines),
        from,
        confirmed: Lsn::ZERO,
        in_recovery,
        gap_end: None,
        wal_sender_timeout,
    };
    let (reader, writer, confirmer) = streams.halves();
    let opened = Opened {
        identity,
        server_version: server.version_num,
        started_at: from,
        confirmed: from,
        created: true,
        gap: None,
        switch: None,
        confirmer,
        wal_sender_timeout,
    };
    Ok((reader, writer, opened))
}
