//! Records as zone files write them (RFC 1035, 5).

use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::{Name, ToName};
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};
use portolan_model::names::RecordType;

use super::Record;

/// Why a text is no list of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TextError {
    #[error("{0}")]
    Syntax(String),
    #[error("$INCLUDE is not supported")]
    Include,
    #[error("class {0} is not supported, only IN is")]
    Class(String),
}

/// Reads the records of a zone file whose relative names belong to `origin`, a name in wire form
/// without its root octet.
pub(crate) fn parse(text: &str, origin: &[u8]) -> Result<Vec<Record>, TextError> {
    let syntax = |error: &dyn std::fmt::Display| TextError::Syntax(error.to_string());
    let mut whole = origin.to_vec();
    whole.push(0);
    let origin = Name::from_octets(Bytes::from(whole)).map_err(|error| syntax(&error))?;
    let mut file = Zonefile::new();
    file.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        file.extend_from_slice(b"\n");
    }
    file.set_origin(origin);
    file.set_default_class(Class::IN);
    let mut records = Vec::new();
    while let Some(entry) = file.next_entry().map_err(|error| syntax(&error))? {
        let record = match entry {
            Entry::Record(record) => record,
            Entry::Include { .. } => return Err(TextError::Include),
        };
        if record.class() != Class::IN {
            return Err(TextError::Class(record.class().to_string()));
        }
        let owner: Name<Vec<u8>> = record.owner().to_name();
        let mut owner = owner.into_octets();
        owner.pop();
        let mut data = Vec::new();
        record.data().compose_rdata(&mut data).map_err(|error| syntax(&error))?;
        let kind = RecordType(record.rtype().to_int());
        records.push(Record { owner, kind, ttl: record.ttl().as_secs(), data });
    }
    Ok(records)
}
