//! Values of attributes of a CloudEvent, as JSON strings.
//!
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#type-system>: a
//! string has no control characters (C0, C1, DEL) and no noncharacters of Unicode.

use crate::pgoutput::value::write_text_json;

/// Appends a text; what no attribute may hold becomes U+FFFD.
pub(super) fn write_text(text: &str, out: &mut Vec<u8>) {
    if text.chars().any(is_forbidden) {
        let text: String =
            text.chars().map(|sign| if is_forbidden(sign) { '\u{FFFD}' } else { sign }).collect();
        write_text_json(text.as_bytes(), out);
    } else {
        write_text_json(text.as_bytes(), out);
    }
}

/// Appends a string that holds this JSON. Between its tokens a tab becomes a space; what no
/// attribute may hold stands escaped in it, which is the same JSON.
pub(super) fn write_json(json: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| needs_care(*byte)) {
        let (plain, care) = rest.split_at(at);
        out.extend_from_slice(plain);
        let length = match care.first() {
            Some(byte @ (b'"' | b'\\')) => {
                out.extend_from_slice(&[b'\\', *byte]);
                1
            }
            Some(..=b'\x1F') => {
                out.push(b' ');
                1
            }
            _ => write_sign(care, out),
        };
        rest = care.get(length..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// C2 begins C1 controls; EF and what lies above hold the noncharacters.
const fn needs_care(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | ..=b'\x1F' | b'\x7F' | 0xC2 | 0xEF..)
}

/// Appends the sign at the start of `text`, escaped where it is forbidden. Returns its length.
fn write_sign(text: &[u8], out: &mut Vec<u8>) -> usize {
    let sign = text.get(..text.len().min(4)).unwrap_or_default().utf8_chunks().next();
    let Some(sign) = sign.and_then(|chunk| chunk.valid().chars().next()) else {
        out.extend_from_slice("\u{FFFD}".as_bytes());
        return 1;
    };
    if is_forbidden(sign) {
        for unit in sign.encode_utf16(&mut [0; 2]) {
            out.extend_from_slice(format!("\\\\u{unit:04x}").as_bytes());
        }
    } else {
        out.extend_from_slice(sign.encode_utf8(&mut [0; 4]).as_bytes());
    }
    sign.len_utf8()
}

fn is_forbidden(sign: char) -> bool {
    let code = u32::from(sign);
    sign.is_control() || matches!(code, 0xFDD0..=0xFDEF) || code & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[track_caller]
    fn check(json: &str, expected: &str) {
        let mut out = Vec::new();
        write_json(json.as_bytes(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn json_in_an_attribute_has_no_forbidden_sign() {
        check(r#"{"a":"b\n"}"#, r#""{\"a\":\"b\\n\"}""#);
        check("{\"a\":\t1}", r#""{\"a\": 1}""#);
        check(
            "[\"\u{7F}\u{85}\u{FFFE}\u{10FFFF}\"]",
            r#""[\"\\u007f\\u0085\\ufffe\\udbff\\udfff\"]""#,
        );
        check("[\"\u{A9}é\u{FFFD}😀\"]", "\"[\\\"\u{A9}é\u{FFFD}😀\\\"]\"");
        let mut out = Vec::new();
        write_text("a\n\u{9F}b", &mut out);
        assert_eq!(out, "\"a\u{FFFD}\u{FFFD}b\"".as_bytes());
    }

    proptest! {
        #[test]
        fn json_in_an_attribute_is_the_same_json(text in any::<String>()) {
            let json = Value::from(vec![text]).to_string();
            let mut out = Vec::new();
            write_json(json.as_bytes(), &mut out);
            let inner: String = serde_json::from_slice(&out).unwrap();
            prop_assert!(!inner.chars().any(is_forbidden));
            let parsed = |json: &str| serde_json::from_str::<Value>(json).unwrap();
            prop_assert_eq!(parsed(&inner), parsed(&json));
        }
    }
}
