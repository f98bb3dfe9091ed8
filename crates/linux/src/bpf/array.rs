//! Arrays that this process and the kernel's programs have in common memory.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::Map;
use crate::error::{Attempt, Failed};

/// A `BPF_F_MMAPABLE` array: elements are read and written without a system call. Every write is
/// one aligned word, so a program never sees half of it.
///
/// What is mapped counts as this process's memory. So the array is mapped in windows, each when it
/// is first looked at, until [`Self::rest`].
#[derive(Debug)]
pub struct SharedArray {
    /// Addresses of its own, with or without memory behind.
    start: NonNull<u8>,
    length: usize,
    /// Bytes from one element to the next.
    stride: usize,
    map: Map,
    /// Whether each window is mapped.
    windows: Box<[Cell<bool>]>,
    /// The bytes of a window, as a power of two.
    window: u32,
}

/// The smallest window, as a power of two; a multiple of any page.
const WINDOW: u32 = 16;
/// The most windows, for the kernel keeps a record of each.
const WINDOWS: usize = 256;

// SAFETY: the memory belongs to this value alone on this side, lives as long as it does, and is
// only touched through atomics.
unsafe impl Send for SharedArray {}

/// Maps memory; with `at`, in the place of what is there, which is to be the caller's own.
fn mmap(
    at: Option<NonNull<u8>>,
    length: usize,
    file: Option<(RawFd, usize)>,
) -> io::Result<*mut u8> {
    let (fd, offset) = file.unwrap_or((-1, 0));
    let (access, kind) = match file {
        Some(_) => (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED),
        None => (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE),
    };
    let (hint, fixed) = at.map_or((std::ptr::null_mut(), 0), |at| (at.as_ptr(), libc::MAP_FIXED));
    // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists, and
    // otherwise the caller owns what it replaces.
    let start =
        unsafe { libc::mmap(hint.cast(), length, access, kind | fixed, fd, offset as libc::off_t) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start.cast()) }
}

impl SharedArray {
    /// Opens the array that is pinned there.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let failed =
            |error| Failed::new(format!("map the array {} into memory", path.display()), error);
        let map = Map::open(path)?;
        let shape = map.shape();
        let stride = shape.value.next_multiple_of(8);
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs() as usize;
        let length = (stride * shape.max_entries as usize).next_multiple_of(page);
        let window = length.div_ceil(WINDOWS).next_power_of_two().ilog2().max(WINDOW);
        let start = NonNull::new(mmap(None, length, None).map_err(failed)?)
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::OutOfMemory)))?;
        let windows = vec![Cell::new(false); length.div_ceil(1 << window)].into();
        let array = Self { start, length, stride, map, windows, window };
        array.show(0).map_err(failed)?;
        Ok(array)
    }

    /// Has memory behind the addresses of a window.
    fn show(&self, number: usize) -> io::Result<()> {
        let from = number << self.window;
        let length = (self.length - from).min(1 << self.window);
        // SAFETY: the window begins inside the addresses that are this value's own.
        let start = unsafe { self.start.add(from) };
        mmap(Some(start), length, Some((self.map.as_fd().as_raw_fd(), from)))?;
        self.windows[number].set(true);
        Ok(())
    }

    /// Gives the windows up, until they are looked at again.
    pub fn rest(&mut self) {
        // Nobody has a reference into them: these borrow the whole.
        if mmap(Some(self.start), self.length, None).is_ok() {
            self.windows.iter().for_each(|window| window.set(false));
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> u32 {
        self.map.shape().max_entries
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn map(&self) -> &Map {
        &self.map
    }

    fn at(&self, index: u32, offset: usize, size: usize) -> NonNull<u8> {
        let inside =
            index < self.len() && offset + size <= self.stride && offset.is_multiple_of(size);
        assert!(inside, "element {index} of an array of {}", self.len());
        let at = index as usize * self.stride + offset;
        let window = at >> self.window;
        let shown = self.windows[window].get() || self.show(window).is_ok();
        assert!(shown, "no memory to map an array");
        // SAFETY: just checked to lie within the mapping, which is `stride * len` bytes at least.
        unsafe { self.start.add(at) }
    }

    /// The word at that byte of an element.
    ///
    /// # Panics
    /// When the array has no such element, the word is not aligned within it, or there is no
    /// memory to map it.
    pub fn word(&self, index: u32, offset: usize) -> &AtomicU32 {
        let place = self.at(index, offset, 4);
        // SAFETY: inside the mapping, which begins at a page and has strides of eight bytes, so
        // aligned to four; it lives as long as `self`, and the kernel writes whole words too.
        unsafe { AtomicU32::from_ptr(place.as_ptr().cast()) }
    }

    /// The double word at that byte of an element.
    ///
    /// # Panics
    /// As [`Self::word`].
    pub fn double(&self, index: u32, offset: usize) -> &AtomicU64 {
        let place = self.at(index, offset, 8);
        // SAFETY: as in `word`, aligned to eight.
        unsafe { AtomicU64::from_ptr(place.as_ptr().cast()) }
    }
}

impl Drop for SharedArray {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `open` with this length, and no reference into it
        // outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}
