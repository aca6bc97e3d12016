//! Two-character names of records and fields.

use std::fmt;

/// A record type, such as `KR`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub [u8; 2]);

/// A field, such as `RN` or `G#`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldId(pub [u8; 2]);

fn show(id: [u8; 2], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    for byte in id {
        write!(formatter, "{}", byte.escape_ascii())?;
    }
    Ok(())
}

macro_rules! shown {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(self.0, formatter)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                show(self.0, formatter)
            }
        }
    };
}

shown!(RecordId);
shown!(FieldId);

macro_rules! names {
    ($type:ident: $($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl $type {
            $($(#[$doc])* pub const $name: Self = Self(*$text);)*
        }
    };
}

names! { RecordId:
    /// Start of the link, and the question whether the peer is there.
    LINK_START = b"LS";
    /// Link works.
    LINK_ALIVE = b"LA";
    /// End of the link.
    LINK_END = b"LE";
    /// Who the key system is.
    LINK_DESCRIPTION = b"LD";
    /// Which fields of a record type the key system uses.
    LINK_RECORD = b"LR";
    /// Settings of the PMS.
    LINK_CONFIGURATION = b"LC";
    /// Make a key.
    KEY_REQUEST = b"KR";
    /// End keys.
    KEY_DELETE = b"KD";
    /// Change keys.
    KEY_CHANGE = b"KM";
    /// Read a key.
    KEY_READ = b"KZ";
    /// Answer to one of these.
    KEY_ANSWER = b"KA";
    /// Check-in.
    GUEST_IN = b"GI";
    /// Check-out.
    GUEST_OUT = b"GO";
    /// Change of a guest, or move.
    GUEST_CHANGE = b"GC";
    /// Please send all guests.
    RESYNC_REQUEST = b"DR";
    /// All guests follow.
    RESYNC_START = b"DS";
    /// That were all guests.
    RESYNC_END = b"DE";
    /// Night audit begins.
    NIGHT_START = b"NS";
    /// Night audit has ended.
    NIGHT_END = b"NE";
    /// Room equipment and status.
    ROOM_EQUIPMENT = b"RE";
}

names! { FieldId:
    /// Answer status.
    STATUS = b"AS";
    /// Cryptogram.
    CRYPTOGRAM = b"CG";
    /// Clear text.
    TEXT = b"CT";
    /// Date.
    DATE = b"DA";
    /// Departure time.
    DEPARTURE_TIME = b"DT";
    /// Field list.
    FIELD_LIST = b"FL";
    /// Reservation number.
    RESERVATION = b"G#";
    /// Profile number.
    PROFILE = b"G+";
    /// Arrival date.
    ARRIVAL = b"GA";
    /// Departure date.
    DEPARTURE = b"GD";
    /// Guest's first name.
    FIRST_NAME = b"GF";
    /// Group number.
    GROUP = b"GG";
    /// Guest's language.
    LANGUAGE = b"GL";
    /// Guest's name.
    NAME = b"GN";
    /// The room is shared.
    SHARE = b"GS";
    /// Guest's title.
    TITLE = b"GT";
    /// VIP status.
    VIP = b"GV";
    /// User of the PMS.
    USER = b"ID";
    /// Interface family.
    FAMILY = b"IF";
    /// Key count.
    KEY_COUNT = b"K#";
    /// Key coder.
    ENCODER = b"KC";
    /// Key options.
    OPTIONS = b"KO";
    /// Key type.
    KEY_TYPE = b"KT";
    /// No posting.
    NO_POST = b"NP";
    /// Hotel.
    HOTEL = b"PH";
    /// Record that is described.
    RECORD = b"RI";
    /// Longest record.
    RECORD_LENGTH = b"RL";
    /// Room number.
    ROOM = b"RN";
    /// Old room number.
    OLD_ROOM = b"RO";
    /// Room status.
    ROOM_STATUS = b"RS";
    /// What shall be returned.
    RETURN = b"RT";
    /// Part of a resync.
    RESYNC_FLAG = b"SF";
    /// Suite: further rooms.
    SUITE = b"SI";
    /// Time.
    TIME = b"TI";
    /// Further rooms before a move.
    OLD_SUITE = b"UO";
    /// Version of the key system.
    VERSION = b"V#";
    /// Workstation.
    WORKSTATION = b"WS";
    /// Track 1.
    TRACK_ONE = b"$1";
    /// Track 2, or the serial of the card.
    TRACK_TWO = b"$2";
    /// Key data.
    KEY_DATA = b"$3";
    /// Timeouts, in `LC`.
    TIMEOUTS = b"A0";
}

impl FieldId {
    /// `A0` to `A9`, which every site uses as it likes.
    pub const USER_DEFINED: [Self; 10] = [
        Self(*b"A0"),
        Self(*b"A1"),
        Self(*b"A2"),
        Self(*b"A3"),
        Self(*b"A4"),
        Self(*b"A5"),
        Self(*b"A6"),
        Self(*b"A7"),
        Self(*b"A8"),
        Self(*b"A9"),
    ];
}

impl RecordId {
    /// Belongs to the link itself; such records are never described by `LR`.
    pub fn is_link(self) -> bool {
        self.0.first() == Some(&b'L') && matches!(self.0.last(), Some(b'S' | b'A' | b'E' | b'D' | b'R' | b'C'))
    }
}
