//! Validation of a byte line: where it leads, and how a port is set.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::section::Section;
use crate::link::{DataBits, Endpoint, FlowControl, Parity, SerialSettings, StopBits};

/// The keys of this part, for messages.
pub(super) const LINE_KEYS: &str = "transport, host, port, ca_file, certificate_sha256, listen, allow, device, baud, \
                                    data_bits, parity, stop_bits, flow_control";

#[derive(Clone, Copy)]
enum Transport {
    Tcp,
    Tls,
    Listen,
    Serial,
}

/// The line that a section describes. `default`: its transport when none is named.
pub(super) fn endpoint(section: &mut Section, default: &str) -> Option<Endpoint> {
    let transport = section.choice(
        "transport",
        &[
            ("tcp", Transport::Tcp),
            ("tls", Transport::Tls),
            ("listen", Transport::Listen),
            ("serial", Transport::Serial),
        ],
        default,
    )?;
    match transport {
        Transport::Tcp => {
            let (host, port) = host_and_port(section);
            Some(Endpoint::Dial { host: host?, port: port? })
        }
        Transport::Tls => {
            let (host, port) = host_and_port(section);
            let trust = super::salto_space::trust(section, true);
            Some(Endpoint::DialTls { host: host?, port: port?, trust: trust? })
        }
        Transport::Listen => {
            let expected = "our address and port, as 192.0.2.10:5003";
            let address = section.required_parsed("listen", expected, |text| text.parse::<SocketAddr>().ok());
            let mut allow = Vec::new();
            for text in section.texts("allow") {
                match text.parse::<IpAddr>() {
                    Ok(peer) => allow.push(peer),
                    Err(_) => section.problem("allow", Some(&format!("{text:?}")), "addresses without ports"),
                }
            }
            if allow.is_empty() {
                section.missing("allow", "the addresses that may connect, as [\"192.0.2.30\"]");
            }
            Some(Endpoint::Listen { address: address?, allow })
        }
        Transport::Serial => serial(section).map(Endpoint::Serial),
    }
}

fn host_and_port(section: &mut Section) -> (Option<String>, Option<u16>) {
    let host = section.required("host", "name or address of the other side");
    let port = section.required_parsed("port", "a TCP port", |text| text.parse::<u16>().ok().filter(|port| *port > 0));
    (host, port)
}

fn serial(section: &mut Section) -> Option<SerialSettings> {
    let expected = "the stable path of the port, as /dev/lockbridge/front-desk";
    let device =
        section.required_parsed("device", expected, |text| Path::new(text).is_absolute().then(|| PathBuf::from(text)));
    let baud = section.number("baud", 300..=921_600, 9_600);
    let data_bits = section.choice("data_bits", &[("8", DataBits::Eight), ("7", DataBits::Seven)], "8");
    let parity =
        section.choice("parity", &[("none", Parity::None), ("odd", Parity::Odd), ("even", Parity::Even)], "none");
    let stop_bits = section.choice("stop_bits", &[("1", StopBits::One), ("2", StopBits::Two)], "1");
    let flow_control = section.choice(
        "flow_control",
        &[("none", FlowControl::None), ("hardware", FlowControl::Hardware), ("software", FlowControl::Software)],
        "none",
    );
    Some(SerialSettings {
        device: device?,
        baud: u32::try_from(baud).ok()?,
        data_bits: data_bits?,
        parity: parity?,
        stop_bits: stop_bits?,
        flow_control: flow_control?,
    })
}
