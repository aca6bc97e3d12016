//! A tree of elements: all of XML that SHIP uses. Attributes, comments, prologs and layout carry nothing there.

mod read;
mod write;

pub use read::XmlError;

/// An element: its children, or its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Element {
    /// Local name; dots are part of it.
    pub name: String,
    /// Text directly inside, without the white space around it. SHIP writes text only in elements without children.
    pub text: String,
    /// Child elements in order.
    pub children: Vec<Self>,
}

impl Element {
    /// An empty element.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), text: String::new(), children: Vec::new() }
    }

    /// An element with text.
    pub fn with_text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), children: Vec::new() }
    }

    /// An element with children.
    pub fn with_children(name: impl Into<String>, children: Vec<Self>) -> Self {
        Self { name: name.into(), text: String::new(), children }
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Reads one document.
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        read::parse(document)
    }

    /// Writes a document in pure ASCII, so that its length in bytes and in characters agree whatever encoding the reader
    /// assumes. `declaration` is written in front as it is.
    pub fn to_document(&self, declaration: &str) -> String {
        write::document(self, declaration)
    }
}
