//! Lock systems behind a byte line: the PMS interface of SALTO Space, and key services that speak FIAS.

use super::port::{baud, device, format, ports};
use super::rules::{addresses, host, names, one_of, own_address, port, yes_or_no};
use super::{Group, Question};
use crate::config;
use crate::setup::Answers;

/// In the order in which they are asked.
pub(super) const LINE: &[Question] = &[
    Question {
        key: "transport",
        source: "transport",
        flag: "transport",
        group: Group::LockSystem,
        prompt: "How the PMS interface of Space is reached: serial or tcp",
        wanted: is_pms,
        check: |_, text| one_of(text, &["serial", "tcp"]),
        ..Question::PLAIN
    },
    Question {
        key: "transport",
        source: "transport",
        flag: "transport",
        group: Group::LockSystem,
        prompt: "How the key service is reached: listen (it connects to us), tcp (we connect) or serial",
        wanted: is_fias,
        // The property software listens, as specified, and its part is played here.
        default: |_| Some("listen".to_owned()),
        check: |_, text| one_of(text, &["listen", "tcp", "serial"]),
        ..Question::PLAIN
    },
    Question {
        key: "host",
        source: "host",
        flag: "host",
        group: Group::LockSystem,
        prompt: "Name or address of the machine at the other end of the line",
        wanted: |answers| is_line(answers) && answers.is("transport", "tcp"),
        check: |_, text| host(text),
        ..Question::PLAIN
    },
    Question {
        key: "port",
        source: "port",
        flag: "port",
        group: Group::LockSystem,
        prompt: "TCP port there, as set in its interface",
        wanted: |answers| is_line(answers) && answers.is("transport", "tcp"),
        check: |_, text| port(text),
        ..Question::PLAIN
    },
    Question {
        key: "listen",
        source: "listen",
        flag: "listen",
        group: Group::LockSystem,
        prompt: "Address and port of this machine that the key service connects to, as 192.0.2.10:5003",
        wanted: |answers| is_line(answers) && answers.is("transport", "listen"),
        check: |_, text| own_address(text),
        ..Question::PLAIN
    },
    Question {
        key: "allow",
        source: "allow",
        flag: "allow",
        group: Group::LockSystem,
        prompt: "Addresses that may connect there, with commas between them",
        wanted: |answers| is_line(answers) && answers.is("transport", "listen"),
        check: |_, text| addresses(text),
        ..Question::PLAIN
    },
    Question {
        key: "device",
        source: "device",
        flag: "device",
        group: Group::LockSystem,
        prompt: "Stable path of the serial port, as /dev/lockbridge/front-desk",
        wanted: is_serial,
        check: |_, text| device(text),
        suggestions: ports,
        ..Question::PLAIN
    },
    Question {
        key: "baud",
        source: "baud",
        flag: "baud",
        group: Group::LockSystem,
        prompt: "Speed of the serial port, as set at the other end",
        wanted: is_serial,
        check: |_, text| baud(text),
        ..Question::PLAIN
    },
    Question {
        key: "format",
        source: "format",
        flag: "format",
        group: Group::LockSystem,
        prompt: "Data bits, parity and stop bits, as set at the other end, as 8N1",
        wanted: is_serial,
        check: |_, text| format(text),
        ..Question::PLAIN
    },
    Question {
        key: "acknowledges",
        source: "acknowledges",
        flag: "acknowledges",
        group: Group::LockSystem,
        prompt: "Is a serial-to-Ethernet converter in between, so that records are acknowledged: yes or no",
        wanted: |answers| is_fias(answers) && !answers.is("transport", "serial"),
        default: |_| Some("no".to_owned()),
        check: |_, text| yes_or_no(text),
        ..Question::PLAIN
    },
    Question {
        key: "checksum",
        source: "checksum",
        flag: "checksum",
        group: Group::LockSystem,
        prompt: "Do frames end with a checksum (LRC), as set at the other end: yes or no",
        wanted: |answers| is_pms(answers) || is_fias(answers) && (is_serial(answers) || answers.is_yes("acknowledges")),
        default: |_| Some("yes".to_owned()),
        check: |_, text| yes_or_no(text),
        ..Question::PLAIN
    },
    Question {
        key: "encoders",
        source: "encoders",
        flag: "encoders",
        group: Group::LockSystem,
        prompt: "Names or numbers of the encoders, spelled as at the other end, with commas between them",
        wanted: is_line,
        check: |answers, text| {
            let problem =
                if is_pms(answers) { config::salto_pms::encoder_problem } else { config::fias::encoder_problem };
            names(&Answers::encoders_in(text), |name| problem(name).map(told))
        },
        ..Question::PLAIN
    },
    Question {
        key: "rooms",
        source: "rooms",
        flag: "rooms",
        group: Group::LockSystem,
        prompt: "Rooms that keys are made for, spelled as at the other end, with commas between them (101..112 for all between)",
        wanted: is_line,
        check: |answers, text| {
            let problem = if is_pms(answers) { config::salto_pms::room_problem } else { config::fias::room_problem };
            names(&Answers::rooms_in(text)?, |name| problem(name).map(told))
        },
        ..Question::PLAIN
    },
];

fn told((found, expected): (String, &'static str)) -> String {
    format!("{found} will not do; expected {expected}")
}

fn is_pms(answers: &Answers) -> bool {
    answers.is("kind", "salto_pms")
}

fn is_fias(answers: &Answers) -> bool {
    answers.is("kind", "fias")
}

fn is_line(answers: &Answers) -> bool {
    is_pms(answers) || is_fias(answers)
}

fn is_serial(answers: &Answers) -> bool {
    is_line(answers) && answers.is("transport", "serial")
}
