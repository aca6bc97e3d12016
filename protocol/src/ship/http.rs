//! What the HTTP variant needs: the bare XML body is posted to `/` of the web server of Space.

use data_encoding::BASE64;

/// Value of `Content-Type`, in requests and answers.
pub const CONTENT_TYPE: &str = "application/vnd.saltosystems.ship.v1+xml";
/// Header of the authentication mode *Custom*: its value is the shared key as set on the SHIP tab.
pub const KEY_HEADER: &str = "Salto-SHIP-Key";

/// Value of `Authorization` for the authentication mode *Basic*.
pub fn basic_authorization(user: &str, password: &str) -> String {
    let pair = zeroize::Zeroizing::new(format!("{user}:{password}"));
    format!("Basic {}", BASE64.encode(pair.as_bytes()))
}
