//! `check`: what a value must be. Every check looks at the value's text.

use std::borrow::Cow;
use std::fmt;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::decimal::Decimal;

/// The longest address that mail can carry (RFC 5321 with its erratum), in bytes.
const EMAIL_BYTES_MAX: usize = 254;

/// The longest part before the `@`, in bytes.
const EMAIL_LOCAL_BYTES_MAX: usize = 64;

/// The longest label of a domain, in characters.
const LABEL_MAX: usize = 63;

/// What a value must be. A value that is not is invalid, and `on_invalid` decides.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// An address of mail, as far as its form tells.
    Email,
    /// An address of the web, with http or https and a host.
    Url,
    /// A UUID with its hyphens.
    Uuid,
    /// Something but white space; of a list or an object, a member.
    Nonempty,
    /// At most so many characters.
    MaxLength(u32),
    /// A text that the pattern is found in.
    Pattern(Pattern),
    /// One of these texts; a number is compared by its digits.
    OneOf(Vec<String>),
    /// A number within limits, both included.
    Range {
        /// The least; none: any.
        min: Option<Decimal>,
        /// The largest; none: any.
        max: Option<Decimal>,
    },
}

/// A regular expression, found anywhere in a text unless it says otherwise.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, regex::Error> {
        super::expression::pattern(text).map(Self)
    }

    /// Returns it as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Check {
    /// The checks that a word names.
    const WORDS: [(&'static str, Self); 4] = [
        ("email", Self::Email),
        ("url", Self::Url),
        ("uuid", Self::Uuid),
        ("nonempty", Self::Nonempty),
    ];

    /// Returns the check of a word.
    #[must_use]
    pub fn word(word: &str) -> Option<Self> {
        Self::WORDS.into_iter().find(|(name, _)| *name == word).map(|(_, check)| check)
    }

    /// Whether a value passes.
    pub(super) fn passes(&self, value: &Text<'_>) -> bool {
        let text = &*value.text;
        match self {
            Self::Email => is_email(text),
            Self::Url => is_url(text),
            Self::Uuid => is_uuid(text.as_bytes()),
            Self::Nonempty => value.is_string && !text.trim().is_empty() || value.has_member(),
            Self::MaxLength(max) => {
                let max = usize::try_from(*max).unwrap_or(usize::MAX);
                // No character takes less than a byte.
                text.len() <= max || text.chars().count() <= max
            }
            Self::Pattern(pattern) => pattern.0.is_match(text),
            Self::OneOf(texts) => texts.iter().any(|one| {
                one == text || (!value.is_string && super::decimal::is_same_number(one, text))
            }),
            Self::Range { min, max } => {
                let within = |limit: &Option<Decimal>, wrong| match limit {
                    None => true,
                    Some(limit) => limit.compare(text.as_bytes()).is_some_and(|is| is != wrong),
                };
                within(min, std::cmp::Ordering::Less) && within(max, std::cmp::Ordering::Greater)
            }
        }
    }

    /// Returns what no value can pass, and what to write instead.
    pub(super) fn problem(&self) -> Option<String> {
        match self {
            Self::OneOf(texts) if texts.is_empty() => {
                Some("`one_of` is empty, so that nothing passes; list what may stand there".into())
            }
            Self::Range { min: Some(min), max: Some(max) }
                if max.compare(min.as_str().as_bytes()) == Some(std::cmp::Ordering::Greater) =>
            {
                Some(format!("`min` {min} is above `max` {max}; swap them"))
            }
            Self::Range { min: None, max: None } => Some("`check` is empty; say what".into()),
            _ => None,
        }
    }

    /// Returns its part of a mapping's canonical form.
    pub(super) fn canonical(&self) -> Value {
        if let Some((word, _)) = Self::WORDS.iter().find(|(_, check)| check == self) {
            return json!(word);
        }
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| out.insert(name.to_owned(), value);
        match self {
            Self::MaxLength(max) => drop(put("max_length", json!(max))),
            Self::Pattern(pattern) => drop(put("pattern", json!(pattern.as_str()))),
            Self::OneOf(texts) => drop(put("one_of", json!(texts))),
            Self::Range { min, max } => {
                for (name, limit) in [("min", min), ("max", max)] {
                    if let Some(limit) = limit {
                        put(name, json!(limit.as_str()));
                    }
                }
            }
            Self::Email | Self::Url | Self::Uuid | Self::Nonempty => {}
        }
        Value::Object(out)
    }

    /// Reads what [`Check::canonical`] wrote; none: it is something else.
    pub(super) fn from_canonical(value: &Value) -> Option<Self> {
        let members = match value {
            Value::String(word) => return Self::word(word),
            Value::Object(members) => members,
            _ => return None,
        };
        let text = |name: &str| members.get(name)?.as_str();
        let limit = |name: &str| match members.get(name) {
            None => Some(None),
            Some(limit) => Decimal::parse(limit.as_str()?).map(Some),
        };
        let names: Vec<&str> = members.keys().map(String::as_str).collect();
        Some(match names.as_slice() {
            ["max_length"] => {
                Self::MaxLength(members.get("max_length")?.as_u64()?.try_into().ok()?)
            }
            ["pattern"] => Self::Pattern(Pattern::parse(text("pattern")?).ok()?),
            ["one_of"] => {
                let texts = members.get("one_of")?.as_array()?.iter();
                let texts: Option<_> = texts.map(|text| text.as_str().map(str::to_owned)).collect();
                Self::OneOf(texts?)
            }
            ["min"] | ["max"] | ["min", "max"] => {
                Self::Range { min: limit("min")?, max: limit("max")? }
            }
            _ => return None,
        })
    }
}

