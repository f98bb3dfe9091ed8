//! What a Corefile means: server blocks with their plugins and options, checked.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::corefile::{self, CorefileError, Directive, ServerBlock};
use super::plugin::{
    cache::CacheConfig, forward::ForwardConfig, hosts::HostsConfig, kubernetes::KubernetesConfig,
    log::LogConfig,
};
use super::zone::{Fallthrough, Zone};

/// Everything that the server does.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) sites: Vec<SiteConfig>,
}

/// One server block.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SiteConfig {
    /// The zones and ports of its key.
    pub(crate) keys: Vec<(Zone, u16)>,
    pub(crate) errors: bool,
    pub(crate) log: Option<LogConfig>,
    pub(crate) health: Option<HealthConfig>,
    pub(crate) ready: Option<SocketAddr>,
    pub(crate) prometheus: Option<SocketAddr>,
    pub(crate) reload: Option<ReloadConfig>,
    pub(crate) detect_loop: bool,
    pub(crate) rotate: bool,
    pub(crate) cache: Option<CacheConfig>,
    pub(crate) hosts: Option<HostsConfig>,
    pub(crate) kubernetes: Vec<KubernetesConfig>,
    pub(crate) forward: Vec<ForwardConfig>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HealthConfig {
    pub(crate) address: SocketAddr,
    /// How long to go on answering once told to stop.
    pub(crate) lameduck: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReloadConfig {
    /// How often to look at the Corefile where changes are not heard of.
    pub(crate) interval: Duration,
}

/// One plugin: its name, whether a server block may hold it more than once, and how its
/// directive is read.
struct Plugin {
    name: &'static str,
    repeats: bool,
    read: fn(&mut SiteConfig, &Directive) -> Result<(), CorefileError>,
}

/// The plugins in the order of CoreDNS's plugin.cfg, which is the order that they act in.
const PLUGINS: &[Plugin] = &[
    Plugin { name: "reload", repeats: false, read: reload },
    Plugin { name: "ready", repeats: false, read: ready },
    Plugin { name: "health", repeats: false, read: health },
    Plugin { name: "prometheus", repeats: false, read: prometheus },
    Plugin {
        name: "errors",
        repeats: false,
        read: |site, directive| switch(&mut site.errors, directive),
    },
    Plugin {
        name: "log",
        repeats: true,
        read: |site, directive| {
            LogConfig::read(site.log.get_or_insert_default(), directive, &site.keys)
        },
    },
    Plugin { name: "loadbalance", repeats: false, read: loadbalance },
    Plugin {
        name: "cache",
        repeats: false,
        read: |site, directive| {
            site.cache = Some(CacheConfig::read(directive, &site.keys)?);
            Ok(())
        },
    },
    Plugin {
        name: "hosts",
        repeats: false,
        read: |site, directive| {
            site.hosts = Some(HostsConfig::read(directive, &site.keys)?);
            Ok(())
        },
    },
    Plugin {
        name: "kubernetes",
        repeats: true,
        read: |site, directive| {
            site.kubernetes.push(KubernetesConfig::read(directive, &site.keys)?);
            Ok(())
        },
    },
    Plugin {
        name: "loop",
        repeats: false,
        read: |site, directive| switch(&mut site.detect_loop, directive),
    },
    Plugin {
        name: "forward",
        repeats: true,
        read: |site, directive| {
            site.forward.push(ForwardConfig::read(directive)?);
            Ok(())
        },
    },
];

/// The names of the plugins that a Corefile may hold, in the order that they act in.
pub(crate) fn plugin_names() -> impl Iterator<Item = &'static str> {
    PLUGINS.iter().map(|plugin| plugin.name)
}

impl Config {
    /// Reads and checks a Corefile; environment variables are the process's.
    pub(crate) fn read(text: &str) -> Result<Self, CorefileError> {
        let blocks = corefile::parse(text, &|name| std::env::var(name).ok())?;
        let mut sites: Vec<SiteConfig> = Vec::new();
        for block in &blocks {
            let site = site(block)?;
            for key in &site.keys {
                if sites.iter().any(|other| other.keys.contains(key)) {
                    let problem = format!("zone {} is served twice at port {}", key.0, key.1);
                    return Err(CorefileError::new(block.line, problem));
                }
            }
            sites.push(site);
        }
        if sites.is_empty() {
            return Err(CorefileError::new(1, "there is no server block"));
        }
        Ok(Self { sites })
    }
}

