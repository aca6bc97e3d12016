#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| lockbridge_protocol_fuzz::check("salto_pms_message")(bytes));
