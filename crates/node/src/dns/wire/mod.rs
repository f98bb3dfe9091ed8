//! DNS messages (RFC 1035, RFC 6891) on the path that every query takes: written by hand, without
//! allocation. What comes from other servers is read with the `domain` crate instead.

mod query;
mod reply;

#[cfg(test)]
mod tests;

pub(crate) use query::{Query, Rejected, Transport, skip_name, whole_name};
pub(crate) use reply::{Reply, Section};

/// Response codes (IANA's DNS parameters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rcode(pub(crate) u8);

impl Rcode {
    pub(crate) const NOERROR: Self = Self(0);
    pub(crate) const FORMERR: Self = Self(1);
    pub(crate) const SERVFAIL: Self = Self(2);
    pub(crate) const NXDOMAIN: Self = Self(3);
    pub(crate) const NOTIMP: Self = Self(4);
    pub(crate) const REFUSED: Self = Self(5);
    pub(crate) const NOTAUTH: Self = Self(9);
    /// Extended: 4 bits go in the header, the rest in the OPT record.
    pub(crate) const BADVERS: Self = Self(16);

    /// The code that a Corefile names, by its name or number.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let named = (0..=10).map(Self).find(|code| code.name().eq_ignore_ascii_case(text));
        named.or_else(|| text.parse().ok().filter(|code| *code <= 10).map(Self))
    }

    pub(crate) fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "NOERROR",
            "FORMERR",
            "SERVFAIL",
            "NXDOMAIN",
            "NOTIMP",
            "REFUSED",
            "YXDOMAIN",
            "YXRRSET",
            "NXRRSET",
            "NOTAUTH",
            "NOTZONE",
            "DSOTYPENI",
            "12",
            "13",
            "14",
            "15",
            "BADVERS",
        ];
        NAMES.get(usize::from(self.0)).copied().unwrap_or("other")
    }
}

/// Octets of a message header.
pub(crate) const HEADER: usize = 12;

/// The largest message over UDP without EDNS (RFC 1035, 4.2.1).
pub(crate) const PLAIN_UDP: usize = 512;

/// The largest answer over UDP, however much the client offers to take.
pub(crate) const MAX_UDP: usize = 4096;

/// What we offer to take over UDP: fits every path without fragments (DNS Flag Day 2020).
pub(crate) const OUR_UDP: u16 = 1232;

pub(crate) const TYPE_OPT: u16 = 41;
pub(crate) const CLASS_IN: u16 = 1;

pub(crate) fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]))
}

/// The record type of a text: its name, or TYPE with a number.
pub(crate) fn parse_type(text: &str) -> Option<portolan_model::names::RecordType> {
    let kind = text.to_ascii_uppercase().parse::<domain::base::iana::Rtype>().ok()?;
    Some(portolan_model::names::RecordType(kind.to_int()))
}

/// The text of a record type.
pub(crate) fn type_name(kind: u16) -> String {
    domain::base::iana::Rtype::from_int(kind).to_string()
}
