//! What the server refuses: each to the one at fault, and nothing is lost by it.

use serde_json::{Value, json};

use super::super::served::{arrived, checked, until_state};
use super::super::tls::Authority;
use super::{Nats, STREAM, far};
use crate::support::process::eventually;
use crate::support::road::{PATIENCE, Road};

/// Halted sinks are tried again soon.
const PROBED: &str = "halt_probe = \"300ms\"\nretry = { initial = \"50ms\", max = \"300ms\" }\n\
    breaker = { cooldown = \"100ms\" }";

/// The seed and the public half of a user's key, as the manual of NATS has them.
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
const PUBLIC: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

#[test]
fn an_event_that_is_too_large_becomes_a_dead_letter_and_the_rest_flows() {
    let nats = Nats::with_stream();
    let road = Road::of_t(&far(&nats.address(), PROBED, ""));
    road.sql(
        "INSERT INTO t SELECT n, CASE n WHEN 5 THEN repeat('x', 1100000) ELSE 'v' END
         FROM generate_series(1, 10) n",
    );
    road.sql("UPDATE t SET v = 'small' WHERE id = 5");
    let journal = arrived(&road, || nats.read());
    assert_eq!((journal.events().len(), journal.repeats()), (10, 0));
    let letters = road.dead_letters(&[]);
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (&letters[0]["category"], &letters[0]["key"]),
        (&json!("rejected"), &json!({ "id": 5 }))
    );
    let message = letters[0]["message"].as_str().unwrap();
    assert!(message.ends_with("the event is larger than the server takes"), "{message}");
}

#[test]
fn a_wrong_password_halts_the_sink_and_a_right_one_lets_it_go_on() {
    let user =
        |password: &str| format!("authorization {{ user: \"walgate\", password: \"{password}\" }}");
    let mut nats = Nats::start_for("walgate:right@", &user("right"));
    nats.stream(&json!({}));
    nats.server.kill();
    nats.configure(&user("other"));
    nats.server.start();
    let address = format!("walgate:right@{}", nats.address());
    let road = Road::of_t(&far(&address, PROBED, ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("authorization violation"), "{reason}");
    let (is_ok, seen) = checked(&road);
    assert!(!is_ok && seen.contains("authorization violation"), "{seen}");
    nats.server.kill();
    nats.configure(&user("right"));
    nats.server.start();
    arrived(&road, || nats.read());
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
    let log = road.walgate.log();
    assert!(!log.contains(":right@"), "the password is in the log");
}

#[test]
fn walgate_says_who_it_is_in_each_of_the_ways() {
    #[track_caller]
    fn check(road: &Road, who: &'static str, server: &str, keys: &str, wrong: &str) {
        let nats = Nats::start_for(who, server);
        for (keys, expected) in [(keys, true), (wrong, false)] {
            road.configure(&format!(
                "{}{}",
                far(&nats.address(), "", keys),
                crate::support::road::route("t", "far")
            ));
            let (_, seen) = checked(road);
            // Without a stream it is not ready, but it said who it is.
            assert_eq!(seen.contains("has no stream that takes walgate.*.*"), expected, "{seen}");
            assert!(expected || seen.contains("authorization violation"), "{seen}");
        }
    }
    let road = Road::quiet(
        walgate::demo::cluster::Cluster::builder(),
        crate::support::road::T,
        "[sink.far.stdout]\n[[route]]\ntable = \"public.t\"\nname = \"x\"\nsink = \"far\"\n",
    );
    let token = "authorization { token: \"t0k3n\" }";
    check(&road, "t0k3n@", token, "token = \"t0k3n\"", "token = \"other\"");
    let user = "authorization { user: \"u\", password: \"p\" }";
    check(&road, "u:p@", user, "user = \"u\"\npassword = \"p\"", "user = \"u\"\npassword = \"q\"");
    let nkey = format!("authorization {{ users: [ {{ nkey: {PUBLIC} }} ] }}");
    check(&road, "", &nkey, &format!("nkey = \"{SEED}\""), "token = \"x\"");
}

#[test]
fn a_certificate_is_looked_at_on_both_sides() {
    let authority = Authority::new();
    let path = |name: &str| authority.path(name).display().to_string();
    let nats = Nats::start(&format!(
        "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    ));
    let road = Road::quiet(
        walgate::demo::cluster::Cluster::builder(),
        crate::support::road::T,
        "[sink.far.stdout]\n[[route]]\ntable = \"public.t\"\nname = \"x\"\nsink = \"far\"\n",
    );
    let ca = format!("ca = \"{}\"\n", path("ca.pem"));
    let own = format!("cert = \"{}\"\nkey = \"{}\"\n", path("client.pem"), path("client.key"));
    for (keys, expected) in [
        (format!("{ca}{own}"), "has no stream that takes"),
        (ca, "can't connect"),
        (String::new(), "invalid peer certificate"),
    ] {
        let sink = far(&nats.address(), "", &keys);
        road.configure(&format!("{sink}{}", crate::support::road::route("t", "far")));
        let (_, seen) = checked(&road);
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
}

#[test]
fn without_a_stream_the_sink_halts_until_there_is_one() {
    let nats = Nats::start("");
    let road = Road::of_t(&far(&nats.address(), PROBED, ""));
    assert!(checked(&road).1.contains("has no stream that takes walgate.*.*; make one"));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("has no stream that takes an event's subject"), "{reason}");
    nats.stream(&json!({}));
    arrived(&road, || nats.read());
    let (is_ok, seen) = checked(&road);
    assert!(
        is_ok && seen.contains("the stream CDC takes walgate.*.*, and drops repeats for 600s"),
        "{seen}"
    );
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}

#[test]
fn another_stream_than_the_expected_one_halts_the_sink() {
    let nats = Nats::with_stream();
    let road = Road::of_t(&far(&nats.address(), PROBED, "stream = \"OTHER\""));
    let (is_ok, seen) = checked(&road);
    assert!(!is_ok && seen.contains("in the stream CDC, not in OTHER"), "{seen}");
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("expected stream does not match"), "{reason}");
    assert_eq!(nats.read().requests.len(), 0);
}

#[test]
fn who_may_not_publish_halts_at_once() {
    let users = "authorization { users: [\
        { user: \"walgate\", password: \"p\", permissions: { publish: \"$JS.API.>\" } },\
        { user: \"admin\", password: \"p\" } ] }";
    let nats = Nats::start_for("admin:p@", users);
    nats.stream(&json!({}));
    let address = format!("walgate:p@{}", nats.address());
    let road = Road::of_t(&far(&address, PROBED, ""));
    road.sql("INSERT INTO t VALUES (1, 'a')");
    let reason = until_state(&road, "halted");
    assert!(reason.contains("does not let walgate publish"), "{reason}");
}

#[test]
fn a_full_stream_is_waited_for() {
    let nats = Nats::start("");
    nats.stream(&json!({ "max_msgs": 2, "discard": "new" }));
    let road = Road::of_t(&far(&nats.address(), PROBED, ""));
    road.sql("INSERT INTO t SELECT n, 'v' FROM generate_series(1, 5) n");
    eventually("it is throttled", PATIENCE, || {
        let metrics = road.walgate.get("/metrics").body;
        metrics.contains("walgate_sink_attempts_total{sink=\"far\",category=\"throttled\"}")
    });
    assert_eq!(nats.read().requests.len(), 2, "{STREAM} is full");
    nats.stream(&json!({ "max_msgs": 100, "discard": "new" }));
    assert_eq!(arrived(&road, || nats.read()).repeats(), 0);
    assert_eq!(road.dead_letters(&[]), Vec::<Value>::new());
}
