//! Each type of the contract's table, in the forms that servers send.

use super::write_json;
use crate::relation::Kind;

#[track_caller]
fn check(kind: &Kind, text: &str, expected: &str) {
    let mut out = Vec::new();
    write_json(kind, text.as_bytes(), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), expected, "{kind:?} of {text:?}");
}

#[test]
fn numbers_keep_exactly_their_digits() {
    for text in ["0", "-32768", "9223372036854775807", "4294967295"] {
        check(&Kind::Integer, text, text);
    }
    for text in ["12.50", "-0.00", "1e+20", "1.5e-07", "-0", "123456789012345678901234567890.5"] {
        check(&Kind::Numeric, text, text);
        check(&Kind::Float, text, text);
    }
    check(&Kind::Numeric, "NaN", "\"NaN\"");
    check(&Kind::Float, "-Infinity", "\"-Infinity\"");
}
