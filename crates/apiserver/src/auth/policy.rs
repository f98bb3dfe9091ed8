//! The built-in authorization policy: the roles and bindings that kubeadm's clusters start with,
//! as far as this server has the resources (`plugin/pkg/auth/authorizer/rbac/bootstrappolicy`).

use serde_json::{Value, json};

use super::{Attributes, Identity};

/// Allows verbs on resources, as RBAC's `PolicyRule`.
#[derive(Debug)]
struct Rule {
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    /// `pods`, `pods/log`, `*/scale`, `*`.
    resources: &'static [&'static str],
    /// Empty for any name.
    names: &'static [&'static str],
    /// Only in this namespace; empty for everywhere.
    namespace: &'static str,
}

/// Allows verbs on paths that are no resources.
#[derive(Debug)]
struct PathRule {
    verbs: &'static [&'static str],
    /// A trailing `*` stands for any ending.
    paths: &'static [&'static str],
}

#[derive(Debug)]
struct Role {
    /// `ClusterRole` of this name.
    name: &'static str,
    subject: Subject,
    rules: &'static [Rule],
    paths: &'static [PathRule],
}

#[derive(Debug)]
enum Subject {
    User(&'static str),
    Group(&'static str),
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "update", "patch", "delete", "deletecollection"];
const ALL: &[&str] = &["*"];
const CORE: &[&str] = &[""];
const EVENTS: Rule = rule(&["create", "patch", "update"], &["", "events.k8s.io"], &["events"]);

const fn rule(
    verbs: &'static [&'static str],
    groups: &'static [&'static str],
    resources: &'static [&'static str],
) -> Rule {
    Rule { verbs, groups, resources, names: &[], namespace: "" }
}

const fn user(name: &'static str, user: &'static str, rules: &'static [Rule]) -> Role {
    Role { name, subject: Subject::User(user), rules, paths: &[] }
}

const fn group(name: &'static str, group: &'static str, rules: &'static [Rule]) -> Role {
    Role { name, subject: Subject::Group(group), rules, paths: &[] }
}

/// Paths that need no authentication (`system:public-info-viewer`).
const PUBLIC: &[&str] =
    &["/healthz", "/livez", "/readyz", "/version", "/healthz/*", "/livez/*", "/readyz/*"];

