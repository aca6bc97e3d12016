//! What was heard on a line, as findings with a next step.

use lockbridge_protocol::line::Checksum;

use super::Verdict;
use super::line_probe::fias::{Heard as FiasHeard, Key, Other, Subject};
use super::line_probe::salto_pms::Heard;
use crate::link::Endpoint;

/// What is wrong with a line on which this was heard.
pub(super) fn of_pms(heard: Heard, checksum: Checksum, place: &str) -> Verdict {
    match heard {
        Heard::Answer => Verdict::ok(format!("{place} answers and understands us")),
        Heard::Taken => Verdict::ok(format!("{place} takes messages; it has no answer to the one that was asked")),
        Heard::Busy => Verdict::warning(
            format!("{place} says that it is not ready"),
            "Wait until the encoders have ended their work and look again; if it stays, restart the PMS interface.",
        ),
        Heard::Nothing => Verdict::failed(
            format!("{place} does not answer ENQ"),
            "Check that the PMS interface is switched on for this very line and licensed; on a serial line also that the \
             cable is crossed (null modem) and speed and format are those of the other end.",
        ),
        Heard::Garbage { bytes } => Verdict::failed(
            format!("{place} answers ENQ with {bytes} bytes that mean nothing"),
            "On a serial line speed or format is wrong: set `baud`, `data_bits`, `parity` and `stop_bits` as at the other end. \
             On TCP another service listens at this port.",
        ),
        Heard::Refused => {
            let now = if checksum == Checksum::Marked { "off here" } else { "on here" };
            Verdict::failed(
                format!("{place} is ready and refuses every message as damaged"),
                format!(
                    "Set `checksum` as at the other end: it is {now}. If it fits, the line damages what is long: check it."
                ),
            )
        }
        Heard::Damaged => Verdict::failed(
            format!("{place} answers with checksums that do not fit"),
            "Set `checksum` as at the other end; if it fits, check the cable and the format of the serial port.",
        ),
        Heard::Lost => Verdict::failed(
            format!("{place} ended the line when it was asked"),
            "It may take one client only: stop the other one, or put this machine on its list.",
        ),
    }
}

const SERIAL_FORMAT: &str = "On a serial line speed or format is wrong: set `baud`, `data_bits`, `parity` and `stop_bits` as at the \
                             other end. On TCP another service is there.";

/// What is wrong with a FIAS line on which this was heard.
pub(super) fn of_fias(heard: &FiasHeard, key: &Key, subject: &Subject) -> Verdict {
    let place = &subject.endpoint;
    let is_serial = matches!(place, Endpoint::Serial(_));
    match heard {
        FiasHeard::Alive(who) => {
            let proof = match key {
                Key::None => String::new(),
                Key::Used => ", has our key".to_owned(),
                Key::Hidden(why) => format!("; whether it has our key was not looked at: {why}"),
            };
            Verdict::ok(format!("{place} introduced itself ({who}), the link was alive{proof}"))
        }
        FiasHeard::Started => {
            let rest = match key {
                Key::None => "",
                Key::Used | Key::Hidden(_) => {
                    "; our key was not tried, for a wrong one can close its port: the running daemon tells"
                }
            };
            Verdict::ok(format!("{place} begins the link and understands us; the rest is the daemon's{rest}"))
        }
        FiasHeard::Untrusted(why) => Verdict::failed(
            format!("{place} is not trusted: {why}"),
            "Put the same key into `link_key_file` here and into the key service, and compare the clocks.",
        ),
        FiasHeard::ChecksumThere => Verdict::failed(
            format!("the frames of {place} end with a checksum, which is off here"),
            "Set `checksum = true`, or switch it off at the other end.",
        ),
        FiasHeard::ChecksumMissing => Verdict::failed(
            format!("the frames of {place} end without the checksum that is on here"),
            "Switch it on at the other end; where that cannot be, set `checksum = false`.",
        ),
        FiasHeard::Damaged => Verdict::failed(
            format!("{place} sends records whose checksums do not fit"),
            "Check the cable, its length and earth, and the format of the serial port; use a lower speed.",
        ),
        FiasHeard::WantsAcknowledgements => Verdict::failed(
            format!("{place} wants its records acknowledged, as on a serial line"),
            "Is a serial-to-Ethernet converter in between? Set `acknowledges = true`, and `checksum` as at the other end.",
        ),
        FiasHeard::NoAcknowledgements if is_serial => Verdict::failed(
            format!("{place} sends records and acknowledges none of ours"),
            "It may not hear us: check the wire from here to there (2-3, 3-2) and its acknowledgements.",
        ),
        FiasHeard::NoAcknowledgements => Verdict::failed(
            format!("{place} sends records and acknowledges none of ours"),
            "Without a serial-to-Ethernet converter in between set `acknowledges = false` and `checksum = false`.",
        ),
        FiasHeard::Refused => {
            let now = if subject.checksum { "on" } else { "off" };
            Verdict::failed(
                format!("{place} refuses our records as damaged"),
                format!("Set `checksum` as at the other end: it is {now} here. If it fits, check the cable."),
            )
        }
        FiasHeard::SamePart => Verdict::failed(
            format!("{place} plays the same part as we do"),
            match subject.other {
                Other::KeyService => {
                    "It asks for keys instead of making them: property software belongs into a table [front_desk.NAME]."
                }
                Other::PropertySoftware => {
                    "It makes keys instead of asking for them: a key service belongs into a table [lock_system.NAME] with \
                     kind = \"fias\"."
                }
            },
        ),
        FiasHeard::Unfinished => Verdict::failed(
            format!("{place} sends records, and the link does not come up"),
            "Look at the log of the other end: it may want other records of us, or wait for something.",
        ),
        FiasHeard::Deaf => Verdict::failed(
            format!("{place} acknowledges our records and answers none"),
            "Its line is open and the program behind it takes no part: check that the key interface is switched on there \
             and licensed, and bound to this line.",
        ),
        FiasHeard::Garbage(bytes) => {
            Verdict::failed(format!("{bytes} bytes came from {place} that mean nothing"), SERIAL_FORMAT)
        }
        FiasHeard::Nothing if is_serial => Verdict::failed(
            format!("nothing came from {place}"),
            "Check that the other end runs and uses this very port, that the cable is crossed (null modem), and the speed.",
        ),
        FiasHeard::Nothing => Verdict::failed(
            format!("{place} is connected and says nothing"),
            "Check that the port is that of the key interface and that it is switched on.",
        ),
        FiasHeard::Lost => Verdict::failed(
            format!("{place} ended the line when the link was begun"),
            "It may take one peer only, expect another address, or have closed itself after a wrong key: look at its log.",
        ),
    }
}
