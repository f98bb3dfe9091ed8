//! Pseudo-terminals, for commands that somebody types at.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::error::{Attempt, Attempted};

/// Both ends of a new pseudo-terminal: the one to read and write what the user sees and types,
/// and the one for the program.
///
/// `multiplexer` is the `/dev/pts/ptmx` of the file system in which the program shall find its
/// terminal; for a container, seen through `/proc/PID/root`.
pub fn open(multiplexer: &Path) -> Attempt<(File, OwnedFd)> {
    let open = || {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let master = rustix::fs::open(multiplexer, flags, Mode::empty())?;
        unlockpt(&master)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        Ok::<_, rustix::io::Errno>((File::from(master), slave))
    };
    open().attempted(|| format!("open a pseudo-terminal of {}", multiplexer.display()))
}

/// Tells the programs on a terminal its size in characters.
pub fn resize(terminal: impl AsFd, columns: u16, rows: u16) -> Attempt<()> {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).attempted(|| "resize a terminal".to_owned())
}
