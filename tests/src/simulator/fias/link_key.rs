//! The proof that a key system has the site's key, as the specification describes it; nothing of the product is used.
//!
//! `CG` is a mark, the initialisation vector and the moment of the `LS`, each in base64, the moment in AES-128-CBC with PKCS#7:
//! twelve digits and four bytes of 4, one block.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt as _, BlockCipherEncrypt as _, KeyInit as _};
use data_encoding::BASE64;

const KEY_MARK: &str = "FidCrypt0S|";
const MARK: &str = "FidCryptAB;";
/// Base64 of sixteen bytes.
const TEXT: usize = 24;
/// Fills twelve digits up.
const FILL: u8 = 4;

/// A key of sixteen bytes.
#[derive(Clone)]
pub struct LinkKey([u8; 16]);

impl std::fmt::Debug for LinkKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LinkKey")
    }
}

/// Why a link description is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// Nothing is asked for, so the property software cannot answer.
    #[error("no RT in LD")]
    NoRequest,
    /// The proof is missing.
    #[error("no CG in LD")]
    Missing,
    /// It is not that of this key and this `LS`.
    #[error("wrong CG in LD")]
    Wrong,
}

impl LinkKey {
    /// As the installer gets it: the mark and base64.
    pub fn read(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.trim().strip_prefix(KEY_MARK)?.as_bytes()).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The proof for an `LS` with these digits of `DA` and `TI`.
    pub fn prove(&self, digits: &str) -> String {
        let vector: [u8; 16] = rand::random();
        let mut block = [FILL; 16];
        block.iter_mut().zip(digits.bytes()).for_each(|(place, digit)| *place = digit);
        block.iter_mut().zip(vector).for_each(|(place, byte)| *place ^= byte);
        Aes128::new((&self.0).into()).encrypt_block((&mut block).into());
        format!("{MARK}{}{}", BASE64.encode(&vector), BASE64.encode(&block))
    }

    /// Checks the fields `RT` and `CG` of an `LD` that answers an `LS` with these digits.
    pub fn check(&self, request: &str, proof: &str, digits: &str) -> Result<(), Distrust> {
        if request.parse::<u16>().is_ok_and(|sum| sum == 0) || request.is_empty() {
            return Err(Distrust::NoRequest);
        }
        if proof.is_empty() {
            return Err(Distrust::Missing);
        }
        if self.opened(proof).is_some_and(|opened| opened == digits) { Ok(()) } else { Err(Distrust::Wrong) }
    }

    fn opened(&self, proof: &str) -> Option<String> {
        let (vector, block) = proof.strip_prefix(MARK)?.split_at_checked(TEXT)?;
        let vector: [u8; 16] = BASE64.decode(vector.as_bytes()).ok()?.try_into().ok()?;
        let mut block: [u8; 16] = BASE64.decode(block.as_bytes()).ok()?.try_into().ok()?;
        Aes128::new((&self.0).into()).decrypt_block((&mut block).into());
        block.iter_mut().zip(vector).for_each(|(place, byte)| *place ^= byte);
        let (digits, fill) = block.split_at_checked(12)?;
        if fill.iter().any(|byte| *byte != FILL) {
            return None;
        }
        String::from_utf8(digits.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vendor_s_own_example_and_nothing_else_is_believed() {
        let key = LinkKey::read("FidCrypt0S|GVDpVnl6qYlTQXQJZxXdbw==\n").expect("a key");
        let sample = "FidCryptAB;3k57hsoHm04fGEyaA3+UVw==oNTebC0J36LY8GV9azyhzw==";
        assert_eq!(key.check("1", sample, "170831102201"), Ok(()));
        assert_eq!(key.check("1", sample, "170831102202"), Err(Distrust::Wrong));
        assert_eq!(key.check("1", "", "170831102201"), Err(Distrust::Missing));
        for request in ["", "0"] {
            assert_eq!(key.check(request, sample, "170831102201"), Err(Distrust::NoRequest));
        }
        assert_eq!(key.check("128", &key.prove("261122090000"), "261122090000"), Ok(()));
        let other = LinkKey::read("FidCrypt0S|AAAAAAAAAAAAAAAAAAAAAA==").expect("a key");
        assert_eq!(other.check("1", sample, "170831102201"), Err(Distrust::Wrong));
        for bad in ["FidCryptAB;", "é", "FidCryptAB;AAAA", &format!("{sample}=")] {
            assert_eq!(key.check("1", bad, "170831102201"), Err(Distrust::Wrong), "{bad}");
        }
        assert!(LinkKey::read("GVDpVnl6qYlTQXQJZxXdbw==").is_none() && LinkKey::read("FidCrypt0S|AAAA").is_none());
    }
}
