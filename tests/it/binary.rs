//! `source.binary`: whatever form values come in, what is kept of them is the same to the byte.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use walgate::demo::cluster::{Cluster, Installation};
use walgate::secret::Secret;
use walgate::source::{self, Error, OpenOptions, Reader, Received, Resume, Settings};

use super::support::receiver::Receiver;
use super::support::road::{Road, http, route};
use super::values::{Case, NUMBERS, SET_UP, STRINGS, STRUCTURES, TIMES};

/// Types of the server's own that must be told, as their binary form is an oid.
const NAMES: &[&str] = &["regclass"];

/// Types and SQL expressions beside those of the values' own test.
const MORE: &[(&str, &[&str])] = &[
    (r#""char""#, &[r"'\377'", "'a'"]),
    ("xid", &["'4294967295'"]),
    ("cid", &["'7'"]),
    ("tid", &["'(4294967295,65535)'", "'(0,1)'"]),
    ("pg_snapshot", &["'10:20:10,14,15'", "'10:10:'"]),
    ("txid_snapshot", &["'10:20:10,14,15'"]),
    ("jsonpath", &["'$.a[*] ? (@ > 1)'"]),
    ("refcursor", &["'c'"]),
    ("time", &["'00:00:00'", "'23:59:59.999999'"]),
    (
        "timetz",
        &["'04:05:06.1+05:30'", "'00:00:00+00'", "'12:00:00-00:00:01'", "'24:00:00+15:59:59'"],
    ),
    (
        "timestamp",
        &["'4713-01-01 00:00:00 BC'", "'0001-12-31 23:59:59 BC'", "'0001-01-01'", "'-infinity'"],
    ),
    ("date", &["'4713-01-01 BC'", "'0001-12-31 BC'", "'2000-02-29'", "'1999-12-31'"]),
    (
        "interval",
        &[
            "'1 mon -1 day +1 hour'",
            "'-0.5 s'",
            "'1 day 00:00:00.1'",
            "'2147483647:00:00.5'",
            "'-1 mon'",
            "'11 mons 59:00:01'",
            "'-13 mons'",
        ],
    ),
    (
        "inet",
        &[
            "'::'",
            "'::1'",
            "'::5'",
            "'::1:0'",
            "'::ffff:1.2.3.4'",
            "'::1.2.3.4'",
            "'2001:db8::1:0:0:1/64'",
            "'1:0:2:3:4:5:6:7'",
            "'1:2:3:4:5:6:7:8'",
            "'fe80::'",
            "'0.0.0.0/0'",
            "'::ffff:0:0/96'",
            "'1::'",
            "'0:0:1::'",
            "'::ffff:0:1'",
        ],
    ),
    ("cidr", &["'::/0'", "'2001:db8::/32'", "'192.168.1.1/32'", "'::1/128'"]),
    ("macaddr8", &["'08:00:2b:01:02:03'", "'08:00:2b:01:02:03:04:05'"]),
    ("bit(33)", &["B'100000000000000000000000000000001'"]),
    ("varbit", &["B'1'", "B'101010101'"]),
    ("money", &["0", "0.05", "-0.05", "999.99", "1000", "-92233720368547758.08"]),
    ("tsvector", &["''", "'a:1A,2B,3C,4D fat:16383 ''q\\\\b''' "]),
    (
        "tsquery",
        &[
            "''",
            "$$'fat' & !('cat' | 'rat':*AB)$$",
            "'a <-> b <2> c'",
            "'a <-> (b <-> c)'",
            "'!(a & b)'",
            "'!!a'",
            "'!a <-> b'",
            "'(a | b) & c'",
            "'a | b & c'",
            "$$'it''s\\\\x':*$$",
            "'(a <-> b) | (c & !d)'",
            "'a & (b & c)'",
            "'a <0> b'",
        ],
    ),
    ("ltree", &["''"]),
    ("lquery", &["'a.*{1,2}.b'"]),
    ("ltxtquery", &["'a & b*'"]),
    ("point", &["'(1e+300,-0)'", "'(0.1,-1e-7)'"]),
    ("line", &["'{1,-1,0}'"]),
    ("lseg", &["'[(0,0),(1,1.5)]'"]),
    ("path", &["'[(0,0),(1,1)]'", "'((0,0),(1,1),(2,0))'"]),
    ("polygon", &["'((0,0),(1,1),(2,0))'"]),
    ("circle", &["'<(1,2),3.5>'"]),
    ("path[]", &["ARRAY['[(0,0),(1,1)]'::path]"]),
    ("int4range[]", &["ARRAY['[1,10]'::int4range,'empty',NULL]"]),
    ("tsrange", &["'[2019-03-31 15:30, infinity)'", "'[2017-01-01,)'", "'(,2017-01-01]'"]),
    ("daterange", &["'[2019-03-31,2019-04-30]'"]),
    ("numrange", &["'[NaN,NaN]'", "'[1.50,2.5)'"]),
    ("int4multirange", &["'{}'", "'{[1,3],[5,7)}'"]),
    ("textrange", &["textrange('a b','c\"\\(,')", "textrange('','z')", "textrange(NULL,'z')"]),
    ("textmultirange", &["textmultirange(textrange('a b','c'))"]),
    ("int[]", &["'[-2:-1][3:4]={{1,2},{3,NULL}}'", "'{{{1}}}'"]),
    (
        "text[]",
        &["ARRAY['null','nUlL','a{','}','é',E'\\t',E'\\v']", "ARRAY[['a','b'],['c,','']]", "'{}'"],
    ),
    ("float8[]", &["'{NaN,-Infinity,1e23,NULL}'"]),
    ("hstore", &[r#"'"a b"=>"c\\d", "e"=>NULL, ""=>""'"#]),
    ("hstore[]", &[r#"ARRAY['"a"=>"1"'::hstore, NULL]"#]),
    ("nested", &[r#"ROW(1, ARRAY['a','b c']::text[], ROW(2,'x"y\',false), '[1,2]', '"k"=>"v"')"#]),
    ("spot", &["ROW(1,'a',NULL)"]),
    ("late", &["'is a domain over an array'"]),
];

const MORE_SET_UP: &str = "
    CREATE TYPE textrange AS RANGE (subtype = text, multirange_type_name = textmultirange);
    CREATE TYPE nested AS (a int, b text[], c point3, d int4range, e hstore);
    CREATE DOMAIN late AS citext;
";

/// A stream, and what answers the server.
struct Stream {
    reader: Reader,
    _tasks: JoinSet<()>,
}

impl Stream {
    async fn open(cluster: &Cluster, slot: &str, binary: bool) -> Self {
        let settings = Settings {
            url: Secret::new(cluster.url("postgres", "postgres")),
            publication: "walgate".to_owned(),
            slot: slot.to_owned(),
            binary,
            streaming: source::Streaming::Off,
            spill: std::env::temp_dir().join(format!("walgate-spill-{}", fastrand::u64(..))),
            status_interval: Settings::STATUS_INTERVAL,
        };
        let opened = source::open(&settings, &Resume::default(), OpenOptions::default()).await;
        let (reader, writer, _) = opened.unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(writer.run().await) });
        Self { reader, _tasks: tasks }
    }

    /// Returns the next frames of changes.
    async fn frames(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while frames.len() < count {
            let next = tokio::time::timeout(Duration::from_secs(60), self.reader.next()).await;
            if let Received::Chunk(chunk) = next.unwrap().unwrap() {
                frames.extend(chunk.entries.iter().map(|entry| chunk.frame(entry).to_vec()));
            }
        }
        assert_eq!(frames.len(), count);
        frames
    }
}

fn majors() -> Vec<u32> {
    let mut majors: Vec<_> = Installation::all().iter().map(|one| one.major).collect();
    majors.sort_unstable();
    majors.dedup();
    majors
}

/// Inserts rows and holds what comes in binary against what comes as text.
async fn same(cluster: &Cluster, inserts: &[String]) {
    let mut text = Stream::open(cluster, "text", false).await;
    let mut binary = Stream::open(cluster, "bytes", true).await;
    cluster.execute(&inserts.join(";\n")).await.unwrap();
    let expected = text.frames(inserts.len()).await;
    let seen = binary.frames(inserts.len()).await;
    let shown = |frame: &[u8]| String::from_utf8_lossy(frame.get(8..).unwrap()).into_owned();
    let wrong: Vec<_> = inserts
        .iter()
        .zip(expected.iter().zip(&seen))
        .filter(|(_, (expected, seen))| expected != seen)
        .map(|(sql, (e, s))| format!("{sql}\n  text   {}\n  binary {}", shown(e), shown(s)))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        inserts.len(),
        wrong[..wrong.len().min(30)].join("\n")
    );
}

#[tokio::test]
async fn every_type_is_the_same_in_both_forms() {
    for major in majors() {
        let cluster = Cluster::builder().major(major).start().await.unwrap();
        cluster.execute(SET_UP).await.unwrap();
        cluster.execute(MORE_SET_UP).await.unwrap();
        cluster.execute("CREATE PUBLICATION walgate FOR ALL TABLES").await.unwrap();
        let cases: Vec<Case> = [NUMBERS, TIMES, STRINGS, STRUCTURES].concat();
        let known = cases
            .iter()
            .map(|(name, values)| (*name, values.iter().map(|(sql, _)| *sql).collect::<Vec<_>>()));
        let more = MORE.iter().map(|(name, values)| (*name, values.to_vec()));
        let mut inserts = Vec::new();
        let cases = known.chain(more).filter(|(name, _)| !NAMES.contains(name));
        for (index, (name, values)) in cases.enumerate() {
            let sql = format!("CREATE TABLE case_{index} (value {name})");
            cluster.execute(&sql).await.unwrap();
            inserts.extend(
                values.iter().map(|sql| format!("INSERT INTO case_{index} VALUES ({sql})")),
            );
        }
        same(&cluster, &inserts).await;
    }
}

/// A small generator that makes the same numbers each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn within(&mut self, reach: i64) -> i64 {
        self.roll().cast_signed() % reach
    }

    fn half(&mut self) -> u32 {
        u32::try_from(self.below(1 << 32)).unwrap()
    }

    fn digits(&mut self, count: u64) -> String {
        (0..count).map(|_| char::from(b'0' + (self.roll() % 10) as u8)).collect()
    }

    fn double(&mut self) -> f64 {
        match self.below(4) {
            // A middle of two floats is near a number with few digits.
            0 => format!("{}e{}", self.below(1000), self.within(300)).parse().unwrap(),
            1 => (self.below(1 << 54)) as f64,
            2 => 2_f64.powi(i32::try_from(self.within(1000)).unwrap()),
            _ => f64::from_bits(self.roll()),
        }
    }

    fn numeric(&mut self) -> String {
        let sign = if self.below(2) == 0 { "-" } else { "" };
        let (whole, part) = (self.below(30), self.below(30));
        let zeros = |count: u64| "0".repeat(usize::try_from(count).unwrap());
        match self.below(3) {
            0 => format!("{sign}{}{}", self.below(9) + 1, zeros(whole)),
            1 => format!("{sign}0.{}{}", zeros(part), self.below(9999)),
            _ => format!(
                "{sign}{}.{}",
                self.below(10).to_string() + &self.digits(whole),
                self.digits(part)
            ),
        }
    }

    fn row(&mut self) -> String {
        let double = self.double();
        let single = if self.below(2) == 0 {
            f32::from_bits(self.half())
        } else {
            format!("{double:e}").parse().unwrap()
        };
        let micros = self.within(i64::MAX) / 50;
        let (numeric, other) = (self.numeric(), self.numeric());
        let address: Vec<String> = (0..8)
            .map(|_| {
                if self.below(2) == 0 { "0".to_owned() } else { format!("{:x}", self.below(65536)) }
            })
            .collect();
        let bits = format!("{:b}", self.roll());
        format!(
            "INSERT INTO dice VALUES ('{double:e}', '{single:e}', {numeric},
             timestamp '2000-01-01' + {} * interval '1 us', date '2000-01-01' + {},
             make_interval(months => {}, days => {}, secs => {}), '{}/{}',
             ARRAY[{numeric}, NULL, {other}]::numeric[], ARRAY['{double:e}']::float8[],
             B'{bits}', '{:08x}-0000-4000-8000-{:012x}', {}, numrange(least({numeric}, {other}), greatest({numeric}, {other})))",
            micros / 1000,
            self.within(2_000_000),
            self.within(50_000),
            self.within(50_000),
            self.within(1 << 39) as f64 / 1e6,
            address.join(":"),
            self.below(129),
            self.half(),
            self.below(1 << 48),
            self.within(i64::MAX),
        )
        .replace("'inf'", "'Infinity'")
        .replace("'-inf'", "'-Infinity'")
        .replace("['inf", "['Infinity")
        .replace("['-inf", "['-Infinity")
    }
}

/// What the server prints of thousands of values it is asked for.
#[tokio::test]
async fn random_values_are_the_same_in_both_forms() {
    for major in [15, 18] {
        let cluster = Cluster::builder().major(major).start().await.unwrap();
        cluster.execute(SET_UP).await.unwrap();
        cluster
            .execute(
                "CREATE TABLE dice (a float8, b float4, c numeric, d timestamp, e date, f interval,
                    g inet, h numeric[], i float8[], j varbit, k uuid, l bigint, m numrange);
                 CREATE PUBLICATION walgate FOR ALL TABLES",
            )
            .await
            .unwrap();
        let mut dice = Dice(u64::from(major));
        let inserts: Vec<String> = (0..3000).map(|_| dice.row()).collect();
        same(&cluster, &inserts).await;
    }
}

