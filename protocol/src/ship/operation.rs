//! Operation codes of the audit trail and of the event stream, and the events they are for us.

use crate::proto::tunnel::AccessEventKind;

/// What an operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The number.
    pub code: i64,
    /// For people.
    pub text: &'static str,
    /// What it is for us; `Unspecified`: neither an opening nor a refusal nor a change of a key.
    pub kind: AccessEventKind,
    /// `card`, `keycode`, `manual`, `remote`; empty when it does not matter. A phone opens as a card does: only the holder
    /// tells them apart.
    pub method: &'static str,
    /// Why it was refused; empty for all else.
    pub denied_reason: &'static str,
}

const fn unlocked(code: i64, text: &'static str, method: &'static str) -> Operation {
    Operation { code, text, kind: AccessEventKind::Unlocked, method, denied_reason: "" }
}

const fn denied(code: i64, text: &'static str, denied_reason: &'static str) -> Operation {
    Operation { code, text, kind: AccessEventKind::Denied, method: "", denied_reason }
}

const fn key_changed(code: i64, text: &'static str, kind: AccessEventKind) -> Operation {
    Operation { code, text, kind, method: "", denied_reason: "" }
}

const fn other(code: i64, text: &'static str) -> Operation {
    Operation { code, text, kind: AccessEventKind::Unspecified, method: "", denied_reason: "" }
}

/// Every known operation, ascending. A key that was "not completely updated" (99) counts as no update: nothing is known to
/// be on it.
pub const TABLE: &[Operation] = &[
    other(1, "opening or closing"),
    other(8, "new renovation code (online)"),
    unlocked(16, "opened from inside", "manual"),
    unlocked(17, "opened with a key", "card"),
    unlocked(18, "opened with a key and a PIN", "card"),
    unlocked(19, "opened with a key of several guests", "card"),
    unlocked(20, "opened with a key for one opening", "card"),
    unlocked(21, "opened with a switch", "manual"),
    unlocked(22, "opened with a mechanical key", "manual"),
    other(23, "first of two cards read"),
    unlocked(24, "opened after the second card", "card"),
    unlocked(25, "opened with a portable programming device", "manual"),
    unlocked(26, "opened with a keyboard", "keycode"),
    unlocked(27, "opened with a spare card", "card"),
    unlocked(28, "opened by an online command", "remote"),
    unlocked(29, "probably opened with a key and a PIN", "card"),
    other(32, "office mode ended at the keyboard"),
    other(33, "closed with a key"),
    other(34, "closed with a key and a PIN"),
    other(35, "closed with a keyboard"),
    other(36, "closed with a switch"),
    other(37, "key put into the energy saver"),
    other(38, "key taken from the energy saver"),
    other(39, "room prepared"),
    other(40, "privacy began"),
    other(41, "privacy ended"),
    other(42, "duress alarm"),
    other(47, "link to the reader lost"),
    other(48, "link to the reader back"),
    other(49, "office mode began"),
    other(50, "office mode ended"),
    other(51, "hotel guest cancelled"),
    other(54, "door programmed with a spare key"),
    other(55, "new key of a hotel guest"),
    other(56, "forced opening began"),
    other(57, "forced opening ended"),
    other(58, "forced closing began"),
    other(59, "forced closing ended"),
    other(60, "intrusion alarm"),
    other(61, "tamper alarm"),
    other(62, "door left open"),
    other(63, "door left open, ended"),
    other(64, "intrusion alarm ended"),
    other(65, "office mode began (online)"),
    other(66, "office mode ended (online)"),
    other(67, "tamper alarm ended"),
    other(68, "automatic change"),
    key_changed(69, "key updated away from the site", AccessEventKind::KeyUpdated),
    key_changed(70, "end of the key extended (offline)", AccessEventKind::KeyUpdated),
    other(72, "online peripheral updated"),
    key_changed(76, "key updated (online)", AccessEventKind::KeyUpdated),
    key_changed(78, "key deleted (online)", AccessEventKind::KeyDeleted),
    other(79, "door lost the server"),
    other(80, "door regained the server"),
    denied(81, "refused: not yet active", "not_yet_active"),
    denied(82, "refused: expired", "expired"),
    denied(83, "refused: out of date", "out_of_date"),
    denied(84, "refused: not allowed at this door", "not_allowed"),
    denied(85, "refused: outside its hours", "outside_hours"),
    denied(87, "refused: privacy", "privacy"),
    denied(88, "refused: old guest key", "overridden"),
    denied(89, "refused: guest key cancelled", "cancelled"),
    denied(90, "refused: antipassback", "antipassback"),
    denied(91, "refused: second card not shown", "second_card_missing"),
    denied(92, "refused: no associated authorisation", "not_authorised"),
    denied(93, "refused: wrong PIN", "wrong_pin"),
    denied(95, "refused: emergency state at opening", "emergency"),
    denied(96, "refused: key cancelled", "cancelled"),
    denied(97, "refused: the one opening is used up", "used_up"),
    denied(98, "refused: old renovation number", "out_of_date"),
    other(99, "key not completely updated"),
    denied(100, "refused: battery empty", "battery_empty"),
    denied(101, "refused: the key cannot be written", "card_not_writable"),
    denied(102, "refused: locker time exceeded", "locker_time"),
    denied(103, "refused by the host", "denied_by_host"),
    key_changed(104, "key on the denylist deleted", AccessEventKind::KeyDeleted),
    denied(107, "refused: data on the key was manipulated", "manipulated"),
    denied(111, "refused: emergency state at closing", "emergency"),
    other(112, "new renovation code"),
    other(113, "portable programming device connected"),
    other(114, "daylight saving change"),
    other(115, "low battery"),
    other(116, "wrong clock value"),
    other(117, "clock of a wireless lock updated"),
    other(118, "wireless lock updated"),
    other(119, "hardware failure at opening or closing"),
    other(120, "lock restarted"),
    other(1000, "server regained the door"),
    other(1001, "server lost the door"),
    other(2000, "new guest key"),
    other(2001, "copy of a guest key"),
];

/// Looks a code up; one that is not in the table is "something else", never an error.
pub fn lookup(code: i64) -> Operation {
    TABLE.iter().find(|row| row.code == code).copied().unwrap_or_else(|| other(code, ""))
}
