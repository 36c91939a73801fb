//! Loads by Bulk API 2.0.

use std::time::Duration;

use serde_json::json;
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::sink::salesforce::Config;
use walgate::sink::{Answer, Batch, Common};

use super::super::fakes::Fake;
use super::super::{COMMON, envelope};
use super::{Org, build, equal, road, settings};

fn reads(ids: std::ops::Range<u32>) -> Batch {
    let row = |id: u32| match id {
        7 => r#"{"Name":"poison"}"#.to_owned(),
        8 => r#"{"Name":"a, \"b\"\nc","Note__c":null}"#.to_owned(),
        _ => format!(r#"{{"Name":"n{id}","Amount__c":{id}.50}}"#),
    };
    let events = ids.map(|id| envelope(Operation::Read, id, &row(id))).collect();
    Batch { events, replay: 0 }
}

fn bulk(org: &Fake<Org>) -> Config {
    Config { bulk: Some(5), ..settings(&org.url()) }
}

#[tokio::test]
async fn a_load_is_one_job_whose_results_are_those_of_the_events() {
    let org = Fake::start(Org { polls: 2, ..Org::default() });
    org.state().locked.insert("3".to_owned(), 1);
    let sink = build(bulk(&org), &Common { timeout: Duration::from_secs(10), ..COMMON });
    let Answer::PerEvent(outcomes) = sink.deliver(&reads(0..10)).await else { unreachable!() };
    for (id, outcome) in outcomes.into_iter().enumerate() {
        match id {
            3 => assert_eq!(outcome.unwrap_err().category, Category::Transient),
            7 => {
                let failure = outcome.unwrap_err();
                assert_eq!(failure.category, Category::Rejected);
                assert!(failure.message.contains("FIELD_CUSTOM_VALIDATION_EXCEPTION (Name)"));
            }
            _ => assert_eq!(outcome, Ok(()), "{id}"),
        }
    }
    assert_eq!(org.state().calls, ["job 10"]);
    let state = org.state();
    assert_eq!(state.records["8"]["Name"], json!("a, \"b\"\nc"));
    assert!(!state.records["8"].contains_key("Note__c") && state.records.len() == 8);
    assert_eq!(state.records["9"]["Amount__c"], json!("9.50"));
}

#[tokio::test]
async fn a_job_that_takes_longer_than_a_request_is_asked_for_again() {
    let org = Fake::start(Org { polls: 5, ..Org::default() });
    let sink = build(bulk(&org), &Common { timeout: Duration::from_millis(700), ..COMMON });
    let mut waits = 0;
    loop {
        match sink.deliver(&reads(20..30)).await {
            Answer::Acknowledged => break,
            Answer::Failed(failure) if failure.category == Category::Throttled => waits += 1,
            answer => unreachable!("{answer:?}"),
        }
    }
    assert!(waits >= 1);
    assert_eq!(org.state().jobs.len(), 1, "the job is not made anew");
    assert_eq!(org.state().records.len(), 10);
}

#[tokio::test]
async fn what_is_no_load_goes_at_once() {
    let org = Fake::start(Org::default());
    let sink = build(bulk(&org), &Common { timeout: Duration::from_secs(10), ..COMMON });
    assert_eq!(sink.deliver(&reads(0..4)).await, Answer::Acknowledged);
    let mut mixed = reads(20..30);
    mixed.events.push(envelope(Operation::Update, 20, r#"{"Name":"x"}"#));
    assert_eq!(sink.deliver(&mixed).await, Answer::Acknowledged);
    // A text that would clear its field there.
    let mut odd = reads(20..30);
    odd.events.push(envelope(Operation::Read, 31, r##"{"Name":"#N/A"}"##));
    assert_eq!(sink.deliver(&odd).await, Answer::Acknowledged);
    assert_eq!(org.state().calls, ["upsert 4", "job 9", "upsert 1", "upsert 11"]);
    assert_eq!(org.state().records["31"]["Name"], json!("#N/A"));
}

#[test]
fn a_table_is_loaded_by_jobs_and_its_changes_follow() {
    let org = Fake::start(Org { polls: 3, ..Org::default() });
    let mut road = road(&org, "bulk = 100");
    let text = super::config(&org, "bulk = 100");
    let batch = "[sink.crm]\nbatch = { max_events = 1000, max_wait = \"500ms\" }";
    road.configure(&text.replace("[sink.crm]\n", &format!("{batch}\n")));
    // Numbers come back as texts from a CSV.
    road.sql("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, 900) g");
    road.start();
    road.sql("UPDATE t SET name = 'x' WHERE id < 10; DELETE FROM t WHERE id = 900");
    equal(&road, &org);
    let calls = org.state().calls.clone();
    assert!(calls.iter().any(|call| call.starts_with("job ")), "{calls:?}");
}
