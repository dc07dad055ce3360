//! Programs by what they were made for, the latest used ones only: a model that is given
//! ever new shapes must not fill the GPU with captured graphs.

use std::sync::Arc;

/// Most programs that a session keeps.
pub const PROGRAMS_MAX: usize = 32;

/// Values by key, at most [`PROGRAMS_MAX`] of them; the one used longest ago goes first.
/// A value that goes while somebody uses it lives on until that ends.
#[derive(Debug)]
pub struct Recent<K, V> {
    /// From the one used longest ago to the latest.
    entries: Vec<(K, Arc<V>)>,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<K: PartialEq, V> Recent<K, V> {
    /// The value of a key, which is now the latest.
    pub fn get<Q: ?Sized + PartialEq>(&mut self, key: &Q) -> Option<Arc<V>>
    where
        K: std::borrow::Borrow<Q>,
    {
        let at = self.entries.iter().position(|(own, _)| own.borrow() == key)?;
        let entry = self.entries.remove(at);
        let value = entry.1.clone();
        self.entries.push(entry);
        Some(value)
    }

    /// Adds a value for a key that has none.
    pub fn insert(&mut self, key: K, value: V) -> Arc<V> {
        if self.entries.len() == PROGRAMS_MAX {
            self.entries.remove(0);
        }
        let value = Arc::new(value);
        self.entries.push((key, value.clone()));
        value
    }

    /// All values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut recent = Recent::default();
        for key in 0..PROGRAMS_MAX {
            recent.insert(key, key * 10);
        }
        assert_eq!(recent.get(&0).as_deref(), Some(&0));
        let held = recent.get(&1);
        for key in 0..PROGRAMS_MAX - 1 {
            recent.insert(PROGRAMS_MAX + key, 0);
        }
        assert_eq!(recent.get(&2), None);
        assert_eq!(recent.get(&0), None);
        assert_eq!(recent.get(&1).as_deref(), Some(&10));
        assert_eq!(held.as_deref(), Some(&10));
        assert_eq!(recent.values().count(), PROGRAMS_MAX);
    }
}
