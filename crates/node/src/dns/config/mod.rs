//! What a Corefile means: server blocks with their plugins and options, checked.

mod plugins;
mod value;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::corefile::{self, CorefileError, ServerBlock};
use super::plugin::{
    acl::AclConfig, autopath::AutopathConfig, bind::BindConfig, cache::CacheConfig,
    errors::ErrorsConfig, file::FileConfig, forward::ForwardConfig, hosts::HostsConfig,
    kubernetes::KubernetesConfig, log::LogConfig, ratelimit::RateLimitConfig, rewrite::Rule,
    template::Template, tls::TlsConfig, transfer::TransferConfig, weighted::WeightedConfig,
};
use super::zone::Zone;
use plugins::PLUGINS;
pub(crate) use value::{duration, fallthrough, networks, zones, zones_or_block};

/// Everything that the server does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) sites: Vec<SiteConfig>,
    /// The files that the Corefile imports.
    pub(crate) imported: Vec<PathBuf>,
}

/// How queries come to a server block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scheme {
    /// UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
}

impl Scheme {
    fn port(self) -> u16 {
        match self {
            Self::Dns => 53,
            Self::Tls => 853,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tls => "tls",
        }
    }
}

/// One zone of a server block, and where it is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) scheme: Scheme,
    pub(crate) zone: Zone,
    pub(crate) port: u16,
}

/// One server block.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteConfig {
    pub(crate) keys: Vec<Key>,
    pub(crate) bind: Vec<BindConfig>,
    pub(crate) tls: Option<TlsConfig>,
    pub(crate) bufsize: Option<u16>,
    pub(crate) ratelimit: Option<RateLimitConfig>,
    pub(crate) errors: Option<ErrorsConfig>,
    pub(crate) log: Option<LogConfig>,
    pub(crate) health: Option<HealthConfig>,
    pub(crate) ready: Option<ReadyConfig>,
    pub(crate) prometheus: Option<SocketAddr>,
    pub(crate) reload: Option<ReloadConfig>,
    pub(crate) any: bool,
    pub(crate) minimal: bool,
    pub(crate) detect_loop: bool,
    pub(crate) rotate: bool,
    /// `loadbalance weighted`.
    pub(crate) weighted: Option<WeightedConfig>,
    /// `loadbalance`'s `prefer`.
    pub(crate) prefer: Vec<ipnet::IpNet>,
    pub(crate) rewrite: Vec<Rule>,
    pub(crate) autopath: Option<AutopathConfig>,
    pub(crate) acl: Vec<AclConfig>,
    pub(crate) cache: Option<CacheConfig>,
    pub(crate) template: Vec<Template>,
    pub(crate) transfer: Vec<TransferConfig>,
    pub(crate) hosts: Option<HostsConfig>,
    pub(crate) kubernetes: Vec<KubernetesConfig>,
    pub(crate) file: Vec<FileConfig>,
    pub(crate) forward: Vec<ForwardConfig>,
    /// The names of the plugins that it has.
    names: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthConfig {
    pub(crate) address: SocketAddr,
    /// How long to go on answering once told to stop.
    pub(crate) lameduck: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadyConfig {
    pub(crate) address: SocketAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReloadConfig {
    /// How often to look at the Corefile where changes are not heard of.
    pub(crate) interval: Duration,
    /// By how much that may differ, so that many servers do not look at once.
    pub(crate) jitter: Duration,
}

/// The names of the plugins that a Corefile may hold, in the order that they act in.
pub(crate) fn plugin_names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|plugin| plugin.name)
}

impl Config {
    /// Reads and checks a Corefile that imports nothing; environment variables are the process's.
    pub(crate) fn read(text: &str) -> Result<Self, CorefileError> {
        Self::read_in(text, Path::new("."))
    }

    /// Reads and checks a Corefile that lies in `directory`.
    pub(crate) fn read_in(text: &str, directory: &Path) -> Result<Self, CorefileError> {
        let parsed = corefile::parse(text, directory, &|name| std::env::var(name).ok())?;
        let mut sites: Vec<SiteConfig> = Vec::new();
        for block in &parsed.blocks {
            let site = site(block)?;
            for key in &site.keys {
                let taken =
                    |other: &&SiteConfig| other.keys.contains(key) && share_address(other, &site);
                if sites.iter().any(|other| taken(&other)) {
                    let Key { zone, port, .. } = key;
                    return Err(block.error(format!("zone {zone} is served twice at port {port}")));
                }
            }
            sites.push(site);
        }
        if sites.is_empty() {
            return Err(CorefileError::new(1, "there is no server block"));
        }
        Ok(Self { sites, imported: parsed.imported })
    }

