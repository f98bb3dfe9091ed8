//! `hosts`: names and addresses from a file as /etc/hosts is, and from the Corefile itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use portolan_model::names::{RecordType, from_reverse, to_wire};

use super::super::config::{Key, duration, fallthrough, zones_or_block};
use super::super::corefile::{CorefileError, Directive};
use super::super::wire::{HEADER, Query, Rcode, Reply, Section};
use super::super::zone::{Fallthrough, Zone, longest};
use super::{Step, Surroundings};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostsConfig {
    pub(crate) file: PathBuf,
    zones: Vec<Zone>,
    inline: Vec<(IpAddr, Vec<String>)>,
    ttl: u32,
    reverse: bool,
    /// Whether changes of the file are followed.
    pub(crate) follow: bool,
    fallthrough: Option<Fallthrough>,
}

impl HostsConfig {
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let (file, zones) = match directive.args.split_first() {
            Some((file, zones)) => (PathBuf::from(file), zones),
            None => (PathBuf::from("/etc/hosts"), &[][..]),
        };
        let mut config = Self {
            file,
            zones: zones_or_block(directive, zones, keys)?,
            inline: Vec::new(),
            ttl: 3600,
            reverse: true,
            follow: true,
            fallthrough: None,
        };
        for option in &directive.options {
            match option.name.as_str() {
                "fallthrough" => config.fallthrough = Some(fallthrough(directive, option)?),
                "no_reverse" => {
                    directive.option_without_args(option)?;
                    config.reverse = false;
                }
                "ttl" => {
                    config.ttl = directive.one_as(option, "seconds, at least 1")?;
                    if config.ttl == 0 || config.ttl > 65_535 {
                        let problem = "ttl takes seconds from 1 to 65535";
                        return Err(directive.error_at(option.line, problem));
                    }
                }
                "reload" => {
                    let text = directive.one(option, "a duration")?;
                    let read = duration(text).ok_or_else(|| {
                        directive.error_at(option.line, format!("\"{text}\" is no duration"))
                    })?;
                    config.follow = !read.is_zero();
                }
                address => {
                    let Ok(address) = address.parse() else {
                        return Err(directive.unknown(option));
                    };
                    if option.args.is_empty() {
                        let problem = format!("{address} has no name");
                        return Err(directive.error_at(option.line, problem));
                    }
                    config.inline.push((address, option.args.clone()));
                }
            }
        }
        Ok(config)
    }
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Vec<u8>, Vec<IpAddr>>,
    by_address: HashMap<IpAddr, Vec<Vec<u8>>>,
}

impl Table {
    fn add(&mut self, address: IpAddr, name: &str) {
        let Some(wire) = to_wire(name).filter(|wire| !wire.is_empty()) else { return };
        let addresses = self.by_name.entry(wire.clone()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        let names = self.by_address.entry(address).or_default();
        if !names.contains(&wire) {
            names.push(wire);
        }
    }

    /// `ADDRESS NAME…` lines; `#` begins a comment, what cannot be read is passed over.
    fn add_text(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(address) = words.next().and_then(|word| word.parse().ok()) else { continue };
            words.for_each(|name| self.add(address, name));
        }
    }
}

#[derive(Debug)]
pub(crate) struct Hosts {
    config: HostsConfig,
    table: ArcSwap<Table>,
    /// When the file was changed last.
    modified: Mutex<Option<SystemTime>>,
}

impl Hosts {
    pub(crate) fn new(config: HostsConfig) -> Self {
        let hosts = Self { config, table: ArcSwap::default(), modified: Mutex::default() };
        hosts.load();
        hosts
    }

    /// The file that [`Hosts::load`] reads, if its changes are to be followed.
    pub(crate) fn followed(&self) -> Option<&Path> {
        self.config.follow.then_some(self.config.file.as_path())
    }

    /// Reads the file anew. One that is not there counts as empty.
    pub(crate) fn load(&self) {
        let mut table = Table::default();
        for (address, names) in &self.config.inline {
            names.iter().for_each(|name| table.add(*address, name));
        }
        let metadata = std::fs::metadata(&self.config.file);
        *self.modified.lock() = metadata.and_then(|metadata| metadata.modified()).ok();
        match std::fs::read(&self.config.file) {
            Ok(bytes) => table.add_text(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                let file = self.config.file.display();
                tracing::warn!(%file, %error, "cannot read the hosts file; going on without it");
            }
        }
        self.table.store(table.into());
    }

    pub(crate) fn entries(&self) -> usize {
        self.table.load().by_name.values().map(Vec::len).sum()
    }

    /// When the file that is in use was changed, in seconds.
    pub(crate) fn modified(&self) -> Option<f64> {
        let since = (*self.modified.lock())?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(since.as_secs_f64())
    }

    pub(crate) fn file(&self) -> &Path {
        &self.config.file
    }

    pub(crate) fn answer(
        &self,
        query: &Query<'_>,
        around: Surroundings,
        out: &mut Vec<u8>,
    ) -> Step {
        let name = query.name();
        let table = self.table.load();
        if query.kind == RecordType::PTR {
            let names = from_reverse(name).and_then(|address| table.by_address.get(&address));
            let Some(names) = names.filter(|_| self.config.reverse) else { return Step::Next };
            let mut reply = Reply::new(out, query);
            for name in names {
                reply.record(Section::Answer, HEADER, query.kind, self.config.ttl, |reply| {
                    reply.bytes(name);
                    reply.bytes(&[0]);
                });
            }
            return Step::Done(reply.finish(Rcode::NOERROR, true, around.recursion));
        }
        if longest(&self.config.zones, name).is_none() {
            return Step::Next;
        }
        let Some(addresses) = table.by_name.get(name) else {
            let passes = self.config.fallthrough.as_ref().is_some_and(|fall| fall.passes(name));
            // CoreDNS's choice: there is no SOA record to put in an NXDOMAIN.
            return match passes {
                true => Step::Next,
                false => Step::Done(Reply::empty(out, query, Rcode::SERVFAIL)),
            };
        };
        let mut reply = Reply::new(out, query);
        let wanted = addresses.iter().filter(|address| match query.kind {
            RecordType::A => address.is_ipv4(),
            RecordType::AAAA => address.is_ipv6(),
            _ => false,
        });
        for address in wanted {
            reply.address(Section::Answer, HEADER, self.config.ttl, *address);
        }
        Step::Done(reply.finish(Rcode::NOERROR, true, around.recursion))
    }
}
