//! The arrays that programs read, word by word: pools, the slots that lead to backends, and the
//! backends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use portolan_linux::Attempt;
use portolan_linux::bpf::SharedArray;
use portolan_model::frontend::Family;

use super::layout::{
    BACKEND4, BACKEND6, BackendShape, TOGETHER, pool, port_serial, read_port_serial,
};
use super::pool::PoolWords;

#[derive(Debug)]
pub(super) struct Pools(SharedArray);

impl Pools {
    pub(super) fn open(directory: &Path) -> Attempt<Self> {
        Ok(Self(SharedArray::open(directory.join("pools"))?))
    }

    pub(super) fn len(&self) -> u32 {
        self.0.len()
    }

    pub(super) fn rest(&mut self) {
        self.0.rest();
    }

    pub(super) fn get(&self, number: u32) -> PoolWords {
        let double = |at| self.0.double(number, at).load(Ordering::Relaxed);
        let word = |at| self.0.word(number, at).load(Ordering::Relaxed);
        PoolWords {
            range: double(pool::RANGE),
            local: double(pool::LOCAL),
            affinity: word(pool::AFFINITY),
            generation: word(pool::GENERATION),
        }
    }

    /// Returns whether anything differed. What a program reads first is written last: it never
    /// misses a local member of a range.
    pub(super) fn set(&self, number: u32, words: PoolWords) -> bool {
        if self.get(number) == words {
            return false;
        }
        self.0.word(number, pool::AFFINITY).store(words.affinity, Ordering::Release);
        self.0.double(number, pool::LOCAL).store(words.local, Ordering::Release);
        self.0.word(number, pool::GENERATION).store(words.generation, Ordering::Release);
        self.0.double(number, pool::RANGE).store(words.range, Ordering::Release);
        true
    }
}

/// Where the numbers of backends are, pool by pool.
#[derive(Debug)]
pub(super) struct Slots(SharedArray);

impl Slots {
    pub(super) fn open(directory: &Path) -> Attempt<Self> {
        Ok(Self(SharedArray::open(directory.join("slots"))?))
    }

    pub(super) fn len(&self) -> u32 {
        self.0.len() * TOGETHER
    }

    pub(super) fn rest(&mut self) {
        self.0.rest();
    }

    fn word(&self, slot: u32) -> &AtomicU32 {
        self.0.word(slot / TOGETHER, (slot % TOGETHER) as usize * 4)
    }

    pub(super) fn get(&self, slot: u32) -> u32 {
        self.word(slot).load(Ordering::Relaxed)
    }

    /// Returns whether it held another number.
    pub(super) fn set(&self, slot: u32, number: u32) -> bool {
        let word = self.word(slot);
        let differs = word.load(Ordering::Relaxed) != number;
        if differs {
            word.store(number, Ordering::Release);
        }
        differs
    }
}

/// The backends of one family.
#[derive(Debug)]
pub(super) struct Backends {
    array: SharedArray,
    shape: BackendShape,
}

impl Backends {
    pub(super) fn open(directory: &Path, family: Family) -> Attempt<Self> {
        let (name, shape) = match family {
            Family::Ipv4 => ("backends4", BACKEND4),
            Family::Ipv6 => ("backends6", BACKEND6),
        };
        Ok(Self { array: SharedArray::open(directory.join(name))?, shape })
    }

    pub(super) fn len(&self) -> u32 {
        self.array.len() * self.shape.together
    }

    pub(super) fn rest(&mut self) {
        self.array.rest();
    }

    fn word(&self, number: u32, at: usize) -> &AtomicU32 {
        let BackendShape { together, size, .. } = self.shape;
        self.array.word(number / together, (number % together) as usize * size + at)
    }

    fn words_of_address(&self, number: u32) -> impl Iterator<Item = &AtomicU32> {
        (0..self.shape.port_serial).step_by(4).map(move |at| self.word(number, at))
    }

    fn port_serial(&self, number: u32) -> &AtomicU32 {
        self.word(number, self.shape.port_serial)
    }

    /// The pool of a backend; 0 when it is gone.
    pub(super) fn pool(&self, number: u32) -> u32 {
        self.word(number, self.shape.pool).load(Ordering::Relaxed)
    }

    pub(super) fn address(&self, number: u32) -> SocketAddr {
        let mut octets = [0; 16];
        for (four, word) in octets.chunks_exact_mut(4).zip(self.words_of_address(number)) {
            four.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        let ip: IpAddr = match octets {
            [a, b, c, d, ..] if self.shape == BACKEND4 => Ipv4Addr::new(a, b, c, d).into(),
            all => Ipv6Addr::from(all).into(),
        };
        let (port, _) = read_port_serial(self.port_serial(number).load(Ordering::Relaxed));
        SocketAddr::new(ip, port)
    }

    /// Makes the number that pool's, with that address. Returns whether anything differed.
    ///
    /// A program that reads meanwhile sees the number leave its pool before anything else changes,
    /// and the serial change before it has one again.
    pub(super) fn set(&self, number: u32, owner: u32, address: SocketAddr) -> bool {
        if self.pool(number) == owner && self.address(number) == address {
            return false;
        }
        let pool = self.word(number, self.shape.pool);
        pool.store(0, Ordering::Release);
        let octets = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_compatible().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let octets = &octets[octets.len() - self.shape.port_serial..];
        for (four, word) in octets.chunks_exact(4).zip(self.words_of_address(number)) {
            let four = [four[0], four[1], four[2], four[3]];
            word.store(u32::from_ne_bytes(four), Ordering::Release);
        }
        let (_, serial) = read_port_serial(self.port_serial(number).load(Ordering::Relaxed));
        let next = port_serial(address.port(), serial.wrapping_add(1));
        self.port_serial(number).store(next, Ordering::Release);
        pool.store(owner, Ordering::Release);
        true
    }

    /// Takes the number from its pool. Returns whether it was in one.
    pub(super) fn set_gone(&self, number: u32) -> bool {
        self.word(number, self.shape.pool).swap(0, Ordering::AcqRel) != 0
    }

    /// Takes over what `other` holds, serials and all, as far as there is room.
    pub(super) fn copy(&self, other: &Self) {
        for number in 0..self.len().min(other.len()) {
            for at in (0..self.shape.size).step_by(4) {
                let word = other.word(number, at).load(Ordering::Relaxed);
                self.word(number, at).store(word, Ordering::Relaxed);
            }
        }
    }
}
