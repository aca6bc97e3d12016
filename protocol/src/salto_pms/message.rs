//! A message: fields, each between two separators.

/// The vertical bar of DOS code pages.
pub const SEPARATOR: u8 = 0xB3;
/// The vertical bar of ASCII; one known client sends it instead.
pub const SEPARATOR_ASCII: u8 = 0x7C;

/// The body of a frame, read as fields without copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    fields: &'a [u8],
    separator: u8,
}

impl<'a> Message<'a> {
    /// Reads any body; where the outer separators are missing, the fields still are where they are.
    pub fn read(body: &'a [u8]) -> Self {
        Self::with_separator(body, SEPARATOR)
    }

    /// As [`Self::read`], but a body that starts with [`SEPARATOR_ASCII`] is split there.
    pub fn read_either(body: &'a [u8]) -> Self {
        let separator = if body.first() == Some(&SEPARATOR_ASCII) { SEPARATOR_ASCII } else { SEPARATOR };
        Self::with_separator(body, separator)
    }

    fn with_separator(body: &'a [u8], separator: u8) -> Self {
        let fields = body.strip_prefix(&[separator]).unwrap_or(body);
        Self { fields: fields.strip_suffix(&[separator]).unwrap_or(fields), separator }
    }

    /// In order; the first is the command or an error code.
    pub fn fields(self) -> impl Iterator<Item = &'a [u8]> {
        self.fields.split(move |byte| *byte == self.separator)
    }

    /// The field at `index`; empty if it is empty or cut off, which mean the same.
    pub fn field(self, index: usize) -> &'a [u8] {
        self.fields().nth(index).unwrap_or_default()
    }

    /// Field 0.
    pub fn command(self) -> &'a [u8] {
        self.field(0)
    }

    /// Fields from `index` on, without the empty ones at the end.
    pub fn rest(self, index: usize) -> impl Iterator<Item = &'a [u8]> {
        let full = self.fields().enumerate().filter(|(_, field)| !field.is_empty()).last().map_or(0, |(last, _)| last);
        self.fields().enumerate().take_while(move |(place, _)| *place <= full).skip(index).map(|(_, field)| field)
    }
}

/// Writes fields. The caller has checked that none holds a separator or a control byte.
pub(super) struct MessageWriter {
    body: Vec<u8>,
    /// Length of the body up to the last field that is not empty; what follows may be cut.
    full: usize,
}

impl MessageWriter {
    pub(super) fn new(command: &str) -> Self {
        let mut writer = Self { body: vec![SEPARATOR], full: 0 };
        writer.field(command.as_bytes());
        writer
    }

    pub(super) fn field(&mut self, field: &[u8]) {
        self.body.extend_from_slice(field);
        self.body.push(SEPARATOR);
        if !field.is_empty() {
            self.full = self.body.len();
        }
    }

    /// `count` empty fields.
    pub(super) fn skip(&mut self, count: usize) {
        self.body.extend(std::iter::repeat_n(SEPARATOR, count));
    }

    /// Without empty fields at the end: both ways are in use, this one is shorter on a slow line.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.body.truncate(self.full);
        self.body
    }
}
