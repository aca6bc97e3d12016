//! Online doors: commands and state.

use super::{Call, note_unknown, records};
use crate::ship::Notes;
use crate::ship::entity::{DoorActionResult, OnlineDoorStatus};
use crate::ship::value::FieldValue;
use crate::ship::xml::Element;

/// Which doors; both lists may be used at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoorSelection {
    /// By name.
    pub names: Vec<String>,
    /// By `ExtDoorID`.
    pub ids: Vec<String>,
}

impl DoorSelection {
    /// One door, by `ExtDoorID`.
    pub fn one(id: impl Into<String>) -> Self {
        Self { names: Vec::new(), ids: vec![id.into()] }
    }

    fn params(&self) -> Vec<Element> {
        let list = |name: &str, item: &str, values: &[String]| {
            let items = values.iter().map(|value| value.write(item)).collect();
            (!values.is_empty()).then(|| Element::with_children(name, items))
        };
        [list("DoorNameList", "DoorID", &self.names), list("ExtDoorIDList", "ExtDoorID", &self.ids)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// What to do with a door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoorCommand {
    /// Open for a moment.
    Open,
    /// Keep open until told otherwise.
    EmergencyOpen,
    /// Keep closed until told otherwise.
    EmergencyClose,
    /// Back to normal.
    EndOfEmergency,
}

/// A command to online doors. An unknown door is an error in its result, not an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineDoorAction {
    /// What.
    pub command: DoorCommand,
    /// Where.
    pub doors: DoorSelection,
}

impl Call for OnlineDoorAction {
    type Answer = Vec<DoorActionResult>;

    fn name(&self) -> &'static str {
        match self.command {
            DoorCommand::Open => "OnlineDoor.Open",
            DoorCommand::EmergencyOpen => "OnlineDoor.EmergencyOpen",
            DoorCommand::EmergencyClose => "OnlineDoor.EmergencyClose",
            DoorCommand::EndOfEmergency => "OnlineDoor.EndOfEmergency",
        }
    }

    fn params(&self) -> Vec<Element> {
        self.doors.params()
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Vec<DoorActionResult> {
        note_unknown(params, &["OnlineDoorActionResultList"], notes);
        records(params, "OnlineDoorActionResultList", notes)
    }
}

/// State of online doors; no selection means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOnlineStatus {
    /// Which.
    pub doors: DoorSelection,
    /// The older request, for wired doors only.
    pub wired_only: bool,
}

impl Call for ReadOnlineStatus {
    type Answer = Vec<OnlineDoorStatus>;

    fn name(&self) -> &'static str {
        if self.wired_only { "OnlineIPDoor.GetOnlineStatusList" } else { "OnlineDoor.GetOnlineStatusList" }
    }

    fn params(&self) -> Vec<Element> {
        self.doors.params()
    }

    fn read(&self, params: &Element, notes: &mut Notes) -> Vec<OnlineDoorStatus> {
        // The two forms differ in the names of list and item only.
        const LISTS: [&str; 2] = ["OnlineDoorStatusList", "OnlineIPDoorStatusList"];
        note_unknown(params, &LISTS, notes);
        let mut params = params.clone();
        for item in params.children.iter_mut().flat_map(|list| &mut list.children) {
            if item.name == "OnlineIPDoorStatus" {
                "OnlineDoorStatus".clone_into(&mut item.name);
            }
        }
        LISTS.iter().flat_map(|list| records(&params, list, notes)).collect()
    }
}
