//! What the stream leaves open of tables, looked up in the catalog.

use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use super::{Reader, split};
use crate::lsn::Oid;
use crate::pgoutput::binary::Form;
use crate::pgoutput::{self, Message};
use crate::relation::Kind;
use crate::source::frame::{self, Frame};
use crate::source::{Error, cutter};

/// How old what is known of composite types may be when a row comes.
const COMPOSITES_AGE_MAX: Duration = Duration::from_secs(1);

impl Reader {
    /// Looks up what the next Relation message leaves open, then takes it.
    pub(super) async fn describe(&mut self) -> Result<(), Error> {
        if let Some(replay) = &mut self.replay {
            let lost = Error::Unreadable { what: "a Relation message that was not counted" };
            let Some(piece) = replay.peek() else { return Err(lost) };
            let arrived = piece.arrived.ok_or(lost)?;
            let payload = Bytes::copy_from_slice(piece.frame);
            self.describe_by(&payload, arrived).await?;
            if let Some(replay) = &mut self.replay {
                replay.advance();
            }
            return Ok(());
        }
        let Some((_, body, after)) = split(&self.buffer)? else {
            return Err(Error::Protocol { what: "a Relation message got lost" });
        };
        let length = self.buffer.len() - after.len();
        let Ok(Frame::XLogData { payload, .. }) = frame::read(body) else {
            return Err(Error::Protocol { what: "a Relation message got lost" });
        };
        let payload = Bytes::copy_from_slice(payload);
        let arrived = self.held.arrival();
        self.describe_by(&payload, arrived).await?;
        self.buffer.advance(length);
        Ok(())
    }

    async fn describe_by(&mut self, payload: &[u8], arrived: u64) -> Result<(), Error> {
        let Message::Relation(message) = pgoutput::parse(payload).map_err(Error::Pgoutput)? else {
            return Err(Error::Protocol { what: "a Relation message got lost" });
        };
        let types: Vec<_> = message.columns.iter().map(|column| column.type_oid).collect();
        let kinds = self.catalog.kinds(&types).await?;
        let key = self.catalog.primary_key(message.oid).await?;
        let kind = |oid| kinds.get(&oid).cloned().unwrap_or(Kind::Text);
        let forms = self.forms(&types).await?;
        self.cutter.describe(cutter::relation(&message, kind, &key), forms, arrived);
        Ok(())
    }

    /// Returns how the columns are sent; none where all come as text.
    async fn forms(&mut self, types: &[Oid]) -> Result<Option<Vec<Form>>, Error> {
        if self.binary { self.catalog.forms(types).await.map(Some) } else { Ok(None) }
    }

    /// Looks composite types up again where that is a while ago: the server does not describe a
    /// table anew when a type in it is altered, and its values would be taken for other fields.
    pub(super) async fn look_again(&mut self) -> Result<(), Error> {
        if self.replay.is_some() || self.looked_at.elapsed() < COMPOSITES_AGE_MAX {
            return Ok(());
        }
        let tables = self.cutter.composites();
        let columns = tables.iter().flat_map(|(relation, _)| &relation.columns);
        let kinds = self.catalog.kinds(&columns.map(|c| c.type_oid).collect::<Vec<_>>()).await?;
        for (relation, arrived) in tables {
            let mut relation = relation.as_ref().clone();
            for column in &mut relation.columns {
                column.kind = kinds.get(&column.type_oid).cloned().unwrap_or(Kind::Text);
            }
            let types: Vec<_> = relation.columns.iter().map(|column| column.type_oid).collect();
            let forms = self.forms(&types).await?;
            self.cutter.describe(relation, forms, arrived);
        }
        self.looked_at = Instant::now();
        Ok(())
    }
}
