use std::path::{Path, PathBuf};

use super::*;

struct Site(tempfile::TempDir);

impl Site {
    fn new(bridge: &str) -> Self {
        let site = Self(tempfile::tempdir().expect("a temporary folder"));
        site.write("bridge.toml", bridge);
        site
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("bridge.toml")
    }

    fn problems(&self) -> Vec<Problem> {
        load(&self.file()).expect_err("refused").problems
    }
}

const SMALL: &str = r#"
[lock_system.main]
kind = "salto_space"
time_zone = "Europe/Madrid"
host = "192.0.2.20"
port = 8050
encoders = ["Front desk 1", { name = "Front desk 2", display_name = "Left desk" }]
"#;

#[test]
fn a_small_file_gets_every_default() {
    let config = load(&Site::new(SMALL).file()).expect("holds").config;
    assert_eq!(config.health_address.to_string(), "127.0.0.1:7780");
    assert_eq!(config.disk_reserve_bytes, 256 * 1024 * 1024);
    let [system] = config.lock_systems.as_slice() else { panic!("one system") };
    assert_eq!((system.name.as_str(), system.connections), ("main", 2));
    let LockSystemKind::SaltoSpace(space) = &system.kind else { panic!("SALTO Space") };
    assert!(matches!(&space.transport, ShipTransport::Stp { host, port: 8050 } if host == "192.0.2.20"));
    assert_eq!(space.stp_version, *b"00");
    assert_eq!(space.encoders[1].display_name, "Left desk");
    assert_eq!((space.rights, &space.cancel_key), (RightsMode::LevelsAndDoors, &CancelKey::BanUser));
}

#[test]
fn later_layers_win_key_by_key_and_origins_are_told() {
    let site = Site::new(SMALL);
    site.write("bridge.d/20-port.toml", "[lock_system.main]\nport = 9100\n");
    site.write("bridge.d/10-port.toml", "[lock_system.main]\nport = 9000\nconnections = 3\n");
    site.write("bridge.d/notes.txt", "not read");
    let loaded = load(&site.file()).expect("holds");
    let origin = |key: &str| {
        let value = loaded.effective.iter().find(|value| value.key == key).expect("in force");
        (value.value.clone(), Path::new(&value.origin).file_name().and_then(|name| name.to_str().map(str::to_owned)))
    };
    assert_eq!(origin("lock_system.main.port"), ("9100".into(), Some("20-port.toml".into())));
    assert_eq!(origin("lock_system.main.connections"), ("3".into(), Some("10-port.toml".into())));
    assert_eq!(origin("lock_system.main.host"), ("\"192.0.2.20\"".into(), Some("bridge.toml".into())));
    assert_eq!(origin("log.level"), ("info".into(), Some("default".into())));
}

#[test]
fn ten_mistakes_are_told_at_once() {
    let site = Site::new(
        r#"
[bridge]
state_directory = "relative/path"
colour = "blue"
[health]
address = "0.0.0.0:7780"
[log]
level = "loud"
[network]
proxy = "socks5://proxy.example.com"
[storage]
disk_reserve_mib = -1
[lock_system.Main]
kind = "salto_space"
time_zone = "Europe/Atlantis"
transport = "http"
url = "ftp://192.0.2.20"
authentication = "basic"
password = "hunter2"
"#,
    );
    let problems = site.problems();
    let keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    for key in [
        "bridge.state_directory",
        "bridge.colour",
        "health.address",
        "log.level",
        "network.proxy",
        "storage.disk_reserve_mib",
        "lock_system.Main.(name)",
        "lock_system.Main.time_zone",
        "lock_system.Main.url",
        "lock_system.Main.user",
        "lock_system.Main.password",
        "lock_system.Main.password_file",
    ] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
    let text = load(&site.file()).expect_err("refused").to_string();
    assert!(
        text.contains("bridge.toml: health.address: found \"0.0.0.0:7780\", expected a loopback address"),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "a secret written by mistake is not repeated");
}

#[test]
fn unreadable_files_are_named() {
    let site = Site::new("[bridge\n");
    assert!(site.problems().iter().any(|problem| problem.key == "(file)" && problem.expected == "valid TOML"));
    let missing = load(Path::new("/nonexistent/bridge.toml")).expect_err("refused");
    assert!(missing.to_string().contains("/nonexistent/bridge.toml"), "{missing}");
}

