//! A small XML tree: enough for SHIP, which has no attributes, no namespaces and no mixed content.

use quick_xml::Reader;
use quick_xml::events::Event;
use thiserror::Error;

/// Deepest nesting accepted; the deepest request of the protocol has eight levels.
const MAX_DEPTH: usize = 32;

/// What a SHIP answer starts with, byte for byte.
const PROLOG: &str = "<?xml version='1.0' encoding='utf-8'?>";

/// Why a body is not a usable XML document. All of these are answered with code 500.
#[derive(Debug, Error)]
pub enum XmlError {
    #[error("reading the XML body: {0}")]
    Malformed(#[from] quick_xml::Error),
    #[error("the XML body is not valid UTF-8")]
    NotUtf8,
    #[error("the XML body holds {0}, which SHIP does not use")]
    Unsupported(&'static str),
    #[error("the XML body has no root element, or more than one")]
    NotOneRoot,
    #[error("the XML body ends inside <{0}>")]
    Unclosed(String),
    #[error("the XML body is nested deeper than {MAX_DEPTH} elements")]
    TooDeep,
    #[error("the XML body names the unknown entity &{0};")]
    UnknownEntity(String),
}

/// One element: its name, its trimmed text, its child elements in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Element name; dots are part of it (`UserExpiration.Enabled`).
    pub name: String,
    /// Text with surrounding blanks removed.
    pub text: String,
    /// Child elements in document order.
    pub children: Vec<Self>,
    /// Whether the element carried attributes (SHIP has none).
    pub has_attributes: bool,
}

impl Node {
    /// An element with no content yet; printed self-closed if it stays so.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// An element that holds only text.
    pub fn leaf(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into(), ..Self::default() }
    }

    /// The same element with one more child.
    #[must_use]
    pub fn with(mut self, child: Self) -> Self {
        self.children.push(child);
        self
    }

    /// The same element with more children.
    #[must_use]
    pub fn with_all(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children);
        self
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Whether the element or one below it carries attributes.
    pub fn any_attributes(&self) -> bool {
        self.has_attributes || self.children.iter().any(Self::any_attributes)
    }

    /// The document as a server prints it: prolog with single quotes, no blanks between elements, empty elements self-closed.
    pub fn to_document(&self) -> String {
        let mut out = String::with_capacity(512);
        out.push_str(PROLOG);
        self.print(&mut out);
        out
    }

    /// Appends the element without a prolog.
    pub fn print(&self, out: &mut String) {
        out.push('<');
        out.push_str(&self.name);
        if self.text.is_empty() && self.children.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for character in self.text.chars() {
            match character {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                other => out.push(other),
            }
        }
        for child in &self.children {
            child.print(out);
        }
        out.push_str("</");
        out.push_str(&self.name);
        out.push('>');
    }

    /// Reads a body: UTF-8, or ISO-8859-1 when the prolog says so.
    pub fn parse(body: &[u8]) -> Result<Self, XmlError> {
        let latin = body.get(..body.len().min(100)).is_some_and(|head| {
            let head = String::from_utf8_lossy(head).to_ascii_uppercase();
            head.split("?>").next().is_some_and(|prolog| prolog.contains("ISO-8859-1"))
        });
        if latin {
            let text: String = body.iter().map(|byte| char::from(*byte)).collect();
            return Self::parse_text(&text);
        }
        Self::parse_text(std::str::from_utf8(body).map_err(|_| XmlError::NotUtf8)?)
    }

