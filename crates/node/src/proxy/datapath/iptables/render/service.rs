//! The rules of one Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use portolan_linux::iptables::{Match, Recent, Rule, Side, Target};
use portolan_model::Desired;
use portolan_model::backend::{Backend, Pool};
use portolan_model::frontend::{
    Action, Frontend, FrontendAddress, FrontendKey, FrontendKind, PoolKey, PortName, Scope,
};
use portolan_model::object::{ObjectName, Protocol};

use super::super::names::{self, MARK_MASQ, MARK_OTHERS, Purpose};
use super::Settings;

/// What one Service adds to the chains of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Portals {
    /// nat, `KUBE-SERVICES`.
    pub(in super::super) services: Vec<Rule>,
    /// nat, `KUBE-NODEPORTS`.
    pub(in super::super) node_ports: Vec<Rule>,
    /// filter, `KUBE-SERVICES`.
    pub(in super::super) refusals: Vec<Rule>,
    /// filter, `KUBE-EXTERNAL-SERVICES`.
    pub(in super::super) external: Vec<Rule>,
    /// filter, `KUBE-PROXY-FIREWALL`.
    pub(in super::super) firewall: Vec<Rule>,
    /// filter, `KUBE-NODEPORTS`.
    pub(in super::super) health: Vec<Rule>,
}

/// What one Service adds to one family's tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct ServiceRules {
    pub(in super::super) portals: Portals,
    /// nat: the chains of its own.
    pub(in super::super) chains: BTreeMap<String, Vec<Rule>>,
}

/// One port of the Service.
struct Port<'a> {
    settings: &'a Settings,
    name: &'a PortName,
    /// `namespace/service:port`.
    text: String,
    protocol: &'static str,
    frontends: Vec<(FrontendKey, &'a Frontend)>,
}

/// The rules of a Service, `health` being where load balancers ask for its health.
pub(in super::super) fn rules_of(
    desired: &Desired,
    settings: &Settings,
    service: &ObjectName,
    health: Option<u16>,
) -> ServiceRules {
    let mut rules = ServiceRules::default();
    let mut ports: BTreeMap<Arc<PortName>, Vec<(FrontendKey, &Frontend)>> = BTreeMap::new();
    for key in desired.frontends_of(service).iter().filter(|key| key.family() == settings.family) {
        let Some(frontend) = desired.frontend(key) else { continue };
        // Another Service may hold it.
        if frontend.port.service == *service {
            ports.entry(frontend.port.clone()).or_default().push((*key, frontend));
        }
    }
    let pools = desired.pools_of(service).iter().filter(|key| key.family == settings.family);
    let mut by_port: BTreeMap<&Arc<PortName>, Vec<(&PoolKey, &Pool)>> = BTreeMap::new();
    for key in pools {
        if let Some(pool) = desired.pool(key) {
            by_port.entry(&key.port).or_default().push((key, pool));
            ports.entry(key.port.clone()).or_default();
        }
    }
    for (name, frontends) in &mut ports {
        frontends.sort_by_key(|(key, frontend)| (frontend.kind, *key));
        let port = Port {
            settings,
            text: name.to_string(),
            protocol: names::protocol(name.protocol),
            name,
            frontends: std::mem::take(frontends),
        };
        port.cluster_ips(&mut rules.portals);
        port.external(&mut rules);
        for (key, pool) in by_port.get(name).into_iter().flatten() {
            port.pool(key.scope, pool, &mut rules.chains);
        }
        if let Some(health) = health {
            let comment = format!("{} health check node port", port.text);
            rules.portals.health.push(Rule::jump("ACCEPT").comment(comment).port("tcp", health));
        }
    }
    rules
}

fn scope_of(action: Action) -> Option<Scope> {
    match action {
        Action::Balance(scope) => Some(scope),
        Action::Reject | Action::Drop => None,
    }
}

