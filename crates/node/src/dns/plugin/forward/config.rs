//! The options of `forward`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portolan_model::names::to_wire;

use crate::dns::config::{duration, zones};
use crate::dns::corefile::{CorefileError, Directive, DirectiveOption};
use crate::dns::plugin::tls::UpstreamTls;
use crate::dns::wire::Rcode;
use crate::dns::zone::Zone;

/// CoreDNS's limit of upstreams.
const MOST_UPSTREAMS: usize = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Random,
    RoundRobin,
    Sequential,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Address(SocketAddr),
    /// Over TLS, with the name that its certificate has to have.
    Tls(SocketAddr, Option<String>),
    /// A file as /etc/resolv.conf is.
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForwardConfig {
    pub(super) from: Zone,
    pub(super) to: Vec<Target>,
    pub(super) except: Vec<Zone>,
    pub(super) policy: Policy,
    /// 0 means any number.
    pub(super) max_concurrent: usize,
    pub(super) force_tcp: bool,
    pub(super) prefer_udp: bool,
    /// Failures in a row after which an upstream is left out until it answers again; 0 never.
    pub(super) max_fails: u32,
    /// Attempts for one query; 0 any number, `None` twice as many as there are upstreams.
    pub(super) max_attempts: Option<u32>,
    /// Whether nobody is asked when all upstreams are left out.
    pub(super) fail_fast: bool,
    pub(super) read_timeout: Option<Duration>,
    /// How long connections are kept for the next query.
    pub(super) expire: Duration,
    pub(super) max_idle: usize,
    pub(super) source: Option<IpAddr>,
    pub(super) tls: UpstreamTls,
    pub(super) tls_name: Option<String>,
    /// Codes after which the next upstream is asked, and those after which the next `forward` is.
    pub(super) failover: Vec<Rcode>,
    pub(super) next: Vec<Rcode>,
    pub(super) next_on_nodata: bool,
    pub(super) probe_every: Duration,
    pub(super) probe_recursion: bool,
    pub(super) probe_name: Vec<u8>,
    directive: Directive,
}

impl ForwardConfig {
    /// `forward FROM TO… { … }`.
    pub(crate) fn read(directive: &Directive) -> Result<Self, CorefileError> {
        let [from, to @ ..] = &directive.args[..] else {
            return Err(directive.error("takes a zone and at least one upstream"));
        };
        let from = zones(directive, directive.line, std::slice::from_ref(from))?;
        let [from] = &from[..] else {
            return Err(directive.error("takes a network that ends between labels"));
        };
        if to.is_empty() {
            return Err(directive.error("names no upstream"));
        }
        if to.len() > MOST_UPSTREAMS {
            return Err(directive.error(format!("takes at most {MOST_UPSTREAMS} upstreams")));
        }
        let mut config = Self {
            from: from.clone(),
            to: to.iter().map(|text| target(directive, text)).collect::<Result<_, _>>()?,
            except: Vec::new(),
            policy: Policy::Random,
            max_concurrent: 0,
            force_tcp: false,
            prefer_udp: false,
            max_fails: 2,
            max_attempts: None,
            fail_fast: false,
            read_timeout: None,
            expire: Duration::from_secs(10),
            max_idle: 0,
            source: None,
            tls: UpstreamTls::default(),
            tls_name: None,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            probe_every: Duration::from_millis(500),
            probe_recursion: true,
            probe_name: Vec::new(),
            directive: directive.clone(),
        };
        for option in &directive.options {
            config.option(directive, option)?;
        }
        let named = |target: &Target| matches!(target, Target::Tls(_, Some(_)));
        if config.tls_name.is_some() && config.to.iter().any(named) {
            let problem = "tls_servername is given, and an upstream has a name of its own";
            return Err(directive.error(problem));
        }
        Ok(config)
    }

