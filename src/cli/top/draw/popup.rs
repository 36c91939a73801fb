//! What stands before all else: the keys, and a question (pure).

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Paragraph};

use super::super::model::{Act, Mode, Model};
use super::{BOLD, middle, words};

const HELP: [&str; 13] = [
    "↑ ↓  k j     select a sink",
    "PgUp PgDn    ten of them",
    "Home End     the first, the last",
    "Tab          the next that is not ok",
    "p            pause the selected sink",
    "r            resume it",
    "q Esc        quit",
    "",
    "waiting: events read for a sink, not done",
    "behind: age of the newest commit done",
    "per s: over the last second; the bars are",
    "the last looks, the highest of them full",
    "The numbers are those of `walgate status`.",
];

/// The frame around it, and a space at each side.
const AROUND: u16 = 4;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let (title, lines) = match &model.mode {
        Mode::Watch => return,
        Mode::Help => (" any key closes this ", HELP.map(str::to_owned).to_vec()),
        Mode::Confirm(act, sink) => (" y yes  n no ", question(model, *act, sink)),
    };
    let widest = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let widest = widest.max(title.len());
    let inner = widest.min(usize::from(area.width.saturating_sub(AROUND)));
    let lines: Vec<String> = lines.iter().flat_map(|line| words::wrap(line, inner, 2)).collect();
    let size =
        |count: usize, around: u16| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(around);
    let place = middle(area, size(inner, AROUND), size(lines.len(), 2));
    frame.render_widget(Clear, place);
    let lines = lines.into_iter().map(|line| Line::raw(format!(" {line}")));
    let block = Block::bordered().title(Line::styled(title, BOLD));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), place);
}

fn question(model: &Model, act: Act, sink: &str) -> Vec<String> {
    let what = match act {
        Act::Pause => format!("Pause sink {sink}? Its changes wait until it is resumed."),
        Act::Resume => format!("Resume sink {sink}? It goes on where it was."),
    };
    vec![what, String::new(), format!("As {}", model.twin(act, sink))]
}
