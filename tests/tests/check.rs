//! `lockbridge check` against the real cloud and lock system: each failure is made for real, and the check whose failure it
//! is names it, alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use lockbridge_tests::harness::key_service::KeyService;
use lockbridge_tests::harness::pms_server::Way;
use lockbridge_tests::harness::{FiasSimulator, Site, SiteOptions, guest};
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What a run of the checks came to.
struct Run {
    code: i32,
    findings: Vec<Value>,
}

impl Run {
    async fn of(site: &Site, arguments: &[&str]) -> Result<Self> {
        let (code, stdout, stderr) = site.bridge_command(&[&["check", "--json"], arguments].concat()).await?;
        let shown: Value = serde_json::from_str(&stdout).with_context(|| format!("{code}: {stdout} {stderr}"))?;
        let findings = shown["checks"].as_array().context("findings")?.clone();
        Ok(Self { code, findings })
    }

    /// Ids of the findings with this outcome; how fast the disk of the test machine is counts for nothing.
    fn with(&self, outcome: &str) -> Vec<&str> {
        let found = self.findings.iter().filter(|finding| finding["outcome"] == outcome);
        found.filter_map(|finding| finding["check"].as_str()).filter(|id| *id != "disk_flush").collect()
    }

    /// The finding of this check; of several, the one that is not ok.
    fn finding(&self, id: &str) -> &Value {
        let of_it = || self.findings.iter().filter(|finding| finding["check"] == id);
        of_it().find(|finding| finding["outcome"] != "ok").or_else(|| of_it().next()).unwrap_or(&Value::Null)
    }

    fn evidence(&self, id: &str) -> &str {
        self.finding(id)["evidence"].as_str().unwrap_or_default()
    }

    /// The one check that failed, with its evidence; nothing else did.
    fn only_failure(&self, id: &str) -> &str {
        assert_eq!((self.with("failed"), self.code), (vec![id], 1), "{:#?}", self.findings);
        assert_ne!(self.finding(id)["remedy"], "", "the next step is told");
        self.evidence(id)
    }
}

/// Lets the enrolled bridge believe that its cloud is elsewhere.
fn move_cloud(site: &Site, address: &str) -> Result<()> {
    let file = site.state().join("identity/identity.json");
    let mut record: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    record["tunnel_url"] = format!("wss://{address}/v1/tunnel").into();
    std::fs::write(&file, record.to_string())?;
    Ok(())
}

async fn enrolled(options: SiteOptions) -> Result<Site> {
    let site = Site::open(options).await?;
    site.enroll().await?;
    Ok(site)
}

/// An address where nobody listens.
async fn nobody() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}

fn override_with(site: &Site, text: &str) -> Result<()> {
    let folder = site.folder().join("bridge.d");
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("90-test.toml"), text)?;
    Ok(())
}

