//! The columns of each kind's table; names and order are those of kube-apiserver's printers.

use crate::resource::Resource;

/// One `columnDefinition`.
pub(super) struct Column {
    pub(super) name: &'static str,
    /// `string` or `integer`.
    pub(super) kind: &'static str,
    /// `name` for the column that commands take, else empty.
    pub(super) format: &'static str,
    pub(super) description: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub(super) priority: i32,
}

const fn column(
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    description: &'static str,
    priority: i32,
) -> Column {
    Column { name, kind, format, description, priority }
}

const fn text(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 0)
}

const fn wide(name: &'static str, description: &'static str) -> Column {
    column(name, "string", "", description, 1)
}

const fn integer(name: &'static str, description: &'static str) -> Column {
    column(name, "integer", "", description, 0)
}

const NAME: Column = column(
    "Name",
    "string",
    "name",
    "The object's name: unique within its namespace, and what commands take.",
    0,
);
const AGE: Column = text("Age", "The time since the object was created.");
const CONTAINERS: Column = wide("Containers", "The names of the template's containers.");
const IMAGES: Column = wide("Images", "The images of the template's containers.");
const SELECTOR: Column = wide("Selector", "The labels that select the pods.");

/// The columns of a kind's table.
pub(super) fn of(resource: &Resource) -> &'static [Column] {
    match resource.kind {
        "Pod" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Ready", "How many of the pod's containers are ready."),
                text("Status", "What the pod and its containers are doing."),
                text(
                    "Restarts",
                    "How often the containers were restarted, and when the last time was.",
                ),
                AGE,
                wide("IP", "The pod's address."),
                wide("Node", "The node that runs the pod."),
                wide("Nominated Node", "The node that the pod waits to be made room on."),
                wide("Readiness Gates", "How many of the pod's readiness gates have passed."),
            ];
            COLUMNS
        }
        "Service" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Type", "How the Service is reached."),
                text("Cluster-IP", "The address within the cluster."),
                text("External-IP", "The addresses from outside the cluster."),
                text("Port(s)", "The ports, with node ports after a colon."),
                AGE,
                SELECTOR,
            ];
            COLUMNS
        }
        "Endpoints" => {
            const COLUMNS: &[Column] =
                &[NAME, text("Endpoints", "The addresses and ports that serve."), AGE];
            COLUMNS
        }
        "EndpointSlice" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("AddressType", "The kind of addresses."),
                text("Ports", "The ports of every endpoint."),
                text("Endpoints", "The addresses."),
                AGE,
            ];
            COLUMNS
        }
        "Ingress" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Class", "The class of controllers that serve it."),
                text("Hosts", "The host names of the rules."),
                text("Address", "The addresses of the load balancer."),
                text("Ports", "The ports that TLS decides on."),
                AGE,
            ];
            COLUMNS
        }
        "IngressClass" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Controller", "Who serves ingresses of this class."),
                text("Parameters", "An object with more settings."),
                AGE,
            ];
            COLUMNS
        }
        "ServiceCIDR" => {
            const COLUMNS: &[Column] =
                &[NAME, text("CIDRs", "The ranges that Services get their addresses from."), AGE];
            COLUMNS
        }
        "IPAddress" => {
            const COLUMNS: &[Column] =
                &[NAME, text("ParentRef", "The object that holds the address."), AGE];
            COLUMNS
        }
        "Node" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Status", "Whether the node takes pods."),
                text("Roles", "The roles that its labels give."),
                AGE,
                text("Version", "The version of the node's agent."),
                wide("Internal-IP", "The address within the cluster."),
                wide("External-IP", "The address from outside."),
                wide("OS-Image", "The operating system."),
                wide("Kernel-Version", "The kernel."),
                wide("Container-Runtime", "What runs the containers."),
            ];
            COLUMNS
        }
        "Event" => {
            const COLUMNS: &[Column] = &[
                text("Last Seen", "When it happened the last time."),
                text("Type", "Normal or Warning."),
                text("Reason", "A word for why."),
                text("Object", "What it happened to."),
                wide("Subobject", "The part it happened to."),
                wide("Source", "Who reported it."),
                text("Message", "What happened."),
                wide("First Seen", "When it happened the first time."),
                column("Count", "integer", "", "How often it happened.", 1),
                column(
                    "Name",
                    "string",
                    "name",
                    "The object's name: unique within its namespace, and what commands take.",
                    1,
                ),
            ];
            COLUMNS
        }
        "Deployment" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Ready", "Ready pods of those wanted."),
                integer("Up-to-date", "Pods of the latest template."),
                integer("Available", "Pods that have been ready long enough."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ];
            COLUMNS
        }
        "ReplicaSet" | "ReplicationController" => {
            const COLUMNS: &[Column] = &[
                NAME,
                integer("Desired", "Pods wanted."),
                integer("Current", "Pods that exist."),
                integer("Ready", "Pods that are ready."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ];
            COLUMNS
        }
        "StatefulSet" => {
            const COLUMNS: &[Column] =
                &[NAME, text("Ready", "Ready pods of those wanted."), AGE, CONTAINERS, IMAGES];
            COLUMNS
        }
        "DaemonSet" => {
            const COLUMNS: &[Column] = &[
                NAME,
                integer("Desired", "Nodes that should run the pod."),
                integer("Current", "Nodes that run it."),
                integer("Ready", "Nodes where it is ready."),
                integer("Up-to-date", "Nodes that run the latest template."),
                integer("Available", "Nodes where it has been ready long enough."),
                text("Node Selector", "The labels of the nodes that run it."),
                AGE,
                CONTAINERS,
                IMAGES,
                SELECTOR,
            ];
            COLUMNS
        }
        "ControllerRevision" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Controller", "The workload that it belongs to."),
                integer("Revision", "Its number, counted up by the workload."),
                AGE,
            ];
            COLUMNS
        }
        "Namespace" => {
            const COLUMNS: &[Column] = &[NAME, text("Status", "Active or Terminating."), AGE];
            COLUMNS
        }
        "ConfigMap" => {
            const COLUMNS: &[Column] = &[NAME, text("Data", "How many keys it has."), AGE];
            COLUMNS
        }
        "Secret" => {
            const COLUMNS: &[Column] = &[
                NAME,
                text("Type", "What kind of secret it is."),
                text("Data", "How many keys it has."),
                AGE,
            ];
            COLUMNS
        }
        "ServiceAccount" => {
            const COLUMNS: &[Column] = &[NAME, text("Secrets", "How many secrets it lists."), AGE];
            COLUMNS
        }
        "Lease" => {
            const COLUMNS: &[Column] = &[NAME, text("Holder", "Who holds it."), AGE];
            COLUMNS
        }
        _ => {
            const COLUMNS: &[Column] = &[NAME, text("Created At", "When the object was created.")];
            COLUMNS
        }
    }
}
