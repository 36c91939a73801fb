//! Standard Webhooks signatures: HMAC-SHA256 over id, time and body.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

use crate::secret::Secret;

/// What the specification asks of a secret, in bytes.
const SECRET_BYTES_MIN: usize = 24;

/// One or more keys: during rotation a body is signed with each.
#[derive(Clone, Debug)]
pub(super) struct Signer {
    keys: Vec<hmac::Key>,
}

/// Why a `signing_secret` can't be used. Never holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No prefix.
    #[error("a signing secret starts with `whsec_`")]
    Prefix,
    /// Not base64.
    #[error("what follows `whsec_` is not base64")]
    Base64,
    /// Too short.
    #[error(
        "a signing secret has at least 24 bytes; make one: echo whsec_$(openssl rand -base64 32)"
    )]
    Short,
}

impl Signer {
    /// Reads the secrets; none means that nothing is signed.
    pub(super) fn new(secrets: &[Secret]) -> Result<Option<Self>, SecretError> {
        let keys: Vec<_> = secrets.iter().map(key).collect::<Result<_, _>>()?;
        Ok((!keys.is_empty()).then_some(Self { keys }))
    }

    /// Returns the `webhook-signature` header: `v1,BASE64` a key, with spaces between.
    pub(super) fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let head = format!("{id}.{unix_seconds}.");
        let mut text = String::new();
        for key in &self.keys {
            let mut context = hmac::Context::with_key(key);
            context.update(head.as_bytes());
            context.update(body);
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str("v1,");
            STANDARD.encode_string(context.sign().as_ref(), &mut text);
        }
        text
    }
}

fn key(secret: &Secret) -> Result<hmac::Key, SecretError> {
    let text = secret.expose().strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
    let bytes = STANDARD.decode(text).map_err(|_| SecretError::Base64)?;
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(SecretError::Short);
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own example.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_specifications_example_comes_out_the_same() {
        let signer = Signer::new(&[Secret::new(SECRET.into())]).unwrap().unwrap();
        assert_eq!(signer.sign(ID, 1_614_265_330, BODY), SIGNATURE);
    }

    #[test]
    fn during_rotation_a_body_is_signed_with_each_secret() {
        let other = Secret::new(format!("whsec_{}", STANDARD.encode([7; 32])));
        let signer = Signer::new(&[other, Secret::new(SECRET.into())]).unwrap().unwrap();
        let signatures = signer.sign(ID, 1_614_265_330, BODY);
        assert_eq!(signatures.split(' ').count(), 2);
        assert_eq!(signatures.split(' ').next_back(), Some(SIGNATURE));
    }

    #[test]
    fn a_secret_that_cannot_be_one_is_refused() {
        let read = |text: &str| Signer::new(&[Secret::new(text.into())]).map(|_| ());
        assert_eq!(read("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Err(SecretError::Prefix));
        assert_eq!(read("whsec_%%%"), Err(SecretError::Base64));
        assert_eq!(read("whsec_c2hvcnQ="), Err(SecretError::Short));
        assert!(Signer::new(&[]).unwrap().is_none());
    }
}