impl SiteConfig {
    /// The names of the plugins that it has, in the order that they act in.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = &'static str> {
        let has = [
            self.reload.is_some(),
            self.ready.is_some(),
            self.health.is_some(),
            self.prometheus.is_some(),
            self.errors,
            self.log.is_some(),
            self.rotate,
            self.cache.is_some(),
            self.hosts.is_some(),
            !self.kubernetes.is_empty(),
            self.detect_loop,
            !self.forward.is_empty(),
        ];
        plugin_names().zip(has).filter_map(|(name, has)| has.then_some(name))
    }
}

fn site(block: &ServerBlock) -> Result<SiteConfig, CorefileError> {
    let mut keys = Vec::new();
    for text in &block.keys {
        keys.extend(key(text).map_err(|problem| CorefileError::new(block.line, problem))?);
    }
    let mut site = SiteConfig {
        keys,
        errors: false,
        log: None,
        health: None,
        ready: None,
        prometheus: None,
        reload: None,
        detect_loop: false,
        rotate: false,
        cache: None,
        hosts: None,
        kubernetes: Vec::new(),
        forward: Vec::new(),
    };
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
    }
    Ok(site)
}

/// `[dns://]ZONE[:PORT]`.
fn key(text: &str) -> Result<Vec<(Zone, u16)>, String> {
    let rest = match text.split_once("://") {
        Some(("dns", rest)) => rest,
        Some((scheme, _)) => return Err(format!("{scheme}:// is not supported in \"{text}\"")),
        None => text,
    };
    let (zone, port) = match rest.rsplit_once(':') {
        // An IPv6 network has colons of its own.
        Some((zone, port)) if !zone.contains(':') => {
            let port = port.parse().ok().filter(|port| *port != 0);
            (zone, port.ok_or_else(|| format!("\"{text}\" has no valid port"))?)
        }
        _ => (rest, 53),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    let zones = Zone::parse(zone).ok_or_else(|| format!("\"{zone}\" is no zone"))?;
    Ok(zones.into_iter().map(|zone| (zone, port)).collect())
}

fn switch(on: &mut bool, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_args()?;
    directive.no_options()?;
    *on = true;
    Ok(())
}

fn health(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    let address = listen_arg(directive, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8080))?;
    let mut lameduck = Duration::ZERO;
    for option in &directive.options {
        match option.name.as_str() {
            "lameduck" => {
                let text = directive.one(option, "a duration")?;
                lameduck = duration(text).ok_or_else(|| {
                    directive.error_at(option.line, format!("\"{text}\" is no duration"))
                })?;
            }
            _ => return Err(directive.unknown(option)),
        }
    }
    site.health = Some(HealthConfig { address, lameduck });
    Ok(())
}

fn ready(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_options()?;
    let default = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 8181);
    site.ready = Some(listen_arg(directive, default)?);
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
    directive.no_options()?;
    match &directive.args[..] {
        [] => {}
        [policy] if policy == "round_robin" => {}
        [policy, ..] => return Err(directive.error(format!("policy {policy} is not supported"))),
    }
    site.rotate = true;
    Ok(())
}

fn reload(site: &mut SiteConfig, directive: &Directive) -> Result<(), CorefileError> {
    directive.no_options()?;
    let mut durations = Vec::new();
    for arg in &directive.args {
        let read = duration(arg);
        durations.push(read.ok_or_else(|| directive.error(format!("\"{arg}\" is no duration")))?);
    }
    let interval = match durations[..] {
        [] => Duration::from_secs(30),
        [interval] | [interval, _] => interval.max(Duration::from_secs(2)),
        _ => return Err(directive.error("takes an interval and a jitter")),
    };
    site.reload = Some(ReloadConfig { interval });
    Ok(())
}

