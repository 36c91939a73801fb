//! Each type of the contract's table, in the forms that servers send, and what is none of them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::{is_json_null, write_json};
use crate::relation::Kind;

fn json_of(kind: &Kind, text: &[u8]) -> String {
    let mut out = b"before".to_vec();
    write_json(kind, text, &mut out);
    let json = out.strip_prefix(b"before").unwrap();
    String::from_utf8(json.to_vec()).unwrap()
}

#[track_caller]
fn check(kind: &Kind, text: &str, expected: &str) {
    let json = json_of(kind, text.as_bytes());
    assert_eq!(json, expected, "{kind:?} of {text:?}");
    serde_json::from_str::<&RawValue>(&json).unwrap();
    assert!(!json.contains(['\n', '\r']), "{json}");
}

fn array(element: Kind) -> Kind {
    Kind::Array { element: Box::new(element), delimiter: b',' }
}

fn composite(fields: &[(&str, Kind)]) -> Kind {
    let fields = fields.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
    Kind::Composite { fields }
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
    for text in ["NaN", "Infinity", "-Infinity"] {
        check(&Kind::Numeric, text, &format!("\"{text}\""));
        check(&Kind::Float, text, &format!("\"{text}\""));
    }
}

#[test]
fn a_text_that_is_not_of_its_type_is_a_string_not_a_loss() {
    for text in ["", "-", "+1", "007", "-01", "1.5", "0x10", "1 ", "१"] {
        check(&Kind::Integer, text, &format!("\"{text}\""));
    }
    for text in ["", ".5", "5.", "1e", "1e+", "00.1", "-", "1,5", "1_000"] {
        check(&Kind::Numeric, text, &format!("\"{text}\""));
    }
    check(&Kind::Boolean, "yes", "\"yes\"");
    for text in ["", "00", "\\X00"] {
        check(&Kind::Bytea, text, &serde_json::to_string(text).unwrap());
    }
    for text in ["\\x0", "\\x0g", "\\x000g", "\\x00000g", "\\x0000000g"] {
        check(&Kind::Bytea, text, &serde_json::to_string(text).unwrap());
    }
}

#[test]
fn booleans_are_t_and_f_on_the_wire() {
    check(&Kind::Boolean, "t", "true");
    check(&Kind::Boolean, "f", "false");
}

