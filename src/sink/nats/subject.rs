//! [`Subject`]: where an event goes, built so that no value makes more of it than its own part.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Error;
use crate::chunk::Operation;
use crate::sink::template::{Event, Part, Template};

/// What a value keeps as it is; the rest of it is percent-encoded: `.` parts tokens, `*` and `>`
/// are wildcards, `$` begins what is the server's own.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

/// A longer subject is refused, in bytes: the server takes 4 KiB for the whole line of a message,
/// and closes the connection on more.
const BYTES_MAX: usize = 1024;

/// Whose events have no table, in its place.
const MESSAGE: &str = "message";

/// The subjects of a sink.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    template: Template,
}

impl Subject {
    /// Reads and checks the text: what is written out must be a subject's.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let subject = Self { template: Template::parse(text).map_err(Error::Template)? };
        for part in &subject.template.parts {
            let Part::Literal(text) = part else { continue };
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                return Err(Error::Subject("has a space, a line end or a control character"));
            }
            if text.contains(['*', '>']) {
                return Err(Error::Subject("has a wildcard, `*` or `>`; nothing is sent to one"));
            }
        }
        let shape = subject.shape("x");
        if shape.starts_with('$') {
            return Err(Error::Subject("begins with `$`, which is for the server's own"));
        }
        if shape.split('.').any(str::is_empty) {
            return Err(Error::Subject("is empty, or has two dots with nothing between"));
        }
        if shape.len() > BYTES_MAX {
            return Err(Error::Subject("is too long"));
        }
        Ok(subject)
    }

    /// Returns the subject of an event, or says what stands in the way, without a value.
    pub(super) fn of(&self, event: &Event<'_>) -> Result<String, String> {
        let mut subject = String::new();
        for part in &self.template.parts {
            match part {
                Part::Literal(literal) => subject.push_str(literal),
                Part::Place(path) if path.is("table") => match event.envelope.operation {
                    Operation::Message => subject.push_str(MESSAGE),
                    _ => {
                        let name = event.value(path).map_err(|error| error.to_string())?;
                        subject.push_str(&table(&name));
                    }
                },
                Part::Place(path) => {
                    let value = event.value(path).map_err(|error| error.to_string())?;
                    subject.extend(utf8_percent_encode(&value, ESCAPED));
                }
            }
        }
        if subject.split('.').any(str::is_empty) {
            return Err("a value makes an empty part of the subject".to_owned());
        }
        if subject.len() > BYTES_MAX {
            return Err(format!("the subject is longer than {BYTES_MAX} bytes"));
        }
        Ok(subject)
    }

    /// Returns the subjects it may make, with a wildcard for each token that a value has part in.
    pub(super) fn pattern(&self) -> String {
        let shape = self.shape("*");
        let token = |token: &str| if token.contains('*') { "*".to_owned() } else { token.into() };
        shape.split('.').map(token).collect::<Vec<String>>().join(".")
    }

    /// Fills `value` in everywhere: a table is two tokens.
    fn shape(&self, value: &str) -> String {
        let mut shape = String::new();
        for part in &self.template.parts {
            match part {
                Part::Literal(literal) => shape.push_str(literal),
                Part::Place(path) => {
                    shape.push_str(value);
                    if path.is("table") {
                        shape.push('.');
                        shape.push_str(value);
                    }
                }
            }
        }
        shape
    }
}

/// Makes two tokens of a table's name: `public.t`, `sales."Order Items"` → `sales.Order%20Items`.
fn table(name: &str) -> String {
    let mut tokens = String::new();
    let (mut part, mut is_quoted) = (String::new(), false);
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => {
                tokens.extend(utf8_percent_encode(&part, ESCAPED));
                tokens.push('.');
                part.clear();
            }
            letter => part.push(letter),
        }
    }
    tokens.extend(utf8_percent_encode(&part, ESCAPED));
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Envelope;
    use crate::sink::Form;
    use crate::sink::nats::tests::envelope;

    #[track_caller]
    fn of(subject: &str, envelope: &Envelope) -> Result<String, String> {
        Subject::parse(subject).unwrap().of(&Event { envelope, form: Form::Walgate })
    }

    #[test]
    fn a_table_is_two_tokens_and_nothing_in_its_name_is_more() {
        for (name, expected) in [
            ("public.t", "public.t"),
            (r#"sales."Order Items""#, "sales.Order%20Items"),
            (r#""a.b"."c*>""#, "a%2Eb.c%2A%3E"),
            (r#"public."say ""hi""""#, "public.say%20%22hi%22"),
            (r#"public."Zürich""#, "public.Z%C3%BCrich"),
        ] {
            assert_eq!(table(name), expected);
        }
    }

    #[test]
    fn a_value_stays_within_its_token() {
        for (value, expected) in [
            (r#""x""#, "a.x.insert"),
            (r#""x.y > *""#, "a.x%2Ey%20%3E%20%2A.insert"),
            (r#""$JS""#, "a.%24JS.insert"),
            ("-12.50", "a.-12%2E50.insert"),
            (r#""\r\nPUB x""#, "a.%0D%0APUB%20x.insert"),
        ] {
            let envelope = envelope(1, &format!(r#"{{"v":{value}}}"#));
            assert_eq!(of("a.{{ data.v }}.{{ op }}", &envelope).unwrap(), expected);
        }
    }

    #[test]
    fn an_event_without_the_value_is_told_by_the_path_alone() {
        let with = |value: &str| envelope(1, &format!(r#"{{"v":{value}}}"#));
        assert_eq!(of("{{ data.w }}", &with("1")).unwrap_err(), "the event has no `data.w`");
        assert_eq!(of("{{ data.v }}", &with("null")).unwrap_err(), "`data.v` is null");
        let empty = "a value makes an empty part of the subject";
        assert_eq!(of("a.{{ data.v }}", &with(r#""""#)).unwrap_err(), empty);
        let long = of("a.{{ data.v }}", &with(&format!(r#""{}""#, "x".repeat(2000))));
        assert_eq!(long.unwrap_err(), "the subject is longer than 1024 bytes");
    }

    #[test]
    fn a_message_has_its_word_for_a_table() {
        let message = Envelope { operation: Operation::Message, ..envelope(1, "{}") };
        assert_eq!(of("cdc.{{ table }}.{{ op }}", &message).unwrap(), "cdc.message.message");
    }

    #[test]
    fn the_pattern_has_a_wildcard_for_each_value() {
        let pattern = |text: &str| Subject::parse(text).unwrap().pattern();
        assert_eq!(pattern("orders"), "orders");
        assert_eq!(pattern("cdc.{{ table }}.{{ op }}"), "cdc.*.*.*");
        assert_eq!(pattern("cdc.v1-{{ op }}.x"), "cdc.*.x");
    }

    #[test]
    fn what_is_no_subject_is_refused() {
        for text in
            ["", "a..b", ".a", "a.", "a b", "a.*", "a.>", "$JS.API", "a.{{ op }}.", "{{ a b }}"]
        {
            assert!(Subject::parse(text).is_err(), "{text}");
        }
        assert!(Subject::parse("{{ op }}{{ table }}").is_ok());
    }
}
