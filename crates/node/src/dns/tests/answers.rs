//! Plugins that stand around answers, or make them up.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::base::iana::{Rcode, Rtype};
use domain::base::opt::AllOptData;

use super::harness::*;

/// A server whose `forward` answers every name with two addresses.
fn behind(plugins: &str) -> Running {
    let to = scripted(|question, _| Some(reply_all(question, Rcode::NOERROR, &[7, 200])));
    start(&format!(". {{\n{plugins}\n forward . {to}\n}}"))
}

#[test]
fn names_are_rewritten_and_answers_fit_the_question() {
    let server = behind(
        " rewrite name exact old.example new.example\n \
         rewrite name suffix .a.example .b.example answer auto\n \
         rewrite stop {\n name regex (.*)\\.x\\.example\\. {1}.y.example\n answer name (.*)\\.y\\.example\\. {1}.x.example\n }\n \
         rewrite type ANY A\n rewrite ttl suffix .ttl.example 5\n \
         rewrite rcode exact none.example NOERROR NXDOMAIN",
    );
    let lines = |name, kind| show(&ask(server.address, name, kind));
    assert!(lines("old.example", Rtype::A).contains("= old.example 60 A 192.0.2.7"));
    assert!(lines("w.a.example", Rtype::A).contains("= w.a.example 60 A"));
    assert!(lines("w.x.example", Rtype::A).contains("= w.x.example 60 A"));
    assert!(lines("w.ttl.example", Rtype::A).contains("= w.ttl.example 5 A"));
    assert!(lines("none.example", Rtype::A).starts_with("NXDOMAIN"));
    let any = ask(server.address, "w.example", Rtype::ANY);
    assert_eq!(any.sole_question().expect("a question").qtype(), Rtype::ANY);
    assert_eq!(data(&any).len(), 2);
}

#[test]
fn other_classes_are_refused_unless_they_are_rewritten() {
    let asked = |server: &Running| {
        let mut message = query("host.example", Rtype::A, 0);
        let length = message.len();
        message[length - 1] = 3;
        let answer = send(server.address, &message, Duration::from_secs(8)).expect("an answer");
        assert_eq!(answer.as_slice()[12..length], message[12..], "the question is repeated");
        (answer.header().rcode(), answer.header_counts().ancount())
    };
    assert_eq!(asked(&behind("")), (Rcode::REFUSED, 0));
    assert_eq!(asked(&behind(" rewrite class CH IN")), (Rcode::NOERROR, 2));
    assert_eq!(asked(&behind(" rewrite class HS IN")), (Rcode::REFUSED, 0));
}

#[test]
fn options_reach_the_upstream() {
    let to = scripted(|question, _| {
        // The data of the option is answered as an address.
        let last = question.last().copied().filter(|_| question.ends_with(b"\xff\xee\x00\x01*"));
        Some(reply(question, Rcode::NOERROR, last))
    });
    let server = start(&format!(". {{\n rewrite edns0 local set 0xffee *\n forward . {to}\n}}"));
    assert_eq!(data(&ask(server.address, "a.example", Rtype::A)), ["192.0.2.42"]);
    // Also when the client speaks no EDNS; it does not get any back then.
    let plain = send(server.address, &query("a.example", Rtype::A, 0), Duration::from_secs(8));
    let plain = plain.expect("an answer");
    assert_eq!(data(&plain), ["192.0.2.42"]);
    assert!(plain.opt().is_none());
}

#[test]
fn templates_answer_and_their_aliases_are_followed() {
    let server = behind(
        " template IN A ip.example {\n match ^ip-(?P<d>[0-9]+)\\.ip\\.example\\.$\n \
         answer \"{{ .Name }} 60 IN A 10.0.0.{{ .Group.d }}\"\n fallthrough\n }\n \
         template IN ANY bad.example {\n rcode NXDOMAIN\n \
         authority \"bad.example. 60 IN SOA ns.bad.example. a.bad.example. (1 60 60 60 60)\"\n \
         ederror 15 \"not here\"\n }\n \
         template IN ANY go.example {\n answer \"{{ .Name }} 60 IN CNAME to.elsewhere.example.\"\n }\n \
         template IN A none.example {\n match ^x\n }",
    );
    let lines = |name, kind| show(&ask(server.address, name, kind));
    assert_eq!(lines("ip-9.ip.example", Rtype::A), "NOERROR aa\n= ip-9.ip.example 60 A 10.0.0.9\n");
    assert!(lines("other.ip.example", Rtype::A).contains("192.0.2.7"), "fallthrough");
    assert_eq!(lines("none.example", Rtype::A), "SERVFAIL\n");
    let denied = ask(server.address, "a.bad.example", Rtype::AAAA);
    assert!(show(&denied).starts_with("NXDOMAIN aa\n! bad.example 60 SOA"), "{}", show(&denied));
    let opt = denied.opt().expect("an OPT record");
    let errors = opt.opt().iter::<AllOptData<_, _>>().flatten().count();
    assert_eq!(errors, 1, "the extended error");
    let followed = lines("go.example", Rtype::A);
    assert!(followed.contains("= go.example 60 CNAME to.elsewhere.example."), "{followed}");
    assert!(followed.contains("= to.elsewhere.example 60 A 192.0.2.7"), "{followed}");
    assert!(!lines("go.example", Rtype::TXT).contains("192.0.2"));
}

