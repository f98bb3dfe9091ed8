//! core/v1 ConfigMap and Secret.

use std::collections::HashSet;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::meta::{self, NameRule, invalid_all};
use super::names;
use super::value::ValueExt;
use super::{FieldError, Strategy};

/// All of an object's data together, in bytes.
const MAX_SIZE: usize = 1024 * 1024;

#[derive(Debug)]
pub(crate) struct ConfigMap;

#[derive(Debug)]
pub(crate) struct Secret;

/// How many bytes base64 text stands for.
fn decoded_length(text: &str) -> usize {
    text.len() / 4 * 3 - text.bytes().rev().take(2).filter(|b| *b == b'=').count().min(text.len())
}

fn keys(map: Option<&Map<String, Value>>, path: &str) -> Vec<FieldError> {
    map.into_iter()
        .flatten()
        .flat_map(|(key, _)| {
            invalid_all(&format!("{path}[{key}]"), key, names::config_map_key(key))
        })
        .collect()
}

/// What was made immutable stays, and stays immutable.
fn frozen(object: &Value, old: &Value, fields: &[&str]) -> Vec<FieldError> {
    if old.flag("immutable") != Some(true) {
        return Vec::new();
    }
    let text = "field is immutable when `immutable` is set";
    let mut errors = Vec::new();
    if object.flag("immutable") != Some(true) {
        errors.push(FieldError::forbidden("immutable", text));
    }
    for field in fields {
        if object.at(field) != old.at(field) {
            errors.push(FieldError::forbidden(*field, text));
        }
    }
    errors
}

impl Strategy for ConfigMap {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(config_map(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        errors.extend(frozen(object, old, &["data", "binaryData"]));
        errors.extend(config_map(object));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }
}

fn config_map(object: &Value) -> Vec<FieldError> {
    let (text, binary) = (object.fields("data"), object.fields("binaryData"));
    let mut errors = keys(text, "data");
    let mut size = 0;
    for (key, value) in text.into_iter().flatten() {
        if binary.is_some_and(|b| b.contains_key(key)) {
            errors.push(FieldError::invalid_text(
                format!("data[{key}]"),
                key,
                "duplicate of key present in binaryData",
            ));
        }
        size += value.as_str().map_or(0, str::len);
    }
    errors.extend(keys(binary, "binaryData"));
    for value in binary.into_iter().flat_map(Map::values) {
        size += value.as_str().map_or(0, decoded_length);
    }
    if size > MAX_SIZE {
        errors.push(FieldError::too_long("", MAX_SIZE));
    }
    errors
}

impl Strategy for Secret {
    fn apply_defaults(&self, object: &mut Value) {
        object.set_default("type", "Opaque");
        // Plain text is for writing only.
        let Some(Value::Object(plain)) = object.remove_at("stringData") else { return };
        for (key, value) in plain {
            let bytes = value.as_str().unwrap_or_default().as_bytes();
            let text = base64::engine::general_purpose::STANDARD.encode(bytes);
            let data = object.slot("data");
            if !data.is_object() {
                *data = json!({});
            }
            data[key] = text.into();
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate(object, true, NameRule::Subdomain);
        errors.extend(secret(object));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = meta::validate_update(object, old);
        if object.text("type") != old.text("type") {
            errors.push(meta::immutable("type", object.at("type")));
        }
        errors.extend(frozen(object, old, &["data"]));
        errors.extend(secret(object));
        errors
    }

    fn counts_generation(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> Option<String> {
        (field == "type").then(|| object.text("type").to_owned())
    }
}

fn secret(object: &Value) -> Vec<FieldError> {
    let data = object.fields("data");
    let mut errors = keys(data, "data");
    let size: usize =
        data.into_iter().flat_map(Map::values).map(|v| v.as_str().map_or(0, decoded_length)).sum();
    if size > MAX_SIZE {
        errors.push(FieldError::too_long("data", MAX_SIZE));
    }
    let has: HashSet<&str> = data.into_iter().flat_map(|d| d.keys().map(String::as_str)).collect();
    let mut need = |key: &str| {
        if !has.contains(key) {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match object.text("type") {
        "kubernetes.io/tls" => {
            need("tls.crt");
            need("tls.key");
        }
        "kubernetes.io/ssh-auth" => need("ssh-privatekey"),
        "kubernetes.io/dockerconfigjson" => need(".dockerconfigjson"),
        "kubernetes.io/dockercfg" => need(".dockercfg"),
        "kubernetes.io/basic-auth" if !has.contains("username") && !has.contains("password") => {
            need("username");
            need("password");
        }
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            let account = object["metadata"]["annotations"][key].as_str().unwrap_or_default();
            if account.is_empty() {
                errors.push(FieldError::required(format!("metadata.annotations[{key}]"), ""));
            }
        }
        _ => {}
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(rest: Value) -> Value {
        let mut object = json!({"metadata": {"name": "a", "namespace": "b"}});
        for (field, value) in rest.as_object().unwrap() {
            object[field] = value.clone();
        }
        object
    }

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.iter().map(FieldError::message).collect()
    }

    #[test]
    fn config_maps() {
        assert!(
            ConfigMap
                .validate_create(&object(
                    json!({"data": {"a.b-c_D": "x"}, "binaryData": {"e": "AAAA"}})
                ))
                .is_empty()
        );
        assert_eq!(
            texts(ConfigMap.validate_create(&object(json!({"data": {"a b": "x"}})))),
            [
                "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
            ]
        );
        assert_eq!(
            texts(
                ConfigMap
                    .validate_create(&object(json!({"data": {"a": "x"}, "binaryData": {"a": ""}})))
            ),
            ["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"]
        );
        let big = "x".repeat(MAX_SIZE + 1);
        assert_eq!(
            texts(ConfigMap.validate_create(&object(json!({"data": {"a": big}})))),
            [": Too long: may not be more than 1048576 bytes"]
        );
        let old = object(json!({"immutable": true, "data": {"a": "1"}}));
        assert_eq!(
            texts(
                ConfigMap
                    .validate_update(&object(json!({"immutable": true, "data": {"a": "2"}})), &old)
            ),
            ["data: Forbidden: field is immutable when `immutable` is set"]
        );
    }

    #[test]
    fn secrets() {
        let mut secret = object(json!({"stringData": {"a": "hello"}}));
        Secret.apply_defaults(&mut secret);
        assert_eq!(secret["data"], json!({"a": "aGVsbG8="}));
        assert_eq!(secret["type"], "Opaque");
        assert!(secret.get("stringData").is_none());
        assert!(Secret.validate_create(&secret).is_empty());
        assert_eq!(
            texts(Secret.validate_create(&object(
                json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}})
            ))),
            ["data[tls.key]: Required value"]
        );
        let changed =
            object(json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}));
        assert_eq!(
            texts(Secret.validate_update(&changed, &secret)),
            ["type: Invalid value: \"kubernetes.io/tls\": field is immutable"]
        );
    }

    #[test]
    fn lengths_of_base64() {
        for (text, length) in [("", 0), ("AA==", 1), ("AAA=", 2), ("AAAA", 3), ("AAAAAA==", 4)] {
            assert_eq!(decoded_length(text), length, "{text}");
        }
    }
}
