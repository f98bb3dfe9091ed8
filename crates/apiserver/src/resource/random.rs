//! Random objects of every kind, made from the schema: whatever passes the decoder must pass
//! through defaults, validation, printing and patches without a panic.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng};
use serde_json::{Map, Value, json};

use super::{ClaimKey, Claims, ClusterConfig, Resource, table};
use crate::schema::{self, Struct, Type};
use crate::table::IncludeObject;
use crate::{patch, selector};

/// Words that mean something somewhere, and some that mean nothing.
const WORDS: &[&str] = &[
    "",
    "a",
    "web",
    "None",
    "ClusterIP",
    "NodePort",
    "LoadBalancer",
    "ExternalName",
    "Local",
    "Cluster",
    "ClientIP",
    "TCP",
    "UDP",
    "10.96.0.9",
    "fd00::9",
    "10.0.0.0/8",
    "IPv4",
    "IPv6",
    "SingleStack",
    "PreferDualStack",
    "RequireDualStack",
    "Always",
    "Never",
    "RollingUpdate",
    "Recreate",
    "OnDelete",
    "In",
    "Exists",
    "25%",
    "1Gi",
    "kubernetes.io/tls",
    "example.com/x",
    "UPPER_case",
    "é",
    "-",
    "..",
];

struct Dice(TestRng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    fn word(&mut self) -> String {
        WORDS[self.below(WORDS.len())].to_owned()
    }

    fn value(&mut self, kind: Type, depth: usize) -> Value {
        match kind {
            Type::String => self.word().into(),
            Type::Bool => (self.below(2) == 0).into(),
            Type::Int32 | Type::Int64 => {
                [-1, 0, 1, 80, 10_250, 30_007, 65_536, 2_147_483_647][self.below(8)].into()
            }
            Type::IntOrString if self.below(2) == 0 => self.word().into(),
            Type::IntOrString => [0, -3, 80, 70_000][self.below(4)].into(),
            Type::Quantity => ["0", "100m", "1Gi", "-5", "1e3"][self.below(5)].into(),
            Type::Time | Type::MicroTime => "2024-01-02T03:04:05Z".into(),
            Type::Bytes => ["", "AA==", "AAAA"][self.below(3)].into(),
            Type::Any => json!({"x": [self.word()]}),
            Type::Struct(found) => self.object(found, depth),
            Type::List(element) => {
                let n = self.below(3);
                (0..n).map(|_| self.value(*element, depth + 1)).collect()
            }
            Type::Map(element) | Type::AtomicMap(element) => {
                let n = self.below(3);
                let entries = (0..n).map(|_| (self.word(), self.value(*element, depth + 1)));
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    fn object(&mut self, found: &'static Struct, depth: usize) -> Value {
        let mut fields = Map::new();
        if depth > 7 {
            return Value::Object(fields);
        }
        // Wide structs deep down would make huge objects of little interest.
        let chance = if depth < 2 { 2 } else { 2 + found.fields.len() / 6 };
        for field in found.fields {
            let identity = depth == 0 && matches!(field.name, "kind" | "apiVersion");
            if !identity && self.below(chance) == 0 {
                let value = if self.below(12) == 0 {
                    Value::Null
                } else {
                    self.value(field.kind, depth + 1)
                };
                fields.insert(field.name.to_owned(), value);
            }
        }
        Value::Object(fields)
    }
}

/// Hands out whatever is asked for.
struct Anything(ClusterConfig, u64);

impl Claims for Anything {
    fn config(&self) -> &ClusterConfig {
        &self.0
    }
    fn ranges(&self) -> Vec<ipnet::IpNet> {
        self.0.service_ranges.clone()
    }
    fn is_claimed(&self, key: &ClaimKey) -> bool {
        *key == ClaimKey::ClusterIp(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 9)))
    }
    fn next_free(&self, _: super::Space, from: u128) -> Option<u128> {
        Some(from)
    }
    fn claim(&mut self, _: ClaimKey, _: &str) {}
    fn release(&mut self, _: ClaimKey, _: &str) {}
    fn random(&mut self) -> u64 {
        self.1 += 1;
        self.1
    }
}

fn decoded(row: &Resource, dice: &mut Dice) -> Value {
    let found = schema::find(row.group, row.version, row.kind).expect("a struct");
    let raw = dice.object(found, 0).to_string();
    let decoded = schema::decode(row.group, row.version, row.kind, raw.as_bytes())
        .unwrap_or_else(|e| panic!("{row:?}: {e}: {raw}"));
    assert_eq!(decoded.problems, [""; 0], "the schema made it");
    decoded.object
}

#[test]
fn no_object_makes_anything_panic() {
    let dual = ["10.96.0.0/16".parse().unwrap(), "fd00::/112".parse().unwrap()];
    let config = ClusterConfig { service_ranges: dual.to_vec(), node_ports: 30_000..=32_767 };
    let mut claims = Anything(config, 0);
    let mut dice = Dice(TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let now = jiff::Timestamp::UNIX_EPOCH;
    for row in table() {
        let mut old: Option<Value> = None;
        for _ in 0..60 {
            let mut object = decoded(row, &mut dice);
            let strategy = row.strategy;
            strategy.to_storage(&mut object);
            strategy.apply_defaults(&mut object);
            let once = object.clone();
            strategy.apply_defaults(&mut object);
            assert_eq!(object, once, "{row:?}: defaulting twice changes nothing");
            if let Some(old) = &old {
                let (mut update, mut status) = (object.clone(), object.clone());
                strategy.prepare_for_update(&mut update, old);
                strategy.validate_update(&update, old);
                strategy.prepare_for_status_update(&mut status, old);
                strategy.validate_status_update(&status, old);
                let _ = strategy.allocate(&mut claims, Some(&mut update), Some(old));
            }
            strategy.prepare_for_create(&mut object);
            strategy.warnings(&object, old.as_ref());
            for error in strategy.validate_create(&object) {
                assert!(!error.message().is_empty());
            }
            let _ = strategy.allocate(&mut claims, Some(&mut object), None);
            strategy.grace_period_seconds(&object, None);
            for field in strategy.selectable_fields() {
                assert!(strategy.selectable_field(&object, field).is_some(), "{row:?} {field}");
            }
            selector::FieldSelector::parse("metadata.name=a", row).unwrap().matches(row, &object);
            crate::table::render(row, &[&object], IncludeObject::Object, now);
            super::scale::read(&object);
            strategy.to_served(&mut object);
            old = Some(object);
        }
    }
}

#[test]
fn random_patches_of_every_kind() {
    let mut dice = Dice(TestRng::deterministic_rng(RngAlgorithm::XorShift));
    for row in table().iter().filter(|row| row.is_stored()) {
        for _ in 0..40 {
            let (current, change) = (decoded(row, &mut dice), decoded(row, &mut dice));
            let merged = patch::merge(&current, &change).unwrap();
            assert_eq!(patch::merge(&merged, &change).unwrap(), merged);
            // Lists without their merge keys are refused; what is taken is taken once.
            if let Ok(once) = patch::strategic(row, &current, &change) {
                let mut pruned = once.clone();
                let unknown = schema::prune(row.group, row.version, row.kind, &mut pruned).unwrap();
                assert_eq!(unknown, [""; 0], "{row:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(Config::with_cases(400))]
    #[test]
    fn no_bytes_make_the_decoder_panic(raw in "[\\[\\]{}\":,a-z0-9 .]{0,80}") {
        let _ = schema::decode("", "v1", "Service", raw.as_bytes());
        let nested = format!("{{\"spec\":{raw}}}");
        let _ = schema::decode("", "v1", "Service", nested.as_bytes());
    }
}
