//! A container's environment, command line and what it may learn about its own pod. Pure: the
//! objects that are referred to come in as data.

mod quantity;
mod services;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod, ResourceFieldSelector, Service};

use super::{images::Image, objects::Kind};

/// The data of ConfigMaps and Secrets; `None` stands for one that does not exist.
pub(crate) type Data = HashMap<(Kind, String), Option<Arc<BTreeMap<String, Vec<u8>>>>>;

/// What a pod knows of itself beyond its own object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) node_name: String,
    pub(crate) host_ips: Vec<IpAddr>,
    pub(crate) pod_ips: Vec<IpAddr>,
}

/// The ConfigMaps and Secrets that a container's environment refers to.
pub(crate) fn references(container: &Container) -> Vec<(Kind, String)> {
    let mut found = Vec::new();
    for from in container.env_from.iter().flatten() {
        found.extend(from.config_map_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone())));
        found.extend(from.secret_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())));
    }
    for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        found.extend(source.config_map_key_ref.as_ref().map(|r| (Kind::ConfigMap, r.name.clone())));
        found.extend(source.secret_key_ref.as_ref().map(|r| (Kind::Secret, r.name.clone())));
    }
    found.sort_by(|a, b| (a.0.word(), &a.1).cmp(&(b.0.word(), &b.1)));
    found.dedup();
    found
}

/// All variables of a container: the image's, those of the namespace's Services, `envFrom`,
/// `env`, later ones replacing earlier ones.
///
/// # Errors
/// Names a ConfigMap, Secret or key that does not exist and is not optional, in the kubelet's
/// words.
pub(crate) fn variables(
    pod: &Pod,
    container: &Container,
    image: &Image,
    facts: &Facts,
    services: &[Service],
    data: &Data,
) -> Result<Vec<(String, String)>, String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
    let service_variables = services::variables(services, namespace, links);
    let known: HashMap<String, String> = service_variables.iter().cloned().collect();
    let mut own: Vec<(String, String)> = Vec::new();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        let reference = match (&from.config_map_ref, &from.secret_ref) {
            (Some(r), _) => (Kind::ConfigMap, &r.name, r.optional),
            (_, Some(r)) => (Kind::Secret, &r.name, r.optional),
            _ => continue,
        };
        let (kind, name, optional) = reference;
        match object(data, kind, name) {
            Some(object) => {
                for (key, value) in object.iter() {
                    set(
                        &mut own,
                        format!("{prefix}{key}"),
                        String::from_utf8_lossy(value).into_owned(),
                    );
                }
            }
            None if optional == Some(true) => {}
            None => return Err(format!("{} \"{name}\" not found", kind.word())),
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match (&variable.value, &variable.value_from) {
            (Some(value), _) => {
                let lookup = |name: &str| {
                    let mine = own.iter().rev().find(|v| v.0 == name).map(|v| v.1.clone());
                    mine.or_else(|| known.get(name).cloned())
                };
                Some(expand(value, lookup))
            }
            (None, Some(source)) => value_from(pod, container, facts, data, namespace, source)?,
            (None, None) => Some(String::new()),
        };
        if let Some(value) = value {
            set(&mut own, variable.name.clone(), value);
        }
    }
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all = vec![("PATH".to_owned(), path.to_owned())];
    let hostname = super::files::hostname(pod, "").0;
    set(&mut all, "HOSTNAME".to_owned(), hostname);
    if container.tty == Some(true) {
        set(&mut all, "TERM".to_owned(), "xterm".to_owned());
    }
    for (key, value) in image.env.iter().cloned().chain(service_variables).chain(own) {
        set(&mut all, key, value);
    }
    if !all.iter().any(|v| v.0 == "HOME") {
        set(&mut all, "HOME".to_owned(), "/root".to_owned());
    }
    Ok(all)
}

fn set(variables: &mut Vec<(String, String)>, key: String, value: String) {
    match variables.iter_mut().find(|v| v.0 == key) {
        Some(held) => held.1 = value,
        None => variables.push((key, value)),
    }
}

fn object<'a>(
    data: &'a Data,
    kind: Kind,
    name: &str,
) -> Option<&'a Arc<BTreeMap<String, Vec<u8>>>> {
    data.get(&(kind, name.to_owned())).and_then(Option::as_ref)
}

fn value_from(
    pod: &Pod,
    container: &Container,
    facts: &Facts,
    data: &Data,
    namespace: &str,
    source: &EnvVarSource,
) -> Result<Option<String>, String> {
    if let Some(reference) = &source.field_ref {
        let path = &reference.field_path;
        return field(pod, facts, path)
            .map(Some)
            .ok_or_else(|| format!("unsupported fieldPath: {path}"));
    }
    if let Some(reference) = &source.resource_field_ref {
        return resource(pod, container, reference).map(Some);
    }
    let (kind, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
        (Some(r), _) => (Kind::ConfigMap, &r.name, &r.key, r.optional),
        (_, Some(r)) => (Kind::Secret, &r.name, &r.key, r.optional),
        _ => return Ok(None),
    };
    let optional = optional == Some(true);
    let Some(object) = object(data, kind, name) else {
        return if optional {
            Ok(None)
        } else {
            Err(format!("{} \"{name}\" not found", kind.word()))
        };
    };
    match object.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => {
            let kind = if kind == Kind::ConfigMap { "ConfigMap" } else { "Secret" };
            Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
        }
    }
}

