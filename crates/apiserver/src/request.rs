//! What a request asks: path, query and headers, parsed.

mod accept;
mod path;
mod query;

pub(crate) use self::accept::{Accept, Rendering};
pub(crate) use self::path::{ObjectPath, Target, parse as parse_path};
pub(crate) use self::query::Options;
