//! `POST /v1/playground` and its page: what is tried is told, and reaches nothing.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{LAB, Shop};
use crate::support::web::{self, Answer};

fn tried(shop: &Shop, body: &Value) -> Answer {
    let json = ("content-type", "application/json");
    web::post(shop.road.walgate.admin(), "/v1/playground", &[json], &body.to_string())
}

/// The mapping `lab` with other fields and keys.
fn lab(keys: &str, fields: &str) -> String {
    format!("[mapping.lab]\nversion = 1\n{keys}\n[mapping.lab.fields]\n{fields}\n")
}

/// The ids of the events that the live page offers to try.
fn offered(shop: &Shop) -> Vec<String> {
    let page = shop.road.walgate.get("/playground?route=t-to-lab").body;
    let values = page.split("value=\"event:").skip(1);
    values.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())).collect()
}

#[test]
fn an_edited_mapping_is_tried_on_rows_that_came() {
    let shop = Shop::start(LAB);
    let asked = json!({ "mapping": "lab", "row": { "dead_letter": 1 } });
    let now = tried(&shop, &asked);
    assert_eq!(now.status, 200, "{now:?}");
    let now = now.json();
    assert_eq!(now["row"]["verdict"], "sent", "{now}");
    assert_eq!(now["row"]["data"], json!({ "id": 3, "name": "<b>c</b>" }));
    assert_eq!((&now["differences"], &now["route"]), (&json!([]), &json!("t-to-lab")));
    assert_eq!(
        now["tests"][0],
        json!({ "mapping": "lab", "name": "a name stays", "ok": true, "diff": [] })
    );

    let fields = "id = { column = \"id\" }\nname = { expr = \"row.v.upperAscii()\" }\n\
                  [[mapping.lab.test]]\nname = \"stays\"\nrow = { id = 1, v = \"ann\" }\nexpect = { name = \"ann\" }";
    let ids = offered(&shop);
    assert_eq!(ids.len(), 3, "{ids:?}");
    // Newest first.
    let body = json!({ "mapping": "lab", "toml": lab("", fields), "row": { "event": ids[2] } });
    let edited = tried(&shop, &body).json();
    assert_eq!(edited["row"]["data"], json!({ "id": 1, "name": "A" }), "{edited}");
    assert_eq!(edited["row"]["values"], json!({ "id": 1, "v": "a" }));
    assert_eq!(
        edited["row"]["trace"][1],
        json!({ "field": "name", "columns": [{ "name": "v", "value": "a" }], "out": "A",
            "how": "computed from v" })
    );
    let diff = json!([{ "field": "name", "expected": "ann", "found": "ANN" }]);
    assert_eq!((&edited["tests"][0]["ok"], &edited["tests"][0]["diff"]), (&json!(false), &diff));
    assert!(
        edited["differences"]
            .as_array()
            .unwrap()
            .contains(&json!("field \"name\": \"expr\" is new"))
    );
    assert!(edited["notes"][0].as_str().unwrap().contains("raise it to 2"), "{edited}");

    let required = lab("", "name = { column = \"v\", required = true }");
    let typed = |values: Value, op: &str| {
        let row = json!({ "values": values, "op": op });
        tried(&shop, &json!({ "mapping": "lab", "toml": required, "row": row })).json()
    };
    let rejected = typed(json!({ "id": 7 }), "insert");
    assert_eq!(rejected["row"]["verdict"], "rejected");
    assert_eq!(
        (&rejected["row"]["field"], &rejected["row"]["reason"]),
        (&json!("name"), &json!("is NULL"))
    );
    // It knows the table's types: an id that is written as a text is a number.
    assert_eq!(typed(json!({ "id": "7", "v": "x" }), "update")["row"]["values"]["id"], 7);
    // Nothing of this was stored.
    assert_eq!(shop.road.walgate.get("/v1/audit").json()["requests"], json!([]));
    assert_eq!(tried(&shop, &asked).json(), now);
}

#[test]
fn what_is_tried_reads_neither_environment_nor_files() {
    let shop = Shop::start(LAB);
    let folder = shop.road.walgate.folder();
    std::fs::write(folder.join("secret.json"), "{\"a\": \"s3cret\"}").unwrap();
    for fields in [
        "a = { value = \"${HOME}\" }",
        "a = { value = \"${file:secret.json}\" }",
        "a = { value = \"${file:/etc/passwd}\" }",
        "a = { column = \"v\", lookup = { file = \"secret.json\" } }",
    ] {
        let answer = tried(&shop, &json!({ "mapping": "lab", "toml": lab("", fields) }));
        assert_eq!(answer.status, 422, "{fields}: {answer:?}");
        let told = answer.json();
        assert_eq!(told["problems"][0]["line"], 5, "{told}");
        let message = told["problems"][0]["message"].as_str().unwrap();
        assert!(
            message.contains("nothing is read") || message.contains("no file is read"),
            "{told}"
        );
        assert!(!answer.body.contains("s3cret") && !answer.body.contains("root:"), "{answer:?}");
    }
    let key = lab("mask_key = \"${file:secret.json}\"", "a = { column = \"v\", mask = \"hash\" }");
    assert_eq!(tried(&shop, &json!({ "mapping": "lab", "toml": key })).status, 422);
}

