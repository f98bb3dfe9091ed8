//! Classes in use: which chain chooses among how many backends.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::layout::{Class, Number};

/// Numbers for classes. A class, once numbered, keeps its number for as long as the table lives.
#[derive(Debug, Default)]
pub(super) struct Classes {
    numbers: HashMap<Class, u16>,
    by_number: BTreeMap<u16, Class>,
}

/// More than 4,093 different numbers of backends (times affinity timeouts) are in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl Classes {
    /// These are always there, so that small Services never wait for a chain.
    const ALWAYS: u32 = 12;
    /// Chains are made in blocks: a Service that grows by one has its chain already, mostly. No more
    /// than that, because for each element that is added to a map the kernel looks at every rule
    /// that uses the map, and for each new rule at every element.
    const BLOCK: u32 = 4;

    /// Starts with what the kernel's table has.
    pub(super) fn adopt(known: impl Iterator<Item = (u16, Class)>) -> Self {
        let mut classes = Self::default();
        for (number, class) in known {
            classes.insert(number, class);
        }
        for count in 1..=Self::ALWAYS {
            let _ = classes.number(Class { count, affinity: None });
        }
        classes
    }

    fn insert(&mut self, number: u16, class: Class) {
        self.numbers.insert(class, number);
        self.by_number.insert(number, class);
    }

    pub(super) fn get(&self, class: Class) -> Option<u16> {
        self.numbers.get(&class).copied()
    }

    #[cfg(test)]
    fn by_number(&self, number: u16) -> Option<Class> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn all(&self) -> &BTreeMap<u16, Class> {
        &self.by_number
    }

    /// Numbers a class and its neighbours; returns those that are new.
    pub(super) fn ensure(&mut self, class: Class) -> Result<BTreeMap<u16, Class>, TooMany> {
        let mut new = BTreeMap::new();
        if self.numbers.contains_key(&class) {
            return Ok(new);
        }
        let first = (class.count - 1) / Self::BLOCK * Self::BLOCK + 1;
        let last = (first + Self::BLOCK - 1).min(65_535);
        // When numbers run short, only what is needed is made.
        let room = usize::from(Number::CLASS_MASK as u16) - self.by_number.len();
        let counts = if room > 256 { first..=last } else { class.count..=class.count };
        for count in counts {
            let neighbour = Class { count, ..class };
            if !self.numbers.contains_key(&neighbour) {
                let number = self.number(neighbour)?;
                new.insert(number, neighbour);
            }
        }
        Ok(new)
    }

    fn number(&mut self, class: Class) -> Result<u16, TooMany> {
        if let Some(number) = self.get(class) {
            return Ok(number);
        }
        let next = self.by_number.keys().next_back().map_or(Class::FIRST, |last| last + 1);
        if u32::from(next) > Number::CLASS_MASK {
            return Err(TooMany);
        }
        self.insert(next, class);
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_keeps_its_number_over_a_restart() {
        let mut classes = Classes::adopt(std::iter::empty());
        let big = Class { count: 50, affinity: Some(60) };
        assert_eq!(classes.ensure(big).unwrap().len(), Classes::BLOCK as usize);
        assert!(
            classes.ensure(Class { count: 51, ..big }).unwrap().is_empty(),
            "made with its block"
        );
        let number = classes.get(big).unwrap();
        let again = Classes::adopt(classes.all().iter().map(|(number, class)| (*number, *class)));
        assert_eq!(again.get(big), Some(number));
        assert_eq!(again.by_number(number), Some(big));
    }

    #[test]
    fn running_out_of_numbers_is_an_error() {
        let mut classes = Classes::adopt(std::iter::empty());
        let result = (1..6000).try_for_each(|step| {
            classes.ensure(Class { count: step * Classes::BLOCK, affinity: None }).map(drop)
        });
        assert_eq!(result, Err(TooMany));
    }
}
