//! Rules by themselves.

use std::path::Path;

use super::*;
use crate::dns::corefile::parse;
use crate::dns::record::{Record, read};
use crate::dns::wire::Transport;

fn rules(text: &str) -> Result<Vec<Rule>, CorefileError> {
    let parsed = parse(&format!(". {{\n{text}\n}}"), Path::new("."), &|_| None)?;
    parsed.blocks[0].directives.iter().map(Rule::read).collect()
}

fn asked(name: &str, options: &[u8]) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    message.extend(to_wire(name).expect("a name"));
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message.extend_from_slice(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00");
    message.push(options.len() as u8);
    message.extend_from_slice(options);
    message
}

fn apply(text: &str, name: &str, options: &[u8]) -> Option<(String, Rewritten)> {
    let message = asked(name, options);
    let query = Query::parse(&message, Transport::Udp).expect("a query");
    let peer = "10.1.2.3:77".parse().expect("an address");
    let rewritten = rewrite(&rules(text).expect(text), &query, CLASS_IN, peer).expect("usable")?;
    let new = Query::parse(&rewritten.message, Transport::Udp).expect("a query");
    Some((to_text(new.name()), rewritten))
}

#[test]
fn names_are_rewritten_in_every_way() {
    for (rule, name, expected) in [
        ("rewrite name a.org b.org", "A.org", Some("b.org.")),
        ("rewrite name exact a.org. b.org.", "x.a.org", None),
        ("rewrite name prefix old- new-", "old-x.org", Some("new-x.org.")),
        ("rewrite stop name suffix .a.org .b.org", "x.a.org", Some("x.b.org.")),
        ("rewrite name substring us eu", "us.x.us.org", Some("eu.x.eu.org.")),
        (
            "rewrite name regex (.*)-(us-west-1)\\.example\\.org {1}.service.{2}.consul",
            "ftp-us-west-1.example.org",
            Some("ftp.service.us-west-1.consul."),
        ),
        ("rewrite continue name a.org b.org\nrewrite name b.org c.org", "a.org", Some("c.org.")),
        ("rewrite stop name a.org b.org\nrewrite name b.org c.org", "a.org", Some("b.org.")),
        ("rewrite stop {\n name suffix .a.org .b.org answer auto\n}", "x.a.org", Some("x.b.org.")),
    ] {
        let new = apply(rule, name, b"").map(|(name, _)| name);
        assert_eq!(new.as_deref(), expected, "{rule}");
    }
}

#[test]
fn options_for_upstreams_are_set_appended_replaced_and_unset() {
    let of = |rule: &str, options: &[u8]| {
        apply(rule, "a.org", options).map(|(_, rewritten)| rewritten.options)
    };
    let (none, old) = (&b""[..], &b"\xff\xee\x00\x01z"[..]);
    assert_eq!(of("rewrite edns0 local set 0xffee abc", none), Some(b"\xff\xee\x00\x03abc".into()));
    assert_eq!(
        of("rewrite edns0 local set 0xffee 0x6162", old),
        Some(b"\xff\xee\x00\x02ab".into())
    );
    assert_eq!(of("rewrite edns0 local append 0xffee abc", old), None);
    assert_eq!(of("rewrite edns0 local replace 0xffee abc", none), None);
    assert_eq!(
        of("rewrite edns0 local replace 65518 abc", old),
        Some(b"\xff\xee\x00\x03abc".into())
    );
    assert_eq!(of("rewrite edns0 local unset 0xffee", old), Some(Vec::new()));
    assert_eq!(of("rewrite edns0 nsid set", none), Some(b"\x00\x03\x00\x00".into()));
    let client = Some(b"\xff\xee\x00\x04\x0a\x01\x02\x03".into());
    assert_eq!(of("rewrite edns0 local set 0xffee {client_ip}", none), client);
    let subnet = Some(b"\x00\x08\x00\x07\x00\x01\x18\x00\x0a\x01\x02".into());
    assert_eq!(of("rewrite edns0 subnet set 24 56", none), subnet);
    // A cookie is between the client and us.
    let cookie = b"\x00\x0a\x00\x01c";
    assert_eq!(of("rewrite edns0 nsid append", cookie), Some(b"\x00\x03\x00\x00".into()));
}

#[test]
fn answers_are_changed_back() {
    let record = |owner: &str, target: &str| Record {
        owner: to_wire(owner).expect("a name"),
        kind: RecordType::CNAME,
        ttl: 60,
        data: [to_wire(target).expect("a name"), vec![0]].concat(),
    };
    for (rule, name, owner, target, expected) in [
        ("rewrite name a.org b.org", "a.org", "b.org", "x.b.org", ("a.org.", "x.a.org.", 60)),
        ("rewrite name suffix .a .b", "x.a", "x.b", "y.b", ("x.b.", "y.b.", 60)),
        ("rewrite name suffix .a .b answer auto", "x.a", "x.b", "y.b", ("x.a.", "y.a.", 60)),
        (
            "rewrite name regex (.*)\\.a\\. {1}.b answer name (.*)\\.b\\. {1}.a value (.*)\\.b\\. {1}.c",
            "x.a",
            "x.b",
            "y.b",
            ("x.a.", "y.c.", 60),
        ),
        ("rewrite ttl suffix .a 100-", "x.a", "x.a", "y.b", ("x.a.", "y.b.", 100)),
        ("rewrite ttl x.a -30", "x.a", "x.a", "y.b", ("x.a.", "y.b.", 30)),
        ("rewrite ttl regex .* 5", "x.a", "x.a", "y.b", ("x.a.", "y.b.", 5)),
    ] {
        let (_, rewritten) = apply(rule, name, b"").expect(rule);
        let sections = [vec![record(owner, target)], Vec::new(), Vec::new()];
        let mut parts = Parts { sections, ..Parts::default() };
        rewritten.restore(&mut parts);
        let got = &parts.sections[0][0];
        let target = to_text(got.target().expect("a target"));
        assert_eq!((to_text(&got.owner).as_str(), target.as_str(), got.ttl), expected, "{rule}");
    }
    let (_, rewritten) = apply("rewrite rcode regex .* SERVFAIL NOERROR", "a", b"").expect("fits");
    let mut parts = Parts { rcode: Rcode::SERVFAIL, ..Parts::default() };
    rewritten.restore(&mut parts);
    assert_eq!(parts.rcode, Rcode::NOERROR);
    assert!(read(&[]).is_none());
}

#[test]
fn mistakes_are_named() {
    for (text, words) in [
        ("rewrite", "field is missing"),
        ("rewrite cname exact a b", "not supported"),
        ("rewrite name a", "missing"),
        ("rewrite name fuzzy a b", "no match"),
        ("rewrite name regex ( b", "no regular expression"),
        ("rewrite name exact a b auto", "answer"),
        ("rewrite name exact a b answer all", "auto, name or value"),
        ("rewrite type A NOPE", "record type"),
        ("rewrite class IN XX", "no class"),
        ("rewrite ttl a soon", "no TTL"),
        ("rewrite ttl a 9-3", "no TTL"),
        ("rewrite rcode a SERVFAIL WHAT", "response code"),
        ("rewrite edns0 local set x y", "option's code"),
        ("rewrite edns0 local set 1 0xabc", "hexadecimal"),
        ("rewrite edns0 local set 1 {server_ip}", "not supported"),
        ("rewrite edns0 subnet set 33 56", "bits"),
        ("rewrite edns0 what set 1 2", "local, nsid or subnet"),
        ("rewrite edns0 nsid add", "set, append"),
        ("rewrite type A AAAA MX", "too many"),
    ] {
        let error = rules(text).expect_err(text);
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}
