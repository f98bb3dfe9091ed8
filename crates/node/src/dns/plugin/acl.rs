//! `acl`: who may ask what.

use std::net::IpAddr;

use ipnet::IpNet;
use portolan_model::names::RecordType;

use super::super::config::{Key, networks, zones_or_block};
use super::super::corefile::{CorefileError, Directive, DirectiveOption};
use super::super::wire::{Query, parse_type};
use super::super::zone::{Zone, longest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Allow,
    /// REFUSED.
    Block,
    /// An answer without records.
    Filter,
    /// No answer.
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AclConfig {
    zones: Vec<Zone>,
    policies: Vec<Policy>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Policy {
    action: Action,
    /// Empty means all.
    types: Vec<RecordType>,
    networks: Vec<IpNet>,
}

impl AclConfig {
    /// `acl [ZONE…] { ACTION [type TYPE…] [net NETWORK…] }`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let zones = zones_or_block(directive, &directive.args, keys)?;
        let policies = directive.options.iter().map(|option| policy(directive, option));
        let policies: Vec<_> = policies.collect::<Result<_, _>>()?;
        if policies.is_empty() {
            return Err(directive.error("has no rules: allow, block, filter or drop"));
        }
        Ok(Self { zones, policies })
    }

    /// What the first rule that fits says; without one, everybody may ask.
    pub(crate) fn decide(&self, query: &Query<'_>, peer: IpAddr) -> Action {
        if longest(&self.zones, query.name()).is_none() {
            return Action::Allow;
        }
        let fits = |policy: &&Policy| {
            (policy.types.is_empty() || policy.types.contains(&query.kind))
                && (policy.networks.is_empty()
                    || policy.networks.iter().any(|network| network.contains(&peer)))
        };
        self.policies.iter().find(fits).map_or(Action::Allow, |policy| policy.action)
    }
}

fn policy(directive: &Directive, option: &DirectiveOption) -> Result<Policy, CorefileError> {
    let action = match option.name.to_ascii_lowercase().as_str() {
        "allow" => Action::Allow,
        "block" => Action::Block,
        "filter" => Action::Filter,
        "drop" => Action::Drop,
        _ => return Err(directive.unknown(option)),
    };
    let mut policy = Policy { action, types: Vec::new(), networks: Vec::new() };
    let mut args = &option.args[..];
    while let [section, rest @ ..] = args {
        let end = rest.iter().position(|arg| arg == "type" || arg == "net").unwrap_or(rest.len());
        let (values, next) = rest.split_at(end);
        let every = values.iter().any(|value| value == "*");
        match section.as_str() {
            "type" | "net" if values.is_empty() => {
                let problem = format!("{section} is followed by at least one value");
                return Err(directive.error_at(option.line, problem));
            }
            "type" | "net" if every => {}
            "type" => {
                for value in values {
                    policy.types.push(parse_type(value).ok_or_else(|| {
                        let problem = format!("\"{value}\" is no record type");
                        directive.error_at(option.line, problem)
                    })?);
                }
            }
            "net" => policy.networks.extend(networks(directive, option.line, values)?),
            other => {
                let problem = format!("\"{other}\" is neither type nor net");
                return Err(directive.error_at(option.line, problem));
            }
        }
        args = next;
    }
    Ok(policy)
}
