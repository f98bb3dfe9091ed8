//! What the kinds of this server hold, field by field. Written by `generate.rs`; do not edit.

use super::{Field, Lists, Patch, Struct, Type};

static APPS_V1_CONTROLLERREVISION: Struct = Struct {
    name: "io.k8s.api.apps.v1.ControllerRevision",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("data", Type::Any),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "revision",
            kind: Type::Int64,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_DAEMONSET: Struct = Struct {
    name: "io.k8s.api.apps.v1.DaemonSet",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&APPS_V1_DAEMONSETSPEC)),
        Field::plain("status", Type::Struct(&APPS_V1_DAEMONSETSTATUS)),
    ],
};

static APPS_V1_DAEMONSETCONDITION: Struct = Struct {
    name: "io.k8s.api.apps.v1.DaemonSetCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_DAEMONSETSPEC: Struct = Struct {
    name: "io.k8s.api.apps.v1.DaemonSetSpec",
    atomic: false,
    fields: &[
        Field::plain("minReadySeconds", Type::Int32),
        Field::plain("revisionHistoryLimit", Type::Int32),
        Field {
            name: "selector",
            kind: Type::Struct(&META_V1_LABELSELECTOR),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "template",
            kind: Type::Struct(&CORE_V1_PODTEMPLATESPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("updateStrategy", Type::Struct(&APPS_V1_DAEMONSETUPDATESTRATEGY)),
    ],
};

static APPS_V1_DAEMONSETSTATUS: Struct = Struct {
    name: "io.k8s.api.apps.v1.DaemonSetStatus",
    atomic: false,
    fields: &[
        Field::plain("collisionCount", Type::Int32),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&APPS_V1_DAEMONSETCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field {
            name: "currentNumberScheduled",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "desiredNumberScheduled",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("numberAvailable", Type::Int32),
        Field {
            name: "numberMisscheduled",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "numberReady",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("numberUnavailable", Type::Int32),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("updatedNumberScheduled", Type::Int32),
    ],
};

static APPS_V1_DAEMONSETUPDATESTRATEGY: Struct = Struct {
    name: "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
    atomic: false,
    fields: &[
        Field::plain("rollingUpdate", Type::Struct(&APPS_V1_ROLLINGUPDATEDAEMONSET)),
        Field::plain("type", Type::String),
    ],
};

static APPS_V1_DEPLOYMENT: Struct = Struct {
    name: "io.k8s.api.apps.v1.Deployment",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&APPS_V1_DEPLOYMENTSPEC)),
        Field::plain("status", Type::Struct(&APPS_V1_DEPLOYMENTSTATUS)),
    ],
};

static APPS_V1_DEPLOYMENTCONDITION: Struct = Struct {
    name: "io.k8s.api.apps.v1.DeploymentCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("lastUpdateTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_DEPLOYMENTSPEC: Struct = Struct {
    name: "io.k8s.api.apps.v1.DeploymentSpec",
    atomic: false,
    fields: &[
        Field::plain("minReadySeconds", Type::Int32),
        Field::plain("paused", Type::Bool),
        Field::plain("progressDeadlineSeconds", Type::Int32),
        Field::plain("replicas", Type::Int32),
        Field::plain("revisionHistoryLimit", Type::Int32),
        Field {
            name: "selector",
            kind: Type::Struct(&META_V1_LABELSELECTOR),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "strategy",
            kind: Type::Struct(&APPS_V1_DEPLOYMENTSTRATEGY),
            required: false,
            patch: Patch::RetainKeys,
            lists: Lists::Atomic,
        },
        Field {
            name: "template",
            kind: Type::Struct(&CORE_V1_PODTEMPLATESPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_DEPLOYMENTSTATUS: Struct = Struct {
    name: "io.k8s.api.apps.v1.DeploymentStatus",
    atomic: false,
    fields: &[
        Field::plain("availableReplicas", Type::Int32),
        Field::plain("collisionCount", Type::Int32),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&APPS_V1_DEPLOYMENTCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("readyReplicas", Type::Int32),
        Field::plain("replicas", Type::Int32),
        Field::plain("terminatingReplicas", Type::Int32),
        Field::plain("unavailableReplicas", Type::Int32),
        Field::plain("updatedReplicas", Type::Int32),
    ],
};

static APPS_V1_DEPLOYMENTSTRATEGY: Struct = Struct {
    name: "io.k8s.api.apps.v1.DeploymentStrategy",
    atomic: false,
    fields: &[
        Field::plain("rollingUpdate", Type::Struct(&APPS_V1_ROLLINGUPDATEDEPLOYMENT)),
        Field::plain("type", Type::String),
    ],
};

static APPS_V1_REPLICASET: Struct = Struct {
    name: "io.k8s.api.apps.v1.ReplicaSet",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&APPS_V1_REPLICASETSPEC)),
        Field::plain("status", Type::Struct(&APPS_V1_REPLICASETSTATUS)),
    ],
};

static APPS_V1_REPLICASETCONDITION: Struct = Struct {
    name: "io.k8s.api.apps.v1.ReplicaSetCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_REPLICASETSPEC: Struct = Struct {
    name: "io.k8s.api.apps.v1.ReplicaSetSpec",
    atomic: false,
    fields: &[
        Field::plain("minReadySeconds", Type::Int32),
        Field::plain("replicas", Type::Int32),
        Field {
            name: "selector",
            kind: Type::Struct(&META_V1_LABELSELECTOR),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("template", Type::Struct(&CORE_V1_PODTEMPLATESPEC)),
    ],
};

static APPS_V1_REPLICASETSTATUS: Struct = Struct {
    name: "io.k8s.api.apps.v1.ReplicaSetStatus",
    atomic: false,
    fields: &[
        Field::plain("availableReplicas", Type::Int32),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&APPS_V1_REPLICASETCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("fullyLabeledReplicas", Type::Int32),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("readyReplicas", Type::Int32),
        Field {
            name: "replicas",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("terminatingReplicas", Type::Int32),
    ],
};

static APPS_V1_ROLLINGUPDATEDAEMONSET: Struct = Struct {
    name: "io.k8s.api.apps.v1.RollingUpdateDaemonSet",
    atomic: false,
    fields: &[
        Field::plain("maxSurge", Type::IntOrString),
        Field::plain("maxUnavailable", Type::IntOrString),
    ],
};

static APPS_V1_ROLLINGUPDATEDEPLOYMENT: Struct = Struct {
    name: "io.k8s.api.apps.v1.RollingUpdateDeployment",
    atomic: false,
    fields: &[
        Field::plain("maxSurge", Type::IntOrString),
        Field::plain("maxUnavailable", Type::IntOrString),
    ],
};

static APPS_V1_ROLLINGUPDATESTATEFULSETSTRATEGY: Struct = Struct {
    name: "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy",
    atomic: false,
    fields: &[
        Field::plain("maxUnavailable", Type::IntOrString),
        Field::plain("partition", Type::Int32),
    ],
};

static APPS_V1_STATEFULSET: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSet",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&APPS_V1_STATEFULSETSPEC)),
        Field::plain("status", Type::Struct(&APPS_V1_STATEFULSETSTATUS)),
    ],
};

static APPS_V1_STATEFULSETCONDITION: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static APPS_V1_STATEFULSETORDINALS: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetOrdinals",
    atomic: false,
    fields: &[Field::plain("start", Type::Int32)],
};

static APPS_V1_STATEFULSETPERSISTENTVOLUMECLAIMRETENTIONPOLICY: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy",
    atomic: false,
    fields: &[Field::plain("whenDeleted", Type::String), Field::plain("whenScaled", Type::String)],
};

static APPS_V1_STATEFULSETSPEC: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetSpec",
    atomic: false,
    fields: &[
        Field::plain("minReadySeconds", Type::Int32),
        Field::plain("ordinals", Type::Struct(&APPS_V1_STATEFULSETORDINALS)),
        Field::plain(
            "persistentVolumeClaimRetentionPolicy",
            Type::Struct(&APPS_V1_STATEFULSETPERSISTENTVOLUMECLAIMRETENTIONPOLICY),
        ),
        Field::plain("podManagementPolicy", Type::String),
        Field::plain("replicas", Type::Int32),
        Field::plain("revisionHistoryLimit", Type::Int32),
        Field {
            name: "selector",
            kind: Type::Struct(&META_V1_LABELSELECTOR),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("serviceName", Type::String),
        Field {
            name: "template",
            kind: Type::Struct(&CORE_V1_PODTEMPLATESPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("updateStrategy", Type::Struct(&APPS_V1_STATEFULSETUPDATESTRATEGY)),
        Field::plain(
            "volumeClaimTemplates",
            Type::List(&Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIM)),
        ),
    ],
};

static APPS_V1_STATEFULSETSTATUS: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetStatus",
    atomic: false,
    fields: &[
        Field::plain("availableReplicas", Type::Int32),
        Field::plain("collisionCount", Type::Int32),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&APPS_V1_STATEFULSETCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("currentReplicas", Type::Int32),
        Field::plain("currentRevision", Type::String),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("readyReplicas", Type::Int32),
        Field {
            name: "replicas",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("updateRevision", Type::String),
        Field::plain("updatedReplicas", Type::Int32),
    ],
};

static APPS_V1_STATEFULSETUPDATESTRATEGY: Struct = Struct {
    name: "io.k8s.api.apps.v1.StatefulSetUpdateStrategy",
    atomic: false,
    fields: &[
        Field::plain("rollingUpdate", Type::Struct(&APPS_V1_ROLLINGUPDATESTATEFULSETSTRATEGY)),
        Field::plain("type", Type::String),
    ],
};

static AUTHENTICATION_V1_BOUNDOBJECTREFERENCE: Struct = Struct {
    name: "io.k8s.api.authentication.v1.BoundObjectReference",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field::plain("name", Type::String),
        Field::plain("uid", Type::String),
    ],
};

static AUTHENTICATION_V1_TOKENREQUEST: Struct = Struct {
    name: "io.k8s.api.authentication.v1.TokenRequest",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&AUTHENTICATION_V1_TOKENREQUESTSPEC)),
        Field::plain("status", Type::Struct(&AUTHENTICATION_V1_TOKENREQUESTSTATUS)),
    ],
};

static AUTHENTICATION_V1_TOKENREQUESTSPEC: Struct = Struct {
    name: "io.k8s.api.authentication.v1.TokenRequestSpec",
    atomic: false,
    fields: &[
        Field::plain("audiences", Type::List(&Type::String)),
        Field::plain("boundObjectRef", Type::Struct(&AUTHENTICATION_V1_BOUNDOBJECTREFERENCE)),
        Field::plain("expirationSeconds", Type::Int64),
    ],
};

static AUTHENTICATION_V1_TOKENREQUESTSTATUS: Struct = Struct {
    name: "io.k8s.api.authentication.v1.TokenRequestStatus",
    atomic: false,
    fields: &[Field::plain("expirationTimestamp", Type::Time), Field::plain("token", Type::String)],
};

static AUTHORIZATION_V1_FIELDSELECTORATTRIBUTES: Struct = Struct {
    name: "io.k8s.api.authorization.v1.FieldSelectorAttributes",
    atomic: false,
    fields: &[
        Field::plain("rawSelector", Type::String),
        Field::plain("requirements", Type::List(&Type::Struct(&META_V1_FIELDSELECTORREQUIREMENT))),
    ],
};

static AUTHORIZATION_V1_LABELSELECTORATTRIBUTES: Struct = Struct {
    name: "io.k8s.api.authorization.v1.LabelSelectorAttributes",
    atomic: false,
    fields: &[
        Field::plain("rawSelector", Type::String),
        Field::plain("requirements", Type::List(&Type::Struct(&META_V1_LABELSELECTORREQUIREMENT))),
    ],
};

static AUTHORIZATION_V1_NONRESOURCEATTRIBUTES: Struct = Struct {
    name: "io.k8s.api.authorization.v1.NonResourceAttributes",
    atomic: false,
    fields: &[Field::plain("path", Type::String), Field::plain("verb", Type::String)],
};

