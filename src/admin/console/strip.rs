//! The states of a sink over time as a strip of SVG (pure).

use maud::{Markup, html};

use super::parts;
use crate::inspect::history::{Grain, Series};
use crate::lsn::Timestamp;

/// In units of the drawing.
const WIDTH: f64 = 600.0;
/// What is drawn of each number of [`SinkState::breaker`].
const WORDS: [&str; 4] = ["closed", "half-open", "open", "halted"];

/// A stretch in which the state was the same.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    /// Seconds since 1970.
    start: i64,
    end: i64,
    state: usize,
}

/// Draws the breaker's states up to `now`, in seconds since 1970, and tells when it was not closed.
pub(super) fn strip(series: &Series, grain: Grain, now: i64) -> Markup {
    let start = now - grain.span();
    let stretches = stretches(series, grain, start, now);
    let away: Vec<&Stretch> = stretches.iter().filter(|stretch| stretch.state > 0).collect();
    html! {
        figure.strip {
            figcaption { "Breaker" }
            svg viewBox=(format!("0 0 {WIDTH} 10")) preserveAspectRatio="none" role="img"
                aria-label=(summary(&stretches)) {
                @for Stretch { start: from, end, state } in &stretches {
                    @let (x, to) = (place(*from, start, grain), place(*end, start, grain));
                    rect class=(format!("state{state}")) x=(format!("{x:.1}")) y="0"
                        width=(format!("{:.1}", (to - x).max(1.0))) height="10" {}
                }
            }
            div.axis {
                span { (if grain == Grain::Fine { "1 h ago" } else { "24 h ago" }) }
                span { "now" }
            }
            @if !away.is_empty() {
                ul.away { @for stretch in away.iter().rev().take(10) {
                    li {
                        (word(stretch.state)) " from " (time(stretch.start))
                        @if stretch.end >= now { " on" } @else { " to " (time(stretch.end)) }
                    }
                } }
            }
        }
    }
}

fn word(state: usize) -> &'static str {
    WORDS.get(state).copied().unwrap_or("halted")
}

fn time(seconds: i64) -> Markup {
    parts::time(&Timestamp::from_unix_micros(seconds.saturating_mul(1_000_000)).to_string())
}

fn place(time: i64, start: i64, grain: Grain) -> f64 {
    let part = |seconds: i64| i32::try_from(seconds).map_or(0.0, f64::from);
    (part(time - start) / part(grain.span()) * WIDTH).clamp(0.0, WIDTH)
}

fn summary(stretches: &[Stretch]) -> String {
    let now = stretches.last().map_or("not known", |last| word(last.state));
    format!("Breaker, now: {now}")
}

/// Joins what was recorded to stretches; where nothing was, there is none.
fn stretches(series: &Series, grain: Grain, start: i64, now: i64) -> Vec<Stretch> {
    let mut stretches: Vec<Stretch> = Vec::new();
    for (time, value) in series.points.iter().filter(|(time, _)| *time >= start) {
        let state = [0.5, 1.5, 2.5].into_iter().filter(|edge| value > edge).count();
        let end = time.saturating_add(grain.step()).min(now);
        match stretches.last_mut() {
            Some(last) if time - last.end <= grain.step() * 2 => {
                last.end = *time;
                if last.state == state {
                    last.end = end;
                } else {
                    stretches.push(Stretch { start: *time, end, state });
                }
            }
            _ => stretches.push(Stretch { start: *time, end, state }),
        }
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_that_are_the_same_are_one_stretch_and_gaps_stay_gaps() {
        let points = vec![
            (3_600, 0.0),
            (3_610, 0.0),
            (3_620, 2.0),
            (3_630, 1.0),
            (3_640, 0.0),
            (3_900, 3.0),
        ];
        let drawn = stretches(&Series { points }, Grain::Fine, 3_600, 3_905);
        let of = |start, end, state| Stretch { start, end, state };
        assert_eq!(
            drawn,
            [
                of(3_600, 3_620, 0),
                of(3_620, 3_630, 2),
                of(3_630, 3_640, 1),
                of(3_640, 3_650, 0),
                of(3_900, 3_905, 3),
            ]
        );
    }
}
