mod renewal;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lockbridge_protocol::proto::tunnel::{EnrollRefused, Report};
use lockbridge_protocol::signed::report;
use prost::Message as _;
use tempfile::TempDir;

use super::store::Paths;
use super::test_hub::{BRIDGE, TestHub, token_text};
use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::health::ReasonCode;
use crate::net::test_support::{NOW, TestCa, clock_at};
use crate::net::{Dialer, TlsTime};
use crate::seal::Sealer;

/// A bridge to be: its directories, token and clock.
struct Site {
    root: TempDir,
    clock: Arc<ManualClock>,
}

impl Site {
    fn new(token: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        std::fs::write(root.path().join("token"), token).expect("writes");
        Self { root, clock: clock_at(NOW) }
    }

    fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    fn token_file(&self) -> PathBuf {
        self.root.path().join("token")
    }

    async fn enroll(&self) -> Result<EnrollSummary, EnrollError> {
        enroll(EnrollOptions {
            state_directory: self.state(),
            state_key: None,
            token: TokenSource::File(self.token_file()),
            display_name: "front-desk".to_owned(),
            dialer: Dialer::new(None),
            clock: self.clock.clone(),
        })
        .await
    }

    fn sealer(&self) -> Sealer {
        open_sealer(&self.state(), None).expect("a key")
    }

    fn load(&self) -> Option<Identity> {
        Identity::load(&self.state(), &self.sealer()).expect("a whole identity")
    }

    fn time(&self) -> TlsTime {
        TlsTime::new(self.clock.clone())
    }
}

async fn enrolled() -> (TestHub, Site, Identity) {
    let hub = TestHub::start().await;
    let site = Site::new(&hub.token());
    site.enroll().await.expect("enrolls");
    // Renewal goes to the host of the tunnel; the certificate of the test hub is for loopback.
    let record = Paths::of(&site.state()).record();
    let text = std::fs::read_to_string(&record).expect("reads");
    std::fs::write(&record, text.replace("hub.example.com", &hub.address.to_string())).expect("writes");
    let identity = site.load().expect("enrolled");
    (hub, site, identity)
}

#[tokio::test]
async fn enrollment_makes_an_identity_that_loads() {
    let hub = TestHub::start().await;
    let site = Site::new(&hub.token());
    let summary = site.enroll().await.expect("enrolls");
    assert_eq!(summary.bridge_id, BRIDGE);
    assert_eq!(summary.workspace_name, "Example Hotels", "control characters do not reach a terminal");
    assert!(!summary.already_enrolled);
    assert_eq!(summary.certificate_not_after.expect("issued").to_string(), "2027-06-24T00:00:00Z");
    let identity = site.load().expect("enrolled");
    assert_eq!(identity.audience().workspace_id, "workspace-1");
    assert_eq!(identity.audience().site_id, "site-1");
    assert_eq!(identity.tunnel_url().as_str(), "wss://hub.example.com/v1/tunnel");
    assert_eq!(identity.renew_url().expect("a URL").as_str(), "https://hub.example.com/v1/renew");
    assert!(!identity.authority_keys().is_empty());
    identity.session_client(&site.time()).expect("a client");
    let report = Report { version: report::VERSION, bridge_id: BRIDGE.to_owned(), ..Report::default() };
    let signed = identity.sign_report(report.encode_to_vec()).expect("signs");
    assert_eq!(report::verify(identity.audit_public_key(), &signed), Ok(report));
    // Everything private to its owner, nothing half-written left behind.
    let directory = Paths::of(&site.state()).directory().to_path_buf();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).expect("lists") {
        use std::os::unix::fs::PermissionsExt as _;
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("is there").permissions().mode() & 0o777, 0o600);
        names.push(entry.file_name().into_string().expect("text"));
    }
    names.sort();
    assert_eq!(names, ["ca.pem", "certificate.pem", "identity.json", "keys.sealed"]);
}