#[test]
fn times_are_iso_8601_and_eras_and_infinity_stay() {
    for text in ["2026-11-23", "infinity", "-infinity", "0044-03-15 BC", "5874897-12-31"] {
        check(&Kind::Date, text, &format!("\"{text}\""));
    }
    let timestamp = |text, expected| check(&Kind::Timestamp, text, expected);
    timestamp("2026-11-23 12:00:00", r#""2026-11-23T12:00:00""#);
    timestamp("2026-11-23 12:00:00.1", r#""2026-11-23T12:00:00.1""#);
    timestamp("0044-03-15 12:00:00 BC", r#""0044-03-15T12:00:00 BC""#);
    timestamp("294276-12-31 23:59:59.999999", r#""294276-12-31T23:59:59.999999""#);
    timestamp("infinity", r#""infinity""#);
    let timestamptz = |text, expected| check(&Kind::TimestampTz, text, expected);
    timestamptz("2026-11-23 12:00:00.123456+00", r#""2026-11-23T12:00:00.123456Z""#);
    timestamptz("0044-03-15 12:00:00+00 BC", r#""0044-03-15T12:00:00Z BC""#);
    timestamptz("2026-11-23 12:00:00+05:30", r#""2026-11-23T12:00:00+05:30""#);
    timestamptz("-infinity", r#""-infinity""#);
    timestamptz("23.11.2026 12:00:00 CET", r#""23.11.2026 12:00:00 CET""#);
}

#[test]
fn json_stays_as_it_is_but_for_line_ends() {
    let same = |text| check(&Kind::Json, text, text);
    same(r#"{"a": 1.00, "a": 12345678901234567890.10, "b":[true,false,null,{}, [ ]]}"#);
    same(r#""\u0000\ud800\n\"""#);
    same("  7e400 ");
    check(&Kind::Json, "{\n\t\"a\":\r\n[1,\n2]\n}\n", "{\t\"a\":[1,2]}");
    for text in
        ["", "{", "[1,]", "{\"a\":1,}", "[1}", "{]", "1 2", "nul", "'a'", "\"\u{1}\"", "[1\u{c}]"]
    {
        check(&Kind::Json, text, &serde_json::to_string(text).unwrap());
    }
    let deep = format!("{}1{}", "[{\"a\":".repeat(5000), "}]".repeat(5000));
    assert_eq!(json_of(&Kind::Json, deep.as_bytes()), deep);
    let wrong = format!("{}1{}", "[{\"a\":".repeat(100), "]}".repeat(100));
    assert!(json_of(&Kind::Json, wrong.as_bytes()).starts_with('"'));
}

#[test]
fn json_null_is_told_from_sql_null() {
    assert!(is_json_null(&Kind::Json, b"null"));
    assert!(is_json_null(&Kind::Json, b" null\n"));
    assert!(!is_json_null(&Kind::Json, b"\"null\""));
    assert!(!is_json_null(&Kind::Text, b"null"));
}

#[test]
fn strings_are_escaped_and_never_invalid() {
    check(&Kind::Text, "ab   ", r#""ab   ""#);
    check(&Kind::Text, "", r#""""#);
    check(&Kind::Text, "\\N", r#""\\N""#);
    check(
        &Kind::Text,
        "a\tb\nc\"d\\e\u{1}\u{7f}\u{2028}😀",
        "\"a\\tb\\nc\\\"d\\\\e\\u0001\u{7f}\u{2028}😀\"",
    );
    assert_eq!(json_of(&Kind::Text, b"Mot\xf6r\"\xe2\x82"), "\"Mot\u{FFFD}r\\\"\u{FFFD}\"");
}

#[test]
fn arrays_nest_and_lose_only_their_bounds() {
    let integers = array(Kind::Integer);
    check(&integers, "{}", "[]");
    check(&integers, "{1,NULL,-3}", "[1,null,-3]");
    check(&integers, "{{1,2},{3,4}}", "[[1,2],[3,4]]");
    check(&integers, "[0:1]={1,2}", "[1,2]");
    check(&integers, "[1:1][-2:-1][3:3]={{{1},{2}}}", "[[[1],[2]]]");
    let texts = array(Kind::Text);
    check(
        &texts,
        r#"{NULL,"NULL",null1,"","a,b","{}","q\"\\\\"," "}"#,
        r#"[null,"NULL","null1","","a,b","{}","q\"\\\\"," "]"#,
    );
    check(&array(Kind::Bytea), r#"{"\\x00ff","\\x",NULL}"#, r#"["AP8=","",null]"#);
    check(
        &array(Kind::TimestampTz),
        r#"{"2026-11-23 12:00:00+00",infinity}"#,
        r#"["2026-11-23T12:00:00Z","infinity"]"#,
    );
    check(
        &array(Kind::Json),
        r#"{"{\"a\": [1, \"\\n\"]}","null",NULL}"#,
        r#"[{"a": [1, "\n"]},null,null]"#,
    );
    check(&array(Kind::Boolean), "{t,f}", "[true,false]");
    check(&array(Kind::Float), "{1e+20,NaN}", r#"[1e+20,"NaN"]"#);
    let boxes = Kind::Array { element: Box::new(Kind::Text), delimiter: b';' };
    check(&boxes, "{(1,1),(0,0);(2,2),(1,1)}", r#"["(1,1),(0,0)","(2,2),(1,1)"]"#);
}

#[test]
fn a_broken_array_is_a_string() {
    for text in [
        "", "{", "{1", "{1,", "{1,}", "{,1}", "}", "{1}2", "{1}}", "{\"1}", "{\"1\"x}", "1 2 3",
        "[0:1]", "{a\"b}",
    ] {
        check(&array(Kind::Text), text, &serde_json::to_string(text).unwrap());
    }
    let deep = format!("{}{}", "{".repeat(100_000), "}".repeat(100_000));
    assert_eq!(json_of(&array(Kind::Integer), deep.as_bytes()), format!("\"{deep}\""));
}

#[test]
fn composites_are_objects_and_an_empty_place_is_null() {
    let kind = composite(&[("a", Kind::Integer), ("b\"", Kind::Text), ("c", Kind::Boolean)]);
    check(&kind, r#"(1,"b ""c""",)"#, r#"{"a":1,"b\"":"b \"c\"","c":null}"#);
    check(&kind, r#"(,"",t)"#, r#"{"a":null,"b\"":"","c":true}"#);
    check(&kind, r#"(1,"a\\b""\\",f)"#, r#"{"a":1,"b\"":"a\\b\"\\","c":false}"#);
    check(&composite(&[]), "()", "{}");
    check(&composite(&[("a", Kind::Text)]), "()", r#"{"a":null}"#);
    let nested = composite(&[("list", array(kind.clone())), ("inner", kind.clone())]);
    check(
        &nested,
        r#"("{""(1,\\""x \\""\\""y\\"",t)"",NULL}","(2,""a,b"",)")"#,
        r#"{"list":[{"a":1,"b\"":"x \"y","c":true},null],"inner":{"a":2,"b\"":"a,b","c":null}}"#,
    );
    for text in ["", "()", "(1,2)", "(1,2,t,4)", "(1,2,t", "1,2,t)", "(1,\"2,t)", "(1,2\"x\",t)"] {
        check(&kind, text, &serde_json::to_string(text).unwrap());
    }
}

#[test]
fn an_hstore_is_an_object_of_strings_and_nulls() {
    check(&Kind::Hstore, "", "{}");
    check(
        &Kind::Hstore,
        r#""a"=>"1", "b"=>NULL, "c"=>"NULL", "q\"x"=>"1,2=>3", ""=>"\\""#,
        r#"{"a":"1","b":null,"c":"NULL","q\"x":"1,2=>3","":"\\"}"#,
    );
    for text in ["a", "\"a\"", "\"a\"=>", "\"a\"=>1", "\"a\"=>\"1\",", "\"a\"=>\"1\",\"b\"=>NULL"] {
        check(&Kind::Hstore, text, &serde_json::to_string(text).unwrap());
    }
}

#[test]
fn nesting_has_a_bound_and_past_it_is_text() {
    let mut kind = Kind::Integer;
    let mut text = "1".to_owned();
    for _ in 0..100 {
        kind = composite(&[("a", kind)]);
        text = format!("(\"{}\")", text.replace('"', "").replace(['(', ')'], ""));
    }
    serde_json::from_str::<&RawValue>(&json_of(&kind, text.as_bytes())).unwrap();
}

fn kinds() -> impl Strategy<Value = Kind> {
    let scalar = prop_oneof![
        Just(Kind::Integer),
        Just(Kind::Numeric),
        Just(Kind::Float),
        Just(Kind::Boolean),
        Just(Kind::Date),
        Just(Kind::Timestamp),
        Just(Kind::TimestampTz),
        Just(Kind::Json),
        Just(Kind::Bytea),
        Just(Kind::Hstore),
        Just(Kind::Text),
    ];
    scalar.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop_oneof![Just(b','), Just(b';')]).prop_map(
                |(element, delimiter)| Kind::Array { element: Box::new(element), delimiter }
            ),
            prop::collection::vec(("[a-z\"]{0,3}", inner), 0..3)
                .prop_map(|fields| Kind::Composite { fields }),
        ]
    })
}

/// Bytes that look like values often enough to come far into each reader.
fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        r#"[\[\]{}(),;:"\\ =>a0-9.eE+tfnulNUL\n-]{0,30}"#.prop_map(String::into_bytes),
        r#"[{\[]{1,5}("?[a0-9\\", :]{0,6}"?[,:]){0,4}[}\]]{1,5}"#.prop_map(String::into_bytes),
        any::<String>().prop_map(String::into_bytes),
    ]
}

/// A value of an array: text and the JSON expected.
fn print_array(items: &[Option<String>]) -> String {
    let print = |item: &Option<String>| match item {
        None => "NULL".to_owned(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    format!("{{{}}}", items.iter().map(print).collect::<Vec<_>>().join(","))
}

fn print_composite(items: &[Option<String>]) -> String {
    let print = |item: &Option<String>| match item {
        None => String::new(),
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\"")),
    };
    format!("({})", items.iter().map(print).collect::<Vec<_>>().join(","))
}

proptest! {
    #[test]
    fn any_text_of_any_kind_is_one_line_of_json(kind in kinds(), text in texts()) {
        let json = json_of(&kind, &text);
        prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok(), "{}", json);
        prop_assert!(!json.contains(['\n', '\r']));
    }

    #[test]
    fn a_string_reads_back_as_it_was(text in any::<String>()) {
        let back: String = serde_json::from_str(&json_of(&Kind::Text, text.as_bytes())).unwrap();
        prop_assert_eq!(back, text);
    }

    #[test]
    fn invalid_utf8_is_replaced_as_the_standard_library_does(text in prop::collection::vec(any::<u8>(), 0..60)) {
        let back: String = serde_json::from_str(&json_of(&Kind::Text, &text)).unwrap();
        prop_assert_eq!(back, String::from_utf8_lossy(&text));
    }

    #[test]
    fn bytea_is_base64(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let json = json_of(&Kind::Bytea, format!("\\x{hex}").as_bytes());
        prop_assert_eq!(json, format!("\"{}\"", STANDARD.encode(bytes)));
    }

    #[test]
    fn json_is_told_from_what_is_none(text in texts()) {
        let is_json = super::json::write(&text, &mut Vec::new());
        prop_assert_eq!(is_json, serde_json::from_slice::<&RawValue>(&text).is_ok());
    }

    #[test]
    fn quoting_reads_back_through_arrays_of_composites(
        rows in prop::collection::vec(
            prop::option::of(prop::collection::vec(prop::option::of(any::<String>()), 2)), 0..4)
    ) {
        let text = print_array(
            &rows.iter().map(|row| row.as_ref().map(|row| print_composite(row))).collect::<Vec<_>>());
        let kind = array(composite(&[("a", Kind::Text), ("b", Kind::Text)]));
        let back: serde_json::Value = serde_json::from_str(&json_of(&kind, text.as_bytes())).unwrap();
        let expected = rows.iter().map(|row| {
            row.as_ref().map(|row| serde_json::json!({ "a": row[0], "b": row[1] }))
        }).collect::<Vec<_>>();
        prop_assert_eq!(back, serde_json::json!(expected));
    }
}
