//! Expressions: what they see of a row, what comes of them, and that both engines agree.

use super::*;
use crate::change::{Change, Images};
use crate::mapping::expression::{Bound, Expression, Found, Scene};
use crate::mapping::row::Row;
use crate::pgoutput;

/// A table with a column of each way in which values are read.
fn things() -> Relation {
    let typed = |name: &str, kind, modifier| {
        let mut column = column(name, kind, name == "id");
        column.type_modifier = modifier;
        column
    };
    let list = Kind::Array { element: Box::new(Kind::Integer), delimiter: b',' };
    Relation {
        columns: vec![
            typed("id", Kind::Integer, -1),
            typed("n", Kind::Numeric, -1),
            typed("w", Kind::Numeric, (30 << 16) + 4),
            typed("f", Kind::Float, -1),
            typed("b", Kind::Boolean, -1),
            typed("t", Kind::Text, -1),
            typed("at", Kind::TimestampTz, -1),
            typed("j", Kind::Json, -1),
            typed("list", list, -1),
            typed("Odd Name", Kind::Text, -1),
        ],
        ..customers()
    }
}

const THING: &[&str] = &[
    "42",
    "12.50",
    "7",
    "1.5",
    "t",
    "Ada",
    "2026-01-02 03:04:05+00",
    r#"{"a":{"b":[1,2.50,9007199254740993,1e2]},"s":"x","n":null}"#,
    "{1,2,3}",
    "odd",
];

fn with_change<T>(relation: &Relation, act: Act<'_>, look: impl FnOnce(&Change<'_>) -> T) -> T {
    let chunk = chunk(relation, act);
    let mut images = Images::default();
    look(&pgoutput::change(&chunk, &chunk.entries[0], &mut images).unwrap())
}

/// What comes of an expression, as a test writes it.
fn outcome(bound: &Bound, change: &Change<'_>) -> String {
    let mut out = Vec::new();
    match bound.evaluate(&Scene::new(Row::of(change)), &mut out) {
        Found::Null => "null".to_owned(),
        Found::Value(kind) => format!("{kind:?} {}", String::from_utf8(out).unwrap()),
        Found::Unsent => "unsent".to_owned(),
        Found::Failed(fault) => format!("failed: {fault}"),
    }
}

/// Both engines, where ours takes the expression.
#[track_caller]
fn check_in(relation: &Relation, act: Act<'_>, source: &str, expected: &str) {
    let expression = Expression::parse(source).unwrap();
    with_change(relation, act, |change| {
        let bound = Bound::lenient(&expression, relation);
        assert_eq!(outcome(&bound, change), expected, "{source}");
        let interpreted = outcome(&Bound::interpreted(&expression, relation), change);
        if !expected.starts_with("failed: ") {
            assert_eq!(interpreted, expected, "{source}, interpreted");
        } else {
            assert!(interpreted.starts_with("failed: "), "{source}, interpreted: {interpreted}");
        }
    });
}

#[track_caller]
fn check_thing(source: &str, expected: &str) {
    check_in(&things(), Act::Insert(THING), source, expected);
}

