//! `loadbalance weighted`: which address of an answer comes first is drawn by weights from a file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arc_swap::ArcSwap;
use portolan_model::names::{RecordType, to_wire};

use super::super::corefile::{CorefileError, Directive};
use super::super::record::{Parts, Record};

/// The weight of an address that the file does not name.
const USUAL: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightedConfig {
    file: PathBuf,
    /// How often to look for changes that are not heard of; zero means the file is not followed.
    reload: Duration,
    directive: Directive,
}

/// The weights of addresses, by name in lower-case wire form.
type Weights = HashMap<Vec<u8>, HashMap<IpAddr, u8>>;

enum Unusable {
    /// It is not there, or cannot be read.
    Unread(String),
    Malformed(String),
}

impl WeightedConfig {
    /// `loadbalance weighted FILE`; its options are those of `loadbalance`.
    pub(crate) fn read(directive: &Directive, file: &str) -> Result<Self, CorefileError> {
        let mut reload = Duration::from_secs(30);
        for option in directive.options.iter().filter(|option| option.name == "reload") {
            reload = directive.duration(option)?;
        }
        Ok(Self { file: file.into(), reload, directive: directive.clone() })
    }

    /// Whether the file can be used. One that is to be followed may come later.
    pub(crate) fn check(&self) -> Result<(), CorefileError> {
        match self.load() {
            Ok(_) => Ok(()),
            Err(Unusable::Unread(_)) if !self.reload.is_zero() => Ok(()),
            Err(Unusable::Unread(why) | Unusable::Malformed(why)) => Err(self.directive.error(why)),
        }
    }

    fn load(&self) -> Result<Weights, Unusable> {
        let file = self.file.display();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| Unusable::Unread(format!("cannot read {file}: {error}")))?;
        parse(&text).map_err(|(line, why)| Unusable::Malformed(format!("{file}:{line}: {why}")))
    }
}

/// A name on a line of its own, then its addresses, each with a weight from 1 to 255.
fn parse(text: &str) -> Result<Weights, (usize, String)> {
    let mut weights = Weights::new();
    let mut name = None;
    for (line, number) in text.lines().zip(1..) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [only] => {
                let wire = to_wire(only).filter(|_| only.parse::<IpAddr>().is_err());
                let wire = wire.ok_or_else(|| (number, format!("\"{only}\" is no name")))?;
                weights.entry(wire.clone()).or_default();
                name = Some(wire);
            }
            [address, weight] => {
                let read = address.parse::<IpAddr>().ok();
                let address =
                    read.ok_or_else(|| (number, format!("\"{address}\" is no address")))?;
                let read = weight.parse().ok().filter(|weight| *weight > 0);
                let weight = read
                    .ok_or_else(|| (number, format!("\"{weight}\" is no weight from 1 to 255")))?;
                let known = name.as_ref().and_then(|name| weights.get_mut(name));
                let known = known.ok_or_else(|| (number, "an address before any name".into()))?;
                // As in CoreDNS, the first line about an address counts.
                known.entry(address).or_insert(weight);
            }
            _ => return Err((number, "neither a name nor an address with its weight".into())),
        }
    }
    Ok(weights)
}

#[derive(Debug)]
pub(crate) struct Weighted {
    config: WeightedConfig,
    weights: ArcSwap<Weights>,
}

impl Weighted {
    pub(crate) fn new(config: WeightedConfig) -> Result<Self, CorefileError> {
        config.check()?;
        let weighted = Self { config, weights: ArcSwap::default() };
        weighted.load();
        Ok(weighted)
    }

    /// The file, if its changes are to be followed.
    pub(crate) fn followed(&self) -> Option<&Path> {
        (!self.config.reload.is_zero()).then_some(self.config.file.as_path())
    }

    pub(crate) fn interval(&self) -> Duration {
        if self.config.reload.is_zero() { Duration::MAX } else { self.config.reload }
    }

    /// Reads the file anew; one that cannot be used leaves what there was.
    pub(crate) fn load(&self) {
        match self.config.load() {
            Ok(weights) if **self.weights.load() == weights => {}
            Ok(weights) => self.weights.store(weights.into()),
            Err(Unusable::Unread(why) | Unusable::Malformed(why)) => {
                tracing::warn!(why, "going on with the weights as they were");
            }
        }
    }

