//! What the codes of Amazon's services mean: contract section 4 in their words.

use serde::Deserialize;

use super::xml;
use crate::failure::Category;

/// What a service says of what it did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// `AccessDeniedException`
    pub(super) code: String,
    /// In words; may have values of the event.
    pub(super) message: String,
    /// Whose fault it is, where that is told: the sender's.
    pub(super) is_senders: Option<bool>,
}

/// What a code asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What the contract has a word for.
    Is(Category),
    /// The credentials have ended.
    Ended,
    /// The clock here is not the one there.
    Skewed,
}

#[derive(Deserialize)]
struct Json {
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

impl Said {
    /// Reads the answer to a request that was not taken: JSON, or XML where the service or
    /// whoever stands before it speaks that. `header`: that of the code, where there is one.
    pub(super) fn read(body: &[u8], header: Option<&str>) -> Option<Self> {
        let text = str::from_utf8(body).unwrap_or_default();
        let json: Option<Json> = serde_json::from_str(text).ok();
        let (code, message) = match json {
            Some(json) => (json.code, json.message),
            None => (
                xml::element(text, "Code").map(str::to_owned),
                xml::element(text, "Message").map(str::to_owned),
            ),
        };
        let code = code.or_else(|| header.map(str::to_owned))?;
        // `com.amazonaws.sqs#QueueDoesNotExist`, `ThrottlingException:http://…`.
        let code = code.rsplit('#').next().unwrap_or_default();
        let code = code.split(':').next().unwrap_or_default();
        let message = message.unwrap_or_default();
        (!code.is_empty()).then(|| Self { code: code.to_owned(), message, is_senders: None })
    }

    /// Returns what it means; none where the code is not known here.
    pub(super) fn meaning(&self) -> Option<Meaning> {
        // There is no code of its own for it.
        let signed_then = ["Signature expired", "Signature not yet current"];
        if signed_then.iter().any(|words| self.message.contains(words)) {
            return Some(Meaning::Skewed);
        }
        meaning(&self.code)
    }

    /// Returns what it means for one entry of a request that was taken.
    pub(super) fn of_entry(&self) -> Category {
        match self.meaning() {
            Some(Meaning::Is(category)) => category,
            Some(Meaning::Ended | Meaning::Skewed) => Category::Setup,
            None if self.is_senders == Some(true) => Category::Rejected,
            None => Category::Transient,
        }
    }

    /// Whether the rights for the request are missing, and not those to ask at all.
    pub(super) fn is_denied(&self) -> bool {
        matches!(
            self.code.as_str(),
            "AccessDenied"
                | "AccessDeniedException"
                | "AuthorizationError"
                | "AuthorizationErrorException"
                | "UnauthorizedOperation"
        )
    }
}

// Sources: the error types of each service's API reference, and those that all have in common.

const ENDED: &[&str] = &["ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"];

const SKEWED: &[&str] = &["RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"];

const THROTTLED: &[&str] = &[
    "Throttled",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "SlowDown",
    "KMSThrottling",
    "KMSThrottlingException",
    "KmsThrottled",
    // Of Firehose: its limits may have been exceeded; back off.
    "ServiceUnavailableException",
];

const TRANSIENT: &[&str] = &[
    "InternalError",
    "InternalFailure",
    "InternalFailureException",
    "InternalErrorException",
    "InternalException",
    "InternalServerError",
    "ServiceUnavailable",
    "RequestTimeout",
    "RequestTimeoutException",
    "PriorRequestNotComplete",
    // Of STS: whoever issued the token could not be asked.
    "IDPCommunicationError",
];

const SETUP: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "AuthorizationError",
    "AuthorizationErrorException",
    "UnauthorizedOperation",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "InvalidSecurity",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "NotAuthorizedForSource",
    "NotAuthorizedForSourceException",
    "NotAuthorizedForDetailType",
    "NotAuthorizedForDetailTypeException",
    "OptInRequired",
    "UnrecognizedClientException",
    "InvalidAction",
    "UnknownOperationException",
    "UnsupportedOperation",
    "AWS.SimpleQueueService.NonExistentQueue",
    "AWS.SimpleQueueService.UnsupportedOperation",
    "QueueDoesNotExist",
    "QueueDeletedRecently",
    "InvalidAddress",
    "NotFound",
    "NotFoundException",
    "EndpointDisabled",
    "ResourceNotFoundException",
    "InvalidAccountIdException",
    "InvalidKMSResourceException",
    // Of Firehose: a stream that reads from elsewhere takes nothing.
    "InvalidSourceException",
];

