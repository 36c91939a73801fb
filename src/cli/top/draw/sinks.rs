//! The sinks, a line each: as many of them and as many columns as there is room for (pure).

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::super::model::Model;
use super::super::spark::spark;
use super::{BOLD, coloured, of_sink, words};
use crate::cli::status::text;
use crate::inspect::status::SinkStatus;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Name,
    Kind,
    State,
    Waiting,
    Behind,
    Rate,
    Bars,
    Delivered,
    Skipped,
    Dead,
}

impl Column {
    const ALL: [Self; 10] = [
        Self::Name,
        Self::Kind,
        Self::State,
        Self::Waiting,
        Self::Behind,
        Self::Rate,
        Self::Bars,
        Self::Delivered,
        Self::Skipped,
        Self::Dead,
    ];

    /// Which go where there is no room, the first of them first.
    const MAY_GO: [Self; 6] =
        [Self::Skipped, Self::Kind, Self::Bars, Self::Delivered, Self::Rate, Self::Behind];

    const fn head(self) -> &'static str {
        match self {
            Self::Name => "sink",
            Self::Kind => "kind",
            Self::State => "state",
            Self::Waiting => "waiting",
            Self::Behind => "behind",
            Self::Rate => "per s",
            Self::Bars => "",
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
        }
    }

    const fn is_number(self) -> bool {
        !matches!(self, Self::Name | Self::Kind | Self::State | Self::Bars)
    }
}

/// The columns with their widths, and what lies between two.
struct Fit {
    columns: Vec<(Column, usize)>,
    gap: usize,
}

/// How wide the bars are where there is room, and where there is less.
const BARS: [usize; 2] = [18, 9];

/// The least that is left of a name.
const NAME_MIN: usize = 8;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let sinks = model.sinks();
    if sinks.is_empty() {
        let nothing = if model.status.is_some() { "the config has no sink" } else { "" };
        frame.render_widget(Paragraph::new(nothing), area);
        return;
    }
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let visible = height.saturating_sub(1);
    // The selected one in the middle, as far as there are sinks on both sides.
    let first = model.index().saturating_sub(visible / 2);
    let first = first.min(sinks.len().saturating_sub(visible));
    let cells: Vec<[String; 9]> = sinks.iter().map(text::cells).collect();
    let fit = fit(&cells, width);
    let mut lines = vec![head(&fit)];
    let shown = sinks.iter().zip(&cells).enumerate().skip(first).take(visible);
    for (index, (sink, cells)) in shown {
        let line = row(model, sink, cells, &fit);
        let selected = index == model.index();
        let style =
            if selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        lines.push(line.style(style));
    }
    frame.render_widget(Paragraph::new(lines), area);
}

/// Chooses the columns: narrower bars first, then less between them, then fewer, then short names.
fn fit(cells: &[[String; 9]], width: usize) -> Fit {
    let wanted = |column: Column, bars: usize| match place(column) {
        None => bars,
        Some(index) => {
            let widths = cells.iter().filter_map(|row| row.get(index)).map(|it| it.chars().count());
            widths.chain([column.head().len()]).max().unwrap_or(0)
        }
    };
    let fit = |gap: usize, bars: usize, gone: usize| {
        let gone = Column::MAY_GO.get(..gone).unwrap_or_default();
        let columns = Column::ALL.into_iter().filter(|column| !gone.contains(column));
        Fit { columns: columns.map(|it| (it, wanted(it, bars))).collect(), gap }
    };
    let [wide, narrow] = BARS;
    let fewer = (0..=Column::MAY_GO.len()).map(|gone| (1, narrow, gone));
    let mut least = fit(1, narrow, Column::MAY_GO.len());
    for (gap, bars, gone) in [(2, wide, 0), (2, narrow, 0)].into_iter().chain(fewer) {
        let fit = fit(gap, bars, gone);
        if fit.width() <= width {
            return fit;
        }
    }
    let over = least.width().saturating_sub(width);
    if let Some((_, name)) = least.columns.first_mut() {
        *name = name.saturating_sub(over).max(NAME_MIN.min(*name));
    }
    least
}

impl Fit {
    fn width(&self) -> usize {
        let widths: usize = self.columns.iter().map(|(_, width)| width).sum();
        widths + self.gap * self.columns.len().saturating_sub(1)
    }
}

/// Where a column stands among the cells of `walgate status`; none for what only is drawn here.
const fn place(column: Column) -> Option<usize> {
    match column {
        Column::Name => Some(0),
        Column::Kind => Some(1),
        Column::State => Some(2),
        Column::Waiting => Some(3),
        Column::Behind => Some(4),
        Column::Rate => Some(5),
        Column::Delivered => Some(6),
        Column::Skipped => Some(7),
        Column::Dead => Some(8),
        Column::Bars => None,
    }
}

fn head(fit: &Fit) -> Line<'static> {
    let text = |column: Column, _| column.head().to_owned();
    let spans = spans(fit, text, |_| Style::new());
    Line::from(spans).style(BOLD)
}

fn row(model: &Model, sink: &SinkStatus, cells: &[String; 9], fit: &Fit) -> Line<'static> {
    let text = |column: Column, width: usize| match place(column) {
        Some(index) => cells.get(index).cloned().unwrap_or_default(),
        None => {
            let Some(rates) = model.rates(&sink.name) else { return String::new() };
            spark(rates.iter().copied(), rates.len(), width)
        }
    };
    let style = |column: Column| match column {
        Column::State => coloured(model, of_sink(sink.state)),
        Column::Dead if !sink.dead_letters.is_empty() => BOLD,
        _ => Style::new(),
    };
    Line::from(spans(fit, text, style))
}

fn spans(
    fit: &Fit,
    text: impl Fn(Column, usize) -> String,
    style: impl Fn(Column) -> Style,
) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (index, (column, width)) in fit.columns.iter().enumerate() {
        if index > 0 {
            spans.push(Span::raw(" ".repeat(fit.gap)));
        }
        let text = words::cut(&text(*column, *width), *width);
        let padded =
            if column.is_number() { format!("{text:>width$}") } else { format!("{text:<width$}") };
        spans.push(Span::styled(padded, style(*column)));
    }
    spans
}
