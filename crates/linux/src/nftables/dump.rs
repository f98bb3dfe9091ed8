use std::hash::{Hash, Hasher};

use super::{
    Listener, SUBSYSTEM, TableFamily, element_attribute as element, list_attribute as list, message,
};
use crate::netlink::{Attributes, Dumped, Encoder, Message, NetlinkError, Socket, flags};

/// One element of a set or map, as the kernel holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub key: &'a [u8],
    /// The end of an interval, where the set has intervals of concatenations.
    pub key_end: Option<&'a [u8]>,
    /// Empty for sets and for verdicts.
    pub data: &'a [u8],
    /// The chain that a verdict goes to.
    pub chain: &'a str,
}

/// The elements of one set or map, in one allocation.
#[derive(Clone, Debug, Default)]
pub struct Elements {
    bytes: Vec<u8>,
    /// For each element where it starts, and the lengths of its parts.
    spans: Vec<Span>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    key: u8,
    key_end: u8,
    data: u8,
    chain: u8,
}

impl Elements {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The element of that number, in the kernel's order.
    pub fn get(&self, index: usize) -> Element<'_> {
        let span = self.spans[index];
        let mut rest = &self.bytes[span.start as usize..];
        let mut part = |length: u8| {
            let (head, tail) = rest.split_at(usize::from(length));
            rest = tail;
            head
        };
        let (key, key_end, data) = (part(span.key), part(span.key_end), part(span.data));
        let chain = std::str::from_utf8(part(span.chain)).unwrap_or_default();
        Element { key, key_end: (!key_end.is_empty()).then_some(key_end), data, chain }
    }

    /// All elements, in the kernel's order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Element<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }

    fn read(&mut self, message: Message<'_>) {
        let Some(elements) = message.attributes().find(list::ELEMENTS) else { return };
        for item in elements.nested() {
            let value = |kind| {
                let found = item.nested().find(kind);
                found
                    .and_then(|found| found.nested().find(element::VALUE))
                    .map_or(&[][..], |v| v.value)
            };
            let verdict = item
                .nested()
                .find(element::DATA)
                .and_then(|data| data.nested().find(element::VERDICT));
            let chain = verdict
                .and_then(|verdict| verdict.nested().find(element::VERDICT_CHAIN))
                .map_or("", |chain| chain.text());
            self.push(value(element::KEY), value(element::KEY_END), value(element::DATA), chain);
        }
    }

    /// Adds an element; parts that it does not have are empty.
    pub fn push(&mut self, key: &[u8], key_end: &[u8], data: &[u8], chain: &str) {
        let start = self.bytes.len() as u32;
        let parts = [key, key_end, data, chain.as_bytes()];
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        let [key, key_end, data, chain] = parts.map(|part| part.len() as u8);
        self.spans.push(Span { start, key, key_end, data, chain });
    }
}

/// Reads tables back.
#[derive(Debug)]
pub struct Reader<'s> {
    socket: &'s mut Socket,
    listener: Option<&'s mut Listener>,
}

impl<'s> Reader<'s> {
    pub fn new(socket: &'s mut Socket) -> Self {
        Self { socket, listener: None }
    }

    /// The kernel says of a set that it may not have told all of it as soon as anybody changed
    /// anything meanwhile. One who listens knows better: it is read again only if somebody changed
    /// one of the listener's tables.
    pub fn listening(socket: &'s mut Socket, listener: &'s mut Listener) -> Self {
        Self { socket, listener: Some(listener) }
    }

    /// How many changes of others have been heard of.
    fn others(&mut self) -> Result<Option<u64>, NetlinkError> {
        let own = [self.socket.port()];
        self.listener.as_mut().map(|listener| listener.others(&own)).transpose()
    }

    /// The elements of a set or map.
    ///
    /// # Errors
    /// [`NetlinkError::is_not_found`] when there is no such table or set.
    pub fn elements(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &str,
    ) -> Result<Elements, NetlinkError> {
        let mut encoder = Encoder::default();
        let kind = SUBSYSTEM << 8 | message::GET_SET_ELEMENT;
        let sequence = self.socket.next_sequence();
        let mark = encoder.begin(kind, flags::REQUEST | flags::DUMP, sequence, family.number(), 0);
        encoder.string(list::TABLE, table);
        encoder.string(list::SET, set);
        encoder.end(mark);
        self.dump(encoder.as_bytes(), Elements::read)
    }

    /// Takes a dump until it is whole.
    fn dump<T: Default>(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(&mut T, Message<'_>),
    ) -> Result<T, NetlinkError> {
        for _ in 0..Socket::DUMP_ATTEMPTS {
            let before = self.others()?;
            let mut read = T::default();
            let dumped = self.socket.dump_once(request, |message| each(&mut read, message))?;
            match dumped {
                Dumped::Steady => return Ok(read),
                Dumped::Disturbed if before.is_some() && self.others()? == before => {
                    return Ok(read);
                }
                Dumped::Disturbed | Dumped::Cut => {}
            }
        }
        Err(NetlinkError::Unsteady)
    }

    /// A fingerprint of all rules of a table, which stays the same as long as nobody edits them.
    /// Counters do not count; a table without rules, or none, reads as 0.
    pub fn rules_fingerprint(
        &mut self,
        family: TableFamily,
        table: &str,
    ) -> Result<u64, NetlinkError> {
        /// `NFTA_RULE_*`.
        const TABLE: u16 = 1;
        const CHAIN: u16 = 2;
        const EXPRESSIONS: u16 = 4;
        let mut encoder = Encoder::default();
        let kind = SUBSYSTEM << 8 | message::GET_RULE;
        let sequence = self.socket.next_sequence();
        let mark = encoder.begin(kind, flags::REQUEST | flags::DUMP, sequence, family.number(), 0);
        encoder.string(TABLE, table);
        encoder.end(mark);
        self.dump(encoder.as_bytes(), |sum: &mut u64, message| {
            let attributes = message.attributes();
            if attributes.find(TABLE).is_none_or(|name| name.text() != table) {
                return;
            }
            let part = |kind| attributes.find(kind).map_or(&[][..], |found| found.value);
            let mut hasher = std::hash::DefaultHasher::new();
            (*sum, part(CHAIN)).hash(&mut hasher);
            hash_expressions(Attributes::new(part(EXPRESSIONS)), &mut hasher);
            *sum = hasher.finish();
        })
    }

    /// The number of the kernel's current generation of rules: it moves with every transaction of
    /// anybody in this network namespace.
    pub fn generation(&mut self) -> Result<u32, NetlinkError> {
        /// `NFTA_GEN_ID`.
        const ID: u16 = 1;
        let mut encoder = Encoder::default();
        let kind = SUBSYSTEM << 8 | message::GET_GENERATION;
        let sequence = self.socket.next_sequence();
        let mark = encoder.begin(kind, flags::REQUEST, sequence, 0, 0);
        encoder.end(mark);
        let read = |message: Message<'_>| message.attributes().find(ID)?.be32();
        Ok(self.socket.ask(encoder.as_bytes(), read)?.unwrap_or(0))
    }
}

/// Hashes expressions by name and content, except counters, which move by themselves.
fn hash_expressions(expressions: Attributes<'_>, hasher: &mut impl Hasher) {
    /// `NFTA_EXPR_NAME`.
    const NAME: u16 = 1;
    for expression in expressions {
        let name = expression.nested().find(NAME).map_or("", |name| name.text());
        if name != "counter" {
            expression.value.hash(hasher);
        }
    }
}