#[test]
fn who_may_not_ask_is_blocked_filtered_or_dropped() {
    let server = behind(
        " acl block.example {\n block type A net 127.0.0.0/8\n }\n \
         acl filter.example {\n allow net 192.0.2.0/24\n filter\n }\n \
         acl drop.example {\n drop net 127.0.0.1\n }",
    );
    let lines = |name, kind| show(&ask(server.address, name, kind));
    assert_eq!(lines("a.block.example", Rtype::A), "REFUSED\n");
    assert!(lines("a.block.example", Rtype::AAAA).contains("192.0.2.7"));
    assert_eq!(lines("a.filter.example", Rtype::A), "NOERROR\n");
    assert!(lines("a.example", Rtype::A).contains("192.0.2.7"));
    let message = query("a.drop.example", Rtype::A, 0);
    assert!(send(server.address, &message, Duration::from_millis(300)).is_none());
}

#[test]
fn any_is_answered_small_and_minimal_leaves_out_the_rest() {
    let server = behind(" any");
    let any = show(&ask(server.address, "a.example", Rtype::ANY));
    assert!(any.contains("HINFO \"ANY obsoleted\" \"See RFC 8482\""), "{any}");
    let directory = tempfile::tempdir().expect("a directory");
    let zone = directory.path().join("db");
    let text = "@ 60 IN SOA ns a 1 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n\
                m 60 IN MX 1 ns\n";
    std::fs::write(&zone, text).expect("written");
    let ask_with = |plugin: &str, name| {
        let zone = zone.display();
        let server = start(&format!(". {{\n {plugin}\n file {zone} example.org\n}}"));
        show(&ask(server.address, name, Rtype::MX))
    };
    assert_eq!(
        ask_with("minimal", "m.example.org"),
        "NOERROR aa\n= m.example.org 60 MX 1 ns.example.org.\n"
    );
    let whole = ask_with("", "m.example.org");
    assert!(whole.contains("! example.org 60 NS") && whole.contains("+ ns.example.org"), "{whole}");
    assert!(ask_with("minimal", "x.example.org").contains("! example.org 60 SOA"));
}

#[test]
fn bufsize_bounds_what_clients_offer() {
    let server = start(". {\n bufsize 512\n kubernetes cluster.local\n}");
    fill(&server.stores[0]);
    let message = query("crowd.default.svc.cluster.local", Rtype::A, 4096);
    let answer = send(server.address, &message, Duration::from_secs(8)).expect("an answer");
    assert!(answer.header().tc() && answer.as_slice().len() <= 512);
}

#[test]
fn sets_from_elsewhere_turn_and_preferred_networks_come_first() {
    let server = behind(" loadbalance\n cache");
    let first = |_| data(&ask(server.address, "a.example", Rtype::A)).remove(0);
    assert_eq!((0..6).map(first).collect::<BTreeSet<_>>().len(), 2);
    let server = behind(" loadbalance {\n prefer 192.0.2.192/26\n }\n cache");
    let all: BTreeSet<_> =
        (0..6).map(|_| data(&ask(server.address, "a.example", Rtype::A)).join(" ")).collect();
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["192.0.2.200 192.0.2.7"]);
}

