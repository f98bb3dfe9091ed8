//! One copy of each string that thousands of objects share.

use std::sync::Arc;

use hashbrown::HashSet;

/// A pool of shared strings: node names, zones, namespaces, port names.
///
/// Strings that nothing else holds any more are let go when the pool has doubled since the last
/// sweep, so the pool never holds more than about twice what is in use.
#[derive(Debug, Default)]
pub struct Interner {
    strings: HashSet<Arc<str>>,
    sweep_at: usize,
}

impl Interner {
    /// Below this size a sweep is not worth its time.
    const SWEEP_FLOOR: usize = 1024;

    /// Returns the pool's copy of `text`.
    pub fn intern(&mut self, text: &Arc<str>) -> Arc<str> {
        match self.strings.get(&**text) {
            Some(known) => known.clone(),
            None => self.insert(text.clone()),
        }
    }

    /// Returns the pool's copy of `text`; allocates only what the pool does not know.
    pub fn copy(&mut self, text: &str) -> Arc<str> {
        match self.strings.get(text) {
            Some(known) => known.clone(),
            None => self.insert(text.into()),
        }
    }

    fn insert(&mut self, text: Arc<str>) -> Arc<str> {
        if self.strings.len() >= self.sweep_at.max(Self::SWEEP_FLOOR) {
            self.strings.retain(|string| Arc::strong_count(string) > 1);
            self.sweep_at = self.strings.len() * 2;
        }
        self.strings.insert(text.clone());
        text
    }

    /// Replaces `text` by the pool's copy.
    pub fn share(&mut self, text: &mut Arc<str>) {
        *text = self.intern(text);
    }

    /// The number of strings in the pool.
    pub fn len(&self) -> usize {
        self.strings.len()
    }

    /// Whether the pool holds nothing.
    pub fn is_empty(&self) -> bool {
        self.strings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_become_one() {
        let mut pool = Interner::default();
        assert!(Arc::ptr_eq(&pool.copy("node-1"), &pool.copy("node-1")));
        let mut pool = Interner::default();
        let (first, second): (Arc<str>, Arc<str>) = ("zone-a".into(), "zone-a".into());
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&pool.intern(&first), &pool.intern(&second)));
    }

    #[test]
    fn strings_nobody_holds_are_let_go() {
        let mut pool = Interner::default();
        for number in 0..10_000 {
            pool.intern(&format!("pod-{number}").into());
        }
        assert!(pool.len() <= 2 * Interner::SWEEP_FLOOR, "{} strings kept", pool.len());
    }
}
