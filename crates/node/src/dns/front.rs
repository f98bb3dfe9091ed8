//! What stands around a server block's answers: who may ask, how much, and what is made of question
//! and answer. A block without such plugins has no front, and pays nothing for it.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Instant;

use ipnet::IpNet;
use portolan_model::names::RecordType;

use super::config::SiteConfig;
use super::corefile::CorefileError;
use super::metrics::Author;
use super::plugin::acl::{AclConfig, Action};
use super::plugin::autopath::{self, Autopath, Candidates};
use super::plugin::ratelimit::{RateLimit, Share};
use super::plugin::rewrite::{Rewritten, Rule, rewrite, with_question};
use super::plugin::weighted::Weighted;
use super::record::{Edited, Parts, attach_option, read, write};
use super::site::{Asked, Now, Site, Wait};
use super::trim::keep_answers;
use super::wire::{CLASS_IN, HEADER, Query, Rcode, Reply, Section};

/// Extended errors (RFC 8914) that say why there is no answer.
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: &[u8] = &[0, 15];
const FILTERED: &[u8] = &[0, 17];

const HINFO: RecordType = RecordType(13);
/// How long resolvers may keep it that ANY is not answered; CoreDNS's figure.
const ANY_TTL: u32 = 8482;

#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) ratelimit: Option<RateLimit>,
    bufsize: Option<u16>,
    any: bool,
    rewrite: Vec<Rule>,
    autopath: Option<Autopath>,
    acl: Vec<AclConfig>,
    minimal: bool,
    pub(crate) weighted: Option<Weighted>,
    prefer: Vec<IpNet>,
}

/// What became of a question on its way in.
enum Way {
    /// As it was.
    Same,
    Rewritten(Rewritten),
    Unusable,
}

impl Front {
    /// `None` when the server block has none of these plugins.
    ///
    /// # Errors
    /// When a file that one of them needs cannot be used.
    pub(crate) fn new(config: &SiteConfig) -> Result<Option<Box<Self>>, CorefileError> {
        let front = Self {
            ratelimit: config.ratelimit.clone().map(RateLimit::new),
            bufsize: config.bufsize,
            any: config.any,
            rewrite: config.rewrite.clone(),
            autopath: config.autopath.as_ref().map(Autopath::new),
            acl: config.acl.clone(),
            minimal: config.minimal,
            weighted: config.weighted.clone().map(Weighted::new).transpose()?,
            prefer: config.prefer.clone(),
        };
        let idle = front.ratelimit.is_none()
            && front.bufsize.is_none()
            && !front.any
            && front.rewrite.is_empty()
            && front.autopath.is_none()
            && front.acl.is_empty()
            && !front.minimal
            && front.weighted.is_none()
            && front.prefer.is_empty();
        Ok((!idle).then(|| Box::new(front)))
    }

    /// Whether some rule turns this class into IN.
    pub(crate) fn takes_class(&self, class: u16) -> bool {
        self.rewrite.iter().any(|rule| rule.class() == Some(class))
    }

    /// Appends the answer to a query, or nothing if it has to be waited for.
    pub(crate) fn answer_now(&self, site: &Site, asked: &Asked<'_, '_>, out: &mut Vec<u8>) -> Now {
        let query = &self.sized(asked.query);
        let start = out.len();
        if let Some(limit) = &self.ratelimit {
            let refused = |out: &mut Vec<u8>, rcode| {
                Now::Done(Reply::empty(out, query, rcode), Author::Ratelimit)
            };
            match limit.ask(asked.peer().ip(), query.transport, asked.now) {
                Share::Answer => {}
                Share::Nothing => return Now::Done(Rcode::REFUSED, Author::Ratelimit),
                Share::Refused => return refused(out, Rcode::REFUSED),
                Share::Truncated => {
                    let done = refused(out, Rcode::NOERROR);
                    out[start + 2] |= 0x02;
                    return done;
                }
            }
        }
        if self.any && query.kind == RecordType::ANY {
            return Now::Done(refuse_any(query, out), Author::Any);
        }
        let asked = &Asked { query, ..*asked };
        let now = match self.way(asked) {
            Way::Unusable => {
                return Now::Done(Reply::empty(out, query, Rcode::REFUSED), Author::Nobody);
            }
            Way::Same => self.walk_now(site, asked, out),
            Way::Rewritten(rewritten) => {
                let Ok(other) = Query::parse(&rewritten.message, query.transport) else {
                    let rcode = Reply::empty(out, query, Rcode::SERVFAIL);
                    return Now::Done(rcode, Author::Nobody);
                };
                let other = Asked { query: &other, options: &rewritten.options, ..*asked };
                let mut scratch = Vec::new();
                match self.walk_now(site, &other, &mut scratch) {
                    Now::Done(_, author) => {
                        Now::Done(restore(&rewritten, query, &scratch, out), author)
                    }
                    later => later,
                }
            }
        };
        if matches!(now, Now::Done(..)) {
            self.finish(query, start, out);
        }
        now
    }

