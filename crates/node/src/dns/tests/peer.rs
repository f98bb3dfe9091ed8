//! The same questions to this server and to the real CoreDNS, about the same objects of the same
//! API server: random clusters, random questions, equal answers, or a difference that is argued
//! here and in the README.
//!
//! Runs when `PORTOLAN_PEER_COREDNS` names the program; `PORTOLAN_PEER_ROUNDS` clusters are made
//! (4 without it).

mod cluster;
mod coredns;
mod question;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use domain::base::Message;
use domain::base::iana::Rtype;
use domain::rdata::AllRecordData;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;

use self::cluster::Cluster;
use self::coredns::{CoreDns, Upstream, serve_api};
use self::question::{Question, questions};
use super::harness::{query, send};
use crate::dns::DnsConfig;
use crate::dns::runtime::Server;
use crate::dns::store::Stores;

/// Sets of options of `kubernetes` that the servers are compared under.
const OPTIONS: &[&str] = &[
    "pods insecure\n ttl 30\n fallthrough in-addr.arpa ip6.arpa",
    "pods verified\n endpoint_pod_names",
    "pods disabled\n ignore empty_service\n ttl 0",
    "pods insecure\n namespaces one two",
    "noendpoints\n fallthrough",
    "pods verified\n namespace_labels team=red",
    "labels tier=gold\n ttl 3600",
];

/// What the question must be like, and what both said.
type Argument = fn(&Question, &Reply, &Reply) -> bool;

/// Differences that the README argues.
const ARGUED: &[(&str, Argument)] = &[
    ("an alias is one for every type, and stays when it leads nowhere", |_, ours, theirs| {
        ours.answer.iter().any(|record| record.contains(" CNAME ")) && theirs.answer.is_empty()
    }),
    ("a name with names below it exists, and so does one with other records", |asked, ours, _| {
        let parts: Vec<&str> = asked.lower.trim_end_matches(".cluster.local").split('.').collect();
        let below_service = parts.len() == 4 && parts[0].starts_with('_') && parts[3] == "svc";
        let fixed = matches!(parts[..], ["dns"] | ["ns", "dns"] | ["dns-version"]);
        ours.is_nodata() && (below_service || fixed || asked.is_reverse())
    }),
    ("TXT of a name that exists is NODATA everywhere", |asked, ours, theirs| {
        asked.kind == Rtype::TXT && ours.is_nodata() && theirs.is_denied_or_forwarded()
    }),
    ("SOA of a name that does not exist is denied like any other", |asked, ours, theirs| {
        asked.kind == Rtype::SOA && ours.is_denied_or_forwarded() && theirs.is_nodata()
    }),
    ("ANY has one small record", |asked, ours, theirs| {
        asked.kind == Rtype::ANY && ours.answer.len() == 1 && theirs.answer.is_empty()
    }),
    ("nothing lies below a pod's name or an address", |asked, ours, theirs| {
        let pod = asked.lower.strip_suffix(".pod.cluster.local");
        let below_pod = pod.is_some_and(|rest| rest.split('.').count() > 2);
        let below_address = asked.is_reverse() && asked.lower.split('.').count() > 34;
        (below_pod || below_address) && ours.is_denied_or_forwarded() && theirs.authoritative
    }),
    ("an endpoint in two slices weighs no more than others", |asked, ours, theirs| {
        let unweighed = |reply: &Reply| {
            let words = |line: &String| {
                let words = line.split(' ').enumerate().filter(|(place, _)| *place != 4);
                words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
            };
            reply.answer.iter().map(words).collect::<Vec<_>>()
        };
        asked.kind == Rtype::SRV
            && unweighed(ours) == unweighed(theirs)
            && ours.additional == theirs.additional
    }),
    ("the zone has a name server, also on a loopback address", |asked, ours, theirs| {
        let about = asked.kind == Rtype::NS || asked.lower == "ns.dns.cluster.local";
        about && ours.answer.len() == 1 && (theirs.answer.is_empty() || !theirs.authoritative)
    }),
    ("a pod has no ports", |asked, ours, theirs| {
        asked.kind == Rtype::SRV
            && ours.answer.is_empty()
            && theirs
                .answer
                .iter()
                .all(|record| record.contains(".pod.") && record.contains(" 0 100 0 "))
    }),
];

/// An answer, its records as sorted lines.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    rcode: String,
    authoritative: bool,
    answer: Vec<String>,
    authority: Vec<String>,
    additional: Vec<String>,
}

impl Reply {
    fn is_nodata(&self) -> bool {
        self.rcode == "NOERROR" && self.answer.is_empty()
    }
}

impl Reply {
    /// Said not to exist here, or asked of the upstream, which has its own opinion.
    fn is_denied_or_forwarded(&self) -> bool {
        self.rcode == "NXDOMAIN" || !self.authoritative
    }
}

