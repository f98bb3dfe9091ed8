use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::sys::{self, Command};
use crate::error::{Attempt, Attempted, Failed};

/// What the kernel says of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapShape {
    pub id: u32,
    pub key: usize,
    pub value: usize,
    pub max_entries: u32,
}

/// A place between the elements of a hash. It stays one while elements come and go.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cursor(Option<[u8; 16]>);

/// A map, open.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    name: String,
    shape: MapShape,
}

/// Elements of a map, one behind the other.
#[derive(Debug, Default)]
pub struct Entries {
    pub keys: Vec<u8>,
    pub values: Vec<u8>,
    shape: (usize, usize),
}

impl Entries {
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let (key, value) = (self.shape.0.max(1), self.shape.1.max(1));
        self.keys.chunks_exact(key).zip(self.values.chunks_exact(value))
    }

    pub fn len(&self) -> usize {
        self.keys.len() / self.shape.0.max(1)
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl Map {
    /// How many elements one system call moves.
    const BATCH: usize = 4096;

    pub(super) fn new(fd: OwnedFd, name: String) -> Attempt<Self> {
        // struct bpf_map_info: type, id, key_size, value_size, max_entries, map_flags.
        let mut info = [0_u64; 10];
        sys::info(fd.as_raw_fd(), &mut info).attempted(|| format!("ask about map {name}"))?;
        let word = |index: usize| {
            let bytes = info[index / 2].to_ne_bytes();
            let half = &bytes[index % 2 * 4..][..4];
            u32::from_ne_bytes([half[0], half[1], half[2], half[3]])
        };
        let shape = MapShape {
            id: word(1),
            key: word(2) as usize,
            value: word(3) as usize,
            max_entries: word(4),
        };
        Ok(Self { fd, name, shape })
    }

    /// Opens the map that is pinned there.
    pub fn open(path: impl AsRef<Path>) -> Attempt<Self> {
        let path = path.as_ref();
        let fd = sys::get(path).attempted(|| format!("open the map {}", path.display()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::new(fd, name)
    }

    pub fn shape(&self) -> MapShape {
        self.shape
    }

    /// Keeps the map under another name too.
    pub fn pin(&self, path: impl AsRef<Path>) -> Attempt<()> {
        let path = path.as_ref();
        sys::pin(self.fd.as_raw_fd(), path)
            .attempted(|| format!("pin map {} as {}", self.name, path.display()))
    }

    fn check(&self, keys: &[u8], values: Option<&[u8]>) -> Attempt<u32> {
        let count = keys.len() / self.shape.key.max(1);
        let right = keys.len() == count * self.shape.key
            && values.is_none_or(|values| values.len() == count * self.shape.value);
        if right {
            return Ok(count as u32);
        }
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        Err(Failed::new(format!("use map {} of another shape", self.name), source))
    }

    /// The value of one key.
    pub fn get(&self, key: &[u8]) -> Attempt<Option<Vec<u8>>> {
        self.check(key, None)?;
        let mut value = vec![0; self.shape.value];
        match sys::element(Command::MapLookup, self.fd.as_raw_fd(), key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(Failed::new(format!("read map {}", self.name), error)),
        }
    }

    /// Writes many elements; what is there is replaced.
    pub fn put(&self, keys: &[u8], values: &[u8]) -> Attempt<()> {
        let count = self.check(keys, Some(values))?;
        let what = || format!("write {count} elements to map {}", self.name);
        if count == 1 {
            let mut value = values.to_vec();
            return sys::element(Command::MapUpdate, self.fd.as_raw_fd(), keys, &mut value)
                .attempted(what);
        }
        let chunks = keys.chunks(Self::BATCH * self.shape.key);
        for (keys, values) in chunks.zip(values.chunks(Self::BATCH * self.shape.value)) {
            let count = (keys.len() / self.shape.key) as u32;
            let fd = self.fd.as_raw_fd();
            sys::batch(Command::MapUpdateBatch, fd, keys, values, count).1.attempted(what)?;
        }
        Ok(())
    }

    /// Removes many elements; what is not there is no error.
    pub fn delete(&self, keys: &[u8]) -> Attempt<()> {
        let count = self.check(keys, None)?;
        let fd = self.fd.as_raw_fd();
        let what = || format!("remove {count} elements from map {}", self.name);
        let missing = |error: &io::Error| error.raw_os_error() == Some(libc::ENOENT);
        let mut rest = keys;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(Self::BATCH * self.shape.key));
            let count = (now.len() / self.shape.key) as u32;
            let (done, result) = sys::batch(Command::MapDeleteBatch, fd, now, &[], count);
            rest = match result {
                Ok(()) => later,
                // The batch stops at the one that is missing.
                Err(error) if missing(&error) => &rest[(done as usize + 1) * self.shape.key..],
                Err(error) => return Err(Failed::new(what(), error)),
            };
        }
        Ok(())
    }

    /// All elements of a hash. What changes meanwhile may be missed or come twice.
    pub fn entries(&self) -> Attempt<Entries> {
        let (mut all, mut next) = self.read(Cursor::default(), Self::BATCH)?;
        while let Some(cursor) = next {
            let (more, after) = self.read(cursor, Self::BATCH)?;
            all.keys.extend(more.keys);
            all.values.extend(more.values);
            next = after;
        }
        Ok(all)
    }

    /// At most `room` elements of a hash from `cursor` on, and where to go on after them. More only
    /// where the kernel cannot part them.
    pub fn read(&self, cursor: Cursor, room: usize) -> Attempt<(Entries, Option<Cursor>)> {
        let (key, value) = (self.shape.key, self.shape.value);
        let (mut keys, mut values) = (vec![0; room * key], vec![0; room * value]);
        let mut next = cursor.0;
        let fd = self.fd.as_raw_fd();
        match sys::read_batch(fd, &mut next, &mut keys, &mut values, room as u32) {
            Ok((count, last)) => {
                keys.truncate(count as usize * key);
                values.truncate(count as usize * value);
                let entries = Entries { keys, values, shape: (key, value) };
                Ok((entries, (!last).then_some(Cursor(next))))
            }
            // One bucket holds more than fits.
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => self.read(cursor, room * 2),
            Err(error) => Err(Failed::new(format!("read map {}", self.name), error)),
        }
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
