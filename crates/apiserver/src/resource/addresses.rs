//! networking.k8s.io/v1 ServiceCIDR and IPAddress: the ranges, and what was given from them.

use serde_json::{Value, json};

use super::meta::{self, NameRule};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

#[derive(Debug)]
pub(crate) struct ServiceCidr;

impl Strategy for ServiceCidr {
    fn prepare_for_create(&self, object: &mut Value) {
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value) {
        meta::keep_status(object, old);
    }

    fn prepare_for_status_update(&self, object: &mut Value, old: &Value) {
        meta::keep_all_but_status(object, old);
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Subdomain);
        errors.extend(cidrs(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "spec.cidrs";
        let (new, was) = (object.list(path), old.list(path));
        let changed = |at: usize| {
            let same = new.get(at) == was.get(at);
            (!same).then(|| meta::immutable(&format!("{path}[{at}]"), &new[at]))
        };
        match (was.len(), new.len()) {
            (before, now) if before == now => errors.extend((0..now).filter_map(changed)),
            // A second family may be added, nothing else.
            (1, 2) => {
                errors.extend(changed(0));
                errors.extend(cidrs(object));
            }
            _ => errors.push(meta::immutable(path, object.at(path))),
        }
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        meta::validate_update(object, old)
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn cidrs(object: &Value) -> Vec<FieldError> {
    let path = "spec.cidrs";
    let ranges = object.texts(path);
    let mut errors = Vec::new();
    if ranges.is_empty() {
        errors.push(FieldError::required(path, "at least one CIDR required"));
        return errors;
    }
    if ranges.len() > 2 {
        errors.push(FieldError::invalid(path, object.at("spec"), "may only hold up to 2 values"));
        return errors;
    }
    let parsed: Vec<Option<ipnet::IpNet>> = ranges.iter().map(|range| range.parse().ok()).collect();
    for (i, (range, net)) in ranges.iter().zip(&parsed).enumerate() {
        let path = format!("{path}[{i}]");
        match net {
            None => errors.push(FieldError::invalid_text(path, range, names::NOT_A_CIDR)),
            Some(net) if net.trunc().to_string() != *range => {
                errors.push(FieldError::invalid_text(
                    path,
                    range,
                    format!("must be in canonical form ({:?})", net.trunc().to_string()),
                ));
            }
            Some(_) => {}
        }
    }
    if let [Some(first), Some(second)] = parsed[..]
        && first.addr().is_ipv4() == second.addr().is_ipv4()
    {
        errors.push(FieldError::invalid(
            path,
            object.at(path),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ));
    }
    errors
}

#[derive(Debug)]
pub(crate) struct IpAddress;

impl Strategy for IpAddress {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, false, NameRule::Address);
        let parent = object.at("spec.parentRef");
        if parent.is_null() {
            errors.push(FieldError::required("spec.parentRef", ""));
            return errors;
        }
        let group = parent.text("group");
        if !group.is_empty() {
            let complain = |text| FieldError::invalid_text("spec.parentRef.group", group, text);
            errors.extend(names::dns1123_subdomain(group).into_iter().map(complain));
        }
        for (field, required) in [("resource", true), ("name", true), ("namespace", false)] {
            let path = format!("spec.parentRef.{field}");
            match parent.text(field) {
                "" if required => errors.push(FieldError::required(path, "")),
                text => errors.extend(
                    path_segment(text)
                        .into_iter()
                        .map(|why| FieldError::invalid_text(path.clone(), text, why)),
                ),
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "spec.parentRef";
        if object.at(path) != old.at(path) {
            errors.push(meta::immutable(path, object.at(path)));
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

/// Whether a text can stand alone in a path (`IsPathSegmentName` of apimachinery's `content`).
fn path_segment(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|part| text.contains(part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn ranges_and_addresses() {
        let range = |list: &[&str]| json!({"metadata": {"name": "a"}, "spec": {"cidrs": list}});
        assert!(ServiceCidr.validate_create(&range(&["10.0.0.0/16", "fd00::/112"])).is_empty());
        for (list, expected) in [
            (&[][..], "spec.cidrs: Required value: at least one CIDR required"),
            (
                &["10.0.0.1/16"],
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must be in canonical form (\"10.0.0.0/16\")",
            ),
            (
                &["x"],
                "spec.cidrs[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ),
        ] {
            assert_eq!(texts(ServiceCidr.validate_create(&range(list))), [expected]);
        }
        assert!(
            ServiceCidr
                .validate_update(&range(&["10.0.0.0/16", "fd00::/112"]), &range(&["10.0.0.0/16"]))
                .is_empty()
        );
        assert_eq!(
            ServiceCidr.validate_update(&range(&["10.1.0.0/16"]), &range(&["10.0.0.0/16"])).len(),
            1
        );

        let address = |name: &str, parent: Value| json!({"metadata": {"name": name}, "spec": {"parentRef": parent}});
        let parent = json!({"resource": "services", "namespace": "default", "name": "x"});
        assert!(IpAddress.validate_create(&address("10.0.0.1", parent.clone())).is_empty());
        assert_eq!(
            texts(IpAddress.validate_create(&address("10.0.0.1", Value::Null))),
            ["spec.parentRef: Required value"]
        );
        assert_eq!(
            texts(IpAddress.validate_create(&address("x", parent))),
            ["metadata.name: Invalid value: \"x\": must be a valid IP address"]
        );
    }
}
