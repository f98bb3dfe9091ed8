//! Zones, and which of several a name belongs to.

use portolan_model::names::{relative_labels, reverse_zones, to_text, to_wire};

/// A zone's name: lower-case wire form without the root octet, so the root zone is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Zone {
    wire: Box<[u8]>,
}

impl Zone {
    pub(crate) fn root() -> Self {
        Self { wire: Box::default() }
    }

    /// Reads what a Corefile may name: a domain, or a network in CIDR notation, which stands for
    /// its reverse zones. `None` when it is neither.
    pub(crate) fn parse(text: &str) -> Option<Vec<Self>> {
        if let Ok(network) = text.parse() {
            let zones = reverse_zones(network);
            return Some(zones.into_iter().map(|wire| Self { wire: wire.into() }).collect());
        }
        if text.is_empty() || text.contains(['/', ':', '{', '}', '*']) {
            return None;
        }
        Some(vec![Self { wire: to_wire(text)?.into() }])
    }

    pub(crate) fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The part of `name` left of this zone, or `None` when the name is not in it.
    pub(crate) fn relative<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        if self.wire.is_empty() { Some(name) } else { relative_labels(name, &self.wire) }
    }

    pub(crate) fn is_reverse(&self) -> bool {
        [b"\x07in-addr\x04arpa".as_slice(), b"\x03ip6\x04arpa"]
            .iter()
            .any(|arpa| relative_labels(&self.wire, arpa).is_some())
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&to_text(&self.wire))
    }
}

/// The longest of `zones` that holds `name`.
pub(crate) fn longest<'a>(
    zones: impl IntoIterator<Item = &'a Zone>,
    name: &[u8],
) -> Option<&'a Zone> {
    let holding = zones.into_iter().filter(|zone| zone.relative(name).is_some());
    holding.max_by_key(|zone| zone.wire.len())
}

/// For which names a plugin that has no answer lets the next one try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Fallthrough(Vec<Zone>);

impl Fallthrough {
    /// `fallthrough [ZONE…]`: without zones, for all names.
    pub(crate) fn new(zones: Vec<Zone>) -> Self {
        Self(if zones.is_empty() { vec![Zone::root()] } else { zones })
    }

    pub(crate) fn passes(&self, name: &[u8]) -> bool {
        self.0.iter().any(|zone| zone.relative(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_zone_wins() {
        let zones: Vec<Zone> = [".", "local", "cluster.local"]
            .iter()
            .flat_map(|text| Zone::parse(text).expect("a zone"))
            .collect();
        let find =
            |name: &str| longest(&zones, &to_wire(name).expect("a name")).map(Zone::to_string);
        assert_eq!(find("a.cluster.local").as_deref(), Some("cluster.local."));
        assert_eq!(find("acluster.local").as_deref(), Some("local."));
        assert_eq!(find("org").as_deref(), Some("."));
        assert!(Zone::parse("10.0.0.0/15").is_some_and(|zones| zones.len() == 2));
        assert_eq!(Zone::parse("a..b"), None);
    }
}
