//! Small enumerations. A number that is not known is kept, because servers grow.

use super::notes::Notes;
use super::value::FieldValue;
use super::xml::Element;

macro_rules! enumerations {
    ($($(#[$meta:meta])* $name:ident { $($(#[$value_meta:meta])* $value:ident = $number:literal,)* })*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_meta])* $value,)*
            /// A number that is not in our table.
            Other(i64),
        }

        impl From<i64> for $name {
            fn from(number: i64) -> Self {
                match number { $($number => Self::$value,)* other => Self::Other(other) }
            }
        }

        impl From<$name> for i64 {
            fn from(value: $name) -> Self {
                match value { $($name::$value => $number,)* $name::Other(number) => number }
            }
        }

        impl FieldValue for $name {
            fn read(element: &Element, notes: &mut Notes) -> Option<Self> {
                i64::read(element, notes).map(Self::from)
            }

            fn write(&self, name: &str) -> Element {
                i64::from(*self).write(name)
            }
        }
    )* };
}

enumerations! {
    /// What the server knows about the card of a user, against the rights it now holds.
    CurrentKeyStatus {
        /// No key.
        None = 0,
        /// The key carries what the server holds.
        UpToDate = 1,
        /// The key carries older rights.
        UpdateRecommended = 2,
        /// The key carries older rights that matter.
        UpdateRequired = 3,
        /// The key has to be made anew.
        ReeditionRequired = 4,
        /// The key is past its end.
        Expired = 5,
    }
    /// How a user's phone gets its key.
    MobileAppType {
        /// No mobile key.
        None = 0,
        /// The older app, over the air into a card.
        JustinMsvn = 1,
        /// The vendor's app over Bluetooth.
        JustinMobile = 2,
        /// An app of others with the vendor's kit.
        ThirdParty = 3,
    }
    /// What kind of online door a status is about.
    DoorType {
        /// The server does not know.
        Unknown = -1,
        /// Control unit, wired.
        ControlUnit = 0,
        /// Wireless escutcheon.
        Wireless = 1,
    }
    /// Whether the server reaches a door.
    CommunicationStatus {
        /// Offline doors answer so.
        Unknown = -1,
        /// An online door that does not answer.
        None = 0,
        /// Online and answering.
        Communicating = 1,
    }
    /// State of an online door.
    DoorStatus {
        /// Offline doors answer so.
        Unknown = -1,
        /// Open.
        Opened = 0,
        /// Closed.
        Closed = 1,
        /// Open for longer than allowed.
        LeftOpen = 2,
        /// Opened by force.
        Intrusion = 3,
        /// Forced open by command.
        EmergencyOpen = 4,
        /// Forced closed by command.
        EmergencyClose = 5,
        /// Starting.
        Initialising = 99,
    }
    /// Battery of an online door, from the status list.
    BatteryStatus {
        /// Not told.
        Unknown = -1,
        /// Good.
        Normal = 0,
        /// To be changed.
        Low = 1,
        /// To be changed today.
        VeryLow = 2,
    }
    /// Tamper contact of an online door.
    TamperStatus {
        /// Not told.
        Unknown = -1,
        /// Closed.
        Normal = 0,
        /// Opened.
        Alarm = 1,
    }
    /// Who or what an event of the audit trail is about.
    SubjectType {
        /// A person with a key.
        Cardholder = 0,
        /// The door itself.
        Door = 1,
        /// A person at a screen of Space.
        Operator = 2,
    }
    /// How the audit trail names doors.
    ShowDoorIdAs {
        /// By name.
        Name = 0,
        /// By `ExtDoorID`.
        ExternalId = 1,
    }
    /// How the audit trail names people.
    ShowUserIdAs {
        /// By name.
        Name = 0,
        /// By `ExtUserID`.
        ExternalId = 1,
        /// By the serial of the card.
        CardSerial = 2,
    }
    /// When a door stands open by itself. The numbers above 5 are combinations that nothing here needs by name.
    OpeningMode {
        /// A key opens for a moment.
        Standard = 0,
        /// A key held for longer leaves it open.
        Office = 1,
        /// The same within hours.
        TimedOffice = 2,
        /// Opens and closes by the clock.
        AutomaticOpening = 3,
        /// Each key use changes it.
        Toggle = 4,
        /// The same within hours.
        TimedToggle = 5,
    }
    /// What became of a picture that was sent with a user.
    PictureFileResult {
        /// Stored.
        Done = 0,
        /// None was sent.
        NotApplicable = 1,
        /// The server could not read the file.
        NotReachable = 2,
        /// Too big.
        TooBig = 3,
        /// Format not known to the server.
        NotSupported = 4,
    }
}

impl CurrentKeyStatus {
    /// The key carries less, more or other rights than the server holds, and only an encoder or an updating reader changes it.
    pub fn needs_update(self) -> bool {
        matches!(self, Self::UpdateRecommended | Self::UpdateRequired | Self::ReeditionRequired)
    }
}