/// As the config has it, for people.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Email => f.write_str("email"),
            Self::Url => f.write_str("url"),
            Self::Uuid => f.write_str("uuid"),
            Self::Nonempty => f.write_str("nonempty"),
            Self::MaxLength(max) => write!(f, "max_length = {max}"),
            Self::Pattern(pattern) => write!(f, "pattern = {:?}", pattern.as_str()),
            Self::OneOf(_) => f.write_str("one_of"),
            Self::Range { min, max } => {
                let comma = if min.is_some() && max.is_some() { ", " } else { "" };
                let limit = |name: &str, limit: &Option<Decimal>| {
                    limit.as_ref().map(|limit| format!("{name} = {limit}")).unwrap_or_default()
                };
                write!(f, "{}{comma}{}", limit("min", min), limit("max", max))
            }
        }
    }
}

/// A value as the event's JSON shows it, a string without its quotes.
pub(super) struct Text<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) is_string: bool,
}

impl<'a> Text<'a> {
    /// Takes one JSON value, as it was written.
    pub(super) fn of(json: &'a [u8]) -> Self {
        let inner = json.strip_prefix(b"\"").and_then(|inner| inner.strip_suffix(b"\""));
        let Some(inner) = inner else {
            return Self { text: String::from_utf8_lossy(json), is_string: false };
        };
        let plain = || String::from_utf8_lossy(inner);
        let text = match memchr::memchr(b'\\', inner) {
            None => plain(),
            // Half a surrogate pair, which json may hold, is no text: it stays as it is written.
            Some(_) => serde_json::from_slice(json).map_or_else(|_| plain(), Cow::Owned),
        };
        Self { text, is_string: true }
    }

    /// A list or an object with nothing in it has none; a number or a boolean counts as one.
    fn has_member(&self) -> bool {
        if self.is_string {
            return false;
        }
        let open = |mark: char| self.text.strip_prefix(mark);
        match open('[').or_else(|| open('{')) {
            Some(inner) => !inner.trim_start().starts_with([']', '}']),
            None => &*self.text != "null",
        }
    }
}

/// Something, one `@`, and a domain with a dot. Whether mail arrives there only mail can tell.
fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let fits = text.len() <= EMAIL_BYTES_MAX
        && (1..=EMAIL_LOCAL_BYTES_MAX).contains(&local.len())
        && !local.split('.').any(str::is_empty);
    let odd = |c: char| c.is_whitespace() || c.is_control() || "\"(),:;<>@[\\]".contains(c);
    let is_label = |label: &str| {
        (1..=LABEL_MAX).contains(&label.chars().count())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || is_mark(c))
    };
    let labels: Vec<&str> = domain.split('.').collect();
    let last = labels.last().copied().unwrap_or_default();
    fits && !local.contains(odd)
        && labels.len() > 1
        && labels.into_iter().all(is_label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// Signs that belong to a letter in many scripts are not letters themselves.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && !c.is_whitespace() && !c.is_control()
}