    /// What it holds, in one line.
    pub(crate) fn summary(&self) -> String {
        let blocks = self.sites.iter().map(|site| {
            let keys = site
                .keys
                .iter()
                .map(|key| format!("{}://{}:{}", key.scheme.name(), key.zone, key.port));
            let keys: Vec<_> = keys.collect();
            let plugins: Vec<_> = site.plugins().collect();
            format!("{} ({})", keys.join(" "), plugins.join(" "))
        });
        let blocks: Vec<_> = blocks.collect();
        let count = blocks.len();
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} server block{plural}: {}", blocks.join("; "))
    }

    /// Looks into the files that the plugins name: certificates, zones, search paths.
    pub(crate) fn check_files(&self) -> Result<(), CorefileError> {
        for site in &self.sites {
            if let Some(tls) = &site.tls {
                tls.load()?;
            }
            site.bind.iter().try_for_each(|bind| bind.addresses().map(drop))?;
            site.forward.iter().try_for_each(ForwardConfig::check_files)?;
            site.file.iter().try_for_each(FileConfig::check)?;
            site.autopath.iter().try_for_each(AutopathConfig::check)?;
            site.weighted.iter().try_for_each(WeightedConfig::check)?;
        }
        Ok(())
    }
}

/// Whether two server blocks may listen on the same address.
fn share_address(a: &SiteConfig, b: &SiteConfig) -> bool {
    let names = |site: &SiteConfig| -> Vec<String> {
        site.bind.iter().flat_map(|bind| bind.names.clone()).collect()
    };
    let (a, b) = (names(a), names(b));
    a.is_empty() && b.is_empty() || a.iter().any(|name| b.contains(name))
}

impl SiteConfig {
    /// The names of the plugins that it has, in the order that they act in.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &'static str> {
        plugin_names().filter(|name| self.names.contains(name))
    }
}

fn site(block: &ServerBlock) -> Result<SiteConfig, CorefileError> {
    let mut site = SiteConfig::default();
    for text in &block.keys {
        site.keys.extend(key(text).map_err(|problem| block.error(problem))?);
    }
    for (index, directive) in block.directives.iter().enumerate() {
        let Some(plugin) = PLUGINS.iter().find(|plugin| plugin.name == directive.name) else {
            let known: Vec<_> = plugin_names().collect();
            let problem = format!("is not supported; there are {}", known.join(" "));
            return Err(directive.error(problem));
        };
        let earlier = block.directives[..index].iter().find(|other| other.name == plugin.name);
        if let Some(earlier) = earlier.filter(|_| !plugin.repeats) {
            let problem =
                format!("may be given only once, and is on line {} already", earlier.line);
            return Err(directive.error(problem));
        }
        (plugin.read)(&mut site, directive)?;
        site.names.push(plugin.name);
    }
    if site.tls.is_none() && site.keys.iter().any(|key| key.scheme == Scheme::Tls) {
        return Err(block.error("tls:// needs the plugin tls with a certificate in its block"));
    }
    if let Some(autopath) = &site.autopath {
        autopath.fits(&site.kubernetes)?;
    }
    Ok(site)
}

/// `[dns://|tls://]ZONE[:PORT]`.
fn key(text: &str) -> Result<Vec<Key>, String> {
    let (scheme, rest) = match text.split_once("://") {
        Some(("dns", rest)) => (Scheme::Dns, rest),
        Some(("tls", rest)) => (Scheme::Tls, rest),
        Some((scheme, _)) => {
            return Err(format!(
                "{scheme}:// is not supported in \"{text}\"; dns:// and tls:// are"
            ));
        }
        None => (Scheme::Dns, text),
    };
    let (zone, port) = match rest.rsplit_once(':') {
        // An IPv6 network has colons of its own.
        Some((zone, port)) if !zone.contains(':') || zone.contains('/') => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (zone, port.ok_or_else(|| format!("\"{text}\" has no valid port"))?)
        }
        _ => (rest, scheme.port()),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    let zones = Zone::parse(zone).ok_or_else(|| format!("\"{zone}\" is no zone"))?;
    Ok(zones.into_iter().map(|zone| Key { scheme, zone, port }).collect())
}
