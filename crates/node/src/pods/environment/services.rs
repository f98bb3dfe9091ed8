//! The variables that tell a pod of the Services that exist when it starts.

use k8s_openapi::api::core::v1::Service;

/// The variables for the Services of `namespace` and for the API server's own. Without `links`
/// there are only the latter.
pub(super) fn variables(
    services: &[Service],
    namespace: &str,
    links: bool,
) -> Vec<(String, String)> {
    let at = |s: &Service, ns: &str| s.metadata.namespace.as_deref() == Some(ns);
    let master =
        |s: &&Service| at(s, "default") && s.metadata.name.as_deref() == Some("kubernetes");
    // A namespace's own Service called kubernetes goes first.
    let mut chosen: Vec<&Service> = services.iter().filter(|s| links && at(s, namespace)).collect();
    if !chosen.iter().any(|s| s.metadata.name.as_deref() == Some("kubernetes")) {
        chosen.extend(services.iter().find(master));
    }
    chosen.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    chosen.into_iter().flat_map(of).collect()
}

fn of(service: &Service) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let Some(spec) = &service.spec else { return found };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first().filter(|_| !ip.is_empty() && ip != "None") else {
        return found;
    };
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    found.push((format!("{name}_SERVICE_HOST"), ip.to_owned()));
    found.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
    for port in ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            found
                .push((format!("{name}_SERVICE_PORT_{}", upper(port_name)), port.port.to_string()));
        }
    }
    for (n, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if n == 0 {
            found.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        found.push((prefix.clone(), url));
        found.push((format!("{prefix}_PROTO"), protocol.to_lowercase()));
        found.push((format!("{prefix}_PORT"), port.port.to_string()));
        found.push((format!("{prefix}_ADDR"), ip.to_owned()));
    }
    found
}

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}
