//! What Kafka's codes mean.
//!
//! Source: <https://kafka.apache.org/protocol#protocol_error_codes>; those below 0 are librdkafka's.

use rdkafka::types::RDKafkaErrorCode as Code;

use crate::failure::Category;

/// Sorts a code. `is_fixed`: the topic is the same for every event.
pub(super) fn category(code: Code, is_fixed: bool) -> Category {
    match code {
        Code::MessageSizeTooLarge
        | Code::InvalidMessageSize
        | Code::MessageBatchTooLarge
        | Code::InvalidRecord
        | Code::InvalidTimestamp => Category::Rejected,
        Code::InvalidTopic | Code::UnknownTopic | Code::UnknownTopicOrPartition => {
            if is_fixed { Category::Setup } else { Category::Rejected }
        }
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SecurityDisabled
        | Code::TopicAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::InvalidTransactionTimeout
        | Code::InvalidRequiredAcks
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::UnsupportedForMessageFormat
        | Code::UnsupportedCompressionType
        // Another has taken the transactional id: who goes on would take it from that one again.
        | Code::Fenced
        | Code::ProducerFenced => Category::Setup,
        Code::ThrottlingQuotaExceeded | Code::PolicyViolation => Category::Throttled,
        _ => Category::Transient,
    }
}

/// Whether a broker says so of a whole set of messages for the sake of one that is in it.
pub(super) const fn is_of_set(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessageSize
            | Code::MessageBatchTooLarge
            | Code::InvalidRecord
            | Code::InvalidDifferentRecord
            | Code::InvalidTimestamp
    )
}

/// Whether librdkafka goes on saying so for minutes, whatever becomes of it meanwhile.
pub(super) fn sticks(code: Code, is_fixed: bool) -> bool {
    let is_topics = matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition);
    is_topics || category(code, is_fixed) == Category::Setup
}

/// Whether a connection that never comes to be is for a person to mend, once waiting was in vain.
/// `text` is what librdkafka says: where TLS breaks off at once, it has the code of any connection
/// that breaks, and only OpenSSL's words tell.
pub(super) fn lasts(code: Code, text: &str) -> bool {
    matches!(code, Code::Authentication | Code::SSL | Code::Resolve)
        || text.contains(":SSL routines:")
}

/// Returns the protocol's own number; none of librdkafka's codes.
pub(super) fn number(code: Code) -> Option<u16> {
    u16::try_from(code as i32).ok().filter(|number| *number > 0)
}
