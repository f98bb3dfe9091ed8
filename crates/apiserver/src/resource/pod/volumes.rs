//! Complaints about a pod's volumes.

use std::collections::HashSet;

use serde_json::Value;

use crate::resource::meta::invalid_all;
use crate::resource::value::ValueExt;
use crate::resource::{FieldError, names};

/// Complaints, and the names that containers may mount.
pub(super) fn volumes<'a>(spec: &'a Value, path: &str) -> (Vec<FieldError>, HashSet<&'a str>) {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (i, volume) in spec.list("volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{i}]");
        let name = volume.text("name");
        let name_path = format!("{path}.name");
        if name.is_empty() {
            errors.push(FieldError::required(name_path, ""));
        } else {
            errors.extend(invalid_all(&name_path, name, names::dns1123_label(name)));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(name_path, volume.at("name")));
            }
        }
        let sources: Vec<&String> = volume
            .as_object()
            .into_iter()
            .flat_map(|m| m.keys())
            .filter(|k| *k != "name")
            .collect();
        if sources.is_empty() {
            errors.push(FieldError::required(path.as_str(), "must specify a volume type"));
        }
        for extra in sources.iter().skip(1) {
            errors.push(FieldError::forbidden(
                format!("{path}.{extra}"),
                "may not specify more than 1 volume type",
            ));
        }
        errors.extend(source(volume, &path));
    }
    (errors, seen)
}

fn source(volume: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let required = |field: &str| {
        let missing = volume.at(field).as_str().is_none_or(str::is_empty);
        let (parent, _) = field.rsplit_once('.').unwrap_or((field, ""));
        (volume.has(parent) && missing).then(|| FieldError::required(format!("{path}.{field}"), ""))
    };
    errors.extend(required("hostPath.path"));
    errors.extend(required("secret.secretName"));
    errors.extend(required("configMap.name"));
    errors.extend(required("persistentVolumeClaim.claimName"));
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(mode) = volume.int(&format!("{source}.defaultMode"))
            && !(0..=0o777).contains(&mode)
        {
            errors.push(FieldError::invalid_number(
                format!("{path}.{source}.defaultMode"),
                mode,
                "must be a number between 0 and 0777 (octal), both inclusive",
            ));
        }
        for (i, item) in volume.list(&format!("{source}.items")).iter().enumerate() {
            errors.extend(item_path(item, &format!("{path}.{source}.items[{i}]"), source));
        }
    }
    errors
}

fn item_path(item: &Value, path: &str, source: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if source != "downwardAPI" && item.text("key").is_empty() {
        errors.push(FieldError::required(format!("{path}.key"), ""));
    }
    let target = item.text("path");
    let path = format!("{path}.path");
    if target.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if target.starts_with('/') {
        errors.push(FieldError::invalid_text(path, target, "must be a relative path"));
    } else if target.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid_text(path, target, "must not contain '..'"));
    }
    errors
}
