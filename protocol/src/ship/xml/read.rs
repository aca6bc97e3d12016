//! Bytes to a tree, within limits.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};
use quick_xml::name::QName;

use super::Element;
use crate::ship::limits::{BODY_BYTES, DEPTH, ELEMENTS};

/// A document that cannot be read, or will not be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// Not well formed; where and why.
    #[error("the XML is not well formed at byte {position}: {reason}")]
    Malformed {
        /// Offset in the document after decoding.
        position: u64,
        /// What the parser found.
        reason: String,
    },
    /// The end came before the root element ended, or there is no root element.
    #[error("the XML document is not complete")]
    Incomplete,
    /// Something other than comments and white space outside the root element.
    #[error("the XML document has content outside its root element")]
    Outside,
    /// Bytes that are not of the encoding they claim.
    #[error("the XML document is not {0}")]
    Encoding(&'static str),
    /// A name that is none in XML.
    #[error("the XML document has an element whose name is not valid")]
    Name,
    /// A document type definition: SHIP has none, and its entities are a known way to exhaust a reader.
    #[error("the XML document has a document type definition")]
    DocumentType,
    /// A reference other than a character or one of the five that XML knows.
    #[error("the XML document refers to an unknown entity")]
    Entity,
    /// Larger, deeper or with more elements than the limits allow.
    #[error("the XML document exceeds the limit of {limit} {what}")]
    Limit {
        /// Number allowed.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
}

pub(super) fn parse(document: &[u8]) -> Result<Element, XmlError> {
    if document.len() > BODY_BYTES {
        return Err(XmlError::Limit { limit: BODY_BYTES, what: "bytes" });
    }
    let text = decode(document)?;
    let mut reader = Reader::from_str(&text);
    let mut tree = Tree::default();
    loop {
        let position = reader.buffer_position();
        let event = reader
            .read_event()
            .map_err(|error| XmlError::Malformed { position: reader.error_position(), reason: reason(&error) })?;
        match event {
            Event::Start(start) => tree.open(start.name())?,
            Event::Empty(start) => {
                tree.open(start.name())?;
                tree.close();
            }
            Event::End(_) => tree.close(),
            Event::Text(text) => tree.text(&text.xml10_content())?,
            Event::CData(text) => tree.text(&text.xml10_content())?,
            Event::GeneralRef(reference) => tree.text(&resolve(&reference, position)?)?,
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => return tree.finish(),
        }
    }
}

/// Cut, because parsers quote what they found.
fn reason(error: &quick_xml::Error) -> String {
    error.to_string().chars().take(120).collect()
}

/// UTF-8 unless the declaration names one of the single-byte encodings that integrations of Space are seen to declare.
fn decode(document: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    if document.starts_with(b"\xFF\xFE") || document.starts_with(b"\xFE\xFF") {
        return Err(XmlError::Encoding("UTF-8: it has a UTF-16 byte order mark"));
    }
    match std::str::from_utf8(document) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) if declares_single_bytes(document) => Ok(document.iter().copied().map(char::from).collect()),
        Err(_) => Err(XmlError::Encoding("UTF-8")),
    }
}

/// Looks into the first line's worth of bytes only; valid UTF-8 never comes here, so a server that declares one encoding
/// and writes the other is still understood.
fn declares_single_bytes(document: &[u8]) -> bool {
    let head = document.get(..100).unwrap_or(document);
    let head: String = head.iter().map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    let declaration = head.split("?>").next().unwrap_or_default();
    declaration.starts_with("<?xml")
        && ["iso-8859-1", "windows-1252", "us-ascii"].iter().any(|e| declaration.contains(e))
}

fn resolve(reference: &BytesRef<'_>, position: u64) -> Result<String, XmlError> {
    let character =
        reference.resolve_char_ref().map_err(|error| XmlError::Malformed { position, reason: reason(&error) })?;
    if let Some(character) = character {
        return Ok(character.to_string());
    }
    let name: &str = reference;
    quick_xml::escape::resolve_xml_entity(name).map(str::to_owned).ok_or(XmlError::Entity)
}

/// The elements that are open, outermost first, and the root once it is closed.
#[derive(Debug, Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, name: QName<'_>) -> Result<(), XmlError> {
        if self.root.is_some() {
            return Err(XmlError::Outside);
        }
        if self.open.len() >= DEPTH {
            return Err(XmlError::Limit { limit: DEPTH, what: "nested elements" });
        }
        self.elements = self.elements.saturating_add(1);
        if self.elements > ELEMENTS {
            return Err(XmlError::Limit { limit: ELEMENTS, what: "elements" });
        }
        let name = name.local_name();
        let name: &str = name.as_ref();
        // The parser takes any bytes for a name; what is kept here must be writable again.
        let starts_well = name.starts_with(|first: char| first.is_alphabetic() || first == '_');
        if !starts_well || !name.chars().all(|character| character.is_alphanumeric() || "._-".contains(character)) {
            return Err(XmlError::Name);
        }
        self.open.push(Element::new(name));
        Ok(())
    }

    fn close(&mut self) {
        // The parser checks that ends match starts, so there is always one to close.
        let Some(mut element) = self.open.pop() else { return };
        let end = element.text.trim_end().len();
        element.text.truncate(end);
        let blank = end.saturating_sub(element.text.trim_start().len());
        drop(element.text.drain(..blank));
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Outside),
        }
        Ok(())
    }

    fn finish(self) -> Result<Element, XmlError> {
        if self.open.is_empty() { self.root.ok_or(XmlError::Incomplete) } else { Err(XmlError::Incomplete) }
    }
}
