//! Service accounts: their admission plug-in for pods, and tokens.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::create::random_suffix;
use super::{Answer, Call, meta, render};
use crate::auth::token::{Claims, Private, Reference};
use crate::cache::object_key;
use crate::resource::{self, FieldError};
use crate::server::Server;
use crate::status::ApiError;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// What the admission plug-in asks for: an hour, and a little to tell such requests apart.
const PROJECTED_SECONDS: i64 = 3607;
/// How long such a token really lasts, for clients that never read it again.
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
const DEFAULT_SECONDS: i64 = 3600;
const SHORTEST_SECONDS: i64 = 600;
/// How long a pod waits for the account `default` of a namespace that was just made.
const PATIENCE: Duration = Duration::from_secs(1);

/// Gives a new pod its service account, and the volume with the account's token.
pub(super) async fn admit_pod(server: &Server, pod: &mut Value) -> Result<(), ApiError> {
    if pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some() {
        return Ok(());
    }
    if !pod["spec"].is_object() {
        return Ok(());
    }
    let namespace = meta::text(pod, "namespace").to_owned();
    let given = ["serviceAccountName", "serviceAccount"]
        .iter()
        .find_map(|field| pod["spec"][*field].as_str().filter(|name| !name.is_empty()));
    let name = given.unwrap_or("default").to_owned();
    let Some(account) = find(server, &namespace, &name).await else {
        let pods = resource::find("", "v1", "pods").ok_or_else(ApiError::no_such_resource)?;
        let why = format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        );
        return Err(ApiError::forbidden(pods, meta::text(pod, "name"), &why));
    };
    let spec = &mut pod["spec"];
    spec["serviceAccountName"] = name.as_str().into();
    spec["serviceAccount"] = name.as_str().into();
    let secrets = &account["imagePullSecrets"];
    if spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && secrets.as_array().is_some_and(|secrets| !secrets.is_empty())
    {
        spec["imagePullSecrets"] = secrets.clone();
    }
    let automount = spec["automountServiceAccountToken"]
        .as_bool()
        .or(account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    if automount {
        mount_token(spec);
    }
    Ok(())
}

