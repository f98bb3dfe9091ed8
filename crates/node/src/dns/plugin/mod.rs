//! One file per plugin of a Corefile that answers or remembers.

pub(crate) mod acl;
pub(crate) mod autopath;
pub(crate) mod bind;
pub(crate) mod cache;
pub(crate) mod errors;
pub(crate) mod file;
pub(crate) mod forward;
pub(crate) mod hosts;
pub(crate) mod kubernetes;
pub(crate) mod log;
pub(crate) mod looping;
pub(crate) mod ratelimit;
pub(crate) mod rewrite;
pub(crate) mod template;
pub(crate) mod tls;
pub(crate) mod transfer;
pub(crate) mod upstream;
pub(crate) mod weighted;

use super::wire::Rcode;

/// What a plugin makes of a query without waiting for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is not for this plugin: the next one may try.
    Next,
    /// The answer is written.
    Done(Rcode),
    /// It has an answer but must wait for somebody else.
    Later,
}

/// What plugins know of the server block around them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Surroundings {
    /// Where to begin in a set of addresses (`loadbalance`).
    pub(crate) turn: usize,
    /// Whether names of the outside are resolved, which is what RA tells clients.
    pub(crate) recursion: bool,
}
