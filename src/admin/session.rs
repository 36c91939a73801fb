//! Sessions of browsers, which can't send the token with each question: a cookie that says until
//! when it holds, signed (pure).

use std::fmt;

use axum::http::HeaderMap;
use axum::http::header::COOKIE;
use ring::hmac;

use crate::secret::Secret;

/// The cookie's name.
const NAME: &str = "walgate_session";
/// How long a session holds, in seconds.
pub(super) const HOLDS: i64 = 12 * 3600;
/// What a key is for, so that no other signature with the token is taken for a session.
const PURPOSE: &[u8] = b"walgate console session";

/// Makes and knows sessions of one token.
pub(super) struct Sessions(hmac::Key);

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Sessions {
    pub(super) fn new(token: &Secret) -> Self {
        let token = hmac::Key::new(hmac::HMAC_SHA256, token.expose().as_bytes());
        let key = hmac::sign(&token, PURPOSE);
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// Returns the `set-cookie` of a session that begins now, in seconds since 1970.
    pub(super) fn begin(&self, now: i64) -> String {
        let until = (now + HOLDS).to_string();
        let tag = hex(hmac::sign(&self.0, until.as_bytes()).as_ref());
        format!("{NAME}={until}.{tag}; Path=/; Max-Age={HOLDS}; HttpOnly; SameSite=Strict")
    }

    /// Returns the `set-cookie` that ends one.
    pub(super) fn end() -> String {
        format!("{NAME}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict")
    }

    /// Whether a request carries a session that still holds.
    pub(super) fn holds(&self, headers: &HeaderMap, now: i64) -> bool {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut values = cookies
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().strip_prefix(NAME)?.strip_prefix('='));
        values.any(|value| self.is_good(value, now))
    }

    fn is_good(&self, value: &str, now: i64) -> bool {
        let Some((until, tag)) = value.split_once('.') else { return false };
        let is_open = until.parse::<i64>().is_ok_and(|until| until > now);
        let Some(tag) = bytes(tag) else { return false };
        is_open && hmac::verify(&self.0, until.as_bytes(), &tag).is_ok()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(value: &str) -> HeaderMap {
        [(COOKIE, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_holds_until_its_end_and_with_its_own_token_alone() {
        let of = |token: &str| Sessions::new(&Secret::new(token.to_owned()));
        let sessions = of("s3cret");
        let set = sessions.begin(1_000);
        let value = set.split_once(';').unwrap().0;
        assert!(sessions.holds(&cookie(value), 1_000));
        assert!(sessions.holds(&cookie(&format!("a=b; {value}; c=d")), 1_000 + HOLDS - 1));
        assert!(!sessions.holds(&cookie(value), 1_000 + HOLDS));
        assert!(!of("other").holds(&cookie(value), 1_000));
        let longer = value.replacen("44200.", "99999.", 1);
        assert_ne!(longer, value);
        assert!(!sessions.holds(&cookie(&longer), 1_000));
        for wrong in ["", "walgate_session=", "walgate_session=1.zz", "walgate_session=44200"] {
            assert!(!sessions.holds(&cookie(wrong), 0), "{wrong}");
        }
        assert!(!sessions.holds(&cookie(Sessions::end().split_once(';').unwrap().0), 0));
    }
}
