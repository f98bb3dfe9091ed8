//! The system calls themselves.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd`.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
pub(super) enum Command {
    MapLookup = 1,
    MapUpdate = 2,
    Pin = 6,
    Get = 7,
    ProgramNext = 11,
    MapNext = 12,
    Info = 15,
    MapLookupBatch = 24,
    MapUpdateBatch = 26,
    MapDeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkNext = 31,
}

/// The arguments of the map commands with one element.
#[repr(C)]
#[derive(Default)]
struct Element {
    fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    fd: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    fd: u32,
    length: u32,
    info: u64,
}

/// `link_create` and `link_update` begin with four words.
#[repr(C)]
#[derive(Default)]
struct Words {
    words: [u32; 4],
    rest: [u64; 4],
}

fn bpf<T>(command: Command, attributes: &mut T) -> io::Result<i64> {
    // SAFETY: `attributes` is a live `repr(C)` struct of the length given; the kernel reads and
    // writes within it, and behind the pointers that the callers below put there, which belong to
    // slices that outlive the call and are as long as the map's shape says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command as libc::c_long,
            std::ptr::from_mut(attributes),
            mem::size_of::<T>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn owned(result: i64) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for the caller, and nobody else knows it.
    unsafe { OwnedFd::from_raw_fd(result as RawFd) }
}

fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr() as u64
}

fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr() as u64
}

/// One element: `value` must be as long as the map's values, `key` as its keys; the caller checks.
pub(super) fn element(command: Command, fd: RawFd, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    let mut attributes = Element {
        fd: fd as u32,
        key: address(key),
        value: address_mut(value),
        ..Element::default()
    };
    bpf(command, &mut attributes).map(drop)
}

/// Writes or removes many; returns how many, also on failure.
pub(super) fn batch(
    command: Command,
    fd: RawFd,
    keys: &[u8],
    values: &[u8],
    count: u32,
) -> (u32, io::Result<()>) {
    let mut attributes = Batch {
        keys: address(keys),
        values: address(values),
        count,
        fd: fd as u32,
        ..Batch::default()
    };
    let result = bpf(command, &mut attributes).map(drop);
    (attributes.count, result)
}

/// Reads on from `cursor`; returns how many elements there are now in `keys` and `values`, and
/// whether these were the last.
pub(super) fn read_batch(
    fd: RawFd,
    cursor: &mut Option<[u8; 16]>,
    keys: &mut [u8],
    values: &mut [u8],
    count: u32,
) -> io::Result<(u32, bool)> {
    let mut next = [0_u8; 16];
    let mut attributes = Batch {
        in_batch: cursor.as_ref().map_or(0, |cursor| address(cursor)),
        out_batch: address_mut(&mut next),
        keys: address_mut(keys),
        values: address_mut(values),
        count,
        fd: fd as u32,
        ..Batch::default()
    };
    let result = bpf(Command::MapLookupBatch, &mut attributes);
    *cursor = Some(next);
    match result {
        Ok(_) => Ok((attributes.count, false)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok((attributes.count, true)),
        Err(error) => Err(error),
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

pub(super) fn pin(fd: RawFd, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attributes = Object { path: path.as_ptr() as u64, fd: fd as u32, flags: 0 };
    bpf(Command::Pin, &mut attributes).map(drop)
}

pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attributes = Object { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    bpf(Command::Get, &mut attributes).map(owned)
}

/// Fills `info`, the beginning of the struct that the kernel has for this kind of object.
pub(super) fn info(fd: RawFd, info: &mut [u64]) -> io::Result<()> {
    let mut attributes =
        Info { fd: fd as u32, length: mem::size_of_val(info) as u32, info: address_mut(info) };
    bpf(Command::Info, &mut attributes).map(drop)
}

pub(super) fn link_create(program: RawFd, target: RawFd, kind: u32) -> io::Result<OwnedFd> {
    let words = [program as u32, target as u32, kind, 0];
    bpf(Command::LinkCreate, &mut Words { words, ..Words::default() }).map(owned)
}

pub(super) fn link_update(link: RawFd, program: RawFd) -> io::Result<()> {
    let words = [link as u32, program as u32, 0, 0];
    bpf(Command::LinkUpdate, &mut Words { words, ..Words::default() }).map(drop)
}

/// The first object after that number, by one of the `Next` commands.
pub(super) fn next_id(command: Command, after: u32) -> io::Result<Option<u32>> {
    // start_id, next_id, open_flags.
    let mut attributes = Words { words: [after, 0, 0, 0], ..Words::default() };
    match bpf(command, &mut attributes) {
        Ok(_) => Ok(Some(attributes.words[1])),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

pub(super) fn netns_cookie(socket: RawFd) -> io::Result<u64> {
    /// `SO_NETNS_COOKIE`, Linux 5.14.
    const NETNS_COOKIE: i32 = 71;
    let mut cookie = 0_u64;
    let mut length = mem::size_of::<u64>() as libc::socklen_t;
    // SAFETY: `cookie` and `length` live on this stack and are as large as they say.
    let result = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut length,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}
