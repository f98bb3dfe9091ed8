use super::{
    SUBSYSTEM, TableFamily, element_attribute as element, list_attribute as list, message,
};
use crate::netlink::{Encoder, Mark, NetlinkError, Socket, flags};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 16;
const END: u16 = 17;

/// `NFT_GOTO`.
const GOTO: i32 = -4;

/// Keeps the list of elements of one message below the 65,535 bytes of an attribute.
const MESSAGE_LIMIT: usize = 60_000;

/// What a map holds for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// A set's element has none.
    None,
    Value(&'a [u8]),
    Goto(&'a str),
}

/// Changes to set elements which the kernel makes all at once or not at all.
///
/// Consecutive changes of one kind to one set share a message; so callers that write set by set
/// get the smallest batch.
#[derive(Debug)]
pub struct Batch<'s> {
    socket: &'s mut Socket,
    encoder: Encoder,
    /// The message being written, its list of elements, and what it is about.
    open: Option<(Mark, Mark, About)>,
    /// Elements written, for logs and metrics.
    elements: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct About {
    kind: u16,
    family: TableFamily,
    table: String,
    set: String,
}

impl About {
    fn is(&self, kind: u16, family: TableFamily, table: &str, set: &str) -> bool {
        self.kind == kind && self.family == family && self.table == table && self.set == set
    }
}

impl<'s> Batch<'s> {
    /// Starts an empty batch.
    pub fn new(socket: &'s mut Socket) -> Self {
        let mut batch = Self { socket, encoder: Encoder::default(), open: None, elements: 0 };
        batch.begin();
        batch
    }

    fn begin(&mut self) {
        let sequence = self.socket.next_sequence();
        let begin = self.encoder.begin(BEGIN, flags::REQUEST, sequence, 0, SUBSYSTEM);
        self.encoder.end(begin);
    }

    /// Adds an element; one that is there with the same data is no error.
    pub fn add(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &str,
        key: &[u8],
        key_end: Option<&[u8]>,
        data: Data<'_>,
    ) {
        self.open(message::NEW_SET_ELEMENT, flags::CREATE, family, table, set);
        self.element(key, key_end, data);
    }

    /// Removes an element; the batch is refused if it is not there.
    pub fn delete(
        &mut self,
        family: TableFamily,
        table: &str,
        set: &str,
        key: &[u8],
        key_end: Option<&[u8]>,
    ) {
        self.open(message::DELETE_SET_ELEMENT, 0, family, table, set);
        self.element(key, key_end, Data::None);
    }

    /// The number of elements added and deleted.
    pub fn elements(&self) -> usize {
        self.elements
    }

    /// The size in bytes.
    pub fn len(&self) -> usize {
        self.encoder.len()
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.elements == 0
    }

    /// Sends the batch; an empty one is not sent. Returns the number of elements changed.
    pub fn commit(mut self) -> Result<usize, NetlinkError> {
        self.send()
    }

    /// The same, and starts anew.
    pub fn flush(&mut self) -> Result<usize, NetlinkError> {
        let count = self.send()?;
        self.encoder.clear();
        self.elements = 0;
        self.begin();
        Ok(count)
    }

    fn send(&mut self) -> Result<usize, NetlinkError> {
        if self.is_empty() {
            return Ok(0);
        }
        // The last message asks for an acknowledgement: it comes once everything was taken.
        if let Some((mark, ..)) = &self.open {
            let mark = *mark;
            self.encoder.add_flags(mark, flags::ACK);
        }
        self.close();
        let sequence = self.socket.next_sequence();
        let end = self.encoder.begin(END, flags::REQUEST, sequence, 0, SUBSYSTEM);
        self.encoder.end(end);
        self.socket.transact(self.encoder.as_bytes())?;
        Ok(self.elements)
    }

    fn open(&mut self, kind: u16, extra: u16, family: TableFamily, table: &str, set: &str) {
        if let Some((mark, _, about)) = &self.open
            && about.is(kind, family, table, set)
            && self.encoder.len_since(*mark) < MESSAGE_LIMIT
        {
            return;
        }
        self.close();
        let sequence = self.socket.next_sequence();
        let kind_on_wire = SUBSYSTEM << 8 | kind;
        let request = flags::REQUEST | extra;
        let mark = self.encoder.begin(kind_on_wire, request, sequence, family.number(), 0);
        self.encoder.string(list::TABLE, table);
        self.encoder.string(list::SET, set);
        let elements = self.encoder.begin_nest(list::ELEMENTS);
        let about = About { kind, family, table: table.to_owned(), set: set.to_owned() };
        self.open = Some((mark, elements, about));
    }

    fn close(&mut self) {
        if let Some((mark, elements, _)) = self.open.take() {
            self.encoder.end_nest(elements);
            self.encoder.end(mark);
        }
    }

    fn element(&mut self, key: &[u8], key_end: Option<&[u8]>, data: Data<'_>) {
        let encoder = &mut self.encoder;
        let nest = encoder.begin_nest(list::ELEMENT);
        value(encoder, element::KEY, key);
        if let Some(key_end) = key_end {
            value(encoder, element::KEY_END, key_end);
        }
        match data {
            Data::None => {}
            Data::Value(bytes) => value(encoder, element::DATA, bytes),
            Data::Goto(chain) => {
                let data = encoder.begin_nest(element::DATA);
                let verdict = encoder.begin_nest(element::VERDICT);
                encoder.be32(element::VERDICT_CODE, GOTO as u32);
                encoder.string(element::VERDICT_CHAIN, chain);
                encoder.end_nest(verdict);
                encoder.end_nest(data);
            }
        }
        encoder.end_nest(nest);
        self.elements += 1;
    }
}

fn value(encoder: &mut Encoder, kind: u16, bytes: &[u8]) {
    let nest = encoder.begin_nest(kind);
    encoder.attribute(element::VALUE, bytes);
    encoder.end_nest(nest);
}
