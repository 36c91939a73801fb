//! What an answer of NATS means: contract section 4 in one place.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::{Error as ServerAnswer, ErrorCode};
use async_nats::{ConnectError, ConnectErrorKind, ServerError};
use tokio::time::Instant;

use crate::failure::{Category, chain};
use crate::sink::{Failure, lasting};

/// Why a message was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The stream answered no.
    Answered(ServerAnswer),
    /// Nobody listens to its subject: there is no such stream, or none that has a leader.
    NoStream,
    /// It is larger than the server takes.
    TooLarge,
    /// The connection is gone, or nothing comes in time.
    Broken,
    /// What came is no answer, or the message none that can be sent.
    Strange,
}

impl Refusal {
    pub(super) fn of(error: PublishError) -> Self {
        match error.kind() {
            PublishErrorKind::StreamNotFound => Self::NoStream,
            PublishErrorKind::MaxPayloadExceeded => Self::TooLarge,
            PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Self::Broken,
            PublishErrorKind::WrongLastMessageId
            | PublishErrorKind::WrongLastSequence
            | PublishErrorKind::MaxAckPending
            | PublishErrorKind::Other => {
                let source = std::error::Error::source(&error);
                match source.and_then(|source| source.downcast_ref::<ServerAnswer>()) {
                    Some(answer) => Self::Answered(answer.clone()),
                    None if is_closed(source) => Self::Broken,
                    None => Self::Strange,
                }
            }
        }
    }
}

/// Whether the client has ended: what it is told goes nowhere.
fn is_closed(source: Option<&(dyn std::error::Error + 'static)>) -> bool {
    source.is_some_and(|source| source.to_string().contains("closed"))
}

/// Sorts an answer of JetStream by its code; those that are not named, by its status.
pub(super) const fn category(code: ErrorCode, status: usize) -> Category {
    match code {
        // Full, by its own limits or the server's: there is room again once something is read
        // or removed, and nothing is wrong with the event.
        ErrorCode::STREAM_STORE_FAILED
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::MEMORY_RESOURCES_EXCEEDED => Category::Throttled,
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM => Category::Rejected,
        ErrorCode::STREAM_NOT_MATCH
        | ErrorCode::STREAM_NOT_FOUND
        | ErrorCode::STREAM_SEALED
        | ErrorCode::NO_ACCOUNT
        | ErrorCode::JETSTREAM_NOT_ENABLED
        | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Category::Setup,
        _ => match status {
            401 | 403 | 404 => Category::Setup,
            400..=499 => Category::Rejected,
            _ => Category::Transient,
        },
    }
}

/// Says what an answer of JetStream means.
pub(super) fn refused(answer: &ServerAnswer, host: &str) -> Failure {
    let code = answer.error_code();
    // The description is the server's own and holds no values.
    let message = format!("{host} refused it: {answer}");
    let status = u16::try_from(code.0).ok();
    Failure { status, ..Failure::new(category(code, answer.code()), message) }
}

/// Says why there is no connection. `lasting` remembers names and certificates that fail.
pub(super) fn unconnected(
    error: &ConnectError,
    host: &str,
    lasting: &lasting::Lasting,
    now: Instant,
) -> Failure {
    let is_of_names = matches!(error.kind(), ConnectErrorKind::Dns | ConnectErrorKind::Tls)
        || lasting::is_of_tls(error);
    if !is_of_names {
        lasting.over();
    }
    let category = match error.kind() {
        _ if is_of_names => lasting.failed(now),
        ConnectErrorKind::ServerParse
        | ConnectErrorKind::Authentication
        | ConnectErrorKind::AuthorizationViolation => Category::Setup,
        ConnectErrorKind::Io if is_of_credentials(error) => Category::Setup,
        ConnectErrorKind::Dns
        | ConnectErrorKind::Tls
        | ConnectErrorKind::TimedOut
        | ConnectErrorKind::Io
        | ConnectErrorKind::MaxReconnects => Category::Transient,
    };
    Failure::new(category, format!("{host}: can't connect: {}", chain(error)))
}

/// Whether the server does not know who asks, in other words than `Authorization Violation`.
fn is_of_credentials(error: &ConnectError) -> bool {
    let source = std::error::Error::source(error);
    let Some(ServerError::Other(text)) = source.and_then(|source| source.downcast_ref()) else {
        return false;
    };
    let text = text.to_ascii_lowercase();
    ["expired", "revoked", "account", "user authentication"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[(u64, usize)], expected: Category) {
        for (code, status) in codes {
            assert_eq!(category(ErrorCode(*code), *status), expected, "{code} {status}");
        }
    }

    #[test]
    fn every_answer_of_jetstream_is_sorted() {
        // A full store, storage, memory and account.
        check(&[(10077, 503), (10047, 500), (10023, 503), (10002, 400)], Category::Throttled);
        check(&[(10028, 500)], Category::Throttled);
        // No leader, no peers, offline.
        check(&[(10008, 503), (10005, 400 + 100), (10118, 500)], Category::Transient);
        // Too large, an id that it can't keep.
        check(&[(10054, 400), (10111, 400)], Category::Rejected);
        // Another stream, none, JetStream off, sealed.
        check(&[(10060, 400), (10059, 404), (10076, 503), (10039, 503)], Category::Setup);
        check(&[(10109, 400), (10035, 503), (1, 401), (1, 403)], Category::Setup);
    }

    #[test]
    fn a_publish_that_failed_is_told_apart() {
        let of = |kind| Refusal::of(PublishError::new(kind));
        assert!(matches!(of(PublishErrorKind::StreamNotFound), Refusal::NoStream));
        assert!(matches!(of(PublishErrorKind::MaxPayloadExceeded), Refusal::TooLarge));
        assert!(matches!(of(PublishErrorKind::BrokenPipe), Refusal::Broken));
        assert!(matches!(of(PublishErrorKind::TimedOut), Refusal::Broken));
        assert!(matches!(of(PublishErrorKind::Other), Refusal::Strange));
        let answer: ServerAnswer =
            serde_json::from_str(r#"{"code":503,"err_code":10077,"description":"full"}"#).unwrap();
        let error = PublishError::with_source(PublishErrorKind::Other, answer);
        let Refusal::Answered(answer) = Refusal::of(error) else { panic!("it was answered") };
        let failure = refused(&answer, "h:1");
        assert_eq!((failure.category, failure.status), (Category::Throttled, Some(10077)));
        assert!(failure.message.starts_with("h:1 refused it: full"), "{}", failure.message);
    }

    #[test]
    fn who_is_not_known_is_a_matter_of_the_setup() {
        let lasting = lasting::Lasting::default();
        let now = tokio::time::Instant::now();
        let of = |error: &ConnectError| unconnected(error, "h:1", &lasting, now).category;
        let violation = ConnectError::new(ConnectErrorKind::AuthorizationViolation);
        assert_eq!(of(&violation), Category::Setup);
        let said = |text: &str| {
            ConnectError::with_source(ConnectErrorKind::Io, ServerError::Other(text.to_owned()))
        };
        assert_eq!(of(&said("User Authentication Expired")), Category::Setup);
        assert_eq!(of(&said("maximum connections exceeded")), Category::Transient);
        assert_eq!(of(&ConnectError::new(ConnectErrorKind::TimedOut)), Category::Transient);
        assert_eq!(of(&ConnectError::new(ConnectErrorKind::Dns)), Category::Transient);
    }
}
