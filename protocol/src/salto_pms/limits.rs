//! Every bound of the PMS protocol, by name, with the reason for the number.

/// One message without its marks. Requests stay far below; a key returned as hexadecimal text is the longest answer.
pub const MESSAGE_BYTES: usize = 8 * 1024;
/// Name of a room; longer names exist in no known installation.
pub const ROOM_CHARACTERS: usize = 24;
/// Name of the clerk.
pub const OPERATOR_CHARACTERS: usize = 24;
/// Name of an encoder, door or peripheral. No limit is published; Space shows names of this length.
pub const NAME_CHARACTERS: usize = 64;
/// Text shown on a phone, or written to a track of the card.
pub const TEXT_CHARACTERS: usize = 256;
/// Authorisation code of a stay.
pub const CODE_CHARACTERS: usize = 64;
/// Digits of an international telephone number (E.164).
pub const PHONE_DIGITS: usize = 15;
/// Rooms one key opens: the main room and three more.
pub const ROOMS: usize = 4;
/// Cards one request may ask for; the digit stands in the command itself.
pub const CARDS: u8 = 9;
/// Fields of an answer or request that are kept although nobody knows their meaning.
pub const EXTRA_FIELDS: usize = 16;
