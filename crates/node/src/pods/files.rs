//! The files that every container gets: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`, in
//! the form that the kubelet writes them. Pure: text in, text out.

use std::{fmt::Write, net::IpAddr};

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The pod's host name, and its name in the cluster's DNS if it has one.
pub(crate) fn hostname(pod: &Pod, domain: &str) -> (String, Option<String>) {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.as_ref();
    if let Some(whole) = spec.and_then(|s| s.hostname_override.clone()).filter(|h| !h.is_empty()) {
        return (whole, None);
    }
    let chosen = spec.and_then(|s| s.hostname.clone()).filter(|h| !h.is_empty());
    // A pod's name may be longer than a host name can be.
    let mut host = chosen.unwrap_or(name);
    host.truncate(63);
    let host = host.trim_end_matches(['-', '.']).to_owned();
    let subdomain = spec.and_then(|s| s.subdomain.as_deref()).filter(|s| !s.is_empty());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let full = subdomain.map(|s| format!("{host}.{s}.{namespace}.svc.{domain}"));
    match (full, spec.and_then(|s| s.set_hostname_as_fqdn)) {
        (Some(full), Some(true)) => (full.clone(), Some(full)),
        (full, _) => (host, full),
    }
}

/// `/etc/hosts`. `host_file` is the node's, which pods on its network see too.
pub(crate) fn hosts(pod: &Pod, ips: &[IpAddr], domain: &str, host_file: &str) -> String {
    let spec = pod.spec.as_ref();
    let mut text = String::new();
    if spec.and_then(|s| s.host_network) == Some(true) {
        text.push_str("# Kubernetes-managed hosts file (host network).\n");
        text.push_str(host_file);
    } else {
        text.push_str("# Kubernetes-managed hosts file.\n");
        for (ip, names) in [
            ("127.0.0.1", "localhost"),
            ("::1", "localhost ip6-localhost ip6-loopback"),
            ("fe00::0", "ip6-localnet"),
            ("fe00::0", "ip6-mcastprefix"),
            ("fe00::1", "ip6-allnodes"),
            ("fe00::2", "ip6-allrouters"),
        ] {
            let _ = writeln!(text, "{ip}\t{names}");
        }
        let (host, full) = hostname(pod, domain);
        for ip in ips {
            let _ = match full.as_ref().filter(|f| **f != host) {
                Some(full) => writeln!(text, "{ip}\t{full}\t{host}"),
                None => writeln!(text, "{ip}\t{host}"),
            };
        }
    }
    let aliases = spec.and_then(|s| s.host_aliases.as_ref());
    if let Some(aliases) = aliases.filter(|a| !a.is_empty()) {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let _ = writeln!(
                text,
                "{}\t{}",
                alias.ip,
                alias.hostnames.clone().unwrap_or_default().join("\t")
            );
        }
    }
    text
}

/// A resolver configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Resolver {
    nameservers: Vec<String>,
    searches: Vec<String>,
    options: Vec<String>,
}

impl Resolver {
    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => found.nameservers.extend(words.next().map(str::to_owned)),
                Some("search") => found.searches = words.map(str::to_owned).collect(),
                Some("options") => found.options = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        found
    }
}

impl std::fmt::Display for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.searches.is_empty() {
            writeln!(f, "search {}", self.searches.join(" "))?;
        }
        for server in &self.nameservers {
            writeln!(f, "nameserver {server}")?;
        }
        if !self.options.is_empty() {
            writeln!(f, "options {}", self.options.join(" "))?;
        }
        Ok(())
    }
}

