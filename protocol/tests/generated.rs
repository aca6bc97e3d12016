//! The checked-in code must be what `proto/*.proto` says. Run with `LOCKBRIDGE_BLESS=1` to write it anew.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile(["tunnel.proto", "journal.proto"], [root.join("proto")]).expect("the schemas compile");
    let out = tempfile::tempdir().expect("a temporary folder");
    prost_build::Config::new().out_dir(out.path()).compile_fds(descriptors).expect("code is generated");
    for name in ["lockbridge.tunnel.v1.rs", "lockbridge.journal.v1.rs"] {
        let fresh = std::fs::read_to_string(out.path().join(name)).expect("the generator wrote it");
        let kept = root.join("src/gen").join(name);
        if std::env::var_os("LOCKBRIDGE_BLESS").is_some() {
            std::fs::write(&kept, &fresh).expect("the source folder is writable");
        }
        let current = std::fs::read_to_string(&kept).unwrap_or_default();
        assert!(
            current == fresh,
            "{name} is stale: run `LOCKBRIDGE_BLESS=1 cargo test -p lockbridge-protocol --test generated`"
        );
    }
}
