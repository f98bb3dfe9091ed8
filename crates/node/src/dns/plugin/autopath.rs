//! `autopath`: the walk of a client's search path, taken for it in one step.
//!
//! A pod's resolver with `ndots:5` asks for `example.org.NAMESPACE.svc.cluster.local` before it asks
//! for `example.org`. When the first of those names does not exist, what the client would ask next
//! is looked up here, and the first answer is given with an alias from the name that was asked.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use portolan_model::names::to_wire;

use super::super::config::{Key, zones_or_block};
use super::super::corefile::{CorefileError, Directive};
use super::super::record::{Parts, Record};
use super::super::site::Site;
use super::super::wire::Query;
use super::super::zone::{Zone, longest};
use super::kubernetes::KubernetesConfig;
use portolan_model::names::{PodMode, RecordType, relative_labels};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AutopathConfig {
    zones: Vec<Zone>,
    from: Source,
    directive: Directive,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    /// The namespace of the pod that asks.
    Kubernetes,
    /// A file as /etc/resolv.conf is.
    File(PathBuf),
}

impl AutopathConfig {
    /// `autopath [ZONE…] RESOLV-CONF|@kubernetes`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        directive.no_options()?;
        let Some((from, zones)) = directive.args.split_last() else {
            return Err(directive.error("takes a file as /etc/resolv.conf is, or @kubernetes"));
        };
        let from = match from.strip_prefix('@') {
            Some("kubernetes") => Source::Kubernetes,
            Some(other) => {
                return Err(directive.error(format!("@{other} is not supported, @kubernetes is")));
            }
            None => Source::File(from.into()),
        };
        let zones = zones_or_block(directive, zones, keys)?;
        Ok(Self { zones, from, directive: directive.clone() })
    }

    /// Whether the `kubernetes` around it can say whose pod asks.
    pub(crate) fn fits(&self, kubernetes: &[KubernetesConfig]) -> Result<(), CorefileError> {
        let verified = |config: &KubernetesConfig| config.store.names.pods == PodMode::Verified;
        if self.from == Source::Kubernetes && !kubernetes.iter().any(verified) {
            let problem = "@kubernetes needs the plugin kubernetes with \"pods verified\"";
            return Err(self.directive.error(problem));
        }
        Ok(())
    }

    pub(crate) fn check(&self) -> Result<(), CorefileError> {
        match &self.from {
            Source::Kubernetes => Ok(()),
            Source::File(path) => std::fs::read_to_string(path).map(drop).map_err(|error| {
                self.directive.error(format!("cannot read {}: {error}", path.display()))
            }),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Autopath {
    zones: Vec<Zone>,
    from: Source,
    /// The domains of the file; for pods those that their nodes pass on to them.
    search: Vec<Vec<u8>>,
}

/// The names to try, the one that was asked first.
pub(crate) type Candidates = Vec<Vec<u8>>;

impl Autopath {
    pub(crate) fn new(config: &AutopathConfig) -> Self {
        let file = match &config.from {
            Source::Kubernetes => Path::new("/etc/resolv.conf"),
            Source::File(path) => path,
        };
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| {
            tracing::warn!(file = %file.display(), %error, "cannot read the search path");
            String::new()
        });
        Self { zones: config.zones.clone(), from: config.from.clone(), search: search(&text) }
    }

    /// What a client that asked for this would ask next; `None` when it is not the first name of a
    /// search.
    pub(crate) fn candidates(
        &self,
        site: &Site,
        query: &Query<'_>,
        peer: IpAddr,
    ) -> Option<Candidates> {
        let name = query.name();
        longest(&self.zones, name)?;
        let mut path = match self.from {
            Source::File(_) => self.search.clone(),
            Source::Kubernetes => {
                let (zone, namespace) =
                    site.kubernetes.iter().find_map(|plugin| plugin.client(name, peer))?;
                let services = [b"\x03svc", zone.wire()].concat();
                let mut path =
                    vec![[&namespace[..], &services].concat(), services, zone.wire().to_vec()];
                path.extend(self.search.iter().cloned());
                path
            }
        };
        path.push(Vec::new());
        let base = relative_labels(name, path.first().filter(|first| !first.is_empty())?)?;
        if base.is_empty() {
            return None;
        }
        let whole = path.iter().map(|domain| [base, domain].concat());
        Some(whole.filter(|name| name.len() < 255).collect())
    }
}

/// Puts an alias from what was asked before the answer to what was found instead.
pub(crate) fn alias(parts: &mut Parts, asked: &[u8]) {
    let found = parts.sections[0].iter().find(|record| !record.owner.eq_ignore_ascii_case(asked));
    let Some((owner, ttl)) = found.map(|record| (record.owner.clone(), record.ttl)) else { return };
    let alias = Record {
        owner: asked.to_vec(),
        kind: RecordType::CNAME,
        ttl,
        data: [&owner[..], &[0]].concat(),
    };
    parts.sections[0].insert(0, alias);
}

/// The domains of the last `search` line (resolv.conf(5)).
fn search(text: &str) -> Vec<Vec<u8>> {
    let mut lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("search" | "domain"))
            .then(|| words.filter_map(to_wire).filter(|domain| !domain.is_empty()).collect())
    });
    lines.next_back().unwrap_or_default()
}