/// The value of a field of the pod, as the downward API has it.
pub(crate) fn field(pod: &Pod, facts: &Facts, path: &str) -> Option<String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let join = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let first = |ips: &[IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
    let keyed = |map: &Option<BTreeMap<String, String>>, key: &str| {
        map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default()
    };
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        return match map {
            "metadata.labels" => Some(keyed(&meta.labels, key)),
            "metadata.annotations" => Some(keyed(&meta.annotations, key)),
            _ => None,
        };
    }
    let lines = |map: &Option<BTreeMap<String, String>>| {
        let lines = map.iter().flatten().map(|(k, v)| format!("{k}={}", go_quote(v)));
        lines.collect::<Vec<_>>().join("\n")
    };
    Some(match path {
        "metadata.name" => meta.name.clone().unwrap_or_default(),
        "metadata.namespace" => meta.namespace.clone().unwrap_or_default(),
        "metadata.uid" => meta.uid.clone().unwrap_or_default(),
        "metadata.labels" => lines(&meta.labels),
        "metadata.annotations" => lines(&meta.annotations),
        "spec.nodeName" => facts.node_name.clone(),
        "spec.serviceAccountName" => {
            spec.and_then(|s| s.service_account_name.clone()).unwrap_or_default()
        }
        "status.hostIP" => first(&facts.host_ips),
        "status.hostIPs" => join(&facts.host_ips),
        "status.podIP" => first(&facts.pod_ips),
        "status.podIPs" => join(&facts.pod_ips),
        _ => return None,
    })
}

/// Quotes as Go's `%q` does for printable text.
fn go_quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a resource field (`limits.cpu`, `requests.memory`, …), divided and rounded up.
pub(crate) fn resource(
    pod: &Pod,
    own: &Container,
    reference: &ResourceFieldSelector,
) -> Result<String, String> {
    let named = reference.container_name.as_deref().filter(|n| !n.is_empty());
    let spec = pod.spec.as_ref();
    let all = spec
        .into_iter()
        .flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
    let container = match named {
        Some(name) => all
            .into_iter()
            .find(|c| c.name == name)
            .ok_or_else(|| format!("container {name} not found"))?,
        None => own,
    };
    let (list, name) = reference.resource.split_once('.').unwrap_or(("", ""));
    let resources = container.resources.as_ref();
    let map = match list {
        "limits" => resources.and_then(|r| r.limits.as_ref()),
        "requests" => resources.and_then(|r| r.requests.as_ref()),
        _ => return Err(format!("unsupported container resource : {}", reference.resource)),
    };
    let divisor = reference.divisor.as_ref().map_or("1", |d| d.0.as_str());
    let divisor =
        quantity::nano(if divisor == "0" { "1" } else { divisor }).ok_or("bad divisor")?;
    let value = match map.and_then(|m| m.get(name)) {
        Some(quantity) => quantity::nano(&quantity.0).ok_or("bad quantity")?,
        // Without a limit the node's capacity is the limit; without a request it is nothing.
        None if list == "requests" => 0,
        None => quantity::capacity(name)
            .ok_or_else(|| format!("unsupported container resource : {}", reference.resource))?,
    };
    Ok((value.div_ceil(divisor.max(1))).to_string())
}

/// The command line: the image's, unless the container has its own, with `$(VARIABLE)` replaced.
pub(crate) fn command_line(
    container: &Container,
    image: &Image,
    variables: &[(String, String)],
) -> Vec<String> {
    let command = container.command.clone().unwrap_or_default();
    let args = container.args.clone().unwrap_or_default();
    let lookup = |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.clone());
    let expanded = |list: &[String]| list.iter().map(|a| expand(a, lookup)).collect::<Vec<_>>();
    match (command.is_empty(), args.is_empty()) {
        (true, true) => [&image.entrypoint[..], &image.command[..]].concat(),
        (true, false) => [&image.entrypoint[..], &expanded(&args)[..]].concat(),
        (false, _) => [expanded(&command), expanded(&args)].concat(),
    }
}

/// Replaces `$(NAME)` by what `lookup` knows. `$$` stands for `$`; an unknown name stays as it is.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix('(').and_then(|r| r.split_once(')')) {
            match lookup(name) {
                Some(value) => out.push_str(&value),
                None => {
                    out.push_str("$(");
                    out.push_str(name);
                    out.push(')');
                }
            }
            rest = after;
        } else {
            out.push('$');
        }
    }
    out + rest
}

#[cfg(test)]
mod tests;
