//! `transfer`: whole zones for other servers (RFC 5936), and word of their changes (RFC 1996).
//!
//! IXFR is answered with the whole zone, or with the SOA record alone when nothing has changed
//! (RFC 1995, 4).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use portolan_model::names::RecordType;
use tokio::net::UdpSocket;

use super::super::config::{Key, zones_or_block};
use super::super::corefile::{CorefileError, Directive};
use super::super::record::{Edited, Parts, Record, read, write};
use super::super::wire::{Query, Rcode, Reply, Transport};
use super::super::zone::{Zone, longest};
use super::file::{File, ServedZone};
use super::kubernetes::{Kubernetes, WholeZone};

pub(crate) const IXFR: RecordType = RecordType(251);
pub(crate) const AXFR: RecordType = RecordType(252);

/// Octets of records in one message; the rest is for its head and what compression does not save.
const BATCH: usize = 48 * 1024;

/// How often a notification is sent to one who does not answer it, and how long it is waited for.
const ATTEMPTS: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TransferConfig {
    zones: Vec<Zone>,
    to: Vec<SocketAddr>,
    everybody: bool,
    source: Option<IpAddr>,
}

impl TransferConfig {
    /// `transfer [ZONE…] { to ADDRESS…|*; source ADDRESS }`.
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let mut config = Self {
            zones: zones_or_block(directive, &directive.args, keys)?,
            to: Vec::new(),
            everybody: false,
            source: None,
        };
        for option in &directive.options {
            match option.name.as_str() {
                "to" if !option.args.is_empty() => {
                    for text in &option.args {
                        if text == "*" {
                            config.everybody = true;
                            continue;
                        }
                        let whole = text.parse().ok();
                        let bare = || text.parse::<IpAddr>().ok();
                        let to = whole.or_else(|| Some(SocketAddr::new(bare()?, 53)));
                        config.to.push(to.ok_or_else(|| {
                            let problem = format!("\"{text}\" is no address, nor is it \"*\"");
                            directive.error_at(option.line, problem)
                        })?);
                    }
                }
                "source" => config.source = Some(directive.one_as(option, "an address")?),
                _ => return Err(directive.unknown(option)),
            }
        }
        if config.to.is_empty() && !config.everybody {
            return Err(directive.error("says nobody to transfer to: to ADDRESS… or to *"));
        }
        Ok(config)
    }

    fn allows(&self, peer: IpAddr) -> bool {
        self.everybody || self.to.iter().any(|to| to.ip().to_canonical() == peer)
    }

    /// Tells the others of a zone's changes, and that it is there to begin with; ends with the
    /// zone.
    pub(crate) async fn notify(self, zone: Arc<ServedZone>) {
        let mut changes = zone.changed.subscribe();
        loop {
            let told = self.to.iter().map(|to| notify_one(&zone.zone, *to, self.source));
            futures::future::join_all(told).await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The zones of `files` whose changes somebody is to be told of.
    pub(crate) fn notified<'a>(
        &'a self,
        files: &'a [File],
    ) -> impl Iterator<Item = &'a Arc<ServedZone>> {
        let zones = files.iter().flat_map(|file| &file.zones);
        zones.filter(|served| {
            !self.to.is_empty() && longest(&self.zones, served.zone.wire()).is_some()
        })
    }
}

/// The messages that answer a request for a whole zone, over TCP.
pub(crate) fn answer(
    transfers: &[TransferConfig],
    files: &[File],
    clusters: &[Kubernetes],
    query: &Query<'_>,
    peer: IpAddr,
) -> (Rcode, Vec<Vec<u8>>) {
    let only = |rcode| {
        let mut message = Vec::new();
        Reply::empty(&mut message, query, rcode);
        (rcode, vec![message])
    };
    let name = query.name();
    let mut fitting = transfers.iter().filter(|transfer| longest(&transfer.zones, name).is_some());
    if query.transport != Transport::Tcp || !fitting.any(|transfer| transfer.allows(peer)) {
        return only(Rcode::REFUSED);
    }
    let (serial, mut records) = match clusters.iter().find(|cluster| cluster.serves(name)) {
        Some(cluster) => match cluster.whole(name) {
            Some(WholeZone { serial, records }) => (serial, records),
            None => return only(Rcode::SERVFAIL),
        },
        None => {
            let served = files.iter().find_map(|file| file.zone(name));
            let served = served.filter(|served| served.zone.wire() == name);
            match served.and_then(|served| served.data()) {
                Some(data) => (data.serial(), data.transfer()),
                None => return only(Rcode::NOTAUTH),
            }
        }
    };
    if query.kind == IXFR {
        let asked = read(query.message).and_then(|parts| {
            let [soa] = &parts.sections[1][..] else { return None };
            let at = soa.data.len().checked_sub(20)?;
            Some(u32::from_be_bytes(soa.data.get(at..at + 4)?.try_into().ok()?))
        });
        let Some(asked) = asked else { return only(Rcode::FORMERR) };
        // RFC 1982 arithmetic: the client has this zone, or a later one.
        if (serial.wrapping_sub(asked) as i32) <= 0 {
            records.truncate(1);
        }
    }
    let zone = portolan_model::names::to_text(name);
    tracing::info!(%peer, zone, records = records.len(), "zone is transferred");
    (Rcode::NOERROR, messages(query, records))
}

fn messages(query: &Query<'_>, records: Vec<Record>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut finish = |batch: Vec<Record>| {
        let sections = [batch, Vec::new(), Vec::new()];
        let parts = Parts { authoritative: true, sections, ..Parts::default() };
        let mut message = Vec::new();
        write(query, &parts, Edited::default(), &mut message);
        messages.push(message);
    };
    let (mut batch, mut size) = (Vec::new(), 0);
    for record in records {
        let octets = record.owner.len() + record.data.len() + 11;
        if size + octets > BATCH && !batch.is_empty() {
            finish(std::mem::take(&mut batch));
            size = 0;
        }
        size += octets;
        batch.push(record);
    }
    finish(batch);
    messages
}

async fn notify_one(zone: &Zone, to: SocketAddr, source: Option<IpAddr>) {
    let id: u16 = rand::random();
    let mut message = id.to_be_bytes().to_vec();
    // Opcode NOTIFY, authoritative (RFC 1996, 3.7).
    message.extend_from_slice(&[0x24, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(zone.wire());
    message.extend_from_slice(&[0, 0, 6, 0, 1]);
    let any = source.unwrap_or(if to.is_ipv4() {
        IpAddr::from([0, 0, 0, 0])
    } else {
        IpAddr::from([0_u16; 8])
    });
    let send = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(to).await?;
        let mut buffer = [0; 512];
        for _ in 0..ATTEMPTS {
            socket.send(&message).await?;
            let heard = async {
                loop {
                    let length = socket.recv(&mut buffer).await?;
                    if length > 3 && buffer[..2] == message[..2] && buffer[2] & 0xf8 == 0xa0 {
                        return Ok(());
                    }
                }
            };
            if let Ok(heard) = tokio::time::timeout(PATIENCE, heard).await {
                return heard;
            }
        }
        Err(std::io::Error::from(std::io::ErrorKind::TimedOut))
    };
    if let Err(error) = send.await {
        tracing::warn!(%zone, %to, %error, "cannot tell of a zone's change");
    }
}
