//! What arguments are made of: zones, networks, durations.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::Key;
use crate::dns::corefile::{CorefileError, Directive, DirectiveOption};
use crate::dns::zone::{Fallthrough, Zone};

/// The zones of a plugin's arguments; without any, those of the server block.
pub(crate) fn zones_or_block(
    directive: &Directive,
    args: &[String],
    keys: &[Key],
) -> Result<Vec<Zone>, CorefileError> {
    if args.is_empty() {
        let mut zones: Vec<Zone> = keys.iter().map(|key| key.zone.clone()).collect();
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

/// Networks in CIDR notation, and single addresses.
pub(crate) fn networks(
    directive: &Directive,
    line: usize,
    args: &[String],
) -> Result<Vec<IpNet>, CorefileError> {
    let read = |text: &String| {
        let network = text.parse::<IpNet>().ok().map(|network| network.trunc());
        let network = network.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.ok_or_else(|| directive.error_at(line, format!("\"{text}\" is no network")))
    };
    args.iter().map(read).collect()
}

pub(crate) fn fallthrough(
    directive: &Directive,
    option: &DirectiveOption,
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
