//! Pseudo-terminals, for commands that somebody types at.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use crate::error::{Attempt, Attempted};

/// Both ends of a new pseudo-terminal: the one to read and write what the user sees and types,
/// and the one for the program.
pub fn open() -> Attempt<(File, OwnedFd)> {
    let open = || {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave =
            rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
        Ok::<_, rustix::io::Errno>((File::from(master), slave))
    };
    open().attempted(|| "open a pseudo-terminal".to_owned())
}

/// Tells the programs on a terminal its size in characters.
pub fn resize(terminal: impl AsFd, columns: u16, rows: u16) -> Attempt<()> {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).attempted(|| "resize a terminal".to_owned())
}
