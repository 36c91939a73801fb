//! What the server says of the slot, where no running instance has asked.

use std::time::Duration;

use crate::config::Config;
use crate::failure::chain;
use crate::lsn::Lsn;
use crate::source::catalog::{SlotRow, SlotWal};
use crate::source::{Catalog, Error};

/// How long the server may take: whoever asks for the status wants it now.
const ASK_MAX: Duration = Duration::from_secs(5);

/// The server's answer.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Where its log ends.
    pub(super) lsn: Lsn,
    /// The slot and what it holds back; none where there is no such slot.
    pub(super) slot: Option<(SlotRow, Option<SlotWal>)>,
}

/// Asks; else says why there is no answer.
pub(super) async fn ask(config: &Config) -> Result<Asked, String> {
    match tokio::time::timeout(ASK_MAX, look(config)).await {
        Ok(Ok(asked)) => Ok(asked),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("no answer in {} s", ASK_MAX.as_secs())),
    }
}

async fn look(config: &Config) -> Result<Asked, Error> {
    let mut catalog = Catalog::connect(config.source.url.expose()).await?;
    let slot = catalog.slot(&config.source.slot).await?;
    let wal = catalog.slot_wal(&config.source.slot).await?;
    let lsn = match wal {
        Some(wal) => wal.server_lsn,
        None => catalog.server().await?.lsn,
    };
    Ok(Asked { lsn, slot: slot.map(|slot| (slot, wal)) })
}
