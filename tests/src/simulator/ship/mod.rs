//! SHIP: from a request document to an answer document.
//!
//! What it owns: the names, fields and checks of the requests. What it promises: a refused request has changed nothing; in
//! strict mode every element that a request does not have is answered with 501. What it never does: wait. Encoder requests,
//! which wait for a card, are parsed here and carried out by the server ([`super::server::encoder`]).
//!
//! Not offered, answered with 502: zones, time tables, calendars, rooms, host mode, `Dataset.GetRows`. The site has no
//! zones (an id of one is not found) and no time tables but "always" (0 and 1).

mod audit;
mod doors;
pub mod fields;
mod groups;
mod lists;
mod users;

use super::refusal::{Refusal, code};
use super::site::Site;
use super::wire::xml::Node;
use fields::Fields;

/// Behaviour a person chose at start.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Unknown elements are refused (501); otherwise skipped.
    pub strict: bool,
    /// Requests whose names are not public are offered too: `SaltoDBGroupList.Read`, `SaltoDBUser.CancelKey`.
    pub non_standard: bool,
    /// Doors that fit on a card.
    pub card_capacity: usize,
}

/// A request document that could be read.
#[derive(Debug, Clone)]
pub struct Request {
    /// `RequestName`.
    pub name: String,
    /// `Params`.
    pub params: Node,
}

/// What an encoder is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderRequest {
    /// `Encoder.ReadKey`.
    Read { encoder: String, return_serial: bool, return_locker_data: bool },
    /// `Encoder.SaltoDBUser.AssignNewKey`.
    Assign { encoder: String, user: String },
    /// `Encoder.SaltoDBUser.UpdateCurrentKey`.
    Update { encoder: String, user: String },
}

impl EncoderRequest {
    /// Name of the encoder.
    pub fn encoder(&self) -> &str {
        match self {
            Self::Read { encoder, .. } | Self::Assign { encoder, .. } | Self::Update { encoder, .. } => encoder,
        }
    }
}

impl Request {
    /// Reads a body. An error carries the request name if it was there.
    pub fn parse(body: &[u8], rules: Rules) -> Result<Self, (String, Refusal)> {
        let root = Node::parse(body)
            .map_err(|error| (String::new(), Refusal::new(code::NOT_WELL_FORMED, error.to_string())))?;
        let name = root.child("RequestName").map(|node| node.text.clone()).unwrap_or_default();
        let fail = |refusal| Err((name.clone(), refusal));
        if root.name != "RequestCall" {
            return fail(Refusal::new(code::UNEXPECTED_NODES, format!("Unexpected node {}", root.name)));
        }
        if rules.strict {
            if root.any_attributes() {
                return fail(Refusal::new(code::UNEXPECTED_NODES, "Unexpected attributes"));
            }
            let extra = root.children.iter().find(|node| node.name != "RequestName" && node.name != "Params");
            if let Some(extra) = extra {
                return fail(Refusal::new(code::UNEXPECTED_NODES, format!("Unexpected node {}", extra.name)));
            }
        }
        if name.is_empty() {
            return fail(Refusal::of(code::UNKNOWN_REQUEST));
        }
        match root.child("Params") {
            Some(params) => Ok(Self { name, params: params.clone() }),
            None => fail(Refusal::new(code::INVALID, "Params is missing")),
        }
    }

    /// The encoder job this request asks for, if it is one.
    pub fn encoder(&self, rules: Rules) -> Result<Option<EncoderRequest>, Refusal> {
        if !self.name.starts_with("Encoder.") {
            return Ok(None);
        }
        let mut fields = Fields::new(&self.params, rules);
        let request = match self.name.as_str() {
            "Encoder.ReadKey" => EncoderRequest::Read {
                encoder: fields.required("EncoderID", 100)?,
                return_serial: fields.flag("ReturnROMCode")?,
                return_locker_data: fields.flag("ReturnLockerData")?,
            },
            "Encoder.SaltoDBUser.AssignNewKey" => EncoderRequest::Assign {
                user: fields.required("ExtUserID", 32)?,
                encoder: fields.required("EncoderID", 100)?,
            },
            "Encoder.SaltoDBUser.UpdateCurrentKey" => EncoderRequest::Update {
                user: fields.required("ExtUserID", 32)?,
                encoder: fields.required("EncoderID", 100)?,
            },
            _ => return Err(Refusal::of(code::UNKNOWN_REQUEST)),
        };
        fields.finish()?;
        Ok(Some(request))
    }
}

/// Carries out a request that needs no encoder.
pub fn carry_out(site: &mut Site, request: &Request, rules: Rules) -> Result<Vec<Node>, Refusal> {
    let mut fields = Fields::new(&request.params, rules);
    let fields = &mut fields;
    match request.name.as_str() {
        "GetInfo" => information(site, fields),
        "SaltoDBUserList.Read" => users::list(site, fields),
        "SaltoDBUser.Insert" => users::write(site, fields, rules, users::Mode::Insert),
        "SaltoDBUser.Update" => users::write(site, fields, rules, users::Mode::Update),
        "SaltoDBUser.InsertOrUpdate" => users::write(site, fields, rules, users::Mode::InsertOrUpdate),
        "SaltoDBUser.Delete" => users::delete(site, fields),
        "SaltoDBUser.CancelKey" if rules.non_standard => users::cancel_key(site, fields),
        "SaltoDBGroup.Insert" => groups::write(site, fields, rules, users::Mode::Insert),
        "SaltoDBGroup.Update" => groups::write(site, fields, rules, users::Mode::Update),
        "SaltoDBGroup.InsertOrUpdate" => groups::write(site, fields, rules, users::Mode::InsertOrUpdate),
        "SaltoDBGroup.Delete" => groups::delete(site, fields),
        "SaltoDBGroupList.Read" if rules.non_standard => groups::list(site, fields),
        "SaltoDBDoorList.Read" => doors::list(site, fields),
        "SaltoDBAuditTrail.Read" => audit::read(site, fields),
        "OnlineDoor.Open" => doors::command(site, fields, doors::Command::Open),
        "OnlineDoor.EmergencyOpen" => doors::command(site, fields, doors::Command::ForceOpen),
        "OnlineDoor.EmergencyClose" => doors::command(site, fields, doors::Command::ForceClosed),
        "OnlineDoor.EndOfEmergency" => doors::command(site, fields, doors::Command::SetFree),
        "OnlineDoor.GetOnlineStatusList" => doors::status(site, fields, doors::StatusForm::AllTypes),
        "OnlineIPDoor.GetOnlineStatusList" => doors::status(site, fields, doors::StatusForm::IpOnly),
        _ => Err(Refusal::of(code::UNKNOWN_REQUEST)),
    }
}

fn information(site: &Site, fields: &mut Fields<'_>) -> Result<Vec<Node>, Refusal> {
    fields.finish()?;
    Ok(vec![
        Node::leaf("ProtocolID", "SHIP"),
        Node::leaf("ProtocolVersion", "1.0"),
        Node::leaf("DateTime", site.now().print()),
        Node::leaf("DefaultLanguage", "eng"),
    ])
}

/// The answer document of a request.
pub fn answer(name: &str, outcome: Result<Vec<Node>, Refusal>) -> Node {
    let content = match outcome {
        Ok(children) => Node::new("Params").with_all(children),
        Err(refusal) => Node::new("Exception")
            .with(Node::leaf("Code", refusal.code.to_string()))
            .with(Node::leaf("Message", refusal.message)),
    };
    Node::new("RequestResponse").with(Node::leaf("RequestName", name)).with(content)
}

#[cfg(test)]
mod tests;
