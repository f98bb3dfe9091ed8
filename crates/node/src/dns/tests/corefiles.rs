//! Corefiles as people have them, and what is said of those that are wrong.

use std::path::{Path, PathBuf};

use crate::dns::config::Config;
use crate::dns::{DnsError, check, check_file, default_corefile};

/// From the manual of CoreDNS and the documentation of Kubernetes, in our own layout.
const KNOWN: [(&str, &str); 8] = [
    (
        "stub domains",
        ".:53 {\n errors\n health\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods \
         insecure\n fallthrough in-addr.arpa ip6.arpa\n }\n prometheus :9153\n forward . 8.8.8.8 \
         8.8.4.4\n cache 30\n loop\n reload\n loadbalance\n}\nabc.com:53 {\n errors\n cache 30\n \
         forward . 1.2.3.4\n}\nmy.cluster.local:53 {\n errors\n cache 30\n forward . 2.3.4.5\n}",
    ),
    (
        "a node's own cache",
        "cluster.local:53 {\n errors\n cache {\n success 9984 30\n denial 9984 5\n }\n reload\n \
         loop\n bind 127.0.0.1\n forward . 10.96.0.10 {\n force_tcp\n }\n prometheus :9253\n health \
         127.0.0.1:8080\n}\nin-addr.arpa:53 {\n errors\n cache 30\n reload\n loop\n bind 127.0.0.1\n \
         forward . 10.96.0.10 {\n force_tcp\n }\n prometheus :9253\n}\n.:53 {\n errors\n cache 30\n \
         reload\n loop\n bind 127.0.0.1\n forward . /etc/resolv.conf\n prometheus :9253\n}",
    ),
    (
        "rewriting and an alias for services",
        ". {\n rewrite name regex (.*)\\.demo\\.net {1}.default.svc.cluster.local answer name \
         (.*)\\.default\\.svc\\.cluster\\.local {1}.demo.net\n kubernetes cluster.local\n hosts \
         /etc/coredns/custom.hosts custom.net {\n 10.0.0.1 db.custom.net\n fallthrough\n }\n \
         forward . tls://1.1.1.1 tls://1.0.0.1 {\n tls_servername cloudflare-dns.com\n \
         health_check 5s\n }\n}",
    ),
    (
        "autopath and verified pods",
        "cluster.local {\n autopath @kubernetes\n kubernetes {\n pods verified\n }\n}\n. {\n \
         forward . 8.8.8.8 9.9.9.9 {\n policy sequential\n expire 20s\n except internal.example\n \
         }\n cache 300 {\n prefetch 5 2m 20%\n serve_stale 30m verify\n }\n acl {\n allow net \
         10.0.0.0/8\n block\n }\n log . {combined} {\n class denial error\n }\n}",
    ),
    (
        "networks and templates",
        "(snip) {\n prometheus\n log\n errors\n}\n10.0.0.0/24 2001:db8::/32 {\n import snip\n \
         template IN PTR in-addr.arpa {\n match \
         ^(?P<d>[0-9]*)[.](?P<c>[0-9]*)[.](?P<b>[0-9]*)[.](?P<a>[0-9]*)[.]in-addr[.]arpa[.]$\n \
         answer \"{{ .Name }} 60 IN PTR ip-{{ .Group.a }}-{{ .Group.b }}-{{ .Group.c }}-{{ .Group.d }}.example.\"\n }\n}\n\
         dns://example.org:1053, example.net:1053 {\n import snip\n any\n minimal\n bufsize 1232\n \
         errors\n}",
    ),
    (
        "errors together, names from hosts only",
        ".:1053 {\n errors {\n consolidate 5m \".* i/o timeout$\" warning show_first\n consolidate \
         30s \"^failed .*\"\n stacktrace\n }\n hosts {\n 10.0.0.1 a.example b.example\n no_reverse\n \
         reload 500ms\n ttl 60\n }\n ready 127.0.0.1:8181 {\n monitor continuously\n }\n reload 10s \
         5s\n}",
    ),
    (
        "a share for each client",
        ". {\n ratelimit 100 {\n burst 200\n whitelist 10.0.0.0/8 ::1\n }\n forward . 1.1.1.1\n \
         loadbalance weighted ./db.weights {\n reload 10s\n }\n kubernetes cluster.local {\n \
         startup_timeout 10s\n }\n}",
    ),
    ("no braces", ".:1053\nforward . 1.1.1.1\ncache 30 {\n keepttl\n}\nwhoareyou"),
];

