//! Services that nobody would write, for comparing with a real kube-apiserver: fields are picked
//! from small pools of good and bad values, so that rules meet that no hand-written case combines.

use rand::Rng as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};

use super::case::{Beside, Case, Cluster, Group};

pub(crate) const SERVICES: &str = "/api/v1/namespaces/default/services";

/// A group around random cases, for the runner.
pub(crate) fn group(cluster: Cluster) -> Group {
    Group {
        group: "random Services".to_owned(),
        source: "kube-apiserver".to_owned(),
        cluster,
        path: SERVICES.to_owned(),
        base: json!({}),
        cases: Vec::new(),
    }
}

pub(crate) struct Dice(StdRng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    fn one_in(&mut self, n: u32) -> bool {
        self.0.random_range(0..n) == 0
    }

    fn pick<T: Clone>(&mut self, pool: &[T]) -> T {
        pool[self.0.random_range(0..pool.len())].clone()
    }

    /// Mostly from the first half, where the good values stand.
    fn mostly_good<T: Clone>(&mut self, pool: &[T]) -> T {
        let half = pool.len().div_ceil(2);
        if self.one_in(8) { self.pick(pool) } else { self.pick(&pool[..half]) }
    }

    fn list(&mut self, most: usize, pool: &[Value]) -> Value {
        let length = self.0.random_range(0..=most);
        (0..length).map(|_| self.mostly_good(pool)).collect()
    }

    /// A ClusterIP that no other case asks for, or one that nobody gets.
    fn cluster_ip(&mut self) -> Value {
        let low = self.0.random_range(1..=250);
        let third = self.0.random_range(1..=250);
        let good = [json!(format!("10.96.{third}.{low}")), json!(format!("fd00:10:96::{third}"))];
        let bad = ["", "None", "10.96.0.1", "10.97.0.1", "x", "010.96.1.1", "::ffff:10.96.1.1"];
        if self.one_in(8) { self.pick(&bad.map(Value::from)) } else { self.pick(&good) }
    }

    fn port(&mut self) -> Value {
        let mut port = Map::new();
        port.insert(
            "port".to_owned(),
            self.mostly_good(&[80, 81, 443, 8080, 53, 0, 70_000, 53]).into(),
        );
        let optional: [(&str, Vec<Value>); 5] = [
            ("name", vec![json!("a"), json!("b"), json!(""), json!("A_")]),
            ("protocol", vec![json!("TCP"), json!("UDP"), json!("SCTP"), json!(""), json!("X")]),
            ("targetPort", vec![json!(8080), json!("web"), json!("a--b"), json!(0)]),
            ("appProtocol", vec![json!("http"), json!("a/b/c")]),
            (
                "nodePort",
                vec![
                    json!(0),
                    json!(self.0.random_range(30_000..32_000)),
                    json!(30_080),
                    json!(80),
                ],
            ),
        ];
        for (field, pool) in optional {
            if self.one_in(3) {
                port.insert(field.to_owned(), self.mostly_good(&pool));
            }
        }
        Value::Object(port)
    }

    fn ports(&mut self) -> Value {
        let length = self.mostly_good(&[1, 1, 1, 2, 1, 2, 3, 0]);
        (0..length).map(|_| self.port()).collect()
    }

    /// Some fields of a Service; null takes a field away.
    pub(crate) fn change(&mut self) -> Value {
        let mut spec = Map::new();
        let text = |pool: &[&str]| pool.iter().map(|text| json!(text)).collect::<Vec<_>>();
        let pools: [(&str, u32, Vec<Value>); 15] = [
            (
                "type",
                2,
                text(&[
                    "ClusterIP",
                    "NodePort",
                    "LoadBalancer",
                    "ExternalName",
                    "LoadBalancer",
                    "",
                    "Magic",
                ]),
            ),
            ("sessionAffinity", 6, text(&["None", "ClientIP", "", "X"])),
            (
                "sessionAffinityConfig",
                10,
                vec![
                    json!({"clientIP": {"timeoutSeconds": 60}}),
                    json!({"clientIP": {"timeoutSeconds": 0}}),
                    json!({}),
                ],
            ),
            ("externalTrafficPolicy", 5, text(&["Cluster", "Local", "", "X"])),
            ("internalTrafficPolicy", 8, text(&["Cluster", "Local", "", "X"])),
            (
                "healthCheckNodePort",
                12,
                vec![json!(0), json!(self.0.random_range(32_000..32_700)), json!(80)],
            ),
            ("loadBalancerClass", 10, text(&["a.b/c", "c", "", "a b"])),
            ("loadBalancerIP", 16, text(&["1.2.3.4", "x", "::FFFF:1", ""])),
            ("allocateLoadBalancerNodePorts", 8, vec![json!(true), json!(false)]),
            ("publishNotReadyAddresses", 12, vec![json!(true), json!(false)]),
            ("trafficDistribution", 10, text(&["PreferClose", "PreferSameNode", "", "X"])),
            ("externalName", 5, text(&["a.b", "a.b.", "A_B", ""])),
            (
                "ipFamilyPolicy",
                4,
                text(&["SingleStack", "PreferDualStack", "RequireDualStack", "", "X", ""]),
            ),
            (
                "selector",
                6,
                vec![json!({"app": "x"}), json!({}), json!({"a b": "c"}), json!({"a": ""})],
            ),
            ("publishNotReadyAddresses", 12, vec![Value::Null]),
        ];
        for (field, rarity, pool) in pools {
            if self.one_in(rarity) {
                let value = if self.one_in(8) { Value::Null } else { self.mostly_good(&pool) };
                spec.insert(field.to_owned(), value);
            }
        }
        if self.one_in(2) {
            spec.insert("ports".to_owned(), self.ports());
        }
        if self.one_in(4) {
            spec.insert("clusterIP".to_owned(), self.cluster_ip());
        }
        if self.one_in(8) {
            let first = spec.get("clusterIP").cloned().unwrap_or_else(|| self.cluster_ip());
            let mut all = vec![first];
            if self.one_in(2) {
                all.push(self.cluster_ip());
            }
            spec.insert("clusterIPs".to_owned(), all.into());
        }
        if self.one_in(5) {
            let families = text(&["IPv4", "IPv6", "IPv4", "X"]);
            spec.insert("ipFamilies".to_owned(), self.list(2, &families));
        }
        if self.one_in(6) {
            let pool =
                text(&["1.2.3.4", "2001:db8::1", "2001:DB8::2", "127.0.0.1", "x", "01.2.3.4"]);
            spec.insert("externalIPs".to_owned(), self.list(2, &pool));
        }
        if self.one_in(10) {
            let pool = text(&["10.0.0.0/8", " 10.0.0.0/8", "10.0.0.1/8", "2001:DB8::/32", "x"]);
            spec.insert("loadBalancerSourceRanges".to_owned(), self.list(2, &pool));
        }
        json!({"spec": spec})
    }

    /// Fields that make most Services valid.
    pub(crate) fn base(&mut self) -> Value {
        json!({"spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]}})
    }
}

/// A case that does nothing yet.
pub(crate) fn case(name: String) -> Case {
    Case {
        case: name,
        beside: Vec::<Beside>::new(),
        given: None,
        create: None,
        update: None,
        replace: None,
        patch: None,
        status: None,
        departs: None,
        refused: None,
        accepted: None,
        warnings: Vec::new(),
    }
}

/// A complaint with the addresses and ports of the clusters' ranges that the case does not name
/// itself: the servers chose them.
pub(crate) fn without_random(text: &str, case: &Case) -> String {
    let said = format!("{:?}", (&case.create, &case.given, case.action().1));
    let in_number = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !in_number(c)).unwrap_or(rest.len());
        let token = rest[..end].trim_end_matches([':', '.']);
        let port = token.parse().is_ok_and(|port: u16| (30_000..=32_767).contains(&port));
        let address = token.starts_with("10.96.") || token.starts_with("fd00:10:96:");
        if (port || address) && !said.contains(token) {
            out.push_str("(random)");
            out.push_str(&rest[token.len()..end]);
        } else {
            out.push_str(&rest[..end]);
        }
        let mut chars = rest[end..].chars();
        out.extend(chars.next());
        rest = chars.as_str();
    }
    // Kubernetes shows the place that it keeps for a second address.
    out.replace(",\"\"]", "]")
}
