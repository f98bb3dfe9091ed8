//! Aliases that lead out of what a plugin knows: whatever this server says of their targets.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use domain::base::iana::{Class, Rtype};
use domain::base::message_builder::{AnswerBuilder, MessageBuilder};
use domain::base::name::Name;
use domain::base::{Message, Ttl};
use domain::rdata::{AllRecordData, Cname};
use futures::future::BoxFuture;
use portolan_model::names::RecordType;

use super::plugin::kubernetes::Kubernetes;
use super::record::{Parts, read};
use super::site::{Asked, Now, Routes, Site, Wait};
use super::wire::{CLASS_IN, HEADER, Query, Rcode, Reply, Transport};

/// How long an alias waits for its target's addresses before it is answered without them: long
/// enough for an upstream to be found silent, and below the two seconds or more after which
/// clients ask again.
const ALIAS_PATIENCE: Duration = Duration::from_millis(1200);

/// How many aliases are followed from server block to server block.
const MAX_DEPTH: u8 = 4;

/// Answers an ExternalName that leads out of the cluster: the CNAME records, then whatever this
/// server says of the last target.
pub(super) async fn of_cluster(
    kubernetes: &Kubernetes,
    asked: &Asked<'_, '_>,
    depth: u8,
    recursion: bool,
    out: &mut Vec<u8>,
) -> Rcode {
    let query = asked.query;
    let chain = kubernetes.aliases(query);
    let Some(target) = chain.last() else {
        // It has changed while we were getting here.
        return Reply::empty(out, query, Rcode::SERVFAIL);
    };
    let found = patient(asked.routes, target.clone(), query.kind, depth).await;
    let message = compose(query, &chain, kubernetes.ttl(), &found);
    let mut reply = Reply::new(out, query);
    let rcode = message.map_or(Rcode::SERVFAIL, |message| {
        let counts = u16::from_be_bytes([message[6], message[7]]);
        reply.answers_or_truncate(&message[query.question_end()..], counts);
        Rcode::NOERROR
    });
    reply.finish(rcode, true, recursion)
}

/// Completes an answer that ends in an alias for `target`.
pub(super) async fn complete(
    routes: &Routes,
    parts: &mut Parts,
    target: Vec<u8>,
    kind: RecordType,
    depth: u8,
) {
    let found = patient(routes, target, kind, depth).await;
    let Some(found) = read(&found) else { return };
    // RFC 6604, 3: the code is that of the last name; when nobody here can say, the alias is all.
    if !matches!(found.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
        return;
    }
    parts.rcode = found.rcode;
    let [answers, authority, _] = found.sections;
    let useful = |kind: RecordType, wanted| kind == wanted || kind == RecordType::CNAME;
    parts.sections[0].extend(answers.into_iter().filter(|record| useful(record.kind, kind)));
    if found.rcode == Rcode::NXDOMAIN {
        parts.sections[1] = authority;
    }
}

async fn patient(routes: &Routes, target: Vec<u8>, kind: RecordType, depth: u8) -> Vec<u8> {
    let asking = resolve(routes, target, kind, depth + 1);
    tokio::time::timeout(ALIAS_PATIENCE, asking).await.unwrap_or_default()
}

/// What the server blocks say of `name`, whole; empty when they say nothing.
fn resolve(routes: &Routes, name: Vec<u8>, kind: RecordType, depth: u8) -> BoxFuture<'_, Vec<u8>> {
    Box::pin(async move {
        let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend_from_slice(&name);
        message.push(0);
        message.extend_from_slice(&kind.0.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00");
        let mut out = Vec::new();
        let Ok(query) = Query::parse(&message, Transport::Tcp) else { return out };
        let Some(route) = routes.find(query.name()) else { return out };
        let site: &Site = &route.site;
        let nobody = || SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let asked = Asked {
            query: &query,
            peer: &nobody,
            now: Instant::now(),
            class: CLASS_IN,
            routes,
            options: &[],
        };
        match site.answer(&asked, &mut out) {
            Now::Done(..) => {}
            Now::Later(Wait::Forward(index)) => {
                site.forward(&asked, index, true, &mut out).await;
            }
            Now::Later(wait) if depth < MAX_DEPTH => {
                site.follow(&asked, wait, depth, &mut out).await;
            }
            Now::Later(_) => {}
        }
        out
    })
}

/// An answer to `query` without OPT: a CNAME record for each of `chain`, and the answer records
/// of `found`.
fn compose(query: &Query<'_>, chain: &[Vec<u8>], ttl: u32, found: &[u8]) -> Option<Vec<u8>> {
    let absolute = |wire: &[u8]| Name::from_octets([wire, &[0]].concat()).ok();
    let builder =
        MessageBuilder::from_target(domain::base::StaticCompressor::new(Vec::new())).ok()?;
    let mut builder = builder.question();
    let kind = Rtype::from_int(query.kind.0);
    let end = query.question_end() - 4;
    let asked = Name::from_octets(query.message[HEADER..end].to_vec()).ok()?;
    builder.push((&asked, kind, Class::IN)).ok()?;
    let mut answer = builder.answer();
    let mut owner = asked;
    for target in chain {
        let target = absolute(target)?;
        let data = Cname::new(&target);
        answer.push((&owner, Class::IN, Ttl::from_secs(ttl), data)).ok()?;
        owner = target;
    }
    // Records that cannot be read are as good as none: the alias itself still is an answer.
    let whole = answer.as_message().as_slice().to_vec();
    match append(answer, found, kind) {
        Some(message) => Some(message),
        None => Some(whole),
    }
}

type Building = AnswerBuilder<domain::base::StaticCompressor<Vec<u8>>>;

fn append(mut answer: Building, found: &[u8], kind: Rtype) -> Option<Vec<u8>> {
    let found = Message::from_octets(found).ok()?;
    let records = found.answer().ok()?.limit_to::<AllRecordData<_, _>>();
    for record in records {
        let record = record.ok()?;
        if record.rtype() == kind || record.rtype() == Rtype::CNAME {
            answer.push((record.owner(), record.class(), record.ttl(), record.data())).ok()?;
        }
    }
    Some(answer.finish().into_target())
}