static ROLES: &[Role] = &[
    Role {
        name: "cluster-admin",
        subject: Subject::Group("system:masters"),
        rules: &[rule(ALL, ALL, ALL)],
        paths: &[PathRule { verbs: ALL, paths: ALL }],
    },
    Role {
        name: "system:discovery",
        subject: Subject::Group("system:authenticated"),
        rules: &[],
        paths: &[PathRule {
            verbs: &["get"],
            paths: &[
                "/api",
                "/api/*",
                "/apis",
                "/apis/*",
                "/healthz",
                "/livez",
                "/openapi",
                "/openapi/*",
                "/readyz",
                "/version",
                "/version/",
            ],
        }],
    },
    group(
        "system:basic-user",
        "system:authenticated",
        &[
            rule(
                &["create"],
                &["authorization.k8s.io"],
                &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            ),
            rule(&["create"], &["authentication.k8s.io"], &["selfsubjectreviews"]),
        ],
    ),
    Role {
        name: "system:service-account-issuer-discovery",
        subject: Subject::Group("system:serviceaccounts"),
        rules: &[],
        paths: &[PathRule {
            verbs: &["get"],
            paths: &["/.well-known/openid-configuration", "/openid/v1/jwks"],
        }],
    },
    // One process does what the controllers and the scheduler of a kubeadm cluster do, each there
    // with a service account of its own.
    Role {
        name: "system:kube-controller-manager",
        subject: Subject::User("system:kube-controller-manager"),
        rules: &[
            rule(READ, ALL, ALL),
            EVENTS,
            rule(
                WRITE,
                CORE,
                &["configmaps", "endpoints", "pods", "replicationcontrollers", "serviceaccounts"],
            ),
            rule(&["delete", "deletecollection", "patch", "update"], ALL, ALL),
            rule(&["create"], CORE, &["pods/binding", "bindings", "pods/eviction"]),
            rule(&["create"], CORE, &["serviceaccounts/token", "secrets"]),
            rule(&["update", "patch"], CORE, &["nodes", "nodes/status", "pods/status"]),
            rule(&["update"], CORE, &["namespaces/finalize", "namespaces/status"]),
            rule(&["update", "patch"], ALL, &["*/status", "*/scale", "*/finalizers"]),
            rule(
                WRITE,
                &["apps"],
                &[
                    "deployments",
                    "replicasets",
                    "statefulsets",
                    "daemonsets",
                    "controllerrevisions",
                ],
            ),
            rule(WRITE, &["discovery.k8s.io"], &["endpointslices"]),
            rule(WRITE, &["coordination.k8s.io"], &["leases"]),
            rule(WRITE, &["networking.k8s.io"], &["ipaddresses", "servicecidrs"]),
        ],
        paths: &[PathRule { verbs: &["get"], paths: &["/metrics"] }],
    },
    group(
        "system:node",
        "system:nodes",
        &[
            rule(READ, CORE, &["services", "nodes", "pods", "configmaps", "secrets"]),
            rule(&["get"], CORE, &["serviceaccounts", "namespaces"]),
            rule(&["create", "update", "patch"], CORE, &["nodes", "nodes/status"]),
            rule(&["create", "delete"], CORE, &["pods"]),
            rule(&["update", "patch"], CORE, &["pods/status"]),
            rule(&["create"], CORE, &["pods/eviction", "serviceaccounts/token"]),
            EVENTS,
            Rule {
                namespace: "kube-node-lease",
                ..rule(
                    &["get", "create", "update", "patch", "delete"],
                    &["coordination.k8s.io"],
                    &["leases"],
                )
            },
        ],
    ),
    // A node's agent and proxy may share the node's certificate.
    group("system:node-proxier", "system:nodes", NODE_PROXIER),
    user("system:node-proxier", "system:kube-proxy", NODE_PROXIER),
    user(
        "system:coredns",
        "system:serviceaccount:kube-system:coredns",
        &[
            rule(&["list", "watch"], CORE, &["endpoints", "services", "pods", "namespaces"]),
            rule(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
            Rule {
                namespace: "kube-system",
                names: &["coredns"],
                ..rule(READ, CORE, &["configmaps"])
            },
        ],
    ),
    group(
        "kubeadm:cluster-info",
        "system:authenticated",
        &[Rule {
            namespace: "kube-public",
            names: &["cluster-info"],
            ..rule(&["get"], CORE, &["configmaps"])
        }],
    ),
];

const NODE_PROXIER: &[Rule] = &[
    rule(&["list", "watch"], CORE, &["endpoints", "services"]),
    rule(READ, CORE, &["nodes"]),
    rule(&["list", "watch"], &["discovery.k8s.io"], &["endpointslices"]),
    rule(&["list", "watch"], &["networking.k8s.io"], &["servicecidrs"]),
    EVENTS,
    // Beyond kubeadm's: where a proxy reports what its node has programmed.
    Rule {
        namespace: "kube-node-lease",
        ..rule(&["get", "create", "patch"], &["coordination.k8s.io"], &["leases"])
    },
];

fn roles_of(user: &Identity) -> impl Iterator<Item = &'static Role> + '_ {
    ROLES.iter().filter(|role| match role.subject {
        Subject::User(name) => user.name == name,
        Subject::Group(name) => user.groups.iter().any(|group| group == name),
    })
}

fn has(list: &[&str], wanted: &str) -> bool {
    list.iter().any(|known| *known == "*" || *known == wanted)
}

impl Rule {
    fn allows(&self, asked: &Attributes<'_>) -> bool {
        has(self.verbs, asked.verb)
            && has(self.groups, asked.group)
            && self.covers(asked)
            && (self.names.is_empty() || self.names.contains(&asked.name))
            && (self.namespace.is_empty() || self.namespace == asked.namespace)
    }

    fn covers(&self, asked: &Attributes<'_>) -> bool {
        self.resources.iter().any(|known| match known.split_once('/') {
            _ if *known == "*" => true,
            None => asked.subresource.is_empty() && *known == asked.resource,
            Some((resource, subresource)) => {
                (resource == "*" || resource == asked.resource) && subresource == asked.subresource
            }
        })
    }
}

/// The role by which the policy allows it, if it does.
pub(crate) fn allows(user: &Identity, asked: &Attributes<'_>) -> Option<&'static str> {
    roles_of(user)
        .find(|role| role.rules.iter().any(|rule| rule.allows(asked)))
        .map(|role| role.name)
}

/// The same for a path that is no resource.
pub(crate) fn allows_path(user: &Identity, verb: &str, path: &str) -> Option<&'static str> {
    let matches = |known: &&str| match known.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => path == *known,
    };
    if PUBLIC.iter().any(matches) {
        return Some("system:public-info-viewer");
    }
    let allows = |rule: &PathRule| has(rule.verbs, verb) && rule.paths.iter().any(matches);
    roles_of(user).find(|role| role.paths.iter().any(allows)).map(|role| role.name)
}