/// The zones of a plugin's arguments; without any, those of the server block.
pub(crate) fn zones_or_block(
    directive: &Directive,
    args: &[String],
    keys: &[(Zone, u16)],
) -> Result<Vec<Zone>, CorefileError> {
    if args.is_empty() {
        let mut zones: Vec<Zone> = keys.iter().map(|(zone, _)| zone.clone()).collect();
        zones.dedup();
        return Ok(zones);
    }
    zones(directive, directive.line, args)
}

pub(crate) fn zones(
    directive: &Directive,
    line: usize,
    args: &[String],
) -> Result<Vec<Zone>, CorefileError> {
    let mut zones = Vec::new();
    for arg in args {
        let read = Zone::parse(arg);
        zones
            .extend(read.ok_or_else(|| directive.error_at(line, format!("\"{arg}\" is no zone")))?);
    }
    Ok(zones)
}

pub(crate) fn fallthrough(
    directive: &Directive,
    option: &corefile::DirectiveOption,
) -> Result<Fallthrough, CorefileError> {
    Ok(Fallthrough::new(zones(directive, option.line, &option.args)?))
}

/// A duration as Go writes it: `1m30s`, `500ms`, `0.5h`; `0` needs no unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[end..];
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubeadm_s_corefile_is_understood() {
        let text = super::super::default_corefile("cluster.local");
        let config = Config::read(&text).expect("a Corefile");
        let [site] = &config.sites[..] else { panic!("one site") };
        assert!(site.errors && site.detect_loop && site.rotate);
        assert_eq!(site.health.map(|h| h.lameduck), Some(Duration::from_secs(5)));
        assert_eq!(site.prometheus.map(|p| p.port()), Some(9153));
        assert_eq!(site.kubernetes.len(), 1);
        assert_eq!(site.keys, [(Zone::root(), 53)]);
    }

    #[test]
    fn what_is_not_supported_names_line_and_plugin() {
        for (text, line, plugin, words) in [
            (". {\n errors\n whoami\n}", 3, "whoami", "not supported"),
            (". {\n health {\n  lameduck 5s\n  nope\n }\n}", 4, "health", "nope"),
            (". {\n health {\n  lameduck soon\n }\n}", 3, "health", "duration"),
            (". {\n errors\n errors\n}", 3, "errors", "once"),
            (". {\n errors x\n}", 2, "errors", "arguments"),
            (". {\n loadbalance weighted f\n}", 2, "loadbalance", "weighted"),
            (". {\n ready nowhere\n}", 2, "ready", "address"),
            (". {\n kubernetes cluster.local {\n  pods maybe\n }\n}", 3, "kubernetes", "pods"),
            (". {\n kubernetes {\n  endpoint http://x\n }\n}", 3, "kubernetes", "endpoint"),
            (". {\n forward .\n}", 2, "forward", "upstream"),
            (". {\n forward . tls://1.1.1.1\n}", 2, "forward", "tls"),
            (". {\n forward . 1.1.1.1 {\n  policy best\n }\n}", 3, "forward", "policy"),
            (". {\n cache 0\n}", 2, "cache", "TTL"),
            (". {\n cache {\n  success x\n }\n}", 3, "cache", "success"),
            (". {\n hosts {\n  10.0.0.1\n }\n}", 3, "hosts", "name"),
        ] {
            let error = Config::read(text).expect_err(text);
            assert_eq!(error.line, line, "{text}: {error}");
            assert_eq!(error.plugin.as_deref(), Some(plugin), "{text}: {error}");
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        for (text, words) in [
            ("", "no server block"),
            ("a..b {\n}", "no zone"),
            ("tls://. {\n}", "not supported"),
            (".:x {\n}", "port"),
            (". {\n}\n. {\n}", "twice"),
        ] {
            let error = Config::read(text).expect_err(text);
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn durations_read_as_in_go() {
        for (text, milliseconds) in
            [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("0", 0), ("0.5h", 1_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for wrong in ["", "5", "s", "-1s", "1x", "1s2"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