#[test]
fn corefiles_that_are_known_load() {
    assert_eq!(check(&default_corefile("")), Ok(()));
    for (what, text) in KNOWN {
        let checked = check(text);
        match what {
            "no braces" => {
                let error = checked.expect_err(what);
                assert_eq!((error.line, error.plugin.as_deref()), (6, Some("whoareyou")));
            }
            // The same plugin twice, once by way of the snippet.
            "networks and templates" => {
                let error = checked.expect_err(what);
                assert!(error.to_string().contains("plugin errors: may be given only once"));
                assert_eq!(check(&text.replace("1232\n errors\n}", "1232\n}")), Ok(()), "{what}");
            }
            _ => assert_eq!(checked, Ok(()), "{what}"),
        }
    }
    let config = Config::read(KNOWN[1].1).expect("a Corefile");
    assert!(config.summary().starts_with(
        "3 server blocks: dns://cluster.local.:53 (reload bind health prometheus errors cache loop \
         forward)"
    ));
}

#[test]
fn plugins_act_in_one_order_whatever_the_file_s() {
    let config =
        Config::read(". {\n forward . 1.1.1.1\n acl {\n block\n }\n rewrite type A AAAA\n}");
    let plugins: Vec<_> = config.expect("a Corefile").sites[0].plugins().collect();
    assert_eq!(plugins, ["rewrite", "acl", "forward"]);
}

fn lay(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

#[test]
fn the_files_that_plugins_name_are_looked_into() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path().display();
    lay(directory.path(), "bad.zone", "www 60 IN A 192.0.2.1\n");
    lay(directory.path(), "empty.conf", "search x\n");
    lay(directory.path(), "no.pem", "nothing\n");
    lay(directory.path(), "part.conf", "errors\nnonsense\n");
    for (text, line, words) in [
        (format!(". {{\n file {here}/none.zone example.org\n}}"), 2, "cannot read"),
        (format!(". {{\n errors\n file {here}/bad.zone example.org\n}}"), 3, "no SOA"),
        (format!(". {{\n forward . {here}/none.conf\n}}"), 2, "cannot read upstreams"),
        (format!(". {{\n forward . {here}/empty.conf\n}}"), 2, "names no upstream"),
        (format!("tls://. {{\n tls {here}/no.pem {here}/no.pem\n}}"), 2, "certificates"),
        (format!(". {{\n autopath {here}/none.conf\n}}"), 2, "cannot read"),
        (". {\n bind nosuchlink0\n}".to_owned(), 2, "an interface of this machine"),
        (". {\n bind 127.0.0.1 {\n except 127.0.0.1\n }\n}".to_owned(), 2, "no address"),
        (". {\n import part.conf\n}".to_owned(), 2, "nonsense"),
    ] {
        let path = lay(directory.path(), "Corefile", &text);
        let Err(DnsError::Corefile(error)) = check_file(&path) else { panic!("{text}") };
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
        assert_eq!(error.file.is_some(), text.contains("part.conf"), "{error}");
    }
    let path = lay(directory.path(), "Corefile", ". {\n hosts\n}");
    assert_eq!(check_file(&path).expect("usable"), "1 server block: dns://.:53 (hosts)");
    assert!(matches!(check_file(&directory.path().join("none")), Err(DnsError::Read { .. })));
}