#[tokio::test]
async fn a_healthy_site_passes_with_and_without_its_daemon() -> Result<()> {
    let mut site = Site::running(SiteOptions::default()).await?;
    let run = Run::of(&site, &[]).await?;
    let none: Vec<&str> = Vec::new();
    assert_eq!((run.with("failed"), run.with("fatal")), (none.clone(), none.clone()), "{:#?}", run.findings);
    let expected = [
        "version",
        "state_key",
        "disk_space",
        "daemon",
        "cloud_name",
        "cloud_route",
        "cloud_tls",
        "cloud_answer",
        "clock",
        "identity",
        "cloud_session",
        "lock_address",
        "lock_answer",
        "lock_login",
        "lock_licence",
        "lock_clock",
        "encoder",
        "encoder",
    ];
    let ok = run.with("ok");
    for id in expected {
        assert!(ok.contains(&id), "{id} is not ok: {:#?}", run.findings);
    }
    assert_eq!(ok.iter().filter(|id| **id == "encoder").count(), 2, "each encoder by itself");
    assert!(run.evidence("cloud_tls").contains("issued by"), "{}", run.evidence("cloud_tls"));
    assert!(run.evidence("identity").contains("Example"), "the workspace is named");

    // Reading cards to look at the encoders wrote none.
    let effects = site.simulator.get("/effects").await?;
    assert_eq!(effects["by_card"], json!({}), "{effects}");

    let (_, text, _) = site.bridge_command(&["check"]).await?;
    assert!(
        text.contains("cloud_route") && text.lines().last().is_some_and(|line| line.contains("0 failed")),
        "{text}"
    );
    let (code, list, _) = site.bridge_command(&["check", "--list"]).await?;
    assert_eq!(code, 0);
    assert!(expected.iter().all(|id| list.contains(id)), "{list}");
    let one = Run::of(&site, &["--only", "clock"]).await?;
    assert_eq!((one.code, one.findings.len()), (0, 1), "{:#?}", one.findings);
    let (code, _, stderr) = site.bridge_command(&["check", "--only", "weather"]).await?;
    assert!(code == 2 && stderr.contains("cloud_route"), "a wrong id is told with the right ones: {stderr}");

    site.stop_bridge().await?;
    let run = Run::of(&site, &[]).await?;
    assert_eq!((run.code, run.with("warning"), run.with("failed")), (3, vec!["daemon"], none), "{:#?}", run.findings);
    Ok(())
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_closed_port_are_told_apart() -> Result<()> {
    let site = enrolled(SiteOptions::default()).await?;
    move_cloud(&site, "cloud.invalid")?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("cloud_name").contains("cloud.invalid"));
    let address = nobody().await?;
    move_cloud(&site, &format!("localhost:{}", address.port()))?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("cloud_route").contains(&address.port().to_string()));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named() -> Result<()> {
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let address = proxy.local_addr()?;
    let _refusing = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut client, _)) = proxy.accept().await {
            // A look at the address alone says nothing.
            let mut head = [0; 1024];
            if matches!(client.read(&mut head).await, Ok(1..)) {
                let _gone = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
            }
        }
    }));
    let tables = format!("[network]\nproxy = \"http://{address}\"");
    let site = enrolled(SiteOptions { tables, ..SiteOptions::default() }).await?;
    move_cloud(&site, "hub.example.com:8443")?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("cloud_proxy").contains("403"));
    Ok(())
}

#[tokio::test]
async fn a_box_that_inspects_tls_is_named_by_its_issuer() -> Result<()> {
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(vec!["localhost".to_owned()])?;
    certificate.distinguished_name.push(DnType::CommonName, "Example Inspection CA");
    let certificate = certificate.self_signed(&key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )?;
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let _inspecting = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Whoever does not trust us hangs up.
            let _refused = acceptor.accept(stream).await;
        }
    }));
    let site = enrolled(SiteOptions::default()).await?;
    move_cloud(&site, &format!("localhost:{port}"))?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("cloud_tls").contains("Example Inspection CA"));
    Ok(())
}

#[tokio::test]
async fn a_revoked_bridge_has_no_session() -> Result<()> {
    let site = Site::running(SiteOptions::default()).await?;
    let bridge_id = site.status().await?["bridge"]["bridge_id"].as_str().context("an id")?.to_owned();
    site.cloud_command(&["bridge", "revoke"], &[&bridge_id]).await?;
    let refused =
        |status: &Value| status["cloud"]["last_error"]["code"] == "identity" && status["cloud"]["connected"] == false;
    site.wait_for_status("the refusal", Duration::from_secs(30), refused).await?;
    let run = Run::of(&site, &["--only", "cloud_route", "--only", "cloud_tls", "--only", "cloud_session"]).await?;
    run.only_failure("cloud_session");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_the_lock_server_is_told_by_kind() -> Result<()> {
    let mut site = enrolled(SiteOptions::default()).await?;
    site.simulator.post("/licence", json!({ "ship": false })).await?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("lock_licence").contains("13"));
    site.simulator.post("/licence", json!({ "ship": true })).await?;

    // Somebody else's port.
    let port = site.simulator_control.rsplit_once(':').context("a port")?.1.to_owned();
    override_with(&site, &format!("[lock_system.main]\nport = {port}\ncall_timeout_s = 3\n"))?;
    Run::of(&site, &[]).await?.only_failure("lock_answer");
    override_with(&site, "")?;

    site.kill_simulator().await?;
    Run::of(&site, &[]).await?.only_failure("lock_address");
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_is_a_login_that_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (login, password) = (folder.path().join("login"), folder.path().join("password"));
    std::fs::write(&login, "basic lockbridge:right-password\n")?;
    std::fs::write(&password, "wrong-password\n")?;
    let lines =
        format!("authentication = \"basic\"\nuser = \"lockbridge\"\npassword_file = \"{}\"", password.display());
    let simulator = vec!["--http-login-file".to_owned(), login.display().to_string()];
    let site = enrolled(SiteOptions { http: Some(lines), simulator, ..SiteOptions::default() }).await?;
    let run = Run::of(&site, &[]).await?;
    let shown = format!("{:?}", run.findings);
    assert!(!shown.contains("right-password") && !shown.contains("wrong-password"), "{shown}");
    run.only_failure("lock_login");
    std::fs::write(&password, "right-password\n")?;
    let run = Run::of(&site, &[]).await?;
    assert_eq!(run.with("failed"), Vec::<&str>::new(), "{:#?}", run.findings);
    Ok(())
}

