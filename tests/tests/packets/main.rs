//! The same packets in labs of IPv4 alone, of both families, of IPv6 alone; and in every proxy mode
//! that this machine's kernel has.
//!
//! Each scenario is written once, in [`scenario`], and asks everything for every family that its
//! lab has. The labs of one family take the mode that `auto` does, or
//! `PORTOLAN_TESTS_PROXY_MODE`. With `PORTOLAN_TESTS_KUBE_PROXY` the same is asked of kube-proxy.

mod differences;
mod ground;
mod kube_proxy;
mod scenario;

use std::sync::OnceLock;

use ground::{Ground, Proxy, Stack};
use portolan_tests::{Environment, Lab};

macro_rules! in_every_lab {
    ($($scenario:ident),* $(,)?) => {
        in_every_lab!(ipv4, "four", Stack::Ipv4, Proxy::Usual, [$($scenario)*]);
        in_every_lab!(dual_stack, "dual", Stack::Dual, Proxy::Usual, [$($scenario)*]);
        in_every_lab!(ipv6, "six", Stack::Ipv6, Proxy::Usual, [$($scenario)*]);
        in_every_lab!(nftables, "nft", Stack::Dual, Proxy::In("nftables"), [$($scenario)*]);
        in_every_lab!(iptables, "ipt", Stack::Dual, Proxy::In("iptables"), [$($scenario)*]);
        in_every_lab!(userspace, "relay", Stack::Dual, Proxy::In("userspace"), [$($scenario)*]);
        in_every_lab!(kube_proxy_nftables, "kpnft", Stack::Dual, Proxy::Kube("nftables"), [$($scenario)*]);
        in_every_lab!(kube_proxy_iptables, "kpipt", Stack::Dual, Proxy::Kube("iptables"), [$($scenario)*]);
    };
    ($lab:ident, $label:literal, $stack:expr, $proxy:expr, [$($scenario:ident)*]) => {
        mod $lab {
            use super::*;

            fn lab() -> Option<&'static Lab> {
                static LAB: OnceLock<Option<Lab>> = OnceLock::new();
                if let Proxy::Kube(_) = $proxy {
                    kube_proxy::program()?;
                }
                let lab = LAB.get_or_init(|| $stack.start($label, $proxy)).as_ref();
                if lab.is_none() {
                    Environment::find();
                }
                lab
            }

            $(#[test] fn $scenario() {
                run($stack, $proxy, lab(), stringify!($scenario), scenario::$scenario);
            })*
        }
    };
}

in_every_lab!(
    the_lab_speaks_its_families,
    names_have_the_labs_addresses,
    cluster_ips_answer_inside_only,
    node_ports_answer_on_every_node,
    the_client_is_seen_where_it_can_be,
    external_policy_local_keeps_the_client,
    internal_policy_local_stays_on_the_node,
    clients_keep_their_pod,
    external_addresses_are_served_and_guarded,
    the_clusters_own_addresses_are_nobodys,
    nobody_home_refuses_at_once,
    the_last_pod_serves_until_it_is_gone,
    pods_that_are_not_ready_are_used_when_asked_for,
    udp_clients_follow_their_service,
    other_proxies_services_are_left_alone,
);

fn run(
    stack: Stack,
    proxy: Proxy,
    lab: Option<&'static Lab>,
    name: &str,
    scenario: fn(&Ground<'_>),
) {
    let Some(lab) = lab else { return };
    let namespace = lab.namespace(&name.replace('_', "-"));
    let relays = match proxy {
        Proxy::Kube(_) => false,
        Proxy::Usual | Proxy::In(_) => lab.proxy_mode() == "userspace",
    };
    scenario(&Ground { stack, proxy, relays, namespace });
}
