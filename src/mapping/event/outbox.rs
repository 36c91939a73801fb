//! [`OutboxPen`]: everything at hand while the event of an outbox is written.

use super::super::key::KeyHash;
use super::super::mapper::{Draft, Mapped};
use super::super::outbox::Parts;
use super::super::rule::Format;
use super::super::verdict::Verdict;
use super::{Sheet, cloudevents, debezium, finish, walgate};

/// Everything at hand while an event of an outbox is written.
pub(in crate::mapping) struct OutboxPen<'a> {
    pub(in crate::mapping) sheet: Sheet<'a>,
    pub(in crate::mapping) hash: KeyHash,
    pub(in crate::mapping) draft: Draft,
}

impl OutboxPen<'_> {
    /// Appends the event to `out`, or says what keeps it from being sent.
    pub(in crate::mapping) fn write(
        mut self,
        parts: Result<Parts<'_>, Verdict>,
        out: &mut Vec<u8>,
    ) -> Mapped {
        let start = out.len();
        self.draft.key_hash = self.hash.finish();
        let written = parts.and_then(|parts| match self.sheet.format() {
            Format::Walgate => walgate::outbox(&mut self, &parts, out),
            format => {
                self.write_key(&parts, out)?;
                self.write_outbox(&parts, out)?;
                self.draft.body.start = out.len();
                match format {
                    Format::Debezium => debezium::outbox(&self, &parts, out),
                    Format::CloudEvents => cloudevents::outbox(&self, &parts, out),
                    Format::Walgate | Format::Mapped => parts.write_payload(out),
                }
                Ok(())
            }
        });
        finish(written, self.draft, start, out)
    }

    /// Appends the key.
    pub(super) fn write_key(
        &mut self,
        parts: &Parts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        let key = out.len();
        parts.write_key(out)?;
        let bytes = out.get(key..).unwrap_or_default();
        self.draft.key_hash = self.hash.with(bytes).finish();
        self.draft.key = Some(key..out.len());
        Ok(())
    }

    /// Appends what was written with the payload.
    pub(super) fn write_outbox(
        &mut self,
        parts: &Parts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        let outbox = out.len();
        parts.write_outbox(out)?;
        self.draft.outbox = Some(outbox..out.len());
        Ok(())
    }
}
