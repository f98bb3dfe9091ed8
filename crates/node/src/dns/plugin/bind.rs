//! `bind`: the addresses that a server block listens on.

use std::net::IpAddr;

use portolan_linux::rtnl::Rtnl;

use super::super::corefile::{CorefileError, Directive};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindConfig {
    /// Addresses and interfaces.
    pub(crate) names: Vec<String>,
    except: Vec<String>,
    directive: Directive,
}

impl BindConfig {
    /// `bind ADDRESS|INTERFACE… { except ADDRESS|INTERFACE… }`.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        if directive.args.is_empty() {
            return Err(directive.error("takes addresses or interfaces"));
        }
        let mut except = Vec::new();
        for option in &directive.options {
            match option.name.as_str() {
                "except" if !option.args.is_empty() => except.extend(option.args.iter().cloned()),
                _ => return Err(directive.unknown(option)),
            }
        }
        Ok(Self { names: directive.args.clone(), except, directive: directive.clone() })
    }

    /// The addresses of what it names, as they are now.
    pub(crate) fn addresses(&self) -> Result<Vec<IpAddr>, CorefileError> {
        let except = self.resolve(&self.except)?;
        let mut found = self.resolve(&self.names)?;
        found.retain(|address| !except.contains(address));
        if found.is_empty() {
            return Err(self.directive.error("leaves no address to listen on"));
        }
        Ok(found)
    }

    fn resolve(&self, names: &[String]) -> Result<Vec<IpAddr>, CorefileError> {
        let mut found = Vec::new();
        for name in names {
            match name.parse::<IpAddr>() {
                Ok(address) => found.push(address),
                Err(_) => found.extend(of_interface(name).map_err(|why| {
                    self.directive.error(format!("\"{name}\" is neither address nor {why}"))
                })?),
            }
        }
        Ok(found)
    }
}

/// The addresses of an interface that others can reach without naming it too.
fn of_interface(name: &str) -> Result<Vec<IpAddr>, String> {
    let rtnl = Rtnl::open().map_err(|error| format!("can interfaces be listed: {error}"))?;
    let Ok(Some(link)) = rtnl.link(name) else { return Err("an interface of this machine".into()) };
    let all = rtnl.addresses().map_err(|error| format!("can addresses be listed: {error}"))?;
    let of_link = all.into_iter().filter(|(index, _)| *index == link.index);
    let is_local =
        |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let found: Vec<_> =
        of_link.map(|(_, net)| net.addr()).filter(|address| !is_local(address)).collect();
    if found.is_empty() {
        return Err("an interface with an address".into());
    }
    Ok(found)
}
