//! Values: every type of the contract's table, as a real server sends it to us.
//!
//! The database's own settings are as far from ours as they can be: what makes text canonical is
//! the stream's business, whatever a DBA has set.

use std::time::Duration;

use walgate::change::{Cell, Images};
use walgate::demo::cluster::{Cluster, Installation};
use walgate::pgoutput::{self, value};
use walgate::secret::Secret;
use walgate::source::{self, OpenOptions, Received, Resume, Settings};

/// What there has to be before the tables: types, extensions, and a hostile set-up.
pub(super) const SET_UP: &str = r#"
    CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;
    CREATE TYPE mood AS ENUM ('so so', 'happy');
    CREATE DOMAIN cents AS numeric(12,2);
    CREATE DOMAIN scores AS int[];
    CREATE TYPE point3 AS (x int, "Y ""y""" text, z bool);
    CREATE DOMAIN spot AS point3;
    CREATE TYPE wrap AS (list point3[], blob bytea, doc jsonb, at timestamptz, inner_point spot);
    CREATE TYPE lone AS (a text);
    ALTER DATABASE postgres SET datestyle = 'German, DMY';
    ALTER DATABASE postgres SET intervalstyle = 'sql_standard';
    ALTER DATABASE postgres SET timezone = 'Asia/Kolkata';
    ALTER DATABASE postgres SET bytea_output = 'escape';
    ALTER DATABASE postgres SET extra_float_digits = -10;
"#;

/// A type, and pairs of an SQL expression and the JSON expected of it.
pub(super) type Case = (&'static str, &'static [(&'static str, &'static str)]);

