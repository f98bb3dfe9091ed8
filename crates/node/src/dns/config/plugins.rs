//! The table of plugins, and how those with few options are read.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::value::{duration, networks};
use super::{HealthConfig, ReadyConfig, ReloadConfig, SiteConfig};
use crate::dns::corefile::{CorefileError, Directive};
use crate::dns::plugin::acl::AclConfig;
use crate::dns::plugin::autopath::AutopathConfig;
use crate::dns::plugin::bind::BindConfig;
use crate::dns::plugin::cache::CacheConfig;
use crate::dns::plugin::errors::ErrorsConfig;
use crate::dns::plugin::file::FileConfig;
use crate::dns::plugin::forward::ForwardConfig;
use crate::dns::plugin::hosts::HostsConfig;
use crate::dns::plugin::kubernetes::KubernetesConfig;
use crate::dns::plugin::log::LogConfig;
use crate::dns::plugin::ratelimit::RateLimitConfig;
use crate::dns::plugin::rewrite::Rule;
use crate::dns::plugin::template::Template;
use crate::dns::plugin::tls::TlsConfig;
use crate::dns::plugin::transfer::TransferConfig;
use crate::dns::plugin::weighted::WeightedConfig;

type Read = fn(&mut SiteConfig, &Directive) -> Result<(), CorefileError>;

/// One plugin: its name, whether a server block may hold it more than once, and how its
/// directive is read.
pub(super) struct Plugin {
    pub(super) name: &'static str,
    pub(super) repeats: bool,
    pub(super) read: Read,
}

const fn once(name: &'static str, read: Read) -> Plugin {
    Plugin { name, repeats: false, read }
}

const fn often(name: &'static str, read: Read) -> Plugin {
    Plugin { name, repeats: true, read }
}

