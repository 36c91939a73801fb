//! Charts as SVG (pure): whole without a script, which adds what is under the pointer.

use maud::{Markup, html};

use crate::inspect::history::{Grain, Series};
use crate::inspect::words;

/// In units of the drawing.
const WIDTH: f64 = 600.0;
/// See [`WIDTH`].
const HEIGHT: f64 = 120.0;
/// So many lines a chart has at most; what is beyond is said.
const LINES_MAX: usize = 8;

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Rate,
    Bytes,
    Seconds,
    Count,
}

impl Unit {
    /// Returns the next number above that is easy to read.
    fn top(self, value: f64) -> f64 {
        match self {
            Self::Bytes => {
                let scale = (value.max(1.0).log2() / 10.0).floor().min(4.0);
                let unit = 1024_f64.powf(scale);
                nice(value / unit) * unit
            }
            Self::Rate | Self::Seconds | Self::Count => nice(value),
        }
    }

    pub(super) fn words(self, value: f64) -> String {
        match self {
            Self::Rate => super::parts::rate(value),
            Self::Bytes => words::bytes(whole(value)),
            Self::Seconds if value < 0.001 => format!("{:.0} µs", value * 1e6),
            Self::Seconds if value < 0.01 => format!("{} ms", (value * 1e4).round() / 10.0),
            Self::Seconds if value < 1.0 => format!("{:.0} ms", value * 1000.0),
            Self::Seconds => words::duration(value),
            Self::Count => super::parts::count(whole(value)),
        }
    }
}

/// A line of a chart.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) series: Series,
}

/// Draws a chart that ends at `now`, in seconds since 1970.
pub(super) fn chart(title: &str, unit: Unit, grain: Grain, now: i64, lines: &[Line]) -> Markup {
    let start = now - grain.span();
    let shown = lines.get(..LINES_MAX).unwrap_or(lines);
    let values = shown.iter().flat_map(|line| &line.series.points).map(|(_, value)| *value);
    let top = unit.top(values.fold(0.0, f64::max));
    let hidden = lines.len() - shown.len();
    html! {
        figure.chart data-unit=(format!("{unit:?}")) data-start=(start) data-end=(now)
            data-top=(top) {
            figcaption {
                (title)
                span.top { (unit.words(top)) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(summary(title, unit, shown)) {
                @for part in 1..4 {
                    @let y = HEIGHT * f64::from(part) / 4.0;
                    line.grid x1="0" x2=(WIDTH) y1=(y) y2=(y) {}
                }
                @for (index, line) in shown.iter().enumerate() {
                    @for path in paths(&line.series, grain, start, top) {
                        path class=(format!("line c{index}")) d=(path)
                            vector-effect="non-scaling-stroke" {}
                    }
                }
            }
            div.axis {
                span { (if grain == Grain::Fine { "1 h ago" } else { "24 h ago" }) }
                span { "now" }
            }
            @if shown.len() > 1 || hidden > 0 {
                ul.legend {
                    @for (index, line) in shown.iter().enumerate() {
                        li class=(format!("c{index}")) {
                            (line.name)
                            @if let Some((_, last)) = line.series.points.last() {
                                " " b { (unit.words(*last)) }
                            }
                        }
                    }
                    @if hidden > 0 { li { "and " (hidden) " more" } }
                }
            }
        }
    }
}

/// What a reader of the screen is told.
fn summary(title: &str, unit: Unit, lines: &[Line]) -> String {
    let of = |line: &Line| {
        let last = line.series.points.last().map(|(_, value)| unit.words(*value));
        format!("{} {}", line.name, last.unwrap_or_else(|| "not known".to_owned()))
    };
    let lines: Vec<String> = lines.iter().map(of).collect();
    format!("{title}, now: {}", lines.join(", "))
}

/// Draws a line, interrupted where nothing was recorded.
fn paths(series: &Series, grain: Grain, start: i64, top: f64) -> Vec<String> {
    let mut paths: Vec<String> = Vec::new();
    let mut last = None;
    for (time, value) in series.points.iter().filter(|(time, _)| *time >= start) {
        let is_near = last.is_some_and(|last: i64| time - last <= grain.step() * 3);
        last = Some(*time);
        let seconds = i32::try_from(time - start).map_or(0.0, f64::from);
        let span = i32::try_from(grain.span()).map_or(1.0, f64::from);
        let x = (seconds / span * WIDTH).clamp(0.0, WIDTH);
        let y = HEIGHT - (value / top * (HEIGHT - 4.0)).clamp(0.0, HEIGHT) - 1.0;
        match paths.last_mut().filter(|_| is_near) {
            Some(path) => path.push_str(&format!("L{x:.1} {y:.1}")),
            // A point alone is seen as a dash.
            None => paths.push(format!("M{x:.1} {y:.1}h.5")),
        }
    }
    paths
}

/// Returns the next number above that is easy to read.
fn nice(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    steps.into_iter().map(|step| step * power).find(|top| *top >= value).unwrap_or(value)
}

/// Figures are never below zero.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
fn whole(value: f64) -> u64 {
    value.max(0.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_interrupted_where_nothing_was_recorded() {
        let points = vec![(3_600, 1.0), (3_610, 2.0), (3_900, 4.0)];
        let drawn = paths(&Series { points }, Grain::Fine, 3_600, 4.0);
        assert_eq!(drawn, ["M0.0 90.0h.5L1.7 61.0", "M50.0 3.0h.5"]);
    }

    #[test]
    fn the_top_is_a_number_that_is_easy_to_read() {
        let check = |value: f64, top: f64| assert!((nice(value) - top).abs() < 1e-9, "{value}");
        check(0.0, 1.0);
        check(0.3, 0.5);
        check(1.0, 1.0);
        check(17.0, 20.0);
        check(999.0, 1000.0);
        assert_eq!(Unit::Bytes.words(Unit::Bytes.top(400_000.0)), "500.0 KiB");
        assert_eq!(Unit::Bytes.words(Unit::Bytes.top(0.0)), "1 B");
        assert_eq!(Unit::Seconds.words(0.0025), "2.5 ms");
        assert_eq!(Unit::Seconds.words(0.001), "1 ms");
    }

    #[test]
    fn more_lines_than_can_be_told_apart_are_said_and_not_drawn() {
        let line = |name: usize| Line { name: format!("s{name}"), series: Series::default() };
        let lines: Vec<Line> = (0..11).map(line).collect();
        let drawn = chart("waiting", Unit::Count, Grain::Fine, 7_200, &lines).into_string();
        assert!(drawn.contains("and 3 more") && !drawn.contains("s8"), "{drawn}");
    }
}
