//! The optional proof that a key system has the key of its site: the moment of the `LS` just received, encrypted.
//!
//! ```text
//!   CG = "FidCryptAB;" base64(IV) base64(AES-128-CBC(key, IV, PKCS#7("YYMMDDHHMMSS")))
//! ```
//!
//! Twelve digits are one block, so chaining is one XOR with the initialisation vector.

use aes::Aes128;
use aes::cipher::{BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};
use data_encoding::BASE64;
use jiff::civil::DateTime;
use zeroize::Zeroizing;

use super::value::{write_date, write_time};

const BLOCK: usize = 16;
/// Base64 of one block.
const BLOCK_TEXT: usize = 24;
const KEY_MARK: &str = "FidCrypt0S|";
const VALUE_MARK: &str = "FidCryptAB;";

/// The key of a site. Never shown, wiped when dropped.
#[derive(Clone)]
pub struct SiteKey(Zeroizing<[u8; BLOCK]>);

impl std::fmt::Debug for SiteKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("SiteKey")
    }
}

/// A key that cannot be used, without any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key of the FIAS link is not `FidCrypt0S|` and 128 bits in base64; copy it again from the vendor's letter")]
pub struct KeyError;

/// Why a cryptogram proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptogramError {
    /// There is none, though this end has a key.
    #[error("the key system sends no cryptogram, but the link is set to need one")]
    Absent,
    /// Not of the form above.
    #[error("the cryptogram of the key system cannot be read")]
    Form,
    /// Another key, or made for another `LS`.
    #[error("the cryptogram of the key system was made with another key or for another link start")]
    Wrong,
}

impl SiteKey {
    /// Reads the key as an installer gets it, with or without its mark.
    pub fn read(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = Zeroizing::new(
            BASE64.decode(text.strip_prefix(KEY_MARK).unwrap_or(text).as_bytes()).map_err(|_| KeyError)?,
        );
        bytes.as_slice().try_into().map(|key| Self(Zeroizing::new(key))).map_err(|_| KeyError)
    }

    /// The value of `CG` for the `LS` of this moment. `initialisation`: random, new each time. `None`: a year that FIAS cannot say.
    pub fn seal(&self, start: DateTime, initialisation: [u8; BLOCK]) -> Option<String> {
        let mut block = xor(padded(start)?, initialisation);
        self.cipher().encrypt_block((&mut block).into());
        Some(format!("{VALUE_MARK}{}{}", BASE64.encode(&initialisation), BASE64.encode(&block)))
    }

    /// Checks the `CG` of a key system that answers the `LS` of this moment.
    pub fn check(&self, cryptogram: &str, start: DateTime) -> Result<(), CryptogramError> {
        if cryptogram.is_empty() {
            return Err(CryptogramError::Absent);
        }
        let texts = cryptogram.strip_prefix(VALUE_MARK).and_then(|texts| texts.split_at_checked(BLOCK_TEXT));
        let (first, second) = texts.ok_or(CryptogramError::Form)?;
        let (initialisation, mut block) = (decoded(first)?, decoded(second)?);
        self.cipher().decrypt_block((&mut block).into());
        let wanted = padded(start).ok_or(CryptogramError::Wrong)?;
        if xor(block, initialisation) == wanted { Ok(()) } else { Err(CryptogramError::Wrong) }
    }

    fn cipher(&self) -> Aes128 {
        Aes128::new((&*self.0).into())
    }
}

fn decoded(text: &str) -> Result<[u8; BLOCK], CryptogramError> {
    let bytes = BASE64.decode(text.as_bytes()).map_err(|_| CryptogramError::Form)?;
    bytes.try_into().map_err(|_| CryptogramError::Form)
}

/// Twelve digits, filled up with the count of what was filled (PKCS#7).
fn padded(start: DateTime) -> Option<[u8; BLOCK]> {
    let digits = format!("{}{}", write_date(start.date())?, write_time(start.time()));
    let fill = u8::try_from(BLOCK.checked_sub(digits.len())?).ok()?;
    let mut block = [fill; BLOCK];
    block.iter_mut().zip(digits.bytes()).for_each(|(place, digit)| *place = digit);
    Some(block)
}

fn xor(mut block: [u8; BLOCK], other: [u8; BLOCK]) -> [u8; BLOCK] {
    block.iter_mut().zip(other).for_each(|(place, byte)| *place ^= byte);
    block
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const KEY: &str = "GVDpVnl6qYlTQXQJZxXdbw==";
    const SEALED: &str = "FidCryptAB;3k57hsoHm04fGEyaA3+UVw==oNTebC0J36LY8GV9azyhzw==";

    fn start() -> DateTime {
        date(2017, 8, 31).at(10, 22, 1, 0)
    }

    #[test]
    fn the_vendor_s_vector() {
        let key = SiteKey::read(&format!("{KEY_MARK}{KEY}\n")).unwrap();
        assert_eq!(key.check(SEALED, start()), Ok(()));
        let initialisation = BASE64.decode(b"3k57hsoHm04fGEyaA3+UVw==").unwrap().try_into().unwrap();
        assert_eq!(key.seal(start(), initialisation).as_deref(), Some(SEALED));
    }

    #[test]
    fn anything_else_proves_nothing() {
        let key = SiteKey::read(KEY).unwrap();
        assert_eq!(key.check("", start()), Err(CryptogramError::Absent));
        assert_eq!(key.check(SEALED, start().with().second(2).build().unwrap()), Err(CryptogramError::Wrong));
        let other = SiteKey::read("AAAAAAAAAAAAAAAAAAAAAA==").unwrap();
        assert_eq!(other.check(SEALED, start()), Err(CryptogramError::Wrong));
        for bad in
            ["FidCryptAB;", "3k57", SEALED.trim_end_matches('='), &format!("{SEALED}="), "FidCryptAB;éééééééééééééééé"]
        {
            assert_eq!(key.check(bad, start()), Err(CryptogramError::Form), "{bad}");
        }
        for bad in ["", "FidCrypt0S|", "FidCrypt0S|AAAA", "no base64 at all!", "GVDpVnl6qYlTQXQJZxXdbwAA"] {
            assert_eq!(SiteKey::read(bad).unwrap_err(), KeyError, "{bad}");
        }
        assert_eq!(format!("{key:?}"), "SiteKey");
    }
}