const REJECTED: &[&str] = &[
    "BatchRequestTooLong",
    "AWS.SimpleQueueService.BatchRequestTooLong",
    "InvalidArgument",
    "InvalidArgumentException",
    "InvalidMessageContents",
    "InvalidParameter",
    "InvalidParameterException",
    "InvalidParameterValue",
    "MalformedDetail",
    "ParameterValueInvalid",
    "RedactionFailure",
    "SerializationException",
    "ValidationError",
    "ValidationException",
];

fn meaning(code: &str) -> Option<Meaning> {
    let rows = [
        (ENDED, Meaning::Ended),
        (SKEWED, Meaning::Skewed),
        (THROTTLED, Meaning::Is(Category::Throttled)),
        (TRANSIENT, Meaning::Is(Category::Transient)),
        (SETUP, Meaning::Is(Category::Setup)),
        (REJECTED, Meaning::Is(Category::Rejected)),
    ];
    let found = rows.into_iter().find(|(codes, _)| codes.contains(&code));
    // A key that is disabled, or may not be used.
    let is_of_key = code.starts_with("KMS") || code.starts_with("Kms");
    let of_key = is_of_key.then_some(Meaning::Is(Category::Setup));
    found.map(|(_, meaning)| meaning).or(of_key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, header: Option<&str>, code: &str, expected: Option<Meaning>) {
        let said = Said::read(body.as_bytes(), header).unwrap();
        assert_eq!((said.code.as_str(), said.meaning()), (code, expected), "{body}");
    }

    #[test]
    fn codes_are_read_from_each_form_of_answer() {
        let setup = Some(Meaning::Is(Category::Setup));
        let json = r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}"#;
        check(json, None, "QueueDoesNotExist", setup);
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>NotFound</Code></Error></ErrorResponse>";
        check(xml, None, "NotFound", setup);
        let throttled = Some(Meaning::Is(Category::Throttled));
        check("{}", Some("ThrottlingException:http://x/"), "ThrottlingException", throttled);
        check("", Some("Neverheard"), "Neverheard", None);
        for body in ["", "<html>", "[]", "{}"] {
            assert_eq!(Said::read(body.as_bytes(), None), None, "{body}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_known_by_its_words_too() {
        let body = r#"{"__type":"InvalidSignatureException","message":"Signature expired: 1 is now earlier than 2"}"#;
        check(body, None, "InvalidSignatureException", Some(Meaning::Skewed));
        check(
            r#"{"__type":"RequestTimeTooSkewed"}"#,
            None,
            "RequestTimeTooSkewed",
            Some(Meaning::Skewed),
        );
        check(
            r#"{"__type":"ExpiredTokenException"}"#,
            None,
            "ExpiredTokenException",
            Some(Meaning::Ended),
        );
    }

    #[test]
    fn an_entry_blames_whom_its_code_blames_and_else_who_is_told() {
        let of = |code: &str, is_senders| {
            Said { code: code.to_owned(), message: String::new(), is_senders }.of_entry()
        };
        assert_eq!(of("InvalidMessageContents", Some(true)), Category::Rejected);
        assert_eq!(of("AccessDenied", Some(true)), Category::Setup);
        assert_eq!(of("KmsDisabled", Some(true)), Category::Setup);
        assert_eq!(of("KmsThrottled", Some(true)), Category::Throttled);
        assert_eq!(of("Neverheard", Some(true)), Category::Rejected);
        assert_eq!(of("Neverheard", Some(false)), Category::Transient);
        assert_eq!(of("Neverheard", None), Category::Transient);
        assert_eq!(of("ExpiredToken", None), Category::Setup);
    }
}