#[test]
fn each_mistake_is_told_with_its_line_and_plugin() {
    for (plugin, options, words) in [
        ("errors", "consolidate 5m", "takes a duration"),
        ("errors", "consolidate 0 x", "above zero"),
        ("errors", "consolidate 1m (", "no regular expression"),
        ("errors", "consolidate 1m x loud", "no level"),
        ("bufsize 100", "", "512 to 4096"),
        ("bind", "", "addresses or interfaces"),
        ("ready", "monitor never", "monitor takes"),
        ("reload soon", "", "no duration"),
        ("reload 1s 2s 3s", "", "interval and a jitter"),
        ("loadbalance", "prefer x", "no network"),
        ("loadbalance", "reload 1s", "not supported"),
        ("loadbalance weighted", "", "weighted FILE"),
        ("loadbalance weighted x", "reload often", "no duration"),
        ("kubernetes", "startup_timeout soon", "no duration"),
        ("any now", "", "no arguments"),
        ("minimal", "x", "not supported"),
        ("autopath", "", "resolv.conf"),
        ("autopath @erratic", "", "not supported"),
        ("autopath @kubernetes", "", "pods verified"),
        ("acl", "", "no rules"),
        ("acl", "permit", "not supported"),
        ("acl", "block type", "at least one"),
        ("acl", "block type NOPE", "no record type"),
        ("acl", "block net 1.2.3", "no network"),
        ("acl", "block from x", "neither type nor net"),
        ("ratelimit", "", "each second"),
        ("ratelimit 5", "window 3", "not supported"),
        ("template IN", "", "class, a record type"),
        ("template CH ANY", "", "class CH"),
        ("transfer", "", "nobody"),
        ("transfer", "to nobody", "no address"),
        ("file", "", "zone file"),
        ("file x", "reload often", "no duration"),
        ("tls a", "", "certificate, a key"),
        ("tls a b", "client_auth maybe", "client_auth takes"),
        ("forward . 1.1.1.1", "failover NOERROR", "no failure"),
        ("forward . 1.1.1.1", "next WHAT", "response code"),
        ("forward . 1.1.1.1", "health_check", "duration"),
        ("forward . 1.1.1.1", "health_check 1s twice", "not supported"),
        ("forward . 1.1.1.1", "tls a b c d", "tls takes"),
        ("forward . 1.1.1.1", "resolver 1.1.1.1", "not supported"),
        ("forward . tls://1.1.1.1%a", "tls_servername b", "name of its own"),
        ("forward . one.one.one.one", "", "neither address nor file"),
        ("rewrite name a", "", "missing"),
        ("log {x}", "", "not supported"),
        ("hosts", "ttl 0", "ttl takes"),
        ("whoami", "", "is not supported; there are reload"),
    ] {
        let block = if options.is_empty() { String::new() } else { format!(" {{\n {options}\n}}") };
        let error = check(&format!(". {{\n\n {plugin}{block}\n}}")).expect_err(plugin);
        let name = plugin.split(' ').next();
        assert_eq!(error.plugin.as_deref(), name, "{plugin} {options}: {error}");
        assert!((3..=4).contains(&error.line), "{plugin} {options}: {error}");
        assert!(error.to_string().contains(words), "{plugin} {options}: {error}");
    }
}

#[test]
fn blocks_share_a_zone_only_at_different_addresses() {
    let twice = |a: &str, b: &str| check(&format!(". {{\n{a}\n}}\n. {{\n{b}\n}}")).is_ok();
    assert!(twice(" bind 127.0.0.1", " bind 127.0.0.2"));
    assert!(!twice(" bind 127.0.0.1", " bind 127.0.0.2 127.0.0.1"));
    assert!(!twice("", ""));
    assert!(check("dns://.:53 {\n}\ntls://.:53 {\n tls a b\n}").is_ok());
}
