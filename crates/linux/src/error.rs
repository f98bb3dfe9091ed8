//! The one error of this crate: what was attempted, and what the kernel said.

use std::{error::Error, fmt, io};

/// An operation on the kernel that did not succeed.
///
/// Displays what was attempted; the kernel's answer is its [`Error::source`].
#[derive(Debug)]
pub struct Failed {
    attempt: String,
    source: io::Error,
}

/// The result of an operation on the kernel.
pub type Attempt<T> = Result<T, Failed>;

impl Failed {
    /// Says that `attempt` ended with `source`.
    pub fn new(attempt: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self { attempt: attempt.into(), source: source.into() }
    }

    /// The kind of the kernel's answer.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// The kernel's error number, if it was the kernel that refused.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether what was to be made exists already.
    pub fn exists(&self) -> bool {
        self.raw_os_error() == Some(libc::EEXIST) || self.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether what was named does not exist (any more).
    pub fn missing(&self) -> bool {
        matches!(
            self.raw_os_error(),
            Some(libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::EADDRNOTAVAIL)
        ) || self.kind() == io::ErrorKind::NotFound
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.attempt)
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        Self::new(failed.source.kind(), format!("{}: {}", failed.attempt, failed.source))
    }
}

/// Adds to a result what was attempted; the text is made only on failure.
pub(crate) trait Attempted<T> {
    fn attempted(self, what: impl FnOnce() -> String) -> Attempt<T>;
}

impl<T, E: Into<io::Error>> Attempted<T> for Result<T, E> {
    fn attempted(self, what: impl FnOnce() -> String) -> Attempt<T> {
        self.map_err(|e| Failed::new(what(), e))
    }
}