/// The plugins in the order of CoreDNS's plugin.cfg. It is the order that they act in, but for
/// `cache`, which stands before `forward` only; `ratelimit` is no plugin of CoreDNS's own.
pub(super) const PLUGINS: &[Plugin] = &[
    once("reload", reload),
    once("bufsize", bufsize),
    often("bind", |site, directive| {
        site.bind.push(BindConfig::read(directive)?);
        Ok(())
    }),
    once("ready", ready),
    once("health", health),
    once("prometheus", prometheus),
    once("errors", |site, directive| {
        site.errors = Some(ErrorsConfig::read(directive)?);
        Ok(())
    }),
    often("log", |site, directive| {
        LogConfig::read(site.log.get_or_insert_default(), directive, &site.keys)
    }),
    once("ratelimit", |site, directive| {
        site.ratelimit = Some(RateLimitConfig::read(directive)?);
        Ok(())
    }),
    once("any", |site, directive| switch(&mut site.any, directive)),
    once("loadbalance", loadbalance),
    often("rewrite", |site, directive| {
        site.rewrite.push(Rule::read(directive)?);
        Ok(())
    }),
    once("autopath", |site, directive| {
        site.autopath = Some(AutopathConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    often("acl", |site, directive| {
        site.acl.push(AclConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    once("cache", |site, directive| {
        site.cache = Some(CacheConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    once("tls", |site, directive| {
        site.tls = Some(TlsConfig::read(directive)?);
        Ok(())
    }),
    once("minimal", |site, directive| switch(&mut site.minimal, directive)),
    often("template", |site, directive| {
        site.template.push(Template::read(directive, &site.keys)?);
        Ok(())
    }),
    often("transfer", |site, directive| {
        site.transfer.push(TransferConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    once("hosts", |site, directive| {
        site.hosts = Some(HostsConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    often("kubernetes", |site, directive| {
        site.kubernetes.push(KubernetesConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    often("file", |site, directive| {
        site.file.push(FileConfig::read(directive, &site.keys)?);
        Ok(())
    }),
    once("loop", |site, directive| switch(&mut site.detect_loop, directive)),
    often("forward", |site, directive| {
        site.forward.push(ForwardConfig::read(directive)?);
        Ok(())
    }),
];

fn switch(on: &mut bool, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_args()?;
    directive.no_options()?;
    *on = true;
    Ok(())
}

fn bufsize(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_options()?;
    let size = match &directive.args[..] {
        [] => Some(1232),
        [size] => size.parse().ok().filter(|size| (512..=4096).contains(size)),
        _ => None,
    };
    site.bufsize = Some(size.ok_or_else(|| directive.error("takes a size from 512 to 4096"))?);
    Ok(())
}

fn health(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    let address = listen_arg(directive, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8080))?;
    let mut lameduck = Duration::ZERO;
    for option in &directive.options {
        match option.name.as_str() {
            "lameduck" => lameduck = directive.duration(option)?,
            _ => return Err(directive.unknown(option)),
        }
    }
    site.health = Some(HealthConfig { address, lameduck });
    Ok(())
}

fn ready(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    let address = listen_arg(directive, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8181))?;
    for option in &directive.options {
        let what = "until-ready or continuously";
        match option.name.as_str() {
            // An index that was whole once stays so: both come to the same.
            "monitor" => match directive.one(option, what)? {
                "until-ready" | "continuously" => {}
                other => {
                    let problem = format!("monitor takes {what}, not \"{other}\"");
                    return Err(directive.error_at(option.line, problem));
                }
            },
            _ => return Err(directive.unknown(option)),
        }
    }
    site.ready = Some(ReadyConfig { address });
    Ok(())
}

fn prometheus(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_options()?;
    let default = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9153);
    site.prometheus = Some(listen_arg(directive, default)?);
    Ok(())
}

/// `[ADDRESS]:PORT`; no address means all of this machine's.
fn listen_arg(directive: &Directive, default: SocketAddr) -> Result<SocketAddr, CorefileError> {
    let text = match &directive.args[..] {
        [] => return Ok(default),
        [only] => only,
        _ => return Err(directive.error("takes one address")),
    };
    let read = match text.strip_prefix(':') {
        Some(port) => {
            port.parse().ok().map(|port| SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
        }
        None => text.replace("localhost:", "127.0.0.1:").parse().ok(),
    };
    read.ok_or_else(|| directive.error(format!("\"{text}\" is no address to listen on")))
}

fn loadbalance(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    match &directive.args[..] {
        [] => {}
        [policy] if policy == "round_robin" => {}
        [policy, file] if policy == "weighted" => {
            site.weighted = Some(WeightedConfig::read(directive, file)?);
        }
        [policy, ..] => {
            let problem = format!("takes round_robin or weighted FILE, not {policy} like that");
            return Err(directive.error(problem));
        }
    }
    for option in &directive.options {
        match option.name.as_str() {
            "prefer" if !option.args.is_empty() => {
                site.prefer.extend(networks(directive, option.line, &option.args)?);
            }
            "reload" if site.weighted.is_some() => {}
            _ => return Err(directive.unknown(option)),
        }
    }
    site.rotate = site.weighted.is_none();
    Ok(())
}

fn reload(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_options()?;
    let mut durations = Vec::new();
    for arg in &directive.args {
        let read = duration(arg);
        durations.push(read.ok_or_else(|| directive.error(format!("\"{arg}\" is no duration")))?);
    }
    let (interval, jitter) = match durations[..] {
        [] => (Duration::from_secs(30), Duration::from_secs(15)),
        [interval] => (interval, Duration::from_secs(15)),
        [interval, jitter] => (interval, jitter),
        _ => return Err(directive.error("takes an interval and a jitter")),
    };
    // CoreDNS's bounds.
    let interval = interval.max(Duration::from_secs(2));
    let jitter = jitter.max(Duration::from_secs(1)).min(interval / 2);
    site.reload = Some(ReloadConfig { interval, jitter });
    Ok(())
}