#[tokio::test]
async fn an_encoder_that_is_not_known_or_not_there_is_named() -> Result<()> {
    let site = enrolled(SiteOptions::default()).await?;
    override_with(&site, "[lock_system.main]\nencoders = [\"Front desk 1\", \"Front dekc 2\"]\n")?;
    let run = Run::of(&site, &[]).await?;
    run.only_failure("encoder");
    let failed = run.findings.iter().find(|finding| finding["outcome"] == "failed").context("a failure")?;
    assert_eq!(failed["subject"], "main/Front dekc 2");
    override_with(&site, "[lock_system.main]\nencoders = [\"Front desk 2\"]\n")?;
    site.simulator.post("/encoders/plug", json!({ "encoder": "Front desk 2", "plugged": false })).await?;
    let run = Run::of(&site, &["--only", "encoder"]).await?;
    assert!(run.only_failure("encoder").contains("401"));
    Ok(())
}

#[tokio::test]
async fn a_disk_too_small_and_a_wrong_configuration_are_told() -> Result<()> {
    let site = Site::open(SiteOptions::default()).await?;
    override_with(&site, "[storage]\naudit_retention_mib = 1048576\ndisk_reserve_mib = 65536\n")?;
    let run = Run::of(&site, &[]).await?;
    assert!(run.only_failure("disk_space").contains("MiB"));
    assert_eq!(run.with("warning"), ["daemon", "identity"], "not enrolled is to be looked at: {:#?}", run.findings);
    override_with(&site, "[lock_system.main]\nport = \"eighty\"\n")?;
    let run = Run::of(&site, &[]).await?;
    assert_eq!((run.code, run.with("fatal")), (1, vec!["configuration"]));
    assert!(run.evidence("configuration").contains("lock_system.main.port"));
    Ok(())
}

const LINE: [&str; 2] = ["--only", "line"];

#[tokio::test]
async fn a_serial_line_to_a_key_service_is_looked_at_with_and_without_the_daemon() -> Result<()> {
    let keys = KeyService::start(Way::Pty, 2, &[]).await?;
    let mut site = enrolled(SiteOptions { tables: keys.lock_system(""), ..SiteOptions::default() }).await?;
    let run = Run::of(&site, &LINE).await?;
    assert_eq!((run.code, run.with("ok")), (0, vec!["line"]), "{:#?}", run.findings);
    assert!(run.evidence("line").contains("the link was alive"), "{:#?}", run.findings);

    override_with(&site, "[lock_system.hotel]\nchecksum = false\n")?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("checksum"), "{:#?}", run.findings);
    override_with(&site, "[lock_system.hotel]\ndevice = \"/dev/lockbridge/nowhere\"\n")?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("is not there"), "{:#?}", run.findings);
    override_with(&site, "")?;

    let reached = |status: &Value| {
        let systems = status["lock_systems"].as_array().map(Vec::as_slice).unwrap_or_default();
        systems.iter().any(|system| system["name"] == "hotel" && system["reachable"] == true)
    };
    site.start_bridge().await?;
    site.wait_for_status("the key service", Duration::from_secs(30), reached).await?;
    let run = Run::of(&site, &LINE).await?;
    assert_eq!(run.with("ok"), ["line"], "{:#?}", run.findings);
    assert!(run.evidence("line").contains("held by the daemon"), "{:#?}", run.findings);

    keys.panel.control.post("/plug", json!({ "plugged": false })).await?;
    site.wait_for_status("the unplugged line", Duration::from_secs(30), |status| {
        status["lines"][0]["open"] == false && !reached(status)
    })
    .await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("the daemon has no line"), "{:#?}", run.findings);
    Ok(())
}