impl Port<'_> {
    fn of_kind(&self, kind: FrontendKind) -> impl Iterator<Item = (IpAddr, u16, &Frontend)> {
        self.frontends.iter().filter_map(move |(key, frontend)| match key.address {
            FrontendAddress::Ip(ip) if frontend.kind == kind => Some((ip, key.port, *frontend)),
            _ => None,
        })
    }

    fn chain(&self, purpose: Purpose) -> String {
        names::chain(purpose, self.name)
    }

    /// A rule for what dials that address, jumping to a chain of the table `nat`.
    fn capture(&self, kind: &str, ip: IpAddr, port: u16, chain: String) -> Rule {
        let comment = format!("{} {kind}", self.text);
        Rule::jump(chain).comment(comment).port(self.protocol, port).to(ip.into())
    }

    /// A rule for what the table `nat` has left as it was. Which address is left open.
    fn refusal(&self, action: Action, port: u16) -> Rule {
        let (target, why) = match action {
            // kube-proxy sends ICMP here, too. The kernel limits its rate, and not every client of
            // TCP heeds it; a reset is heard at once.
            Action::Reject if self.name.protocol == Protocol::Tcp => {
                (Target::Reset, "has no endpoints")
            }
            Action::Reject => (Target::Reject, "has no endpoints"),
            Action::Drop | Action::Balance(_) => {
                (Target::Jump("DROP".to_owned()), "has no local endpoints")
            }
        };
        Rule::new(target).comment(format!("{} {why}", self.text)).port(self.protocol, port)
    }

    fn cluster_ips(&self, portals: &mut Portals) {
        for (ip, port, frontend) in self.of_kind(FrontendKind::ClusterIp) {
            match scope_of(frontend.inside) {
                Some(scope) => {
                    let chain = self.chain(Purpose::Pool(scope));
                    portals.services.push(self.capture("cluster IP", ip, port, chain));
                }
                None => {
                    portals.refusals.push(self.refusal(frontend.inside, port).to(ip.into()));
                }
            }
        }
    }

    fn external(&self, rules: &mut ServiceRules) {
        let portals = &mut rules.portals;
        // One Service port's external addresses are all alike.
        let Some((_, any)) = self.frontends.iter().find(|(_, it)| it.kind.is_external()) else {
            return;
        };
        let (inside, outside) = (any.inside, any.outside);
        let served = inside != Action::Reject;
        // What remains for some or all senders, when the table `nat` has done its part.
        let rest = [outside, inside].into_iter().find(|action| scope_of(*action).is_none());
        let external = self.chain(Purpose::External);
        for (ip, port, _) in self.of_kind(FrontendKind::ExternalIp) {
            if served {
                portals.services.push(self.capture("external IP", ip, port, external.clone()));
            }
            if let Some(action) = rest {
                portals.external.push(self.refusal(action, port).to(ip.into()));
            }
        }
        let firewall = self.chain(Purpose::Firewall);
        let mut guarded = vec![];
        for (ip, port, frontend) in self.of_kind(FrontendKind::LoadBalancerIp) {
            let to = IpNet::from(ip);
            let barred =
                |text: String| Rule::jump("DROP").comment(text).port(self.protocol, port).to(to);
            match &frontend.sources {
                Some(_) if served => {
                    guarded.push((ip, frontend));
                    let chain = firewall.clone();
                    portals.services.push(self.capture("loadbalancer IP", ip, port, chain));
                    let text = format!("{} traffic not accepted by {firewall}", self.text);
                    portals.firewall.push(barred(text));
                }
                // Nobody is sent anywhere; but only those who may come are told so.
                Some(nets) => {
                    let refuse = |net: &IpNet| self.refusal(inside, port).from(*net).to(to);
                    portals.external.extend(nets.iter().map(refuse));
                    let text = format!("{} traffic not accepted", self.text);
                    portals.external.push(barred(text));
                    continue;
                }
                None if served => {
                    let chain = external.clone();
                    portals.services.push(self.capture("loadbalancer IP", ip, port, chain));
                }
                None => {}
            }
            if let Some(action) = rest {
                portals.external.push(self.refusal(action, port).to(to));
            }
        }
        for (key, _) in self.frontends.iter().filter(|(_, it)| it.kind == FrontendKind::NodePort) {
            if served {
                let rule = Rule::jump(external.clone()).comment(self.text.clone());
                portals.node_ports.push(rule.port(self.protocol, key.port));
            }
            if let Some(action) = rest {
                let rule = self.refusal(action, key.port);
                portals.external.extend(self.settings.on_node_ports(&rule));
            }
        }
        if !guarded.is_empty() {
            rules.chains.insert(firewall, self.firewall(&guarded, &external));
        }
        if served {
            let chain = self.external_chain(inside, outside, any.masquerade_pods);
            rules.chains.insert(external, chain);
        }
    }

    /// Lets through who may come; the rest meets `KUBE-PROXY-FIREWALL`.
    fn firewall(&self, guarded: &[(IpAddr, &Frontend)], external: &str) -> Vec<Rule> {
        let nets = |frontend: &Frontend| -> BTreeSet<IpNet> {
            frontend.sources.iter().flat_map(|nets| nets.iter().copied()).collect()
        };
        let all: BTreeSet<IpNet> = guarded.iter().flat_map(|(_, it)| nets(it)).collect();
        let comment = format!("{} loadbalancer IP", self.text);
        let mut rules = vec![];
        for net in all {
            let rule = Rule::jump(external).comment(comment.clone()).from(net);
            let allowing: Vec<_> =
                guarded.iter().filter(|(_, it)| nets(it).contains(&net)).collect();
            if allowing.len() == guarded.len() {
                rules.push(rule);
            } else {
                // An address may always dial itself, and only itself.
                rules.extend(allowing.iter().map(|(ip, _)| rule.clone().to((*ip).into())));
            }
        }
        rules.push(Rule::default().comment(format!(
            "other traffic to {} will be dropped by KUBE-PROXY-FIREWALL",
            self.text,
        )));
        rules
    }

    fn external_chain(&self, inside: Action, outside: Action, hide_pods: bool) -> Vec<Rule> {
        let comment = |what: &str| format!("{what} {} external destinations", self.text);
        let go = |action| match scope_of(action) {
            Some(scope) => Rule::jump(self.chain(Purpose::Pool(scope))),
            None => Rule::jump("RETURN"),
        };
        let mut rules = vec![];
        if hide_pods || inside == outside {
            if hide_pods && scope_of(outside).is_some() {
                rules.push(Rule::jump(MARK_MASQ).comment(comment("masquerade traffic for")));
            }
        } else {
            let own = || Match::Local(Side::Source);
            // As if they had gone out and come back in.
            for net in &self.settings.pods {
                rules.push(go(inside).comment(comment("pod traffic for")).from(*net));
            }
            if scope_of(inside).is_some() {
                let text = comment("masquerade LOCAL traffic for");
                rules.push(Rule::jump(MARK_MASQ).comment(text).when(own()));
            }
            rules.push(go(inside).comment(comment("route LOCAL traffic for")).when(own()));
        }
        if scope_of(outside).is_some() {
            rules.push(go(outside));
        }
        rules
    }

    fn pool(&self, scope: Scope, pool: &Pool, chains: &mut BTreeMap<String, Vec<Rule>>) {
        let mut rules = vec![];
        for (ip, port, frontend) in self.of_kind(FrontendKind::ClusterIp) {
            if frontend.inside == Action::Balance(scope) {
                rules.push(self.hide_others(ip, port));
            }
        }
        let endpoints: Vec<(String, String, &Backend)> = pool
            .backends
            .iter()
            .map(|backend| {
                let at = SocketAddr::new(backend.address, backend.port).to_string();
                let chain = names::endpoint_chain(self.name, &at);
                (chain, format!("{} -> {at}", self.text), backend)
            })
            .collect();
        for (chain, comment, _) in &endpoints {
            let Some(seconds) = pool.affinity_seconds else { break };
            let seen = Recent::Check { list: chain.clone(), seconds };
            rules.push(Rule::jump(chain).comment(comment).when(Match::Recent(seen)));
        }
        let count = endpoints.len();
        for (index, (chain, comment, _)) in endpoints.iter().enumerate() {
            let rule = Rule::jump(chain).comment(comment);
            let left = (count - index) as u32;
            rules.push(if left > 1 { rule.when(Match::OneIn(left)) } else { rule });
        }
        chains.insert(self.chain(Purpose::Pool(scope)), rules);
        for (chain, _, backend) in endpoints {
            let rules = self.endpoint(&chain, backend, pool.affinity_seconds.is_some());
            chains.insert(chain, rules);
        }
    }

    /// Marks for masquerading what others than pods send to the ClusterIP.
    fn hide_others(&self, ip: IpAddr, port: u16) -> Rule {
        let capture = |chain: &str| self.capture("cluster IP", ip, port, chain.to_owned());
        match &*self.settings.pods {
            _ if self.settings.masquerade_all => capture(MARK_MASQ),
            [] => capture(MARK_MASQ).when(Match::Local(Side::Source)),
            [net] => capture(MARK_MASQ).not_from(*net),
            _ => capture(MARK_OTHERS),
        }
    }

    fn endpoint(&self, chain: &str, backend: &Backend, affinity: bool) -> Vec<Rule> {
        let comment = || self.text.clone();
        let mark = || Rule::jump(MARK_MASQ).comment(comment());
        let mut rules = vec![];
        if backend.local {
            // Its answers come back through this node: it may see its client.
            let clear = Target::Mark { value: 0, mask: self.settings.mark };
            rules.push(Rule::new(clear).comment(comment()));
            if self.settings.loopback {
                rules.push(mark().from(self.settings.loopback_net()));
            }
            if self.settings.masquerade_all {
                let dialled = self.of_kind(FrontendKind::ClusterIp);
                rules.extend(
                    dialled.map(|(ip, port, _)| mark().port(self.protocol, port).to(ip.into())),
                );
            }
        }
        rules.push(mark().from(backend.address.into()));
        let to = SocketAddr::new(backend.address, backend.port);
        let mut dnat = Rule::new(Target::Dnat(to)).comment(comment());
        if affinity {
            dnat = dnat.when(Match::Recent(Recent::Set { list: chain.to_owned() }));
        }
        rules.push(dnat.protocol(self.protocol));
        rules
    }
}
