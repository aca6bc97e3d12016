//! Requests, answers and exceptions around their parameters.

use super::xml::{Element, XmlError};

/// Declaration of our requests.
const REQUEST_DECLARATION: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
/// Declaration as real servers write it.
const ANSWER_DECLARATION: &str = "<?xml version='1.0' encoding='utf-8'?>";

/// A document is XML, but not the envelope that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not readable as XML.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// Another root element.
    #[error("the root element is not `{expected}`")]
    Root {
        /// What it should be.
        expected: &'static str,
    },
    /// A part that must be there is not.
    #[error("the `{root}` has no `{missing}`")]
    Missing {
        /// Root element.
        root: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// An exception without a number for a code.
    #[error("the exception has no readable code")]
    Code,
}

/// A request, client to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// For example `GetInfo`.
    pub name: String,
    /// Children of `Params`.
    pub params: Vec<Element>,
}

impl Request {
    /// The XML document.
    pub fn to_document(&self) -> String {
        let children =
            vec![Element::with_text("RequestName", &*self.name), Element::with_children("Params", self.params.clone())];
        Element::with_children("RequestCall", children).to_document(REQUEST_DECLARATION)
    }

    /// Reads a document, as a server does.
    pub fn parse(document: &[u8]) -> Result<Self, EnvelopeError> {
        let mut root = Element::parse(document)?;
        if root.name != "RequestCall" {
            return Err(EnvelopeError::Root { expected: "RequestCall" });
        }
        let name = take(&mut root, "RequestName")
            .ok_or(EnvelopeError::Missing { root: "RequestCall", missing: "RequestName" })?;
        let params = take(&mut root, "Params").unwrap_or_default();
        Ok(Self { name: name.text, params: params.children })
    }
}

/// What a server says instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Looked up in [`error_code`](super::error_code).
    pub code: i64,
    /// Not fixed by anything; for people only.
    pub message: String,
}

/// An answer, server to client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Name of the request, repeated; empty when the server could not read the request.
    pub name: String,
    /// The element `Params`, or the exception.
    pub outcome: Result<Element, Exception>,
}

impl Answer {
    /// The XML document, in the layout of real servers.
    pub fn to_document(&self) -> String {
        let outcome = match &self.outcome {
            Ok(params) => params.clone(),
            Err(exception) => Element::with_children(
                "Exception",
                vec![
                    Element::with_text("Code", exception.code.to_string()),
                    Element::with_text("Message", &*exception.message),
                ],
            ),
        };
        let children = vec![Element::with_text("RequestName", &*self.name), outcome];
        Element::with_children("RequestResponse", children).to_document(ANSWER_DECLARATION)
    }

    /// Reads a document, as a client does. An exception wins over parameters, should a server ever send both.
    pub fn parse(document: &[u8]) -> Result<Self, EnvelopeError> {
        const ROOT: &str = "RequestResponse";
        let mut root = Element::parse(document)?;
        if root.name != ROOT {
            return Err(EnvelopeError::Root { expected: ROOT });
        }
        let name = take(&mut root, "RequestName").unwrap_or_default().text;
        if let Some(exception) = take(&mut root, "Exception") {
            let code = exception.child("Code").and_then(|code| code.text.parse().ok()).ok_or(EnvelopeError::Code)?;
            let message = exception.child("Message").map(|message| message.text.clone()).unwrap_or_default();
            return Ok(Self { name, outcome: Err(Exception { code, message }) });
        }
        let params = take(&mut root, "Params").ok_or(EnvelopeError::Missing { root: ROOT, missing: "Params" })?;
        Ok(Self { name, outcome: Ok(params) })
    }
}

fn take(parent: &mut Element, name: &str) -> Option<Element> {
    let position = parent.children.iter().position(|child| child.name == name)?;
    Some(parent.children.swap_remove(position))
}
