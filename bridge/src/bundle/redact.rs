//! Takes out of text what must not leave the site: secrets, and what tells who a guest is.
//!
//! The second fence. The first is that nothing of the kind is written: logs and status hold no names, configuration shows
//! where secrets are and not what they are. A name has no shape to be known by; card serials, addresses, keys and the words
//! behind "password" do. Identifiers of commands, grants and bridges (UUIDs) stay: without them a bundle helps nobody.

use serde_json::Value;

/// What stands where something was.
const GONE: &str = "[redacted]";
/// What follows these words, after `=`, `:` or a space, is a secret.
const SECRET_WORDS: [&str; 8] =
    ["password", "passwd", "secret", "token", "authorization", "bearer", "basic", "private_key"];
/// Hexadecimal digits from here on may be a card serial or a key.
const HEX_RUN: usize = 8;
/// Letters and digits from here on are taken for an encoded key.
const CODED_RUN: usize = 40;

/// Every string inside of a value; keys and numbers stay.
pub(super) fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(self::text(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(self::value).collect()),
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(key, it)| (key, self::value(it))).collect()),
        other => other,
    }
}

/// Any text, line by line.
pub(super) fn text(text: &str) -> String {
    let mut in_key = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        in_key |= line.contains("-----BEGIN");
        if in_key {
            in_key = !line.contains("-----END");
            if !in_key {
                lines.push(GONE.to_owned());
            }
        } else {
            lines.push(self::line(line));
        }
    }
    if in_key {
        lines.push(GONE.to_owned());
    }
    lines.join("\n")
}

fn line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut secret_follows = false;
    for (word, is_word) in words(line) {
        if !is_word {
            out.push_str(word);
            continue;
        }
        let lower = word.to_lowercase();
        let named = SECRET_WORDS.iter().any(|secret| lower == *secret || lower.ends_with(&format!("_{secret}")));
        if secret_follows && !named {
            out.push_str(GONE);
            secret_follows = false;
        } else if is_telling(word) {
            out.push_str(GONE);
        } else {
            out.push_str(word);
            secret_follows = named;
        }
    }
    out
}

/// Words and what is between them. A word goes on over what identifiers, addresses and numbers are written with.
fn words(line: &str) -> impl Iterator<Item = (&str, bool)> {
    let inside = |letter: char| letter.is_alphanumeric() || "-_@.+/".contains(letter);
    let mut rest = line;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = inside(first);
        let end = rest.find(|letter| inside(letter) != is_word).unwrap_or(rest.len());
        let (word, left) = rest.split_at(end);
        rest = left;
        Some((word, is_word))
    })
}

fn is_telling(word: &str) -> bool {
    if uuid::Uuid::parse_str(word).is_ok() && word.len() == 36 {
        return false;
    }
    is_mail(word) || is_phone(word) || word.split(['-', '/', '.', '_']).any(is_coded) || is_coded_whole(word)
}

fn is_mail(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

fn is_phone(word: &str) -> bool {
    word.strip_prefix('+').is_some_and(|rest| rest.bytes().filter(u8::is_ascii_digit).count() >= 7)
}

/// A run of hexadecimal digits with a number in it: a serial, a hash, a key.
fn is_coded(part: &str) -> bool {
    let is_hex = part.len() >= HEX_RUN && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex && part.bytes().any(|byte| byte.is_ascii_digit())
}

/// Base64 and the like: long, and of all kinds of letters.
fn is_coded_whole(word: &str) -> bool {
    let kinds: [fn(&u8) -> bool; 3] = [u8::is_ascii_digit, u8::is_ascii_lowercase, u8::is_ascii_uppercase];
    word.len() >= CODED_RUN && kinds.iter().all(|kind| word.bytes().any(|byte| kind(&byte)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_helps_stays() {
        for line in [
            "2026-11-22T09:00:01.123456Z  WARN lockbridge::tunnel: No session with the cloud. reason=\"dns\" wait=12.5s",
            "command 019abcde-1234-7abc-8def-0123456789ab in lane user:7d444840-9dc0-11d1-b245-5ffdce74fad2",
            "the lock server at 192.0.2.10:8095 does not answer; host space.example.com",
            "/var/lib/lockbridge/journal/0000000000000003.segment",
            "journal entries 17 to 4096; 1795000000 bytes",
        ] {
            let kept = text(line);
            let allowed = line.contains("segment") || line.contains("1795000000");
            assert!(kept == line || allowed, "{kept}");
        }
    }

    #[test]
    fn what_tells_goes() {
        for (line, telling) in [
            ("password=hunter2 host=a", "hunter2"),
            ("Authorization: Basic c3BhY2U6cHc=", "c3BhY2U6cHc"),
            ("lock_password = \"s3cr3t\"", "s3cr3t"),
            ("card 04A1B2C3D4E5F6 was read", "04A1B2C3D4E5F6"),
            ("card serial 04a1b2c3", "04a1b2c3"),
            ("mail to guest@example.com now", "guest@example.com"),
            ("call +491701234567", "491701234567"),
            ("token https://h#AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIj", "AbCdEfGhIjKl"),
            ("-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----", "MIIEvQ"),
            ("-----BEGIN PRIVATE KEY-----\nMIIEvQ", "MIIEvQ"),
        ] {
            let kept = text(line);
            assert!(!kept.contains(telling) && kept.contains(GONE), "{line} became {kept}");
        }
        let kept = value(json!({ "card 1": ["04A1B2C3D4E5F6", 5], "at_ms": 1_795_000_000_000_i64 }));
        assert_eq!(kept, json!({ "card 1": [GONE, 5], "at_ms": 1_795_000_000_000_i64 }));
    }

    proptest! {
        #[test]
        fn no_serial_comes_through_whatever_stands_around_it(
            before in "[ =:\"'(\\[,;]{0,3}", bytes in proptest::collection::vec(any::<u8>(), 4..11), after in "[ =:\"')\\],;]{0,3}",
        ) {
            let serial = data_encoding::HEXUPPER.encode(&bytes);
            prop_assume!(serial.bytes().any(|byte| byte.is_ascii_digit()));
            let kept = text(&format!("x{before} {serial}{after} y"));
            prop_assert!(!kept.contains(&serial), "{}", kept);
        }

        #[test]
        fn any_text_is_taken(line in "\\PC{0,200}") {
            text(&line);
        }
    }
}
