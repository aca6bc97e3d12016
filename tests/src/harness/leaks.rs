//! Looking for what must not stand somewhere, in every form in which it could.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};

/// The forms in which bytes could stand in a file.
pub fn forms(what: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut forms = vec![
        (format!("{what} as it is"), bytes.to_vec()),
        (format!("{what} as hex"), HEXLOWER.encode(bytes).into_bytes()),
        (format!("{what} as HEX"), HEXUPPER.encode(bytes).into_bytes()),
    ];
    if let Ok(text) = std::str::from_utf8(bytes) {
        let wide: Vec<u16> = text.encode_utf16().collect();
        forms.push((format!("{what} as UTF-16LE"), wide.iter().flat_map(|unit| unit.to_le_bytes()).collect()));
        forms.push((format!("{what} as UTF-16BE"), wide.iter().flat_map(|unit| unit.to_be_bytes()).collect()));
    }
    for shift in 0..3 {
        // The characters at both ends also depend on the neighbours; those in between do not.
        let encoded = BASE64.encode(&[&vec![0; shift][..], bytes].concat());
        let whole = (shift + bytes.len()) / 3 * 4;
        let inside = encoded.as_bytes().get(if shift == 0 { 0 } else { 4 }..whole).unwrap_or_default().to_vec();
        if inside.len() >= 8 {
            forms.push((format!("{what} as Base64 at {shift}"), inside));
        }
    }
    forms
}

/// Whether `form` stands in `content`.
pub fn holds(content: &[u8], form: &[u8]) -> bool {
    content.windows(form.len()).any(|window| window == form)
}
