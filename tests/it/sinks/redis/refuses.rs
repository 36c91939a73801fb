//! What the server refuses: each to the one at fault, and nothing is lost by it.

use serde_json::{Value, json};
use walgate::demo::cluster::Cluster;

use super::super::served::{arrived, checked, until_state};
use super::super::tls::Authority;
use super::{Redis, STREAM, far};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road, T, route};

/// Halted sinks are tried again soon.
const PROBED: &str = "halt_probe = \"300ms\"\nretry = { initial = \"50ms\", max = \"300ms\" }\n\
    breaker = { cooldown = \"100ms\" }";

#[test]
fn an_event_that_is_too_large_becomes_a_dead_letter_and_the_rest_flows() {
    for keys in ["", "ids = \"lsn\""] {
        let redis = Redis::start_with(&["--proto-max-bulk-len", "1048576"]);
        let road = Road::of_t(&far(&redis.address(), PROBED, keys));
        road.sql(
            "INSERT INTO t SELECT n, CASE n WHEN 5 THEN repeat('x', 1100000) ELSE 'v' END
             FROM generate_series(1, 10) n",
        );
        road.sql("UPDATE t SET v = 'small' WHERE id = 5");
        let journal = arrived(&road, || redis.read());
        assert_eq!((journal.events().len(), journal.repeats()), (10, 0));
        let letters = road.dead_letters(&[]);
        assert_eq!(letters.len(), 1);
        let letter = (&letters[0]["category"], &letters[0]["key"]);
        assert_eq!(letter, (&json!("rejected"), &json!({ "id": 5 })));
        let message = letters[0]["message"].as_str().unwrap();
        assert!(
            message.ends_with("larger than the 1048576 bytes that the server takes"),
            "{message}"
        );
    }
}

#[test]
fn a_wrong_password_halts_the_sink_and_a_right_one_lets_it_go_on() {
    let mut redis = Redis::start_with(&["--requirepass", "other"]);
    let address = format!(":right@{}", redis.address());
    let road = Road::of_t(&far(&address, PROBED, ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("refused it: WRONGPASS"), "{reason}");
    let (is_ok, seen) = checked(&road);
    assert!(!is_ok && seen.contains("WRONGPASS"), "{seen}");
    redis.ask(&["CONFIG", "SET", "requirepass", "right"]);
    redis.password = "right";
    arrived(&road, || redis.read());
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    assert!(checked(&road).0);
    assert!(!road.walgate.log().contains("right@"), "the password is in the log");
}

#[test]
fn a_user_without_the_right_halts_the_sink() {
    let redis = Redis::start();
    redis.ask(&["ACL", "SETUSER", "walgate", "on", ">p", "~other*", "+@all"]);
    let address = format!("walgate:p@{}", redis.address());
    let road = Road::of_t(&far(&address, PROBED, ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("refused it: NOPERM"), "{reason}");
    // The least that it needs: what it may not ask for, it does without.
    redis.ask(&[
        "ACL",
        "SETUSER",
        "walgate",
        "resetkeys",
        "~walgate:*",
        "-@all",
        "+xadd",
        "+multi",
        "+exec",
        "+select",
    ]);
    arrived(&road, || redis.read());
}

#[test]
fn a_key_that_is_no_stream_halts_the_sink() {
    let redis = Redis::start();
    redis.ask(&["SET", STREAM, "\"x\""]);
    for keys in ["", "ids = \"lsn\""] {
        let road = Road::of_t(&far(&redis.address(), PROBED, keys));
        road.sql("INSERT INTO t VALUES (1, 'a')");
        let reason = until_state(&road, "halted");
        assert!(reason.contains("refused it: WRONGTYPE"), "{reason}");
        assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
        redis.ask(&["RENAME", STREAM, "aside"]);
        arrived(&road, || redis.read());
        redis.ask(&["RENAME", "aside", STREAM]);
    }
    let road = Road::of_t(&far(&redis.address(), "", &format!("stream = \"{STREAM}\"")));
    let (is_ok, seen) = checked(&road);
    assert!(!is_ok && seen.contains("walgate:public.t is a string, not a stream"), "{seen}");
}

#[test]
fn a_server_without_memory_is_waited_for() {
    for keys in ["", "ids = \"lsn\""] {
        let redis = Redis::start_with(&["--maxmemory", "1"]);
        let road = Road::of_t(&far(&redis.address(), PROBED, keys));
        road.sql("INSERT INTO t SELECT n, 'v' FROM generate_series(1, 5) n");
        eventually("it is throttled", PATIENCE, || {
            let metrics = road.walgate.get("/metrics").body;
            metrics.contains("walgate_sink_attempts_total{sink=\"far\",category=\"throttled\"}")
        });
        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(arrived(&road, || redis.read()).repeats(), 0);
        assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    }
}

#[test]
fn a_certificate_is_looked_at_on_both_sides() {
    let authority = Authority::new();
    let path = |name: &str| authority.path(name).display().to_string();
    let (cert, key, ca) = (path("server.pem"), path("server.key"), path("ca.pem"));
    // TLS at a port of its own, beside the one that the test waits for.
    let (tls, _) = crate::support::loopback();
    let _redis = Redis::start_with(&[
        "--tls-port",
        &tls.port().to_string(),
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
    ]);
    let sink = "[sink.far.stdout]\n[[route]]\ntable = \"public.t\"\nname = \"x\"\nsink = \"far\"\n";
    let road = Road::quiet(Cluster::builder(), T, sink);
    let trust = format!("ca = \"{ca}\"\n");
    let own = format!("cert = \"{}\"\nkey = \"{}\"\n", path("client.pem"), path("client.key"));
    for (keys, expected) in [
        (format!("{trust}{own}"), "Redis 7"),
        (trust, "the connection broke"),
        (String::new(), "invalid peer certificate"),
    ] {
        let sink = far(&tls.to_string(), "", &keys).replace("redis://", "rediss://");
        road.configure(&format!("{sink}{}", route("t", "far")));
        let (_, seen) = checked(&road);
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
}

#[test]
fn ids_of_the_log_and_several_requests_in_flight_exclude_each_other() {
    let sink = far("localhost", "concurrency = 4", "ids = \"lsn\"");
    let walgate = crate::support::process::Walgate::new(&format!(
        "[source]\nurl = \"postgres://x@localhost/x\"\n{sink}{}",
        route("t", "far")
    ));
    let output = walgate.call(&["check", "--offline"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("set concurrency = 1, or ids = \"auto\""), "{said}");
}
