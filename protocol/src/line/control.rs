//! Control bytes, and the one checksum byte that may follow a frame.

/// Start of a frame.
pub const STX: u8 = 0x02;
/// End of a frame.
pub const ETX: u8 = 0x03;
/// "Are you ready?" at SALTO, "say your last answer again" at FIAS.
pub const ENQ: u8 = 0x05;
/// Ready, or frame received.
pub const ACK: u8 = 0x06;
/// Not ready, or frame refused.
pub const NAK: u8 = 0x15;
/// Stands in SALTO's protocol where the checksum would, when its sender does not want it checked.
pub const UNCHECKED: u8 = 0x0D;

/// A byte outside a frame that means something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Control {
    /// [`ENQ`].
    Enquiry,
    /// [`ACK`].
    Acknowledge,
    /// [`NAK`].
    Refuse,
}

impl Control {
    /// `None` for every other byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            ENQ => Some(Self::Enquiry),
            ACK => Some(Self::Acknowledge),
            NAK => Some(Self::Refuse),
            _ => None,
        }
    }

    /// As it stands on the wire.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Enquiry => ENQ,
            Self::Acknowledge => ACK,
            Self::Refuse => NAK,
        }
    }
}

/// What follows the ETX of a frame. Both ends must agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Checksum {
    /// Nothing: FIAS over TCP, and serial lines where it is switched off.
    Absent,
    /// The checksum, whatever its value: FIAS over serial lines. Here 0D is a checksum like any other.
    Checked,
    /// Written as the checksum; read as the checksum or as [`UNCHECKED`]: SALTO.
    CheckedUnlessMarked,
    /// Written as [`UNCHECKED`]; read as [`Self::CheckedUnlessMarked`]: SALTO with the check switched off.
    Marked,
}

impl Checksum {
    /// The byte to write behind the ETX of a frame with this body.
    pub fn trailer(self, body: &[u8]) -> Option<u8> {
        match self {
            Self::Absent => None,
            Self::Checked | Self::CheckedUnlessMarked => Some(longitudinal_redundancy_check(body)),
            Self::Marked => Some(UNCHECKED),
        }
    }

    /// Whether `trailer`, read behind the ETX of a frame with this body, lets the frame pass.
    pub fn accepts(self, body: &[u8], trailer: u8) -> bool {
        match self {
            Self::Absent => true,
            Self::Checked => trailer == longitudinal_redundancy_check(body),
            Self::CheckedUnlessMarked | Self::Marked => {
                trailer == UNCHECKED || trailer == longitudinal_redundancy_check(body)
            }
        }
    }
}

/// XOR of every byte of the body and of the ETX behind it. Any value can come out, control bytes included.
pub fn longitudinal_redundancy_check(body: &[u8]) -> u8 {
    body.iter().fold(ETX, |sum, byte| sum ^ byte)
}
