//! Any bytes as a FIAS record: no panic, and a key record that can be sent comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lockbridge_protocol::fias::any::AnyRecord;
use lockbridge_protocol::fias::key::KeyRecord;
use lockbridge_protocol::fias::record::Record;
use lockbridge_protocol::line::CodePage;

fuzz_target!(|input: &[u8]| {
    // The first byte picks the code page.
    let Some((page, bytes)) = input.split_first() else { return };
    let page = match page % 4 {
        0 => CodePage::Utf8,
        1 => CodePage::Latin1,
        2 => CodePage::Cp1252,
        _ => CodePage::Cp850,
    };
    let Ok(record) = Record::read(bytes) else { return };
    if let AnyRecord::Key(mut key) = AnyRecord::read(record, page)
        && let Ok(body) = key.write(None, page)
    {
        let again = KeyRecord::read(Record::read(&body).expect("our own record"), page).expect("a key record");
        // What is not understood is not sent; blanks at the end of options mean nothing.
        key.unread.clear();
        key.options.truncate(key.options.trim_end_matches(' ').len());
        key.user_defined.retain(|(_, text)| !text.is_empty());
        assert!(again == *key);
    }
});
