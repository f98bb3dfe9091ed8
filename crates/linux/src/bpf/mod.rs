//! BPF: objects loaded with aya; maps, links and pins by our own thin layer over bpf(2), because
//! aya has neither batches nor replaceable links for cgroups (`include/uapi/linux/bpf.h`).

mod array;
mod fs;
mod ids;
mod link;
mod map;
mod object;
mod sys;

pub use array::SharedArray;
pub use fs::{is_bpffs, mount_bpffs};
pub use ids::{Kind, ids};
pub use link::{Hook, Link, LinkState};
pub use map::{Cursor, Entries, Map, MapShape};
pub use object::{LoadError, Object, Program, load};

use std::os::fd::AsRawFd;

use crate::error::{Attempt, Attempted};

/// The number that identifies the calling thread's network namespace; never given twice.
pub fn netns_cookie() -> Attempt<u64> {
    let what = || "read the cookie of the network namespace".to_owned();
    let socket =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None).attempted(what)?;
    sys::netns_cookie(socket.as_raw_fd()).attempted(what)
}
