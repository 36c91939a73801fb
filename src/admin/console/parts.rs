//! What pages are made of (pure).

use maud::{Markup, html};
use serde_json::Value;

use crate::delivery::SinkState;
use crate::inspect::status::SourceState;

/// How good a state is: the colour that it is shown in, always beside its word.
pub(super) fn tone(word: &str) -> &'static str {
    match word {
        "ok" | "streaming" | "delivered" | "done" | "resolved" => "good",
        "retrying" | "half_open" | "loading" | "connecting" | "standby" | "running"
        | "replaying" | "blocked" | "waiting" | "asked" | "taken" | "paused" | "warning" => "warn",
        "open" | "halted" | "stopped" | "dead" | "failed" | "firing" | "lost" => "bad",
        _ => "plain",
    }
}

/// A state as a badge.
pub(super) fn badge(word: &str) -> Markup {
    html! { span class=(format!("badge {}", tone(word))) { (word.replace('_', "-")) } }
}

/// The state of a sink as a badge.
pub(super) fn sink_badge(state: SinkState) -> Markup {
    badge(state.as_str())
}

/// The state of the source as a badge.
pub(super) fn source_badge(state: SourceState) -> Markup {
    badge(state.as_str())
}

/// A sentence in which commands stand between backticks.
pub(super) fn with_code(text: &str) -> Markup {
    html! {
        @for (index, part) in text.split('`').enumerate() {
            @if index % 2 == 0 { (part) } @else { code { (part) } }
        }
    }
}

/// A figure with what it is of.
pub(super) fn figure(label: &str, value: &str, note: &str) -> Markup {
    html! {
        div.figure {
            dt { (label) }
            dd { strong { (value) } @if !note.is_empty() { span { (note) } } }
        }
    }
}

/// A whole number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A rate with as many digits as say something.
pub(super) fn rate(per_second: f64) -> String {
    if per_second >= 100.0 { format!("{per_second:.0}/s") } else { format!("{per_second:.1}/s") }
}

/// A moment, to the second; the script adds how long ago that is.
pub(super) fn time(text: &str) -> Markup {
    let second = match text.split_once('.') {
        Some((second, _)) => format!("{second}Z"),
        None => text.to_owned(),
    };
    html! { time datetime=(text) title=(text) { (second.replace('T', " ")) } }
}

/// A command that does the same.
pub(super) fn twin(command: &str) -> Markup {
    html! {
        p.twin { "By command:" code { (command) } button.quiet.copy type="button" hidden { "copy" } }
    }
}

/// A button that asks the run for something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Act<'a> {
    /// What stands on it.
    pub(super) label: &'a str,
    /// Where it posts to.
    pub(super) to: &'a str,
    /// What it posts; a reason is added where one is asked for.
    pub(super) body: &'a Value,
    /// The command that does the same.
    pub(super) twin: &'a str,
    /// A reason is asked for, and needed.
    pub(super) reason: bool,
    /// It can't be undone.
    pub(super) harm: bool,
}

/// Shows a button. Without JavaScript there is none to press: the command beside it says how.
pub(super) fn act(act: Act<'_>) -> Markup {
    let class = if act.harm { "act harm" } else { "act" };
    html! {
        button class=(class) type="button" disabled data-to=(act.to) data-body=(act.body)
            data-twin=(act.twin) data-reason=[act.reason.then_some("needed")] { (act.label) }
    }
}

/// JSON, indented, to the digit as it is.
pub(super) fn json(text: &str) -> Markup {
    html! { pre.json { code { (indent(text)) } } }
}

/// Sets JSON on lines without reading its values: numbers keep their digits.
fn indent(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(char) = chars.next() {
        if in_string {
            out.push(char);
            match char {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match char {
            '"' => {
                in_string = true;
                out.push(char);
            }
            '{' | '[' => {
                out.push(char);
                let close = if char == '{' { '}' } else { ']' };
                if chars.peek() == Some(&close) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(char);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            char if char.is_whitespace() => {}
            char => out.push(char),
        }
    }
    out
}

/// The beginning of a text that may be long.
pub(super) fn cut(text: &str) -> String {
    const CHARS: usize = 160;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Quotes a word for a shell, where it needs that.
pub(super) fn shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Puts a text into an address.
pub(super) fn encoded(text: &str) -> String {
    let set = percent_encoding::NON_ALPHANUMERIC;
    percent_encoding::utf8_percent_encode(text, set).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_set_on_lines_and_keeps_its_digits() {
        let text = r#"{"id":12345678901234567890.10,"a":[],"s":"x,{\"y\":1}","o":{"n":null}}"#;
        let lines = "{\n  \"id\": 12345678901234567890.10,\n  \"a\": [],\n  \
                     \"s\": \"x,{\\\"y\\\":1}\",\n  \"o\": {\n    \"n\": null\n  }\n}";
        assert_eq!(indent(text), lines);
        assert_eq!(indent("not json {"), "notjson{\n  ");
    }

    #[test]
    fn figures_are_read_at_a_glance() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(rate(0.25), "0.2/s");
        assert_eq!(rate(12_345.6), "12346/s");
    }

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!(shell("crm"), "crm");
        assert_eq!(shell("a b"), "'a b'");
        assert_eq!(shell("it's $(x)"), r"'it'\''s $(x)'");
        assert_eq!(shell(""), "''");
    }

    #[test]
    fn what_a_row_holds_is_no_markup() {
        let shown = json("{\"a\":\"<script>alert(1)</script>\"}").into_string();
        assert!(!shown.contains("<script>"), "{shown}");
        let button = act(Act {
            label: "x",
            to: "/v1/x",
            body: &serde_json::json!({ "a": "\"><img src=x>" }),
            twin: "walgate",
            reason: false,
            harm: false,
        });
        assert!(!button.into_string().contains("<img"));
    }
}