/// The status of a `SelfSubjectRulesReview` for a namespace.
pub(crate) fn rules(user: &Identity, namespace: &str) -> Value {
    let resources: Vec<Value> = roles_of(user)
        .flat_map(|role| role.rules)
        .filter(|rule| rule.namespace.is_empty() || rule.namespace == namespace)
        .map(|rule| {
            let mut value = json!({"verbs": rule.verbs, "apiGroups": rule.groups,
                "resources": rule.resources});
            if !rule.names.is_empty() {
                value["resourceNames"] = json!(rule.names);
            }
            value
        })
        .collect();
    let paths: Vec<Value> = roles_of(user)
        .flat_map(|role| role.paths)
        .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}))
        .chain([json!({"verbs": ["get"], "nonResourceURLs": PUBLIC})])
        .collect();
    json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(verb: &'static str, resource: &'static str) -> Attributes<'static> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes { verb, group: "", resource, subresource, namespace: "default", name: "x" }
    }

    #[test]
    fn everybody_has_what_kubeadm_gives_them() {
        let admin = Identity::admin();
        assert!(allows(&admin, &asked("delete", "nodes")).is_some());
        let proxy = Identity::new("system:kube-proxy", []);
        assert!(allows(&proxy, &asked("watch", "services")).is_some());
        assert!(allows(&proxy, &asked("get", "secrets")).is_none());
        assert!(allows(&proxy, &asked("update", "services")).is_none());
        let node = Identity::new("system:node:a", ["system:nodes".to_owned()]);
        assert!(allows(&node, &asked("patch", "pods/status")).is_some());
        assert!(allows(&node, &asked("patch", "services/status")).is_none());
        let dns = Identity::new("system:serviceaccount:kube-system:coredns", []);
        assert!(allows(&dns, &asked("list", "namespaces")).is_some());
        assert!(allows(&dns, &asked("create", "pods")).is_none());
        let nobody = Identity::new("jane", []);
        assert!(allows(&nobody, &asked("get", "pods")).is_none());
    }

    #[test]
    fn a_rule_for_a_resource_does_not_cover_its_subresources() {
        let only = rule(ALL, CORE, &["pods"]);
        assert!(only.allows(&asked("get", "pods")));
        assert!(!only.allows(&asked("get", "pods/log")));
        assert!(rule(ALL, CORE, &["*/scale"]).allows(&asked("get", "pods/scale")));
    }

    #[test]
    fn leases_of_nodes_are_in_their_namespace() {
        let node = Identity::new("system:node:a", ["system:nodes".to_owned()]);
        let mut lease = asked("update", "leases");
        lease.group = "coordination.k8s.io";
        assert!(allows(&node, &lease).is_none());
        lease.namespace = "kube-node-lease";
        assert!(allows(&node, &lease).is_some());
        let proxy = Identity::new("system:kube-proxy", []);
        lease.verb = "patch";
        assert!(allows(&proxy, &lease).is_some());
        lease.namespace = "kube-system";
        assert!(allows(&proxy, &lease).is_none(), "leadership is decided there");
    }

    #[test]
    fn paths_are_covered_by_prefix() {
        let jane = Identity::new("jane", []);
        assert!(allows_path(&jane, "get", "/apis/apps/v1").is_some());
        assert!(allows_path(&jane, "get", "/metrics").is_none());
        assert!(allows_path(&Identity::default(), "get", "/healthz/ping").is_some());
        assert!(allows_path(&Identity::default(), "get", "/api").is_none());
    }
}