    fn option(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
    ) -> Result<(), CorefileError> {
        let flag = || directive.option_without_args(option);
        match option.name.as_str() {
            "except" if !option.args.is_empty() => {
                self.except.extend(zones(directive, option.line, &option.args)?);
            }
            "force_tcp" => flag().map(|()| self.force_tcp = true)?,
            "prefer_udp" => flag().map(|()| self.prefer_udp = true)?,
            "failfast_all_unhealthy_upstreams" => flag().map(|()| self.fail_fast = true)?,
            "next_on_nodata" => flag().map(|()| self.next_on_nodata = true)?,
            "max_concurrent" => self.max_concurrent = directive.one_as(option, "a number")?,
            "max_fails" => self.max_fails = directive.one_as(option, "a number")?,
            "max_idle_conns" => self.max_idle = directive.one_as(option, "a number")?,
            "max_connect_attempts" => {
                self.max_attempts = Some(directive.one_as(option, "a number")?);
            }
            "source_address" => self.source = Some(directive.one_as(option, "an address")?),
            "policy" => {
                let what = "random, round_robin or sequential";
                self.policy = match directive.one(option, what)? {
                    "random" => Policy::Random,
                    "round_robin" => Policy::RoundRobin,
                    "sequential" => Policy::Sequential,
                    other => {
                        let problem = format!("policy takes {what}, not \"{other}\"");
                        return Err(directive.error_at(option.line, problem));
                    }
                };
            }
            "expire" => self.expire = directive.duration(option)?,
            "read_timeout" => self.read_timeout = Some(directive.duration(option)?),
            "tls" => {
                let path = |index: usize| option.args.get(index).map(PathBuf::from);
                let (pair, authorities) = match option.args.len() {
                    0 => (None, None),
                    1 => (None, path(0)),
                    2 | 3 => (path(0).zip(path(1)), path(2)),
                    _ => {
                        let problem = "tls takes CERT KEY CA, CERT KEY, CA or nothing";
                        return Err(directive.error_at(option.line, problem));
                    }
                };
                self.tls = UpstreamTls { pair, authorities };
            }
            "tls_servername" => {
                self.tls_name = Some(directive.one(option, "a name")?.to_owned());
            }
            "failover" => self.failover.extend(codes(directive, option)?),
            "next" => self.next.extend(codes(directive, option)?),
            "health_check" => {
                let Some((text, rest)) = option.args.split_first() else {
                    return Err(directive.error_at(option.line, "health_check takes a duration"));
                };
                self.probe_every = duration(text).ok_or_else(|| {
                    directive.error_at(option.line, format!("\"{text}\" is no duration"))
                })?;
                self.read_probe(directive, option, rest)?;
            }
            _ => return Err(directive.unknown(option)),
        }
        Ok(())
    }

    fn read_probe(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
        args: &[String],
    ) -> Result<(), CorefileError> {
        match args {
            [] => Ok(()),
            [word, rest @ ..] if word == "no_rec" => {
                self.probe_recursion = false;
                self.read_probe(directive, option, rest)
            }
            [word, name, rest @ ..] if word == "domain" => {
                self.probe_name = to_wire(name).ok_or_else(|| {
                    directive.error_at(option.line, format!("\"{name}\" is no domain"))
                })?;
                self.read_probe(directive, option, rest)
            }
            [other, ..] => {
                let problem = format!("health_check: \"{other}\" is not supported");
                Err(directive.error_at(option.line, problem))
            }
        }
    }

    /// The files that name upstreams.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.to.iter().filter_map(|target| match target {
            Target::File(path) => Some(path),
            Target::Address(_) | Target::Tls(..) => None,
        })
    }

    /// Whether the files that it names can be used.
    pub(crate) fn check_files(&self) -> Result<(), CorefileError> {
        for path in self.files() {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| {
                self.error(format!("cannot read upstreams from {}: {error}", path.display()))
            })?;
            if nameservers(&text).is_empty() {
                return Err(self.error(format!("{} names no upstream", path.display())));
            }
        }
        if self.to.iter().any(|target| matches!(target, Target::Tls(..))) {
            self.tls.load().map_err(|problem| self.error(problem))?;
        }
        Ok(())
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> CorefileError {
        self.directive.error(problem)
    }
}

