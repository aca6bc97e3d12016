//! Sealing of journal and state payloads that hold names, card serials or lock-server answers.
//!
//! ChaCha20-Poly1305 with a random nonce in front of the ciphertext. The purpose of a payload is its associated data, so
//! that one kind of sealed bytes cannot stand in for another. Fingerprints are HMAC-SHA-256 under a key of their own, made
//! from the same state key. The key never leaves this type.

use std::fmt;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of the state key in bytes.
pub const KEY_BYTES: usize = 32;

/// Sealing or opening failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SealError {
    /// The system's random source failed.
    #[error("no random bytes for a nonce")]
    Random,
    /// The bytes were not sealed with this key for this purpose.
    #[error("sealed bytes do not open with this state key (another machine's state, or damage)")]
    Opening,
}

/// Seals and opens with one state key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(std::sync::Arc<Keys>);

struct Keys {
    sealing: LessSafeKey,
    fingerprints: hmac::Key,
}

impl Sealer {
    /// Takes the state key in use.
    ///
    /// # Panics
    /// Never: a ChaCha20-Poly1305 key has exactly [`KEY_BYTES`] bytes.
    #[expect(clippy::expect_used, reason = "the array type fixes the only length that could be refused")]
    pub fn new(key: &Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()), b"lockbridge fingerprints");
        let fingerprints = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        let key = UnboundKey::new(&CHACHA20_POLY1305, key.as_slice()).expect("32 bytes are a key");
        Self(std::sync::Arc::new(Keys { sealing: LessSafeKey::new(key), fingerprints }))
    }

    /// Seals `plain` for `purpose`.
    pub fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::Random)?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + CHACHA20_POLY1305.tag_len());
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = self
            .0
            .sealing
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(purpose.as_bytes()),
                &mut sealed[NONCE_LEN..],
            )
            .map_err(|_| SealError::Random)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`seal`](Self::seal) made for the same `purpose`.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Opening)?;
        let mut plain = rest.to_vec();
        let length = self
            .0
            .sealing
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(purpose.as_bytes()), &mut plain)
            .map_err(|_| SealError::Opening)?
            .len();
        plain.truncate(length);
        Ok(plain)
    }

    /// A hash of `value` that only this state key makes: equal values can be recognized, and nobody else can test a guess.
    pub fn fingerprint(&self, purpose: &str, value: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0.fingerprints);
        // The length keeps purpose and value apart.
        context.update(&u64::try_from(purpose.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(purpose.as_bytes());
        context.update(value);
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.sign().as_ref());
        fingerprint
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Sealer(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_key_and_purpose_and_whole() {
        let sealer = Sealer::new(&Zeroizing::new([1; KEY_BYTES]));
        let bytes = sealer.seal("report", b"Jane Doe").expect("seals");
        assert!(!bytes.windows(4).any(|window| window == b"Jane"));
        assert_eq!(sealer.open("report", &bytes).as_deref(), Ok(b"Jane Doe".as_slice()));
        assert_eq!(sealer.open("command", &bytes), Err(SealError::Opening));
        assert_eq!(Sealer::new(&Zeroizing::new([2; KEY_BYTES])).open("report", &bytes), Err(SealError::Opening));
        assert_eq!(sealer.open("report", &bytes[..bytes.len() - 1]), Err(SealError::Opening));
        assert_eq!(sealer.open("report", &[]), Err(SealError::Opening));
    }

    #[test]
    fn a_fingerprint_belongs_to_key_purpose_and_value() {
        let sealer = |byte| Sealer::new(&Zeroizing::new([byte; KEY_BYTES]));
        let one = sealer(1).fingerprint("machine", b"value");
        assert_eq!(one, sealer(1).fingerprint("machine", b"value"));
        let others = [
            sealer(2).fingerprint("machine", b"value"),
            sealer(1).fingerprint("hardware", b"value"),
            sealer(1).fingerprint("machine", b"other"),
            sealer(1).fingerprint("machinev", b"alue"),
        ];
        assert!(!others.contains(&one));
    }
}
