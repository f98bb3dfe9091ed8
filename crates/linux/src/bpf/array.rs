//! Arrays that this process and the kernel's programs have in common memory.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use super::Map;
use crate::error::{Attempt, Failed};

/// A `BPF_F_MMAPABLE` array: elements are read and written without a system call. Every write is
/// one aligned word, so a program never sees half of it.
#[derive(Debug)]
pub struct SharedArray {
    start: NonNull<u8>,
    length: usize,
    /// Bytes from one element to the next.
    stride: usize,
    map: Map,
}

// SAFETY: the memory belongs to this value alone on this side, lives as long as it does, and is
// only touched through atomics.
unsafe impl Send for SharedArray {}
// SAFETY: as above.
unsafe impl Sync for SharedArray {}

impl SharedArray {
    /// Opens the array that is pinned there.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let map = Map::open(path)?;
        let shape = map.shape();
        let stride = shape.value.next_multiple_of(8);
        // SAFETY: asks for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.unsigned_abs() as usize;
        let length = (stride * shape.max_entries as usize).next_multiple_of(page);
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_fd().as_raw_fd(),
                0,
            )
        };
        let failed =
            |error| Failed::new(format!("map the array {} into memory", path.display()), error);
        if start == libc::MAP_FAILED {
            return Err(failed(io::Error::last_os_error()));
        }
        let start = NonNull::new(start.cast::<u8>())
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::OutOfMemory)))?;
        Ok(Self { start, length, stride, map })
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
        // SAFETY: just checked to lie within the mapping, which is `stride * len` bytes at least.
        unsafe { self.start.add(index as usize * self.stride + offset) }
    }

    /// The word at that byte of an element.
    ///
    /// # Panics
    /// When the array has no such element, or the word is not aligned within it.
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