    /// Appends the answer that [`Front::answer_now`] had to leave.
    pub(crate) async fn answer_later(
        &self,
        site: &Site,
        asked: &Asked<'_, '_>,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        let query = &self.sized(asked.query);
        let asked = &Asked { query, ..*asked };
        let start = out.len();
        let done = match self.way(asked) {
            Way::Unusable => (Reply::empty(out, query, Rcode::REFUSED), Author::Nobody),
            Way::Same => self.walk_later(site, asked, wait, out).await,
            Way::Rewritten(rewritten) => {
                let Ok(other) = Query::parse(&rewritten.message, query.transport) else {
                    return (Reply::empty(out, query, Rcode::SERVFAIL), Author::Nobody);
                };
                let other = Asked { query: &other, options: &rewritten.options, ..*asked };
                let mut scratch = Vec::new();
                let (_, author) = self.walk_later(site, &other, wait, &mut scratch).await;
                (restore(&rewritten, query, &scratch, out), author)
            }
        };
        self.finish(query, start, out);
        done
    }

    /// The query with no more room than `bufsize` allows.
    fn sized<'m>(&self, query: &Query<'m>) -> Query<'m> {
        let mut query = query.clone();
        if let (Some(bufsize), Some(edns)) = (self.bufsize, &mut query.edns) {
            edns.udp_size = edns.udp_size.min(bufsize);
        }
        query
    }

    fn way(&self, asked: &Asked<'_, '_>) -> Way {
        if self.rewrite.is_empty() {
            return if asked.class == CLASS_IN { Way::Same } else { Way::Unusable };
        }
        match rewrite(&self.rewrite, asked.query, asked.class, asked.peer()) {
            Ok(None) => Way::Same,
            Ok(Some(rewritten)) => Way::Rewritten(rewritten),
            Err(_) => Way::Unusable,
        }
    }

    fn candidates(&self, site: &Site, asked: &Asked<'_, '_>) -> Option<Candidates> {
        let autopath = self.autopath.as_ref()?;
        autopath.candidates(site, asked.query, asked.peer().ip())
    }

    /// Walks the client's search path, as far as that needs no waiting.
    fn walk_now(&self, site: &Site, asked: &Asked<'_, '_>, out: &mut Vec<u8>) -> Now {
        let Some(candidates) = self.candidates(site, asked) else {
            return self.admit(site, asked, out);
        };
        let mut walk = Walk::new(asked.query);
        for name in candidates {
            let message = with_question(asked.query, &name, asked.query.kind, false);
            let Ok(other) = Query::parse(&message, asked.query.transport) else { break };
            let mut scratch = Vec::new();
            match self.admit(site, &Asked { query: &other, ..*asked }, &mut scratch) {
                Now::Later(_) => return Now::Later(Wait::Path),
                Now::Done(rcode, author) => {
                    if walk.is_over(rcode, author, scratch) {
                        break;
                    }
                }
            }
        }
        let (rcode, author) = walk.write(out);
        Now::Done(rcode, author)
    }

    async fn walk_later(
        &self,
        site: &Site,
        asked: &Asked<'_, '_>,
        wait: Wait,
        out: &mut Vec<u8>,
    ) -> (Rcode, Author) {
        let candidates = self.candidates(site, asked).filter(|_| wait == Wait::Path);
        let Some(candidates) = candidates else {
            return match wait {
                // The pod has gone in the meantime.
                Wait::Path => (Reply::empty(out, asked.query, Rcode::SERVFAIL), Author::Nobody),
                wait => site.answer_later(asked, wait, out).await,
            };
        };
        let mut walk = Walk::new(asked.query);
        for name in candidates {
            let message = with_question(asked.query, &name, asked.query.kind, false);
            let Ok(other) = Query::parse(&message, asked.query.transport) else { break };
            let mut scratch = Vec::new();
            let other = Asked { query: &other, ..*asked };
            let (rcode, author) = self.settle(site, &other, &mut scratch).await;
            if walk.is_over(rcode, author, scratch) {
                break;
            }
        }
        walk.write(out)
    }

    fn settle<'a>(
        &'a self,
        site: &'a Site,
        asked: &'a Asked<'_, '_>,
        out: &'a mut Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = (Rcode, Author)> + Send + 'a>> {
        Box::pin(async move {
            match self.admit(site, asked, out) {
                Now::Done(rcode, author) => (rcode, author),
                Now::Later(wait) => site.answer_later(asked, wait, out).await,
            }
        })
    }

    /// Answers those who may ask.
    fn admit(&self, site: &Site, asked: &Asked<'_, '_>, out: &mut Vec<u8>) -> Now {
        let start = out.len();
        let query = asked.query;
        let decided = self.acl.iter().map(|acl| acl.decide(query, asked.peer().ip()));
        let refuse = |rcode, why, out: &mut Vec<u8>| {
            Reply::empty(out, query, rcode);
            attach_option(query, start, EXTENDED_ERROR, why, out);
            Now::Done(rcode, Author::Acl)
        };
        match decided.into_iter().find(|action| *action != Action::Allow) {
            None | Some(Action::Allow) => site.answer(asked, out),
            Some(Action::Block) => refuse(Rcode::REFUSED, BLOCKED, out),
            Some(Action::Filter) => refuse(Rcode::NOERROR, FILTERED, out),
            Some(Action::Drop) => Now::Done(Rcode::REFUSED, Author::Acl),
        }
    }

    /// Puts the last touches to the answer that begins at `start`.
    fn finish(&self, query: &Query<'_>, start: usize, out: &mut Vec<u8>) {
        if out.len() < start + HEADER {
            return;
        }
        if (self.weighted.is_some() || !self.prefer.is_empty())
            && let Some(mut parts) = read(&out[start..])
        {
            let draw = |below| rand::random_range(0..below);
            let weighted = self.weighted.as_ref();
            let drawn = weighted.is_some_and(|w| w.order(&mut parts, query.kind, draw));
            if order(&mut parts, &self.prefer) | drawn {
                out.truncate(start);
                write(query, &parts, Edited::default(), out);
            }
        }
        if self.minimal {
            keep_answers(start, out);
        }
    }
}

