//! The property software of the site that asks this bridge for keys, where there is one.

use super::port::{baud, device, format, ports};
use super::rules::{addresses, always, host, one_of, own_address, port, short_name, yes_or_no};
use super::{Group, Question};
use crate::setup::Answers;

/// In the order in which they are asked.
pub(super) const FRONT_DESK: &[Question] = &[
    Question {
        key: "front_desk",
        source: "front_desk",
        flag: "front-desk",
        group: Group::FrontDesk,
        prompt: "Short name of the front desk whose software asks this bridge for keys over FIAS (`none` without)",
        wanted: always,
        default: |_| Some("none".to_owned()),
        check: |_, text| short_name(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_transport",
        source: "front_desk_transport",
        flag: "front-desk-transport",
        group: Group::FrontDesk,
        prompt: "How the front desk is reached: tcp (we connect), listen (it connects to us) or serial",
        wanted: Answers::has_front_desk,
        // The property software listens, as specified.
        default: |_| Some("tcp".to_owned()),
        check: |_, text| one_of(text, &["tcp", "listen", "serial"]),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_host",
        source: "front_desk_host",
        flag: "front-desk-host",
        group: Group::FrontDesk,
        prompt: "Name or address of the machine with the property software",
        wanted: |answers| is_over(answers, "tcp"),
        check: |_, text| host(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_port",
        source: "front_desk_port",
        flag: "front-desk-port",
        group: Group::FrontDesk,
        prompt: "TCP port of its key interface",
        wanted: |answers| is_over(answers, "tcp"),
        check: |_, text| port(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_listen",
        source: "front_desk_listen",
        flag: "front-desk-listen",
        group: Group::FrontDesk,
        prompt: "Address and port of this machine that the property software connects to, as 192.0.2.10:5003",
        wanted: |answers| is_over(answers, "listen"),
        check: |answers, text| {
            own_address(text)?;
            if answers.text("listen") == Some(text) {
                return Err(format!("{text} is where the key service connects to; each needs a port of its own"));
            }
            Ok(())
        },
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_allow",
        source: "front_desk_allow",
        flag: "front-desk-allow",
        group: Group::FrontDesk,
        prompt: "Addresses that may connect there, with commas between them",
        wanted: |answers| is_over(answers, "listen"),
        check: |_, text| addresses(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_device",
        source: "front_desk_device",
        flag: "front-desk-device",
        group: Group::FrontDesk,
        prompt: "Stable path of the serial port to the front desk, as /dev/lockbridge/front-desk",
        wanted: |answers| is_over(answers, "serial"),
        check: |answers, text| {
            device(text)?;
            if answers.text("device") == Some(text) {
                return Err(format!("{text} is the port of the lock system; a port has one line"));
            }
            Ok(())
        },
        suggestions: ports,
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_baud",
        source: "front_desk_baud",
        flag: "front-desk-baud",
        group: Group::FrontDesk,
        prompt: "Speed of that serial port, as set at the other end",
        wanted: |answers| is_over(answers, "serial"),
        check: |_, text| baud(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_format",
        source: "front_desk_format",
        flag: "front-desk-format",
        group: Group::FrontDesk,
        prompt: "Data bits, parity and stop bits of it, as set at the other end, as 8N1",
        wanted: |answers| is_over(answers, "serial"),
        check: |_, text| format(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_acknowledges",
        source: "front_desk_acknowledges",
        flag: "front-desk-acknowledges",
        group: Group::FrontDesk,
        prompt: "Is a serial-to-Ethernet converter in between, so that records are acknowledged: yes or no",
        wanted: |answers| Answers::has_front_desk(answers) && !is_over(answers, "serial"),
        default: |_| Some("no".to_owned()),
        check: |_, text| yes_or_no(text),
        ..Question::PLAIN
    },
    Question {
        key: "front_desk_checksum",
        source: "front_desk_checksum",
        flag: "front-desk-checksum",
        group: Group::FrontDesk,
        prompt: "Do its frames end with a checksum (LRC), as set at the other end: yes or no",
        wanted: |answers| is_over(answers, "serial") || answers.is_yes("front_desk_acknowledges"),
        default: |_| Some("yes".to_owned()),
        check: |_, text| yes_or_no(text),
        ..Question::PLAIN
    },
];

fn is_over(answers: &Answers, transport: &str) -> bool {
    answers.has_front_desk() && answers.is("front_desk_transport", transport)
}