fn reply(message: &Message<Vec<u8>>) -> Reply {
    let (_, answer, authority, additional) = message.sections().expect("sections");
    let lines = |section: domain::base::message::RecordSection<'_, Vec<u8>>| {
        let records = section.limit_to::<AllRecordData<_, _>>().map(|r| r.expect("a record"));
        let mut lines: Vec<String> = records
            .filter(|record| record.rtype() != Rtype::OPT)
            .map(|record| {
                // Owners keep the spelling of the question; names in data may be spelt either way.
                let data = match record.data() {
                    AllRecordData::Soa(soa) => format!(
                        "{} {} SERIAL {} {} {} {}",
                        soa.mname(),
                        soa.rname(),
                        soa.refresh().as_secs(),
                        soa.retry().as_secs(),
                        soa.expire().as_secs(),
                        soa.minimum().as_secs()
                    ),
                    data => data.to_string(),
                };
                let data = data.to_ascii_lowercase();
                let data = data.trim_end_matches('.');
                format!("{} {} {} {data}", record.owner(), record.ttl().as_secs(), record.rtype())
            })
            .collect();
        lines.sort();
        lines
    };
    Reply {
        rcode: message.header().rcode().to_string(),
        authoritative: message.header().aa(),
        answer: lines(answer),
        authority: lines(authority),
        additional: lines(additional),
    }
}

fn exchange(to: SocketAddr, asked: &Question) -> Reply {
    let message = query(&asked.name, asked.kind, 4096);
    let answer = (0..5).find_map(|_| send(to, &message, Duration::from_secs(3)));
    reply(&answer.unwrap_or_else(|| panic!("{to} does not answer {asked:?}")))
}

/// What both say to each question; the differences that nobody argued.
fn compare(
    ours: SocketAddr,
    theirs: SocketAddr,
    asked: &[Question],
    counts: &mut BTreeMap<&'static str, usize>,
) -> Vec<String> {
    let mut unknown = Vec::new();
    for asked in asked {
        let (mut our, mut their) = (exchange(ours, asked), exchange(theirs, asked));
        if asked.kind == Rtype::NS {
            // Each has its own idea of what addresses this machine has.
            our.additional.clear();
            their.additional.clear();
        }
        if our == their {
            *counts.entry("equal").or_default() += 1;
            continue;
        }
        match ARGUED.iter().find(|(_, applies)| applies(asked, &our, &their)) {
            Some((why, _)) => *counts.entry(why).or_default() += 1,
            None => unknown.push(format!("{asked:?}\n  ours   {our:?}\n  theirs {their:?}")),
        }
    }
    unknown
}

#[test]
fn answers_are_the_real_ones() {
    let Some(program) = std::env::var_os("PORTOLAN_PEER_COREDNS") else {
        eprintln!("skipped: PORTOLAN_PEER_COREDNS does not name a CoreDNS to compare with");
        return;
    };
    let rounds = std::env::var("PORTOLAN_PEER_ROUNDS").ok().and_then(|text| text.parse().ok());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let upstream = Upstream::start();
    let (mut counts, mut unknown) = (BTreeMap::new(), Vec::new());
    for seed in 0..rounds.unwrap_or(4) {
        let mut random = StdRng::seed_from_u64(seed);
        let cluster = runtime.block_on(Cluster::make(&mut random));
        let endpoint = runtime.block_on(serve_api(&cluster.api));
        for options in OPTIONS {
            let peer = CoreDns::start(&program, endpoint, options, upstream.address);
            let directory = tempfile::tempdir().expect("a directory");
            let corefile = directory.path().join("Corefile");
            let text = format!(
                ".:53 {{\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n {options}\n }}\n \
                 forward . {}\n}}\n",
                upstream.address
            );
            std::fs::write(&corefile, text).expect("written");
            let config = DnsConfig {
                corefile: Some(corefile),
                listen: Some("127.0.0.1:0".parse().expect("an address")),
                workers: 1,
                ..DnsConfig::default()
            };
            let stop = CancellationToken::new();
            let (address, stores, serving) = runtime.block_on(async {
                let client = kube::Client::new(cluster.api.service(), "default");
                let server =
                    Server::start(Some(client), config, Stores::default()).await.expect("started");
                let stores = server.stores();
                (server.addresses()[0], stores, tokio::spawn(server.serve(stop.clone())))
            });
            runtime.block_on(async {
                for store in &stores {
                    store.wait_synced().await;
                }
            });
            let asked = questions(&mut random, &cluster, 600);
            let found = compare(address, peer.address, &asked, &mut counts);
            unknown
                .extend(found.into_iter().map(|text| format!("seed {seed}, {options:?}: {text}")));
            stop.cancel();
            runtime.block_on(serving).expect("no panic").expect("a clean end");
        }
        cluster.api.stop();
    }
    eprintln!("{counts:#?}");
    unknown.sort();
    assert!(
        unknown.is_empty(),
        "{} differences:\n{}",
        unknown.len(),
        unknown[..unknown.len().min(40)].join("\n")
    );
}

/// Ports that are free for UDP and TCP just now.
fn free_ports() -> [u16; 2] {
    let sockets = [(); 2].map(|()| {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let address = tcp.local_addr().expect("an address");
        (UdpSocket::bind(address).expect("a socket"), tcp, address.port())
    });
    sockets.map(|(_, _, port)| port)
}
