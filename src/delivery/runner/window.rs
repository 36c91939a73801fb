//! A part of the journal is sent again beside the stream.

use std::time::Duration;

use super::super::lane::{Tracked, keys};
use super::super::settings::Rate;
use super::super::window::{SLICE_CHANGES, Window, WindowOrder};
use super::{Error, Runner};
use crate::envelope::Envelope;
use crate::failure::chain;
use crate::lsn::Position;
use crate::progress::ledger::Ledger;

impl Runner {
    /// Begins with a window, or says why not.
    pub(super) fn begin_window(&mut self, order: WindowOrder) -> Result<(), String> {
        if self.window.is_some() {
            return Err("a replay to this sink is under way; wait for its end".to_owned());
        }
        let cursor = self.journal.cursor(order.from).map_err(|error| chain(&error))?;
        let mapper = self.operator.versions().at(&order.mappings);
        let read_to = self.progress.with_ledger(|ledger| ledger.read_to());
        let to = order.ranges.last().map_or(read_to, |(_, end)| *end);
        self.window = Some(Box::new(Window::new(order, cursor, mapper, to)));
        Ok(())
    }

    /// Whether a chunk of the window is wanted now.
    pub(super) fn wants_window_chunk(&mut self, now: Duration) -> bool {
        let Some(window) = &self.window else { return false };
        window.needs_chunk() && !window.is_read() && window.next_at <= now && self.has_space()
    }

    /// Whether more of the window can be handed over at once.
    pub(super) fn window_goes_on(&mut self, now: Duration) -> bool {
        let Some(window) = &self.window else { return false };
        !window.needs_chunk() && window.next_at <= now && self.has_space()
    }

    /// Hands over the next slice of the window, and looks whether that was all.
    pub(super) fn work_on_window(&mut self, now: Duration) -> Result<(), Error> {
        if self.window_goes_on(now) {
            self.hand_over(now)?;
        }
        let to = self.progress.with_ledger(|ledger| ledger.read_to());
        let Some(window) = &mut self.window else { return Ok(()) };
        if !window.is_settled() {
            return Ok(());
        }
        if window.begin_pass(to) {
            let from = window.order.from;
            let cursor = self.journal.cursor(from).map_err(|source| self.journal_error(source))?;
            if let Some(window) = &mut self.window {
                window.go_back(cursor);
            }
            return Ok(());
        }
        window.tell();
        window.order.told.change(|told| told.ended = true);
        self.window = None;
        self.count_dead();
        Ok(())
    }

    fn hand_over(&mut self, now: Duration) -> Result<(), Error> {
        let Some(window) = &mut self.window else { return Ok(()) };
        let limit = if window.order.rate.is_some() { 1 } else { SLICE_CHANGES };
        let slice = window
            .slice(limit)
            .map_err(|source| Error::Mapping { sink: self.name.to_string(), source })?;
        let (mut sent, mut left_out) = (0, slice.left_out);
        for (draft, buffer) in slice.drafts {
            let envelope = draft.envelope(&buffer.into());
            if self.scheduler.is_settled(envelope.id) {
                left_out += 1;
                continue;
            }
            let Some(window) = &mut self.window else { return Ok(()) };
            let ordinal = self.progress.with_ledger(Ledger::pass);
            window.sent(envelope.id.position, keys(&envelope));
            if let Some(rate) = window.order.rate {
                window.next_at = window.next_at.max(now).saturating_add(interval(rate));
            }
            let replay = window.order.number;
            let tracked = Tracked { replay, beside: true, ..Tracked::new(ordinal, envelope) };
            sent += 1;
            self.scheduler.push(tracked, now, &mut self.effects);
        }
        if let Some(window) = &self.window {
            window.order.told.change(|told| {
                told.sent += sent;
                told.left_out += left_out;
                told.not_wanted += slice.not_wanted;
                told.refused += slice.refused;
            });
            window.tell();
        }
        self.apply(now, None);
        Ok(())
    }

    /// Events of the window were taken by the sink.
    pub(super) fn window_delivered(&mut self, events: &[Envelope]) {
        let Some(window) = &mut self.window else { return };
        let settled = events.iter().filter(|event| window.settle(event.id.position, false));
        let delivered = settled.count() as u64;
        if delivered > 0 {
            window.order.told.change(|told| told.delivered += delivered);
            window.tell();
        }
    }

    /// An event of the window left its lane another way, or came back there.
    pub(super) fn window_set_aside(&mut self, position: Position, is_back: bool) {
        let Some(window) = &mut self.window else { return };
        let _known = window.settle(position, is_back);
        window.order.told.change(|told| {
            let by = u64::from(!is_back);
            told.set_aside = (told.set_aside + by).saturating_sub(u64::from(is_back));
        });
        window.tell();
    }

    /// The window can't be read any more.
    pub(super) fn window_failed(&mut self, reason: String) {
        if let Some(window) = self.window.take() {
            window.order.told.change(|told| {
                told.ended = true;
                told.failed = Some(reason);
            });
        }
    }
}

/// The time between two events.
fn interval(rate: Rate) -> Duration {
    let amount = u32::try_from(rate.amount.max(1)).unwrap_or(u32::MAX);
    rate.per / amount
}
