//! Amazon's services: through a real pipeline to moto's servers of them, read back with Amazon's
//! own client; and what each answer means, from a server that says what it is told to.

mod codes;
mod credentials;
mod examples;
mod far;
mod pipeline;

use walgate::secret::Secret;
use walgate::sink::aws::{Config, Identity, Target};
use walgate::sink::web::Reach;

use crate::support::receiver::Receiver;

/// A target at a server of the test.
fn config(target: Target, receiver: &Receiver) -> Config {
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    Config {
        target,
        region: Some("eu-central-1".to_owned()),
        endpoint: Some(receiver.url("")),
        identity: Identity {
            access_key_id: secret("AKIDEXAMPLE"),
            secret_access_key: secret("the secret of this test"),
            session_token: secret("the token of this test"),
            profile: None,
        },
        reach: Reach::default(),
    }
}