    /// Puts an address first in answers and additional records: `draw` gives a number below what
    /// it is given. False when nothing moves.
    pub(crate) fn order(
        &self,
        parts: &mut Parts,
        kind: RecordType,
        draw: impl Fn(u32) -> u32,
    ) -> bool {
        if !matches!(kind, RecordType::A | RecordType::AAAA | RecordType::SRV) {
            return false;
        }
        let weights = self.weights.load();
        let [answers, _, additional] = &mut parts.sections;
        let moved = [answers, additional].map(|section| order(section, &weights, &draw));
        moved != [false, false]
    }
}

fn order(records: &mut Vec<Record>, weights: &Weights, draw: &impl Fn(u32) -> u32) -> bool {
    let before = records.clone();
    // Aliases, others, addresses, mail exchanges: stub resolvers are particular about the first.
    records.sort_by_key(|record| match record.kind {
        RecordType::CNAME => 0,
        RecordType::A | RecordType::AAAA => 2,
        RecordType::MX => 3,
        _ => 1,
    });
    let is_address = |record: &&Record| matches!(record.kind, RecordType::A | RecordType::AAAA);
    let Some(first) = records.iter().position(|record| is_address(&record)) else {
        *records = before;
        return false;
    };
    let shares: Vec<u32> = records[first..]
        .iter()
        .take_while(is_address)
        .map(|record| u32::from(weight(record, weights)))
        .collect();
    let mut drawn = draw(shares.iter().sum());
    let chosen = shares.iter().position(|share| {
        let here = drawn < *share;
        drawn = drawn.saturating_sub(*share);
        here
    });
    records.swap(first, first + chosen.unwrap_or(0));
    *records != before
}

fn weight(record: &Record, weights: &Weights) -> u8 {
    let address: Option<IpAddr> = match &record.data[..] {
        data if data.len() == 4 => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
        data => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
    };
    let known = weights.get(&record.owner.to_ascii_lowercase());
    known.and_then(|known| known.get(&address?)).copied().unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\nwww.example.org\n100.64.1.1 3\n100.64.1.2 1\n\
                        100.64.1.3 2\nfd00::1 255\n\nOther.example.org.\n100.64.1.1 9\n";

    fn address(owner: &str, last: u8) -> Record {
        let owner = to_wire(owner).expect("a name");
        Record { owner, kind: RecordType::A, ttl: 1, data: vec![100, 64, 1, last] }
    }

    #[test]
    fn the_first_address_is_drawn_by_weight() {
        let directive = Directive::default();
        let config =
            WeightedConfig { file: "/nowhere".into(), reload: Duration::from_secs(1), directive };
        let weighted = Weighted::new(config).expect("a file that may come later");
        weighted.weights.store(parse(FILE).expect("weights").into());
        let first = |drawn: u32| {
            let owner = "www.example.org";
            let alias = Record { kind: RecordType::CNAME, ..address("a.org", 0) };
            let all: Vec<Record> = (1..=4).map(|last| address(owner, last)).collect();
            let sections = [[&all[..], &[alias]].concat(), Vec::new(), Vec::new()];
            let mut parts = Parts { sections, ..Parts::default() };
            assert!(weighted.order(&mut parts, RecordType::A, |sum| {
                assert_eq!(sum, 7, "3 and 1 and 2, and 1 for the one that the file does not name");
                drawn
            }));
            assert_eq!(parts.sections[0][0].kind, RecordType::CNAME);
            parts.sections[0][1].data[3]
        };
        assert_eq!((0..7).map(first).collect::<Vec<_>>(), [1, 1, 1, 2, 3, 3, 4]);
        let mut parts = Parts::default();
        assert!(!weighted.order(&mut parts, RecordType::TXT, |_| 0));
        assert!(!weighted.order(&mut parts, RecordType::SRV, |_| 0));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_line() {
        for (text, line) in [
            ("10.0.0.1\n", 1),
            ("a.org\nx 3\n", 2),
            ("a.org\n\n10.0.0.1 0\n", 3),
            ("a.org\n10.0.0.1 256\n", 2),
            ("10.0.0.1 1\n", 1),
            ("a.org\n10.0.0.1 1 1\n", 2),
            ("a..org\n", 1),
        ] {
            assert_eq!(parse(text).expect_err(text).0, line, "{text}");
        }
        assert_eq!(parse(FILE).expect("weights").len(), 2);
    }
}
