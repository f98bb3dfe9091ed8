use std::collections::BTreeSet;

use super::sys::{self, Command};
use crate::error::{Attempt, Attempted};

/// What the kernel numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Program,
    Map,
    Link,
}

/// The numbers of all objects of a kind that the machine has, whosever they are. A number is not
/// given again soon.
pub fn ids(kind: Kind) -> Attempt<BTreeSet<u32>> {
    let command = match kind {
        Kind::Program => Command::ProgramNext,
        Kind::Map => Command::MapNext,
        Kind::Link => Command::LinkNext,
    };
    let mut found = BTreeSet::new();
    let mut last = 0;
    while let Some(id) =
        sys::next_id(command, last).attempted(|| format!("list BPF objects: {kind:?}"))?
    {
        found.insert(id);
        last = id;
    }
    Ok(found)
}