static AUTHORIZATION_V1_NONRESOURCERULE: Struct = Struct {
    name: "io.k8s.api.authorization.v1.NonResourceRule",
    atomic: false,
    fields: &[
        Field::plain("nonResourceURLs", Type::List(&Type::String)),
        Field {
            name: "verbs",
            kind: Type::List(&Type::String),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static AUTHORIZATION_V1_RESOURCEATTRIBUTES: Struct = Struct {
    name: "io.k8s.api.authorization.v1.ResourceAttributes",
    atomic: false,
    fields: &[
        Field::plain("fieldSelector", Type::Struct(&AUTHORIZATION_V1_FIELDSELECTORATTRIBUTES)),
        Field::plain("group", Type::String),
        Field::plain("labelSelector", Type::Struct(&AUTHORIZATION_V1_LABELSELECTORATTRIBUTES)),
        Field::plain("name", Type::String),
        Field::plain("namespace", Type::String),
        Field::plain("resource", Type::String),
        Field::plain("subresource", Type::String),
        Field::plain("verb", Type::String),
        Field::plain("version", Type::String),
    ],
};

static AUTHORIZATION_V1_RESOURCERULE: Struct = Struct {
    name: "io.k8s.api.authorization.v1.ResourceRule",
    atomic: false,
    fields: &[
        Field::plain("apiGroups", Type::List(&Type::String)),
        Field::plain("resourceNames", Type::List(&Type::String)),
        Field::plain("resources", Type::List(&Type::String)),
        Field {
            name: "verbs",
            kind: Type::List(&Type::String),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEW: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "spec",
            kind: Type::Struct(&AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEWSPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("status", Type::Struct(&AUTHORIZATION_V1_SUBJECTACCESSREVIEWSTATUS)),
    ],
};

static AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEWSPEC: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SelfSubjectAccessReviewSpec",
    atomic: false,
    fields: &[
        Field::plain(
            "nonResourceAttributes",
            Type::Struct(&AUTHORIZATION_V1_NONRESOURCEATTRIBUTES),
        ),
        Field::plain("resourceAttributes", Type::Struct(&AUTHORIZATION_V1_RESOURCEATTRIBUTES)),
    ],
};

static AUTHORIZATION_V1_SELFSUBJECTRULESREVIEW: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "spec",
            kind: Type::Struct(&AUTHORIZATION_V1_SELFSUBJECTRULESREVIEWSPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("status", Type::Struct(&AUTHORIZATION_V1_SUBJECTRULESREVIEWSTATUS)),
    ],
};

static AUTHORIZATION_V1_SELFSUBJECTRULESREVIEWSPEC: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SelfSubjectRulesReviewSpec",
    atomic: false,
    fields: &[Field::plain("namespace", Type::String)],
};

static AUTHORIZATION_V1_SUBJECTACCESSREVIEWSTATUS: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SubjectAccessReviewStatus",
    atomic: false,
    fields: &[
        Field {
            name: "allowed",
            kind: Type::Bool,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("denied", Type::Bool),
        Field::plain("evaluationError", Type::String),
        Field::plain("reason", Type::String),
    ],
};

static AUTHORIZATION_V1_SUBJECTRULESREVIEWSTATUS: Struct = Struct {
    name: "io.k8s.api.authorization.v1.SubjectRulesReviewStatus",
    atomic: false,
    fields: &[
        Field::plain("evaluationError", Type::String),
        Field {
            name: "incomplete",
            kind: Type::Bool,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "nonResourceRules",
            kind: Type::List(&Type::Struct(&AUTHORIZATION_V1_NONRESOURCERULE)),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "resourceRules",
            kind: Type::List(&Type::Struct(&AUTHORIZATION_V1_RESOURCERULE)),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static AUTOSCALING_V1_SCALE: Struct = Struct {
    name: "io.k8s.api.autoscaling.v1.Scale",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&AUTOSCALING_V1_SCALESPEC)),
        Field::plain("status", Type::Struct(&AUTOSCALING_V1_SCALESTATUS)),
    ],
};

static AUTOSCALING_V1_SCALESPEC: Struct = Struct {
    name: "io.k8s.api.autoscaling.v1.ScaleSpec",
    atomic: false,
    fields: &[Field::plain("replicas", Type::Int32)],
};

static AUTOSCALING_V1_SCALESTATUS: Struct = Struct {
    name: "io.k8s.api.autoscaling.v1.ScaleStatus",
    atomic: false,
    fields: &[
        Field {
            name: "replicas",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("selector", Type::String),
    ],
};

static COORDINATION_V1_LEASE: Struct = Struct {
    name: "io.k8s.api.coordination.v1.Lease",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&COORDINATION_V1_LEASESPEC)),
    ],
};

static COORDINATION_V1_LEASESPEC: Struct = Struct {
    name: "io.k8s.api.coordination.v1.LeaseSpec",
    atomic: false,
    fields: &[
        Field::plain("acquireTime", Type::MicroTime),
        Field::plain("holderIdentity", Type::String),
        Field::plain("leaseDurationSeconds", Type::Int32),
        Field::plain("leaseTransitions", Type::Int32),
        Field::plain("preferredHolder", Type::String),
        Field::plain("renewTime", Type::MicroTime),
        Field::plain("strategy", Type::String),
    ],
};

static CORE_V1_AWSELASTICBLOCKSTOREVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("partition", Type::Int32),
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "volumeID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_AFFINITY: Struct = Struct {
    name: "io.k8s.api.core.v1.Affinity",
    atomic: false,
    fields: &[
        Field::plain("nodeAffinity", Type::Struct(&CORE_V1_NODEAFFINITY)),
        Field::plain("podAffinity", Type::Struct(&CORE_V1_PODAFFINITY)),
        Field::plain("podAntiAffinity", Type::Struct(&CORE_V1_PODANTIAFFINITY)),
    ],
};

static CORE_V1_APPARMORPROFILE: Struct = Struct {
    name: "io.k8s.api.core.v1.AppArmorProfile",
    atomic: false,
    fields: &[
        Field::plain("localhostProfile", Type::String),
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_ATTACHEDVOLUME: Struct = Struct {
    name: "io.k8s.api.core.v1.AttachedVolume",
    atomic: false,
    fields: &[
        Field {
            name: "devicePath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_AZUREDISKVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.AzureDiskVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("cachingMode", Type::String),
        Field {
            name: "diskName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "diskURI",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("fsType", Type::String),
        Field::plain("kind", Type::String),
        Field::plain("readOnly", Type::Bool),
    ],
};

static CORE_V1_AZUREFILEVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.AzureFileVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "secretName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "shareName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_BINDING: Struct = Struct {
    name: "io.k8s.api.core.v1.Binding",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "target",
            kind: Type::Struct(&CORE_V1_OBJECTREFERENCE),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_CSIVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.CSIVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "driver",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("fsType", Type::String),
        Field::plain("nodePublishSecretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field::plain("readOnly", Type::Bool),
        Field::plain("volumeAttributes", Type::Map(&Type::String)),
    ],
};

static CORE_V1_CAPABILITIES: Struct = Struct {
    name: "io.k8s.api.core.v1.Capabilities",
    atomic: false,
    fields: &[
        Field::plain("add", Type::List(&Type::String)),
        Field::plain("drop", Type::List(&Type::String)),
    ],
};

static CORE_V1_CEPHFSVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.CephFSVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "monitors",
            kind: Type::List(&Type::String),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("path", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretFile", Type::String),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field::plain("user", Type::String),
    ],
};

static CORE_V1_CINDERVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.CinderVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field {
            name: "volumeID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_CLIENTIPCONFIG: Struct = Struct {
    name: "io.k8s.api.core.v1.ClientIPConfig",
    atomic: false,
    fields: &[Field::plain("timeoutSeconds", Type::Int32)],
};

static CORE_V1_CLUSTERTRUSTBUNDLEPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.ClusterTrustBundleProjection",
    atomic: false,
    fields: &[
        Field::plain("labelSelector", Type::Struct(&META_V1_LABELSELECTOR)),
        Field::plain("name", Type::String),
        Field::plain("optional", Type::Bool),
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("signerName", Type::String),
    ],
};

static CORE_V1_CONFIGMAP: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMap",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("binaryData", Type::Map(&Type::Bytes)),
        Field::plain("data", Type::Map(&Type::String)),
        Field::plain("immutable", Type::Bool),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_CONFIGMAPENVSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMapEnvSource",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_CONFIGMAPKEYSELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMapKeySelector",
    atomic: true,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_CONFIGMAPNODECONFIGSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMapNodeConfigSource",
    atomic: false,
    fields: &[
        Field {
            name: "kubeletConfigKey",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "namespace",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("resourceVersion", Type::String),
        Field::plain("uid", Type::String),
    ],
};

static CORE_V1_CONFIGMAPPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMapProjection",
    atomic: false,
    fields: &[
        Field::plain("items", Type::List(&Type::Struct(&CORE_V1_KEYTOPATH))),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_CONFIGMAPVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ConfigMapVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("defaultMode", Type::Int32),
        Field::plain("items", Type::List(&Type::Struct(&CORE_V1_KEYTOPATH))),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_CONTAINER: Struct = Struct {
    name: "io.k8s.api.core.v1.Container",
    atomic: false,
    fields: &[
        Field::plain("args", Type::List(&Type::String)),
        Field::plain("command", Type::List(&Type::String)),
        Field {
            name: "env",
            kind: Type::List(&Type::Struct(&CORE_V1_ENVVAR)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("envFrom", Type::List(&Type::Struct(&CORE_V1_ENVFROMSOURCE))),
        Field::plain("image", Type::String),
        Field::plain("imagePullPolicy", Type::String),
        Field::plain("lifecycle", Type::Struct(&CORE_V1_LIFECYCLE)),
        Field::plain("livenessProbe", Type::Struct(&CORE_V1_PROBE)),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "ports",
            kind: Type::List(&Type::Struct(&CORE_V1_CONTAINERPORT)),
            required: false,
            patch: Patch::Merge("containerPort"),
            lists: Lists::Map(&["containerPort", "protocol"]),
        },
        Field::plain("readinessProbe", Type::Struct(&CORE_V1_PROBE)),
        Field::plain("resizePolicy", Type::List(&Type::Struct(&CORE_V1_CONTAINERRESIZEPOLICY))),
        Field::plain("resources", Type::Struct(&CORE_V1_RESOURCEREQUIREMENTS)),
        Field::plain("restartPolicy", Type::String),
        Field::plain(
            "restartPolicyRules",
            Type::List(&Type::Struct(&CORE_V1_CONTAINERRESTARTRULE)),
        ),
        Field::plain("securityContext", Type::Struct(&CORE_V1_SECURITYCONTEXT)),
        Field::plain("startupProbe", Type::Struct(&CORE_V1_PROBE)),
        Field::plain("stdin", Type::Bool),
        Field::plain("stdinOnce", Type::Bool),
        Field::plain("terminationMessagePath", Type::String),
        Field::plain("terminationMessagePolicy", Type::String),
        Field::plain("tty", Type::Bool),
        Field {
            name: "volumeDevices",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUMEDEVICE)),
            required: false,
            patch: Patch::Merge("devicePath"),
            lists: Lists::Map(&["devicePath"]),
        },
        Field {
            name: "volumeMounts",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUMEMOUNT)),
            required: false,
            patch: Patch::Merge("mountPath"),
            lists: Lists::Map(&["mountPath"]),
        },
        Field::plain("workingDir", Type::String),
    ],
};

static CORE_V1_CONTAINEREXTENDEDRESOURCEREQUEST: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerExtendedResourceRequest",
    atomic: false,
    fields: &[
        Field {
            name: "containerName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "requestName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "resourceName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_CONTAINERIMAGE: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerImage",
    atomic: false,
    fields: &[
        Field::plain("names", Type::List(&Type::String)),
        Field::plain("sizeBytes", Type::Int64),
    ],
};

static CORE_V1_CONTAINERPORT: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerPort",
    atomic: false,
    fields: &[
        Field {
            name: "containerPort",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("hostIP", Type::String),
        Field::plain("hostPort", Type::Int32),
        Field::plain("name", Type::String),
        Field::plain("protocol", Type::String),
    ],
};

static CORE_V1_CONTAINERRESIZEPOLICY: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerResizePolicy",
    atomic: false,
    fields: &[
        Field {
            name: "resourceName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "restartPolicy",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_CONTAINERRESTARTRULE: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerRestartRule",
    atomic: false,
    fields: &[
        Field {
            name: "action",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("exitCodes", Type::Struct(&CORE_V1_CONTAINERRESTARTRULEONEXITCODES)),
    ],
};

static CORE_V1_CONTAINERRESTARTRULEONEXITCODES: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes",
    atomic: false,
    fields: &[
        Field {
            name: "operator",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "values",
            kind: Type::List(&Type::Int32),
            required: false,
            patch: Patch::Replace,
            lists: Lists::Set,
        },
    ],
};

static CORE_V1_CONTAINERSTATE: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerState",
    atomic: false,
    fields: &[
        Field::plain("running", Type::Struct(&CORE_V1_CONTAINERSTATERUNNING)),
        Field::plain("terminated", Type::Struct(&CORE_V1_CONTAINERSTATETERMINATED)),
        Field::plain("waiting", Type::Struct(&CORE_V1_CONTAINERSTATEWAITING)),
    ],
};

static CORE_V1_CONTAINERSTATERUNNING: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerStateRunning",
    atomic: false,
    fields: &[Field::plain("startedAt", Type::Time)],
};