    fn parse_text(text: &str) -> Result<Self, XmlError> {
        let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut open: Vec<Self> = Vec::new();
        let mut root: Option<Self> = None;
        loop {
            match reader.read_event()? {
                Event::Start(start) => {
                    if open.len() >= MAX_DEPTH {
                        return Err(XmlError::TooDeep);
                    }
                    open.push(element(&start));
                }
                Event::Empty(start) => close(&mut open, &mut root, element(&start))?,
                Event::End(_) => {
                    let Some(done) = open.pop() else { return Err(XmlError::NotOneRoot) };
                    close(&mut open, &mut root, done)?;
                }
                Event::Text(text) => match open.last_mut() {
                    Some(node) => node.text.push_str(&text.xml10_content()),
                    None if text.xml10_content().trim().is_empty() => {}
                    None => return Err(XmlError::NotOneRoot),
                },
                Event::GeneralRef(reference) => {
                    let Some(node) = open.last_mut() else { return Err(XmlError::NotOneRoot) };
                    if let Some(character) = reference.resolve_char_ref()? {
                        node.text.push(character);
                    } else {
                        let name = reference.xml10_content();
                        node.text.push(predefined(&name).ok_or_else(|| XmlError::UnknownEntity(name.to_string()))?);
                    }
                }
                Event::CData(_) => return Err(XmlError::Unsupported("a CDATA section")),
                Event::DocType(_) => return Err(XmlError::Unsupported("a document type")),
                Event::PI(_) => return Err(XmlError::Unsupported("a processing instruction")),
                Event::Comment(_) | Event::Decl(_) => {}
                Event::Eof => break,
            }
        }
        if let Some(node) = open.first() {
            return Err(XmlError::Unclosed(node.name.clone()));
        }
        root.ok_or(XmlError::NotOneRoot)
    }
}

fn element(start: &quick_xml::events::BytesStart<'_>) -> Node {
    let mut node = Node::new(start.name().into_inner());
    node.has_attributes = !start.attributes_raw().trim().is_empty();
    node
}

fn close(open: &mut [Node], root: &mut Option<Node>, mut done: Node) -> Result<(), XmlError> {
    // Blanks around text, and the indentation around child elements, carry no meaning in SHIP.
    let trimmed = done.text.trim();
    if trimmed.len() != done.text.len() {
        done.text = trimmed.into();
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(done),
        None if root.is_none() => *root = Some(done),
        None => return Err(XmlError::NotOneRoot),
    }
    Ok(())
}

fn predefined(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_blanks_references_and_dotted_names() {
        let body = b"<?xml version=\"1.0\"?>\n<A>\n <User.Name> Jos&#xE9; &lt;1&gt; </User.Name><GPF1/></A>\n";
        let node = Node::parse(body).unwrap();
        assert_eq!(node.child("User.Name").unwrap().text, "Jos\u{e9} <1>");
        assert_eq!(node.child("GPF1").unwrap(), &Node::new("GPF1"));
        assert_eq!(node.text, "");
    }

    #[test]
    fn reads_latin_1_only_when_the_prolog_says_so() {
        let latin = b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><A>Jos\xe9</A>";
        assert_eq!(Node::parse(latin).unwrap().text, "Jos\u{e9}");
        assert!(matches!(Node::parse(b"<A>Jos\xe9</A>"), Err(XmlError::NotUtf8)));
    }

    #[test]
    fn refuses_what_is_not_one_document() {
        for body in
            ["HELLO", "", "<A>", "<A></B>", "<A/><B/>", "<A>&what;</A>", "<A><![CDATA[x]]></A>", "x<A/>", "<A/>x"]
        {
            assert!(Node::parse(body.as_bytes()).is_err(), "{body}");
        }
        let deep = format!("{}{}", "<A>".repeat(MAX_DEPTH + 1), "</A>".repeat(MAX_DEPTH + 1));
        assert!(matches!(Node::parse(deep.as_bytes()), Err(XmlError::TooDeep)));
        let fits = format!("{}{}", "<A>".repeat(MAX_DEPTH), "</A>".repeat(MAX_DEPTH));
        Node::parse(fits.as_bytes()).unwrap();
    }

    #[test]
    fn prints_what_it_reads() {
        let node = Node::new("A").with(Node::leaf("B", "1 < 2 & 3")).with(Node::new("C"));
        let document = node.to_document();
        assert_eq!(document, "<?xml version='1.0' encoding='utf-8'?><A><B>1 &lt; 2 &amp; 3</B><C/></A>");
        assert_eq!(Node::parse(document.as_bytes()).unwrap(), node);
    }
}
