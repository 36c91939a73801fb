//! Text over several lines (pure).

/// Cuts a text into lines of at most `width` characters, between words where that is possible; the
/// lines behind the first are indented.
pub(super) fn wrap(text: &str, width: usize, indent: usize) -> Vec<String> {
    let indent = if indent * 2 < width { indent } else { 0 };
    let (mut lines, mut rest) = (Vec::new(), text.trim_end().to_owned());
    while rest.chars().count() > width && width > 0 {
        let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        let start = rest.len() - rest.trim_start().len();
        let head = rest.get(..end).unwrap_or_default();
        let breaks = rest.get(end..).is_some_and(|tail| tail.starts_with(' '));
        let at = if breaks { Some(end) } else { head.rfind(' ').filter(|at| *at > start) };
        let (line, tail) = rest.split_at(at.unwrap_or(end));
        let tail = format!("{:indent$}{}", "", tail.trim_start());
        lines.push(line.trim_end().to_owned());
        // Where nothing but the indent could stand on a line.
        if tail.len() >= rest.len() {
            break;
        }
        rest = tail;
    }
    if !rest.trim().is_empty() || lines.is_empty() {
        lines.push(rest);
    }
    lines
}

/// Cuts a text off at `width` characters and shows that it is.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let head: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { head } else { format!("{head}…") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, width: usize, indent: usize, expected: &[&str]) {
        assert_eq!(wrap(text, width, indent), expected);
    }

    #[test]
    fn lines_end_between_words() {
        check("", 10, 0, &[""]);
        check("one two", 10, 0, &["one two"]);
        check("one two three", 7, 0, &["one two", "three"]);
        check("one two three", 8, 2, &["one two", "  three"]);
        check("  one two three", 9, 2, &["  one two", "  three"]);
        check("größe größe", 6, 0, &["größe", "größe"]);
    }

    #[test]
    fn a_word_that_is_too_long_is_cut() {
        check("abcdefghij", 4, 0, &["abcd", "efgh", "ij"]);
        check("  abcdefgh", 6, 2, &["  abcd", "  efgh"]);
        check("abc", 1, 5, &["a", "b", "c"]);
        check("abc", 0, 0, &["abc"]);
    }

    #[test]
    fn what_is_cut_off_is_told() {
        for (text, width, expected) in
            [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("abcd", 1, "…"), ("abcd", 0, "")]
        {
            assert_eq!(cut(text, width), expected);
        }
    }
}
