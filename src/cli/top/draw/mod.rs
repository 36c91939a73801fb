//! [`draw`]: a frame of a model (pure).
//!
//! From top to bottom: the source, as `walgate status` has it; the sinks, as many as there is room
//! for around the selected one; all there is to say of that; the keys.

mod popup;
mod sinks;
#[cfg(test)]
mod tests;
mod words;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::model::Model;
use crate::cli::status::text;
use crate::delivery::SinkState;
use crate::inspect::status::{SinkStatus, SourceState, Status};

/// Lines that the sinks have at least, their head included.
const SINKS_MIN: usize = 4;

/// Draws everything.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let (source, detail) = (source(model, width), detail(model, width));
    // The title, the keys, a line between the parts.
    let room = height.saturating_sub(4 + SINKS_MIN);
    let of_source = source.len().min(room.div_ceil(2));
    let of_detail = detail.len().min(room - of_source);
    let lines = |count: usize| Constraint::Length(u16::try_from(count).unwrap_or(u16::MAX));
    let parts = [
        lines(1),
        lines(of_source),
        lines(usize::from(of_source > 0)),
        Constraint::Fill(1),
        lines(usize::from(of_detail > 0)),
        lines(of_detail),
        lines(1),
    ];
    let [title, above, _, middle, _, below, keys] = Layout::vertical(parts).areas(area);
    frame.render_widget(Paragraph::new(self::title(model, width)), title);
    frame.render_widget(Paragraph::new(source), above);
    sinks::draw(model, frame, middle);
    frame.render_widget(Paragraph::new(detail), below);
    frame.render_widget(Paragraph::new(bottom(model, width)), keys);
    popup::draw(model, frame, area);
}

/// A colour, where there is colour.
fn coloured(model: &Model, colour: Color) -> Style {
    if model.colour { Style::new().fg(colour) } else { Style::new() }
}

/// What stands out without colour too.
const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);

const fn of_sink(state: SinkState) -> Color {
    match state {
        SinkState::Ok => Color::Green,
        SinkState::Retrying | SinkState::Open | SinkState::HalfOpen => Color::Yellow,
        SinkState::Halted => Color::Red,
    }
}

const fn of_source(state: SourceState) -> Color {
    match state {
        SourceState::Streaming | SourceState::Loading => Color::Green,
        SourceState::Connecting | SourceState::Standby => Color::Yellow,
        SourceState::Halted | SourceState::Stopped => Color::Red,
    }
}

/// What it is, which sink is selected and how all are, and when that was, as far as it fits.
fn title(model: &Model, width: usize) -> Line<'static> {
    let name = Span::styled("walgate top", BOLD);
    // Whole seconds are enough.
    let at = model.looked_at.map(|at| at.to_string()).unwrap_or_default();
    let at = at.split_once('.').map(|(seconds, _)| format!("{seconds}Z")).unwrap_or(at);
    let sinks = format!("  {}", tally(model));
    let mut line = Line::from(name);
    if line.width() + sinks.chars().count() <= width {
        line.push_span(Span::raw(sinks));
    }
    let gap = width.saturating_sub(line.width() + at.len());
    if gap > 1 {
        line.push_span(Span::raw(format!("{:gap$}{at}", "")));
    }
    line
}

/// `sink 3 of 12: 11 ok, 1 halted`
fn tally(model: &Model) -> String {
    let sinks = model.sinks();
    if sinks.is_empty() {
        return String::new();
    }
    let count = |state: &SinkState| (*state, sinks.iter().filter(|it| it.state == *state).count());
    let states = SinkState::ALL.iter().map(count).filter(|(_, count)| *count > 0);
    let told: Vec<String> =
        states.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
    format!("sink {} of {}: {}", model.index() + 1, sinks.len(), told.join(", "))
}

/// The source and the journal, in the lines that `walgate status` has for them.
fn source(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(problem) = &model.problem {
        let told = format!("no newer status: {problem}");
        let style = coloured(model, Color::Red).patch(BOLD);
        lines
            .extend(words::wrap(&told, width, 0).into_iter().map(|line| Line::styled(line, style)));
    }
    let Some(status) = &model.status else {
        if lines.is_empty() {
            lines.push(Line::raw("looking …"));
        }
        return lines;
    };
    let written = text::source_and_journal(status);
    for line in written.lines() {
        let style =
            if is_warning(line, status) { coloured(model, Color::Yellow) } else { Style::new() };
        let indent = line.len().min("source   ".len());
        lines
            .extend(words::wrap(line, width, indent).into_iter().map(|it| Line::styled(it, style)));
    }
    colour_state(model, status, &mut lines);
    lines
}

fn is_warning(line: &str, status: &Status) -> bool {
    status.source.warnings.iter().any(|warning| warning == line.trim_start())
}

/// Colours the source's state where it stands.
fn colour_state(model: &Model, status: &Status, lines: &mut [Line<'static>]) {
    let state = status.source.state;
    for line in lines {
        let text = line.to_string();
        let Some(rest) = text.strip_prefix("source   ") else { continue };
        let Some(rest) = rest.strip_prefix(state.as_str()) else { continue };
        let style = coloured(model, of_source(state)).patch(BOLD);
        let spans = [Span::raw("source   "), Span::styled(state.as_str(), style)];
        *line = Line::from_iter(spans.into_iter().chain([Span::raw(rest.to_owned())]));
        return;
    }
}

/// All there is to say of the selected sink.
fn detail(model: &Model, width: usize) -> Vec<Line<'static>> {
    let Some(sink) = model.selected() else { return Vec::new() };
    let mut lines = vec![about(model, sink)];
    let mut say = |text: &str| {
        lines.extend(words::wrap(text, width, 2).into_iter().map(Line::raw));
    };
    if let Some(reason) = &sink.reason {
        say(&format!("  {reason}"));
    }
    if let Some(since) = sink.since.as_ref().filter(|_| sink.state != SinkState::Ok) {
        say(&format!("  since {since}"));
    }
    if let Some(next) = &sink.next {
        say(&format!("  sends next at {next}"));
    }
    for (category, count) in &sink.dead_letters {
        say(&format!("  {count} set aside, {category}"));
    }
    lines
}

fn about(model: &Model, sink: &SinkStatus) -> Line<'static> {
    let state = Span::styled(sink.state.as_str(), coloured(model, of_sink(sink.state)).patch(BOLD));
    let kind = sink.kind.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    let name = Span::styled(sink.name.clone(), BOLD);
    Line::from(vec![name, Span::raw(format!("{kind}: ")), state])
}

/// The keys, as many as there is room for, the first of them first.
const KEYS: [&str; 6] =
    ["q quit", "? help", "↑↓ select", "p pause", "r resume", "Tab next in trouble"];

/// What was said last, else the keys.
fn bottom(model: &Model, width: usize) -> Line<'static> {
    if let Some(said) = &model.said {
        return Line::styled(words::cut(said, width), BOLD);
    }
    let mut shown = String::new();
    for key in KEYS {
        let gap = if shown.is_empty() { "" } else { "  " };
        if shown.chars().count() + gap.len() + key.chars().count() > width {
            break;
        }
        shown.push_str(gap);
        shown.push_str(key);
    }
    Line::raw(shown)
}

/// A box in the middle of an area, as large as it may be.
fn middle(area: Rect, width: u16, height: u16) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let x = area.x + (area.width - width) / 2;
    let y = area.y + (area.height - height) / 2;
    Rect { x, y, width, height }
}
