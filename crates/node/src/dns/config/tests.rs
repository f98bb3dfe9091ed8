//! Corefiles, good and bad.

use super::*;

#[test]
fn kubeadm_s_corefile_is_understood() {
    let text = crate::dns::default_corefile("cluster.local");
    let config = Config::read(&text).expect("a Corefile");
    let [site] = &config.sites[..] else { panic!("one site") };
    assert!(site.errors.is_some() && site.detect_loop && site.rotate);
    assert_eq!(site.health.map(|h| h.lameduck), Some(Duration::from_secs(5)));
    assert_eq!(site.prometheus.map(|p| p.port()), Some(9153));
    assert_eq!(site.kubernetes.len(), 1);
    assert_eq!(site.keys, [Key { scheme: Scheme::Dns, zone: Zone::root(), port: 53 }]);
}

#[test]
fn what_is_not_supported_names_line_and_plugin() {
    for (text, line, plugin, words) in [
        (". {\n errors\n whoami\n}", 3, "whoami", "not supported"),
        (". {\n health {\n  lameduck 5s\n  nope\n }\n}", 4, "health", "nope"),
        (". {\n health {\n  lameduck soon\n }\n}", 3, "health", "duration"),
        (". {\n errors\n errors\n}", 3, "errors", "once"),
        (". {\n errors x\n}", 2, "errors", "arguments"),
        (". {\n loadbalance weighted\n}", 2, "loadbalance", "weighted"),
        (". {\n ready nowhere\n}", 2, "ready", "address"),
        (". {\n kubernetes cluster.local {\n  pods maybe\n }\n}", 3, "kubernetes", "pods"),
        (". {\n kubernetes {\n  endpoint http://x\n }\n}", 3, "kubernetes", "endpoint"),
        (". {\n forward .\n}", 2, "forward", "upstream"),
        (". {\n forward . https://1.1.1.1\n}", 2, "forward", "https"),
        (". {\n forward . 1.1.1.1 {\n  policy best\n }\n}", 3, "forward", "policy"),
        (". {\n cache 0\n}", 2, "cache", "TTL"),
        (". {\n cache {\n  success x\n }\n}", 3, "cache", "success"),
        (". {\n hosts {\n  10.0.0.1\n }\n}", 3, "hosts", "name"),
    ] {
        let error = Config::read(text).expect_err(text);
        assert_eq!(error.line, line, "{text}: {error}");
        assert_eq!(error.plugin.as_deref(), Some(plugin), "{text}: {error}");
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
    for (text, words) in [
        ("", "no server block"),
        ("a..b {\n}", "no zone"),
        ("https://. {\n}", "not supported"),
        ("tls://. {\n}", "needs the plugin tls"),
        (".:x {\n}", "port"),
        (". {\n}\n. {\n}", "twice"),
    ] {
        let error = Config::read(text).expect_err(text);
        assert!(error.to_string().contains(words), "{text}: {error}");
    }
}

#[test]
fn durations_read_as_in_go() {
    for (text, milliseconds) in
        [("5s", 5000), ("1m30s", 90_000), ("500ms", 500), ("0", 0), ("0.5h", 1_800_000)]
    {
        assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
    }
    for wrong in ["", "5", "s", "-1s", "1x", "1s2"] {
        assert_eq!(duration(wrong), None, "{wrong}");
    }
}