#[test]
fn https_needs_something_to_trust() {
    let https =
        SMALL.replace("host = \"192.0.2.20\"\nport = 8050", "transport = \"http\"\nurl = \"https://192.0.2.20\"");
    let problems = Site::new(&https).problems();
    assert!(problems.iter().any(|problem| problem.key == "lock_system.main.ca_file"), "{problems:?}");
    let pinned = format!("{https}certificate_sha256 = \"{}\"\n", "ab".repeat(32));
    let config = load(&Site::new(&pinned).file()).expect("holds").config;
    let LockSystemKind::SaltoSpace(space) = &config.lock_systems[0].kind else { panic!("SALTO Space") };
    assert!(matches!(&space.transport, ShipTransport::Http { trust: TlsTrust::Pin([0xAB, ..]), .. }));
}

#[test]
fn wrong_types_are_told_not_guessed() {
    for (line, key) in [
        ("port = \"eighty\"", "lock_system.main.port"),
        ("port = 0", "lock_system.main.port"),
        ("page_size = 1", "lock_system.main.page_size"),
        ("encoders = \"Front desk 1\"", "lock_system.main.encoders"),
        ("encoders = [\"A\", \"A\"]", "lock_system.main.encoders[1].name"),
        ("event_stream = true", "lock_system.main.event_stream"),
        ("cancel_key = \"request\"", "lock_system.main.cancel_key_request"),
        ("access_levels = [{ external_id = \"L1\" }]", "lock_system.main.access_levels[0].entrances"),
        ("ports = 3", "lock_system.main.ports"),
    ] {
        let site = Site::new(SMALL);
        site.write("bridge.d/bad.toml", &format!("[lock_system.main]\n{line}\n"));
        let problems = site.problems();
        assert!(problems.iter().any(|problem| problem.key == key), "{line}: {problems:?}");
    }
}

#[test]
fn the_packaged_file_holds_and_documents_every_key() {
    let text = include_str!("../../../packaging/config/bridge.toml");
    // As installed it says what is missing, and nothing else; with its examples in force it holds.
    let unset = Site::new(text).problems();
    assert!(matches!(unset.as_slice(), [missing] if missing.key == "lock_system.<name>"), "{unset:?}");
    let examples = [
        "[lock_system.main]",
        "[front_desk.reception]",
        "kind = ",
        "time_zone = ",
        "host = ",
        "port = ",
        "encoders = ",
    ];
    let in_force = |line: &str| examples.iter().any(|example| line.starts_with(&format!("#{example}")));
    let filled: Vec<&str> =
        text.lines().map(|line| line.strip_prefix('#').filter(|_| in_force(line)).unwrap_or(line)).collect();
    load(&Site::new(&filled.join("\n")).file()).expect("the packaged examples hold");
    let common = "state_directory control_socket policy_file state_key_file state_key_credential address format level \
                  proxy proxy_password_file proxy_password_credential disk_reserve_mib audit_retention_mib";
    let keys = common.split_whitespace().map(str::to_owned);
    let pms_keys = salto_pms::keys();
    let vendor = salto_space::KEYS.split(", ").chain(validate::COMMON_KEYS.split(", "));
    let vendor = vendor.chain(front_desk::KEYS.split(", ")).chain(line::LINE_KEYS.split(", "));
    let fias_keys = fias::keys();
    let vendor = vendor.chain(fias_keys.split(", ")).chain(pms_keys.split(", "));
    let spelled_alike = ["password_credential", "key_credential"];
    for key in keys.chain(vendor.map(|key| key.trim().to_owned())).filter(|key| !spelled_alike.contains(&key.as_str()))
    {
        let documented = text.lines().any(|line| line.trim_start_matches('#').starts_with(&format!("{key} = ")));
        assert!(documented, "{key} is not in packaging/config/bridge.toml");
    }
}

#[test]
fn the_examples_of_the_front_desk_document_hold() {
    let text = include_str!("../../../packaging/FRONT-DESK.md");
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(example, _)| example).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let system = if example.contains("[lock_system.main]") { "" } else { SMALL };
        load(&Site::new(&format!("{system}\n{example}")).file()).expect("the example holds");
    }
}

const DESK: &str = r#"
[front_desk.reception]
host = "192.0.2.30"
port = 5003
"#;

