//! `mask`: what is shown of a value in its place.

use std::fmt::Write as _;

use ring::hmac;

use super::check::Text;
use crate::pgoutput::value::write_text_json;
use crate::secret::Secret;

/// How a value is hidden. NULL is not: that is for `on_null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mask {
    /// `***`
    Redact,
    /// `***` and the last four characters; of four or fewer nothing is shown.
    Last4,
    /// HMAC-SHA-256 of the value's text with the mapping's `mask_key`, as hex digits.
    Hash,
}

impl Mask {
    /// Every word that the config knows.
    pub const ALL: [Self; 3] = [Self::Redact, Self::Last4, Self::Hash];

    /// Returns the config's word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Redact => "redact",
            Self::Last4 => "last4",
            Self::Hash => "hash",
        }
    }
}

/// What stands in a hidden value's place.
pub(super) const HIDDEN: &str = "***";

/// So many characters `last4` shows.
const SHOWN: usize = 4;

/// What a key is told by without being shown: its HMAC of this.
const FINGERPRINT_OF: &[u8] = b"walgate mask_key";

/// Returns what tells one key from another and does not tell the key.
pub(super) fn fingerprint(key: &Secret) -> String {
    let key = hmac_key(key);
    hex(hmac::sign(&key, FINGERPRINT_OF).as_ref())
}

/// A mask with its key.
#[derive(Clone, Debug)]
pub(super) enum Masker {
    Redact,
    Last4,
    Hash(hmac::Key),
}

impl Masker {
    /// Without a key, which a checked config never lacks, `hash` shows nothing at all.
    pub(super) fn new(mask: Mask, key: Option<&Secret>) -> Self {
        match (mask, key) {
            (Mask::Redact, _) | (Mask::Hash, None) => Self::Redact,
            (Mask::Last4, _) => Self::Last4,
            (Mask::Hash, Some(key)) => Self::Hash(hmac_key(key)),
        }
    }

    /// Puts what is shown in place of the JSON that stands in `out` from `start` on.
    pub(super) fn cover(&self, start: usize, out: &mut Vec<u8>) {
        let value = Text::of(out.get(start..).unwrap_or_default());
        let shown = match self {
            Self::Redact => HIDDEN.to_owned(),
            Self::Last4 => match value.text.char_indices().nth_back(SHOWN - 1) {
                Some((at, _)) if at > 0 => {
                    format!("{HIDDEN}{}", value.text.get(at..).unwrap_or_default())
                }
                _ => HIDDEN.to_owned(),
            },
            Self::Hash(key) => hex(hmac::sign(key, value.text.as_bytes()).as_ref()),
        };
        out.truncate(start);
        write_text_json(shown.as_bytes(), out);
    }
}

fn hmac_key(key: &Secret) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes())
}

/// Returns bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(mask: Mask, json: &str, expected: &str) {
        let key = Secret::new("Jefe".to_owned());
        let mut out = format!("{{\"a\":{json}").into_bytes();
        Masker::new(mask, Some(&key)).cover(5, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"a\":\"{expected}\""));
    }

    #[test]
    fn each_mask_shows_what_it_says_and_no_more() {
        check(Mask::Redact, "\"secret\"", "***");
        check(Mask::Redact, "42", "***");
        check(Mask::Last4, "\"+49 30 1234567\"", "***4567");
        check(Mask::Last4, "\"12345\"", "***2345");
        check(Mask::Last4, "\"1234\"", "***");
        check(Mask::Last4, "\"\"", "***");
        check(Mask::Last4, "123456", "***3456");
        check(Mask::Last4, "\"größen\"", "***ößen");
        check(Mask::Last4, r#""ab\"c\"d""#, r#"***\"c\"d"#);
    }

    #[test]
    fn a_hash_is_the_hmac_of_the_text() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        check(Mask::Hash, "\"what do ya want for nothing?\"", expected);
        let mut out = b"\"secret\"".to_vec();
        Masker::new(Mask::Hash, None).cover(0, &mut out);
        assert_eq!(out, b"\"***\"");
    }

    #[test]
    fn a_fingerprint_tells_keys_apart_and_does_not_tell_them() {
        let [one, other] = ["a", "b"].map(|key| fingerprint(&Secret::new(key.to_owned())));
        assert_ne!(one, other);
        assert_eq!(one.len(), 64);
    }

    proptest! {
        #[test]
        fn no_more_than_four_characters_are_ever_shown(text in any::<String>()) {
            let mut out = json!(text).to_string().into_bytes();
            Masker::Last4.cover(0, &mut out);
            let shown: String = serde_json::from_slice(&out).unwrap();
            let shown = shown.strip_prefix("***").unwrap();
            prop_assert!(shown.is_empty() || shown.chars().count() == 4);
            prop_assert!(shown.chars().count() < text.chars().count() || text.is_empty());
        }
    }
}
