//! Zones by themselves.

use portolan_model::names::{RecordType, to_text, to_wire};

use super::*;
use crate::dns::record::Record;
use crate::dns::wire::{Rcode, type_name};

const ZONE: &str = "$ORIGIN example.org.\n$TTL 300\n\
@ IN SOA ns.example.org. admin.example.org. ( 2024010101 7200 3600 1209600 60 )\n\
@ IN NS ns\n@ IN NS ns.other.net.\nns IN A 192.0.2.1\nns IN AAAA 2001:db8::1\n\
www IN A 192.0.2.2\n    IN A 192.0.2.3\nalias IN CNAME www\nfar IN CNAME www.other.net.\n\
round1 IN CNAME round2\nround2 IN CNAME round1\n\
*.wild IN A 192.0.2.4\n*.wild IN TXT \"a b\" c\nexact.wild IN MX 10 www\n\
a.deep.ent IN A 192.0.2.5\nsub IN NS ns.sub\nns.sub IN A 192.0.2.6\n\
old IN DNAME new.example.org.\nx.new IN A 192.0.2.7\n\
_sip._tcp IN SRV 0 5 5060 www\n*.cn IN CNAME www\n";

fn zone(text: &str) -> Result<ZoneData, String> {
    ZoneData::parse(&Zone::parse("example.org").expect("a zone")[0], text)
}

fn show(records: &[Record]) -> Vec<String> {
    let line = |record: &Record| {
        let target = match record.kind {
            RecordType::A => record.data.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
            _ => record.target().map(to_text).unwrap_or_default(),
        };
        format!("{} {} {target}", to_text(&record.owner), type_name(record.kind.0))
    };
    records.iter().map(line).collect()
}

fn ask(name: &str, kind: RecordType) -> Found {
    let name = to_wire(&format!("{name}.example.org")).expect("a name");
    zone(ZONE).expect("a zone").lookup(&name, kind)
}

fn answers(name: &str, kind: RecordType) -> Vec<String> {
    show(&ask(name, kind).parts.sections[0])
}

#[test]
fn a_zone_answers_as_the_standards_say() {
    use RecordType as T;
    assert_eq!(answers("www", T::A).len(), 2);
    assert_eq!(ask("www", T::A).parts.sections[1].len(), 2, "the zone's servers");
    assert_eq!(
        answers("alias", T::A)[..2],
        ["alias.example.org. CNAME www.example.org.", "www.example.org. A 192.0.2.2"]
    );
    assert_eq!(answers("alias", T::CNAME).len(), 1);
    let far = ask("far", T::A);
    assert_eq!(far.chase.map(|name| to_text(&name)).as_deref(), Some("www.other.net."));
    // Wildcards, but not past a name that is there (RFC 4592, 2.2.1).
    assert_eq!(answers("x.y.wild", T::A), ["x.y.wild.example.org. A 192.0.2.4"]);
    assert!(answers("exact.wild", T::A).is_empty());
    assert_eq!(ask("exact.wild", T::A).parts.rcode, Rcode::NOERROR);
    assert_eq!(ask("x.exact.wild", T::A).parts.rcode, Rcode::NXDOMAIN);
    assert_eq!(answers("q.cn", T::A)[0], "q.cn.example.org. CNAME www.example.org.");
    // Names without records that have names below them exist (RFC 8020).
    for (name, rcode) in [
        ("ent", Rcode::NOERROR),
        ("deep.ent", Rcode::NOERROR),
        ("b.deep.ent", Rcode::NXDOMAIN),
        ("nope", Rcode::NXDOMAIN),
        ("wild", Rcode::NOERROR),
    ] {
        let parts = ask(name, T::A).parts;
        assert_eq!((parts.rcode, parts.sections[0].len()), (rcode, 0), "{name}");
        assert_eq!(show(&parts.sections[1]).len(), 1, "{name}: the SOA record");
    }
    let delegated = ask("a.b.sub", T::A).parts;
    assert!(!delegated.authoritative && delegated.sections[0].is_empty());
    assert_eq!(show(&delegated.sections[1]), ["sub.example.org. NS ns.sub.example.org."]);
    assert_eq!(show(&delegated.sections[2]), ["ns.sub.example.org. A 192.0.2.6"]);
    assert!(ask("sub", DS_TYPE).parts.authoritative, "DS is the parent's to answer");
    assert_eq!(
        answers("x.old", T::A),
        [
            "old.example.org. DNAME new.example.org.",
            "x.old.example.org. CNAME x.new.example.org.",
            "x.new.example.org. A 192.0.2.7"
        ]
    );
    assert_eq!(ask("_sip._tcp", T::SRV).parts.sections[2].len(), 2);
    assert!(answers("round1", T::A).len() > 2, "a circle ends");
}

const DS_TYPE: RecordType = RecordType(43);

#[test]
fn a_transfer_has_every_record_between_two_soa() {
    let records = zone(ZONE).expect("a zone").transfer();
    assert_eq!(records.first(), records.last());
    assert_eq!(records.len(), 22);
}

#[test]
fn zones_that_cannot_be_used_say_why() {
    let soa = "@ IN SOA ns admin 1 2 3 4 5\n";
    for (text, words) in [
        ("www IN A 1.2.3.4\n".to_owned(), "no SOA"),
        (format!("{soa}{soa}").replacen("1 2", "7 2", 1), "more than one SOA"),
        (format!("{soa}www IN A 1.2.3\n"), "IPv4"),
        (format!("{soa}www.other.net. IN A 1.2.3.4\n"), "outside"),
        (format!("{soa}www IN A 1.2.3.4\nwww IN CNAME x\n"), "CNAME"),
        (format!("{soa}w IN DNAME a\nw IN DNAME b\n"), "DNAME"),
        (format!("{soa}x IN SOA ns admin 1 2 3 4 5\n"), "not its apex"),
        (format!("{soa}$INCLUDE other\n"), "INCLUDE"),
    ] {
        let error = zone(&text).expect_err(&text);
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_changed_file_counts_once_its_serial_moves() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("db");
    let lay = |serial: u32, address: &str, age: u64| {
        let text = format!("@ 60 IN SOA ns admin {serial} 2 3 4 5\nwww 60 IN A {address}\n");
        std::fs::write(&path, text).expect("written");
        let file = std::fs::File::options().append(true).open(&path).expect("opened");
        let when = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(when).expect("its time is set");
    };
    lay(1, "192.0.2.1", 100);
    let parsed = crate::dns::corefile::parse(
        &format!("example.org {{\n file {}\n}}", path.display()),
        Path::new("."),
        &|_| None,
    );
    let directive = &parsed.expect("a Corefile").blocks[0].directives[0];
    let zone = Zone::parse("example.org").expect("a zone").remove(0);
    let keys = [Key { scheme: crate::dns::config::Scheme::Dns, zone, port: 53 }];
    let file = File::new(FileConfig::read(directive, &keys).expect("read")).expect("loaded");
    let name = to_wire("www.example.org").expect("a name");
    let address = || {
        let data = file.zone(&name).and_then(|zone| zone.data()).expect("a zone");
        data.lookup(&name, RecordType::A).parts.sections[0][0].data[3]
    };
    assert_eq!(address(), 1);
    lay(1, "192.0.2.2", 90);
    file.load();
    assert_eq!(address(), 1, "the serial is the same");
    lay(2, "192.0.2.3", 80);
    file.load();
    assert_eq!(address(), 3);
    std::fs::write(&path, "nonsense").expect("written");
    file.load();
    assert_eq!(address(), 3, "the old one stays");
}
