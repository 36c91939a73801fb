//! The `pubsub` sink: through a real pipeline to Google's emulator, or a stand-in where that is not
//! installed, read back with Google's own client; and what each answer means, from the stand-in.

mod answers;
pub(crate) mod far;
mod login;
mod order;
mod pipeline;

use std::time::Duration;

use walgate::sink::pubsub::Config;
use walgate::sink::web::Reach;
use walgate::sink::{self, Common, Sink};

use super::COMMON;
use super::fakes::Fake;
use super::fakes::pubsub::PubSub;

const TOPIC: &str = "projects/walgate-test/topics/orders";

const PATIENT: Common = Common { timeout: Duration::from_secs(10), max_events: 500, ..COMMON };

/// A stand-in with the topic.
fn service() -> Fake<PubSub> {
    let service = Fake::start(PubSub::default());
    service.state().topics.insert(TOPIC.to_owned(), None);
    service
}

/// Settings of a sink that is called without a pipeline.
fn settings(service: &Fake<PubSub>) -> Config {
    Config {
        topic: TOPIC.to_owned(),
        ordering: true,
        ordering_key: None,
        attributes: Vec::new(),
        binary: false,
        credentials: None,
        endpoint: Some(service.url()),
        reach: Reach::default(),
    }
}

fn build(config: Config) -> Box<dyn Sink> {
    sink::build("far", &sink::Config::PubSub(Box::new(config)), &PATIENT).unwrap()
}