#[tokio::test]
async fn a_front_desk_is_looked_at_and_its_link_is_left_to_the_daemon() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut desk = FiasSimulator::start(folder.path(), &["--role", "pms"]).await?;
    let tables = format!("[front_desk.reception]\nhost = \"127.0.0.1\"\nport = {}\n", desk.port()?);
    let mut site = enrolled(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.evidence("line").contains("begins the link"), "{:#?}", run.findings);
    assert_eq!((run.code, run.finding("line")["subject"].as_str()), (0, Some("front_desk:reception")));
    let state = desk.control.get("/state").await?;
    assert_eq!(state["times_alive"], 0, "no link is promised that nobody serves: {state}");

    override_with(&site, "[front_desk.reception]\nacknowledges = true\n")?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("acknowledges none"), "{:#?}", run.findings);
    override_with(&site, "")?;

    site.start_bridge().await?;
    desk.alive(1).await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.evidence("line").contains("held by the daemon") && run.code == 0, "{:#?}", run.findings);
    site.stop_bridge().await?;
    desk.kill().await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("refuses connections"), "{:#?}", run.findings);
    Ok(())
}

#[tokio::test]
async fn a_front_desk_that_may_not_connect_is_named_with_and_without_the_daemon() -> Result<()> {
    let listen = nobody().await?;
    let tables =
        format!("[front_desk.reception]\ntransport = \"listen\"\nlisten = \"{listen}\"\nallow = [\"192.0.2.30\"]\n");
    let mut site = enrolled(SiteOptions { tables, ..SiteOptions::default() }).await?;
    let folder = tempfile::tempdir()?;
    let _desk = FiasSimulator::start(folder.path(), &["--role", "pms", "--dial", &listen.to_string()]).await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("127.0.0.1 connected"), "{:#?}", run.findings);

    site.start_bridge().await?;
    let cut_off = |status: &Value| status["lines"][0]["strangers"].as_u64() > Some(0);
    site.wait_for_status("a stranger", Duration::from_secs(30), cut_off).await?;
    let run = Run::of(&site, &LINE).await?;
    assert!(run.only_failure("line").contains("127.0.0.1, which is not in `allow`"), "{:#?}", run.findings);
    Ok(())
}

#[tokio::test]
async fn an_encoder_that_still_waits_for_the_card_of_an_earlier_look_is_told_as_that() -> Result<()> {
    let simulator = ["--card-wait", "60000"].map(str::to_owned).to_vec();
    let site = enrolled(SiteOptions { simulator, ..SiteOptions::default() }).await?;
    override_with(&site, "[lock_system.main]\nencoders = [\"Front desk 1\"]\n")?;
    let encoder = ["--only", "encoder"];
    let first = Run::of(&site, &encoder).await?;
    assert!(first.evidence("encoder").contains("waits for a card"), "{:#?}", first.findings);
    let second = Run::of(&site, &encoder).await?;
    assert_eq!(second.with("ok"), ["encoder"], "{:#?}", second.findings);
    assert!(second.evidence("encoder").contains("an earlier look"), "{:#?}", second.findings);
    // A card ends the earlier look.
    guest::put_blank(&site, "Front desk 1").await?;
    let third = Run::of(&site, &encoder).await?;
    assert!(third.evidence("encoder").contains("read the card"), "{:#?}", third.findings);
    Ok(())
}
