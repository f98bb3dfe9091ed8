//! Why a name resolves to what it does: the objects that decide it, in words.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::label::{IpLabel, from_reverse, labels, relative_labels, to_wire};
use super::slice::own_name;
use super::{NameOptions, PodMode};
use crate::object::{AddressType, Endpoint, EndpointSlice, ObjectName, Service, ServiceType};

/// The objects of a cluster, as far as names need them.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub namespaces: BTreeSet<Arc<str>>,
    pub services: Vec<Service>,
    pub slices: Vec<EndpointSlice>,
    /// Of pods that run; needed in [`PodMode::Verified`] only.
    pub pods: Vec<(ObjectName, Vec<IpAddr>)>,
}

/// Says which objects decide what `name`, absolute and in wire form, resolves to in `zone`; one
/// line for each.
pub fn why(name: &[u8], zone: &[u8], options: &NameOptions, objects: &Objects) -> Vec<String> {
    if let Some(address) = from_reverse(name) {
        return reverse(address, options, objects);
    }
    let Some(relative) = relative_labels(name, zone) else {
        return vec!["the name is not in the cluster's zone: it is forwarded".to_owned()];
    };
    let parts: Vec<String> =
        labels(relative).map(|label| String::from_utf8_lossy(label).into_owned()).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts[..] {
        [] => vec!["the name is that of the zone itself".to_owned()],
        ["dns-version"] => vec!["it tells the version of the specification".to_owned()],
        ["ns", "dns"] | ["dns"] => vec!["it is the zone's name server".to_owned()],
        ["svc" | "pod"] => vec!["names of Services and pods lie below it".to_owned()],
        [.., namespace, "svc" | "pod"] if !exposes(namespace, options, objects) => {
            vec![no_namespace(namespace, options)]
        }
        [namespace, "svc" | "pod"] => {
            vec![format!("there is a namespace {namespace}, and names lie below it")]
        }
        [label, namespace, "pod"] => pod(label, namespace, options, objects),
        [service, namespace, "svc"] => of_service(service, namespace, objects, |service| {
            let mut lines = vec![described(service)];
            if service.headless {
                lines.extend(endpoints(service, options, objects, |_| true));
            }
            lines
        }),
        [host, service, namespace, "svc"] => of_service(service, namespace, objects, |service| {
            let mut lines = vec![described(service)];
            let found = endpoints(service, options, objects, |label| label == host);
            if found.is_empty() {
                lines.push(format!("none of its endpoints is called {host}; there are:"));
                lines.extend(endpoints(service, options, objects, |_| true));
            }
            lines.extend(found);
            lines
        }),
        [port, protocol, service, namespace, "svc"] => {
            of_service(service, namespace, objects, |service| {
                port_lines(port, protocol, service, options, objects)
            })
        }
        [.., "svc" | "pod"] => vec!["no name has so many labels".to_owned()],
        [.., last] => {
            vec![format!("below the zone there are svc, pod, dns-version and ns.dns, not {last}")]
        }
    }
}

fn exposes(namespace: &str, options: &NameOptions, objects: &Objects) -> bool {
    let served = options.namespaces.is_empty() || options.namespaces.contains(namespace);
    let known = objects.namespaces.contains(namespace);
    let used = || objects.services.iter().any(|service| &*service.name.namespace == namespace);
    served && (known || !options.declared_namespaces_only && used())
}

fn no_namespace(namespace: &str, options: &NameOptions) -> String {
    if options.namespaces.is_empty() && !options.declared_namespaces_only {
        format!("there is no namespace {namespace}")
    } else {
        format!("the Corefile does not serve the namespace {namespace}, or there is none")
    }
}

fn of_service(
    name: &str,
    namespace: &str,
    objects: &Objects,
    lines: impl FnOnce(&Service) -> Vec<String>,
) -> Vec<String> {
    let wanted = ObjectName::new(namespace, name);
    if let Some(service) = objects.services.iter().find(|service| service.name == wanted) {
        return lines(service);
    }
    let mut answer = vec![format!("the namespace {namespace} has no Service {name}")];
    let elsewhere = objects.services.iter().filter(|service| &*service.name.name == name);
    answer.extend(elsewhere.map(|service| format!("there is a Service {}", service.name)));
    answer
}

fn described(service: &Service) -> String {
    let name = &service.name;
    let ips = service.cluster_ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match (service.service_type, service.headless) {
        (ServiceType::ExternalName, _) => {
            let target = service.external_name.as_deref().unwrap_or_default();
            format!("Service {name} is an ExternalName: an alias of {target}")
        }
        (_, true) => {
            format!("Service {name} is headless: it has the addresses of its ready endpoints")
        }
        (kind, false) => format!("Service {name} ({kind:?}) has the virtual addresses {ips}"),
    }
}

