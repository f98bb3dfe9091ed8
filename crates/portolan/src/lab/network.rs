//! The lab's network: one namespace per machine, joined by a bridge in a namespace of its own.
//!
//! Nothing of it touches the host's network. The nodes have a default route to the switch, which
//! has none itself and answers "unreachable" at once: what the cluster does not serve fails fast.
//! The outside client knows the nodes' network alone.

use std::net::IpAddr;

use anyhow::Context;
use portolan_linux::link::VethEnd;
use portolan_linux::netns::NetNs;
use portolan_linux::route::Route;
use portolan_linux::sysctl;

use super::paths::Paths;
use super::plan::{Machine, OUTSIDE, Plan, SWITCH};

const BRIDGE: &str = "lab0";
/// A machine's interface on the lab's network.
const INTERFACE: &str = "eth0";

/// Builds the network; what was built stays on failure, for `down` to remove.
pub fn build(plan: &Plan, paths: &Paths) -> anyhow::Result<()> {
    let directory = paths.netns(SWITCH);
    let directory = directory.parent().context("the namespaces' directory has no name")?;
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let switch = namespace(paths, SWITCH)?;
    let rtnl = switch.rtnl()?;
    rtnl.add_bridge(BRIDGE)?;
    for address in &plan.gateway.addresses {
        rtnl.add_address(BRIDGE, *address)?;
    }
    rtnl.set_up(BRIDGE)?;
    for machine in plan.machines() {
        let inside = namespace(paths, &machine.name)?;
        let near = VethEnd::new(&machine.name);
        let far = VethEnd::new(INTERFACE).netns(&inside);
        rtnl.add_veth(&near, &far)?;
        rtnl.set_master(&machine.name, Some(BRIDGE))?;
        rtnl.set_up(&machine.name)?;
        connect(machine, &inside, &plan.gateway.ips())?;
    }
    Ok(())
}

/// A namespace whose addresses are usable at once: nobody else can have them.
fn namespace(paths: &Paths, name: &str) -> anyhow::Result<NetNs> {
    let inside = NetNs::create(paths.netns(name))?;
    let forward = if name == SWITCH { "1" } else { "0" };
    inside.run(|| {
        sysctl::set_present(&[
            ("net.ipv6.conf.default.accept_dad", "0"),
            ("net.ipv6.conf.all.accept_dad", "0"),
            ("net.ipv6.conf.default.accept_ra", "0"),
            ("net.ipv4.ip_forward", forward),
            ("net.ipv6.conf.all.forwarding", forward),
            ("net.bridge.bridge-nf-call-iptables", "0"),
            ("net.bridge.bridge-nf-call-ip6tables", "0"),
        ])
    })??;
    Ok(inside)
}

fn connect(machine: &Machine, inside: &NetNs, gateways: &[IpAddr]) -> anyhow::Result<()> {
    let rtnl = inside.rtnl()?;
    for address in &machine.addresses {
        rtnl.add_address(INTERFACE, *address)?;
    }
    rtnl.set_up(INTERFACE)?;
    if machine.name != OUTSIDE {
        for gateway in gateways {
            rtnl.add_route(&Route::default_via(*gateway))?;
        }
    }
    Ok(())
}
