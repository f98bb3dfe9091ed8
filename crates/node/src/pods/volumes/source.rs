//! What volumes are made from: ConfigMaps, Secrets, the pod itself and tokens of its service
//! account.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{
        Container, DownwardAPIVolumeFile, KeyToPath, Pod, ServiceAccount,
        ServiceAccountTokenProjection, Volume,
    },
};
use kube::{Api, api::PostParams};
use tokio::{sync::watch, time::Instant};

use super::payload::Files;
use crate::pods::{
    Runtime,
    environment::{self, Facts},
    objects::{Kind, State},
    report,
};

const DEFAULT_MODE: i32 = 0o644;
/// How long to wait before a token that could not be renewed is asked for again.
const TOKEN_RETRY: Duration = Duration::from_secs(10);

/// One thing that a volume's files come from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Object { kind: Kind, name: String, items: Option<Vec<KeyToPath>>, optional: bool, mode: i32 },
    Downward { items: Vec<DownwardAPIVolumeFile>, mode: i32 },
    Token { projection: ServiceAccountTokenProjection, mode: i32 },
}

/// What a volume is made from; `None` if it is of another kind.
pub(super) fn sources(volume: &Volume) -> Option<Vec<Source>> {
    if let Some(map) = &volume.config_map {
        return Some(vec![Source::Object {
            kind: Kind::ConfigMap,
            name: map.name.clone(),
            items: map.items.clone(),
            optional: map.optional == Some(true),
            mode: map.default_mode.unwrap_or(DEFAULT_MODE),
        }]);
    }
    if let Some(secret) = &volume.secret {
        return Some(vec![Source::Object {
            kind: Kind::Secret,
            name: secret.secret_name.clone().unwrap_or_default(),
            items: secret.items.clone(),
            optional: secret.optional == Some(true),
            mode: secret.default_mode.unwrap_or(DEFAULT_MODE),
        }]);
    }
    if let Some(downward) = &volume.downward_api {
        let mode = downward.default_mode.unwrap_or(DEFAULT_MODE);
        return Some(vec![Source::Downward {
            items: downward.items.clone().unwrap_or_default(),
            mode,
        }]);
    }
    let projected = volume.projected.as_ref()?;
    let mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
    let mut found = Vec::new();
    for projection in projected.sources.iter().flatten() {
        if let Some(map) = &projection.config_map {
            let (name, items, optional) =
                (map.name.clone(), map.items.clone(), map.optional == Some(true));
            found.push(Source::Object { kind: Kind::ConfigMap, name, items, optional, mode });
        }
        if let Some(secret) = &projection.secret {
            let (name, items, optional) =
                (secret.name.clone(), secret.items.clone(), secret.optional == Some(true));
            found.push(Source::Object { kind: Kind::Secret, name, items, optional, mode });
        }
        if let Some(downward) = &projection.downward_api {
            found
                .push(Source::Downward { items: downward.items.clone().unwrap_or_default(), mode });
        }
        if let Some(token) = &projection.service_account_token {
            found.push(Source::Token { projection: token.clone(), mode });
        }
    }
    Some(found)
}

/// Collects a volume's files from its sources, and knows when to do so again.
#[derive(Debug)]
pub(super) struct Collector {
    runtime: Arc<Runtime>,
    pod: watch::Receiver<Arc<Pod>>,
    facts: Facts,
    sources: Vec<Source>,
    objects: Vec<watch::Receiver<State>>,
    /// For each token its text and when to ask for the next one.
    tokens: Vec<(String, Instant)>,
}

impl Collector {
    pub(super) fn new(
        runtime: &Arc<Runtime>,
        pod: watch::Receiver<Arc<Pod>>,
        facts: Facts,
        sources: Vec<Source>,
    ) -> Self {
        let namespace = pod.borrow().metadata.namespace.clone().unwrap_or_default();
        let objects = sources.iter().filter_map(|s| match s {
            Source::Object { kind, name, .. } => {
                Some(runtime.objects.follow(*kind, &namespace, name))
            }
            _ => None,
        });
        let objects = objects.collect();
        Self { runtime: Arc::clone(runtime), pod, facts, sources, objects, tokens: Vec::new() }
    }

    /// Returns when a source may have changed or a token is due.
    pub(super) async fn changed(&mut self) {
        let due = self.tokens.iter().map(|t| t.1).min();
        let follows_pod = self.sources.iter().any(|s| matches!(s, Source::Downward { .. }));
        let objects = self.objects.iter_mut().map(|r| {
            Box::pin(async { drop(r.changed().await) })
                as Pin<Box<dyn Future<Output = ()> + Send + '_>>
        });
        let mut waits: Vec<_> = objects.collect();
        if follows_pod {
            let pod = &mut self.pod;
            waits.push(Box::pin(async { drop(pod.changed().await) }));
        }
        if let Some(due) = due {
            waits.push(Box::pin(tokio::time::sleep_until(due)));
        }
        if waits.is_empty() {
            std::future::pending::<()>().await;
        }
        futures::future::select_all(waits).await;
    }