#[test]
fn a_front_desk_needs_an_address_and_takes_the_only_lock_system() {
    let config = load(&Site::new(&format!("{SMALL}{DESK}")).file()).expect("holds").config;
    let [desk] = config.front_desks.as_slice() else { panic!("one front desk") };
    assert_eq!((desk.name.as_str(), desk.lock_system.as_str()), ("reception", "main"));
    assert_eq!(desk.endpoint.to_string(), "192.0.2.30 port 5003");
    assert_eq!((desk.acknowledges, desk.checksum, desk.replaces), (false, false, false));
    assert_eq!(desk.check_out.to_string(), "12:00:00");

    let serial = "[front_desk.lobby]\ntransport = \"serial\"\ndevice = \"/dev/lockbridge/pms\"\ncode_page = \"cp850\"\n\
                  rooms = { \"0101\" = \"D101\" }\nencoders = { \"1\" = \"Front desk 1\" }\n";
    let config = load(&Site::new(&format!("{SMALL}{serial}")).file()).expect("holds").config;
    let [desk] = config.front_desks.as_slice() else { panic!("one front desk") };
    assert!(desk.acknowledges && desk.checksum, "a serial line is used as the protocol says");
    assert_eq!(desk.rooms.get("0101").map(String::as_str), Some("D101"), "leading zeros count");
}

#[test]
fn mistakes_of_a_front_desk_are_told_by_key() {
    for (lines, key) in [
        ("host = \"192.0.2.30\"\n", "front_desk.reception.port"),
        ("host = \"h\"\nport = 1\nlock_system = \"other\"\n", "front_desk.reception.lock_system"),
        ("transport = \"listen\"\nlisten = \"192.0.2.10:5003\"\n", "front_desk.reception.allow"),
        ("transport = \"listen\"\nlisten = \"192.0.2.10:5003\"\nallow = [\"desk\"]\n", "front_desk.reception.allow"),
        ("transport = \"serial\"\ndevice = \"ttyS0\"\n", "front_desk.reception.device"),
        ("transport = \"serial\"\ndevice = \"/dev/x\"\nacknowledges = false\n", "front_desk.reception.acknowledges"),
        ("host = \"h\"\nport = 1\nchecksum = true\n", "front_desk.reception.checksum"),
        ("host = \"h\"\nport = 1\ncode_page = \"klingon\"\n", "front_desk.reception.code_page"),
        ("host = \"h\"\nport = 1\ncheck_out = \"noon\"\n", "front_desk.reception.check_out"),
        ("host = \"h\"\nport = 1\nlink_key = \"FidCrypt0S|x\"\n", "front_desk.reception.link_key"),
        ("host = \"h\"\nport = 1\nrooms = [\"101\"]\n", "front_desk.reception.rooms"),
        ("host = \"h\"\nport = 1\ncolour = \"red\"\n", "front_desk.reception.colour"),
    ] {
        let problems = Site::new(&format!("{SMALL}[front_desk.reception]\n{lines}")).problems();
        assert!(problems.iter().any(|problem| problem.key == key), "{lines}: {problems:?}");
    }
}

#[test]
fn a_key_service_needs_rooms_and_encoders_that_the_protocol_can_carry() {
    let service = |lines: &str| {
        format!(
            "[lock_system.hotel]\nkind = \"fias\"\ntime_zone = \"Europe/Vienna\"\nhost = \"h\"\nport = 1\ntransport = \"tcp\"\n{lines}"
        )
    };
    let whole = "rooms = [\"0101\", { name = \"2\", entrance = \"D2\" }]\nencoders = [\"1\"]\noptions = [{ position = 3, name = \"Gym\" }]\n";
    let config = load(&Site::new(&service(whole)).file()).expect("holds").config;
    let LockSystemKind::Fias(fias) = &config.lock_systems[0].kind else { panic!("a key service") };
    assert_eq!((fias.rooms[0].entrance.as_str(), fias.rooms[1].entrance.as_str()), ("0101", "D2"));
    assert_eq!(config.lock_systems[0].encode_timeout.as_secs(), 60, "longer than an answer may take");
    for (lines, key) in [
        ("encoders = [\"1\"]\n", "rooms"),
        ("rooms = [\"1\"]\n", "encoders"),
        ("rooms = [\"1|2\"]\nencoders = [\"1\"]\n", "rooms[0].name"),
        ("rooms = [\"1\", \"1\"]\nencoders = [\"1\"]\n", "rooms[1].name"),
        ("rooms = [\"1\"]\nencoders = [\"much too long\"]\n", "encoders"),
        ("rooms = [\"1\"]\nencoders = [\"1\"]\noptions = [{ position = 21, name = \"x\" }]\n", "options[0].position"),
        ("rooms = [\"1\"]\nencoders = [\"1\"]\nencode_timeout_s = 30\n", "encode_timeout_s"),
        ("rooms = [\"1\"]\nencoders = [\"1\"]\npage_size = 100\n", "page_size"),
    ] {
        let problems = Site::new(&service(lines)).problems();
        let key = format!("lock_system.hotel.{key}");
        assert!(problems.iter().any(|problem| problem.key == key), "{lines}: {problems:?}");
    }
}

