//! Routes.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{
    error::Attempt,
    rtnl::{Message, Rtnl, address, attributes, family, u32_at},
};

/// From linux/rtnetlink.h; libc lacks it.
const RTNH_F_ONLINK: u32 = 4;

/// What happens to packets that a route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// Send them on.
    #[default]
    Unicast,
    /// Drop them in silence.
    Blackhole,
    /// Answer that the destination cannot be reached.
    Unreachable,
}

impl Action {
    fn code(self) -> u8 {
        match self {
            Self::Unicast => libc::RTN_UNICAST,
            Self::Blackhole => libc::RTN_BLACKHOLE,
            Self::Unreachable => libc::RTN_UNREACHABLE,
        }
    }
}

/// A route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub destination: IpNet,
    pub action: Action,
    pub gateway: Option<IpAddr>,
    /// The name of the link that packets leave by.
    pub device: Option<String>,
    /// The source address that the host prefers for its own packets.
    pub source: Option<IpAddr>,
    /// The gateway counts as reachable on `device` although no address says so.
    pub onlink: bool,
    pub metric: Option<u32>,
    /// Who made the route (`RTPROT_…`): 4 stands for the administrator, other numbers above it
    /// let a program know its own routes again.
    pub protocol: u8,
}

impl Route {
    /// A route to `destination` over `gateway`.
    pub fn via(destination: IpNet, gateway: IpAddr) -> Self {
        Self { gateway: Some(gateway), ..Self::discard(destination, Action::Unicast) }
    }

    /// A route to `destination`, directly on the link `device`.
    pub fn on(destination: IpNet, device: impl Into<String>) -> Self {
        Self { device: Some(device.into()), ..Self::discard(destination, Action::Unicast) }
    }

    /// A route that sends nothing on.
    pub fn discard(destination: IpNet, action: Action) -> Self {
        Self {
            destination,
            action,
            gateway: None,
            device: None,
            source: None,
            onlink: false,
            metric: None,
            protocol: libc::RTPROT_STATIC,
        }
    }

    /// The default route of the gateway's family.
    pub fn default_via(gateway: IpAddr) -> Self {
        Self::via(any(gateway), gateway)
    }
}

/// `0.0.0.0/0` or `::/0`, whichever `like` is of.
pub fn any(like: IpAddr) -> IpNet {
    if like.is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() }
}

impl Rtnl {
    /// Adds a route. Fails with [`crate::Failed::exists`] if there is one to that destination.
    pub fn add_route(&self, route: &Route) -> Attempt<()> {
        self.write_route(libc::RTM_NEWROUTE, libc::NLM_F_CREATE | libc::NLM_F_EXCL, route, "add")
    }

    /// Adds a route, in place of one to the same destination with the same metric.
    pub fn replace_route(&self, route: &Route) -> Attempt<()> {
        self.write_route(
            libc::RTM_NEWROUTE,
            libc::NLM_F_CREATE | libc::NLM_F_REPLACE,
            route,
            "replace",
        )
    }

    /// Removes a route. Fails with [`crate::Failed::missing`] if there is none.
    pub fn delete_route(&self, route: &Route) -> Attempt<()> {
        self.write_route(libc::RTM_DELROUTE, 0, route, "delete")
    }

    fn write_route(&self, kind: u16, flags: i32, route: &Route, verb: &str) -> Attempt<()> {
        let deleting = kind == libc::RTM_DELROUTE;
        let scope = match (deleting, route.gateway, route.action) {
            (true, ..) => libc::RT_SCOPE_NOWHERE,
            (_, None, Action::Unicast) if route.destination.addr().is_ipv4() => libc::RT_SCOPE_LINK,
            _ => libc::RT_SCOPE_UNIVERSE,
        };
        // struct rtmsg: family, lengths, tos, table, protocol, scope, type, flags.
        let mut fixed = [0; 12];
        fixed[0] = family(route.destination.addr());
        fixed[1] = route.destination.prefix_len();
        fixed[4] = libc::RT_TABLE_MAIN;
        fixed[5] = route.protocol;
        fixed[6] = scope;
        fixed[7] = route.action.code();
        if route.onlink {
            fixed[8..12].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
        }
        let mut message = Message::new(kind, flags, &fixed);
        if route.destination.prefix_len() > 0 {
            message.address(libc::RTA_DST, route.destination.network());
        }
        if let Some(gateway) = route.gateway {
            message.address(libc::RTA_GATEWAY, gateway);
        }
        if let Some(source) = route.source {
            message.address(libc::RTA_PREFSRC, source);
        }
        if let Some(metric) = route.metric {
            message.number(libc::RTA_PRIORITY, metric);
        }
        if let Some(device) = &route.device {
            message.number(libc::RTA_OIF, self.index(device)?);
        }
        self.request(message, || match (&route.gateway, &route.device) {
            (Some(gateway), _) => format!("{verb} route to {} via {gateway}", route.destination),
            (None, Some(device)) => format!("{verb} route to {} on {device}", route.destination),
            (None, None) => format!("{verb} route to {}", route.destination),
        })
    }

    /// The routes of the main table, without those that the kernel made itself.
    pub fn routes(&self) -> Attempt<Vec<Route>> {
        let names: Vec<_> = self.links()?.into_iter().map(|l| (l.index, l.name)).collect();
        let mut found = Vec::new();
        self.dump(Message::new(libc::RTM_GETROUTE, 0, &[0; 12]), "list routes", |_, body| {
            found.extend(parse(body, &names));
        })?;
        Ok(found)
    }
}

fn parse(body: &[u8], names: &[(u32, String)]) -> Option<Route> {
    let rest = body.get(12..)?;
    let (table, protocol) = (body[4], body[5]);
    if table != libc::RT_TABLE_MAIN || protocol == libc::RTPROT_KERNEL {
        return None;
    }
    let action = match body[7] {
        libc::RTN_UNICAST => Action::Unicast,
        libc::RTN_BLACKHOLE => Action::Blackhole,
        libc::RTN_UNREACHABLE => Action::Unreachable,
        _ => return None,
    };
    let any: IpNet = match i32::from(body[0]) {
        libc::AF_INET => Ipv4Net::default().into(),
        libc::AF_INET6 => Ipv6Net::default().into(),
        _ => return None,
    };
    let mut route = Route::discard(any, action);
    route.protocol = protocol;
    route.onlink = u32_at(body, 8) & RTNH_F_ONLINK != 0;
    for (kind, value) in attributes(rest) {
        match kind {
            libc::RTA_DST => route.destination = IpNet::new(address(value)?, body[1]).ok()?,
            libc::RTA_GATEWAY => route.gateway = address(value),
            libc::RTA_PREFSRC => route.source = address(value),
            libc::RTA_PRIORITY => route.metric = Some(u32_at(value, 0)),
            libc::RTA_OIF => {
                let index = u32_at(value, 0);
                route.device = names.iter().find(|n| n.0 == index).map(|n| n.1.clone());
            }
            _ => {}
        }
    }
    Some(route)
}