fn codes(directive: &Directive, option: &DirectiveOption) -> Result<Vec<Rcode>, CorefileError> {
    let problem = |problem: String| directive.error_at(option.line, problem);
    let name = &option.name;
    if option.args.is_empty() {
        return Err(problem(format!("{name} takes response codes")));
    }
    let read = |text: &String| match Rcode::parse(text) {
        Some(Rcode::NOERROR) if name == "failover" => {
            Err(problem("failover: NOERROR is no failure".into()))
        }
        Some(code) => Ok(code),
        None => Err(problem(format!("\"{text}\" is no response code"))),
    };
    option.args.iter().map(read).collect()
}

/// `[dns://]ADDRESS[:PORT]`, `tls://ADDRESS[%NAME][:PORT]` or a file.
fn target(directive: &Directive, text: &str) -> Result<Target, CorefileError> {
    let (address, tls) = match text.split_once("://") {
        Some(("dns", address)) => (address, false),
        Some(("tls", address)) => (address, true),
        Some((scheme, _)) => {
            let problem =
                format!("{scheme}:// is not supported in \"{text}\"; dns:// and tls:// are");
            return Err(directive.error(problem));
        }
        None => (text, false),
    };
    if address.starts_with('/') && !tls {
        return Ok(Target::File(address.into()));
    }
    let error = || directive.error(format!("upstream \"{text}\" is neither address nor file"));
    let (address, name) = match address.split_once('%').filter(|_| tls) {
        None => (address.to_owned(), None),
        Some((ip, name)) => match name.rsplit_once(':') {
            Some((name, port)) => (format!("{ip}:{port}"), Some(name.to_owned())),
            None => (ip.to_owned(), Some(name.to_owned())),
        },
    };
    let whole = address.parse().ok();
    let bare = address.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let port = if tls { 853 } else { 53 };
    let address = whole.or_else(|| bare.map(|ip| SocketAddr::new(ip, port))).ok_or_else(error)?;
    if let Some(name) = &name {
        rustls::pki_types::ServerName::try_from(name.as_str()).map_err(|_| error())?;
    }
    Ok(if tls { Target::Tls(address, name) } else { Target::Address(address) })
}

/// The addresses of `nameserver` lines (resolv.conf(5)).
pub(super) fn nameservers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().filter(|_| is_server)?;
        // A scope (`%eth0`) cannot be kept, and the address alone would not be reachable.
        address.parse().ok().map(|ip| SocketAddr::new(ip, 53))
    });
    servers.collect()
}

/// Those of `servers` that are not this server.
pub(super) fn others(servers: Vec<SocketAddr>, own: &[SocketAddr], file: &Path) -> Vec<SocketAddr> {
    let is_own = |server: &SocketAddr| {
        own.iter().any(|own| {
            let here =
                own.ip() == server.ip() || own.ip().is_unspecified() && server.ip().is_loopback();
            here && own.port() == server.port()
        })
    };
    let (own, others): (Vec<_>, Vec<_>) = servers.into_iter().partition(is_own);
    for upstream in own {
        let file = file.display();
        tracing::warn!(%upstream, %file, "leaving out an upstream that is this server itself");
    }
    others
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_names_upstreams() {
        let text =
            "# x\nsearch a\nnameserver 10.0.0.1\n nameserver fd00::1 \nnameserver fe80::1%e\n";
        let servers: Vec<_> = nameservers(text).iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[fd00::1]:53"]);
    }

    #[test]
    fn a_server_is_not_its_own_upstream() {
        let read = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let left = |own: &str| {
            let servers = vec![read("127.0.0.53:53"), read("10.0.0.1:53")];
            others(servers, &[read(own)], Path::new("resolv.conf")).len()
        };
        assert_eq!(left("[::]:53"), 1);
        assert_eq!(left("[::]:1053"), 2);
        assert_eq!(left("10.0.0.1:53"), 1);
        assert_eq!(left("127.0.0.1:53"), 2);
    }
}