pub(super) const NUMBERS: &[Case] = &[
    ("int2", &[("-32768", "-32768"), ("32767", "32767"), ("NULL", "null")]),
    ("int4", &[("-2147483648", "-2147483648"), ("0", "0")]),
    (
        "int8",
        &[
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
        ],
    ),
    ("oid", &[("4000000000", "4000000000"), ("4294967295", "4294967295")]),
    (
        "numeric",
        &[
            ("12.50", "12.50"),
            ("-0.00", "0.00"),
            ("'1e-20'", "0.00000000000000000001"),
            ("'1e30'", "1000000000000000000000000000000"),
            (
                "12345678901234567890123456789.0123456789",
                "12345678901234567890123456789.0123456789",
            ),
            ("'.5'", "0.5"),
            ("'NaN'", r#""NaN""#),
            ("'Infinity'", r#""Infinity""#),
            ("'-Infinity'", r#""-Infinity""#),
        ],
    ),
    ("numeric(6,2)", &[("1.005", "1.01"), ("7", "7.00")]),
    (
        "float8",
        &[
            ("0.1::float8 + 0.2", "0.30000000000000004"),
            ("'-0'", "-0"),
            ("1e300", "1e+300"),
            ("5e-324", "5e-324"),
            ("1e15", "1e+15"),
            ("123456789012345", "123456789012345"),
            ("'NaN'", r#""NaN""#),
            ("'-Infinity'", r#""-Infinity""#),
        ],
    ),
    ("float4", &[("0.1", "0.1"), ("16777217", "1.6777216e+07"), ("'Infinity'", r#""Infinity""#)]),
    ("bool", &[("true", "true"), ("false", "false"), ("NULL", "null")]),
];

pub(super) const TIMES: &[Case] = &[
    (
        "date",
        &[
            ("'2026-11-23'", r#""2026-11-23""#),
            ("'1582-10-10'", r#""1582-10-10""#),
            ("'0001-01-31'", r#""0001-01-31""#),
            ("'0044-03-15 BC'", r#""0044-03-15 BC""#),
            ("'5874897-12-31'", r#""5874897-12-31""#),
            ("'infinity'", r#""infinity""#),
            ("'-infinity'", r#""-infinity""#),
        ],
    ),
    (
        "timestamp",
        &[
            ("'2026-11-23 12:00:00.123456'", r#""2026-11-23T12:00:00.123456""#),
            ("'2026-11-23 12:00:00.100000'", r#""2026-11-23T12:00:00.1""#),
            ("'2026-11-23 24:00:00'", r#""2026-11-24T00:00:00""#),
            ("'0044-03-15 12:00:00 BC'", r#""0044-03-15T12:00:00 BC""#),
            ("'294276-12-31 23:59:59.999999'", r#""294276-12-31T23:59:59.999999""#),
            ("'infinity'", r#""infinity""#),
        ],
    ),
    (
        "timestamptz",
        &[
            ("'2026-11-23 12:00:00.123456+00'", r#""2026-11-23T12:00:00.123456Z""#),
            ("'1900-01-01 00:00:00+05:30'", r#""1899-12-31T18:30:00Z""#),
            ("'0044-03-15 12:00:00+00 BC'", r#""0044-03-15T12:00:00Z BC""#),
            ("'10000-01-01 00:00:00+00'", r#""10000-01-01T00:00:00Z""#),
            ("'-infinity'", r#""-infinity""#),
        ],
    ),
    ("time", &[("'24:00:00'", r#""24:00:00""#), ("'04:05:06.78'", r#""04:05:06.78""#)]),
    ("timetz", &[("'04:05:06-08'", r#""04:05:06-08""#)]),
    (
        "interval",
        &[
            ("'0'", r#""PT0S""#),
            ("'1 year 2 mons 3 days 04:05:06.78'", r#""P1Y2M3DT4H5M6.78S""#),
            ("'-1 year -2 mons +3 days -04:05:06'", r#""P-1Y-2M3DT-4H-5M-6S""#),
            ("'-00:00:00.000001'", r#""PT-0.000001S""#),
            ("'178000000 years'", r#""P178000000Y""#),
        ],
    ),
];

pub(super) const STRINGS: &[Case] = &[
    (
        "text",
        &[
            ("''", r#""""#),
            ("NULL", "null"),
            (r"'\N'", r#""\\N""#),
            (
                r#"E'\t\n\\"\u0001\u007f\u2028\U0001F600'"#,
                "\"\\t\\n\\\\\\\"\\u0001\u{7f}\u{2028}\u{1F600}\"",
            ),
            ("repeat('é', 20)", r#""éééééééééééééééééééé""#),
        ],
    ),
    ("char(5)", &[("'ab'", r#""ab   ""#), ("''", r#""     ""#)]),
    (r#""char""#, &[("'x'", r#""x""#), ("''", r#""""#)]),
    ("name", &[("'pg'", r#""pg""#)]),
    ("citext", &[("'MiXed'", r#""MiXed""#)]),
    (
        "uuid",
        &[("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#)],
    ),
    ("mood", &[("'so so'", r#""so so""#)]),
    (
        "money",
        &[
            ("-1234.11", r#""-$1,234.11""#),
            ("'92233720368547758.07'", r#""$92,233,720,368,547,758.07""#),
        ],
    ),
    ("inet", &[("'192.168.2.0/12'", r#""192.168.2.0/12""#), ("'192.168.1.1'", r#""192.168.1.1""#)]),
    ("cidr", &[("'10/8'", r#""10.0.0.0/8""#)]),
    ("macaddr", &[("'08002b:010203'", r#""08:00:2b:01:02:03""#)]),
    ("bit(7)", &[("B'0000001'", r#""0000001""#)]),
    ("varbit", &[("B''", r#""""#)]),
    ("xid8", &[("'18446744073709551615'", r#""18446744073709551615""#)]),
    ("pg_lsn", &[("'FFFFFFFF/FFFFFFFF'", r#""FFFFFFFF/FFFFFFFF""#)]),
    ("int2vector", &[("'1 2 3'", r#""1 2 3""#)]),
    ("oidvector", &[("'1 2 4294967295'", r#""1 2 4294967295""#)]),
    ("regclass", &[("'pg_class'", r#""pg_class""#)]),
    ("xml", &[("'<a>1</a><b/>'", r#""<a>1</a><b/>""#)]),
    ("tsvector", &[("$$'it''s':1$$", r#""'it''s':1""#)]),
    ("ltree", &[("'a.b'", r#""a.b""#)]),
    ("int4range", &[("'[1,10]'", r#""[1,11)""#), ("'empty'", r#""empty""#), ("'(,)'", r#""(,)""#)]),
    (
        "tstzrange",
        &[("'[2026-01-01 00:00+00, infinity)'", r#""[\"2026-01-01 00:00:00+00\",infinity)""#)],
    ),
    ("nummultirange", &[("'{[1.0,2.0),(3,)}'", r#""{[1.0,2.0),(3,)}""#)]),
    ("point", &[("'(NaN,Infinity)'", r#""(NaN,Infinity)""#)]),
    ("box", &[("'(0,0),(1,1)'", r#""(1,1),(0,0)""#)]),
    ("bytea", &[(r"''", r#""""#), (r"'\x00ff5c27'", r#""AP9cJw==""#), ("NULL", "null")]),
];

pub(super) const STRUCTURES: &[Case] = &[
    (
        "json",
        &[
            (r#"E'{\n  "a": 1.00,\n  "a": [1,\n2]\n}'"#, r#"{  "a": 1.00,  "a": [1,2]}"#),
            (r#"'"\ud800"'"#, r#""\ud800""#),
            ("'null'", "null"),
            ("NULL", "null"),
        ],
    ),
    (
        "jsonb",
        &[(
            r#"'{"b":1e2,"a":12345678901234567890.10}'"#,
            r#"{"a": 12345678901234567890.10, "b": 100}"#,
        )],
    ),
    (
        "int[]",
        &[
            ("'{}'", "[]"),
            ("'{1,NULL,-3}'", "[1,null,-3]"),
            ("'{{1,2},{3,4}}'", "[[1,2],[3,4]]"),
            ("'[0:1]={1,2}'", "[1,2]"),
            ("'[1:1][-2:-1]={{1,2}}'", "[[1,2]]"),
        ],
    ),
    ("oid[]", &[("'{4294967295}'", "[4294967295]")]),
    (
        "text[]",
        &[(
            r#"ARRAY[NULL,'NULL','','a,b','{}',E'q"\\x',' ',E'a\nb']"#,
            r#"[null,"NULL","","a,b","{}","q\"\\x"," ","a\nb"]"#,
        )],
    ),
    ("bytea[]", &[(r"ARRAY['\x00'::bytea,NULL,'']", r#"["AA==",null,""]"#)]),
    ("numeric[]", &[("'{1.50,NaN}'", r#"[1.50,"NaN"]"#)]),
    (
        "timestamptz[]",
        &[("'{2026-11-23 12:00+00,infinity}'", r#"["2026-11-23T12:00:00Z","infinity"]"#)],
    ),
    (
        "jsonb[]",
        &[(r#"ARRAY['{"a":"x\"\n"}'::jsonb,'null',NULL]"#, r#"[{"a": "x\"\n"},null,null]"#)],
    ),
    ("box[]", &[("'{(1,1),(0,0);(2,2),(1,1)}'", r#"["(1,1),(0,0)","(2,2),(1,1)"]"#)]),
    ("mood[]", &[("'{so so,happy}'", r#"["so so","happy"]"#)]),
    ("cents", &[("1", "1.00")]),
    ("cents[]", &[("'{1,2.5}'", "[1.00,2.50]")]),
    ("scores", &[("'{1,2}'", "[1,2]")]),
    (
        "point3",
        &[
            (
                r#"ROW(1, 'b "c" \ , (d)', NULL)"#,
                r#"{"x":1,"Y \"y\"":"b \"c\" \\ , (d)","z":null}"#,
            ),
            ("ROW(NULL, '', true)", r#"{"x":null,"Y \"y\"":"","z":true}"#),
        ],
    ),
    ("lone", &[("ROW(NULL)", r#"{"a":null}"#), ("ROW('')", r#"{"a":""}"#)]),
    (
        "wrap",
        &[(
            r#"ROW(ARRAY[ROW(1,'x "y"',true)::point3,NULL], '\x00ff', '{"a":[1]}', '2026-11-23 12:00+00', ROW(2,'',false))"#,
            r#"{"list":[{"x":1,"Y \"y\"":"x \"y\"","z":true},null],"blob":"AP8=","doc":{"a": [1]},"at":"2026-11-23T12:00:00Z","inner_point":{"x":2,"Y \"y\"":"","z":false}}"#,
        )],
    ),
    (
        "hstore",
        &[
            ("''", "{}"),
            (r#"'"a"=>NULL,"b"=>"NULL"'"#, r#"{"a":null,"b":"NULL"}"#),
            (r#"'"q\"x"=>"1,2=>3\\"'"#, r#"{"q\"x":"1,2=>3\\"}"#),
        ],
    ),
];

#[tokio::test]
async fn every_type_arrives_as_the_contract_says() {
    let cases: Vec<Case> = [NUMBERS, TIMES, STRINGS, STRUCTURES].concat();
    let mut majors: Vec<_> = Installation::all().iter().map(|one| one.major).collect();
    majors.sort_unstable();
    majors.dedup();
    for major in majors {
        let cluster = Cluster::builder().major(major).start().await.unwrap();
        cluster.execute(SET_UP).await.unwrap();
        cluster.execute("CREATE PUBLICATION walgate FOR ALL TABLES").await.unwrap();
        for (index, (name, _)) in cases.iter().enumerate() {
            let sql = format!("CREATE TABLE case_{index} (value {name})");
            cluster.execute(&sql).await.unwrap();
        }
        let seen = stream(&cluster, &cases).await;
        let mut wrong = Vec::new();
        let expected =
            cases.iter().flat_map(|(name, values)| values.iter().map(move |v| (name, v)));
        for ((name, (sql, json)), seen) in expected.zip(&seen) {
            if json != seen {
                wrong.push(format!("{name} {sql}\n  expected {json}\n  seen     {seen}"));
            }
        }
        assert!(wrong.is_empty(), "PostgreSQL {major}:\n{}", wrong.join("\n"));
    }
}

/// Inserts every value and returns its JSON, in order.
async fn stream(cluster: &Cluster, cases: &[Case]) -> Vec<String> {
    let spill = tempfile::TempDir::new().unwrap();
    let settings = Settings {
        url: Secret::new(cluster.url("postgres", "postgres")),
        publication: "walgate".to_owned(),
        slot: "walgate".to_owned(),
        binary: false,
        status_interval: Settings::STATUS_INTERVAL,
        streaming: source::Streaming::Auto,
        spill: spill.path().to_owned(),
    };
    let opened = source::open(&settings, &Resume::default(), OpenOptions::default()).await;
    let (mut reader, writer, _opened) = opened.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { drop(writer.run().await) });
    let mut inserts = String::new();
    let mut count = 0;
    for (index, (_, values)) in cases.iter().enumerate() {
        for (sql, _) in *values {
            inserts.push_str(&format!("INSERT INTO case_{index} VALUES ({sql});\n"));
            count += 1;
        }
    }
    cluster.execute(&inserts).await.unwrap();
    let mut seen = Vec::new();
    let mut images = Images::default();
    while seen.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(30), reader.next()).await;
        let Received::Chunk(chunk) = next.unwrap().unwrap() else { continue };
        for entry in &chunk.entries {
            let change = pgoutput::change(&chunk, entry, &mut images).unwrap();
            let kind = &change.relation.unwrap().columns[0].kind;
            let mut json = Vec::new();
            match change.new_cell(0) {
                Cell::Value(text) => value::write_json(kind, text, &mut json),
                Cell::Null => json.extend_from_slice(b"null"),
                cell => json.extend_from_slice(format!("{cell:?}").as_bytes()),
            }
            seen.push(String::from_utf8(json).unwrap());
        }
    }
    assert_eq!(seen.len(), count);
    seen
}
