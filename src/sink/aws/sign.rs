//! Signature Version 4: a request says who asks, and a proof of the secret that is not sent.
//!
//! All requests are a POST to `/` without a query, which leaves little of it.
//! Source: <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write as _;

use ring::{digest, hmac};

use super::credentials::Credentials;

/// What a signature is good for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    /// When: `20150830T123600Z`, as the header `x-amz-date` has it.
    pub(super) time: &'a str,
    /// Where.
    pub(super) region: &'a str,
    /// For whom: `sqs`, `events`.
    pub(super) service: &'a str,
}

/// Returns the value of `authorization`. `headers`: what is signed of them, `host` and
/// `x-amz-date` among it, names in lower case.
pub(super) fn authorization(
    headers: &[(&str, &str)],
    body: &[u8],
    scope: Scope<'_>,
    credentials: &Credentials,
) -> String {
    let Scope { time, region, service } = scope;
    let mut headers = headers.to_vec();
    headers.sort_unstable();
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    // Method, path, query.
    let mut request = "POST\n/\n\n".to_owned();
    for (name, value) in &headers {
        let _ = writeln!(request, "{name}:{}", value.trim());
    }
    let _ = write!(request, "\n{names}\n{}", sha256(body));
    let date = time.split('T').next().unwrap_or_default();
    let within = format!("{date}/{region}/{service}/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{within}\n{}", sha256(request.as_bytes()));
    let mut key = format!("AWS4{}", credentials.secret_access_key.expose()).into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = mac(&key, part).as_ref().to_vec();
    }
    let signature = hex(mac(&key, &text).as_ref());
    let id = &credentials.access_key_id;
    format!(
        "AWS4-HMAC-SHA256 Credential={id}/{within}, SignedHeaders={names}, Signature={signature}"
    )
}

fn mac(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

/// Returns the SHA-256 in hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    const TIME: &str = "20150830T123600Z";

    /// The published test suite of Signature Version 4.
    #[track_caller]
    fn check(more: &[(&str, &str)], body: &str, token: Option<&str>, names: &str, expected: &str) {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
            session_token: token.map(|token| Secret::new(token.to_owned())),
            end: None,
        };
        let headers = [&[("host", "example.amazonaws.com"), ("x-amz-date", TIME)], more].concat();
        let scope = Scope { time: TIME, region: "us-east-1", service: "service" };
        assert_eq!(
            authorization(&headers, body.as_bytes(), scope, &credentials),
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={expected}"
            )
        );
    }

    #[test]
    fn post_vanilla() {
        let signature = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
        check(&[], "", None, "host;x-amz-date", signature);
    }

    #[test]
    fn post_x_www_form_urlencoded() {
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        let form = [("content-type", "application/x-www-form-urlencoded")];
        check(&form, "Param1=value1", None, "content-type;host;x-amz-date", signature);
    }

    #[test]
    fn post_sts_token() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        let header = [("x-amz-security-token", token)];
        check(&header, "", Some(token), "host;x-amz-date;x-amz-security-token", signature);
    }
}
