//! Standard Webhooks signatures: HMAC-SHA256 or ed25519 over id, time and body.
//!
//! Source: <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;

use crate::secret::Secret;

/// What the specification asks of a secret, in bytes.
const SECRET_BYTES_MIN: usize = 24;

/// What an ed25519 key is made of, in bytes; it may be followed by the public key.
const SEED_BYTES: usize = 32;
const PAIR_BYTES: usize = 64;

/// One or more keys: during rotation a body is signed with each.
#[derive(Debug)]
pub(super) struct Signer {
    keys: Vec<Key>,
}

/// A key, by what its secret begins with.
#[derive(Debug)]
enum Key {
    /// `whsec_`: both sides have it.
    Shared(hmac::Key),
    /// `whsk_`: the receiver has the public half (`whpk_`).
    Private(Box<Ed25519KeyPair>),
}

/// Why a `signing_secret` can't be used. Never holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// No prefix.
    #[error("a signing secret starts with `whsec_`, an ed25519 key with `whsk_`")]
    Prefix,
    /// Not base64.
    #[error("what follows `whsec_` or `whsk_` is not base64")]
    Base64,
    /// Too short.
    #[error(
        "a signing secret has at least 24 bytes; make one: echo whsec_$(openssl rand -base64 32)"
    )]
    Short,
    /// No ed25519 key.
    #[error("an ed25519 key has 32 bytes, or 64 with its public key behind it")]
    KeyPair,
}

impl Signer {
    /// Reads the secrets; none means that nothing is signed.
    pub(super) fn new(secrets: &[Secret]) -> Result<Option<Self>, SecretError> {
        let keys: Vec<_> = secrets.iter().map(key).collect::<Result<_, _>>()?;
        Ok((!keys.is_empty()).then_some(Self { keys }))
    }

    /// Returns the `webhook-signature` header: `v1,BASE64` a shared key, `v1a,BASE64` an ed25519
    /// one, with spaces between.
    pub(super) fn sign(&self, id: &str, unix_seconds: u64, body: &[u8]) -> String {
        let head = format!("{id}.{unix_seconds}.");
        let mut text = String::new();
        for key in &self.keys {
            if !text.is_empty() {
                text.push(' ');
            }
            match key {
                Key::Shared(key) => {
                    let mut context = hmac::Context::with_key(key);
                    context.update(head.as_bytes());
                    context.update(body);
                    text.push_str("v1,");
                    STANDARD.encode_string(context.sign().as_ref(), &mut text);
                }
                Key::Private(key) => {
                    let message = [head.as_bytes(), body].concat();
                    text.push_str("v1a,");
                    STANDARD.encode_string(key.sign(&message).as_ref(), &mut text);
                }
            }
        }
        text
    }
}

fn key(secret: &Secret) -> Result<Key, SecretError> {
    let decode = |text: &str| STANDARD.decode(text).map_err(|_| SecretError::Base64);
    if let Some(text) = secret.expose().strip_prefix("whsk_") {
        return pair(&decode(text)?);
    }
    let text = secret.expose().strip_prefix("whsec_").ok_or(SecretError::Prefix)?;
    let bytes = decode(text)?;
    if bytes.len() < SECRET_BYTES_MIN {
        return Err(SecretError::Short);
    }
    Ok(Key::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
}

/// Reads a seed, or a seed with its public key behind it, which must be its own.
fn pair(bytes: &[u8]) -> Result<Key, SecretError> {
    let pair = match bytes.len() {
        SEED_BYTES => Ed25519KeyPair::from_seed_unchecked(bytes),
        PAIR_BYTES => {
            let (seed, public) = bytes.split_at(SEED_BYTES);
            Ed25519KeyPair::from_seed_and_public_key(seed, public)
        }
        _ => return Err(SecretError::KeyPair),
    };
    pair.map(Box::new).map(Key::Private).map_err(|_| SecretError::KeyPair)
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
    fn an_ed25519_key_signs_what_its_public_half_verifies() {
        let seed = [9_u8; SEED_BYTES];
        let public = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        let public = ring::signature::KeyPair::public_key(&public).as_ref().to_vec();
        for bytes in [seed.to_vec(), [&seed[..], &public].concat()] {
            let secret = Secret::new(format!("whsk_{}", STANDARD.encode(bytes)));
            let both = [secret, Secret::new(SECRET.into())];
            let signer = Signer::new(&both).unwrap().unwrap();
            let signatures = signer.sign(ID, 1_614_265_330, BODY);
            let (own, shared) = signatures.split_once(' ').unwrap();
            assert_eq!(shared, SIGNATURE);
            let own = STANDARD.decode(own.strip_prefix("v1a,").unwrap()).unwrap();
            let message = [format!("{ID}.1614265330.").as_bytes(), BODY].concat();
            let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &public);
            assert!(key.verify(&message, &own).is_ok());
        }
    }

    #[test]
    fn a_secret_that_cannot_be_one_is_refused() {
        let read = |text: &str| Signer::new(&[Secret::new(text.into())]).map(|_| ());
        assert_eq!(read("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), Err(SecretError::Prefix));
        assert_eq!(read("whsec_%%%"), Err(SecretError::Base64));
        assert_eq!(read("whsec_c2hvcnQ="), Err(SecretError::Short));
        assert_eq!(read("whsk_c2hvcnQ="), Err(SecretError::KeyPair));
        let foreign = format!("whsk_{}", STANDARD.encode([7; PAIR_BYTES]));
        assert_eq!(read(&foreign), Err(SecretError::KeyPair));
        assert!(Signer::new(&[]).unwrap().is_none());
    }
}
