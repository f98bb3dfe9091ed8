//! Templates by themselves.

use std::path::Path;

use portolan_model::names::to_wire;

use super::*;
use crate::dns::corefile::parse as parse_corefile;
use crate::dns::wire::Transport;

fn read(options: &str) -> Result<Template, CorefileError> {
    let text = format!(". {{\n template IN A example {{\n{options}\n}}\n}}");
    let parsed = parse_corefile(&text, Path::new("."), &|_| None)?;
    Template::read(&parsed.blocks[0].directives[0], &[])
}

fn answer(options: &str, name: &str) -> Option<Result<Parts, Failed>> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend(to_wire(name).expect("a name"));
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    let query = Query::parse(&message, Transport::Udp).expect("a query");
    read(options).expect(options).answer(&query, [10, 9, 8, 7].into())
}

fn address(options: &str, name: &str) -> [u8; 4] {
    let parts = answer(options, name).expect("for this name").expect("an answer");
    assert!(parts.authoritative);
    parts.sections[0][0].data[..].try_into().expect("an address")
}

#[test]
fn records_are_made_of_what_matched() {
    let ip = "match (^|[.])ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$\n\
              answer \"{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}\"";
    assert_eq!(address(ip, "x.ip-10-1-2-3.Example"), [10, 1, 2, 3]);
    let hex = "match ^ip0a(?P<b>[a-f0-9]{2})(..)(..)[.]example[.]$\n\
               answer \"{{ .Zone }} 60 {{ .Class }} {{ .Type }} 10.{{ parseInt .Group.b 16 8 }}.1.{{- index .Match 0 -}}\"";
    assert!(matches!(answer(hex, "ip0aff0102.example"), Some(Err(Failed::Record(..)))));
    let remote = "answer \"{{ .Name }} IN A {{ .Remote }}\"";
    assert_eq!(address(remote, "me.example"), [10, 9, 8, 7]);
    let hex =
        "match ^ip0a(?P<b>[a-f0-9]{2})\nanswer \"x. IN A 10.0.0.{{ parseInt .Group.b 16 8 }}\"";
    assert_eq!(address(hex, "ip0aff.example"), [10, 0, 0, 255]);
    let second = "match ^nope\nmatch ^(yes)\nanswer \"x. IN A 10.0.0.{{ index .Match 1 }}\"";
    assert!(matches!(answer(second, "yes.example"), Some(Err(Failed::Record(..)))));
    let absent = "answer \"x. IN A 10.0.0.{{ index .Match 7 }}\"";
    assert!(matches!(answer(absent, "yes.example"), Some(Err(Failed::Template(_)))));
}

#[test]
fn what_does_not_match_fails_or_falls_through() {
    assert_eq!(answer("match ^a", "b.example"), Some(Err(Failed::NoMatch)));
    assert_eq!(answer("match ^a\nfallthrough", "b.example"), None);
    assert_eq!(answer("match ^a\nfallthrough other", "b.example"), Some(Err(Failed::NoMatch)));
    assert_eq!(answer("rcode NXDOMAIN", "b.org"), None);
    let denied = answer("rcode NXDOMAIN\nederror 15 no", "b.example").expect("its zone");
    assert_eq!(denied.map(|parts| parts.rcode), Ok(Rcode::NXDOMAIN));
    let template = read("ederror 15 \"not here\"").expect("a template");
    assert_eq!(template.extended_error(), Some(&b"\x00\x0fnot here"[..]));
}

#[test]
fn mistakes_are_named() {
    for (options, words) in [
        ("match (", "no regular expression"),
        ("answer \"{{ .Message.Id }}\"", "not supported"),
        ("answer \"{{ if .Name }}\"", "not supported"),
        ("answer \"{{ .Name\"", "never closed"),
        ("answer \"{{ index .Match x }}\"", "no index"),
        ("answer \"{{ parseInt .Name 99 8 }}\"", "out of range"),
        ("rcode MAYBE", "response code"),
        ("ederror x", "extended error"),
        ("var x y", "not supported"),
    ] {
        let error = read(options).expect_err(options);
        assert!(error.to_string().contains(words), "{options}: {error}");
        assert_eq!(error.line, 3);
    }
}