/// What a walk along a search path has found.
struct Walk<'a, 'm> {
    query: &'a Query<'m>,
    /// The answer to what was asked.
    first: Option<(Rcode, Author, Vec<u8>)>,
    /// The first name that exists, if it is not that one.
    found: Option<(Author, Vec<u8>)>,
}

impl<'a, 'm> Walk<'a, 'm> {
    fn new(query: &'a Query<'m>) -> Self {
        Self { query, first: None, found: None }
    }

    /// Takes the answer to the next name; true when there is no point in going on. What cannot be
    /// said of one name must not be decided by the next: then the client has to walk by itself.
    fn is_over(&mut self, rcode: Rcode, author: Author, answer: Vec<u8>) -> bool {
        let exists = rcode == Rcode::NOERROR;
        if self.first.is_none() {
            self.first = Some((rcode, author, answer));
        } else if exists {
            self.found = Some((author, answer));
        }
        rcode != Rcode::NXDOMAIN
    }

    fn write(self, out: &mut Vec<u8>) -> (Rcode, Author) {
        if let Some((author, answer)) = self.found
            && let Some(mut parts) = read(&answer)
        {
            autopath::alias(&mut parts, &self.query.message[HEADER..self.query.question_end() - 5]);
            return (write(self.query, &parts, Edited::default(), out), author);
        }
        let (rcode, author, answer) =
            self.first.unwrap_or((Rcode::SERVFAIL, Author::Nobody, Vec::new()));
        match read(&answer) {
            Some(parts) => (write(self.query, &parts, Edited::default(), out), author),
            // Dropped.
            None if author == Author::Acl => (rcode, author),
            None => (Reply::empty(out, self.query, rcode), author),
        }
    }
}

fn restore(rewritten: &Rewritten, query: &Query<'_>, answer: &[u8], out: &mut Vec<u8>) -> Rcode {
    if answer.is_empty() {
        // Dropped.
        return Rcode::REFUSED;
    }
    let Some(mut parts) = read(answer) else {
        return Reply::empty(out, query, Rcode::SERVFAIL);
    };
    rewritten.restore(&mut parts);
    write(query, &parts, Edited::default(), out)
}

/// One small record instead of all there are (RFC 8482, 4.2).
fn refuse_any(query: &Query<'_>, out: &mut Vec<u8>) -> Rcode {
    let mut reply = Reply::new(out, query);
    reply.record(Section::Answer, HEADER, HINFO, ANY_TTL, |reply| {
        reply.bytes(b"\x0dANY obsoleted\x0cSee RFC 8482");
    });
    reply.finish(Rcode::NOERROR, true, false)
}

/// Puts addresses of preferred networks first, in the order of the networks; false when nothing
/// moves.
fn order(parts: &mut Parts, prefer: &[IpNet]) -> bool {
    let rank = |data: &[u8]| {
        let address: Option<IpAddr> = match data.len() {
            4 => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => None,
        };
        let of = |address: IpAddr| prefer.iter().position(|network| network.contains(&address));
        address.and_then(of).unwrap_or(prefer.len())
    };
    let answers = &mut parts.sections[0];
    let is_address = |kind: RecordType| matches!(kind, RecordType::A | RecordType::AAAA);
    let places: Vec<usize> =
        (0..answers.len()).filter(|at| is_address(answers[*at].kind)).collect();
    let mut addresses: Vec<_> = places.iter().map(|at| answers[*at].clone()).collect();
    addresses.sort_by_key(|record| rank(&record.data));
    let moved = places.iter().zip(&addresses).any(|(at, record)| answers[*at] != *record);
    for (at, record) in places.into_iter().zip(addresses) {
        answers[at] = record;
    }
    moved
}

/// The address of a client, when somebody wants to know it.
pub(crate) type Peer<'a> = &'a (dyn Fn() -> SocketAddr + Sync);

/// What every question has around it.
pub(crate) fn asked<'a, 'm>(
    query: &'a Query<'m>,
    peer: Peer<'a>,
    now: Instant,
    class: u16,
    routes: &'a super::site::Routes,
) -> Asked<'a, 'm> {
    Asked { query, peer, now, class, routes, options: &[] }
}