#[test]
fn each_type_is_seen_as_what_it_is() {
    check_thing("row.id", "Integer 42");
    check_thing("row.id + 1", "Integer 43");
    check_thing("row.n * 2.0", "Float 25");
    check_thing("row.w + 1", "Integer 8");
    check_thing("row.f / 3.0", "Float 0.5");
    check_thing("!row.b", "Boolean f");
    check_thing("row.t + ' ' + row[\"Odd Name\"]", "Text Ada odd");
    check_thing("row.`Odd Name`", "Text odd");
    check_thing("row.at", "Text 2026-01-02T03:04:05Z");
    check_thing("timestamp(row.at).getFullYear()", "Integer 2026");
    check_thing("timestamp(row.at) + duration('1.5s')", "Text 2026-01-02T03:04:06.5Z");
    check_thing("duration('90m') - duration('0.25s')", "Text 5399.75s");
    check_thing("row.j.a.b[0] + 1", "Integer 2");
    check_thing("row.j.a.b[1]", "Float 2.5");
    check_thing("row.j.s", "Text x");
    check_thing("row.j.n", "null");
    check_thing("row.list.map(x, x * 2)", "Json [2,4,6]");
    check_thing("row.list.exists(x, x > 2)", "Boolean t");
    check_thing("[1] + row.list", "Json [1,1,2,3]");
    check_thing("[1, 1.0, 'a', 'a', null, null, [1], [1]].distinct()", "Json [1,\"a\",null,[1]]");
    check_thing("row.t.indexOf('a') + row.t.lastIndexOf('A')", "Integer 2");
    check_thing("'äöä'.lastIndexOf('ä') * 10 + 'äöä'.indexOf('ä', 1)", "Integer 22");
    check_thing("row.t.replace('a', 'xx') + ['b', 'c'].join('-')", "Text Adxxb-c");
    check_thing("'aaa'.replace('a', 'b', 2)", "Text bba");
    check_thing("'aé'.lastIndexOf('é', 0)", "Integer -1");
    check_thing("'a,b,c'.split(',') + 'ab'.split('')", r#"Json ["a","b","c","a","b"]"#);
    check_thing("'a,b,c'.split(',', 2) + 'abc'.split('', 2)", r#"Json ["a","b,c","a","bc"]"#);
    check_thing(
        "'a,b'.split(',', 0) + 'a,b'.split(',', -1) + ''.split(',')",
        r#"Json ["a","b",""]"#,
    );
    check_thing("row.j.map(k, k)", r#"Json ["a","n","s"]"#);
    check_thing("row.j.filter(k, k != 'n').join('-')", "Text a-s");
    check_thing("{'b': 1, 'a': 2}.all(k, k < 'c')", "Boolean t");
    check_thing("{'z': row.id, 'a': [row.t, null, 1.5]}", r#"Json {"a":["Ada",null,1.5],"z":42}"#);
    check_thing("op + ' ' + table", "Text insert public.customers");
    check_thing("row.t.lowerAscii() + string(size(row.t))", "Text ada3");
    check_thing("row.t.matches('^A.a$')", "Boolean t");
    check_thing("matches(row.t, '^B')", "Boolean f");
    check_thing("b'ab'", "Text YWI=");
    check_thing("math.greatest(row.id, 50)", "Integer 50");
    check_thing("row.t == 'Ada' ? 'yes' : 'no'", "Text yes");
}

#[test]
fn what_64_bits_can_not_hold_is_a_text_never_rounded() {
    check_thing("row.j.a.b[2] == 9007199254740993", "Boolean t");
    let mut row = THING.to_vec();
    row[1] = "9007199254740993";
    row[2] = "98765432109876543210";
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.n", "Text 9007199254740993");
    check("row.w", "Text 98765432109876543210");
    check("row.w > 1", "failed: `>` means nothing between string and int");
    row[1] = "NaN";
    row[3] = "-Infinity";
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.n == row.n", "Boolean f");
    check("row.n < 1.0", "failed: `<` means nothing between double and double");
    check("row.f < 0", "Boolean t");
    check("row.f", "Float -Infinity");
    row[0] = "9007199254740993";
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.id > 9007199254740992.0", "Boolean t");
    check("row.id == 9007199254740992.0", "Boolean f");
    check("row.id in [9007199254740992.0, 1]", "Boolean f");
    check("[row.id].exists(x, x == 9007199254740992.0)", "Boolean f");
    check("row.id + 9223372036854775807", "failed: a number leaves 64 bits");
}

#[test]
fn a_null_is_a_value_that_most_operations_refuse() {
    let row = ["42", "~", "~", "~", "~", "~", "~", "~", "~", "~"];
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.t", "null");
    check("row.t == null", "Boolean t");
    check("row.n != null", "Boolean f");
    check("row.n > 3", "failed: `>` means nothing between null and int");
    check("row.t == 'x'", "Boolean f");
    check("row.t != 'x'", "Boolean t");
    check("row.t + 'x'", "failed: `+` means nothing between null and string");
    check("row.t.startsWith('x')", "failed: `startsWith` means nothing between null and string");
    check("has(row.t)", "Boolean t");
    check("row.b || row.id == 42", "Boolean t");
    check("row.id == 42 || row.b", "Boolean t");
    check("row.b && row.id == 42", "failed: `&&` means nothing between null and bool");
    check("row.id != 42 && row.n > 3", "Boolean f");
    check("row.n > 3 && row.id != 42", "Boolean f");
    check("row.j.a", "failed: `.` means nothing for null and string");
}

#[test]
fn what_was_not_sent_is_not_null() {
    let row = ["42", "1", "1", "1", "t", "?", "~", "?", "~", "x"];
    let check = |source, expected| check_in(&things(), Act::Update(&row), source, expected);
    check("row.t", "unsent");
    check("row.t == null", "unsent");
    check("row.t + 'x'", "unsent");
    check("row.j.a.b", "unsent");
    check("size(row.t) > 1 && row.id > 1", "unsent");
    check("row.?t.orValue('x')", "unsent");
    check("has(row.t)", "Boolean f");
    check("has(row.t) && row.t == 'x'", "Boolean f");
    check("row.id == 42 || row.t == 'x'", "Boolean t");
    let gone = ["42", "~", "~", "~", "~", "~", "~", "~", "~", "~"];
    let check = |source, expected| check_in(&things(), Act::Delete(&gone), source, expected);
    check("row.id", "Integer 42");
    check("row.t", "unsent");
    check("op == 'delete'", "Boolean t");
}

#[test]
fn the_old_row_is_there_only_where_it_was_sent() {
    let old = ["41", "1", "1", "1", "t", "Bob", "~", "~", "~", "x"];
    let check = |act, source, expected| check_in(&full(things()), act, source, expected);
    check(Act::FullUpdate(&old, THING), "before.t + row.t", "Text BobAda");
    check(Act::FullUpdate(&old, THING), "before == null", "Boolean f");
    check(Act::Insert(THING), "before == null || before.t != row.t", "Boolean t");
    check(Act::Insert(THING), "before != null && before.t != row.t", "Boolean f");
    check(Act::Insert(THING), "before.t", "failed: there is no old row");
    check(Act::Insert(THING), "has(before.t)", "Boolean f");
    check(Act::FullDelete(&old), "row.t + before.t", "Text BobBob");
    let key = ["41", "~", "~", "~", "~", "~", "~", "~", "~", "~"];
    check_in(&things(), Act::KeyUpdate(&key, THING), "before.id", "Integer 41");
    check_in(&things(), Act::KeyUpdate(&key, THING), "before.t", "unsent");
}

#[test]
fn a_column_that_is_not_there_can_be_asked_for() {
    check_thing("has(row.none)", "Boolean f");
    check_thing("has(row.none) ? row.none : 'x'", "Text x");
    check_thing("row.?none.orValue(row.t)", "Text Ada");
    check_thing("row.?t.orValue('x')", "Text Ada");
    check_thing("row.none", "failed: the table has no such column");
    let needed = |source| {
        let expression = Expression::parse(source).unwrap();
        let columns: Vec<String> =
            expression.needed_columns().into_iter().map(str::to_owned).collect();
        columns
    };
    assert_eq!(needed("row.a + before.b + row['a']"), ["a", "b"]);
    assert_eq!(needed("has(row.a) && row.a > row.b"), ["b"]);
    assert_eq!(needed("row.?a.hasValue() || before == null"), Vec::<String>::new());
}

#[test]
fn what_a_row_could_make_too_large_can_not_be_computed() {
    let large = "x".repeat(1 << 20);
    let list = format!("{{{}}}", vec!["1"; 200].join(","));
    let mut row = THING.to_vec();
    (row[5], row[8]) = (&large, &list);
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.t.replace('x', row.t)", "failed: `replace` can't be had of its value");
    check("row.list.map(i, row.t)", "failed: it takes too much to compute");
    check("[row.t].map(t, row.list.map(i, t))", "failed: it takes too much to compute");
    check("size(row.list.map(i, size(row.list)))", "Integer 200");
    check("size(row.t.replace('x', 'yy'))", "Integer 2097152");
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    row[7] = &deep;
    let check = |source, expected| check_in(&things(), Act::Insert(&row), source, expected);
    check("row.j[0]", "failed: a document nests deeper than 100 levels");
    // Two names that are one, and a map among lists.
    check_thing("{row.id: 1, string(row.id): 2}", "failed: its value has no form in JSON");
    check_thing("[1] + row.j", "failed: `+` means nothing for list and map");
    check_thing("duration('5min')", "failed: `duration` can't be had of its value");
}

#[test]
fn our_own_plan_takes_the_common_part() {
    let relation = things();
    let is_native =
        |source: &str| Bound::lenient(&Expression::parse(source).unwrap(), &relation).is_native();
    for source in [
        "row.t != \"draft\"",
        "row.n > 100 && (row.t == 'a' || row.t in ['b', 'c']) && !row.b",
        "has(row.t) && row.t.startsWith('x')",
        "before == null || before.t != row.t",
        "row.t + ' ' + row.t",
        "op in ['insert', 'read'] && table == 'public.customers'",
        "row.b ? row.t : 'x'",
        "row.t.matches('^a')",
        "row.at > '2026'",
    ] {
        assert!(is_native(source), "{source}");
    }
    for source in ["row.j.a == 1", "size(row.t) > 3", "row.list[0] == 1", "row.t.lowerAscii()"] {
        assert!(!is_native(source), "{source}");
    }
}

#[track_caller]
fn refused(source: &str, offset: usize, message: &str) {
    let error = Expression::parse(source).unwrap_err();
    assert!(error.message.contains(message), "{source}: {}", error.message);
    assert_eq!(error.offset, Some(offset), "{source}: {}", error.message);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    refused("row.a ==", 8, "is no expression");
    refused("row.a = 1", 6, "is no expression");
    refused("1 + rwo.a", 4, "names \"rwo\", which there is not; did you mean \"row\"?");
    refused("status == 'x'", 0, "did you mean row.status?");
    refused("size(row)", 5, "has \"row\" by itself; name a column of it: row.id");
    refused(
        "row.a.lowerAsci()",
        15,
        "calls \"lowerAsci\", which there is not; did you mean \"lowerAscii\"?",
    );
    refused("ceil(row.a) > 3.0", 4, "calls \"ceil\", which there is not; write math.ceil(…)");
    refused("row.list.map(x)", 12, "calls \"map\", which there is not; write row.x.map(v, …)");
    refused("row.a.trim(1)", 10, "calls \"trim\" with 1 arguments; it takes 0");
    refused("row.a.replace('x')", 13, "calls \"replace\" with 1 arguments; it takes 2 to 3");
    refused("row.a.round()", 11, "write math.round(…)");
    refused("_foo(row.a)", 4, "calls \"_foo\", which there is not");
    refused("lists.range(9).size()", 11, "calls \"range\", which there is not");
    refused("row.a.matches('(')", 14, "has a pattern that can't be used");
    refused("row.a.matches(row.b)", 17, "has a pattern that is no literal");
    refused("row.ä == 'x' && foo", 4, "is no expression");
    refused("row['ä'] == 'x' && foo", 20, "names \"foo\"");
    let deep = format!("{}row.a{}", "!(".repeat(200), ")".repeat(200));
    assert!(Expression::parse(&deep).is_err());
}

/// An expression of the grammar that both engines know, as text.
fn any_expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        proptest::sample::select(
            &[
                "row.id",
                "row.n",
                "row.w",
                "row.f",
                "row.b",
                "row.t",
                "row.at",
                "before.t",
                "before.id",
                "(before == null)",
                "has(row.t)",
                "has(row.none)",
                "row.none",
                "op",
                "table",
                "null",
                "true",
                "false",
                "'Ada'",
                "''",
                "'2026'",
                "0",
                "42",
                "-1",
                "1.5",
                "9007199254740992.0",
                "9007199254740993"
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (
                two.clone(),
                proptest::sample::select(&["==", "!=", "<", "<=", ">", ">=", "&&", "||", "+"][..])
            )
                .prop_map(|((a, b), sign)| format!("({a} {sign} {b})")),
            inner.clone().prop_map(|a| format!("!{a}")),
            (two.clone(), inner.clone()).prop_map(|((a, b), c)| format!("({a} ? {b} : {c})")),
            inner.clone().prop_map(|a| format!("({a} in [1, 42.0, 'Ada', null, true])")),
            inner.clone().prop_map(|a| format!("{a}.matches('^A')")),
            (two, proptest::sample::select(&["startsWith", "endsWith", "contains"][..]))
                .prop_map(|((a, b), name)| format!("({a}).{name}({b})")),
        ]
    })
}

fn any_row() -> impl Strategy<Value = Vec<String>> {
    let cell =
        |texts: &'static [&'static str]| proptest::sample::select(texts).prop_map(str::to_owned);
    (
        cell(&["42", "-1", "9007199254740993"]),
        cell(&["~", "?", "42", "1.50", "9007199254740993", "NaN", "0.1"]),
        cell(&["~", "42", "98765432109876543210"]),
        cell(&["~", "?", "1.5", "Infinity", "9007199254740992"]),
        cell(&["~", "?", "t", "f"]),
        cell(&["~", "?", "Ada", "", "2026"]),
        cell(&["~", "?", "2026-01-02 03:04:05+00"]),
    )
        .prop_map(|(id, n, w, f, b, t, at)| {
            let mut row = vec![id, n, w, f, b, t, at];
            row.extend(["{}", "{}", "odd"].map(str::to_owned));
            row
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn both_engines_mean_the_same(
        source in any_expression(),
        row in any_row(),
        old in any_row(),
        act in 0..4_u8,
    ) {
        let row: Vec<&str> = row.iter().map(String::as_str).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let act = match act {
            0 => Act::Insert(&row),
            1 => Act::Update(&row),
            2 => Act::FullUpdate(&old, &row),
            _ => Act::Delete(&old),
        };
        let expression = Expression::parse(&source).unwrap();
        let relation = things();
        let ours = Bound::lenient(&expression, &relation);
        prop_assert!(ours.is_native(), "{}", source);
        let [ours, theirs] = with_change(&relation, act, |change| {
            [&ours, &Bound::interpreted(&expression, &relation)].map(|bound| outcome(bound, change))
        });
        let kind = |told: &str| told.split(':').next().unwrap_or_default().to_owned();
        if ours.starts_with("failed") {
            prop_assert_eq!(kind(&theirs), "failed", "{}: {} {}", source, ours, theirs);
        } else {
            prop_assert_eq!(theirs, ours, "{}", source);
        }
    }
}