#[tokio::test]
async fn the_same_token_again_does_nothing_and_another_is_refused() {
    let (hub, site, _identity) = enrolled().await;
    let again = site.enroll().await.expect("is content");
    assert!(again.already_enrolled && again.bridge_id == BRIDGE);
    assert_eq!(hub.with(|state| state.enrollments), 1);
    let other = hub.token().replace(&data_encoding::BASE64URL_NOPAD.encode(&[7; 32]), &"A".repeat(43));
    std::fs::write(site.token_file(), other).expect("writes");
    let error = site.enroll().await.expect_err("refused");
    assert!(matches!(&error, EnrollError::AlreadyEnrolled { bridge_id, .. } if bridge_id == BRIDGE), "{error:?}");
    assert!(error.hint().contains("identity"), "{}", error.hint());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_key() {
    let hub = TestHub::start().await;
    hub.with(|state| state.lose_answers = 1);
    let site = Site::new(&hub.token());
    let error = site.enroll().await.expect_err("no answer");
    assert!(matches!(error, EnrollError::AnswerLost(_)), "{error:?}");
    assert!(error.hint().contains("same token"));
    assert!(site.load().is_none(), "nothing is claimed");
    let key = hub.with(|state| state.used_by.clone()).expect("the hub acted");
    site.enroll().await.expect("the same key is let in again");
    assert_eq!(hub.with(|state| (state.enrollments, state.used_by.clone())), (2, Some(key)));
    assert_eq!(site.load().expect("enrolled").bridge_id(), BRIDGE);
    // Another machine with the same token is another key.
    let thief = Site::new(&hub.token());
    let error = thief.enroll().await.expect_err("refused");
    assert!(matches!(error, EnrollError::TokenUsed { .. }), "{error:?}");
    assert!(error.hint().contains("tell the cloud's operator"));
}

#[tokio::test]
async fn each_refusal_has_its_own_error_and_hint() {
    let hub = TestHub::start().await;
    let site = Site::new(&hub.token());
    let mut seen = Vec::new();
    for (status, code) in [
        (403, "token_unknown"),
        (403, "token_expired"),
        (403, "token_used"),
        (403, "proof_invalid"),
        (403, "clock_skew"),
        (400, "request_invalid"),
        (503, ""),
        (502, ""),
    ] {
        let message = "because\u{1b}[2J".to_owned();
        let refused = EnrollRefused { code: code.to_owned(), message, hub_time_ms: 1_800_000_000_000 };
        hub.with(|state| state.refuse = Some((status, refused)));
        let error = site.enroll().await.expect_err("refused");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        seen.push((error.to_string(), error.hint()));
        let fits = match code {
            "token_unknown" => matches!(error, EnrollError::TokenUnknown { .. }),
            "token_expired" => matches!(error, EnrollError::TokenExpired { .. }),
            "token_used" => matches!(error, EnrollError::TokenUsed { .. }),
            "proof_invalid" => matches!(error, EnrollError::ProofInvalid { .. }),
            "clock_skew" => matches!(error, EnrollError::ClockSkew { .. }),
            "request_invalid" => matches!(error, EnrollError::Refused { status: 400, .. }),
            _ if status == 503 => {
                matches!(error, EnrollError::Busy { retry_after: Some(wait), .. } if wait == Duration::from_secs(600))
            }
            _ => matches!(error, EnrollError::Refused { status: 502, .. }),
        };
        assert!(fits, "{code}: {error:?}");
    }
    let expired = &seen[1].0;
    assert!(expired.contains("2027-01-15T08:00:00Z"), "{expired}");
    let skewed = &seen[4].0;
    assert!(skewed.contains("2027-01-15T08:00:00Z") && skewed.contains("2027-06-01T12:00:00Z"), "{skewed}");
    assert!(seen.iter().all(|(text, hint)| !text.is_empty() && hint.ends_with('.')));
    assert!(site.load().is_none());
}

#[tokio::test]
async fn a_token_for_another_ca_is_an_interception() {
    let hub = TestHub::start().await;
    let site = Site::new(&token_text(hub.address, TestCa::new("Example CA").key_hash()));
    let error = site.enroll().await.expect_err("refused");
    let EnrollError::Dial(dial) = &error else { panic!("{error:?}") };
    let (code, text) = dial.reason();
    assert_eq!(code, ReasonCode::TlsIntercepted);
    assert!(text.contains("CN=Example CA"), "{text}");
    assert!(error.hint().contains("inspection"), "{}", error.hint());
    assert_eq!(hub.with(|state| state.enrollments), 0, "nothing was sent");
}

#[tokio::test]
async fn a_wrong_clock_and_a_dead_proxy_have_their_hints() {
    let hub = TestHub::start().await;
    let mut site = Site::new(&hub.token());
    site.clock = clock_at("2026-12-01T00:00:00Z");
    let error = site.enroll().await.expect_err("refused");
    assert!(matches!(&error, EnrollError::Dial(dial) if dial.reason().0 == ReasonCode::Clock), "{error:?}");
    assert!(error.hint().contains("Set the clock"));
    let proxy = crate::config::ProxyConfig { host: "127.0.0.1".to_owned(), port: 1, user: None, password: None };
    std::fs::write(site.token_file(), hub.token().replace("127.0.0.1", "hub.example.com")).expect("writes");
    let error = enroll(EnrollOptions {
        state_directory: site.state(),
        state_key: None,
        token: TokenSource::File(site.token_file()),
        display_name: String::new(),
        dialer: Dialer::new(Some(proxy)),
        clock: site.clock.clone(),
    })
    .await
    .expect_err("no proxy");
    assert!(matches!(&error, EnrollError::Dial(dial) if dial.reason().0 == ReasonCode::Proxy), "{error:?}");
    assert!(error.hint().contains("proxy"));
}

#[tokio::test]
async fn an_answer_that_is_not_an_identity_stores_nothing() {
    let hub = TestHub::start().await;
    let site = Site::new(&hub.token());
    let alterations: [fn(&mut lockbridge_protocol::proto::tunnel::EnrollResponse); 12] = [
        |answer| answer.bridge_id = "not-a-uuid".to_owned(),
        |answer| answer.bridge_id = "00000000-0000-4000-8000-000000000000".to_owned(),
        |answer| answer.workspace_id.clear(),
        |answer| answer.site_id = "x\n".to_owned(),
        |answer| answer.tunnel_url = "http://hub.example.com/".to_owned(),
        |answer| answer.authority_keys.clear(),
        |answer| answer.authority_keys[0].key_id = "0".repeat(16),
        |answer| answer.authority_keys[0].public_key.truncate(31),
        |answer| answer.certificate_chain.clear(),
        |answer| answer.certificate_chain[0].push(0),
        |answer| answer.ca_bundle = vec![TestCa::new("Example CA").certificate.to_vec()],
        |answer| answer.certificate_chain = answer.ca_bundle.clone(),
    ];
    for (index, alter) in alterations.into_iter().enumerate() {
        hub.with(|state| state.alter = Some(alter));
        let error = site.enroll().await.expect_err("refused");
        assert!(matches!(error, EnrollError::Answer { .. } | EnrollError::Certificate(_)), "{index}: {error:?}");
        assert!(!Paths::of(&site.state()).certificate().exists(), "{index}");
    }
    // A CA of the answer's own choice is not the one of the token, whatever else fits.
    hub.with(|state| {
        state.alter = Some(|answer| answer.ca_bundle = vec![TestCa::new("Example CA").certificate.to_vec()]);
    });
    let error = site.enroll().await.expect_err("refused");
    assert!(matches!(error, EnrollError::Certificate(IssuedError::OtherCa)), "{error:?}");
    hub.with(|state| state.alter = None);
    // A certificate that begins tomorrow, and one for another bridge.
    hub.with(|state| state.first_day = (5, 31));
    let mut early = Site::new(&hub.token());
    early.root = site.root;
    early.clock = clock_at("2027-05-30T00:00:00Z");
    let error = early.enroll().await.expect_err("refused");
    assert!(matches!(error, EnrollError::Certificate(IssuedError::NotYetValid { .. })), "{error:?}");
    hub.with(|state| (state.first_day, state.bridge_id) = ((5, 25), "00000000-0000-4000-8000-000000000000".to_owned()));
    let error = early.enroll().await.expect_err("refused");
    assert!(matches!(error, EnrollError::Certificate(IssuedError::OtherBridge { .. })), "{error:?}");
    hub.with(|state| (state.bridge_id, state.swap_key) = (BRIDGE.to_owned(), true));
    let error = early.enroll().await.expect_err("refused");
    assert!(matches!(error, EnrollError::Certificate(IssuedError::OtherKey)), "{error:?}");
    hub.with(|state| state.swap_key = false);
    early.enroll().await.expect("the same keys still enroll");
}

#[tokio::test]
async fn damaged_files_are_named_and_a_lone_key_file_is_no_identity() {
    let (_hub, site, _identity) = enrolled().await;
    let paths = Paths::of(&site.state());
    let sealer = site.sealer();
    let load = || Identity::load(&site.state(), &sealer);
    for path in [paths.record(), paths.keys(), paths.ca(), paths.certificate()] {
        let good = std::fs::read(&path).expect("reads");
        std::fs::write(&path, b"garbage").expect("writes");
        let error = load().expect_err("refused");
        assert!(crate::net::chain_text(&error).contains(&path.display().to_string()), "{error}");
        assert!(!error.hint().is_empty());
        if path != paths.record() {
            std::fs::remove_file(&path).expect("removes");
            let error = load().expect_err("refused");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        std::fs::write(&path, good).expect("writes");
        load().expect("whole again").expect("enrolled");
    }
    let newer = std::fs::read_to_string(paths.record()).expect("reads").replace("\"format\": 1", "\"format\": 2");
    std::fs::write(paths.record(), newer).expect("writes");
    assert!(load().expect_err("refused").to_string().contains("its format is 2"));
    std::fs::remove_file(paths.record()).expect("removes");
    assert!(load().expect("no error").is_none());
}

#[tokio::test]
async fn a_certificate_of_another_ca_does_not_load() {
    let (_hub, site, _identity) = enrolled().await;
    let other = store::pem(&[TestCa::new("Example CA").certificate]);
    std::fs::write(Paths::of(&site.state()).ca(), other).expect("writes");
    let error = Identity::load(&site.state(), &site.sealer()).expect_err("refused");
    assert!(matches!(error, IdentityError::Certificate { .. }), "{error:?}");
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let (hub, site, identity) = enrolled().await;
    let token = hub.token();
    let secret = token.rsplit('#').next().expect("a last part");
    let state_key = std::fs::read_to_string(site.state().join("state.key")).expect("reads");
    let shown = format!("{identity:?} {:?}", site.sealer());
    assert!(!shown.contains(secret) && !shown.contains(state_key.trim()));
    for entry in std::fs::read_dir(Paths::of(&site.state()).directory()).expect("lists") {
        let content = std::fs::read(entry.expect("an entry").path()).expect("reads");
        assert!(!content.windows(secret.len()).any(|window| window == secret.as_bytes()));
        assert!(!String::from_utf8_lossy(&content).contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn the_first_proven_session_wipes_the_token() {
    let (_hub, site, identity) = enrolled().await;
    assert!(site.token_file().exists(), "until then it may be needed again");
    let client = identity.session_client(&site.time()).expect("a client");
    identity.on_session_proven(&client.certificate, site.clock.wall_ms()).expect("proven");
    assert!(!site.token_file().exists());
    // A file that comes to that path later is somebody else's.
    std::fs::write(site.token_file(), b"other").expect("writes");
    site.load().expect("enrolled").on_session_proven(&client.certificate, 0).expect("proven");
    assert!(site.token_file().exists());
}