/// The endpoints of a Service whose label is `wanted`, and what their conditions make of them.
fn endpoints(
    service: &Service,
    options: &NameOptions,
    objects: &Objects,
    wanted: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut lines = Vec::new();
    for slice in slices_of(service, objects) {
        for endpoint in &slice.endpoints {
            let label = label_of(endpoint, options);
            if !wanted(&label) {
                continue;
            }
            let published = endpoint.ready || service.publish_not_ready_addresses;
            let outcome = match (endpoint.ready, published) {
                (true, _) => "ready",
                (false, true) => "not ready, and published all the same",
                (false, false) => "not ready, and so left out",
            };
            let pod = endpoint.pod().map_or(String::new(), |pod| format!(", pod {pod}"));
            lines.push(format!(
                "slice {}: {} called {label}{pod}: {outcome}",
                slice.name.name, endpoint.address
            ));
        }
    }
    if lines.is_empty() && slices_of(service, objects).next().is_none() {
        lines.push(format!("Service {} has no EndpointSlice", service.name));
    }
    lines
}

fn slices_of<'a>(
    service: &'a Service,
    objects: &'a Objects,
) -> impl Iterator<Item = &'a EndpointSlice> {
    objects.slices.iter().filter(|slice| {
        slice.service.as_ref() == Some(&service.name) && slice.address_type != AddressType::Fqdn
    })
}

fn label_of(endpoint: &Endpoint, options: &NameOptions) -> String {
    match own_name(endpoint, options.endpoint_pod_names) {
        Some(name) => name.to_string(),
        None => String::from_utf8_lossy(IpLabel::new(endpoint.address).as_bytes()).into_owned(),
    }
}

fn port_lines(
    port: &str,
    protocol: &str,
    service: &Service,
    options: &NameOptions,
    objects: &Objects,
) -> Vec<String> {
    let bare = |label: &str| label.strip_prefix('_').unwrap_or(label).to_owned();
    let (port, protocol) = (bare(port), bare(protocol));
    let mut lines = vec![described(service)];
    if service.service_type == ServiceType::ExternalName {
        lines.push("an ExternalName has no ports".to_owned());
        return lines;
    }
    let mut ports: BTreeSet<(String, String, u16)> = BTreeSet::new();
    let mut add = |name: &str, of: crate::object::Protocol, number: u16| {
        ports.insert((name.to_ascii_lowercase(), format!("{of:?}").to_ascii_lowercase(), number));
    };
    if service.headless {
        for slice in slices_of(service, objects) {
            for port in &slice.ports {
                add(&port.name, port.protocol, port.port.unwrap_or_default());
            }
        }
    } else {
        service.ports.iter().for_each(|port| add(&port.name, port.protocol, port.port));
    }
    let found = ports.iter().find(|(name, of, _)| *name == port && *of == protocol);
    match found {
        Some((_, _, number)) => {
            lines.push(format!("its port {port} over {protocol} is {number}"));
            if service.headless {
                lines.extend(endpoints(service, options, objects, |_| true));
            }
        }
        None => {
            lines.push(format!("it has no port {port} over {protocol}; it has:"));
            lines.extend(ports.iter().map(|(name, of, number)| match name.as_str() {
                "" => format!("port {number} over {of}, without a name and so without SRV records"),
                name => format!("port {number} over {of}, called {name}"),
            }));
        }
    }
    lines
}

fn pod(label: &str, namespace: &str, options: &NameOptions, objects: &Objects) -> Vec<String> {
    let address = super::label::parse_loosely(label.as_bytes());
    let Some(address) = address else { return vec![format!("{label} spells no address")] };
    match options.pods {
        PodMode::Disabled => vec!["the Corefile says pods disabled".to_owned()],
        PodMode::Insecure => {
            vec![format!(
                "pods insecure: {label} spells {address}, whether there is such a pod or not"
            )]
        }
        PodMode::Verified => {
            let of = |(name, addresses): &&(ObjectName, Vec<IpAddr>)| {
                &*name.namespace == namespace && addresses.contains(&address)
            };
            match objects.pods.iter().find(of) {
                Some((name, _)) => vec![format!("pods verified: pod {name} has {address}")],
                None => vec![format!("pods verified: no pod in {namespace} has {address}")],
            }
        }
    }
}

fn reverse(address: IpAddr, options: &NameOptions, objects: &Objects) -> Vec<String> {
    let services = objects.services.iter();
    let mut lines: Vec<String> = services
        .filter(|service| service.cluster_ips.contains(&address))
        .map(|service| format!("{address} is a virtual address of Service {}", service.name))
        .collect();
    if lines.is_empty() {
        for service in &objects.services {
            let of = endpoints(service, options, objects, |_| true);
            let mark = format!(" {address} called ");
            lines.extend(
                of.into_iter()
                    .filter(|line| line.contains(&mark))
                    .map(|line| format!("Service {}, {line}", service.name)),
            );
        }
    }
    if lines.is_empty() {
        lines.push(format!("{address} belongs to no Service and to no endpoint"));
    }
    lines
}

/// The absolute names, in wire form, that a pod's resolver would try for `name`, in order.
pub fn candidates(name: &str, namespace: &str, domain: &str) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    if !name.ends_with('.') {
        for suffix in
            [format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.to_owned()]
        {
            texts.push(format!("{name}.{suffix}"));
        }
    }
    // Five dots or more, or a name of the zone: asked for as it stands first (ndots).
    let whole = name.trim_end_matches('.');
    let first =
        name.matches('.').count() >= 5 || whole.ends_with(domain) || whole.ends_with(".arpa");
    texts.insert(if first { 0 } else { texts.len() }, name.to_owned());
    texts.iter().filter_map(|text| to_wire(text)).collect()
}
