//! Validation of the SALTO Space part of a lock system.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::salto_pms;
use super::section::Section;
use super::types::{
    AccessLevelConfig, CancelKey, EncoderConfig, EventStreamConfig, HttpAuthentication, RightsMode, SaltoSpaceConfig,
    ShipTransport, TlsTrust,
};

/// The keys of this part, for messages.
pub(super) const KEYS: &str = "transport, host, port, url, authentication, user, password_file, password_credential, \
                               key_file, key_credential, ca_file, certificate_sha256, stp_version, page_size, encoders, \
                               access_levels, rights, cancel_key, cancel_key_request, audit_interval_s, event_stream, \
                               mobile_keys, pms";

/// Reads the vendor part; problems are noted in the section.
pub(super) fn validate(section: &mut Section) -> Option<SaltoSpaceConfig> {
    let transport = transport(section);
    let stp_version = section.parsed_or("stp_version", "00 or 01", "00".to_owned(), |text| {
        matches!(text, "00" | "01").then(|| text.to_owned())
    });
    let page_size = section.number("page_size", 2..=10_000, 100);
    let encoders = encoders(section);
    let access_levels = access_levels(section);
    let rights = section.choice(
        "rights",
        &[("levels_and_doors", RightsMode::LevelsAndDoors), ("levels_only", RightsMode::LevelsOnly)],
        "levels_and_doors",
    );
    let cancel_key = cancel_key(section);
    let audit_interval = Duration::from_secs(section.number("audit_interval_s", 1..=3600, 5));
    let event_stream = section.optional_section("event_stream").map(event_stream);
    let mobile_keys = section.flag("mobile_keys", false);
    let pms = section.optional_section("pms").map(|mut section| {
        let pms = salto_pms::validate(&mut section, true);
        section.finish(&salto_pms::keys());
        pms
    });
    if pms.is_some() {
        salto_pms::check_encoders(section, &encoders);
    }
    Some(SaltoSpaceConfig {
        transport: transport?,
        stp_version: stp_version.as_bytes().try_into().ok()?,
        page_size: u32::try_from(page_size).ok()?,
        encoders,
        access_levels,
        rights: rights?,
        cancel_key: cancel_key?,
        audit_interval,
        event_stream: match event_stream {
            Some(stream) => Some(stream?),
            None => None,
        },
        mobile_keys,
        pms: match pms {
            Some(pms) => Some(Box::new(pms?)),
            None => None,
        },
    })
}

#[derive(Clone, Copy)]
enum Transport {
    Stp,
    Http,
}

fn transport(section: &mut Section) -> Option<ShipTransport> {
    match section.choice("transport", &[("stp", Transport::Stp), ("http", Transport::Http)], "stp")? {
        Transport::Stp => {
            let host = section.required("host", "name or address of the Space server");
            let expected = "the TCP port set under System > General options > SHIP";
            let port =
                section.required_parsed("port", expected, |text| text.parse::<u16>().ok().filter(|port| *port != 0));
            Some(ShipTransport::Stp { host: host?, port: port? })
        }
        Transport::Http => {
            let expected = "http://host:8100 or https://host, without user or query";
            let url = section.required_parsed("url", expected, |text| {
                url::Url::parse(text).ok().filter(|url| {
                    matches!(url.scheme(), "http" | "https")
                        && url.username().is_empty()
                        && url.password().is_none()
                        && url.query().is_none()
                        && url.has_host()
                })
            });
            let authentication = authentication(section);
            let trust = trust(section, url.as_ref().is_some_and(|url| url.scheme() == "https"));
            Some(ShipTransport::Http { url: url?, authentication: authentication?, trust: trust? })
        }
    }
}

fn authentication(section: &mut Section) -> Option<HttpAuthentication> {
    match section.choice("authentication", &[("none", 0), ("basic", 1), ("custom", 2)], "none")? {
        1 => {
            let user = section.required("user", "the user name of the SHIP tab");
            let password = section.secret("password");
            if password.is_none() {
                section.missing("password_file", "where the password of the SHIP tab is (or password_credential)");
            }
            Some(HttpAuthentication::Basic { user: user?, password: password? })
        }
        2 => {
            let key = section.secret("key");
            if key.is_none() {
                section.missing("key_file", "where the shared key of the SHIP tab is (or key_credential)");
            }
            Some(HttpAuthentication::Custom { key: key? })
        }
        _ => Some(HttpAuthentication::None),
    }
}

