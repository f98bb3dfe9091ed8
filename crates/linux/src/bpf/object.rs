use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use aya::programs::{CgroupSock, CgroupSockAddr};
use aya::{EbpfLoader, VerifierLogLevel};

use super::sys;
use crate::error::{Attempt, Attempted};

/// A program in the kernel.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Opens the program that is pinned there.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let fd = sys::get(path).attempted(|| format!("open the program {}", path.display()))?;
        Ok(Self { fd })
    }

    pub fn pin(&self, path: impl AsRef<Path>) -> Attempt<()> {
        let path = path.as_ref();
        sys::pin(self.fd.as_raw_fd(), path)
            .attempted(|| format!("pin the program {}", path.display()))
    }

    /// The number by which the kernel knows it.
    pub fn id(&self) -> Attempt<u32> {
        let mut info = [0_u64; 8];
        sys::info(self.fd.as_raw_fd(), &mut info).attempted(|| "ask about a program".to_owned())?;
        Ok(u32::from_ne_bytes(info[0].to_ne_bytes()[4..].try_into().unwrap_or_default()))
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What is loaded, and with which sizes.
#[derive(Clone, Copy, Debug)]
pub struct Object<'a> {
    /// The ELF file; must be aligned to eight bytes.
    pub bytes: &'a [u8],
    /// How many elements maps are to hold, where it is not what the file says.
    pub sizes: &'a [(&'a str, u32)],
    /// Values of constants.
    pub constants: &'a [(&'a str, u64)],
    /// Where maps are pinned. One that is pinned there already is used as it is.
    pub pins: &'a Path,
    /// Programs that may be missing.
    pub optional: &'a [&'a str],
}

/// The kernel does not take an object.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot load the maps of the BPF object: {reason}")]
    Maps { reason: String },
    #[error("the kernel refuses the BPF program {program}: {reason}")]
    Program { program: String, reason: String },
}

fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        next = source.source();
    }
    text
}

/// Loads the programs of an object; those for a cgroup's sockets are known here. What the
/// verifier says is in the error.
pub fn load(object: &Object<'_>) -> Result<BTreeMap<String, Program>, LoadError> {
    let mut loader = EbpfLoader::new();
    loader
        .btf(None)
        .default_map_pin_directory(object.pins)
        .verifier_log_level(VerifierLogLevel::STATS);
    for (name, size) in object.sizes {
        loader.map_max_entries(name, *size);
    }
    for (name, value) in object.constants {
        loader.override_global(name, value, true);
    }
    let maps = |error: aya::EbpfError| LoadError::Maps { reason: whole(&error) };
    let mut loaded = loader.load(object.bytes).map_err(maps)?;
    let mut programs = BTreeMap::new();
    for (name, program) in loaded.programs_mut() {
        let failed = |error: &aya::programs::ProgramError| LoadError::Program {
            program: name.to_owned(),
            reason: whole(error),
        };
        let fd = match program {
            aya::programs::Program::CgroupSockAddr(program) => descriptor(program),
            aya::programs::Program::CgroupSock(program) => descriptor(program),
            _ => Err(aya::programs::ProgramError::UnexpectedProgramType),
        };
        match fd {
            Ok(fd) => {
                programs.insert(name.to_owned(), Program { fd });
            }
            Err(error) if object.optional.contains(&name) => {
                tracing::info!(
                    program = name,
                    reason = whole(&error),
                    "this kernel does not take an optional BPF program; going without"
                );
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok(programs)
}

trait Loadable {
    fn load(&mut self) -> Result<(), aya::programs::ProgramError>;
    fn fd(&self) -> Result<&aya::programs::ProgramFd, aya::programs::ProgramError>;
}

impl Loadable for CgroupSockAddr {
    fn load(&mut self) -> Result<(), aya::programs::ProgramError> {
        CgroupSockAddr::load(self)
    }

    fn fd(&self) -> Result<&aya::programs::ProgramFd, aya::programs::ProgramError> {
        CgroupSockAddr::fd(self)
    }
}

impl Loadable for CgroupSock {
    fn load(&mut self) -> Result<(), aya::programs::ProgramError> {
        CgroupSock::load(self)
    }

    fn fd(&self) -> Result<&aya::programs::ProgramFd, aya::programs::ProgramError> {
        CgroupSock::fd(self)
    }
}

fn descriptor(program: &mut impl Loadable) -> Result<OwnedFd, aya::programs::ProgramError> {
    program.load()?;
    let fd = program.fd()?.as_fd().try_clone_to_owned();
    fd.map_err(aya::programs::ProgramError::IOError)
}
