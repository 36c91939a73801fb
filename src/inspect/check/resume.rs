//! Whether the server has what the state goes on from: the same questions as a start asks.

use super::report::Report;
use super::source::broken;
use crate::config::Config;
use crate::lsn::Lsn;
use crate::source::catalog::Moved;
use crate::source::{Catalog, Error, Probed, Resume};
use crate::state::{State, meta};

pub(super) async fn check(
    config: &Config,
    catalog: &mut Catalog,
    probed: &Probed,
    report: &mut Report,
) -> Result<(), Error> {
    // In this order: an instance that runs meanwhile stores before it tells the slot, and what it
    // receives is in the log by then.
    let slot = catalog.slot(&config.source.slot).await?;
    let Some(known) = known(config) else { return Ok(()) };
    let server = catalog.server().await?;
    let resume = Resume {
        identity: known.identity.as_ref().map(crate::inspect::identity),
        received: known.received,
        journaled: None,
        confirmed: known.confirmed,
        intent: None,
    };
    let Some(stored) = &resume.identity else { return Ok(()) };
    let left = match probed.goes_on_from(&resume) {
        Ok(left) => left,
        Err(error) => {
            broken("state.source", "state", &error, report);
            return Ok(());
        }
    };
    if resume.received > server.lsn && !server.in_recovery {
        let error = Error::Restored { received: resume.received, seen: server.lsn };
        broken("state.source", "state", &error, report);
        return Ok(());
    }
    let here = probed.identity.timeline;
    let seen = match left {
        None => format!("goes on from this server, on timeline {here}"),
        Some(left) => format!(
            "goes on from timeline {}, which the server left at {left}, behind all that was \
             received, for timeline {here}",
            stored.timeline
        ),
    };
    report.ok("state.source", "state", seen);
    let Some(slot) = slot.filter(|slot| slot.lost().is_none()) else { return Ok(()) };
    let confirmed = left.map_or(resume.confirmed, |left| resume.confirmed.min(left));
    let (name, seen) = (&config.source.slot, slot.confirmed().unwrap_or(Lsn::ZERO));
    let subject = format!("slot {name}");
    match slot.moved(confirmed, resume.received) {
        Moved::No => {}
        Moved::Within => {
            let seen = format!(
                "another moved it, to {seen}: over nothing that was not received, so that nothing \
                 is lost"
            );
            let fix = "look who else reads this slot: it is walgate's alone";
            report.warn("slot.position", &subject, seen, fix);
        }
        Moved::Over => {
            let (slot, stored, received) = (name.clone(), confirmed, resume.received);
            let error = Error::SlotAdvanced { slot, stored, seen, received };
            broken("slot.position", &subject, &error, report);
        }
    }
    Ok(())
}

fn known(config: &Config) -> Option<meta::Meta> {
    State::open_reader(&config.state).ok()?.read(meta::load).ok()
}