/// What to trust of a TLS server; noted as missing where it is needed.
pub(super) fn trust(section: &mut Section, needed: bool) -> Option<TlsTrust> {
    let ca_file = section.text("ca_file");
    let pin = section.parsed("certificate_sha256", "64 hexadecimal digits", |text| {
        HEXLOWER_PERMISSIVE.decode(text.replace(':', "").as_bytes()).ok()?.try_into().ok()
    });
    match (ca_file, pin) {
        (Some(_), Some(_)) => {
            section.problem("certificate_sha256", Some("both ca_file and certificate_sha256"), "one of the two");
            None
        }
        (Some(file), None) => Some(TlsTrust::CaFile(file.into())),
        (None, Some(pin)) => Some(TlsTrust::Pin(pin)),
        (None, None) if needed => {
            section.missing("ca_file", "what to trust on https: a PEM file, or certificate_sha256 of the server");
            None
        }
        // Plain HTTP: the value is never used.
        (None, None) => Some(TlsTrust::Pin([0; 32])),
    }
}

/// Encoders by name.
pub(super) fn encoders(section: &mut Section) -> Vec<EncoderConfig> {
    let mut seen = BTreeSet::new();
    let mut encoders = Vec::new();
    for mut item in section.items("encoders", "name", "a list of encoder names, spelled as in Space") {
        let name = item.required("name", "the encoder's name, spelled as in Space");
        let display_name = item.text("display_name");
        if let Some(name) = name {
            if !seen.insert(name.clone()) {
                item.problem("name", Some(&format!("{name:?} again")), "each encoder once");
            }
            encoders.push(EncoderConfig { display_name: display_name.unwrap_or_else(|| name.clone()), name });
        }
        item.finish("name, display_name");
    }
    encoders
}

fn access_levels(section: &mut Section) -> Vec<AccessLevelConfig> {
    let mut levels = Vec::new();
    for mut item in section.items("access_levels", "", "a list of tables with external_id, name and entrances") {
        let external_id = item.required("external_id", "the level's ExtGroupID in Space");
        let name = item.text("name");
        let entrances = item.texts("entrances");
        if entrances.is_empty() {
            item.missing("entrances", "the ExtDoorID of each door of the level");
        }
        if let Some(external_id) = external_id {
            levels.push(AccessLevelConfig {
                name: name.unwrap_or_else(|| external_id.clone()),
                external_id,
                entrances,
            });
        }
        item.finish("external_id, name, entrances");
    }
    levels
}

fn cancel_key(section: &mut Section) -> Option<CancelKey> {
    let request = section.text("cancel_key_request");
    match (section.choice("cancel_key", &[("ban_user", 0), ("delete_user", 1), ("request", 2)], "ban_user")?, request) {
        (2, Some(request)) => Some(CancelKey::Request(request)),
        (2, None) => {
            section.missing("cancel_key_request", "the request's name in the vendor's specification");
            None
        }
        (_, Some(_)) => {
            section.problem("cancel_key_request", Some("a request name"), "cancel_key = \"request\" beside it");
            None
        }
        (1, None) => Some(CancelKey::DeleteUser),
        (_, None) => Some(CancelKey::BanUser),
    }
}

fn event_stream(mut section: Section) -> Option<EventStreamConfig> {
    let listen = section
        .required_parsed("listen", "our address and port on the lock network", |text| text.parse::<SocketAddr>().ok());
    let from = section.required_parsed("from", "the address of the Space server", |text| text.parse::<IpAddr>().ok());
    let udp = section.choice("protocol", &[("udp", true), ("tcp", false)], "tcp");
    section.finish("listen, protocol, from");
    Some(EventStreamConfig { listen: listen?, udp: udp?, from: from? })
}
