//! The same packets in three labs: IPv4 alone, both families, IPv6 alone.
//!
//! Each scenario is written once, in [`scenario`], and asks everything for every family that its
//! lab has.

mod ground;
mod scenario;

use ground::{Ground, Stack};

macro_rules! in_every_lab {
    ($($scenario:ident),* $(,)?) => {
        mod ipv4 {
            $(#[test] fn $scenario() { super::run(super::Stack::Ipv4, stringify!($scenario), super::scenario::$scenario); })*
        }
        mod dual_stack {
            $(#[test] fn $scenario() { super::run(super::Stack::Dual, stringify!($scenario), super::scenario::$scenario); })*
        }
        mod ipv6 {
            $(#[test] fn $scenario() { super::run(super::Stack::Ipv6, stringify!($scenario), super::scenario::$scenario); })*
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

fn run(stack: Stack, name: &str, scenario: fn(&Ground<'_>)) {
    let Some(lab) = stack.lab() else { return };
    let namespace = name.replace('_', "-");
    scenario(&Ground { stack, namespace: lab.namespace(&namespace) });
}
