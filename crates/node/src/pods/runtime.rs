//! What all workers of a node share.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
};

use ipnet::IpNet;
use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, api::ListParams};
use parking_lot::Mutex;
use portolan_linux::{Attempt, Failed, mount, watch::FileWatch};
use tokio::sync::watch;

use super::{
    events::Recorder,
    images::{Content, Image, ImageError, ImageStore, digest, normalize},
    ipam::Ipam,
    objects::Objects,
    sandbox::{self, Sandbox},
    worker::Running,
};
use crate::agent::AgentConfig;

/// The containers of a pod that run now, for logs and commands in them.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) uid: String,
    /// By container name.
    pub(crate) running: HashMap<String, Running>,
}

/// The node as its workers see it.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) client: ClientHandle,
    pub(crate) config: Arc<AgentConfig>,
    pub(crate) images: ImageStore,
    pub(crate) events: Recorder,
    pub(crate) objects: Objects,
    /// By `NAMESPACE/NAME`.
    pub(crate) views: Mutex<HashMap<String, View>>,
    /// The node's range, once it has one.
    network: watch::Receiver<Option<Vec<IpNet>>>,
    ipam: Mutex<Option<Ipam>>,
    /// The Services of namespaces as last heard, for when the API server does not answer.
    services: Mutex<HashMap<String, Vec<Service>>>,
    /// Counts the changes of the image store.
    pub(crate) image_changes: watch::Receiver<u64>,
}

/// A client, which says nothing of itself when printed.
#[derive(Clone)]
pub(crate) struct ClientHandle(pub(crate) Client);

impl std::fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Runtime {
    pub(crate) fn new(
        client: Client,
        config: Arc<AgentConfig>,
        network: watch::Receiver<Option<Vec<IpNet>>>,
    ) -> Result<Arc<Self>, ImageError> {
        let images = ImageStore::open(&config.images_dir)?;
        let (changed, image_changes) = watch::channel(0);
        let names = images.names_directory().join("any");
        tokio::spawn(async move {
            let mut watch = match FileWatch::new([names.as_path()]) {
                Ok(watch) => watch,
                Err(e) => {
                    tracing::warn!(error = super::report(&e), "new images will be noticed late");
                    return;
                }
            };
            while watch.changed().await.is_ok() && !changed.is_closed() {
                changed.send_modify(|n| *n += 1);
            }
        });
        Ok(Arc::new(Self {
            events: Recorder::start(client.clone(), config.node_name.clone()),
            objects: Objects::new(client.clone()),
            client: ClientHandle(client),
            config,
            images,
            views: Mutex::default(),
            network,
            ipam: Mutex::new(None),
            services: Mutex::default(),
            image_changes,
        }))
    }

    /// Where a pod keeps its state.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.run_dir.join("pods").join(uid)
    }

    /// Where a pod keeps what would not fit into memory: volumes and writable layers.
    pub(crate) fn pod_data(&self, uid: &str) -> PathBuf {
        self.config.root_dir.join("pods").join(uid)
    }

    /// The sandboxes that an earlier agent left, by the pods' uids.
    pub(crate) fn sandboxes(&self) -> HashMap<String, Sandbox> {
        let entries = std::fs::read_dir(self.config.run_dir.join("pods"));
        let sandboxes = entries.into_iter().flatten().flatten().filter_map(|e| {
            let uid = e.file_name().into_string().ok()?;
            Some((uid, Sandbox::load(&e.path())?))
        });
        sandboxes.collect()
    }

    /// The uids of all pods of which the node keeps anything, be it no more than what an agent had
    /// made or not yet removed when it died.
    pub(crate) fn kept(&self) -> BTreeSet<String> {
        let roots = [&self.config.run_dir, &self.config.root_dir];
        let entries = roots.into_iter().flat_map(|root| std::fs::read_dir(root.join("pods")));
        entries.flatten().flatten().filter_map(|e| e.file_name().into_string().ok()).collect()
    }

    /// Removes a pod's files, logs included, and what is mounted there. Nothing of it may run any
    /// more; a link goes with its namespace.
    pub(crate) fn forget(&self, uid: &str) -> Attempt<()> {
        for path in [self.pod_dir(uid), self.pod_data(uid)] {
            mount::detach_below(&path)?;
            match std::fs::remove_dir_all(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failed::new(format!("remove {}", path.display()), e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Addresses for a pod. Waits until the node has a range; the error says what is wrong.
    pub(crate) async fn allocate_ips(&self) -> Result<Vec<IpAddr>, String> {
        let mut network = self.network.clone();
        let ranges = match network.wait_for(Option::is_some).await {
            Ok(ranges) => ranges.clone().unwrap_or_default(),
            Err(_) => return Err("the pod network is not set up".to_owned()),
        };
        let mut ipam = self.ipam.lock();
        let ipam = ipam.get_or_insert_with(|| {
            let used = self.sandboxes().into_values().flat_map(|s| s.ips);
            Ipam::new(ranges, used, self.config.run_dir.join("ipam.json"))
        });
        ipam.allocate().map_err(|e| e.to_string())
    }

    /// The Services that a new container is told of. While the API server does not answer, those
    /// that it told of last; the error says that there are none yet.
    pub(crate) async fn services(
        &self,
        namespace: &str,
        links: bool,
    ) -> Result<Vec<Service>, String> {
        let mut namespaces = vec!["default"];
        if links && namespace != "default" {
            namespaces.push(namespace);
        }
        let mut found = Vec::new();
        for namespace in namespaces {
            let api: Api<Service> = Api::namespaced(self.client.0.clone(), namespace);
            match api.list(&ListParams::default()).await {
                Ok(list) => {
                    let trimmed: Vec<_> =
                        list.items.into_iter().map(|s| trim(s, namespace)).collect();
                    self.services.lock().insert(namespace.to_owned(), trimmed.clone());
                    found.extend(trimmed);
                }
                Err(e) => match self.services.lock().get(namespace) {
                    Some(held) => found.extend(held.iter().cloned()),
                    None => {
                        return Err(format!(
                            "services have not yet been read at least once: {}",
                            super::report(&e)
                        ));
                    }
                },
            }
        }
        Ok(found)
    }

    pub(crate) fn release_ips(&self, ips: &[IpAddr]) {
        if let Some(ipam) = self.ipam.lock().as_mut() {
            ipam.release(ips);
        }
    }

    /// The transmission unit of pods' links, in bytes.
    pub(crate) fn mtu(&self) -> u32 {
        sandbox::node_mtu(&self.config.internal_ips).unwrap_or(1500)
    }

    /// The image that a container names, if it needs no pulling.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Image>, ImageError> {
        let normalized = normalize(name)?;
        let bare = normalized.strip_suffix(":latest").unwrap_or(&normalized);
        let builtin = self.config.builtin_images.iter().find(|b| b.name == bare);
        Ok(match builtin {
            Some(builtin) => {
                let mut entrypoint = vec![super::shim::spec::PROGRAM.to_owned()];
                entrypoint.extend(builtin.entrypoint.clone());
                Some(Image {
                    id: digest(builtin.entrypoint.join(" ").as_bytes()),
                    name: normalized,
                    content: Content::Host,
                    entrypoint,
                    command: builtin.command.clone(),
                    ..Image::default()
                })
            }
            None => self.images.find(&normalized),
        })
    }
}

/// What a container's environment needs of a Service.
fn trim(service: Service, namespace: &str) -> Service {
    Service {
        metadata: ObjectMeta {
            name: service.metadata.name,
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        spec: service.spec.map(|s| ServiceSpec {
            cluster_ip: s.cluster_ip,
            ports: s.ports,
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