/// The parser mends much that a browser would (blanks, line ends, a missing `//`); a value is
/// held against what it says as it stands.
fn is_url(text: &str) -> bool {
    let starts = |scheme: &str| {
        let start = text.split_at_checked(scheme.len());
        start.is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(scheme) && !rest.starts_with('/')
        })
    };
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '\\';
    (starts("http://") || starts("https://"))
        && text.chars().all(plain)
        && url::Url::parse(text).is_ok_and(|url| url.host_str().is_some_and(|h| !h.is_empty()))
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(check: &Check, json: &str, expected: bool) {
        assert_eq!(check.passes(&Text::of(json.as_bytes())), expected, "{check} of {json}");
    }

    #[track_caller]
    fn texts(with: &Check, good: &[&str], bad: &[&str]) {
        for (list, expected) in [(good, true), (bad, false)] {
            for text in list {
                check(with, &json!(text).to_string(), expected);
            }
        }
    }

    #[test]
    fn an_email_has_one_at_and_a_domain() {
        let long = format!("a@{}.co", "b".repeat(64));
        let longer = format!("{}@{}.co", "a".repeat(64), vec!["b".repeat(60); 4].join("."));
        texts(
            &Check::Email,
            &[
                "a@b.co",
                "a.b+c@sub.example.com",
                "o'neil@x.org",
                "ü@bücher.example",
                "a@b-c.co",
                "a@xn--bcher-kva.example",
                "用户@例子.广告",
            ],
            &[
                "",
                "a",
                "@b.co",
                "a@",
                "a@b",
                "a@b@c.co",
                "a b@c.co",
                "a@b c.co",
                "a@.co",
                "a@b.",
                "a@-b.co",
                "a@b..co",
                ".a@b.co",
                "a..b@c.co",
                "a@b.co\n",
                "<a@b.co>",
                "a@1.2.3.4",
                "a,b@c.co",
                "a@b_c.co",
                &long,
                &longer,
            ],
        );
        check(&Check::Email, "42", false);
        check(&Check::Email, r#""a\u0040b.co""#, true);
    }

    #[test]
    fn a_url_has_a_scheme_and_a_host() {
        texts(
            &Check::Url,
            &[
                "http://a",
                "HTTPS://example.com/x?y#z",
                "https://[::1]:80/",
                "https://bücher.example",
            ],
            &[
                "",
                "example.com",
                "ftp://a",
                "http:a",
                "http://",
                "https:///x",
                "http://a b",
                " http://a",
                "http://a\n",
                "http:\\\\a",
                "javascript:alert(1)",
                "mailto:a@b.co",
            ],
        );
    }

    #[test]
    fn a_uuid_has_its_hyphens() {
        texts(
            &Check::Uuid,
            &["123e4567-e89b-12d3-a456-426614174000", "123E4567-E89B-12D3-A456-426614174000"],
            &[
                "",
                "123e4567e89b12d3a456426614174000",
                "123e4567-e89b-12d3-a456-42661417400g",
                "{123e4567-e89b-12d3-a456-426614174000}",
            ],
        );
    }

    #[test]
    fn nonempty_wants_more_than_blanks_and_brackets() {
        texts(&Check::Nonempty, &["a", " a "], &["", " ", "\t\n", "\u{a0}"]);
        for (json, expected) in [
            ("0", true),
            ("false", true),
            ("[]", false),
            ("{ }", false),
            ("[1]", true),
            ("null", false),
        ] {
            check(&Check::Nonempty, json, expected);
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        texts(&Check::MaxLength(3), &["", "abc", "üüü", "日本語"], &["abcd", "üüüü"]);
        check(&Check::MaxLength(3), "1234", false);
        check(&Check::MaxLength(1), r#""\n""#, true);
    }

    #[test]
    fn a_pattern_is_found_anywhere_unless_it_is_anchored() {
        let pattern = |text: &str| Check::Pattern(Pattern::parse(text).unwrap());
        texts(&pattern("[0-9]"), &["a1b"], &["ab"]);
        texts(&pattern("^[0-9]+$"), &["123"], &["a1b", ""]);
        texts(&pattern("(?i)^ü$"), &["Ü"], &["u"]);
    }

    #[test]
    fn one_of_compares_texts_and_numbers_by_their_digits() {
        let one =
            Check::OneOf(vec!["a".into(), "1".into(), "9007199254740993".into(), "true".into()]);
        texts(&one, &["a", "1", "true"], &["A", "1.0", "", "b"]);
        for (json, expected) in [
            ("1", true),
            ("1.0", true),
            ("10e-1", true),
            ("2", false),
            ("true", true),
            ("9007199254740993", true),
            ("9007199254740992", false),
            ("null", false),
        ] {
            check(&one, json, expected);
        }
    }

    #[test]
    fn a_range_is_exact_and_what_is_no_number_is_outside() {
        let range = |min: Option<&str>, max: Option<&str>| {
            let read = |text: Option<&str>| text.map(|text| Decimal::parse(text).unwrap());
            Check::Range { min: read(min), max: read(max) }
        };
        let exact = range(Some("0.1"), Some("9007199254740993"));
        for (json, expected) in [
            ("0.1", true),
            ("0.0999999999999999999999", false),
            ("9007199254740993", true),
            ("9007199254740993.0", true),
            ("9007199254740993.00000000000001", false),
            ("9007199254740994", false),
            ("1e3", true),
            ("1e400", false),
            ("-1", false),
            ("\"5\"", true),
            ("\"NaN\"", false),
            ("\"Infinity\"", false),
            ("\"\"", false),
            ("true", false),
            ("[1]", false),
            ("\"2026-01-02\"", false),
        ] {
            check(&exact, json, expected);
        }
        check(&range(Some("-5"), None), "1e999", true);
        check(&range(None, Some("-5")), "-1e999", true);
        check(&range(None, Some("-5")), "\"-Infinity\"", false);
    }

    #[test]
    fn what_nothing_can_pass_is_a_problem() {
        let limit = |text: &str| Decimal::parse(text);
        let range = |min: &str, max: &str| Check::Range { min: limit(min), max: limit(max) };
        assert_eq!(range("2", "1").problem().unwrap(), "`min` 2 is above `max` 1; swap them");
        assert_eq!(range("1", "1.0").problem(), None);
        assert!(Check::OneOf(vec![]).problem().is_some());
        assert_eq!(Check::Email.problem(), None);
    }
}