async fn find(server: &Server, namespace: &str, name: &str) -> Option<Value> {
    let (_, table) = server.cache.find("", "serviceaccounts")?;
    let key = object_key(namespace, name);
    let mut changed = server.cache.changes(table);
    let get = || server.cache.get(table, &key).map(|object| object.value());
    if let Some(found) = get() {
        return Some(found);
    }
    if name != "default" {
        return None;
    }
    let wait = async {
        loop {
            changed.changed().await.ok()?;
            if let Some(found) = get() {
                return Some(found);
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.ok().flatten()
}

fn mount_token(spec: &mut Value) {
    let volumes = spec["volumes"].as_array();
    let existing = volumes.into_iter().flatten().filter_map(|volume| volume["name"].as_str());
    let existing = existing.filter(|name| name.starts_with(VOLUME_PREFIX)).map(str::to_owned);
    let existing = existing.collect::<Vec<_>>().pop();
    let volume = existing.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", random_suffix()));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array();
            if mounts.into_iter().flatten().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
            push(&mut container["volumeMounts"], mount);
            mounted = true;
        }
    }
    if mounted && existing.is_none() {
        push(
            &mut spec["volumes"],
            json!({
                "name": volume,
                "projected": {
                    "defaultMode": 420,
                    "sources": [
                        {"serviceAccountToken":
                            {"expirationSeconds": PROJECTED_SECONDS, "path": "token"}},
                        {"configMap": {"name": "kube-root-ca.crt",
                            "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef":
                            {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
                    ],
                },
            }),
        );
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}

impl Call {
    /// `serviceaccounts/token`: a `TokenRequest`.
    pub(super) fn token(&mut self) -> Answer {
        let mut request = self.decode_as("authentication.k8s.io", "v1", "TokenRequest")?;
        let account = self.current()?.value();
        let spec = &request["spec"];
        let signer = &self.server.authenticator.signer;
        let asked: Vec<String> = spec["audiences"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|audience| audience.as_str().map(str::to_owned))
            .collect();
        let ours = asked.is_empty() || asked == [signer.issuer.clone()];
        let audiences = if ours { vec![signer.issuer.clone()] } else { asked };
        let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_SECONDS);
        if !(SHORTEST_SECONDS..=1 << 32).contains(&seconds) {
            let why = if seconds < SHORTEST_SECONDS {
                "may not specify a duration less than 10 minutes"
            } else {
                "may not specify a duration larger than 2^32 seconds"
            };
            let error = FieldError::invalid_number("spec.expirationSeconds", seconds, why);
            return Err(ApiError::invalid_kind(
                "authentication.k8s.io",
                "TokenRequest",
                "",
                &[error],
            ));
        }
        let bound = spec["boundObjectRef"].clone();
        let (pod, secret) = self.bound_object(&bound)?;
        let now = jiff::Timestamp::now().as_second();
        // A pod's own token outlives what was asked for; see `PROJECTED_SECONDS`.
        let lasts = if ours && seconds == PROJECTED_SECONDS { EXTENDED_SECONDS } else { seconds };
        let name = self.name().to_owned();
        let namespace = self.path.namespace.clone();
        let claims = Claims {
            aud: audiences.clone(),
            exp: now + lasts,
            iat: now,
            nbf: now,
            iss: signer.issuer.clone(),
            sub: format!("system:serviceaccount:{namespace}:{name}"),
            jti: meta::new_uid(),
            private: Private {
                namespace: namespace.clone(),
                serviceaccount: Reference {
                    name: name.clone(),
                    uid: meta::text(&account, "uid").to_owned(),
                },
                pod,
                secret,
                node: None,
            },
        };
        let token = signer.sign(&claims).ok_or_else(|| ApiError::internal("signing failed"))?;
        request["metadata"] =
            json!({"name": name, "namespace": namespace, "creationTimestamp": meta::now()});
        request["spec"]["audiences"] = json!(audiences);
        request["spec"]["expirationSeconds"] = seconds.into();
        request["status"] = json!({"token": token, "expirationTimestamp": meta::time_in(seconds)});
        render::document(StatusCode::CREATED, self.accept, &request)
    }

    /// The pod or secret with which the token is to end.
    fn bound_object(
        &self,
        bound: &Value,
    ) -> Result<(Option<Reference>, Option<Reference>), ApiError> {
        if bound.is_null() {
            return Ok((None, None));
        }
        let text = |field: &str| bound[field].as_str().unwrap_or_default();
        let plural = match text("kind") {
            "Pod" => "pods",
            "Secret" => "secrets",
            other => {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token to object of type {other}"
                )));
            }
        };
        let found = self.server.cache.find("", plural);
        let (resource, table) = found.ok_or_else(ApiError::no_such_resource)?;
        let key = object_key(&self.path.namespace, text("name"));
        let object = self.server.cache.get(table, &key);
        let object = object.ok_or_else(|| ApiError::not_found(resource, text("name")))?.value();
        let uid = meta::text(&object, "uid").to_owned();
        if !text("uid").is_empty() && text("uid") != uid {
            let why = format!(
                "the UID in the bound object reference ({}) does not match the UID in record. \
                 The object might have been deleted and then recreated",
                text("uid")
            );
            return Err(ApiError::conflict(resource, text("name"), &why));
        }
        let account = object["spec"]["serviceAccountName"].as_str().unwrap_or("default");
        if plural == "pods" && account != self.name() {
            return Err(ApiError::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different \
                 serviceaccount name.",
                self.name()
            )));
        }
        let reference = Reference { name: text("name").to_owned(), uid };
        Ok(match plural {
            "pods" => (Some(reference), None),
            _ => (None, Some(reference)),
        })
    }
}
