//! `/v1/…` says what commands say and does what they do.

use serde_json::{Value, json};

use super::Shop;
use crate::support::process::eventually;
use crate::support::road::PATIENCE;
use crate::support::web::{self, Answer};

fn get(shop: &Shop, path: &str) -> Value {
    let answer = shop.road.walgate.get(path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.json()
}

fn post(shop: &Shop, path: &str, body: &Value) -> Answer {
    let json = ("content-type", "application/json");
    web::post(shop.road.walgate.admin(), path, &[json], &body.to_string())
}

#[test]
fn it_says_what_commands_say() {
    let shop = Shop::start("");
    let listed = &get(&shop, "/v1/dead-letters?sink=far&state=dead")["dead_letters"];
    assert_eq!(*listed, json!(shop.road.dead_letters(&["--sink", "far", "--state", "dead"])));
    let id = listed[0]["id"].to_string();
    let output = shop.road.walgate.call(&["dlq", "show", &id, "--json"]);
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(get(&shop, &format!("/v1/dead-letters/{id}")), shown);
    let cause = &get(&shop, "/v1/dead-letters/causes")["causes"][0];
    assert_eq!((&cause["count"], &cause["category"]), (&json!(1), &json!("rejected")));

    let key = "%7B%22id%22%3A3%7D";
    let path = format!("/v1/trace?table=public.t&key={key}");
    let trace = ["trace", "--table", "public.t", "--key", "{\"id\":3}", "--json"];
    // What the other sink acknowledged is stored in its own time.
    eventually("both tell the same", PATIENCE, || {
        let life = get(&shop, &path);
        let output = shop.road.walgate.call(&trace);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        life["changes"] == json!([told])
    });

    let status = get(&shop, "/v1/status");
    assert_eq!(status["sinks"][0]["dead_letters"], json!({ "rejected": 1 }));
    assert_eq!(status["source"]["state"], "streaming");
    let config = get(&shop, "/v1/config");
    let toml = config["toml"].as_str().unwrap();
    assert!(toml.contains("slot = \"walgate\"") && toml.contains("url = \"***\""), "{toml}");
    assert!(!toml.contains("secret"), "{toml}");
    assert_eq!(get(&shop, "/v1/backfills")["backfills"].as_array().unwrap().len(), 0);
    eventually("a batch was noted", PATIENCE, || {
        let batches = get(&shop, "/v1/sinks/near/batches?limit=1");
        batches["batches"].as_array().unwrap().len() == 1
    });
    let described = get(&shop, "/v1/openapi.json");
    assert!(described["paths"]["/v1/dead-letters/replay"]["post"].is_object());
}

#[test]
fn figures_are_kept_over_time() {
    let shop = Shop::start("");
    eventually("a figure was kept", PATIENCE, || {
        let series = get(&shop, "/v1/history?name=journal_bytes");
        series["points"]
            .as_array()
            .unwrap()
            .iter()
            .any(|point| point["value"].as_f64().unwrap() > 0.0)
    });
    let of_sink = get(&shop, "/v1/history?name=freshness_seconds&sink=near&span=hour");
    assert!(!of_sink["points"].as_array().unwrap().is_empty());
}

#[test]
fn a_dead_letter_is_sent_again_and_noted_by_whom() {
    let shop = Shop::start("");
    shop.receiver.behave();
    let nothing = post(&shop, "/v1/dead-letters/replay", &json!({ "which": {} }));
    assert_eq!(nothing.status, 400, "{nothing:?}");
    let answer = post(&shop, "/v1/dead-letters/replay", &json!({ "which": { "sink": "far" } }));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["outcome"]["begun"], 1);
    let request = answer.json()["request"].clone();
    eventually("it arrived", PATIENCE, || {
        get(&shop, "/v1/dead-letters")["dead_letters"] == json!([])
    });
    let arrived =
        shop.receiver.journal().events().iter().filter(|it| it.0["data"]["id"] == 3).count();
    assert_eq!(arrived, 1);
    let audit = get(&shop, "/v1/audit");
    let asked = &audit["requests"][0];
    assert_eq!((&asked["id"], &asked["by"]), (&request, &json!("console, 127.0.0.1")));
    assert_eq!(asked["what"], "replay dead letters");
    assert_eq!(get(&shop, &format!("/v1/requests/{request}"))["state"], "done");
}

