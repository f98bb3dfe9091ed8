//! Short hashes for names of generated objects, in the alphabet that Kubernetes uses.

use serde::Serialize;

/// Consonants and digits that spell no word.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// FNV-1a, 32 bits.
fn fnv(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// A hash of a value's JSON and the number of collisions met so far.
pub fn of<T: Serialize>(value: &T, collisions: Option<i32>) -> String {
    // Values of the API serialize always: their map keys are strings.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    if let Some(collisions) = collisions {
        bytes.extend_from_slice(&collisions.to_le_bytes());
    }
    fnv(&bytes)
        .to_string()
        .bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_value_and_collisions() {
        assert_eq!(fnv(b""), 0x811c_9dc5);
        assert_eq!(fnv(b"a"), 0xe40c_292c);
        assert_eq!(of(&"a", None), of(&"a", None));
        assert_ne!(of(&"a", None), of(&"b", None));
        assert_ne!(of(&"a", None), of(&"a", Some(1)));
        assert!(of(&"a", None).bytes().all(|b| ALPHABET.contains(&b)));
    }
}