#[test]
fn a_client_gets_no_more_than_its_share() {
    let server = behind(" ratelimit 1 {\n burst 3\n }\n cache\n prometheus 127.0.0.1:0");
    let ask = || {
        let message = query("a.example", Rtype::A, 0);
        send(server.address, &message, Duration::from_millis(300))
            .map(|answer| answer.header().tc())
    };
    let answers: Vec<_> = (0..9).map(|_| ask()).collect();
    assert_eq!(answers[..3], [Some(false); 3]);
    assert!(answers[3..].contains(&None), "{answers:?}");
    assert!(answers[3..].contains(&Some(true)), "{answers:?}");
    let page = get(server.pages[0], "/metrics").1;
    assert!(page.contains("coredns_ratelimit_dropped_total{server=\"dns://:53\"}"), "{page}");
    let free = behind(" ratelimit 1 {\n burst 1\n whitelist 127.0.0.0/8\n }\n cache");
    let message = query("a.example", Rtype::A, 0);
    assert!((0..5).all(|_| send(free.address, &message, Duration::from_secs(8)).is_some()));
}

#[test]
fn a_search_path_is_walked_for_the_client() {
    let directory = tempfile::tempdir().expect("a directory");
    let resolv = directory.path().join("resolv.conf");
    std::fs::write(&resolv, "search first.example second.example\n").expect("written");
    let to = scripted(|question, _| {
        let has = |part: &[u8]| question.windows(part.len()).any(|w| w.eq_ignore_ascii_case(part));
        let known = has(b"\x03www\x06second\x07example\x00")
            || has(b"\x03abs\x03org\x00") && !has(b"example")
            || has(b"\x04fail\x06second");
        let fails = has(b"\x04fail\x05first");
        let rcode = match (known, fails) {
            (_, true) => Rcode::SERVFAIL,
            (true, _) => Rcode::NOERROR,
            (false, _) => Rcode::NXDOMAIN,
        };
        Some(reply(question, rcode, (rcode == Rcode::NOERROR).then_some(7)))
    });
    let resolv = resolv.display();
    let server = start(&format!(". {{\n autopath {resolv}\n forward . {to}\n cache\n}}"));
    for _ in 0..2 {
        // The second time from the cache.
        assert_eq!(
            show(&ask(server.address, "www.first.example", Rtype::A)),
            "NOERROR\n= www.first.example 60 CNAME www.second.example.\n\
             = www.second.example 60 A 192.0.2.7\n"
        );
    }
    let outside = show(&ask(server.address, "abs.org.first.example", Rtype::A));
    assert!(outside.contains("CNAME abs.org.") && outside.contains("= abs.org 60 A"), "{outside}");
    assert!(show(&ask(server.address, "nope.first.example", Rtype::A)).starts_with("NXDOMAIN"));
    // Nobody can say whether it exists, so no other name may be answered in its place.
    assert_eq!(show(&ask(server.address, "fail.first.example", Rtype::A)), "SERVFAIL\n");
    assert!(show(&ask(server.address, "nope.second.example", Rtype::A)).starts_with("NXDOMAIN"));
}

#[test]
fn a_pod_s_search_path_is_known() {
    let corefile = ". {\n autopath @kubernetes\n kubernetes cluster.local {\n pods verified\n }\n \
                    template IN A example.org {\n answer \"{{ .Name }} 60 IN A 192.0.2.9\"\n }\n}";
    let server = start(corefile);
    let store = &server.stores[0];
    fill(store);
    let pod = portolan_model::object::ObjectName::new("kube-system", "me");
    let short = "web.default.kube-system.svc.cluster.local";
    assert!(show(&ask(server.address, short, Rtype::A)).starts_with("NXDOMAIN"), "no pod asks");
    store.update(|names| assert!(names.upsert_pod(&pod, &[[127, 0, 0, 1].into()])));
    assert_eq!(
        show(&ask(server.address, short, Rtype::A)),
        "NOERROR aa\n= web.default.kube-system.svc.cluster.local 5 CNAME web.default.svc.cluster.local.\n\
         = web.default.svc.cluster.local 5 A 10.96.0.80\n"
    );
    let outside =
        show(&ask(server.address, "www.example.org.kube-system.svc.cluster.local", Rtype::A));
    assert!(
        outside.contains("CNAME www.example.org.\n= www.example.org 60 A 192.0.2.9"),
        "{outside}"
    );
    // What exists as it was asked is answered as it was asked.
    let whole = show(&ask(server.address, "web.default.svc.cluster.local", Rtype::A));
    assert_eq!(whole, "NOERROR aa\n= web.default.svc.cluster.local 5 A 10.96.0.80\n");
}
