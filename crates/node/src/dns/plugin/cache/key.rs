//! What answers are remembered by, looked up without allocation.

use std::hash::{BuildHasherDefault, Hash, Hasher};

use indexmap::Equivalent;

#[derive(Clone, Debug)]
pub(super) struct Key {
    hash: u64,
    name: Box<[u8]>,
    kind: u16,
    bits: u8,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRef<'a> {
    pub(super) hash: u64,
    pub(super) name: &'a [u8],
    pub(super) kind: u16,
    pub(super) bits: u8,
}

impl From<KeyRef<'_>> for Key {
    fn from(key: KeyRef<'_>) -> Self {
        Self { hash: key.hash, name: key.name.into(), kind: key.kind, bits: key.bits }
    }
}

impl Key {
    fn as_ref(&self) -> KeyRef<'_> {
        KeyRef { hash: self.hash, name: &self.name, kind: self.kind, bits: self.bits }
    }
}

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.bits == other.bits && self.name == other.name
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for Key {}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.as_ref()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes on the hash that a key brings along; that one is seeded.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pass(u64);

pub(super) type Passed = BuildHasherDefault<Pass>;

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
