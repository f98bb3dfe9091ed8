//! How the C library's allocator trades memory for speed.
#![allow(unsafe_code)]

/// Keeps the allocator small: two arenas instead of eight per processor, and memory that is free
/// at the top of the heap goes back to the kernel early.
///
/// To be called at the start of a program, before it has threads. Does nothing where the C library
/// is not glibc.
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 2),
        (libc::M_TRIM_THRESHOLD, 256 * 1024),
        (libc::M_MMAP_THRESHOLD, 256 * 1024),
    ] {
        // SAFETY: sets a number in the allocator; an unknown parameter is refused by it.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives memory that is free back to the kernel, wherever in the heap it lies (malloc_trim(3)); for
/// the moment after something large is over. Does nothing where the C library is not glibc.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no arguments that could be wrong, and takes the allocator's own locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