/// Keys, old rows and values that did not change come as they do in text.
#[tokio::test]
async fn updates_and_deletes_are_the_same_in_both_forms() {
    let cluster = Cluster::builder().major(15).start().await.unwrap();
    cluster
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v numeric, big bytea);
             ALTER TABLE t ALTER big SET STORAGE EXTERNAL;
             CREATE TABLE f (id int, v numeric); ALTER TABLE f REPLICA IDENTITY FULL;
             CREATE PUBLICATION walgate FOR ALL TABLES",
        )
        .await
        .unwrap();
    let statements = [
        "INSERT INTO t VALUES (1, 1.50, decode(repeat('00ff', 10000), 'hex'))",
        "UPDATE t SET v = NULL",
        "UPDATE t SET id = 2",
        "DELETE FROM t",
        "INSERT INTO f VALUES (1, 1.50)",
        "UPDATE f SET v = 2",
        "DELETE FROM f",
        "TRUNCATE t",
        "SELECT pg_logical_emit_message(true, 'p', 'x')",
    ];
    same(&cluster, &statements.map(str::to_owned)).await;
}

/// An error ends it, before the row is taken for something else.
#[tokio::test]
async fn a_value_whose_form_is_not_known_is_named() {
    let cluster = Cluster::builder().major(15).start().await.unwrap();
    cluster
        .execute(
            r#"CREATE TABLE "T" (id int, "Cl ass" regclass); CREATE PUBLICATION walgate FOR ALL TABLES"#,
        )
        .await
        .unwrap();
    let mut stream = Stream::open(&cluster, "bytes", true).await;
    cluster.execute(r#"INSERT INTO "T" VALUES (1, NULL)"#).await.unwrap();
    stream.frames(1).await;
    cluster.execute(r#"INSERT INTO "T" VALUES (2, 'pg_class')"#).await.unwrap();
    let error = loop {
        match stream.reader.next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Binary { .. }), "{error}");
    let said = walgate::failure::chain(&error);
    for part in ["column \"Cl ass\" of table public.\"T\"", "type regclass"] {
        assert!(said.contains(part), "{said}");
    }
}

/// `check` says it before.
#[test]
fn a_type_whose_form_is_not_known_is_found_by_check() {
    let receiver = Receiver::start();
    let schema = "CREATE TABLE t (id int PRIMARY KEY, class regclass, all_of_it text, m money)";
    let sinks = format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"));
    let road = Road::quiet(Cluster::builder().major(15), schema, &sinks);
    road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
    let checked = |road: &Road| {
        let output = road.walgate.call(&["check", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = report["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|check| check["id"] == "source.binary")
    };
    assert_eq!(checked(&road), None);
    road.configure_as("", "binary = true", &sinks);
    let found = checked(&road).unwrap();
    assert_eq!((&found["status"], &found["subject"]), (&json!("fail"), &json!("table public.t")));
    let seen = found["seen"].as_str().unwrap();
    assert!(seen.contains("column class") && seen.contains("regclass"), "{seen}");
    road.sql("ALTER TABLE t DROP class");
    assert_eq!(checked(&road).unwrap()["status"], "ok");
}

/// The whole road: nobody behind the source can tell.
#[test]
fn events_are_the_same_in_both_forms() {
    let bodies = |binary: &str| {
        let receiver = Receiver::start();
        let schema = "CREATE TABLE t (id int PRIMARY KEY, n numeric, at timestamptz, doc jsonb, b bytea, a text[])";
        let sinks = format!("{}{}", http("far", &receiver.url("/"), ""), route("t", "far"));
        let mut road = Road::quiet(Cluster::builder().major(15), schema, &sinks);
        road.configure_as("", binary, &sinks);
        road.sql("CREATE PUBLICATION walgate FOR ALL TABLES");
        road.start();
        road.sql(r#"INSERT INTO t VALUES (1, 12.50, '2026-11-23 12:00+00', '{"n": 1.50}', '\x00ff', '{a,"b c",NULL}')"#);
        road.sql("UPDATE t SET id = 2, n = NULL; DELETE FROM t");
        road.confirms(&road.wal_end());
        let events = receiver.journal().events();
        events.iter().map(|e| json!([e.op(), e.0["key"], e.0["data"]])).collect::<Vec<_>>()
    };
    let text = bodies("");
    assert_eq!(text.len(), 3);
    assert_eq!(text, bodies("binary = true"));
}