    /// The files as they should be now. Waits for the API server, not for missing objects.
    pub(super) async fn collect(&mut self) -> Result<Files, String> {
        let mut files = Files::new();
        let pod = self.pod.borrow_and_update().clone();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let (mut object, mut token) = (0, 0);
        for source in self.sources.clone() {
            match source {
                Source::Object { kind, name, items, optional, mode } => {
                    let receiver = &mut self.objects[object];
                    object += 1;
                    let state = receiver.wait_for(|s| *s != State::Unknown).await;
                    let state = state.map(|s| s.clone()).unwrap_or_default();
                    let _ = receiver.borrow_and_update();
                    match state {
                        State::Present(data) => {
                            pick(&mut files, &data, items.as_deref(), optional, mode)?
                        }
                        _ if optional => {}
                        _ => return Err(format!("{} \"{name}\" not found", kind.word())),
                    }
                }
                Source::Downward { items, mode } => {
                    for item in items {
                        let value = downward(&pod, &self.facts, &item)?;
                        let mode = item.mode.unwrap_or(mode);
                        files.insert(item.path.clone(), (value.into_bytes(), permissions(mode)));
                    }
                }
                Source::Token { projection, mode } => {
                    let text = self.token(token, &pod, &namespace, &projection).await?;
                    token += 1;
                    files.insert(projection.path.clone(), (text.into_bytes(), permissions(mode)));
                }
            }
        }
        Ok(files)
    }

    /// The `n`th token, asked for again when four fifths of its life are over.
    async fn token(
        &mut self,
        n: usize,
        pod: &Pod,
        namespace: &str,
        wanted: &ServiceAccountTokenProjection,
    ) -> Result<String, String> {
        let held = self.tokens.get(n).cloned();
        if let Some((text, due)) = &held
            && Instant::now() < *due
        {
            return Ok(text.clone());
        }
        let entry = match request(&self.runtime, pod, namespace, wanted).await {
            Ok((text, life)) => (text, Instant::now() + life.mul_f64(0.8)),
            Err(why) => match held {
                Some((text, _)) => {
                    tracing::warn!(
                        why,
                        "a service account token could not be renewed; trying again"
                    );
                    (text, Instant::now() + TOKEN_RETRY)
                }
                None => return Err(why),
            },
        };
        self.tokens.truncate(n);
        self.tokens.push(entry.clone());
        Ok(entry.0)
    }
}

async fn request(
    runtime: &Runtime,
    pod: &Pod,
    namespace: &str,
    wanted: &ServiceAccountTokenProjection,
) -> Result<(String, Duration), String> {
    use k8s_openapi::api::authentication::v1::BoundObjectReference;
    let account = pod
        .spec
        .as_ref()
        .and_then(|s| s.service_account_name.as_deref())
        .filter(|n| !n.is_empty())
        .unwrap_or("default");
    let seconds = wanted.expiration_seconds.unwrap_or(3600);
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(wanted.audience.iter().cloned().collect()),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let accounts: Api<ServiceAccount> = Api::namespaced(runtime.client.0.clone(), namespace);
    let answer = accounts.create_token_request(account, &PostParams::default(), &body).await;
    let status = answer.map_err(|e| format!("failed to fetch token: {}", report(&e)))?.status;
    let status = status.ok_or("failed to fetch token: the answer holds none")?;
    let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err("failed to fetch token: the answer holds none".to_owned());
    };
    let left = expires.0.duration_since(jiff::Timestamp::now());
    let life = Duration::try_from(left).unwrap_or(Duration::from_secs(60));
    Ok((token, life.max(Duration::from_secs(10))))
}

/// Chooses keys of an object, all of them unless `items` says which and where.
fn pick(
    files: &mut Files,
    data: &std::collections::BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    mode: i32,
) -> Result<(), String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        files.extend(
            data.iter().map(|(key, value)| (key.clone(), (value.clone(), permissions(mode)))),
        );
        return Ok(());
    };
    for item in items {
        match data.get(&item.key) {
            Some(value) => {
                files.insert(
                    item.path.clone(),
                    (value.clone(), permissions(item.mode.unwrap_or(mode))),
                );
            }
            None if optional => {}
            None => return Err(format!("references non-existent config key: {}", item.key)),
        }
    }
    Ok(())
}

fn downward(pod: &Pod, facts: &Facts, item: &DownwardAPIVolumeFile) -> Result<String, String> {
    if let Some(reference) = &item.field_ref {
        let path = &reference.field_path;
        return environment::field(pod, facts, path)
            .ok_or_else(|| format!("unsupported fieldPath: {path}"));
    }
    match &item.resource_field_ref {
        Some(reference) => environment::resource(pod, &Container::default(), reference),
        None => Ok(String::new()),
    }
}

fn permissions(mode: i32) -> u32 {
    mode.cast_unsigned() & 0o777
}