#[test]
fn a_discard_wants_a_reason_and_a_sink_can_be_paused() {
    let shop = Shop::start("");
    let which = json!({ "which": { "all": true } });
    assert_eq!(post(&shop, "/v1/dead-letters/discard", &which).status, 400);
    let body = json!({ "which": { "all": true }, "reason": "test data" });
    let answer = post(&shop, "/v1/dead-letters/discard", &body);
    assert_eq!(answer.json()["outcome"]["discarded"], 1, "{answer:?}");
    let discarded = &get(&shop, "/v1/dead-letters?state=discarded")["dead_letters"][0];
    assert_eq!(discarded["reason"], "test data");

    let answer = post(&shop, "/v1/sinks/near/pause", &json!({ "reason": "disk swap" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    let near = || shop.road.walgate.status()["sinks"][1].clone();
    eventually("it is paused", PATIENCE, || near()["state"] == "halted");
    assert!(near()["reason"].as_str().unwrap().contains("disk swap"), "{}", near());
    assert_eq!(post(&shop, "/v1/sinks/near/resume", &json!({})).status, 200);
    eventually("it goes on", PATIENCE, || near()["state"] == "ok");
    for (path, body) in [
        ("/v1/sinks/nobody/pause", json!({})),
        ("/v1/routes/nobody/hold", json!({})),
        ("/v1/backfills/99/pause", json!({})),
        ("/v1/dead-letters/replay", json!({ "which": { "ids": [99] } })),
    ] {
        assert_eq!(post(&shop, path, &body).status, 404, "{path}");
    }
}

#[test]
fn rows_that_are_there_are_sent_on_request() {
    let shop = Shop::start("");
    shop.receiver.behave();
    let wrong = post(&shop, "/v1/backfills", &json!({ "table": "public.nothing" }));
    assert_eq!(wrong.status, 404, "{wrong:?}");
    let answer = post(&shop, "/v1/backfills", &json!({ "table": "public.t", "sink": "far" }));
    assert_eq!(answer.status, 200, "{answer:?}");
    eventually("it is done", PATIENCE, || {
        let loads = get(&shop, "/v1/backfills");
        loads["backfills"][0]["state"] == "done" && loads["backfills"][0]["rows"] == 3
    });
}

#[test]
fn what_changes_something_is_json_from_here() {
    let shop = Shop::start("");
    let address = shop.road.walgate.admin();
    let status =
        |headers: &[(&str, &str)]| web::post(address, "/v1/sinks/near/pause", headers, "{}").status;
    let json = ("content-type", "application/json");
    assert_eq!(status(&[("content-type", "text/plain")]), 415);
    assert_eq!(status(&[json, ("origin", "http://evil.example")]), 403);
    assert_eq!(status(&[json, ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(status(&[json, ("host", "evil.example")]), 403);
    assert_eq!(shop.road.walgate.status()["sinks"][1]["state"], "ok");
    // Refused at once, so that many fit into a second.
    let answers: Vec<u16> = (0..150).map(|_| status(&[("content-type", "text/plain")])).collect();
    assert!(answers.contains(&429), "{answers:?}");
}

#[test]
fn a_browser_shows_the_token_once() {
    let mut shop = Shop::start("");
    let token = shop.wants_token();
    let address = shop.road.walgate.admin();
    let page = ("accept", "text/html");
    let sent = web::get(address, "/dead-letters", &[page]);
    assert_eq!(sent.status, 303, "{sent:?}");
    assert!(sent.head.contains("location: /login?next=%2Fdead-letters"), "{sent:?}");
    assert_eq!(web::get(address, "/v1/status", &[]).status, 401);
    let form = ("content-type", "application/x-www-form-urlencoded");
    assert_eq!(web::post(address, "/playground", &[form], "toml=x").status, 401);
    assert_eq!(web::post(address, "/v1/playground", &[], "{}").status, 401);
    let enter = |token: &str| {
        let body = format!("token={token}&next=%2Fdead-letters");
        web::post(address, "/login", &[form], &body)
    };
    let wrong = enter("guess");
    assert_eq!(wrong.status, 401);
    assert!(!wrong.head.contains("set-cookie"), "{wrong:?}");
    let entered = enter(token);
    assert_eq!(entered.status, 303);
    assert!(entered.head.contains("location: /dead-letters"), "{entered:?}");
    let cookie = entered.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let session = ("cookie", cookie.split(';').next().unwrap());
    assert_eq!(web::get(address, "/dead-letters", &[page, session]).status, 200);
    assert_eq!(web::get(address, "/v1/status", &[session]).status, 200);
    let guesses: Vec<u16> = (0..12).map(|_| enter("guess").status).collect();
    assert!(guesses.contains(&429), "{guesses:?}");
}
