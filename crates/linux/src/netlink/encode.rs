use super::{ATTRIBUTE_LEN, HEADER_LEN, align};

/// Set in an attribute's type when attributes are nested in it.
const NESTED: u16 = 0x8000;

/// Where a message or a nest began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message or a nest has to be ended"]
pub struct Mark(usize);

/// Writes netlink messages one behind the other.
///
/// Lengths are filled in when a message or a nest ends. An attribute cannot be longer than 65,535
/// bytes: callers start a new message before (see [`Encoder::len_since`]).
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// The bytes written so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// The number of bytes written since `mark`.
    pub fn len_since(&self, mark: Mark) -> usize {
        self.bytes.len() - mark.0
    }

    /// Starts a message with the header of nfnetlink: the type is `subsystem << 8 | kind`.
    pub fn begin(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: u8,
        resource: u16,
    ) -> Mark {
        let mark = Mark(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.push(family);
        self.bytes.push(0);
        self.bytes.extend_from_slice(&resource.to_be_bytes());
        mark
    }

    /// Starts a message with the header of generic netlink; the type is a family's number.
    pub fn begin_generic(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        command: u8,
        version: u8,
    ) -> Mark {
        // Laid out alike but for the meaning: command, version, and two bytes that nobody reads.
        let mark = self.begin(kind, flags, sequence, command, 0);
        self.bytes[mark.0 + HEADER_LEN + 1] = version;
        mark
    }

    /// Ends a message.
    pub fn end(&mut self, mark: Mark) {
        let length = self.len_since(mark) as u32;
        self.bytes[mark.0..mark.0 + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Sets flags of the message that began at `mark`.
    pub fn add_flags(&mut self, mark: Mark, flags: u16) {
        let at = mark.0 + 6;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    /// Writes an attribute.
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let length = ATTRIBUTE_LEN + value.len();
        debug_assert!(length <= usize::from(u16::MAX));
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// Writes a string attribute with its final zero byte.
    pub fn string(&mut self, kind: u16, value: &str) {
        let length = ATTRIBUTE_LEN + value.len() + 1;
        self.bytes.extend_from_slice(&(length as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.bytes.resize(align(self.bytes.len()), 0);
    }

    /// Writes a 32-bit number in network byte order.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// Starts an attribute that holds attributes.
    pub fn begin_nest(&mut self, kind: u16) -> Mark {
        let mark = Mark(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        mark
    }

    /// Ends an attribute that holds attributes.
    pub fn end_nest(&mut self, mark: Mark) {
        let length = self.len_since(mark);
        debug_assert!(length <= usize::from(u16::MAX));
        self.bytes[mark.0..mark.0 + 2].copy_from_slice(&(length as u16).to_ne_bytes());
    }
}