const HOTEL: &str = r#"
[lock_system.hotel]
kind = "salto_pms"
time_zone = "Europe/Vienna"
transport = "serial"
device = "/dev/lockbridge/salto"
rooms = ["101"]
encoders = ["1"]
"#;

fn only_pms(text: &str) -> SaltoPmsConfig {
    let config = load(&Site::new(text).file()).expect("holds").config;
    match &config.lock_systems[0].kind {
        LockSystemKind::SaltoPms(pms) => pms.clone(),
        LockSystemKind::SaltoSpace(space) => *space.pms.clone().expect("joined"),
        LockSystemKind::Fias(_) => panic!("not FIAS"),
    }
}

#[test]
fn a_pms_line_gets_the_careful_defaults() {
    let pms = only_pms(HOTEL);
    assert_eq!(pms.endpoint.to_string(), "/dev/lockbridge/salto");
    assert_eq!(pms.checksum, lockbridge_protocol::line::Checksum::CheckedUnlessMarked);
    assert_eq!(pms.exchange, lockbridge_protocol::salto_pms::client::Settings::default());
    assert!(
        pms.check_out
            && pms.change_stays
            && pms.operator_mark
            && !pms.early_keys
            && !pms.mobile_keys
            && !pms.trust_encoder_errors
    );
    let config = load(&Site::new(HOTEL).file()).expect("holds").config;
    assert_eq!(config.lock_systems[0].encode_timeout, std::time::Duration::from_secs(60));
}

#[test]
fn a_pms_line_joins_a_space_server() {
    let joined = format!(
        "{SMALL}\n[lock_system.main.pms]\nhost = \"192.0.2.20\"\nport = 8090\nrooms = [{{ name = \"101\", entrance = \"D101\" }}]\n"
    );
    let pms = only_pms(&joined);
    assert_eq!((pms.rooms[0].name.as_str(), pms.rooms[0].entrance.as_str()), ("101", "D101"));
    assert!(pms.encoders.is_empty());
    let problems = Site::new(&joined.replace("\"Front desk 1\"", "\"Désk 1\"")).problems();
    assert!(problems.iter().any(|problem| problem.key == "lock_system.main.encoders"), "{problems:?}");
}

#[test]
fn names_that_the_pms_protocol_cannot_carry_are_refused_at_load() {
    for (line, key, word) in [
        ("rooms = [\"Pförtner\"]", "rooms[0].name", "ASCII"),
        ("rooms = [\"1234567890123456789012345\"]", "rooms[0].name", "at most 24"),
        ("rooms = [\"LM\"]", "rooms[0].name", "another name"),
        ("rooms = [\"101\", \"101\"]", "rooms[1].name", "once"),
        ("rooms = []", "rooms", "rooms that keys"),
        ("encoders = [\"Désk\"]", "encoders", "protocol"),
        ("operator = \"A NAME OF MORE THAN FIFTEEN\"", "operator", "15"),
        ("authorisations = [{ number = 63, name = \"x\" }]", "authorisations[0].number", "62"),
        (
            "authorisations = [{ number = 1, name = \"a\" }, { number = 1, name = \"b\" }]",
            "authorisations[1].number",
            "once",
        ),
        ("answer_timeout_s = 50\nencode_timeout_s = 50", "encode_timeout_s", "answer_timeout_s"),
        ("mobile_key = true", "mobile_key", "no such key"),
    ] {
        let replaced = if line.starts_with("rooms") {
            HOTEL.replace("rooms = [\"101\"]", line)
        } else if line.starts_with("encoders") {
            HOTEL.replace("encoders = [\"1\"]", line)
        } else {
            format!("{HOTEL}{line}\n")
        };
        let problems = Site::new(&replaced).problems();
        let found = problems.iter().find(|problem| problem.key == format!("lock_system.hotel.{key}"));
        let said = found.map(ToString::to_string).unwrap_or_default();
        assert!(said.contains(word), "{line}: {problems:?}");
    }
}
