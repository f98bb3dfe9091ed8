//! Where a lab keeps what it has.

use std::path::{Path, PathBuf};

/// Directory under which every lab has its own.
const LABS: &str = "/run/portolan";

/// The files of one lab, all below `/run/portolan/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Paths {
    pub fn of(name: &str) -> Paths {
        Paths { root: Path::new(LABS).join(name) }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The plan, as JSON.
    pub fn plan(&self) -> PathBuf {
        self.root.join("lab.json")
    }

    /// Locked by the supervisor for as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The supervisor's control socket.
    pub fn control(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.root.join("kubeconfig")
    }

    /// Certificates and keys, and the components' own kubeconfigs.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// A component's kubeconfig.
    pub fn component_kubeconfig(&self, name: &str) -> PathBuf {
        self.pki().join(format!("{name}.kubeconfig"))
    }

    /// The API server's store.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// Images added and loaded, shared by all nodes.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("log")
    }

    /// A namespace of the network, bound to a file.
    pub fn netns(&self, name: &str) -> PathBuf {
        self.root.join("netns").join(name)
    }

    /// What a node's agent keeps.
    pub fn node(&self, node: &str) -> PathBuf {
        self.root.join("node").join(node)
    }

    /// The nodes' resolv.conf: the relay to the host's resolvers.
    pub fn resolv_conf(&self) -> PathBuf {
        self.root.join("resolv.conf")
    }

    /// The lab's cgroup, relative to the root of the cgroup2 hierarchy.
    pub fn cgroup(&self) -> PathBuf {
        let name = self.root.file_name().unwrap_or_default().to_string_lossy();
        PathBuf::from(format!("portolan-{name}"))
    }

    /// The cgroup of everything on a node, relative as above.
    pub fn node_cgroup(&self, node: &str) -> PathBuf {
        self.cgroup().join("nodes").join(node)
    }

    /// Where a node's proxy has its BPF file system.
    pub fn bpf(&self, node: &str) -> PathBuf {
        self.node(node).join("bpf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_has_its_own_directory_and_cgroup() {
        let paths = Paths::of("blue");
        assert_eq!(paths.kubeconfig(), Path::new("/run/portolan/blue/kubeconfig"));
        assert_eq!(paths.cgroup(), Path::new("portolan-blue"));
    }
}
