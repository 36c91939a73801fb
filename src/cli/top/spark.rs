//! A row of bars, one character each (pure).

/// Nothing, and seven heights.
const BARS: [char; 8] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇'];

/// Draws values, the newest at the right end, so many to a bar that `looks` of them fill `width`
/// characters. A bar is as high as the highest of its values; the highest of all is full.
pub(super) fn spark(
    values: impl DoubleEndedIterator<Item = f64>,
    looks: usize,
    width: usize,
) -> String {
    let each = looks.div_ceil(width.max(1)).max(1);
    let mut bars: Vec<f64> = Vec::with_capacity(width);
    for (index, value) in values.rev().take(each * width).enumerate() {
        match bars.get_mut(index / each) {
            Some(bar) => *bar = bar.max(value),
            None => bars.push(value),
        }
    }
    let highest = bars.iter().copied().fold(0.0, f64::max);
    let drawn: String = bars.iter().rev().map(|value| bar(*value, highest)).collect();
    format!("{drawn:>width$}")
}

/// Whatever is more than nothing is seen.
fn bar(value: f64, highest: f64) -> char {
    const HEIGHTS: [f64; 6] = [1.0 / 7.0, 2.0 / 7.0, 3.0 / 7.0, 4.0 / 7.0, 5.0 / 7.0, 6.0 / 7.0];
    if value <= 0.0 || highest <= 0.0 {
        return ' ';
    }
    let part = value / highest;
    let height = 1 + HEIGHTS.iter().filter(|height| part > **height).count();
    BARS.get(height).copied().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: &[f64], looks: usize, width: usize, expected: &str) {
        assert_eq!(spark(values.iter().copied(), looks, width), expected);
    }

    #[test]
    fn the_newest_stands_right_and_the_highest_is_full() {
        check(&[], 4, 4, "    ");
        check(&[0.0, 0.0], 4, 4, "    ");
        check(&[1.0, 7.0], 4, 4, "  ▁▇");
        check(&[0.001, 100.0, 50.0, 0.0], 4, 4, "▁▇▄ ");
        check(&[9.0, 1.0, 2.0, 3.0, 4.0], 4, 4, "▂▄▆▇");
    }

    #[test]
    fn values_share_a_bar_where_there_are_more_than_bars() {
        check(&[7.0, 0.0, 1.0, 0.0, 0.0, 0.0], 6, 3, "▇▁ ");
        check(&[7.0, 0.0, 1.0], 6, 3, " ▇▁");
        check(&[1.0], 6, 0, "");
    }
}
