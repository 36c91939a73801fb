//! What goes in one request, in which order, and what becomes of the rest of a batch where some of
//! it fails.

use serde_json::Value;
use walgate::chunk::Operation;
use walgate::failure::Category;
use walgate::sink::pubsub::Config;
use walgate::sink::{Answer, Batch};

use super::super::fakes::Fake;
use super::super::fakes::pubsub::{PubSub, error};
use super::super::{batch, envelope};
use super::{TOPIC, build, service, settings};

/// Events of these keys, in order, each with its place.
fn of_keys(keys: &[u32]) -> Batch {
    let event = |(place, key): (usize, &u32)| {
        let mut event = envelope(Operation::Update, *key, &format!("{{\"place\":{place}}}"));
        event.key_hash = u64::from(*key);
        event
    };
    Batch { events: keys.iter().enumerate().map(event).collect(), replay: 0 }
}

/// The places of what was published, request by request.
fn places(service: &Fake<PubSub>) -> Vec<Vec<u64>> {
    let place = |data: &String| {
        let body: Value = serde_json::from_str(data).unwrap();
        body["data"]["place"].as_u64().unwrap()
    };
    service.state().published.iter().map(|(_, all)| all.iter().map(place).collect()).collect()
}

#[track_caller]
fn categories(answer: Answer) -> Vec<Option<Category>> {
    match answer {
        Answer::PerEvent(each) => {
            each.into_iter().map(|one| one.err().map(|failure| failure.category)).collect()
        }
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_has_one_ordering_key() {
    let service = service();
    let sink = build(settings(&service));
    assert_eq!(sink.deliver(&of_keys(&[1, 2, 1, 3, 1, 2])).await, Answer::Acknowledged);
    let mut published = places(&service);
    published.sort_unstable();
    assert_eq!(published, [vec![0, 2, 4], vec![1, 5], vec![3]]);
    let keys: Vec<Option<String>> =
        service.state().published.iter().map(|(key, _)| key.clone()).collect();
    assert!(keys.contains(&Some(r#"{"id":3}"#.to_owned())), "{keys:?}");
}

#[tokio::test]
async fn without_ordering_a_request_has_what_it_can_hold() {
    let service = service();
    let sink = build(Config { ordering: false, ..settings(&service) });
    assert_eq!(sink.deliver(&batch(0..2500)).await, Answer::Acknowledged);
    let mut sizes: Vec<usize> =
        service.state().published.iter().map(|(_, data)| data.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [500, 1000, 1000]);
    service.state().published.clear();
    // 10 MB of a body, base64 counted.
    let large = (0..5).map(|id| {
        envelope(Operation::Insert, id, &format!("{{\"a\":\"{}\"}}", "x".repeat(3_000_000)))
    });
    let large = Batch { events: large.collect(), replay: 0 };
    assert_eq!(sink.deliver(&large).await, Answer::Acknowledged);
    let sizes: Vec<usize> = service.state().published.iter().map(|(_, data)| data.len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 5);
    assert!(sizes.iter().all(|size| *size <= 2), "{sizes:?}");
}

#[tokio::test]
async fn a_changed_key_and_a_truncate_are_in_order_with_what_is_before_and_behind() {
    let service = service();
    let sink = build(settings(&service));
    let mut batch = of_keys(&[1, 2, 2, 1, 2, 3, 3]);
    batch.events[2].before_key_hash = Some(1);
    batch.events[5].operation = Operation::Truncate;
    assert_eq!(sink.deliver(&batch).await, Answer::Acknowledged);
    let published = places(&service);
    let at = |place: u64| {
        let request = published.iter().position(|request| request.contains(&place)).unwrap();
        (request, published[request].iter().position(|known| *known == place))
    };
    assert!(at(0) < at(2) && at(1) < at(2) && at(2) < at(3) && at(2) < at(4), "{published:?}");
    assert!((0..5).all(|before| at(before) < at(5)) && at(5) < at(6), "{published:?}");
}

#[tokio::test]
async fn a_part_that_is_down_holds_its_own_keys_alone() {
    let service = service();
    let sink =
        build(Config { ordering_key: Some("k{{ key.id }}".to_owned()), ..settings(&service) });
    service.state().down.insert("k2".to_owned());
    let told = categories(sink.deliver(&of_keys(&[1, 2, 3, 2, 1])).await);
    let down = Some(Category::Transient);
    assert_eq!(told, [None, down, None, down, None]);
    // What changes into another key waits too, and what comes behind that.
    service.state().published.clear();
    let mut batch = of_keys(&[1, 2, 3, 3, 4]);
    batch.events[2].before_key_hash = Some(2);
    let told = categories(sink.deliver(&batch).await);
    assert_eq!(told, [None, down, down, down, None]);
    let mut published = places(&service);
    published.sort_unstable();
    assert_eq!(published, [[0], [4]]);
}

#[tokio::test]
async fn what_is_wrong_with_all_stops_the_rest() {
    let service = service();
    let sink = build(settings(&service));
    for (http, status, category) in [
        (429, "RESOURCE_EXHAUSTED", Category::Throttled),
        (403, "PERMISSION_DENIED", Category::Setup),
        (503, "UNAVAILABLE", Category::Transient),
    ] {
        let all = (0..40).map(|_| error(http, status, "m"));
        service.state().next.extend(all);
        let Answer::Failed(failure) = sink.deliver(&batch(0..400)).await else { unreachable!() };
        assert_eq!(failure.category, category);
        let asked = 40 - service.state().next.len();
        assert!(asked < 40, "{status}: more is begun after {asked}");
        service.state().next.clear();
    }
    assert!(service.state().published.is_empty());
}

#[tokio::test]
async fn the_one_at_fault_is_found_and_what_is_behind_it_comes_again() {
    let service = service();
    service.state().topics.insert(TOPIC.to_owned(), Some("\"place\":5}"));
    let sink = build(Config { ordering: false, ..settings(&service) });
    let told = categories(sink.deliver(&of_keys(&[1, 2, 3, 1, 2, 3, 1, 2, 3, 4])).await);
    let (rejected, later) = (Some(Category::Rejected), Some(Category::Throttled));
    let mut expected = vec![None; 10];
    (expected[5], expected[8]) = (rejected, later);
    assert_eq!(told, expected);
    // The same where all are of one ordering key.
    let sink = build(settings(&service));
    let told = categories(sink.deliver(&of_keys(&[1, 1, 1, 1, 1, 1, 1, 2])).await);
    assert_eq!(told, [None, None, None, None, None, rejected, later, None]);
}