/// `/etc/resolv.conf`. `host_file` is the node's own.
pub(crate) fn resolv_conf(
    pod: &Pod,
    cluster_dns: &[IpAddr],
    domain: &str,
    host_file: &str,
) -> String {
    let default = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&default);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host = Resolver::parse(host_file);
    let cluster = match policy {
        "ClusterFirst" => spec.host_network != Some(true),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = if policy == "None" {
        Resolver::default()
    } else if cluster && !cluster_dns.is_empty() {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut searches =
            vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()];
        add_new(&mut searches, &host.searches);
        Resolver {
            nameservers: cluster_dns.iter().map(ToString::to_string).collect(),
            searches,
            options: vec!["ndots:5".to_owned()],
        }
    } else {
        host
    };
    if let Some(own) = &spec.dns_config {
        add_new(&mut resolver.nameservers, own.nameservers.as_deref().unwrap_or_default());
        add_new(&mut resolver.searches, own.searches.as_deref().unwrap_or_default());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            resolver.options.retain(|o| o.split(':').next() != Some(name));
            resolver.options.push(match option.value.as_deref().filter(|v| !v.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    resolver.to_string()
}

fn add_new(to: &mut Vec<String>, from: &[String]) {
    for item in from {
        if !to.contains(item) {
            to.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HOST: &str = "search corp.example\nnameserver 192.0.2.53\noptions timeout:1 ndots:2\n";

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "web-0", "namespace": "shop"}, "spec": spec}),
        )
        .unwrap()
    }

    fn resolv(spec: serde_json::Value) -> String {
        resolv_conf(&pod(spec), &["10.96.0.10".parse().unwrap()], "cluster.local", HOST)
    }

    #[test]
    fn resolvers_follow_the_dns_policy() {
        let cluster = "search shop.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(resolv(json!({"containers": []})), cluster);
        assert_eq!(
            resolv(json!({"containers": [], "dnsPolicy": "ClusterFirst", "hostNetwork": true})),
            "search corp.example\nnameserver 192.0.2.53\noptions timeout:1 ndots:2\n"
        );
        assert_eq!(
            resolv(
                json!({"containers": [], "dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true})
            ),
            cluster
        );
        assert!(resolv(json!({"containers": [], "dnsPolicy": "Default"})).contains("192.0.2.53"));
        let own = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1"], "searches": ["x.example"], "options": [{"name": "ndots", "value": "1"}, {"name": "edns0"}]}});
        assert_eq!(resolv(own), "search x.example\nnameserver 1.1.1.1\noptions ndots:1 edns0\n");
        let more = json!({"containers": [], "dnsConfig": {"nameservers": ["10.96.0.10", "9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}});
        assert!(
            resolv(more).ends_with("nameserver 10.96.0.10\nnameserver 9.9.9.9\noptions ndots:2\n")
        );
    }

    #[test]
    fn hosts_name_the_pod_and_its_aliases() {
        let ips = ["10.244.1.5".parse().unwrap(), "fd00::5".parse().unwrap()];
        let text = hosts(
            &pod(
                json!({"containers": [], "subdomain": "web", "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}),
            ),
            &ips,
            "cluster.local",
            "",
        );
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(
            text.contains(
                "10.244.1.5\tweb-0.web.shop.svc.cluster.local\tweb-0\nfd00::5\tweb-0.web"
            )
        );
        assert!(text.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
        let host = hosts(
            &pod(json!({"containers": [], "hostNetwork": true})),
            &ips,
            "cluster.local",
            "127.0.0.1 me\n",
        );
        assert_eq!(host, "# Kubernetes-managed hosts file (host network).\n127.0.0.1 me\n");
    }

    #[test]
    fn host_names_come_from_the_spec_or_the_pod() {
        assert_eq!(hostname(&pod(json!({"containers": []})), "c.l"), ("web-0".into(), None));
        let named = pod(json!({"containers": [], "hostname": "h", "subdomain": "s"}));
        assert_eq!(hostname(&named, "c.l"), ("h".into(), Some("h.s.shop.svc.c.l".into())));
        let long = "x".repeat(62) + "-y";
        let mut pod = pod(json!({"containers": []}));
        pod.metadata.name = Some(long);
        assert_eq!(hostname(&pod, "c.l").0, "x".repeat(62));
    }
}
