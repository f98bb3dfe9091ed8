//! Things with a name, each at a small number that is its own as long as it is there.
//!
//! Other tables point to it by that number: four octets instead of a name.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

pub(super) trait Keyed {
    fn key(&self) -> &[u8];
}

#[derive(Debug)]
pub(super) struct Table<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<T: Keyed> Table<T> {
    pub(super) fn find(&self, key: &[u8]) -> Option<u32> {
        let same = |number: &u32| self.at(*number).is_some_and(|known| known.key() == key);
        self.numbers.find(self.hasher.hash_one(key), same).copied()
    }

    pub(super) fn at(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()
    }

    pub(super) fn at_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slots.get_mut(number as usize)?.as_mut()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&T> {
        self.at(self.find(key)?)
    }

    /// Adds what is not there yet; `None` when there is no number left.
    pub(super) fn add(&mut self, value: T) -> Option<u32> {
        let hash = self.hasher.hash_one(value.key());
        let number = match self.free.pop() {
            Some(number) => {
                self.slots[number as usize] = Some(value);
                number
            }
            None => {
                let number = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Some(value));
                number
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.numbers.insert_unique(hash, number, |number| {
            let known = slots[*number as usize].as_ref();
            known.map_or(0, |known| hasher.hash_one(known.key()))
        });
        Some(number)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.slots.get_mut(number as usize)?.take()?;
        let hash = self.hasher.hash_one(value.key());
        if let Ok(entry) = self.numbers.find_entry(hash, |known| *known == number) {
            entry.remove();
        }
        self.free.push(number);
        Some(value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let numbered = self.slots.iter().zip(0_u32..);
        numbered.filter_map(|(slot, number)| Some((number, slot.as_ref()?)))
    }

    /// Those that `wanted` chooses, by number.
    pub(super) fn numbers(&self, mut wanted: impl FnMut(&T) -> bool) -> Vec<u32> {
        self.iter().filter(|(_, value)| wanted(value)).map(|(number, _)| number).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
}

impl<T: Keyed> Keyed for Box<T> {
    fn key(&self) -> &[u8] {
        T::key(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Keyed for String {
        fn key(&self) -> &[u8] {
            self.as_bytes()
        }
    }

    #[test]
    fn numbers_stay_and_are_given_again() {
        let mut table = Table::<String>::default();
        let numbers: Vec<_> = (0..100).filter_map(|n| table.add(format!("n{n}"))).collect();
        assert_eq!(table.find(b"n42"), Some(numbers[42]));
        assert_eq!(table.remove(numbers[42]).as_deref(), Some("n42"));
        assert_eq!((table.find(b"n42"), table.remove(numbers[42])), (None, None));
        assert_eq!(table.add("new".into()), Some(numbers[42]));
        assert_eq!(table.get(b"n99").map(String::as_str), Some("n99"));
        assert_eq!(table.iter().count(), 100);
    }
}
