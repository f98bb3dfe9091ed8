use super::{ATTRIBUTE_LEN, GENERIC_LEN, HEADER_LEN, align};

/// The type of an attribute, without the bits that say "nested" and "network byte order".
const TYPE_MASK: u16 = 0x3fff;

/// The parts of `struct nlmsghdr` that a reader needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The socket whose request this answers or tells of.
    pub port: u32,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    pub header: Header,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind the header of nfnetlink or generic netlink.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes(self.payload.get(GENERIC_LEN..).unwrap_or_default())
    }

    /// The family in the header of nfnetlink.
    pub fn family(&self) -> u8 {
        self.payload.first().copied().unwrap_or(0)
    }

    /// The error number of an `NLMSG_ERROR` or `NLMSG_DONE`: zero or negative.
    pub fn code(&self) -> i32 {
        self.payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes))
    }
}

/// Reads messages one behind the other; stops at the first that is cut short.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let length = u32::from_ne_bytes(*self.0.first_chunk()?) as usize;
        if length < HEADER_LEN || length > self.0.len() {
            return None;
        }
        let bytes = &self.0[..length];
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(Message {
            header: Header {
                kind: u16::from_ne_bytes([bytes[4], bytes[5]]),
                flags: u16::from_ne_bytes([bytes[6], bytes[7]]),
                sequence: u32::from_ne_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]),
                port: u32::from_ne_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]),
            },
            payload: &bytes[HEADER_LEN..],
        })
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    pub kind: u16,
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The attributes nested in this one.
    pub fn nested(&self) -> Attributes<'a> {
        Attributes(self.value)
    }

    /// A string without its final zero byte; anything but UTF-8 reads as empty.
    pub fn text(&self) -> &'a str {
        let end = self.value.iter().position(|byte| *byte == 0).unwrap_or(self.value.len());
        std::str::from_utf8(&self.value[..end]).unwrap_or_default()
    }

    pub fn be16(&self) -> Option<u16> {
        self.value.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub fn be32(&self) -> Option<u32> {
        self.value.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub fn be64(&self) -> Option<u64> {
        self.value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// A 16-bit number in the machine's byte order.
    pub fn ne16(&self) -> Option<u16> {
        self.value.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
    }

    /// A 32-bit number in the machine's byte order.
    pub fn ne32(&self) -> Option<u32> {
        self.value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
    }

    pub fn byte(&self) -> Option<u8> {
        self.value.first().copied()
    }
}

/// Reads attributes one behind the other; stops at the first that is cut short.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The first attribute of that type.
    pub fn find(mut self, kind: u16) -> Option<Attribute<'a>> {
        Iterator::find(&mut self, |attribute| attribute.kind == kind)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let head: &[u8; ATTRIBUTE_LEN] = self.0.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        if length < ATTRIBUTE_LEN || length > self.0.len() {
            return None;
        }
        let attribute = Attribute {
            kind: u16::from_ne_bytes([head[2], head[3]]) & TYPE_MASK,
            value: &self.0[ATTRIBUTE_LEN..length],
        };
        self.0 = self.0.get(align(length)..).unwrap_or_default();
        Some(attribute)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Encoder;
    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            kind: u16,
            sequence: u32,
            values in prop::collection::vec((0_u16..0x3fff, prop::collection::vec(any::<u8>(), 0..50)), 0..20),
        ) {
            let mut encoder = Encoder::default();
            for _ in 0..2 {
                let message = encoder.begin(kind, 5, sequence, 2, 10);
                let nest = encoder.begin_nest(7);
                values.iter().for_each(|(kind, value)| encoder.attribute(*kind, value));
                encoder.end_nest(nest);
                encoder.string(8, "name");
                encoder.end(message);
            }
            let messages: Vec<_> = Messages::new(encoder.as_bytes()).collect();
            prop_assert_eq!(messages.len(), 2);
            for message in messages {
                prop_assert_eq!(message.header, Header { kind, flags: 5, sequence, port: 0 });
                prop_assert_eq!(message.family(), 2);
                let nest = message.attributes().find(7).unwrap();
                let read: Vec<_> = nest.nested().map(|a| (a.kind, a.value.to_vec())).collect();
                prop_assert_eq!(&read, &values);
                prop_assert_eq!(message.attributes().find(8).unwrap().text(), "name");
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            fn walk(attributes: Attributes<'_>, depth: usize) {
                for attribute in attributes {
                    let _ = (attribute.text(), attribute.be16(), attribute.be32(), attribute.be64(), attribute.byte());
                    if depth > 0 {
                        walk(attribute.nested(), depth - 1);
                    }
                }
            }
            walk(Attributes::new(&bytes), 3);
            for message in Messages::new(&bytes) {
                let _ = (message.family(), message.code());
                walk(message.attributes(), 3);
            }
        }
    }
}