#[test]
fn what_is_masked_stays_so_whatever_the_text_says() {
    let masked = LAB
        .replace("name = { column = \"v\" }", "name = { column = \"v\", mask = \"hash\" }")
        .replace("version = 1", "version = 1\nmask_key = \"0123456789abcdef\"")
        .replace("expect = { id = 1, name = \"ann\" }", "expect = { id = 1 }");
    let shop = Shop::start(&masked);
    let bare = lab("", "name = { column = \"v\" }");
    for row in [json!({ "dead_letter": 1 }), json!({ "event": offered(&shop)[0] })] {
        let answer = tried(&shop, &json!({ "mapping": "lab", "toml": bare, "row": row }));
        let told = answer.json();
        assert_eq!(told["row"]["data"], json!({ "name": "<a>a</a>" }), "{told}");
        assert_eq!(told["row"]["made_up"], json!(["v"]));
        assert!(!answer.body.contains("<b>c"), "{answer:?}");
    }
    // Nor can anybody try which value has the hash that was sent.
    let page = shop.road.walgate.get("/playground").body;
    assert!(page.contains("mask_key = &quot;***&quot;") && !page.contains("0123456789"), "{page}");
    let row = json!({ "values": { "id": 1, "v": "a" } });
    let typed = tried(&shop, &json!({ "mapping": "lab", "row": row })).json();
    assert!(typed["notes"][0].as_str().unwrap().contains("stand-in"), "{typed}");
    let hashed = typed["row"]["data"]["name"].as_str().unwrap();
    let sent = shop.road.walgate.folder().join("lab.ndjson");
    crate::support::process::eventually("it was sent", crate::support::road::PATIENCE, || {
        std::fs::read_to_string(&sent).is_ok_and(|sent| sent.lines().count() == 3)
    });
    let sent = std::fs::read_to_string(&sent).unwrap();
    assert!(hashed.len() == 64 && !sent.contains(hashed), "{sent}");
}

#[test]
fn what_takes_too_much_is_ended() {
    let shop = Shop::start(LAB);
    let digits = "[1,2,3,4,5,6,7,8,9,10]";
    // 10^10 steps.
    let loops = (0..10).fold("x9 == 0".to_owned(), |inner, depth| {
        format!("{digits}.exists(x{}, {inner})", 9 - depth)
    });
    let patterns: String = (0..400)
        .map(|n| {
            format!(
                "f{n} = {{ column = \"v\", check = {{ pattern = \"\\\\pL{{4{}}}\" }} }}\n",
                n % 10
            )
        })
        .collect();
    let doubled = "['aaaaaaaaaaaaaaaa'].map(a, a.replace('', a)).map(a, a.replace('', a)).map(a, \
                   a.replace('', a)).map(a, a.replace('', a))";
    let row = json!({ "values": { "id": 1 } });
    for fields in [
        &*format!("a = {{ expr = \"{loops}\" }}"),
        &patterns,
        &*format!("a = {{ expr = \"{doubled}\" }}"),
    ] {
        let began = Instant::now();
        let body = json!({ "mapping": "lab", "toml": lab("", fields), "row": row });
        let answer = tried(&shop, &body);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(answer.status, 422, "{}", &answer.body[..answer.body.len().min(600)]);
    }
    let plain = json!({ "mapping": "lab", "row": row });
    assert_eq!(tried(&shop, &plain).status, 200);
    let long = json!({ "mapping": "lab", "toml": " ".repeat(200_000) });
    assert_eq!(tried(&shop, &long).status, 422);
    let longer = json!({ "mapping": "lab", "toml": " ".repeat(2_000_000) });
    assert_eq!(tried(&shop, &longer).status, 413);
    assert_eq!(shop.road.walgate.get("/healthz").status, 200);
}

#[test]
fn what_is_no_question_is_refused() {
    let shop = Shop::start(LAB);
    for (body, status) in [
        (json!({}), 400),
        (json!({ "mapping": "lab", "row": {} }), 400),
        (json!({ "mapping": "lab", "row": { "event": "x", "dead_letter": 1 } }), 400),
        (json!({ "mapping": "lab", "row": { "dead_letter": 1, "op": "insert" } }), 400),
        (json!({ "mapping": "lab", "row": { "values": [1] } }), 400),
        (json!({ "mapping": "lab", "row": { "values": { "nothing": 1 } } }), 400),
        (json!({ "mapping": "lab", "row": { "event": "x" } }), 400),
        (json!({ "mapping": "lab", "row": { "dead_letter": 99 } }), 404),
        (
            json!({ "mapping": "lab", "row": { "event": "00000001-00000000017C8338-00000003" } }),
            404,
        ),
        (json!({ "mapping": "lab", "route": "t-to-far" }), 404),
        (json!({ "mapping": "nothing" }), 404),
        (json!({ "mapping": "lab", "more": 1 }), 400),
    ] {
        let answer = tried(&shop, &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.json()["error"].is_string());
    }
    let address = shop.road.walgate.admin();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let post = |headers: &[(&str, &str)]| {
        web::post(address, "/playground", headers, "mapping=lab&row=%7B%7D&toml=x").status
    };
    assert_eq!(post(&[form]), 200);
    assert_eq!(post(&[form, ("origin", "http://evil.example")]), 403);
    assert_eq!(post(&[form, ("sec-fetch-site", "cross-site")]), 403);
    assert_eq!(web::post(address, "/v1/playground", &[form], "{}").status, 415);
}
