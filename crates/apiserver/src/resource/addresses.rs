//! networking.k8s.io/v1 ServiceCIDR and IPAddress: the ranges, and what was given from them.

use serde_json::{Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::value::ValueExt;
use super::{FieldError, Strategy, ip, names};

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
        let changed = |i: usize| {
            (new[i] != was[i]).then(|| meta::immutable(&format!("{path}[{i}]"), &new[i]))
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
        let mut error = FieldError::invalid(path, &Value::Null, "may only hold up to 2 values");
        // Kubernetes shows its struct around the list.
        error.value = format!("{{\"CIDRs\":{}}}", object.at(path));
        return vec![error];
    }
    for (i, range) in ranges.iter().enumerate() {
        errors.extend(ip::strict_cidr(&format!("{path}[{i}]"), range));
    }
    let families: Vec<bool> = ranges.iter().filter_map(|range| ip::cidr_is_v6(range)).collect();
    if let [first, second] = families[..]
        && first == second
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
        errors.extend(parent(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        let path = "spec.parentRef";
        let now = object.at(path);
        if now.is_null() {
            errors.extend(parent(object));
        }
        let fields = ["group", "resource", "namespace", "name"];
        if fields.iter().any(|field| now.text(field) != old.at(path).text(field)) {
            let mut error = meta::immutable(path, &Value::Null);
            if !now.is_null() {
                let [group, resource, namespace, name] = fields.map(|field| now.text(field));
                error.value = format!(
                    "{{\"Group\":{group:?},\"Resource\":{resource:?},\"Namespace\":{namespace:?},\"Name\":{name:?}}}"
                );
            }
            errors.push(error);
        }
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

/// Who holds the address; the core group is the empty text.
fn parent(object: &Value) -> Vec<FieldError> {
    let path = "spec.parentRef";
    let parent = object.at(path);
    if parent.is_null() {
        return vec![FieldError::required(path, "")];
    }
    let mut errors = Vec::new();
    let group = parent.text("group");
    if !group.is_empty() {
        errors.extend(invalid_all(
            &format!("{path}.group"),
            group,
            names::dns1123_subdomain(group),
        ));
    }
    for (field, required) in [("resource", true), ("name", true), ("namespace", false)] {
        let (path, text) = (format!("{path}.{field}"), parent.text(field));
        if !text.is_empty() {
            errors.extend(invalid_all(&path, text, names::path_segment(text)));
        } else if required {
            errors.push(FieldError::required(path, ""));
        }
    }
    errors
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
                "spec.cidrs[0]: Invalid value: \"10.0.0.1/16\": must not have bits set beyond the prefix length",
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
            [
                "metadata.name: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            ]
        );
    }
}