static CORE_V1_CONTAINERSTATETERMINATED: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerStateTerminated",
    atomic: false,
    fields: &[
        Field::plain("containerID", Type::String),
        Field {
            name: "exitCode",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("finishedAt", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field::plain("signal", Type::Int32),
        Field::plain("startedAt", Type::Time),
    ],
};

static CORE_V1_CONTAINERSTATEWAITING: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerStateWaiting",
    atomic: false,
    fields: &[Field::plain("message", Type::String), Field::plain("reason", Type::String)],
};

static CORE_V1_CONTAINERSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerStatus",
    atomic: false,
    fields: &[
        Field::plain("allocatedResources", Type::Map(&Type::Quantity)),
        Field {
            name: "allocatedResourcesStatus",
            kind: Type::List(&Type::Struct(&CORE_V1_RESOURCESTATUS)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("containerID", Type::String),
        Field {
            name: "image",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "imageID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("lastState", Type::Struct(&CORE_V1_CONTAINERSTATE)),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "ready",
            kind: Type::Bool,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("resources", Type::Struct(&CORE_V1_RESOURCEREQUIREMENTS)),
        Field {
            name: "restartCount",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("started", Type::Bool),
        Field::plain("state", Type::Struct(&CORE_V1_CONTAINERSTATE)),
        Field::plain("stopSignal", Type::String),
        Field::plain("user", Type::Struct(&CORE_V1_CONTAINERUSER)),
        Field {
            name: "volumeMounts",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUMEMOUNTSTATUS)),
            required: false,
            patch: Patch::Merge("mountPath"),
            lists: Lists::Map(&["mountPath"]),
        },
    ],
};

static CORE_V1_CONTAINERUSER: Struct = Struct {
    name: "io.k8s.api.core.v1.ContainerUser",
    atomic: false,
    fields: &[Field::plain("linux", Type::Struct(&CORE_V1_LINUXCONTAINERUSER))],
};

static CORE_V1_DAEMONENDPOINT: Struct = Struct {
    name: "io.k8s.api.core.v1.DaemonEndpoint",
    atomic: false,
    fields: &[Field {
        name: "Port",
        kind: Type::Int32,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_DOWNWARDAPIPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.DownwardAPIProjection",
    atomic: false,
    fields: &[Field::plain("items", Type::List(&Type::Struct(&CORE_V1_DOWNWARDAPIVOLUMEFILE)))],
};

static CORE_V1_DOWNWARDAPIVOLUMEFILE: Struct = Struct {
    name: "io.k8s.api.core.v1.DownwardAPIVolumeFile",
    atomic: false,
    fields: &[
        Field::plain("fieldRef", Type::Struct(&CORE_V1_OBJECTFIELDSELECTOR)),
        Field::plain("mode", Type::Int32),
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("resourceFieldRef", Type::Struct(&CORE_V1_RESOURCEFIELDSELECTOR)),
    ],
};

static CORE_V1_DOWNWARDAPIVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.DownwardAPIVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("defaultMode", Type::Int32),
        Field::plain("items", Type::List(&Type::Struct(&CORE_V1_DOWNWARDAPIVOLUMEFILE))),
    ],
};

static CORE_V1_EMPTYDIRVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.EmptyDirVolumeSource",
    atomic: false,
    fields: &[Field::plain("medium", Type::String), Field::plain("sizeLimit", Type::Quantity)],
};

static CORE_V1_ENDPOINTADDRESS: Struct = Struct {
    name: "io.k8s.api.core.v1.EndpointAddress",
    atomic: true,
    fields: &[
        Field::plain("hostname", Type::String),
        Field {
            name: "ip",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("nodeName", Type::String),
        Field::plain("targetRef", Type::Struct(&CORE_V1_OBJECTREFERENCE)),
    ],
};

static CORE_V1_ENDPOINTPORT: Struct = Struct {
    name: "io.k8s.api.core.v1.EndpointPort",
    atomic: true,
    fields: &[
        Field::plain("appProtocol", Type::String),
        Field::plain("name", Type::String),
        Field {
            name: "port",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("protocol", Type::String),
    ],
};

static CORE_V1_ENDPOINTSUBSET: Struct = Struct {
    name: "io.k8s.api.core.v1.EndpointSubset",
    atomic: false,
    fields: &[
        Field::plain("addresses", Type::List(&Type::Struct(&CORE_V1_ENDPOINTADDRESS))),
        Field::plain("notReadyAddresses", Type::List(&Type::Struct(&CORE_V1_ENDPOINTADDRESS))),
        Field::plain("ports", Type::List(&Type::Struct(&CORE_V1_ENDPOINTPORT))),
    ],
};

static CORE_V1_ENDPOINTS: Struct = Struct {
    name: "io.k8s.api.core.v1.Endpoints",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("subsets", Type::List(&Type::Struct(&CORE_V1_ENDPOINTSUBSET))),
    ],
};

static CORE_V1_ENVFROMSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.EnvFromSource",
    atomic: false,
    fields: &[
        Field::plain("configMapRef", Type::Struct(&CORE_V1_CONFIGMAPENVSOURCE)),
        Field::plain("prefix", Type::String),
        Field::plain("secretRef", Type::Struct(&CORE_V1_SECRETENVSOURCE)),
    ],
};

static CORE_V1_ENVVAR: Struct = Struct {
    name: "io.k8s.api.core.v1.EnvVar",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("value", Type::String),
        Field::plain("valueFrom", Type::Struct(&CORE_V1_ENVVARSOURCE)),
    ],
};

static CORE_V1_ENVVARSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.EnvVarSource",
    atomic: false,
    fields: &[
        Field::plain("configMapKeyRef", Type::Struct(&CORE_V1_CONFIGMAPKEYSELECTOR)),
        Field::plain("fieldRef", Type::Struct(&CORE_V1_OBJECTFIELDSELECTOR)),
        Field::plain("fileKeyRef", Type::Struct(&CORE_V1_FILEKEYSELECTOR)),
        Field::plain("resourceFieldRef", Type::Struct(&CORE_V1_RESOURCEFIELDSELECTOR)),
        Field::plain("secretKeyRef", Type::Struct(&CORE_V1_SECRETKEYSELECTOR)),
    ],
};

static CORE_V1_EPHEMERALCONTAINER: Struct = Struct {
    name: "io.k8s.api.core.v1.EphemeralContainer",
    atomic: false,
    fields: &[
        Field::plain("args", Type::List(&Type::String)),
        Field::plain("command", Type::List(&Type::String)),
        Field {
            name: "env",
            kind: Type::List(&Type::Struct(&CORE_V1_ENVVAR)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("envFrom", Type::List(&Type::Struct(&CORE_V1_ENVFROMSOURCE))),
        Field::plain("image", Type::String),
        Field::plain("imagePullPolicy", Type::String),
        Field::plain("lifecycle", Type::Struct(&CORE_V1_LIFECYCLE)),
        Field::plain("livenessProbe", Type::Struct(&CORE_V1_PROBE)),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "ports",
            kind: Type::List(&Type::Struct(&CORE_V1_CONTAINERPORT)),
            required: false,
            patch: Patch::Merge("containerPort"),
            lists: Lists::Map(&["containerPort", "protocol"]),
        },
        Field::plain("readinessProbe", Type::Struct(&CORE_V1_PROBE)),
        Field::plain("resizePolicy", Type::List(&Type::Struct(&CORE_V1_CONTAINERRESIZEPOLICY))),
        Field::plain("resources", Type::Struct(&CORE_V1_RESOURCEREQUIREMENTS)),
        Field::plain("restartPolicy", Type::String),
        Field::plain(
            "restartPolicyRules",
            Type::List(&Type::Struct(&CORE_V1_CONTAINERRESTARTRULE)),
        ),
        Field::plain("securityContext", Type::Struct(&CORE_V1_SECURITYCONTEXT)),
        Field::plain("startupProbe", Type::Struct(&CORE_V1_PROBE)),
        Field::plain("stdin", Type::Bool),
        Field::plain("stdinOnce", Type::Bool),
        Field::plain("targetContainerName", Type::String),
        Field::plain("terminationMessagePath", Type::String),
        Field::plain("terminationMessagePolicy", Type::String),
        Field::plain("tty", Type::Bool),
        Field {
            name: "volumeDevices",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUMEDEVICE)),
            required: false,
            patch: Patch::Merge("devicePath"),
            lists: Lists::Map(&["devicePath"]),
        },
        Field {
            name: "volumeMounts",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUMEMOUNT)),
            required: false,
            patch: Patch::Merge("mountPath"),
            lists: Lists::Map(&["mountPath"]),
        },
        Field::plain("workingDir", Type::String),
    ],
};

static CORE_V1_EPHEMERALVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.EphemeralVolumeSource",
    atomic: false,
    fields: &[Field::plain(
        "volumeClaimTemplate",
        Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMTEMPLATE),
    )],
};

static CORE_V1_EVENT: Struct = Struct {
    name: "io.k8s.api.core.v1.Event",
    atomic: false,
    fields: &[
        Field::plain("action", Type::String),
        Field::plain("apiVersion", Type::String),
        Field::plain("count", Type::Int32),
        Field::plain("eventTime", Type::MicroTime),
        Field::plain("firstTimestamp", Type::Time),
        Field {
            name: "involvedObject",
            kind: Type::Struct(&CORE_V1_OBJECTREFERENCE),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("kind", Type::String),
        Field::plain("lastTimestamp", Type::Time),
        Field::plain("message", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("reason", Type::String),
        Field::plain("related", Type::Struct(&CORE_V1_OBJECTREFERENCE)),
        Field::plain("reportingComponent", Type::String),
        Field::plain("reportingInstance", Type::String),
        Field::plain("series", Type::Struct(&CORE_V1_EVENTSERIES)),
        Field::plain("source", Type::Struct(&CORE_V1_EVENTSOURCE)),
        Field::plain("type", Type::String),
    ],
};

static CORE_V1_EVENTSERIES: Struct = Struct {
    name: "io.k8s.api.core.v1.EventSeries",
    atomic: false,
    fields: &[
        Field::plain("count", Type::Int32),
        Field::plain("lastObservedTime", Type::MicroTime),
    ],
};

static CORE_V1_EVENTSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.EventSource",
    atomic: false,
    fields: &[Field::plain("component", Type::String), Field::plain("host", Type::String)],
};

static CORE_V1_EXECACTION: Struct = Struct {
    name: "io.k8s.api.core.v1.ExecAction",
    atomic: false,
    fields: &[Field::plain("command", Type::List(&Type::String))],
};

static CORE_V1_FCVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.FCVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("lun", Type::Int32),
        Field::plain("readOnly", Type::Bool),
        Field::plain("targetWWNs", Type::List(&Type::String)),
        Field::plain("wwids", Type::List(&Type::String)),
    ],
};

static CORE_V1_FILEKEYSELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.FileKeySelector",
    atomic: true,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "volumeName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_FLEXVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.FlexVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "driver",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("fsType", Type::String),
        Field::plain("options", Type::Map(&Type::String)),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
    ],
};

static CORE_V1_FLOCKERVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.FlockerVolumeSource",
    atomic: false,
    fields: &[Field::plain("datasetName", Type::String), Field::plain("datasetUUID", Type::String)],
};

static CORE_V1_GCEPERSISTENTDISKVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.GCEPersistentDiskVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("partition", Type::Int32),
        Field {
            name: "pdName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
    ],
};

static CORE_V1_GRPCACTION: Struct = Struct {
    name: "io.k8s.api.core.v1.GRPCAction",
    atomic: false,
    fields: &[
        Field {
            name: "port",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("service", Type::String),
    ],
};

static CORE_V1_GITREPOVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.GitRepoVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("directory", Type::String),
        Field {
            name: "repository",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("revision", Type::String),
    ],
};

static CORE_V1_GLUSTERFSVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.GlusterfsVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "endpoints",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
    ],
};

static CORE_V1_HTTPGETACTION: Struct = Struct {
    name: "io.k8s.api.core.v1.HTTPGetAction",
    atomic: false,
    fields: &[
        Field::plain("host", Type::String),
        Field::plain("httpHeaders", Type::List(&Type::Struct(&CORE_V1_HTTPHEADER))),
        Field::plain("path", Type::String),
        Field {
            name: "port",
            kind: Type::IntOrString,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("scheme", Type::String),
    ],
};

static CORE_V1_HTTPHEADER: Struct = Struct {
    name: "io.k8s.api.core.v1.HTTPHeader",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "value",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_HOSTALIAS: Struct = Struct {
    name: "io.k8s.api.core.v1.HostAlias",
    atomic: false,
    fields: &[
        Field::plain("hostnames", Type::List(&Type::String)),
        Field {
            name: "ip",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_HOSTIP: Struct = Struct {
    name: "io.k8s.api.core.v1.HostIP",
    atomic: false,
    fields: &[Field {
        name: "ip",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_HOSTPATHVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.HostPathVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("type", Type::String),
    ],
};

static CORE_V1_ISCSIVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ISCSIVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("chapAuthDiscovery", Type::Bool),
        Field::plain("chapAuthSession", Type::Bool),
        Field::plain("fsType", Type::String),
        Field::plain("initiatorName", Type::String),
        Field {
            name: "iqn",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("iscsiInterface", Type::String),
        Field {
            name: "lun",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("portals", Type::List(&Type::String)),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field {
            name: "targetPortal",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_IMAGEVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ImageVolumeSource",
    atomic: false,
    fields: &[Field::plain("pullPolicy", Type::String), Field::plain("reference", Type::String)],
};

static CORE_V1_IMAGEVOLUMESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ImageVolumeStatus",
    atomic: false,
    fields: &[Field {
        name: "imageRef",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_KEYTOPATH: Struct = Struct {
    name: "io.k8s.api.core.v1.KeyToPath",
    atomic: false,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("mode", Type::Int32),
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_LIFECYCLE: Struct = Struct {
    name: "io.k8s.api.core.v1.Lifecycle",
    atomic: false,
    fields: &[
        Field::plain("postStart", Type::Struct(&CORE_V1_LIFECYCLEHANDLER)),
        Field::plain("preStop", Type::Struct(&CORE_V1_LIFECYCLEHANDLER)),
        Field::plain("stopSignal", Type::String),
    ],
};

static CORE_V1_LIFECYCLEHANDLER: Struct = Struct {
    name: "io.k8s.api.core.v1.LifecycleHandler",
    atomic: false,
    fields: &[
        Field::plain("exec", Type::Struct(&CORE_V1_EXECACTION)),
        Field::plain("httpGet", Type::Struct(&CORE_V1_HTTPGETACTION)),
        Field::plain("sleep", Type::Struct(&CORE_V1_SLEEPACTION)),
        Field::plain("tcpSocket", Type::Struct(&CORE_V1_TCPSOCKETACTION)),
    ],
};

static CORE_V1_LINUXCONTAINERUSER: Struct = Struct {
    name: "io.k8s.api.core.v1.LinuxContainerUser",
    atomic: false,
    fields: &[
        Field {
            name: "gid",
            kind: Type::Int64,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("supplementalGroups", Type::List(&Type::Int64)),
        Field {
            name: "uid",
            kind: Type::Int64,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_LOADBALANCERINGRESS: Struct = Struct {
    name: "io.k8s.api.core.v1.LoadBalancerIngress",
    atomic: false,
    fields: &[
        Field::plain("hostname", Type::String),
        Field::plain("ip", Type::String),
        Field::plain("ipMode", Type::String),
        Field::plain("ports", Type::List(&Type::Struct(&CORE_V1_PORTSTATUS))),
    ],
};

static CORE_V1_LOADBALANCERSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.LoadBalancerStatus",
    atomic: false,
    fields: &[Field::plain("ingress", Type::List(&Type::Struct(&CORE_V1_LOADBALANCERINGRESS)))],
};

static CORE_V1_LOCALOBJECTREFERENCE: Struct = Struct {
    name: "io.k8s.api.core.v1.LocalObjectReference",
    atomic: true,
    fields: &[Field {
        name: "name",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_MODIFYVOLUMESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ModifyVolumeStatus",
    atomic: false,
    fields: &[
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("targetVolumeAttributesClassName", Type::String),
    ],
};

static CORE_V1_NFSVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.NFSVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "server",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_NAMESPACE: Struct = Struct {
    name: "io.k8s.api.core.v1.Namespace",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_NAMESPACESPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_NAMESPACESTATUS)),
    ],
};

static CORE_V1_NAMESPACECONDITION: Struct = Struct {
    name: "io.k8s.api.core.v1.NamespaceCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_NAMESPACESPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.NamespaceSpec",
    atomic: false,
    fields: &[Field::plain("finalizers", Type::List(&Type::String))],
};

static CORE_V1_NAMESPACESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.NamespaceStatus",
    atomic: false,
    fields: &[
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&CORE_V1_NAMESPACECONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("phase", Type::String),
    ],
};

static CORE_V1_NODE: Struct = Struct {
    name: "io.k8s.api.core.v1.Node",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_NODESPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_NODESTATUS)),
    ],
};

static CORE_V1_NODEADDRESS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeAddress",
    atomic: false,
    fields: &[
        Field {
            name: "address",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_NODEAFFINITY: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeAffinity",
    atomic: false,
    fields: &[
        Field::plain(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Struct(&CORE_V1_PREFERREDSCHEDULINGTERM)),
        ),
        Field::plain(
            "requiredDuringSchedulingIgnoredDuringExecution",
            Type::Struct(&CORE_V1_NODESELECTOR),
        ),
    ],
};

static CORE_V1_NODEALLOCATABLERESOURCECLAIMSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus",
    atomic: false,
    fields: &[
        Field::plain("containers", Type::List(&Type::String)),
        Field {
            name: "resourceClaimName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "resources",
            kind: Type::Map(&Type::Quantity),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_NODECONDITION: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeCondition",
    atomic: false,
    fields: &[
        Field::plain("lastHeartbeatTime", Type::Time),
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_NODECONFIGSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeConfigSource",
    atomic: false,
    fields: &[Field::plain("configMap", Type::Struct(&CORE_V1_CONFIGMAPNODECONFIGSOURCE))],
};

static CORE_V1_NODECONFIGSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeConfigStatus",
    atomic: false,
    fields: &[
        Field::plain("active", Type::Struct(&CORE_V1_NODECONFIGSOURCE)),
        Field::plain("assigned", Type::Struct(&CORE_V1_NODECONFIGSOURCE)),
        Field::plain("error", Type::String),
        Field::plain("lastKnownGood", Type::Struct(&CORE_V1_NODECONFIGSOURCE)),
    ],
};

static CORE_V1_NODEDAEMONENDPOINTS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeDaemonEndpoints",
    atomic: false,
    fields: &[Field::plain("kubeletEndpoint", Type::Struct(&CORE_V1_DAEMONENDPOINT))],
};

static CORE_V1_NODEFEATURES: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeFeatures",
    atomic: false,
    fields: &[Field::plain("supplementalGroupsPolicy", Type::Bool)],
};

static CORE_V1_NODERUNTIMEHANDLER: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeRuntimeHandler",
    atomic: false,
    fields: &[
        Field::plain("features", Type::Struct(&CORE_V1_NODERUNTIMEHANDLERFEATURES)),
        Field::plain("name", Type::String),
    ],
};

static CORE_V1_NODERUNTIMEHANDLERFEATURES: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeRuntimeHandlerFeatures",
    atomic: false,
    fields: &[
        Field::plain("recursiveReadOnlyMounts", Type::Bool),
        Field::plain("userNamespaces", Type::Bool),
    ],
};

static CORE_V1_NODESELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSelector",
    atomic: true,
    fields: &[Field {
        name: "nodeSelectorTerms",
        kind: Type::List(&Type::Struct(&CORE_V1_NODESELECTORTERM)),
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_NODESELECTORREQUIREMENT: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSelectorRequirement",
    atomic: false,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "operator",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("values", Type::List(&Type::String)),
    ],
};

static CORE_V1_NODESELECTORTERM: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSelectorTerm",
    atomic: true,
    fields: &[
        Field::plain(
            "matchExpressions",
            Type::List(&Type::Struct(&CORE_V1_NODESELECTORREQUIREMENT)),
        ),
        Field::plain("matchFields", Type::List(&Type::Struct(&CORE_V1_NODESELECTORREQUIREMENT))),
    ],
};

static CORE_V1_NODESPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSpec",
    atomic: false,
    fields: &[
        Field::plain("configSource", Type::Struct(&CORE_V1_NODECONFIGSOURCE)),
        Field::plain("externalID", Type::String),
        Field::plain("podCIDR", Type::String),
        Field {
            name: "podCIDRs",
            kind: Type::List(&Type::String),
            required: false,
            patch: Patch::MergeSet,
            lists: Lists::Set,
        },
        Field::plain("providerID", Type::String),
        Field::plain("taints", Type::List(&Type::Struct(&CORE_V1_TAINT))),
        Field::plain("unschedulable", Type::Bool),
    ],
};

static CORE_V1_NODESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeStatus",
    atomic: false,
    fields: &[
        Field {
            name: "addresses",
            kind: Type::List(&Type::Struct(&CORE_V1_NODEADDRESS)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("allocatable", Type::Map(&Type::Quantity)),
        Field::plain("capacity", Type::Map(&Type::Quantity)),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&CORE_V1_NODECONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("config", Type::Struct(&CORE_V1_NODECONFIGSTATUS)),
        Field::plain("daemonEndpoints", Type::Struct(&CORE_V1_NODEDAEMONENDPOINTS)),
        Field::plain("declaredFeatures", Type::List(&Type::String)),
        Field::plain("features", Type::Struct(&CORE_V1_NODEFEATURES)),
        Field::plain("images", Type::List(&Type::Struct(&CORE_V1_CONTAINERIMAGE))),
        Field::plain("nodeInfo", Type::Struct(&CORE_V1_NODESYSTEMINFO)),
        Field::plain("phase", Type::String),
        Field::plain("runtimeHandlers", Type::List(&Type::Struct(&CORE_V1_NODERUNTIMEHANDLER))),
        Field::plain("volumesAttached", Type::List(&Type::Struct(&CORE_V1_ATTACHEDVOLUME))),
        Field::plain("volumesInUse", Type::List(&Type::String)),
    ],
};

static CORE_V1_NODESWAPSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSwapStatus",
    atomic: false,
    fields: &[Field::plain("capacity", Type::Int64)],
};

static CORE_V1_NODESYSTEMINFO: Struct = Struct {
    name: "io.k8s.api.core.v1.NodeSystemInfo",
    atomic: false,
    fields: &[
        Field {
            name: "architecture",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "bootID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "containerRuntimeVersion",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "kernelVersion",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "kubeProxyVersion",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "kubeletVersion",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "machineID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "operatingSystem",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "osImage",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("swap", Type::Struct(&CORE_V1_NODESWAPSTATUS)),
        Field {
            name: "systemUUID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_OBJECTFIELDSELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.ObjectFieldSelector",
    atomic: true,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field {
            name: "fieldPath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_OBJECTREFERENCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ObjectReference",
    atomic: true,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("fieldPath", Type::String),
        Field::plain("kind", Type::String),
        Field::plain("name", Type::String),
        Field::plain("namespace", Type::String),
        Field::plain("resourceVersion", Type::String),
        Field::plain("uid", Type::String),
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIM: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaim",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSTATUS)),
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIMCONDITION: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaimCondition",
    atomic: false,
    fields: &[
        Field::plain("lastProbeTime", Type::Time),
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIMSPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
    atomic: false,
    fields: &[
        Field::plain("accessModes", Type::List(&Type::String)),
        Field::plain("dataSource", Type::Struct(&CORE_V1_TYPEDLOCALOBJECTREFERENCE)),
        Field::plain("dataSourceRef", Type::Struct(&CORE_V1_TYPEDOBJECTREFERENCE)),
        Field::plain("resources", Type::Struct(&CORE_V1_VOLUMERESOURCEREQUIREMENTS)),
        Field::plain("selector", Type::Struct(&META_V1_LABELSELECTOR)),
        Field::plain("storageClassName", Type::String),
        Field::plain("volumeAttributesClassName", Type::String),
        Field::plain("volumeMode", Type::String),
        Field::plain("volumeName", Type::String),
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIMSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
    atomic: false,
    fields: &[
        Field::plain("accessModes", Type::List(&Type::String)),
        Field::plain("allocatedResourceStatuses", Type::Map(&Type::String)),
        Field::plain("allocatedResources", Type::Map(&Type::Quantity)),
        Field::plain("capacity", Type::Map(&Type::Quantity)),
        Field::plain(
            "conditions",
            Type::List(&Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMCONDITION)),
        ),
        Field::plain("currentVolumeAttributesClassName", Type::String),
        Field::plain("modifyVolumeStatus", Type::Struct(&CORE_V1_MODIFYVOLUMESTATUS)),
        Field::plain("phase", Type::String),
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIMTEMPLATE: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaimTemplate",
    atomic: false,
    fields: &[
        Field::plain("metadata", Type::Struct(&META_V1_OBJECTMETA)),
        Field {
            name: "spec",
            kind: Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PERSISTENTVOLUMECLAIMVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.PersistentVolumeClaimVolumeSource",
    atomic: false,
    fields: &[
        Field {
            name: "claimName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
    ],
};

static CORE_V1_PHOTONPERSISTENTDISKVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field {
            name: "pdID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_POD: Struct = Struct {
    name: "io.k8s.api.core.v1.Pod",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_PODSPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_PODSTATUS)),
    ],
};

static CORE_V1_PODAFFINITY: Struct = Struct {
    name: "io.k8s.api.core.v1.PodAffinity",
    atomic: false,
    fields: &[
        Field::plain(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Struct(&CORE_V1_WEIGHTEDPODAFFINITYTERM)),
        ),
        Field::plain(
            "requiredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Struct(&CORE_V1_PODAFFINITYTERM)),
        ),
    ],
};

static CORE_V1_PODAFFINITYTERM: Struct = Struct {
    name: "io.k8s.api.core.v1.PodAffinityTerm",
    atomic: false,
    fields: &[
        Field::plain("labelSelector", Type::Struct(&META_V1_LABELSELECTOR)),
        Field::plain("matchLabelKeys", Type::List(&Type::String)),
        Field::plain("mismatchLabelKeys", Type::List(&Type::String)),
        Field::plain("namespaceSelector", Type::Struct(&META_V1_LABELSELECTOR)),
        Field::plain("namespaces", Type::List(&Type::String)),
        Field {
            name: "topologyKey",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PODANTIAFFINITY: Struct = Struct {
    name: "io.k8s.api.core.v1.PodAntiAffinity",
    atomic: false,
    fields: &[
        Field::plain(
            "preferredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Struct(&CORE_V1_WEIGHTEDPODAFFINITYTERM)),
        ),
        Field::plain(
            "requiredDuringSchedulingIgnoredDuringExecution",
            Type::List(&Type::Struct(&CORE_V1_PODAFFINITYTERM)),
        ),
    ],
};

static CORE_V1_PODCERTIFICATEPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.PodCertificateProjection",
    atomic: false,
    fields: &[
        Field::plain("certificateChainPath", Type::String),
        Field::plain("credentialBundlePath", Type::String),
        Field::plain("keyPath", Type::String),
        Field {
            name: "keyType",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("maxExpirationSeconds", Type::Int32),
        Field {
            name: "signerName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("userAnnotations", Type::Map(&Type::String)),
    ],
};

static CORE_V1_PODCONDITION: Struct = Struct {
    name: "io.k8s.api.core.v1.PodCondition",
    atomic: false,
    fields: &[
        Field::plain("lastProbeTime", Type::Time),
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PODDNSCONFIG: Struct = Struct {
    name: "io.k8s.api.core.v1.PodDNSConfig",
    atomic: false,
    fields: &[
        Field::plain("nameservers", Type::List(&Type::String)),
        Field::plain("options", Type::List(&Type::Struct(&CORE_V1_PODDNSCONFIGOPTION))),
        Field::plain("searches", Type::List(&Type::String)),
    ],
};

static CORE_V1_PODDNSCONFIGOPTION: Struct = Struct {
    name: "io.k8s.api.core.v1.PodDNSConfigOption",
    atomic: false,
    fields: &[Field::plain("name", Type::String), Field::plain("value", Type::String)],
};

static CORE_V1_PODEXTENDEDRESOURCECLAIMSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.PodExtendedResourceClaimStatus",
    atomic: false,
    fields: &[
        Field {
            name: "requestMappings",
            kind: Type::List(&Type::Struct(&CORE_V1_CONTAINEREXTENDEDRESOURCEREQUEST)),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "resourceClaimName",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PODIP: Struct = Struct {
    name: "io.k8s.api.core.v1.PodIP",
    atomic: false,
    fields: &[Field {
        name: "ip",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_PODOS: Struct = Struct {
    name: "io.k8s.api.core.v1.PodOS",
    atomic: false,
    fields: &[Field {
        name: "name",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_PODREADINESSGATE: Struct = Struct {
    name: "io.k8s.api.core.v1.PodReadinessGate",
    atomic: false,
    fields: &[Field {
        name: "conditionType",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_PODRESOURCECLAIM: Struct = Struct {
    name: "io.k8s.api.core.v1.PodResourceClaim",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("resourceClaimName", Type::String),
        Field::plain("resourceClaimTemplateName", Type::String),
    ],
};

static CORE_V1_PODRESOURCECLAIMSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.PodResourceClaimStatus",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("resourceClaimName", Type::String),
    ],
};

static CORE_V1_PODSCHEDULINGGATE: Struct = Struct {
    name: "io.k8s.api.core.v1.PodSchedulingGate",
    atomic: false,
    fields: &[Field {
        name: "name",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_PODSCHEDULINGGROUP: Struct = Struct {
    name: "io.k8s.api.core.v1.PodSchedulingGroup",
    atomic: false,
    fields: &[Field::plain("podGroupName", Type::String)],
};

static CORE_V1_PODSECURITYCONTEXT: Struct = Struct {
    name: "io.k8s.api.core.v1.PodSecurityContext",
    atomic: false,
    fields: &[
        Field::plain("appArmorProfile", Type::Struct(&CORE_V1_APPARMORPROFILE)),
        Field::plain("fsGroup", Type::Int64),
        Field::plain("fsGroupChangePolicy", Type::String),
        Field::plain("runAsGroup", Type::Int64),
        Field::plain("runAsNonRoot", Type::Bool),
        Field::plain("runAsUser", Type::Int64),
        Field::plain("seLinuxChangePolicy", Type::String),
        Field::plain("seLinuxOptions", Type::Struct(&CORE_V1_SELINUXOPTIONS)),
        Field::plain("seccompProfile", Type::Struct(&CORE_V1_SECCOMPPROFILE)),
        Field::plain("supplementalGroups", Type::List(&Type::Int64)),
        Field::plain("supplementalGroupsPolicy", Type::String),
        Field::plain("sysctls", Type::List(&Type::Struct(&CORE_V1_SYSCTL))),
        Field::plain("windowsOptions", Type::Struct(&CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS)),
    ],
};

static CORE_V1_PODSPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.PodSpec",
    atomic: false,
    fields: &[
        Field::plain("activeDeadlineSeconds", Type::Int64),
        Field::plain("affinity", Type::Struct(&CORE_V1_AFFINITY)),
        Field::plain("automountServiceAccountToken", Type::Bool),
        Field {
            name: "containers",
            kind: Type::List(&Type::Struct(&CORE_V1_CONTAINER)),
            required: true,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("dnsConfig", Type::Struct(&CORE_V1_PODDNSCONFIG)),
        Field::plain("dnsPolicy", Type::String),
        Field::plain("enableServiceLinks", Type::Bool),
        Field {
            name: "ephemeralContainers",
            kind: Type::List(&Type::Struct(&CORE_V1_EPHEMERALCONTAINER)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field {
            name: "hostAliases",
            kind: Type::List(&Type::Struct(&CORE_V1_HOSTALIAS)),
            required: false,
            patch: Patch::Merge("ip"),
            lists: Lists::Map(&["ip"]),
        },
        Field::plain("hostIPC", Type::Bool),
        Field::plain("hostNetwork", Type::Bool),
        Field::plain("hostPID", Type::Bool),
        Field::plain("hostUsers", Type::Bool),
        Field::plain("hostname", Type::String),
        Field::plain("hostnameOverride", Type::String),
        Field {
            name: "imagePullSecrets",
            kind: Type::List(&Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field {
            name: "initContainers",
            kind: Type::List(&Type::Struct(&CORE_V1_CONTAINER)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("nodeName", Type::String),
        Field::plain("nodeSelector", Type::AtomicMap(&Type::String)),
        Field::plain("os", Type::Struct(&CORE_V1_PODOS)),
        Field::plain("overhead", Type::Map(&Type::Quantity)),
        Field::plain("preemptionPolicy", Type::String),
        Field::plain("priority", Type::Int32),
        Field::plain("priorityClassName", Type::String),
        Field::plain("readinessGates", Type::List(&Type::Struct(&CORE_V1_PODREADINESSGATE))),
        Field {
            name: "resourceClaims",
            kind: Type::List(&Type::Struct(&CORE_V1_PODRESOURCECLAIM)),
            required: false,
            patch: Patch::MergeRetainKeys("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("resources", Type::Struct(&CORE_V1_RESOURCEREQUIREMENTS)),
        Field::plain("restartPolicy", Type::String),
        Field::plain("runtimeClassName", Type::String),
        Field::plain("schedulerName", Type::String),
        Field {
            name: "schedulingGates",
            kind: Type::List(&Type::Struct(&CORE_V1_PODSCHEDULINGGATE)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("schedulingGroup", Type::Struct(&CORE_V1_PODSCHEDULINGGROUP)),
        Field::plain("securityContext", Type::Struct(&CORE_V1_PODSECURITYCONTEXT)),
        Field::plain("serviceAccount", Type::String),
        Field::plain("serviceAccountName", Type::String),
        Field::plain("setHostnameAsFQDN", Type::Bool),
        Field::plain("shareProcessNamespace", Type::Bool),
        Field::plain("subdomain", Type::String),
        Field::plain("terminationGracePeriodSeconds", Type::Int64),
        Field::plain("tolerations", Type::List(&Type::Struct(&CORE_V1_TOLERATION))),
        Field {
            name: "topologySpreadConstraints",
            kind: Type::List(&Type::Struct(&CORE_V1_TOPOLOGYSPREADCONSTRAINT)),
            required: false,
            patch: Patch::Merge("topologyKey"),
            lists: Lists::Map(&["topologyKey", "whenUnsatisfiable"]),
        },
        Field {
            name: "volumes",
            kind: Type::List(&Type::Struct(&CORE_V1_VOLUME)),
            required: false,
            patch: Patch::MergeRetainKeys("name"),
            lists: Lists::Map(&["name"]),
        },
    ],
};

static CORE_V1_PODSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.PodStatus",
    atomic: false,
    fields: &[
        Field::plain("allocatedResources", Type::Map(&Type::Quantity)),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&CORE_V1_PODCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("containerStatuses", Type::List(&Type::Struct(&CORE_V1_CONTAINERSTATUS))),
        Field::plain(
            "ephemeralContainerStatuses",
            Type::List(&Type::Struct(&CORE_V1_CONTAINERSTATUS)),
        ),
        Field::plain(
            "extendedResourceClaimStatus",
            Type::Struct(&CORE_V1_PODEXTENDEDRESOURCECLAIMSTATUS),
        ),
        Field::plain("hostIP", Type::String),
        Field {
            name: "hostIPs",
            kind: Type::List(&Type::Struct(&CORE_V1_HOSTIP)),
            required: false,
            patch: Patch::Merge("ip"),
            lists: Lists::Atomic,
        },
        Field::plain("initContainerStatuses", Type::List(&Type::Struct(&CORE_V1_CONTAINERSTATUS))),
        Field::plain("message", Type::String),
        Field::plain(
            "nodeAllocatableResourceClaimStatuses",
            Type::List(&Type::Struct(&CORE_V1_NODEALLOCATABLERESOURCECLAIMSTATUS)),
        ),
        Field::plain("nominatedNodeName", Type::String),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("phase", Type::String),
        Field::plain("podIP", Type::String),
        Field {
            name: "podIPs",
            kind: Type::List(&Type::Struct(&CORE_V1_PODIP)),
            required: false,
            patch: Patch::Merge("ip"),
            lists: Lists::Map(&["ip"]),
        },
        Field::plain("qosClass", Type::String),
        Field::plain("reason", Type::String),
        Field::plain("resize", Type::String),
        Field {
            name: "resourceClaimStatuses",
            kind: Type::List(&Type::Struct(&CORE_V1_PODRESOURCECLAIMSTATUS)),
            required: false,
            patch: Patch::MergeRetainKeys("name"),
            lists: Lists::Map(&["name"]),
        },
        Field::plain("resources", Type::Struct(&CORE_V1_RESOURCEREQUIREMENTS)),
        Field::plain("startTime", Type::Time),
    ],
};

static CORE_V1_PODTEMPLATESPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.PodTemplateSpec",
    atomic: false,
    fields: &[
        Field::plain("metadata", Type::Struct(&META_V1_OBJECTMETA)),
        Field::plain("spec", Type::Struct(&CORE_V1_PODSPEC)),
    ],
};

static CORE_V1_PORTSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.PortStatus",
    atomic: false,
    fields: &[
        Field::plain("error", Type::String),
        Field {
            name: "port",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "protocol",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PORTWORXVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.PortworxVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "volumeID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PREFERREDSCHEDULINGTERM: Struct = Struct {
    name: "io.k8s.api.core.v1.PreferredSchedulingTerm",
    atomic: false,
    fields: &[
        Field {
            name: "preference",
            kind: Type::Struct(&CORE_V1_NODESELECTORTERM),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "weight",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_PROBE: Struct = Struct {
    name: "io.k8s.api.core.v1.Probe",
    atomic: false,
    fields: &[
        Field::plain("exec", Type::Struct(&CORE_V1_EXECACTION)),
        Field::plain("failureThreshold", Type::Int32),
        Field::plain("grpc", Type::Struct(&CORE_V1_GRPCACTION)),
        Field::plain("httpGet", Type::Struct(&CORE_V1_HTTPGETACTION)),
        Field::plain("initialDelaySeconds", Type::Int32),
        Field::plain("periodSeconds", Type::Int32),
        Field::plain("successThreshold", Type::Int32),
        Field::plain("tcpSocket", Type::Struct(&CORE_V1_TCPSOCKETACTION)),
        Field::plain("terminationGracePeriodSeconds", Type::Int64),
        Field::plain("timeoutSeconds", Type::Int32),
    ],
};

static CORE_V1_PROJECTEDVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ProjectedVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("defaultMode", Type::Int32),
        Field::plain("sources", Type::List(&Type::Struct(&CORE_V1_VOLUMEPROJECTION))),
    ],
};

static CORE_V1_QUOBYTEVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.QuobyteVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("group", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "registry",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("tenant", Type::String),
        Field::plain("user", Type::String),
        Field {
            name: "volume",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_RBDVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.RBDVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field {
            name: "image",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("keyring", Type::String),
        Field {
            name: "monitors",
            kind: Type::List(&Type::String),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("pool", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field::plain("user", Type::String),
    ],
};

static CORE_V1_REPLICATIONCONTROLLER: Struct = Struct {
    name: "io.k8s.api.core.v1.ReplicationController",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_REPLICATIONCONTROLLERSPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_REPLICATIONCONTROLLERSTATUS)),
    ],
};

static CORE_V1_REPLICATIONCONTROLLERCONDITION: Struct = Struct {
    name: "io.k8s.api.core.v1.ReplicationControllerCondition",
    atomic: false,
    fields: &[
        Field::plain("lastTransitionTime", Type::Time),
        Field::plain("message", Type::String),
        Field::plain("reason", Type::String),
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_REPLICATIONCONTROLLERSPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.ReplicationControllerSpec",
    atomic: false,
    fields: &[
        Field::plain("minReadySeconds", Type::Int32),
        Field::plain("replicas", Type::Int32),
        Field::plain("selector", Type::AtomicMap(&Type::String)),
        Field::plain("template", Type::Struct(&CORE_V1_PODTEMPLATESPEC)),
    ],
};

static CORE_V1_REPLICATIONCONTROLLERSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ReplicationControllerStatus",
    atomic: false,
    fields: &[
        Field::plain("availableReplicas", Type::Int32),
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&CORE_V1_REPLICATIONCONTROLLERCONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("fullyLabeledReplicas", Type::Int32),
        Field::plain("observedGeneration", Type::Int64),
        Field::plain("readyReplicas", Type::Int32),
        Field {
            name: "replicas",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_RESOURCECLAIM: Struct = Struct {
    name: "io.k8s.api.core.v1.ResourceClaim",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("request", Type::String),
    ],
};

static CORE_V1_RESOURCEFIELDSELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.ResourceFieldSelector",
    atomic: true,
    fields: &[
        Field::plain("containerName", Type::String),
        Field::plain("divisor", Type::Quantity),
        Field {
            name: "resource",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_RESOURCEHEALTH: Struct = Struct {
    name: "io.k8s.api.core.v1.ResourceHealth",
    atomic: false,
    fields: &[
        Field::plain("health", Type::String),
        Field::plain("message", Type::String),
        Field {
            name: "resourceID",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_RESOURCEREQUIREMENTS: Struct = Struct {
    name: "io.k8s.api.core.v1.ResourceRequirements",
    atomic: false,
    fields: &[
        Field {
            name: "claims",
            kind: Type::List(&Type::Struct(&CORE_V1_RESOURCECLAIM)),
            required: false,
            patch: Patch::Replace,
            lists: Lists::Map(&["name"]),
        },
        Field::plain("limits", Type::Map(&Type::Quantity)),
        Field::plain("requests", Type::Map(&Type::Quantity)),
    ],
};

static CORE_V1_RESOURCESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ResourceStatus",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "resources",
            kind: Type::List(&Type::Struct(&CORE_V1_RESOURCEHEALTH)),
            required: false,
            patch: Patch::Replace,
            lists: Lists::Map(&["resourceID"]),
        },
    ],
};

static CORE_V1_SELINUXOPTIONS: Struct = Struct {
    name: "io.k8s.api.core.v1.SELinuxOptions",
    atomic: false,
    fields: &[
        Field::plain("level", Type::String),
        Field::plain("role", Type::String),
        Field::plain("type", Type::String),
        Field::plain("user", Type::String),
    ],
};

static CORE_V1_SCALEIOVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.ScaleIOVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field {
            name: "gateway",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("protectionDomain", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field {
            name: "secretRef",
            kind: Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("sslEnabled", Type::Bool),
        Field::plain("storageMode", Type::String),
        Field::plain("storagePool", Type::String),
        Field {
            name: "system",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("volumeName", Type::String),
    ],
};

static CORE_V1_SECCOMPPROFILE: Struct = Struct {
    name: "io.k8s.api.core.v1.SeccompProfile",
    atomic: false,
    fields: &[
        Field::plain("localhostProfile", Type::String),
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_SECRET: Struct = Struct {
    name: "io.k8s.api.core.v1.Secret",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("data", Type::Map(&Type::Bytes)),
        Field::plain("immutable", Type::Bool),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("stringData", Type::Map(&Type::String)),
        Field::plain("type", Type::String),
    ],
};

static CORE_V1_SECRETENVSOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.SecretEnvSource",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_SECRETKEYSELECTOR: Struct = Struct {
    name: "io.k8s.api.core.v1.SecretKeySelector",
    atomic: true,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_SECRETPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.SecretProjection",
    atomic: false,
    fields: &[
        Field::plain("items", Type::List(&Type::Struct(&CORE_V1_KEYTOPATH))),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("optional", Type::Bool),
    ],
};

static CORE_V1_SECRETVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.SecretVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("defaultMode", Type::Int32),
        Field::plain("items", Type::List(&Type::Struct(&CORE_V1_KEYTOPATH))),
        Field::plain("optional", Type::Bool),
        Field::plain("secretName", Type::String),
    ],
};

static CORE_V1_SECURITYCONTEXT: Struct = Struct {
    name: "io.k8s.api.core.v1.SecurityContext",
    atomic: false,
    fields: &[
        Field::plain("allowPrivilegeEscalation", Type::Bool),
        Field::plain("appArmorProfile", Type::Struct(&CORE_V1_APPARMORPROFILE)),
        Field::plain("capabilities", Type::Struct(&CORE_V1_CAPABILITIES)),
        Field::plain("privileged", Type::Bool),
        Field::plain("procMount", Type::String),
        Field::plain("readOnlyRootFilesystem", Type::Bool),
        Field::plain("runAsGroup", Type::Int64),
        Field::plain("runAsNonRoot", Type::Bool),
        Field::plain("runAsUser", Type::Int64),
        Field::plain("seLinuxOptions", Type::Struct(&CORE_V1_SELINUXOPTIONS)),
        Field::plain("seccompProfile", Type::Struct(&CORE_V1_SECCOMPPROFILE)),
        Field::plain("windowsOptions", Type::Struct(&CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS)),
    ],
};

static CORE_V1_SERVICE: Struct = Struct {
    name: "io.k8s.api.core.v1.Service",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&CORE_V1_SERVICESPEC)),
        Field::plain("status", Type::Struct(&CORE_V1_SERVICESTATUS)),
    ],
};

static CORE_V1_SERVICEACCOUNT: Struct = Struct {
    name: "io.k8s.api.core.v1.ServiceAccount",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("automountServiceAccountToken", Type::Bool),
        Field::plain("imagePullSecrets", Type::List(&Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE))),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "secrets",
            kind: Type::List(&Type::Struct(&CORE_V1_OBJECTREFERENCE)),
            required: false,
            patch: Patch::Merge("name"),
            lists: Lists::Map(&["name"]),
        },
    ],
};

static CORE_V1_SERVICEACCOUNTTOKENPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.ServiceAccountTokenProjection",
    atomic: false,
    fields: &[
        Field::plain("audience", Type::String),
        Field::plain("expirationSeconds", Type::Int64),
        Field {
            name: "path",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_SERVICEPORT: Struct = Struct {
    name: "io.k8s.api.core.v1.ServicePort",
    atomic: false,
    fields: &[
        Field::plain("appProtocol", Type::String),
        Field::plain("name", Type::String),
        Field::plain("nodePort", Type::Int32),
        Field {
            name: "port",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("protocol", Type::String),
        Field::plain("targetPort", Type::IntOrString),
    ],
};

static CORE_V1_SERVICESPEC: Struct = Struct {
    name: "io.k8s.api.core.v1.ServiceSpec",
    atomic: false,
    fields: &[
        Field::plain("allocateLoadBalancerNodePorts", Type::Bool),
        Field::plain("clusterIP", Type::String),
        Field::plain("clusterIPs", Type::List(&Type::String)),
        Field::plain("externalIPs", Type::List(&Type::String)),
        Field::plain("externalName", Type::String),
        Field::plain("externalTrafficPolicy", Type::String),
        Field::plain("healthCheckNodePort", Type::Int32),
        Field::plain("internalTrafficPolicy", Type::String),
        Field::plain("ipFamilies", Type::List(&Type::String)),
        Field::plain("ipFamilyPolicy", Type::String),
        Field::plain("loadBalancerClass", Type::String),
        Field::plain("loadBalancerIP", Type::String),
        Field::plain("loadBalancerSourceRanges", Type::List(&Type::String)),
        Field {
            name: "ports",
            kind: Type::List(&Type::Struct(&CORE_V1_SERVICEPORT)),
            required: false,
            patch: Patch::Merge("port"),
            lists: Lists::Map(&["port", "protocol"]),
        },
        Field::plain("publishNotReadyAddresses", Type::Bool),
        Field::plain("selector", Type::AtomicMap(&Type::String)),
        Field::plain("sessionAffinity", Type::String),
        Field::plain("sessionAffinityConfig", Type::Struct(&CORE_V1_SESSIONAFFINITYCONFIG)),
        Field::plain("trafficDistribution", Type::String),
        Field::plain("type", Type::String),
    ],
};

static CORE_V1_SERVICESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.ServiceStatus",
    atomic: false,
    fields: &[
        Field {
            name: "conditions",
            kind: Type::List(&Type::Struct(&META_V1_CONDITION)),
            required: false,
            patch: Patch::Merge("type"),
            lists: Lists::Map(&["type"]),
        },
        Field::plain("loadBalancer", Type::Struct(&CORE_V1_LOADBALANCERSTATUS)),
    ],
};

static CORE_V1_SESSIONAFFINITYCONFIG: Struct = Struct {
    name: "io.k8s.api.core.v1.SessionAffinityConfig",
    atomic: false,
    fields: &[Field::plain("clientIP", Type::Struct(&CORE_V1_CLIENTIPCONFIG))],
};

static CORE_V1_SLEEPACTION: Struct = Struct {
    name: "io.k8s.api.core.v1.SleepAction",
    atomic: false,
    fields: &[Field {
        name: "seconds",
        kind: Type::Int64,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static CORE_V1_STORAGEOSVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.StorageOSVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("readOnly", Type::Bool),
        Field::plain("secretRef", Type::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
        Field::plain("volumeName", Type::String),
        Field::plain("volumeNamespace", Type::String),
    ],
};

static CORE_V1_SYSCTL: Struct = Struct {
    name: "io.k8s.api.core.v1.Sysctl",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "value",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_TCPSOCKETACTION: Struct = Struct {
    name: "io.k8s.api.core.v1.TCPSocketAction",
    atomic: false,
    fields: &[
        Field::plain("host", Type::String),
        Field {
            name: "port",
            kind: Type::IntOrString,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_TAINT: Struct = Struct {
    name: "io.k8s.api.core.v1.Taint",
    atomic: false,
    fields: &[
        Field {
            name: "effect",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("timeAdded", Type::Time),
        Field::plain("value", Type::String),
    ],
};

static CORE_V1_TOLERATION: Struct = Struct {
    name: "io.k8s.api.core.v1.Toleration",
    atomic: false,
    fields: &[
        Field::plain("effect", Type::String),
        Field::plain("key", Type::String),
        Field::plain("operator", Type::String),
        Field::plain("tolerationSeconds", Type::Int64),
        Field::plain("value", Type::String),
    ],
};

static CORE_V1_TOPOLOGYSPREADCONSTRAINT: Struct = Struct {
    name: "io.k8s.api.core.v1.TopologySpreadConstraint",
    atomic: false,
    fields: &[
        Field::plain("labelSelector", Type::Struct(&META_V1_LABELSELECTOR)),
        Field::plain("matchLabelKeys", Type::List(&Type::String)),
        Field {
            name: "maxSkew",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("minDomains", Type::Int32),
        Field::plain("nodeAffinityPolicy", Type::String),
        Field::plain("nodeTaintsPolicy", Type::String),
        Field {
            name: "topologyKey",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "whenUnsatisfiable",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_TYPEDLOCALOBJECTREFERENCE: Struct = Struct {
    name: "io.k8s.api.core.v1.TypedLocalObjectReference",
    atomic: true,
    fields: &[
        Field::plain("apiGroup", Type::String),
        Field {
            name: "kind",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_TYPEDOBJECTREFERENCE: Struct = Struct {
    name: "io.k8s.api.core.v1.TypedObjectReference",
    atomic: false,
    fields: &[
        Field::plain("apiGroup", Type::String),
        Field {
            name: "kind",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("namespace", Type::String),
    ],
};

static CORE_V1_VOLUME: Struct = Struct {
    name: "io.k8s.api.core.v1.Volume",
    atomic: false,
    fields: &[
        Field::plain(
            "awsElasticBlockStore",
            Type::Struct(&CORE_V1_AWSELASTICBLOCKSTOREVOLUMESOURCE),
        ),
        Field::plain("azureDisk", Type::Struct(&CORE_V1_AZUREDISKVOLUMESOURCE)),
        Field::plain("azureFile", Type::Struct(&CORE_V1_AZUREFILEVOLUMESOURCE)),
        Field::plain("cephfs", Type::Struct(&CORE_V1_CEPHFSVOLUMESOURCE)),
        Field::plain("cinder", Type::Struct(&CORE_V1_CINDERVOLUMESOURCE)),
        Field::plain("configMap", Type::Struct(&CORE_V1_CONFIGMAPVOLUMESOURCE)),
        Field::plain("csi", Type::Struct(&CORE_V1_CSIVOLUMESOURCE)),
        Field::plain("downwardAPI", Type::Struct(&CORE_V1_DOWNWARDAPIVOLUMESOURCE)),
        Field::plain("emptyDir", Type::Struct(&CORE_V1_EMPTYDIRVOLUMESOURCE)),
        Field::plain("ephemeral", Type::Struct(&CORE_V1_EPHEMERALVOLUMESOURCE)),
        Field::plain("fc", Type::Struct(&CORE_V1_FCVOLUMESOURCE)),
        Field::plain("flexVolume", Type::Struct(&CORE_V1_FLEXVOLUMESOURCE)),
        Field::plain("flocker", Type::Struct(&CORE_V1_FLOCKERVOLUMESOURCE)),
        Field::plain("gcePersistentDisk", Type::Struct(&CORE_V1_GCEPERSISTENTDISKVOLUMESOURCE)),
        Field::plain("gitRepo", Type::Struct(&CORE_V1_GITREPOVOLUMESOURCE)),
        Field::plain("glusterfs", Type::Struct(&CORE_V1_GLUSTERFSVOLUMESOURCE)),
        Field::plain("hostPath", Type::Struct(&CORE_V1_HOSTPATHVOLUMESOURCE)),
        Field::plain("image", Type::Struct(&CORE_V1_IMAGEVOLUMESOURCE)),
        Field::plain("iscsi", Type::Struct(&CORE_V1_ISCSIVOLUMESOURCE)),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("nfs", Type::Struct(&CORE_V1_NFSVOLUMESOURCE)),
        Field::plain(
            "persistentVolumeClaim",
            Type::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMVOLUMESOURCE),
        ),
        Field::plain(
            "photonPersistentDisk",
            Type::Struct(&CORE_V1_PHOTONPERSISTENTDISKVOLUMESOURCE),
        ),
        Field::plain("portworxVolume", Type::Struct(&CORE_V1_PORTWORXVOLUMESOURCE)),
        Field::plain("projected", Type::Struct(&CORE_V1_PROJECTEDVOLUMESOURCE)),
        Field::plain("quobyte", Type::Struct(&CORE_V1_QUOBYTEVOLUMESOURCE)),
        Field::plain("rbd", Type::Struct(&CORE_V1_RBDVOLUMESOURCE)),
        Field::plain("scaleIO", Type::Struct(&CORE_V1_SCALEIOVOLUMESOURCE)),
        Field::plain("secret", Type::Struct(&CORE_V1_SECRETVOLUMESOURCE)),
        Field::plain("storageos", Type::Struct(&CORE_V1_STORAGEOSVOLUMESOURCE)),
        Field::plain("vsphereVolume", Type::Struct(&CORE_V1_VSPHEREVIRTUALDISKVOLUMESOURCE)),
    ],
};

static CORE_V1_VOLUMEDEVICE: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeDevice",
    atomic: false,
    fields: &[
        Field {
            name: "devicePath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_VOLUMEMOUNT: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeMount",
    atomic: false,
    fields: &[
        Field {
            name: "mountPath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("mountPropagation", Type::String),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
        Field::plain("recursiveReadOnly", Type::String),
        Field::plain("subPath", Type::String),
        Field::plain("subPathExpr", Type::String),
    ],
};

static CORE_V1_VOLUMEMOUNTSTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeMountStatus",
    atomic: false,
    fields: &[
        Field {
            name: "mountPath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("readOnly", Type::Bool),
        Field::plain("recursiveReadOnly", Type::String),
        Field::plain("volumeStatus", Type::Struct(&CORE_V1_VOLUMESTATUS)),
    ],
};

static CORE_V1_VOLUMEPROJECTION: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeProjection",
    atomic: false,
    fields: &[
        Field::plain("clusterTrustBundle", Type::Struct(&CORE_V1_CLUSTERTRUSTBUNDLEPROJECTION)),
        Field::plain("configMap", Type::Struct(&CORE_V1_CONFIGMAPPROJECTION)),
        Field::plain("downwardAPI", Type::Struct(&CORE_V1_DOWNWARDAPIPROJECTION)),
        Field::plain("podCertificate", Type::Struct(&CORE_V1_PODCERTIFICATEPROJECTION)),
        Field::plain("secret", Type::Struct(&CORE_V1_SECRETPROJECTION)),
        Field::plain("serviceAccountToken", Type::Struct(&CORE_V1_SERVICEACCOUNTTOKENPROJECTION)),
    ],
};

static CORE_V1_VOLUMERESOURCEREQUIREMENTS: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeResourceRequirements",
    atomic: false,
    fields: &[
        Field::plain("limits", Type::Map(&Type::Quantity)),
        Field::plain("requests", Type::Map(&Type::Quantity)),
    ],
};

static CORE_V1_VOLUMESTATUS: Struct = Struct {
    name: "io.k8s.api.core.v1.VolumeStatus",
    atomic: false,
    fields: &[Field::plain("image", Type::Struct(&CORE_V1_IMAGEVOLUMESTATUS))],
};

static CORE_V1_VSPHEREVIRTUALDISKVOLUMESOURCE: Struct = Struct {
    name: "io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource",
    atomic: false,
    fields: &[
        Field::plain("fsType", Type::String),
        Field::plain("storagePolicyID", Type::String),
        Field::plain("storagePolicyName", Type::String),
        Field {
            name: "volumePath",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_WEIGHTEDPODAFFINITYTERM: Struct = Struct {
    name: "io.k8s.api.core.v1.WeightedPodAffinityTerm",
    atomic: false,
    fields: &[
        Field {
            name: "podAffinityTerm",
            kind: Type::Struct(&CORE_V1_PODAFFINITYTERM),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "weight",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS: Struct = Struct {
    name: "io.k8s.api.core.v1.WindowsSecurityContextOptions",
    atomic: false,
    fields: &[
        Field::plain("gmsaCredentialSpec", Type::String),
        Field::plain("gmsaCredentialSpecName", Type::String),
        Field::plain("hostProcess", Type::Bool),
        Field::plain("runAsUserName", Type::String),
    ],
};

static DISCOVERY_V1_ENDPOINT: Struct = Struct {
    name: "io.k8s.api.discovery.v1.Endpoint",
    atomic: false,
    fields: &[
        Field {
            name: "addresses",
            kind: Type::List(&Type::String),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Set,
        },
        Field::plain("conditions", Type::Struct(&DISCOVERY_V1_ENDPOINTCONDITIONS)),
        Field::plain("deprecatedTopology", Type::AtomicMap(&Type::String)),
        Field::plain("hints", Type::Struct(&DISCOVERY_V1_ENDPOINTHINTS)),
        Field::plain("hostname", Type::String),
        Field::plain("nodeName", Type::String),
        Field::plain("targetRef", Type::Struct(&CORE_V1_OBJECTREFERENCE)),
        Field::plain("zone", Type::String),
    ],
};

static DISCOVERY_V1_ENDPOINTCONDITIONS: Struct = Struct {
    name: "io.k8s.api.discovery.v1.EndpointConditions",
    atomic: false,
    fields: &[
        Field::plain("ready", Type::Bool),
        Field::plain("serving", Type::Bool),
        Field::plain("terminating", Type::Bool),
    ],
};

static DISCOVERY_V1_ENDPOINTHINTS: Struct = Struct {
    name: "io.k8s.api.discovery.v1.EndpointHints",
    atomic: false,
    fields: &[
        Field::plain("forNodes", Type::List(&Type::Struct(&DISCOVERY_V1_FORNODE))),
        Field::plain("forZones", Type::List(&Type::Struct(&DISCOVERY_V1_FORZONE))),
    ],
};

static DISCOVERY_V1_ENDPOINTPORT: Struct = Struct {
    name: "io.k8s.api.discovery.v1.EndpointPort",
    atomic: true,
    fields: &[
        Field::plain("appProtocol", Type::String),
        Field::plain("name", Type::String),
        Field::plain("port", Type::Int32),
        Field::plain("protocol", Type::String),
    ],
};

static DISCOVERY_V1_ENDPOINTSLICE: Struct = Struct {
    name: "io.k8s.api.discovery.v1.EndpointSlice",
    atomic: false,
    fields: &[
        Field {
            name: "addressType",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("apiVersion", Type::String),
        Field::plain("endpoints", Type::List(&Type::Struct(&DISCOVERY_V1_ENDPOINT))),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("ports", Type::List(&Type::Struct(&DISCOVERY_V1_ENDPOINTPORT))),
    ],
};

static DISCOVERY_V1_FORNODE: Struct = Struct {
    name: "io.k8s.api.discovery.v1.ForNode",
    atomic: false,
    fields: &[Field {
        name: "name",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static DISCOVERY_V1_FORZONE: Struct = Struct {
    name: "io.k8s.api.discovery.v1.ForZone",
    atomic: false,
    fields: &[Field {
        name: "name",
        kind: Type::String,
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static EVENTS_V1_EVENT: Struct = Struct {
    name: "io.k8s.api.events.v1.Event",
    atomic: false,
    fields: &[
        Field::plain("action", Type::String),
        Field::plain("apiVersion", Type::String),
        Field::plain("deprecatedCount", Type::Int32),
        Field::plain("deprecatedFirstTimestamp", Type::Time),
        Field::plain("deprecatedLastTimestamp", Type::Time),
        Field::plain("deprecatedSource", Type::Struct(&CORE_V1_EVENTSOURCE)),
        Field::plain("eventTime", Type::MicroTime),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("note", Type::String),
        Field::plain("reason", Type::String),
        Field::plain("regarding", Type::Struct(&CORE_V1_OBJECTREFERENCE)),
        Field::plain("related", Type::Struct(&CORE_V1_OBJECTREFERENCE)),
        Field::plain("reportingController", Type::String),
        Field::plain("reportingInstance", Type::String),
        Field::plain("series", Type::Struct(&EVENTS_V1_EVENTSERIES)),
        Field::plain("type", Type::String),
    ],
};

static EVENTS_V1_EVENTSERIES: Struct = Struct {
    name: "io.k8s.api.events.v1.EventSeries",
    atomic: false,
    fields: &[
        Field {
            name: "count",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "lastObservedTime",
            kind: Type::MicroTime,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static NETWORKING_V1_HTTPINGRESSPATH: Struct = Struct {
    name: "io.k8s.api.networking.v1.HTTPIngressPath",
    atomic: false,
    fields: &[
        Field {
            name: "backend",
            kind: Type::Struct(&NETWORKING_V1_INGRESSBACKEND),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("path", Type::String),
        Field {
            name: "pathType",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static NETWORKING_V1_HTTPINGRESSRULEVALUE: Struct = Struct {
    name: "io.k8s.api.networking.v1.HTTPIngressRuleValue",
    atomic: false,
    fields: &[Field {
        name: "paths",
        kind: Type::List(&Type::Struct(&NETWORKING_V1_HTTPINGRESSPATH)),
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static NETWORKING_V1_IPADDRESS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IPAddress",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "spec",
            kind: Type::Struct(&NETWORKING_V1_IPADDRESSSPEC),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static NETWORKING_V1_IPADDRESSSPEC: Struct = Struct {
    name: "io.k8s.api.networking.v1.IPAddressSpec",
    atomic: false,
    fields: &[Field {
        name: "parentRef",
        kind: Type::Struct(&NETWORKING_V1_PARENTREFERENCE),
        required: true,
        patch: Patch::Replace,
        lists: Lists::Atomic,
    }],
};

static NETWORKING_V1_INGRESS: Struct = Struct {
    name: "io.k8s.api.networking.v1.Ingress",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&NETWORKING_V1_INGRESSSPEC)),
        Field::plain("status", Type::Struct(&NETWORKING_V1_INGRESSSTATUS)),
    ],
};

static NETWORKING_V1_INGRESSBACKEND: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressBackend",
    atomic: false,
    fields: &[
        Field::plain("resource", Type::Struct(&CORE_V1_TYPEDLOCALOBJECTREFERENCE)),
        Field::plain("service", Type::Struct(&NETWORKING_V1_INGRESSSERVICEBACKEND)),
    ],
};

static NETWORKING_V1_INGRESSCLASS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressClass",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&NETWORKING_V1_INGRESSCLASSSPEC)),
    ],
};

static NETWORKING_V1_INGRESSCLASSPARAMETERSREFERENCE: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressClassParametersReference",
    atomic: false,
    fields: &[
        Field::plain("apiGroup", Type::String),
        Field {
            name: "kind",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("namespace", Type::String),
        Field::plain("scope", Type::String),
    ],
};

static NETWORKING_V1_INGRESSCLASSSPEC: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressClassSpec",
    atomic: false,
    fields: &[
        Field::plain("controller", Type::String),
        Field::plain("parameters", Type::Struct(&NETWORKING_V1_INGRESSCLASSPARAMETERSREFERENCE)),
    ],
};

static NETWORKING_V1_INGRESSLOADBALANCERINGRESS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressLoadBalancerIngress",
    atomic: false,
    fields: &[
        Field::plain("hostname", Type::String),
        Field::plain("ip", Type::String),
        Field::plain("ports", Type::List(&Type::Struct(&NETWORKING_V1_INGRESSPORTSTATUS))),
    ],
};

static NETWORKING_V1_INGRESSLOADBALANCERSTATUS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressLoadBalancerStatus",
    atomic: false,
    fields: &[Field::plain(
        "ingress",
        Type::List(&Type::Struct(&NETWORKING_V1_INGRESSLOADBALANCERINGRESS)),
    )],
};

static NETWORKING_V1_INGRESSPORTSTATUS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressPortStatus",
    atomic: false,
    fields: &[
        Field::plain("error", Type::String),
        Field {
            name: "port",
            kind: Type::Int32,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "protocol",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static NETWORKING_V1_INGRESSRULE: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressRule",
    atomic: false,
    fields: &[
        Field::plain("host", Type::String),
        Field::plain("http", Type::Struct(&NETWORKING_V1_HTTPINGRESSRULEVALUE)),
    ],
};

static NETWORKING_V1_INGRESSSERVICEBACKEND: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressServiceBackend",
    atomic: false,
    fields: &[
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("port", Type::Struct(&NETWORKING_V1_SERVICEBACKENDPORT)),
    ],
};

static NETWORKING_V1_INGRESSSPEC: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressSpec",
    atomic: false,
    fields: &[
        Field::plain("defaultBackend", Type::Struct(&NETWORKING_V1_INGRESSBACKEND)),
        Field::plain("ingressClassName", Type::String),
        Field::plain("rules", Type::List(&Type::Struct(&NETWORKING_V1_INGRESSRULE))),
        Field::plain("tls", Type::List(&Type::Struct(&NETWORKING_V1_INGRESSTLS))),
    ],
};

static NETWORKING_V1_INGRESSSTATUS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressStatus",
    atomic: false,
    fields: &[Field::plain("loadBalancer", Type::Struct(&NETWORKING_V1_INGRESSLOADBALANCERSTATUS))],
};

static NETWORKING_V1_INGRESSTLS: Struct = Struct {
    name: "io.k8s.api.networking.v1.IngressTLS",
    atomic: false,
    fields: &[
        Field::plain("hosts", Type::List(&Type::String)),
        Field::plain("secretName", Type::String),
    ],
};

static NETWORKING_V1_PARENTREFERENCE: Struct = Struct {
    name: "io.k8s.api.networking.v1.ParentReference",
    atomic: false,
    fields: &[
        Field::plain("group", Type::String),
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("namespace", Type::String),
        Field {
            name: "resource",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static NETWORKING_V1_SERVICEBACKENDPORT: Struct = Struct {
    name: "io.k8s.api.networking.v1.ServiceBackendPort",
    atomic: false,
    fields: &[Field::plain("name", Type::String), Field::plain("number", Type::Int32)],
};

static NETWORKING_V1_SERVICECIDR: Struct = Struct {
    name: "io.k8s.api.networking.v1.ServiceCIDR",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("spec", Type::Struct(&NETWORKING_V1_SERVICECIDRSPEC)),
        Field::plain("status", Type::Struct(&NETWORKING_V1_SERVICECIDRSTATUS)),
    ],
};

static NETWORKING_V1_SERVICECIDRSPEC: Struct = Struct {
    name: "io.k8s.api.networking.v1.ServiceCIDRSpec",
    atomic: false,
    fields: &[Field::plain("cidrs", Type::List(&Type::String))],
};

static NETWORKING_V1_SERVICECIDRSTATUS: Struct = Struct {
    name: "io.k8s.api.networking.v1.ServiceCIDRStatus",
    atomic: false,
    fields: &[Field {
        name: "conditions",
        kind: Type::List(&Type::Struct(&META_V1_CONDITION)),
        required: false,
        patch: Patch::Merge("type"),
        lists: Lists::Map(&["type"]),
    }],
};

static POLICY_V1_EVICTION: Struct = Struct {
    name: "io.k8s.api.policy.v1.Eviction",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("deleteOptions", Type::Struct(&META_V1_DELETEOPTIONS)),
        Field::plain("kind", Type::String),
        Field {
            name: "metadata",
            kind: Type::Struct(&META_V1_OBJECTMETA),
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static META_V1_CONDITION: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.Condition",
    atomic: false,
    fields: &[
        Field {
            name: "lastTransitionTime",
            kind: Type::Time,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "message",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("observedGeneration", Type::Int64),
        Field {
            name: "reason",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "status",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "type",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static META_V1_DELETEOPTIONS: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("dryRun", Type::List(&Type::String)),
        Field::plain("gracePeriodSeconds", Type::Int64),
        Field::plain("ignoreStoreReadErrorWithClusterBreakingPotential", Type::Bool),
        Field::plain("kind", Type::String),
        Field::plain("orphanDependents", Type::Bool),
        Field::plain("preconditions", Type::Struct(&META_V1_PRECONDITIONS)),
        Field::plain("propagationPolicy", Type::String),
    ],
};

static META_V1_FIELDSELECTORREQUIREMENT: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement",
    atomic: false,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "operator",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("values", Type::List(&Type::String)),
    ],
};

static META_V1_LABELSELECTOR: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
    atomic: true,
    fields: &[
        Field::plain(
            "matchExpressions",
            Type::List(&Type::Struct(&META_V1_LABELSELECTORREQUIREMENT)),
        ),
        Field::plain("matchLabels", Type::Map(&Type::String)),
    ],
};

static META_V1_LABELSELECTORREQUIREMENT: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement",
    atomic: false,
    fields: &[
        Field {
            name: "key",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "operator",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("values", Type::List(&Type::String)),
    ],
};

static META_V1_MANAGEDFIELDSENTRY: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry",
    atomic: false,
    fields: &[
        Field::plain("apiVersion", Type::String),
        Field::plain("fieldsType", Type::String),
        Field::plain("fieldsV1", Type::Any),
        Field::plain("manager", Type::String),
        Field::plain("operation", Type::String),
        Field::plain("subresource", Type::String),
        Field::plain("time", Type::Time),
    ],
};

static META_V1_OBJECTMETA: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
    atomic: false,
    fields: &[
        Field::plain("annotations", Type::Map(&Type::String)),
        Field::plain("creationTimestamp", Type::Time),
        Field::plain("deletionGracePeriodSeconds", Type::Int64),
        Field::plain("deletionTimestamp", Type::Time),
        Field {
            name: "finalizers",
            kind: Type::List(&Type::String),
            required: false,
            patch: Patch::MergeSet,
            lists: Lists::Set,
        },
        Field::plain("generateName", Type::String),
        Field::plain("generation", Type::Int64),
        Field::plain("labels", Type::Map(&Type::String)),
        Field::plain("managedFields", Type::List(&Type::Struct(&META_V1_MANAGEDFIELDSENTRY))),
        Field::plain("name", Type::String),
        Field::plain("namespace", Type::String),
        Field {
            name: "ownerReferences",
            kind: Type::List(&Type::Struct(&META_V1_OWNERREFERENCE)),
            required: false,
            patch: Patch::Merge("uid"),
            lists: Lists::Map(&["uid"]),
        },
        Field::plain("resourceVersion", Type::String),
        Field::plain("selfLink", Type::String),
        Field::plain("uid", Type::String),
    ],
};

static META_V1_OWNERREFERENCE: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
    atomic: true,
    fields: &[
        Field {
            name: "apiVersion",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field::plain("blockOwnerDeletion", Type::Bool),
        Field::plain("controller", Type::Bool),
        Field {
            name: "kind",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "name",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
        Field {
            name: "uid",
            kind: Type::String,
            required: true,
            patch: Patch::Replace,
            lists: Lists::Atomic,
        },
    ],
};

static META_V1_PRECONDITIONS: Struct = Struct {
    name: "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions",
    atomic: false,
    fields: &[Field::plain("resourceVersion", Type::String), Field::plain("uid", Type::String)],
};

/// `(group, version, kind, struct)` of every kind that can stand in a request's body.
pub(super) static KINDS: &[(&str, &str, &str, &Struct)] = &[
    ("", "v1", "Binding", &CORE_V1_BINDING),
    ("", "v1", "ConfigMap", &CORE_V1_CONFIGMAP),
    ("", "v1", "DeleteOptions", &META_V1_DELETEOPTIONS),
    ("", "v1", "Endpoints", &CORE_V1_ENDPOINTS),
    ("", "v1", "Event", &CORE_V1_EVENT),
    ("", "v1", "Namespace", &CORE_V1_NAMESPACE),
    ("", "v1", "Node", &CORE_V1_NODE),
    ("", "v1", "Pod", &CORE_V1_POD),
    ("", "v1", "ReplicationController", &CORE_V1_REPLICATIONCONTROLLER),
    ("", "v1", "Secret", &CORE_V1_SECRET),
    ("", "v1", "Service", &CORE_V1_SERVICE),
    ("", "v1", "ServiceAccount", &CORE_V1_SERVICEACCOUNT),
    ("apps", "v1", "ControllerRevision", &APPS_V1_CONTROLLERREVISION),
    ("apps", "v1", "DaemonSet", &APPS_V1_DAEMONSET),
    ("apps", "v1", "Deployment", &APPS_V1_DEPLOYMENT),
    ("apps", "v1", "ReplicaSet", &APPS_V1_REPLICASET),
    ("apps", "v1", "StatefulSet", &APPS_V1_STATEFULSET),
    ("authentication.k8s.io", "v1", "TokenRequest", &AUTHENTICATION_V1_TOKENREQUEST),
    (
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        &AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEW,
    ),
    (
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        &AUTHORIZATION_V1_SELFSUBJECTRULESREVIEW,
    ),
    ("autoscaling", "v1", "Scale", &AUTOSCALING_V1_SCALE),
    ("coordination.k8s.io", "v1", "Lease", &COORDINATION_V1_LEASE),
    ("discovery.k8s.io", "v1", "EndpointSlice", &DISCOVERY_V1_ENDPOINTSLICE),
    ("events.k8s.io", "v1", "Event", &EVENTS_V1_EVENT),
    ("networking.k8s.io", "v1", "Ingress", &NETWORKING_V1_INGRESS),
    ("networking.k8s.io", "v1", "IngressClass", &NETWORKING_V1_INGRESSCLASS),
    ("networking.k8s.io", "v1", "IPAddress", &NETWORKING_V1_IPADDRESS),
    ("networking.k8s.io", "v1", "ServiceCIDR", &NETWORKING_V1_SERVICECIDR),
    ("policy", "v1", "Eviction", &POLICY_V1_EVICTION),
];
