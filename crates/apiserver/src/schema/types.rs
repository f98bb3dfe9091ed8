//! What the kinds of this server hold, field by field. Written by `generate.rs`; do not edit.

use super::{Field, Lists, Patch, Struct, Type as T};

const fn f(name: &'static str, kind: T) -> Field {
    Field::new(name, kind)
}

static APPS_V1_CONTROLLERREVISION: Struct = Struct { name: "io.k8s.api.apps.v1.ControllerRevision", atomic: false, fields: &[
    f("apiVersion", T::String), f("data", T::Any), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("revision", T::Int64),
] };
static APPS_V1_DAEMONSET: Struct = Struct { name: "io.k8s.api.apps.v1.DaemonSet", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&APPS_V1_DAEMONSETSPEC)),
    f("status", T::Struct(&APPS_V1_DAEMONSETSTATUS)),
] };
static APPS_V1_DAEMONSETCONDITION: Struct = Struct { name: "io.k8s.api.apps.v1.DaemonSetCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String), f("type", T::String),
] };
static APPS_V1_DAEMONSETSPEC: Struct = Struct { name: "io.k8s.api.apps.v1.DaemonSetSpec", atomic: false, fields: &[
    f("minReadySeconds", T::Int32), f("revisionHistoryLimit", T::Int32), f("selector", T::Struct(&META_V1_LABELSELECTOR)),
    f("template", T::Struct(&CORE_V1_PODTEMPLATESPEC)), f("updateStrategy", T::Struct(&APPS_V1_DAEMONSETUPDATESTRATEGY)),
] };
static APPS_V1_DAEMONSETSTATUS: Struct = Struct { name: "io.k8s.api.apps.v1.DaemonSetStatus", atomic: false, fields: &[
    f("collisionCount", T::Int32),
    Field { name: "conditions", kind: T::List(&T::Struct(&APPS_V1_DAEMONSETCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("currentNumberScheduled", T::Int32), f("desiredNumberScheduled", T::Int32), f("numberAvailable", T::Int32), f("numberMisscheduled", T::Int32),
    f("numberReady", T::Int32), f("numberUnavailable", T::Int32), f("observedGeneration", T::Int64), f("updatedNumberScheduled", T::Int32),
] };
static APPS_V1_DAEMONSETUPDATESTRATEGY: Struct = Struct { name: "io.k8s.api.apps.v1.DaemonSetUpdateStrategy", atomic: false, fields: &[
    f("rollingUpdate", T::Struct(&APPS_V1_ROLLINGUPDATEDAEMONSET)), f("type", T::String),
] };
static APPS_V1_DEPLOYMENT: Struct = Struct { name: "io.k8s.api.apps.v1.Deployment", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&APPS_V1_DEPLOYMENTSPEC)),
    f("status", T::Struct(&APPS_V1_DEPLOYMENTSTATUS)),
] };
static APPS_V1_DEPLOYMENTCONDITION: Struct = Struct { name: "io.k8s.api.apps.v1.DeploymentCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("lastUpdateTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String),
    f("type", T::String),
] };
static APPS_V1_DEPLOYMENTSPEC: Struct = Struct { name: "io.k8s.api.apps.v1.DeploymentSpec", atomic: false, fields: &[
    f("minReadySeconds", T::Int32), f("paused", T::Bool), f("progressDeadlineSeconds", T::Int32), f("replicas", T::Int32),
    f("revisionHistoryLimit", T::Int32), f("selector", T::Struct(&META_V1_LABELSELECTOR)),
    Field { name: "strategy", kind: T::Struct(&APPS_V1_DEPLOYMENTSTRATEGY), patch: Patch::RetainKeys, lists: Lists::Atomic },
    f("template", T::Struct(&CORE_V1_PODTEMPLATESPEC)),
] };
static APPS_V1_DEPLOYMENTSTATUS: Struct = Struct { name: "io.k8s.api.apps.v1.DeploymentStatus", atomic: false, fields: &[
    f("availableReplicas", T::Int32), f("collisionCount", T::Int32),
    Field { name: "conditions", kind: T::List(&T::Struct(&APPS_V1_DEPLOYMENTCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("observedGeneration", T::Int64), f("readyReplicas", T::Int32), f("replicas", T::Int32), f("terminatingReplicas", T::Int32),
    f("unavailableReplicas", T::Int32), f("updatedReplicas", T::Int32),
] };
static APPS_V1_DEPLOYMENTSTRATEGY: Struct = Struct { name: "io.k8s.api.apps.v1.DeploymentStrategy", atomic: false, fields: &[
    f("rollingUpdate", T::Struct(&APPS_V1_ROLLINGUPDATEDEPLOYMENT)), f("type", T::String),
] };
static APPS_V1_REPLICASET: Struct = Struct { name: "io.k8s.api.apps.v1.ReplicaSet", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&APPS_V1_REPLICASETSPEC)),
    f("status", T::Struct(&APPS_V1_REPLICASETSTATUS)),
] };
static APPS_V1_REPLICASETCONDITION: Struct = Struct { name: "io.k8s.api.apps.v1.ReplicaSetCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String), f("type", T::String),
] };
static APPS_V1_REPLICASETSPEC: Struct = Struct { name: "io.k8s.api.apps.v1.ReplicaSetSpec", atomic: false, fields: &[
    f("minReadySeconds", T::Int32), f("replicas", T::Int32), f("selector", T::Struct(&META_V1_LABELSELECTOR)),
    f("template", T::Struct(&CORE_V1_PODTEMPLATESPEC)),
] };
static APPS_V1_REPLICASETSTATUS: Struct = Struct { name: "io.k8s.api.apps.v1.ReplicaSetStatus", atomic: false, fields: &[
    f("availableReplicas", T::Int32),
    Field { name: "conditions", kind: T::List(&T::Struct(&APPS_V1_REPLICASETCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("fullyLabeledReplicas", T::Int32), f("observedGeneration", T::Int64), f("readyReplicas", T::Int32), f("replicas", T::Int32),
    f("terminatingReplicas", T::Int32),
] };
static APPS_V1_ROLLINGUPDATEDAEMONSET: Struct = Struct { name: "io.k8s.api.apps.v1.RollingUpdateDaemonSet", atomic: false, fields: &[
    f("maxSurge", T::IntOrString), f("maxUnavailable", T::IntOrString),
] };
static APPS_V1_ROLLINGUPDATEDEPLOYMENT: Struct = Struct { name: "io.k8s.api.apps.v1.RollingUpdateDeployment", atomic: false, fields: &[
    f("maxSurge", T::IntOrString), f("maxUnavailable", T::IntOrString),
] };
static APPS_V1_ROLLINGUPDATESTATEFULSETSTRATEGY: Struct = Struct { name: "io.k8s.api.apps.v1.RollingUpdateStatefulSetStrategy", atomic: false, fields: &[
    f("maxUnavailable", T::IntOrString), f("partition", T::Int32),
] };
static APPS_V1_STATEFULSET: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSet", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&APPS_V1_STATEFULSETSPEC)),
    f("status", T::Struct(&APPS_V1_STATEFULSETSTATUS)),
] };
static APPS_V1_STATEFULSETCONDITION: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String), f("type", T::String),
] };
static APPS_V1_STATEFULSETORDINALS: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetOrdinals", atomic: false, fields: &[
    f("start", T::Int32),
] };
static APPS_V1_STATEFULSETPERSISTENTVOLUMECLAIMRETENTIONPOLICY: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetPersistentVolumeClaimRetentionPolicy", atomic: false, fields: &[
    f("whenDeleted", T::String), f("whenScaled", T::String),
] };
static APPS_V1_STATEFULSETSPEC: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetSpec", atomic: false, fields: &[
    f("minReadySeconds", T::Int32), f("ordinals", T::Struct(&APPS_V1_STATEFULSETORDINALS)),
    f("persistentVolumeClaimRetentionPolicy", T::Struct(&APPS_V1_STATEFULSETPERSISTENTVOLUMECLAIMRETENTIONPOLICY)),
    f("podManagementPolicy", T::String), f("replicas", T::Int32), f("revisionHistoryLimit", T::Int32),
    f("selector", T::Struct(&META_V1_LABELSELECTOR)), f("serviceName", T::String), f("template", T::Struct(&CORE_V1_PODTEMPLATESPEC)),
    f("updateStrategy", T::Struct(&APPS_V1_STATEFULSETUPDATESTRATEGY)),
    f("volumeClaimTemplates", T::List(&T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIM))),
] };
static APPS_V1_STATEFULSETSTATUS: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetStatus", atomic: false, fields: &[
    f("availableReplicas", T::Int32), f("collisionCount", T::Int32),
    Field { name: "conditions", kind: T::List(&T::Struct(&APPS_V1_STATEFULSETCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("currentReplicas", T::Int32), f("currentRevision", T::String), f("observedGeneration", T::Int64), f("readyReplicas", T::Int32),
    f("replicas", T::Int32), f("updateRevision", T::String), f("updatedReplicas", T::Int32),
] };
static APPS_V1_STATEFULSETUPDATESTRATEGY: Struct = Struct { name: "io.k8s.api.apps.v1.StatefulSetUpdateStrategy", atomic: false, fields: &[
    f("rollingUpdate", T::Struct(&APPS_V1_ROLLINGUPDATESTATEFULSETSTRATEGY)), f("type", T::String),
] };
static AUTHENTICATION_V1_BOUNDOBJECTREFERENCE: Struct = Struct { name: "io.k8s.api.authentication.v1.BoundObjectReference", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("name", T::String), f("uid", T::String),
] };
static AUTHENTICATION_V1_SELFSUBJECTREVIEW: Struct = Struct { name: "io.k8s.api.authentication.v1.SelfSubjectReview", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("status", T::Struct(&AUTHENTICATION_V1_SELFSUBJECTREVIEWSTATUS)),
] };
static AUTHENTICATION_V1_SELFSUBJECTREVIEWSTATUS: Struct = Struct { name: "io.k8s.api.authentication.v1.SelfSubjectReviewStatus", atomic: false, fields: &[
    f("userInfo", T::Struct(&AUTHENTICATION_V1_USERINFO)),
] };
static AUTHENTICATION_V1_TOKENREQUEST: Struct = Struct { name: "io.k8s.api.authentication.v1.TokenRequest", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&AUTHENTICATION_V1_TOKENREQUESTSPEC)), f("status", T::Struct(&AUTHENTICATION_V1_TOKENREQUESTSTATUS)),
] };
static AUTHENTICATION_V1_TOKENREQUESTSPEC: Struct = Struct { name: "io.k8s.api.authentication.v1.TokenRequestSpec", atomic: false, fields: &[
    f("audiences", T::List(&T::String)), f("boundObjectRef", T::Struct(&AUTHENTICATION_V1_BOUNDOBJECTREFERENCE)), f("expirationSeconds", T::Int64),
] };
static AUTHENTICATION_V1_TOKENREQUESTSTATUS: Struct = Struct { name: "io.k8s.api.authentication.v1.TokenRequestStatus", atomic: false, fields: &[
    f("expirationTimestamp", T::Time), f("token", T::String),
] };
static AUTHENTICATION_V1_USERINFO: Struct = Struct { name: "io.k8s.api.authentication.v1.UserInfo", atomic: false, fields: &[
    f("extra", T::Map(&T::List(&T::String))), f("groups", T::List(&T::String)), f("uid", T::String), f("username", T::String),
] };
static AUTHORIZATION_V1_FIELDSELECTORATTRIBUTES: Struct = Struct { name: "io.k8s.api.authorization.v1.FieldSelectorAttributes", atomic: false, fields: &[
    f("rawSelector", T::String), f("requirements", T::List(&T::Struct(&META_V1_FIELDSELECTORREQUIREMENT))),
] };
static AUTHORIZATION_V1_LABELSELECTORATTRIBUTES: Struct = Struct { name: "io.k8s.api.authorization.v1.LabelSelectorAttributes", atomic: false, fields: &[
    f("rawSelector", T::String), f("requirements", T::List(&T::Struct(&META_V1_LABELSELECTORREQUIREMENT))),
] };
static AUTHORIZATION_V1_NONRESOURCEATTRIBUTES: Struct = Struct { name: "io.k8s.api.authorization.v1.NonResourceAttributes", atomic: false, fields: &[
    f("path", T::String), f("verb", T::String),
] };
static AUTHORIZATION_V1_NONRESOURCERULE: Struct = Struct { name: "io.k8s.api.authorization.v1.NonResourceRule", atomic: false, fields: &[
    f("nonResourceURLs", T::List(&T::String)), f("verbs", T::List(&T::String)),
] };
static AUTHORIZATION_V1_RESOURCEATTRIBUTES: Struct = Struct { name: "io.k8s.api.authorization.v1.ResourceAttributes", atomic: false, fields: &[
    f("fieldSelector", T::Struct(&AUTHORIZATION_V1_FIELDSELECTORATTRIBUTES)), f("group", T::String),
    f("labelSelector", T::Struct(&AUTHORIZATION_V1_LABELSELECTORATTRIBUTES)), f("name", T::String), f("namespace", T::String),
    f("resource", T::String), f("subresource", T::String), f("verb", T::String), f("version", T::String),
] };
static AUTHORIZATION_V1_RESOURCERULE: Struct = Struct { name: "io.k8s.api.authorization.v1.ResourceRule", atomic: false, fields: &[
    f("apiGroups", T::List(&T::String)), f("resourceNames", T::List(&T::String)), f("resources", T::List(&T::String)),
    f("verbs", T::List(&T::String)),
] };
static AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEW: Struct = Struct { name: "io.k8s.api.authorization.v1.SelfSubjectAccessReview", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEWSPEC)), f("status", T::Struct(&AUTHORIZATION_V1_SUBJECTACCESSREVIEWSTATUS)),
] };
static AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEWSPEC: Struct = Struct { name: "io.k8s.api.authorization.v1.SelfSubjectAccessReviewSpec", atomic: false, fields: &[
    f("nonResourceAttributes", T::Struct(&AUTHORIZATION_V1_NONRESOURCEATTRIBUTES)),
    f("resourceAttributes", T::Struct(&AUTHORIZATION_V1_RESOURCEATTRIBUTES)),
] };
static AUTHORIZATION_V1_SELFSUBJECTRULESREVIEW: Struct = Struct { name: "io.k8s.api.authorization.v1.SelfSubjectRulesReview", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&AUTHORIZATION_V1_SELFSUBJECTRULESREVIEWSPEC)), f("status", T::Struct(&AUTHORIZATION_V1_SUBJECTRULESREVIEWSTATUS)),
] };
static AUTHORIZATION_V1_SELFSUBJECTRULESREVIEWSPEC: Struct = Struct { name: "io.k8s.api.authorization.v1.SelfSubjectRulesReviewSpec", atomic: false, fields: &[
    f("namespace", T::String),
] };
static AUTHORIZATION_V1_SUBJECTACCESSREVIEWSTATUS: Struct = Struct { name: "io.k8s.api.authorization.v1.SubjectAccessReviewStatus", atomic: false, fields: &[
    f("allowed", T::Bool), f("denied", T::Bool), f("evaluationError", T::String), f("reason", T::String),
] };
static AUTHORIZATION_V1_SUBJECTRULESREVIEWSTATUS: Struct = Struct { name: "io.k8s.api.authorization.v1.SubjectRulesReviewStatus", atomic: false, fields: &[
    f("evaluationError", T::String), f("incomplete", T::Bool), f("nonResourceRules", T::List(&T::Struct(&AUTHORIZATION_V1_NONRESOURCERULE))),
    f("resourceRules", T::List(&T::Struct(&AUTHORIZATION_V1_RESOURCERULE))),
] };
static AUTOSCALING_V1_SCALE: Struct = Struct { name: "io.k8s.api.autoscaling.v1.Scale", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&AUTOSCALING_V1_SCALESPEC)),
    f("status", T::Struct(&AUTOSCALING_V1_SCALESTATUS)),
] };
static AUTOSCALING_V1_SCALESPEC: Struct = Struct { name: "io.k8s.api.autoscaling.v1.ScaleSpec", atomic: false, fields: &[
    f("replicas", T::Int32),
] };
static AUTOSCALING_V1_SCALESTATUS: Struct = Struct { name: "io.k8s.api.autoscaling.v1.ScaleStatus", atomic: false, fields: &[
    f("replicas", T::Int32), f("selector", T::String),
] };
static COORDINATION_V1_LEASE: Struct = Struct { name: "io.k8s.api.coordination.v1.Lease", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&COORDINATION_V1_LEASESPEC)),
] };
static COORDINATION_V1_LEASESPEC: Struct = Struct { name: "io.k8s.api.coordination.v1.LeaseSpec", atomic: false, fields: &[
    f("acquireTime", T::MicroTime), f("holderIdentity", T::String), f("leaseDurationSeconds", T::Int32), f("leaseTransitions", T::Int32),
    f("preferredHolder", T::String), f("renewTime", T::MicroTime), f("strategy", T::String),
] };
static CORE_V1_AWSELASTICBLOCKSTOREVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.AWSElasticBlockStoreVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("partition", T::Int32), f("readOnly", T::Bool), f("volumeID", T::String),
] };
static CORE_V1_AFFINITY: Struct = Struct { name: "io.k8s.api.core.v1.Affinity", atomic: false, fields: &[
    f("nodeAffinity", T::Struct(&CORE_V1_NODEAFFINITY)), f("podAffinity", T::Struct(&CORE_V1_PODAFFINITY)),
    f("podAntiAffinity", T::Struct(&CORE_V1_PODANTIAFFINITY)),
] };
static CORE_V1_APPARMORPROFILE: Struct = Struct { name: "io.k8s.api.core.v1.AppArmorProfile", atomic: false, fields: &[
    f("localhostProfile", T::String), f("type", T::String),
] };
static CORE_V1_ATTACHEDVOLUME: Struct = Struct { name: "io.k8s.api.core.v1.AttachedVolume", atomic: false, fields: &[
    f("devicePath", T::String), f("name", T::String),
] };
static CORE_V1_AZUREDISKVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.AzureDiskVolumeSource", atomic: false, fields: &[
    f("cachingMode", T::String), f("diskName", T::String), f("diskURI", T::String), f("fsType", T::String), f("kind", T::String),
    f("readOnly", T::Bool),
] };
static CORE_V1_AZUREFILEVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.AzureFileVolumeSource", atomic: false, fields: &[
    f("readOnly", T::Bool), f("secretName", T::String), f("shareName", T::String),
] };
static CORE_V1_BINDING: Struct = Struct { name: "io.k8s.api.core.v1.Binding", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("target", T::Struct(&CORE_V1_OBJECTREFERENCE)),
] };
static CORE_V1_CSIVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.CSIVolumeSource", atomic: false, fields: &[
    f("driver", T::String), f("fsType", T::String), f("nodePublishSecretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("readOnly", T::Bool),
    f("volumeAttributes", T::Map(&T::String)),
] };
static CORE_V1_CAPABILITIES: Struct = Struct { name: "io.k8s.api.core.v1.Capabilities", atomic: false, fields: &[
    f("add", T::List(&T::String)), f("drop", T::List(&T::String)),
] };
static CORE_V1_CEPHFSVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.CephFSVolumeSource", atomic: false, fields: &[
    f("monitors", T::List(&T::String)), f("path", T::String), f("readOnly", T::Bool), f("secretFile", T::String),
    f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("user", T::String),
] };
static CORE_V1_CINDERVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.CinderVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("readOnly", T::Bool), f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("volumeID", T::String),
] };
static CORE_V1_CLIENTIPCONFIG: Struct = Struct { name: "io.k8s.api.core.v1.ClientIPConfig", atomic: false, fields: &[
    f("timeoutSeconds", T::Int32),
] };
static CORE_V1_CLUSTERTRUSTBUNDLEPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.ClusterTrustBundleProjection", atomic: false, fields: &[
    f("labelSelector", T::Struct(&META_V1_LABELSELECTOR)), f("name", T::String), f("optional", T::Bool), f("path", T::String),
    f("signerName", T::String),
] };
static CORE_V1_CONFIGMAP: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMap", atomic: false, fields: &[
    f("apiVersion", T::String), f("binaryData", T::Map(&T::Bytes)), f("data", T::Map(&T::String)), f("immutable", T::Bool), f("kind", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)),
] };
static CORE_V1_CONFIGMAPENVSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMapEnvSource", atomic: false, fields: &[
    f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_CONFIGMAPKEYSELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMapKeySelector", atomic: true, fields: &[
    f("key", T::String), f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_CONFIGMAPNODECONFIGSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMapNodeConfigSource", atomic: false, fields: &[
    f("kubeletConfigKey", T::String), f("name", T::String), f("namespace", T::String), f("resourceVersion", T::String), f("uid", T::String),
] };
static CORE_V1_CONFIGMAPPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMapProjection", atomic: false, fields: &[
    f("items", T::List(&T::Struct(&CORE_V1_KEYTOPATH))), f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_CONFIGMAPVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ConfigMapVolumeSource", atomic: false, fields: &[
    f("defaultMode", T::Int32), f("items", T::List(&T::Struct(&CORE_V1_KEYTOPATH))), f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_CONTAINER: Struct = Struct { name: "io.k8s.api.core.v1.Container", atomic: false, fields: &[
    f("args", T::List(&T::String)), f("command", T::List(&T::String)),
    Field { name: "env", kind: T::List(&T::Struct(&CORE_V1_ENVVAR)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("envFrom", T::List(&T::Struct(&CORE_V1_ENVFROMSOURCE))), f("image", T::String), f("imagePullPolicy", T::String),
    f("lifecycle", T::Struct(&CORE_V1_LIFECYCLE)), f("livenessProbe", T::Struct(&CORE_V1_PROBE)), f("name", T::String),
    Field { name: "ports", kind: T::List(&T::Struct(&CORE_V1_CONTAINERPORT)), patch: Patch::Merge("containerPort"), lists: Lists::Map(&["containerPort", "protocol"]) },
    f("readinessProbe", T::Struct(&CORE_V1_PROBE)), f("resizePolicy", T::List(&T::Struct(&CORE_V1_CONTAINERRESIZEPOLICY))),
    f("resources", T::Struct(&CORE_V1_RESOURCEREQUIREMENTS)), f("restartPolicy", T::String),
    f("restartPolicyRules", T::List(&T::Struct(&CORE_V1_CONTAINERRESTARTRULE))), f("securityContext", T::Struct(&CORE_V1_SECURITYCONTEXT)),
    f("startupProbe", T::Struct(&CORE_V1_PROBE)), f("stdin", T::Bool), f("stdinOnce", T::Bool), f("terminationMessagePath", T::String),
    f("terminationMessagePolicy", T::String), f("tty", T::Bool),
    Field { name: "volumeDevices", kind: T::List(&T::Struct(&CORE_V1_VOLUMEDEVICE)), patch: Patch::Merge("devicePath"), lists: Lists::Map(&["devicePath"]) },
    Field { name: "volumeMounts", kind: T::List(&T::Struct(&CORE_V1_VOLUMEMOUNT)), patch: Patch::Merge("mountPath"), lists: Lists::Map(&["mountPath"]) },
    f("workingDir", T::String),
] };
static CORE_V1_CONTAINEREXTENDEDRESOURCEREQUEST: Struct = Struct { name: "io.k8s.api.core.v1.ContainerExtendedResourceRequest", atomic: false, fields: &[
    f("containerName", T::String), f("requestName", T::String), f("resourceName", T::String),
] };
static CORE_V1_CONTAINERIMAGE: Struct = Struct { name: "io.k8s.api.core.v1.ContainerImage", atomic: false, fields: &[
    f("names", T::List(&T::String)), f("sizeBytes", T::Int64),
] };
static CORE_V1_CONTAINERPORT: Struct = Struct { name: "io.k8s.api.core.v1.ContainerPort", atomic: false, fields: &[
    f("containerPort", T::Int32), f("hostIP", T::String), f("hostPort", T::Int32), f("name", T::String), f("protocol", T::String),
] };
static CORE_V1_CONTAINERRESIZEPOLICY: Struct = Struct { name: "io.k8s.api.core.v1.ContainerResizePolicy", atomic: false, fields: &[
    f("resourceName", T::String), f("restartPolicy", T::String),
] };
static CORE_V1_CONTAINERRESTARTRULE: Struct = Struct { name: "io.k8s.api.core.v1.ContainerRestartRule", atomic: false, fields: &[
    f("action", T::String), f("exitCodes", T::Struct(&CORE_V1_CONTAINERRESTARTRULEONEXITCODES)),
] };
static CORE_V1_CONTAINERRESTARTRULEONEXITCODES: Struct = Struct { name: "io.k8s.api.core.v1.ContainerRestartRuleOnExitCodes", atomic: false, fields: &[
    f("operator", T::String), Field { name: "values", kind: T::List(&T::Int32), patch: Patch::Replace, lists: Lists::Set },
] };
static CORE_V1_CONTAINERSTATE: Struct = Struct { name: "io.k8s.api.core.v1.ContainerState", atomic: false, fields: &[
    f("running", T::Struct(&CORE_V1_CONTAINERSTATERUNNING)), f("terminated", T::Struct(&CORE_V1_CONTAINERSTATETERMINATED)),
    f("waiting", T::Struct(&CORE_V1_CONTAINERSTATEWAITING)),
] };
static CORE_V1_CONTAINERSTATERUNNING: Struct = Struct { name: "io.k8s.api.core.v1.ContainerStateRunning", atomic: false, fields: &[
    f("startedAt", T::Time),
] };
static CORE_V1_CONTAINERSTATETERMINATED: Struct = Struct { name: "io.k8s.api.core.v1.ContainerStateTerminated", atomic: false, fields: &[
    f("containerID", T::String), f("exitCode", T::Int32), f("finishedAt", T::Time), f("message", T::String), f("reason", T::String),
    f("signal", T::Int32), f("startedAt", T::Time),
] };
static CORE_V1_CONTAINERSTATEWAITING: Struct = Struct { name: "io.k8s.api.core.v1.ContainerStateWaiting", atomic: false, fields: &[
    f("message", T::String), f("reason", T::String),
] };
static CORE_V1_CONTAINERSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ContainerStatus", atomic: false, fields: &[
    f("allocatedResources", T::Map(&T::Quantity)),
    Field { name: "allocatedResourcesStatus", kind: T::List(&T::Struct(&CORE_V1_RESOURCESTATUS)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("containerID", T::String), f("image", T::String), f("imageID", T::String), f("lastState", T::Struct(&CORE_V1_CONTAINERSTATE)),
    f("name", T::String), f("ready", T::Bool), f("resources", T::Struct(&CORE_V1_RESOURCEREQUIREMENTS)), f("restartCount", T::Int32),
    f("started", T::Bool), f("state", T::Struct(&CORE_V1_CONTAINERSTATE)), f("stopSignal", T::String), f("user", T::Struct(&CORE_V1_CONTAINERUSER)),
    Field { name: "volumeMounts", kind: T::List(&T::Struct(&CORE_V1_VOLUMEMOUNTSTATUS)), patch: Patch::Merge("mountPath"), lists: Lists::Map(&["mountPath"]) },
] };
static CORE_V1_CONTAINERUSER: Struct = Struct { name: "io.k8s.api.core.v1.ContainerUser", atomic: false, fields: &[
    f("linux", T::Struct(&CORE_V1_LINUXCONTAINERUSER)),
] };
static CORE_V1_DAEMONENDPOINT: Struct = Struct { name: "io.k8s.api.core.v1.DaemonEndpoint", atomic: false, fields: &[
    f("Port", T::Int32),
] };
static CORE_V1_DOWNWARDAPIPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.DownwardAPIProjection", atomic: false, fields: &[
    f("items", T::List(&T::Struct(&CORE_V1_DOWNWARDAPIVOLUMEFILE))),
] };
static CORE_V1_DOWNWARDAPIVOLUMEFILE: Struct = Struct { name: "io.k8s.api.core.v1.DownwardAPIVolumeFile", atomic: false, fields: &[
    f("fieldRef", T::Struct(&CORE_V1_OBJECTFIELDSELECTOR)), f("mode", T::Int32), f("path", T::String),
    f("resourceFieldRef", T::Struct(&CORE_V1_RESOURCEFIELDSELECTOR)),
] };
static CORE_V1_DOWNWARDAPIVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.DownwardAPIVolumeSource", atomic: false, fields: &[
    f("defaultMode", T::Int32), f("items", T::List(&T::Struct(&CORE_V1_DOWNWARDAPIVOLUMEFILE))),
] };
static CORE_V1_EMPTYDIRVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.EmptyDirVolumeSource", atomic: false, fields: &[
    f("medium", T::String), f("sizeLimit", T::Quantity),
] };
static CORE_V1_ENDPOINTADDRESS: Struct = Struct { name: "io.k8s.api.core.v1.EndpointAddress", atomic: true, fields: &[
    f("hostname", T::String), f("ip", T::String), f("nodeName", T::String), f("targetRef", T::Struct(&CORE_V1_OBJECTREFERENCE)),
] };
static CORE_V1_ENDPOINTPORT: Struct = Struct { name: "io.k8s.api.core.v1.EndpointPort", atomic: true, fields: &[
    f("appProtocol", T::String), f("name", T::String), f("port", T::Int32), f("protocol", T::String),
] };
static CORE_V1_ENDPOINTSUBSET: Struct = Struct { name: "io.k8s.api.core.v1.EndpointSubset", atomic: false, fields: &[
    f("addresses", T::List(&T::Struct(&CORE_V1_ENDPOINTADDRESS))), f("notReadyAddresses", T::List(&T::Struct(&CORE_V1_ENDPOINTADDRESS))),
    f("ports", T::List(&T::Struct(&CORE_V1_ENDPOINTPORT))),
] };
static CORE_V1_ENDPOINTS: Struct = Struct { name: "io.k8s.api.core.v1.Endpoints", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("subsets", T::List(&T::Struct(&CORE_V1_ENDPOINTSUBSET))),
] };
static CORE_V1_ENVFROMSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.EnvFromSource", atomic: false, fields: &[
    f("configMapRef", T::Struct(&CORE_V1_CONFIGMAPENVSOURCE)), f("prefix", T::String), f("secretRef", T::Struct(&CORE_V1_SECRETENVSOURCE)),
] };
static CORE_V1_ENVVAR: Struct = Struct { name: "io.k8s.api.core.v1.EnvVar", atomic: false, fields: &[
    f("name", T::String), f("value", T::String), f("valueFrom", T::Struct(&CORE_V1_ENVVARSOURCE)),
] };
static CORE_V1_ENVVARSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.EnvVarSource", atomic: false, fields: &[
    f("configMapKeyRef", T::Struct(&CORE_V1_CONFIGMAPKEYSELECTOR)), f("fieldRef", T::Struct(&CORE_V1_OBJECTFIELDSELECTOR)),
    f("fileKeyRef", T::Struct(&CORE_V1_FILEKEYSELECTOR)), f("resourceFieldRef", T::Struct(&CORE_V1_RESOURCEFIELDSELECTOR)),
    f("secretKeyRef", T::Struct(&CORE_V1_SECRETKEYSELECTOR)),
] };
static CORE_V1_EPHEMERALCONTAINER: Struct = Struct { name: "io.k8s.api.core.v1.EphemeralContainer", atomic: false, fields: &[
    f("args", T::List(&T::String)), f("command", T::List(&T::String)),
    Field { name: "env", kind: T::List(&T::Struct(&CORE_V1_ENVVAR)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("envFrom", T::List(&T::Struct(&CORE_V1_ENVFROMSOURCE))), f("image", T::String), f("imagePullPolicy", T::String),
    f("lifecycle", T::Struct(&CORE_V1_LIFECYCLE)), f("livenessProbe", T::Struct(&CORE_V1_PROBE)), f("name", T::String),
    Field { name: "ports", kind: T::List(&T::Struct(&CORE_V1_CONTAINERPORT)), patch: Patch::Merge("containerPort"), lists: Lists::Map(&["containerPort", "protocol"]) },
    f("readinessProbe", T::Struct(&CORE_V1_PROBE)), f("resizePolicy", T::List(&T::Struct(&CORE_V1_CONTAINERRESIZEPOLICY))),
    f("resources", T::Struct(&CORE_V1_RESOURCEREQUIREMENTS)), f("restartPolicy", T::String),
    f("restartPolicyRules", T::List(&T::Struct(&CORE_V1_CONTAINERRESTARTRULE))), f("securityContext", T::Struct(&CORE_V1_SECURITYCONTEXT)),
    f("startupProbe", T::Struct(&CORE_V1_PROBE)), f("stdin", T::Bool), f("stdinOnce", T::Bool), f("targetContainerName", T::String),
    f("terminationMessagePath", T::String), f("terminationMessagePolicy", T::String), f("tty", T::Bool),
    Field { name: "volumeDevices", kind: T::List(&T::Struct(&CORE_V1_VOLUMEDEVICE)), patch: Patch::Merge("devicePath"), lists: Lists::Map(&["devicePath"]) },
    Field { name: "volumeMounts", kind: T::List(&T::Struct(&CORE_V1_VOLUMEMOUNT)), patch: Patch::Merge("mountPath"), lists: Lists::Map(&["mountPath"]) },
    f("workingDir", T::String),
] };
static CORE_V1_EPHEMERALVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.EphemeralVolumeSource", atomic: false, fields: &[
    f("volumeClaimTemplate", T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMTEMPLATE)),
] };
static CORE_V1_EVENT: Struct = Struct { name: "io.k8s.api.core.v1.Event", atomic: false, fields: &[
    f("action", T::String), f("apiVersion", T::String), f("count", T::Int32), f("eventTime", T::MicroTime), f("firstTimestamp", T::Time),
    f("involvedObject", T::Struct(&CORE_V1_OBJECTREFERENCE)), f("kind", T::String), f("lastTimestamp", T::Time), f("message", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("reason", T::String), f("related", T::Struct(&CORE_V1_OBJECTREFERENCE)),
    f("reportingComponent", T::String), f("reportingInstance", T::String), f("series", T::Struct(&CORE_V1_EVENTSERIES)),
    f("source", T::Struct(&CORE_V1_EVENTSOURCE)), f("type", T::String),
] };
static CORE_V1_EVENTSERIES: Struct = Struct { name: "io.k8s.api.core.v1.EventSeries", atomic: false, fields: &[
    f("count", T::Int32), f("lastObservedTime", T::MicroTime),
] };
static CORE_V1_EVENTSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.EventSource", atomic: false, fields: &[
    f("component", T::String), f("host", T::String),
] };
static CORE_V1_EXECACTION: Struct = Struct { name: "io.k8s.api.core.v1.ExecAction", atomic: false, fields: &[
    f("command", T::List(&T::String)),
] };
static CORE_V1_FCVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.FCVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("lun", T::Int32), f("readOnly", T::Bool), f("targetWWNs", T::List(&T::String)), f("wwids", T::List(&T::String)),
] };
static CORE_V1_FILEKEYSELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.FileKeySelector", atomic: true, fields: &[
    f("key", T::String), f("optional", T::Bool), f("path", T::String), f("volumeName", T::String),
] };
static CORE_V1_FLEXVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.FlexVolumeSource", atomic: false, fields: &[
    f("driver", T::String), f("fsType", T::String), f("options", T::Map(&T::String)), f("readOnly", T::Bool),
    f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)),
] };
static CORE_V1_FLOCKERVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.FlockerVolumeSource", atomic: false, fields: &[
    f("datasetName", T::String), f("datasetUUID", T::String),
] };
static CORE_V1_GCEPERSISTENTDISKVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.GCEPersistentDiskVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("partition", T::Int32), f("pdName", T::String), f("readOnly", T::Bool),
] };
static CORE_V1_GRPCACTION: Struct = Struct { name: "io.k8s.api.core.v1.GRPCAction", atomic: false, fields: &[
    f("port", T::Int32), f("service", T::String),
] };
static CORE_V1_GITREPOVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.GitRepoVolumeSource", atomic: false, fields: &[
    f("directory", T::String), f("repository", T::String), f("revision", T::String),
] };
static CORE_V1_GLUSTERFSVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.GlusterfsVolumeSource", atomic: false, fields: &[
    f("endpoints", T::String), f("path", T::String), f("readOnly", T::Bool),
] };
static CORE_V1_HTTPGETACTION: Struct = Struct { name: "io.k8s.api.core.v1.HTTPGetAction", atomic: false, fields: &[
    f("host", T::String), f("httpHeaders", T::List(&T::Struct(&CORE_V1_HTTPHEADER))), f("path", T::String), f("port", T::IntOrString),
    f("scheme", T::String),
] };
static CORE_V1_HTTPHEADER: Struct = Struct { name: "io.k8s.api.core.v1.HTTPHeader", atomic: false, fields: &[
    f("name", T::String), f("value", T::String),
] };
static CORE_V1_HOSTALIAS: Struct = Struct { name: "io.k8s.api.core.v1.HostAlias", atomic: false, fields: &[
    f("hostnames", T::List(&T::String)), f("ip", T::String),
] };
static CORE_V1_HOSTIP: Struct = Struct { name: "io.k8s.api.core.v1.HostIP", atomic: false, fields: &[
    f("ip", T::String),
] };
static CORE_V1_HOSTPATHVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.HostPathVolumeSource", atomic: false, fields: &[
    f("path", T::String), f("type", T::String),
] };
static CORE_V1_ISCSIVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ISCSIVolumeSource", atomic: false, fields: &[
    f("chapAuthDiscovery", T::Bool), f("chapAuthSession", T::Bool), f("fsType", T::String), f("initiatorName", T::String), f("iqn", T::String),
    f("iscsiInterface", T::String), f("lun", T::Int32), f("portals", T::List(&T::String)), f("readOnly", T::Bool),
    f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("targetPortal", T::String),
] };
static CORE_V1_IMAGEVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ImageVolumeSource", atomic: false, fields: &[
    f("pullPolicy", T::String), f("reference", T::String),
] };
static CORE_V1_IMAGEVOLUMESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ImageVolumeStatus", atomic: false, fields: &[
    f("imageRef", T::String),
] };
static CORE_V1_KEYTOPATH: Struct = Struct { name: "io.k8s.api.core.v1.KeyToPath", atomic: false, fields: &[
    f("key", T::String), f("mode", T::Int32), f("path", T::String),
] };
static CORE_V1_LIFECYCLE: Struct = Struct { name: "io.k8s.api.core.v1.Lifecycle", atomic: false, fields: &[
    f("postStart", T::Struct(&CORE_V1_LIFECYCLEHANDLER)), f("preStop", T::Struct(&CORE_V1_LIFECYCLEHANDLER)), f("stopSignal", T::String),
] };
static CORE_V1_LIFECYCLEHANDLER: Struct = Struct { name: "io.k8s.api.core.v1.LifecycleHandler", atomic: false, fields: &[
    f("exec", T::Struct(&CORE_V1_EXECACTION)), f("httpGet", T::Struct(&CORE_V1_HTTPGETACTION)), f("sleep", T::Struct(&CORE_V1_SLEEPACTION)),
    f("tcpSocket", T::Struct(&CORE_V1_TCPSOCKETACTION)),
] };
static CORE_V1_LINUXCONTAINERUSER: Struct = Struct { name: "io.k8s.api.core.v1.LinuxContainerUser", atomic: false, fields: &[
    f("gid", T::Int64), f("supplementalGroups", T::List(&T::Int64)), f("uid", T::Int64),
] };
static CORE_V1_LOADBALANCERINGRESS: Struct = Struct { name: "io.k8s.api.core.v1.LoadBalancerIngress", atomic: false, fields: &[
    f("hostname", T::String), f("ip", T::String), f("ipMode", T::String), f("ports", T::List(&T::Struct(&CORE_V1_PORTSTATUS))),
] };
static CORE_V1_LOADBALANCERSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.LoadBalancerStatus", atomic: false, fields: &[
    f("ingress", T::List(&T::Struct(&CORE_V1_LOADBALANCERINGRESS))),
] };
static CORE_V1_LOCALOBJECTREFERENCE: Struct = Struct { name: "io.k8s.api.core.v1.LocalObjectReference", atomic: true, fields: &[
    f("name", T::String),
] };
static CORE_V1_MODIFYVOLUMESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ModifyVolumeStatus", atomic: false, fields: &[
    f("status", T::String), f("targetVolumeAttributesClassName", T::String),
] };
static CORE_V1_NFSVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.NFSVolumeSource", atomic: false, fields: &[
    f("path", T::String), f("readOnly", T::Bool), f("server", T::String),
] };
static CORE_V1_NAMESPACE: Struct = Struct { name: "io.k8s.api.core.v1.Namespace", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_NAMESPACESPEC)),
    f("status", T::Struct(&CORE_V1_NAMESPACESTATUS)),
] };
static CORE_V1_NAMESPACECONDITION: Struct = Struct { name: "io.k8s.api.core.v1.NamespaceCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String), f("type", T::String),
] };
static CORE_V1_NAMESPACESPEC: Struct = Struct { name: "io.k8s.api.core.v1.NamespaceSpec", atomic: false, fields: &[
    f("finalizers", T::List(&T::String)),
] };
static CORE_V1_NAMESPACESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.NamespaceStatus", atomic: false, fields: &[
    Field { name: "conditions", kind: T::List(&T::Struct(&CORE_V1_NAMESPACECONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("phase", T::String),
] };
static CORE_V1_NODE: Struct = Struct { name: "io.k8s.api.core.v1.Node", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_NODESPEC)),
    f("status", T::Struct(&CORE_V1_NODESTATUS)),
] };
static CORE_V1_NODEADDRESS: Struct = Struct { name: "io.k8s.api.core.v1.NodeAddress", atomic: false, fields: &[
    f("address", T::String), f("type", T::String),
] };
static CORE_V1_NODEAFFINITY: Struct = Struct { name: "io.k8s.api.core.v1.NodeAffinity", atomic: false, fields: &[
    f("preferredDuringSchedulingIgnoredDuringExecution", T::List(&T::Struct(&CORE_V1_PREFERREDSCHEDULINGTERM))),
    f("requiredDuringSchedulingIgnoredDuringExecution", T::Struct(&CORE_V1_NODESELECTOR)),
] };
static CORE_V1_NODEALLOCATABLERESOURCECLAIMSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.NodeAllocatableResourceClaimStatus", atomic: false, fields: &[
    f("containers", T::List(&T::String)), f("resourceClaimName", T::String), f("resources", T::Map(&T::Quantity)),
] };
static CORE_V1_NODECONDITION: Struct = Struct { name: "io.k8s.api.core.v1.NodeCondition", atomic: false, fields: &[
    f("lastHeartbeatTime", T::Time), f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String),
    f("type", T::String),
] };
static CORE_V1_NODECONFIGSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.NodeConfigSource", atomic: false, fields: &[
    f("configMap", T::Struct(&CORE_V1_CONFIGMAPNODECONFIGSOURCE)),
] };
static CORE_V1_NODECONFIGSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.NodeConfigStatus", atomic: false, fields: &[
    f("active", T::Struct(&CORE_V1_NODECONFIGSOURCE)), f("assigned", T::Struct(&CORE_V1_NODECONFIGSOURCE)), f("error", T::String),
    f("lastKnownGood", T::Struct(&CORE_V1_NODECONFIGSOURCE)),
] };
static CORE_V1_NODEDAEMONENDPOINTS: Struct = Struct { name: "io.k8s.api.core.v1.NodeDaemonEndpoints", atomic: false, fields: &[
    f("kubeletEndpoint", T::Struct(&CORE_V1_DAEMONENDPOINT)),
] };
static CORE_V1_NODEFEATURES: Struct = Struct { name: "io.k8s.api.core.v1.NodeFeatures", atomic: false, fields: &[
    f("supplementalGroupsPolicy", T::Bool),
] };
static CORE_V1_NODERUNTIMEHANDLER: Struct = Struct { name: "io.k8s.api.core.v1.NodeRuntimeHandler", atomic: false, fields: &[
    f("features", T::Struct(&CORE_V1_NODERUNTIMEHANDLERFEATURES)), f("name", T::String),
] };
static CORE_V1_NODERUNTIMEHANDLERFEATURES: Struct = Struct { name: "io.k8s.api.core.v1.NodeRuntimeHandlerFeatures", atomic: false, fields: &[
    f("recursiveReadOnlyMounts", T::Bool), f("userNamespaces", T::Bool),
] };
static CORE_V1_NODESELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.NodeSelector", atomic: true, fields: &[
    f("nodeSelectorTerms", T::List(&T::Struct(&CORE_V1_NODESELECTORTERM))),
] };
static CORE_V1_NODESELECTORREQUIREMENT: Struct = Struct { name: "io.k8s.api.core.v1.NodeSelectorRequirement", atomic: false, fields: &[
    f("key", T::String), f("operator", T::String), f("values", T::List(&T::String)),
] };
static CORE_V1_NODESELECTORTERM: Struct = Struct { name: "io.k8s.api.core.v1.NodeSelectorTerm", atomic: true, fields: &[
    f("matchExpressions", T::List(&T::Struct(&CORE_V1_NODESELECTORREQUIREMENT))),
    f("matchFields", T::List(&T::Struct(&CORE_V1_NODESELECTORREQUIREMENT))),
] };
static CORE_V1_NODESPEC: Struct = Struct { name: "io.k8s.api.core.v1.NodeSpec", atomic: false, fields: &[
    f("configSource", T::Struct(&CORE_V1_NODECONFIGSOURCE)), f("externalID", T::String), f("podCIDR", T::String),
    Field { name: "podCIDRs", kind: T::List(&T::String), patch: Patch::MergeSet, lists: Lists::Set }, f("providerID", T::String),
    f("taints", T::List(&T::Struct(&CORE_V1_TAINT))), f("unschedulable", T::Bool),
] };
static CORE_V1_NODESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.NodeStatus", atomic: false, fields: &[
    Field { name: "addresses", kind: T::List(&T::Struct(&CORE_V1_NODEADDRESS)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("allocatable", T::Map(&T::Quantity)), f("capacity", T::Map(&T::Quantity)),
    Field { name: "conditions", kind: T::List(&T::Struct(&CORE_V1_NODECONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("config", T::Struct(&CORE_V1_NODECONFIGSTATUS)), f("daemonEndpoints", T::Struct(&CORE_V1_NODEDAEMONENDPOINTS)),
    f("declaredFeatures", T::List(&T::String)), f("features", T::Struct(&CORE_V1_NODEFEATURES)),
    f("images", T::List(&T::Struct(&CORE_V1_CONTAINERIMAGE))), f("nodeInfo", T::Struct(&CORE_V1_NODESYSTEMINFO)), f("phase", T::String),
    f("runtimeHandlers", T::List(&T::Struct(&CORE_V1_NODERUNTIMEHANDLER))), f("volumesAttached", T::List(&T::Struct(&CORE_V1_ATTACHEDVOLUME))),
    f("volumesInUse", T::List(&T::String)),
] };
static CORE_V1_NODESWAPSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.NodeSwapStatus", atomic: false, fields: &[
    f("capacity", T::Int64),
] };
static CORE_V1_NODESYSTEMINFO: Struct = Struct { name: "io.k8s.api.core.v1.NodeSystemInfo", atomic: false, fields: &[
    f("architecture", T::String), f("bootID", T::String), f("containerRuntimeVersion", T::String), f("kernelVersion", T::String),
    f("kubeProxyVersion", T::String), f("kubeletVersion", T::String), f("machineID", T::String), f("operatingSystem", T::String),
    f("osImage", T::String), f("swap", T::Struct(&CORE_V1_NODESWAPSTATUS)), f("systemUUID", T::String),
] };
static CORE_V1_OBJECTFIELDSELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.ObjectFieldSelector", atomic: true, fields: &[
    f("apiVersion", T::String), f("fieldPath", T::String),
] };
static CORE_V1_OBJECTREFERENCE: Struct = Struct { name: "io.k8s.api.core.v1.ObjectReference", atomic: true, fields: &[
    f("apiVersion", T::String), f("fieldPath", T::String), f("kind", T::String), f("name", T::String), f("namespace", T::String),
    f("resourceVersion", T::String), f("uid", T::String),
] };
static CORE_V1_PERSISTENTVOLUMECLAIM: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaim", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSPEC)), f("status", T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSTATUS)),
] };
static CORE_V1_PERSISTENTVOLUMECLAIMCONDITION: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaimCondition", atomic: false, fields: &[
    f("lastProbeTime", T::Time), f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String),
    f("type", T::String),
] };
static CORE_V1_PERSISTENTVOLUMECLAIMSPEC: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaimSpec", atomic: false, fields: &[
    f("accessModes", T::List(&T::String)), f("dataSource", T::Struct(&CORE_V1_TYPEDLOCALOBJECTREFERENCE)),
    f("dataSourceRef", T::Struct(&CORE_V1_TYPEDOBJECTREFERENCE)), f("resources", T::Struct(&CORE_V1_VOLUMERESOURCEREQUIREMENTS)),
    f("selector", T::Struct(&META_V1_LABELSELECTOR)), f("storageClassName", T::String), f("volumeAttributesClassName", T::String),
    f("volumeMode", T::String), f("volumeName", T::String),
] };
static CORE_V1_PERSISTENTVOLUMECLAIMSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaimStatus", atomic: false, fields: &[
    f("accessModes", T::List(&T::String)), f("allocatedResourceStatuses", T::Map(&T::String)), f("allocatedResources", T::Map(&T::Quantity)),
    f("capacity", T::Map(&T::Quantity)), f("conditions", T::List(&T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMCONDITION))),
    f("currentVolumeAttributesClassName", T::String), f("modifyVolumeStatus", T::Struct(&CORE_V1_MODIFYVOLUMESTATUS)), f("phase", T::String),
] };
static CORE_V1_PERSISTENTVOLUMECLAIMTEMPLATE: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaimTemplate", atomic: false, fields: &[
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMSPEC)),
] };
static CORE_V1_PERSISTENTVOLUMECLAIMVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.PersistentVolumeClaimVolumeSource", atomic: false, fields: &[
    f("claimName", T::String), f("readOnly", T::Bool),
] };
static CORE_V1_PHOTONPERSISTENTDISKVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.PhotonPersistentDiskVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("pdID", T::String),
] };
static CORE_V1_POD: Struct = Struct { name: "io.k8s.api.core.v1.Pod", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_PODSPEC)),
    f("status", T::Struct(&CORE_V1_PODSTATUS)),
] };
static CORE_V1_PODAFFINITY: Struct = Struct { name: "io.k8s.api.core.v1.PodAffinity", atomic: false, fields: &[
    f("preferredDuringSchedulingIgnoredDuringExecution", T::List(&T::Struct(&CORE_V1_WEIGHTEDPODAFFINITYTERM))),
    f("requiredDuringSchedulingIgnoredDuringExecution", T::List(&T::Struct(&CORE_V1_PODAFFINITYTERM))),
] };
static CORE_V1_PODAFFINITYTERM: Struct = Struct { name: "io.k8s.api.core.v1.PodAffinityTerm", atomic: false, fields: &[
    f("labelSelector", T::Struct(&META_V1_LABELSELECTOR)), f("matchLabelKeys", T::List(&T::String)), f("mismatchLabelKeys", T::List(&T::String)),
    f("namespaceSelector", T::Struct(&META_V1_LABELSELECTOR)), f("namespaces", T::List(&T::String)), f("topologyKey", T::String),
] };
static CORE_V1_PODANTIAFFINITY: Struct = Struct { name: "io.k8s.api.core.v1.PodAntiAffinity", atomic: false, fields: &[
    f("preferredDuringSchedulingIgnoredDuringExecution", T::List(&T::Struct(&CORE_V1_WEIGHTEDPODAFFINITYTERM))),
    f("requiredDuringSchedulingIgnoredDuringExecution", T::List(&T::Struct(&CORE_V1_PODAFFINITYTERM))),
] };
static CORE_V1_PODCERTIFICATEPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.PodCertificateProjection", atomic: false, fields: &[
    f("certificateChainPath", T::String), f("credentialBundlePath", T::String), f("keyPath", T::String), f("keyType", T::String),
    f("maxExpirationSeconds", T::Int32), f("signerName", T::String), f("userAnnotations", T::Map(&T::String)),
] };
static CORE_V1_PODCONDITION: Struct = Struct { name: "io.k8s.api.core.v1.PodCondition", atomic: false, fields: &[
    f("lastProbeTime", T::Time), f("lastTransitionTime", T::Time), f("message", T::String), f("observedGeneration", T::Int64), f("reason", T::String),
    f("status", T::String), f("type", T::String),
] };
static CORE_V1_PODDNSCONFIG: Struct = Struct { name: "io.k8s.api.core.v1.PodDNSConfig", atomic: false, fields: &[
    f("nameservers", T::List(&T::String)), f("options", T::List(&T::Struct(&CORE_V1_PODDNSCONFIGOPTION))), f("searches", T::List(&T::String)),
] };
static CORE_V1_PODDNSCONFIGOPTION: Struct = Struct { name: "io.k8s.api.core.v1.PodDNSConfigOption", atomic: false, fields: &[
    f("name", T::String), f("value", T::String),
] };
static CORE_V1_PODEXTENDEDRESOURCECLAIMSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.PodExtendedResourceClaimStatus", atomic: false, fields: &[
    f("requestMappings", T::List(&T::Struct(&CORE_V1_CONTAINEREXTENDEDRESOURCEREQUEST))), f("resourceClaimName", T::String),
] };
static CORE_V1_PODIP: Struct = Struct { name: "io.k8s.api.core.v1.PodIP", atomic: false, fields: &[
    f("ip", T::String),
] };
static CORE_V1_PODOS: Struct = Struct { name: "io.k8s.api.core.v1.PodOS", atomic: false, fields: &[
    f("name", T::String),
] };
static CORE_V1_PODREADINESSGATE: Struct = Struct { name: "io.k8s.api.core.v1.PodReadinessGate", atomic: false, fields: &[
    f("conditionType", T::String),
] };
static CORE_V1_PODRESOURCECLAIM: Struct = Struct { name: "io.k8s.api.core.v1.PodResourceClaim", atomic: false, fields: &[
    f("name", T::String), f("resourceClaimName", T::String), f("resourceClaimTemplateName", T::String),
] };
static CORE_V1_PODRESOURCECLAIMSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.PodResourceClaimStatus", atomic: false, fields: &[
    f("name", T::String), f("resourceClaimName", T::String),
] };
static CORE_V1_PODSCHEDULINGGATE: Struct = Struct { name: "io.k8s.api.core.v1.PodSchedulingGate", atomic: false, fields: &[
    f("name", T::String),
] };
static CORE_V1_PODSCHEDULINGGROUP: Struct = Struct { name: "io.k8s.api.core.v1.PodSchedulingGroup", atomic: false, fields: &[
    f("podGroupName", T::String),
] };
static CORE_V1_PODSECURITYCONTEXT: Struct = Struct { name: "io.k8s.api.core.v1.PodSecurityContext", atomic: false, fields: &[
    f("appArmorProfile", T::Struct(&CORE_V1_APPARMORPROFILE)), f("fsGroup", T::Int64), f("fsGroupChangePolicy", T::String), f("runAsGroup", T::Int64),
    f("runAsNonRoot", T::Bool), f("runAsUser", T::Int64), f("seLinuxChangePolicy", T::String),
    f("seLinuxOptions", T::Struct(&CORE_V1_SELINUXOPTIONS)), f("seccompProfile", T::Struct(&CORE_V1_SECCOMPPROFILE)),
    f("supplementalGroups", T::List(&T::Int64)), f("supplementalGroupsPolicy", T::String), f("sysctls", T::List(&T::Struct(&CORE_V1_SYSCTL))),
    f("windowsOptions", T::Struct(&CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS)),
] };
static CORE_V1_PODSPEC: Struct = Struct { name: "io.k8s.api.core.v1.PodSpec", atomic: false, fields: &[
    f("activeDeadlineSeconds", T::Int64), f("affinity", T::Struct(&CORE_V1_AFFINITY)), f("automountServiceAccountToken", T::Bool),
    Field { name: "containers", kind: T::List(&T::Struct(&CORE_V1_CONTAINER)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("dnsConfig", T::Struct(&CORE_V1_PODDNSCONFIG)), f("dnsPolicy", T::String), f("enableServiceLinks", T::Bool),
    Field { name: "ephemeralContainers", kind: T::List(&T::Struct(&CORE_V1_EPHEMERALCONTAINER)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    Field { name: "hostAliases", kind: T::List(&T::Struct(&CORE_V1_HOSTALIAS)), patch: Patch::Merge("ip"), lists: Lists::Map(&["ip"]) },
    f("hostIPC", T::Bool), f("hostNetwork", T::Bool), f("hostPID", T::Bool), f("hostUsers", T::Bool), f("hostname", T::String),
    f("hostnameOverride", T::String),
    Field { name: "imagePullSecrets", kind: T::List(&T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    Field { name: "initContainers", kind: T::List(&T::Struct(&CORE_V1_CONTAINER)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("nodeName", T::String), f("nodeSelector", T::AtomicMap(&T::String)), f("os", T::Struct(&CORE_V1_PODOS)), f("overhead", T::Map(&T::Quantity)),
    f("preemptionPolicy", T::String), f("priority", T::Int32), f("priorityClassName", T::String),
    f("readinessGates", T::List(&T::Struct(&CORE_V1_PODREADINESSGATE))),
    Field { name: "resourceClaims", kind: T::List(&T::Struct(&CORE_V1_PODRESOURCECLAIM)), patch: Patch::MergeRetainKeys("name"), lists: Lists::Map(&["name"]) },
    f("resources", T::Struct(&CORE_V1_RESOURCEREQUIREMENTS)), f("restartPolicy", T::String), f("runtimeClassName", T::String),
    f("schedulerName", T::String),
    Field { name: "schedulingGates", kind: T::List(&T::Struct(&CORE_V1_PODSCHEDULINGGATE)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
    f("schedulingGroup", T::Struct(&CORE_V1_PODSCHEDULINGGROUP)), f("securityContext", T::Struct(&CORE_V1_PODSECURITYCONTEXT)),
    f("serviceAccount", T::String), f("serviceAccountName", T::String), f("setHostnameAsFQDN", T::Bool), f("shareProcessNamespace", T::Bool),
    f("subdomain", T::String), f("terminationGracePeriodSeconds", T::Int64), f("tolerations", T::List(&T::Struct(&CORE_V1_TOLERATION))),
    Field { name: "topologySpreadConstraints", kind: T::List(&T::Struct(&CORE_V1_TOPOLOGYSPREADCONSTRAINT)), patch: Patch::Merge("topologyKey"), lists: Lists::Map(&["topologyKey", "whenUnsatisfiable"]) },
    Field { name: "volumes", kind: T::List(&T::Struct(&CORE_V1_VOLUME)), patch: Patch::MergeRetainKeys("name"), lists: Lists::Map(&["name"]) },
] };
static CORE_V1_PODSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.PodStatus", atomic: false, fields: &[
    f("allocatedResources", T::Map(&T::Quantity)),
    Field { name: "conditions", kind: T::List(&T::Struct(&CORE_V1_PODCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("containerStatuses", T::List(&T::Struct(&CORE_V1_CONTAINERSTATUS))),
    f("ephemeralContainerStatuses", T::List(&T::Struct(&CORE_V1_CONTAINERSTATUS))),
    f("extendedResourceClaimStatus", T::Struct(&CORE_V1_PODEXTENDEDRESOURCECLAIMSTATUS)), f("hostIP", T::String),
    Field { name: "hostIPs", kind: T::List(&T::Struct(&CORE_V1_HOSTIP)), patch: Patch::Merge("ip"), lists: Lists::Atomic },
    f("initContainerStatuses", T::List(&T::Struct(&CORE_V1_CONTAINERSTATUS))), f("message", T::String),
    f("nodeAllocatableResourceClaimStatuses", T::List(&T::Struct(&CORE_V1_NODEALLOCATABLERESOURCECLAIMSTATUS))), f("nominatedNodeName", T::String),
    f("observedGeneration", T::Int64), f("phase", T::String), f("podIP", T::String),
    Field { name: "podIPs", kind: T::List(&T::Struct(&CORE_V1_PODIP)), patch: Patch::Merge("ip"), lists: Lists::Map(&["ip"]) },
    f("qosClass", T::String), f("reason", T::String), f("resize", T::String),
    Field { name: "resourceClaimStatuses", kind: T::List(&T::Struct(&CORE_V1_PODRESOURCECLAIMSTATUS)), patch: Patch::MergeRetainKeys("name"), lists: Lists::Map(&["name"]) },
    f("resources", T::Struct(&CORE_V1_RESOURCEREQUIREMENTS)), f("startTime", T::Time),
] };
static CORE_V1_PODTEMPLATESPEC: Struct = Struct { name: "io.k8s.api.core.v1.PodTemplateSpec", atomic: false, fields: &[
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_PODSPEC)),
] };
static CORE_V1_PORTSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.PortStatus", atomic: false, fields: &[
    f("error", T::String), f("port", T::Int32), f("protocol", T::String),
] };
static CORE_V1_PORTWORXVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.PortworxVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("readOnly", T::Bool), f("volumeID", T::String),
] };
static CORE_V1_PREFERREDSCHEDULINGTERM: Struct = Struct { name: "io.k8s.api.core.v1.PreferredSchedulingTerm", atomic: false, fields: &[
    f("preference", T::Struct(&CORE_V1_NODESELECTORTERM)), f("weight", T::Int32),
] };
static CORE_V1_PROBE: Struct = Struct { name: "io.k8s.api.core.v1.Probe", atomic: false, fields: &[
    f("exec", T::Struct(&CORE_V1_EXECACTION)), f("failureThreshold", T::Int32), f("grpc", T::Struct(&CORE_V1_GRPCACTION)),
    f("httpGet", T::Struct(&CORE_V1_HTTPGETACTION)), f("initialDelaySeconds", T::Int32), f("periodSeconds", T::Int32),
    f("successThreshold", T::Int32), f("tcpSocket", T::Struct(&CORE_V1_TCPSOCKETACTION)), f("terminationGracePeriodSeconds", T::Int64),
    f("timeoutSeconds", T::Int32),
] };
static CORE_V1_PROJECTEDVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ProjectedVolumeSource", atomic: false, fields: &[
    f("defaultMode", T::Int32), f("sources", T::List(&T::Struct(&CORE_V1_VOLUMEPROJECTION))),
] };
static CORE_V1_QUOBYTEVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.QuobyteVolumeSource", atomic: false, fields: &[
    f("group", T::String), f("readOnly", T::Bool), f("registry", T::String), f("tenant", T::String), f("user", T::String), f("volume", T::String),
] };
static CORE_V1_RBDVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.RBDVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("image", T::String), f("keyring", T::String), f("monitors", T::List(&T::String)), f("pool", T::String),
    f("readOnly", T::Bool), f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("user", T::String),
] };
static CORE_V1_REPLICATIONCONTROLLER: Struct = Struct { name: "io.k8s.api.core.v1.ReplicationController", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&CORE_V1_REPLICATIONCONTROLLERSPEC)), f("status", T::Struct(&CORE_V1_REPLICATIONCONTROLLERSTATUS)),
] };
static CORE_V1_REPLICATIONCONTROLLERCONDITION: Struct = Struct { name: "io.k8s.api.core.v1.ReplicationControllerCondition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("reason", T::String), f("status", T::String), f("type", T::String),
] };
static CORE_V1_REPLICATIONCONTROLLERSPEC: Struct = Struct { name: "io.k8s.api.core.v1.ReplicationControllerSpec", atomic: false, fields: &[
    f("minReadySeconds", T::Int32), f("replicas", T::Int32), f("selector", T::AtomicMap(&T::String)),
    f("template", T::Struct(&CORE_V1_PODTEMPLATESPEC)),
] };
static CORE_V1_REPLICATIONCONTROLLERSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ReplicationControllerStatus", atomic: false, fields: &[
    f("availableReplicas", T::Int32),
    Field { name: "conditions", kind: T::List(&T::Struct(&CORE_V1_REPLICATIONCONTROLLERCONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("fullyLabeledReplicas", T::Int32), f("observedGeneration", T::Int64), f("readyReplicas", T::Int32), f("replicas", T::Int32),
] };
static CORE_V1_RESOURCECLAIM: Struct = Struct { name: "io.k8s.api.core.v1.ResourceClaim", atomic: false, fields: &[
    f("name", T::String), f("request", T::String),
] };
static CORE_V1_RESOURCEFIELDSELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.ResourceFieldSelector", atomic: true, fields: &[
    f("containerName", T::String), f("divisor", T::Quantity), f("resource", T::String),
] };
static CORE_V1_RESOURCEHEALTH: Struct = Struct { name: "io.k8s.api.core.v1.ResourceHealth", atomic: false, fields: &[
    f("health", T::String), f("message", T::String), f("resourceID", T::String),
] };
static CORE_V1_RESOURCEREQUIREMENTS: Struct = Struct { name: "io.k8s.api.core.v1.ResourceRequirements", atomic: false, fields: &[
    Field { name: "claims", kind: T::List(&T::Struct(&CORE_V1_RESOURCECLAIM)), patch: Patch::Replace, lists: Lists::Map(&["name"]) },
    f("limits", T::Map(&T::Quantity)), f("requests", T::Map(&T::Quantity)),
] };
static CORE_V1_RESOURCESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ResourceStatus", atomic: false, fields: &[
    f("name", T::String),
    Field { name: "resources", kind: T::List(&T::Struct(&CORE_V1_RESOURCEHEALTH)), patch: Patch::Replace, lists: Lists::Map(&["resourceID"]) },
] };
static CORE_V1_SELINUXOPTIONS: Struct = Struct { name: "io.k8s.api.core.v1.SELinuxOptions", atomic: false, fields: &[
    f("level", T::String), f("role", T::String), f("type", T::String), f("user", T::String),
] };
static CORE_V1_SCALEIOVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.ScaleIOVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("gateway", T::String), f("protectionDomain", T::String), f("readOnly", T::Bool),
    f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("sslEnabled", T::Bool), f("storageMode", T::String), f("storagePool", T::String),
    f("system", T::String), f("volumeName", T::String),
] };
static CORE_V1_SECCOMPPROFILE: Struct = Struct { name: "io.k8s.api.core.v1.SeccompProfile", atomic: false, fields: &[
    f("localhostProfile", T::String), f("type", T::String),
] };
static CORE_V1_SECRET: Struct = Struct { name: "io.k8s.api.core.v1.Secret", atomic: false, fields: &[
    f("apiVersion", T::String), f("data", T::Map(&T::Bytes)), f("immutable", T::Bool), f("kind", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("stringData", T::Map(&T::String)), f("type", T::String),
] };
static CORE_V1_SECRETENVSOURCE: Struct = Struct { name: "io.k8s.api.core.v1.SecretEnvSource", atomic: false, fields: &[
    f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_SECRETKEYSELECTOR: Struct = Struct { name: "io.k8s.api.core.v1.SecretKeySelector", atomic: true, fields: &[
    f("key", T::String), f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_SECRETPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.SecretProjection", atomic: false, fields: &[
    f("items", T::List(&T::Struct(&CORE_V1_KEYTOPATH))), f("name", T::String), f("optional", T::Bool),
] };
static CORE_V1_SECRETVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.SecretVolumeSource", atomic: false, fields: &[
    f("defaultMode", T::Int32), f("items", T::List(&T::Struct(&CORE_V1_KEYTOPATH))), f("optional", T::Bool), f("secretName", T::String),
] };
static CORE_V1_SECURITYCONTEXT: Struct = Struct { name: "io.k8s.api.core.v1.SecurityContext", atomic: false, fields: &[
    f("allowPrivilegeEscalation", T::Bool), f("appArmorProfile", T::Struct(&CORE_V1_APPARMORPROFILE)),
    f("capabilities", T::Struct(&CORE_V1_CAPABILITIES)), f("privileged", T::Bool), f("procMount", T::String), f("readOnlyRootFilesystem", T::Bool),
    f("runAsGroup", T::Int64), f("runAsNonRoot", T::Bool), f("runAsUser", T::Int64), f("seLinuxOptions", T::Struct(&CORE_V1_SELINUXOPTIONS)),
    f("seccompProfile", T::Struct(&CORE_V1_SECCOMPPROFILE)), f("windowsOptions", T::Struct(&CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS)),
] };
static CORE_V1_SERVICE: Struct = Struct { name: "io.k8s.api.core.v1.Service", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&CORE_V1_SERVICESPEC)),
    f("status", T::Struct(&CORE_V1_SERVICESTATUS)),
] };
static CORE_V1_SERVICEACCOUNT: Struct = Struct { name: "io.k8s.api.core.v1.ServiceAccount", atomic: false, fields: &[
    f("apiVersion", T::String), f("automountServiceAccountToken", T::Bool), f("imagePullSecrets", T::List(&T::Struct(&CORE_V1_LOCALOBJECTREFERENCE))),
    f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    Field { name: "secrets", kind: T::List(&T::Struct(&CORE_V1_OBJECTREFERENCE)), patch: Patch::Merge("name"), lists: Lists::Map(&["name"]) },
] };
static CORE_V1_SERVICEACCOUNTTOKENPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.ServiceAccountTokenProjection", atomic: false, fields: &[
    f("audience", T::String), f("expirationSeconds", T::Int64), f("path", T::String),
] };
static CORE_V1_SERVICEPORT: Struct = Struct { name: "io.k8s.api.core.v1.ServicePort", atomic: false, fields: &[
    f("appProtocol", T::String), f("name", T::String), f("nodePort", T::Int32), f("port", T::Int32), f("protocol", T::String),
    f("targetPort", T::IntOrString),
] };
static CORE_V1_SERVICESPEC: Struct = Struct { name: "io.k8s.api.core.v1.ServiceSpec", atomic: false, fields: &[
    f("allocateLoadBalancerNodePorts", T::Bool), f("clusterIP", T::String), f("clusterIPs", T::List(&T::String)),
    f("externalIPs", T::List(&T::String)), f("externalName", T::String), f("externalTrafficPolicy", T::String), f("healthCheckNodePort", T::Int32),
    f("internalTrafficPolicy", T::String), f("ipFamilies", T::List(&T::String)), f("ipFamilyPolicy", T::String), f("loadBalancerClass", T::String),
    f("loadBalancerIP", T::String), f("loadBalancerSourceRanges", T::List(&T::String)),
    Field { name: "ports", kind: T::List(&T::Struct(&CORE_V1_SERVICEPORT)), patch: Patch::Merge("port"), lists: Lists::Map(&["port", "protocol"]) },
    f("publishNotReadyAddresses", T::Bool), f("selector", T::AtomicMap(&T::String)), f("sessionAffinity", T::String),
    f("sessionAffinityConfig", T::Struct(&CORE_V1_SESSIONAFFINITYCONFIG)), f("trafficDistribution", T::String), f("type", T::String),
] };
static CORE_V1_SERVICESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.ServiceStatus", atomic: false, fields: &[
    Field { name: "conditions", kind: T::List(&T::Struct(&META_V1_CONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
    f("loadBalancer", T::Struct(&CORE_V1_LOADBALANCERSTATUS)),
] };
static CORE_V1_SESSIONAFFINITYCONFIG: Struct = Struct { name: "io.k8s.api.core.v1.SessionAffinityConfig", atomic: false, fields: &[
    f("clientIP", T::Struct(&CORE_V1_CLIENTIPCONFIG)),
] };
static CORE_V1_SLEEPACTION: Struct = Struct { name: "io.k8s.api.core.v1.SleepAction", atomic: false, fields: &[
    f("seconds", T::Int64),
] };
static CORE_V1_STORAGEOSVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.StorageOSVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("readOnly", T::Bool), f("secretRef", T::Struct(&CORE_V1_LOCALOBJECTREFERENCE)), f("volumeName", T::String),
    f("volumeNamespace", T::String),
] };
static CORE_V1_SYSCTL: Struct = Struct { name: "io.k8s.api.core.v1.Sysctl", atomic: false, fields: &[
    f("name", T::String), f("value", T::String),
] };
static CORE_V1_TCPSOCKETACTION: Struct = Struct { name: "io.k8s.api.core.v1.TCPSocketAction", atomic: false, fields: &[
    f("host", T::String), f("port", T::IntOrString),
] };
static CORE_V1_TAINT: Struct = Struct { name: "io.k8s.api.core.v1.Taint", atomic: false, fields: &[
    f("effect", T::String), f("key", T::String), f("timeAdded", T::Time), f("value", T::String),
] };
static CORE_V1_TOLERATION: Struct = Struct { name: "io.k8s.api.core.v1.Toleration", atomic: false, fields: &[
    f("effect", T::String), f("key", T::String), f("operator", T::String), f("tolerationSeconds", T::Int64), f("value", T::String),
] };
static CORE_V1_TOPOLOGYSPREADCONSTRAINT: Struct = Struct { name: "io.k8s.api.core.v1.TopologySpreadConstraint", atomic: false, fields: &[
    f("labelSelector", T::Struct(&META_V1_LABELSELECTOR)), f("matchLabelKeys", T::List(&T::String)), f("maxSkew", T::Int32),
    f("minDomains", T::Int32), f("nodeAffinityPolicy", T::String), f("nodeTaintsPolicy", T::String), f("topologyKey", T::String),
    f("whenUnsatisfiable", T::String),
] };
static CORE_V1_TYPEDLOCALOBJECTREFERENCE: Struct = Struct { name: "io.k8s.api.core.v1.TypedLocalObjectReference", atomic: true, fields: &[
    f("apiGroup", T::String), f("kind", T::String), f("name", T::String),
] };
static CORE_V1_TYPEDOBJECTREFERENCE: Struct = Struct { name: "io.k8s.api.core.v1.TypedObjectReference", atomic: false, fields: &[
    f("apiGroup", T::String), f("kind", T::String), f("name", T::String), f("namespace", T::String),
] };
static CORE_V1_VOLUME: Struct = Struct { name: "io.k8s.api.core.v1.Volume", atomic: false, fields: &[
    f("awsElasticBlockStore", T::Struct(&CORE_V1_AWSELASTICBLOCKSTOREVOLUMESOURCE)), f("azureDisk", T::Struct(&CORE_V1_AZUREDISKVOLUMESOURCE)),
    f("azureFile", T::Struct(&CORE_V1_AZUREFILEVOLUMESOURCE)), f("cephfs", T::Struct(&CORE_V1_CEPHFSVOLUMESOURCE)),
    f("cinder", T::Struct(&CORE_V1_CINDERVOLUMESOURCE)), f("configMap", T::Struct(&CORE_V1_CONFIGMAPVOLUMESOURCE)),
    f("csi", T::Struct(&CORE_V1_CSIVOLUMESOURCE)), f("downwardAPI", T::Struct(&CORE_V1_DOWNWARDAPIVOLUMESOURCE)),
    f("emptyDir", T::Struct(&CORE_V1_EMPTYDIRVOLUMESOURCE)), f("ephemeral", T::Struct(&CORE_V1_EPHEMERALVOLUMESOURCE)),
    f("fc", T::Struct(&CORE_V1_FCVOLUMESOURCE)), f("flexVolume", T::Struct(&CORE_V1_FLEXVOLUMESOURCE)),
    f("flocker", T::Struct(&CORE_V1_FLOCKERVOLUMESOURCE)), f("gcePersistentDisk", T::Struct(&CORE_V1_GCEPERSISTENTDISKVOLUMESOURCE)),
    f("gitRepo", T::Struct(&CORE_V1_GITREPOVOLUMESOURCE)), f("glusterfs", T::Struct(&CORE_V1_GLUSTERFSVOLUMESOURCE)),
    f("hostPath", T::Struct(&CORE_V1_HOSTPATHVOLUMESOURCE)), f("image", T::Struct(&CORE_V1_IMAGEVOLUMESOURCE)),
    f("iscsi", T::Struct(&CORE_V1_ISCSIVOLUMESOURCE)), f("name", T::String), f("nfs", T::Struct(&CORE_V1_NFSVOLUMESOURCE)),
    f("persistentVolumeClaim", T::Struct(&CORE_V1_PERSISTENTVOLUMECLAIMVOLUMESOURCE)),
    f("photonPersistentDisk", T::Struct(&CORE_V1_PHOTONPERSISTENTDISKVOLUMESOURCE)), f("portworxVolume", T::Struct(&CORE_V1_PORTWORXVOLUMESOURCE)),
    f("projected", T::Struct(&CORE_V1_PROJECTEDVOLUMESOURCE)), f("quobyte", T::Struct(&CORE_V1_QUOBYTEVOLUMESOURCE)),
    f("rbd", T::Struct(&CORE_V1_RBDVOLUMESOURCE)), f("scaleIO", T::Struct(&CORE_V1_SCALEIOVOLUMESOURCE)),
    f("secret", T::Struct(&CORE_V1_SECRETVOLUMESOURCE)), f("storageos", T::Struct(&CORE_V1_STORAGEOSVOLUMESOURCE)),
    f("vsphereVolume", T::Struct(&CORE_V1_VSPHEREVIRTUALDISKVOLUMESOURCE)),
] };
static CORE_V1_VOLUMEDEVICE: Struct = Struct { name: "io.k8s.api.core.v1.VolumeDevice", atomic: false, fields: &[
    f("devicePath", T::String), f("name", T::String),
] };
static CORE_V1_VOLUMEMOUNT: Struct = Struct { name: "io.k8s.api.core.v1.VolumeMount", atomic: false, fields: &[
    f("mountPath", T::String), f("mountPropagation", T::String), f("name", T::String), f("readOnly", T::Bool), f("recursiveReadOnly", T::String),
    f("subPath", T::String), f("subPathExpr", T::String),
] };
static CORE_V1_VOLUMEMOUNTSTATUS: Struct = Struct { name: "io.k8s.api.core.v1.VolumeMountStatus", atomic: false, fields: &[
    f("mountPath", T::String), f("name", T::String), f("readOnly", T::Bool), f("recursiveReadOnly", T::String),
    f("volumeStatus", T::Struct(&CORE_V1_VOLUMESTATUS)),
] };
static CORE_V1_VOLUMEPROJECTION: Struct = Struct { name: "io.k8s.api.core.v1.VolumeProjection", atomic: false, fields: &[
    f("clusterTrustBundle", T::Struct(&CORE_V1_CLUSTERTRUSTBUNDLEPROJECTION)), f("configMap", T::Struct(&CORE_V1_CONFIGMAPPROJECTION)),
    f("downwardAPI", T::Struct(&CORE_V1_DOWNWARDAPIPROJECTION)), f("podCertificate", T::Struct(&CORE_V1_PODCERTIFICATEPROJECTION)),
    f("secret", T::Struct(&CORE_V1_SECRETPROJECTION)), f("serviceAccountToken", T::Struct(&CORE_V1_SERVICEACCOUNTTOKENPROJECTION)),
] };
static CORE_V1_VOLUMERESOURCEREQUIREMENTS: Struct = Struct { name: "io.k8s.api.core.v1.VolumeResourceRequirements", atomic: false, fields: &[
    f("limits", T::Map(&T::Quantity)), f("requests", T::Map(&T::Quantity)),
] };
static CORE_V1_VOLUMESTATUS: Struct = Struct { name: "io.k8s.api.core.v1.VolumeStatus", atomic: false, fields: &[
    f("image", T::Struct(&CORE_V1_IMAGEVOLUMESTATUS)),
] };
static CORE_V1_VSPHEREVIRTUALDISKVOLUMESOURCE: Struct = Struct { name: "io.k8s.api.core.v1.VsphereVirtualDiskVolumeSource", atomic: false, fields: &[
    f("fsType", T::String), f("storagePolicyID", T::String), f("storagePolicyName", T::String), f("volumePath", T::String),
] };
static CORE_V1_WEIGHTEDPODAFFINITYTERM: Struct = Struct { name: "io.k8s.api.core.v1.WeightedPodAffinityTerm", atomic: false, fields: &[
    f("podAffinityTerm", T::Struct(&CORE_V1_PODAFFINITYTERM)), f("weight", T::Int32),
] };
static CORE_V1_WINDOWSSECURITYCONTEXTOPTIONS: Struct = Struct { name: "io.k8s.api.core.v1.WindowsSecurityContextOptions", atomic: false, fields: &[
    f("gmsaCredentialSpec", T::String), f("gmsaCredentialSpecName", T::String), f("hostProcess", T::Bool), f("runAsUserName", T::String),
] };
static DISCOVERY_V1_ENDPOINT: Struct = Struct { name: "io.k8s.api.discovery.v1.Endpoint", atomic: false, fields: &[
    Field { name: "addresses", kind: T::List(&T::String), patch: Patch::Replace, lists: Lists::Set },
    f("conditions", T::Struct(&DISCOVERY_V1_ENDPOINTCONDITIONS)), f("deprecatedTopology", T::AtomicMap(&T::String)),
    f("hints", T::Struct(&DISCOVERY_V1_ENDPOINTHINTS)), f("hostname", T::String), f("nodeName", T::String),
    f("targetRef", T::Struct(&CORE_V1_OBJECTREFERENCE)), f("zone", T::String),
] };
static DISCOVERY_V1_ENDPOINTCONDITIONS: Struct = Struct { name: "io.k8s.api.discovery.v1.EndpointConditions", atomic: false, fields: &[
    f("ready", T::Bool), f("serving", T::Bool), f("terminating", T::Bool),
] };
static DISCOVERY_V1_ENDPOINTHINTS: Struct = Struct { name: "io.k8s.api.discovery.v1.EndpointHints", atomic: false, fields: &[
    f("forNodes", T::List(&T::Struct(&DISCOVERY_V1_FORNODE))), f("forZones", T::List(&T::Struct(&DISCOVERY_V1_FORZONE))),
] };
static DISCOVERY_V1_ENDPOINTPORT: Struct = Struct { name: "io.k8s.api.discovery.v1.EndpointPort", atomic: true, fields: &[
    f("appProtocol", T::String), f("name", T::String), f("port", T::Int32), f("protocol", T::String),
] };
static DISCOVERY_V1_ENDPOINTSLICE: Struct = Struct { name: "io.k8s.api.discovery.v1.EndpointSlice", atomic: false, fields: &[
    f("addressType", T::String), f("apiVersion", T::String), f("endpoints", T::List(&T::Struct(&DISCOVERY_V1_ENDPOINT))), f("kind", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("ports", T::List(&T::Struct(&DISCOVERY_V1_ENDPOINTPORT))),
] };
static DISCOVERY_V1_FORNODE: Struct = Struct { name: "io.k8s.api.discovery.v1.ForNode", atomic: false, fields: &[
    f("name", T::String),
] };
static DISCOVERY_V1_FORZONE: Struct = Struct { name: "io.k8s.api.discovery.v1.ForZone", atomic: false, fields: &[
    f("name", T::String),
] };
static EVENTS_V1_EVENT: Struct = Struct { name: "io.k8s.api.events.v1.Event", atomic: false, fields: &[
    f("action", T::String), f("apiVersion", T::String), f("deprecatedCount", T::Int32), f("deprecatedFirstTimestamp", T::Time),
    f("deprecatedLastTimestamp", T::Time), f("deprecatedSource", T::Struct(&CORE_V1_EVENTSOURCE)), f("eventTime", T::MicroTime), f("kind", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("note", T::String), f("reason", T::String), f("regarding", T::Struct(&CORE_V1_OBJECTREFERENCE)),
    f("related", T::Struct(&CORE_V1_OBJECTREFERENCE)), f("reportingController", T::String), f("reportingInstance", T::String),
    f("series", T::Struct(&EVENTS_V1_EVENTSERIES)), f("type", T::String),
] };
static EVENTS_V1_EVENTSERIES: Struct = Struct { name: "io.k8s.api.events.v1.EventSeries", atomic: false, fields: &[
    f("count", T::Int32), f("lastObservedTime", T::MicroTime),
] };
static NETWORKING_V1_HTTPINGRESSPATH: Struct = Struct { name: "io.k8s.api.networking.v1.HTTPIngressPath", atomic: false, fields: &[
    f("backend", T::Struct(&NETWORKING_V1_INGRESSBACKEND)), f("path", T::String), f("pathType", T::String),
] };
static NETWORKING_V1_HTTPINGRESSRULEVALUE: Struct = Struct { name: "io.k8s.api.networking.v1.HTTPIngressRuleValue", atomic: false, fields: &[
    f("paths", T::List(&T::Struct(&NETWORKING_V1_HTTPINGRESSPATH))),
] };
static NETWORKING_V1_IPADDRESS: Struct = Struct { name: "io.k8s.api.networking.v1.IPAddress", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&NETWORKING_V1_IPADDRESSSPEC)),
] };
static NETWORKING_V1_IPADDRESSSPEC: Struct = Struct { name: "io.k8s.api.networking.v1.IPAddressSpec", atomic: false, fields: &[
    f("parentRef", T::Struct(&NETWORKING_V1_PARENTREFERENCE)),
] };
static NETWORKING_V1_INGRESS: Struct = Struct { name: "io.k8s.api.networking.v1.Ingress", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)), f("spec", T::Struct(&NETWORKING_V1_INGRESSSPEC)),
    f("status", T::Struct(&NETWORKING_V1_INGRESSSTATUS)),
] };
static NETWORKING_V1_INGRESSBACKEND: Struct = Struct { name: "io.k8s.api.networking.v1.IngressBackend", atomic: false, fields: &[
    f("resource", T::Struct(&CORE_V1_TYPEDLOCALOBJECTREFERENCE)), f("service", T::Struct(&NETWORKING_V1_INGRESSSERVICEBACKEND)),
] };
static NETWORKING_V1_INGRESSCLASS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressClass", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&NETWORKING_V1_INGRESSCLASSSPEC)),
] };
static NETWORKING_V1_INGRESSCLASSPARAMETERSREFERENCE: Struct = Struct { name: "io.k8s.api.networking.v1.IngressClassParametersReference", atomic: false, fields: &[
    f("apiGroup", T::String), f("kind", T::String), f("name", T::String), f("namespace", T::String), f("scope", T::String),
] };
static NETWORKING_V1_INGRESSCLASSSPEC: Struct = Struct { name: "io.k8s.api.networking.v1.IngressClassSpec", atomic: false, fields: &[
    f("controller", T::String), f("parameters", T::Struct(&NETWORKING_V1_INGRESSCLASSPARAMETERSREFERENCE)),
] };
static NETWORKING_V1_INGRESSLOADBALANCERINGRESS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressLoadBalancerIngress", atomic: false, fields: &[
    f("hostname", T::String), f("ip", T::String), f("ports", T::List(&T::Struct(&NETWORKING_V1_INGRESSPORTSTATUS))),
] };
static NETWORKING_V1_INGRESSLOADBALANCERSTATUS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressLoadBalancerStatus", atomic: false, fields: &[
    f("ingress", T::List(&T::Struct(&NETWORKING_V1_INGRESSLOADBALANCERINGRESS))),
] };
static NETWORKING_V1_INGRESSPORTSTATUS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressPortStatus", atomic: false, fields: &[
    f("error", T::String), f("port", T::Int32), f("protocol", T::String),
] };
static NETWORKING_V1_INGRESSRULE: Struct = Struct { name: "io.k8s.api.networking.v1.IngressRule", atomic: false, fields: &[
    f("host", T::String), f("http", T::Struct(&NETWORKING_V1_HTTPINGRESSRULEVALUE)),
] };
static NETWORKING_V1_INGRESSSERVICEBACKEND: Struct = Struct { name: "io.k8s.api.networking.v1.IngressServiceBackend", atomic: false, fields: &[
    f("name", T::String), f("port", T::Struct(&NETWORKING_V1_SERVICEBACKENDPORT)),
] };
static NETWORKING_V1_INGRESSSPEC: Struct = Struct { name: "io.k8s.api.networking.v1.IngressSpec", atomic: false, fields: &[
    f("defaultBackend", T::Struct(&NETWORKING_V1_INGRESSBACKEND)), f("ingressClassName", T::String),
    f("rules", T::List(&T::Struct(&NETWORKING_V1_INGRESSRULE))), f("tls", T::List(&T::Struct(&NETWORKING_V1_INGRESSTLS))),
] };
static NETWORKING_V1_INGRESSSTATUS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressStatus", atomic: false, fields: &[
    f("loadBalancer", T::Struct(&NETWORKING_V1_INGRESSLOADBALANCERSTATUS)),
] };
static NETWORKING_V1_INGRESSTLS: Struct = Struct { name: "io.k8s.api.networking.v1.IngressTLS", atomic: false, fields: &[
    f("hosts", T::List(&T::String)), f("secretName", T::String),
] };
static NETWORKING_V1_PARENTREFERENCE: Struct = Struct { name: "io.k8s.api.networking.v1.ParentReference", atomic: false, fields: &[
    f("group", T::String), f("name", T::String), f("namespace", T::String), f("resource", T::String),
] };
static NETWORKING_V1_SERVICEBACKENDPORT: Struct = Struct { name: "io.k8s.api.networking.v1.ServiceBackendPort", atomic: false, fields: &[
    f("name", T::String), f("number", T::Int32),
] };
static NETWORKING_V1_SERVICECIDR: Struct = Struct { name: "io.k8s.api.networking.v1.ServiceCIDR", atomic: false, fields: &[
    f("apiVersion", T::String), f("kind", T::String), f("metadata", T::Struct(&META_V1_OBJECTMETA)),
    f("spec", T::Struct(&NETWORKING_V1_SERVICECIDRSPEC)), f("status", T::Struct(&NETWORKING_V1_SERVICECIDRSTATUS)),
] };
static NETWORKING_V1_SERVICECIDRSPEC: Struct = Struct { name: "io.k8s.api.networking.v1.ServiceCIDRSpec", atomic: false, fields: &[
    f("cidrs", T::List(&T::String)),
] };
static NETWORKING_V1_SERVICECIDRSTATUS: Struct = Struct { name: "io.k8s.api.networking.v1.ServiceCIDRStatus", atomic: false, fields: &[
    Field { name: "conditions", kind: T::List(&T::Struct(&META_V1_CONDITION)), patch: Patch::Merge("type"), lists: Lists::Map(&["type"]) },
] };
static POLICY_V1_EVICTION: Struct = Struct { name: "io.k8s.api.policy.v1.Eviction", atomic: false, fields: &[
    f("apiVersion", T::String), f("deleteOptions", T::Struct(&META_V1_DELETEOPTIONS)), f("kind", T::String),
    f("metadata", T::Struct(&META_V1_OBJECTMETA)),
] };
static META_V1_CONDITION: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.Condition", atomic: false, fields: &[
    f("lastTransitionTime", T::Time), f("message", T::String), f("observedGeneration", T::Int64), f("reason", T::String), f("status", T::String),
    f("type", T::String),
] };
static META_V1_DELETEOPTIONS: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions", atomic: false, fields: &[
    f("apiVersion", T::String), f("dryRun", T::List(&T::String)), f("gracePeriodSeconds", T::Int64),
    f("ignoreStoreReadErrorWithClusterBreakingPotential", T::Bool), f("kind", T::String), f("orphanDependents", T::Bool),
    f("preconditions", T::Struct(&META_V1_PRECONDITIONS)), f("propagationPolicy", T::String),
] };
static META_V1_FIELDSELECTORREQUIREMENT: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.FieldSelectorRequirement", atomic: false, fields: &[
    f("key", T::String), f("operator", T::String), f("values", T::List(&T::String)),
] };
static META_V1_LABELSELECTOR: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector", atomic: true, fields: &[
    f("matchExpressions", T::List(&T::Struct(&META_V1_LABELSELECTORREQUIREMENT))), f("matchLabels", T::Map(&T::String)),
] };
static META_V1_LABELSELECTORREQUIREMENT: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelectorRequirement", atomic: false, fields: &[
    f("key", T::String), f("operator", T::String), f("values", T::List(&T::String)),
] };
static META_V1_MANAGEDFIELDSENTRY: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.ManagedFieldsEntry", atomic: false, fields: &[
    f("apiVersion", T::String), f("fieldsType", T::String), f("fieldsV1", T::Any), f("manager", T::String), f("operation", T::String),
    f("subresource", T::String), f("time", T::Time),
] };
static META_V1_OBJECTMETA: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", atomic: false, fields: &[
    f("annotations", T::Map(&T::String)), f("creationTimestamp", T::Time), f("deletionGracePeriodSeconds", T::Int64), f("deletionTimestamp", T::Time),
    Field { name: "finalizers", kind: T::List(&T::String), patch: Patch::MergeSet, lists: Lists::Set }, f("generateName", T::String),
    f("generation", T::Int64), f("labels", T::Map(&T::String)), f("managedFields", T::List(&T::Struct(&META_V1_MANAGEDFIELDSENTRY))),
    f("name", T::String), f("namespace", T::String),
    Field { name: "ownerReferences", kind: T::List(&T::Struct(&META_V1_OWNERREFERENCE)), patch: Patch::Merge("uid"), lists: Lists::Map(&["uid"]) },
    f("resourceVersion", T::String), f("selfLink", T::String), f("uid", T::String),
] };
static META_V1_OWNERREFERENCE: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference", atomic: true, fields: &[
    f("apiVersion", T::String), f("blockOwnerDeletion", T::Bool), f("controller", T::Bool), f("kind", T::String), f("name", T::String),
    f("uid", T::String),
] };
static META_V1_PRECONDITIONS: Struct = Struct { name: "io.k8s.apimachinery.pkg.apis.meta.v1.Preconditions", atomic: false, fields: &[
    f("resourceVersion", T::String), f("uid", T::String),
] };

/// `(group, version, kind, struct)` of every kind that can stand in a request's body.
pub(super) static KINDS: &[(&str, &str, &str, &Struct)] = &[
    ("", "v1", "Binding", &CORE_V1_BINDING), ("", "v1", "ConfigMap", &CORE_V1_CONFIGMAP), ("", "v1", "DeleteOptions", &META_V1_DELETEOPTIONS),
    ("", "v1", "Endpoints", &CORE_V1_ENDPOINTS), ("", "v1", "Event", &CORE_V1_EVENT), ("", "v1", "Namespace", &CORE_V1_NAMESPACE),
    ("", "v1", "Node", &CORE_V1_NODE), ("", "v1", "Pod", &CORE_V1_POD), ("", "v1", "ReplicationController", &CORE_V1_REPLICATIONCONTROLLER),
    ("", "v1", "Secret", &CORE_V1_SECRET), ("", "v1", "Service", &CORE_V1_SERVICE), ("", "v1", "ServiceAccount", &CORE_V1_SERVICEACCOUNT),
    ("apps", "v1", "ControllerRevision", &APPS_V1_CONTROLLERREVISION), ("apps", "v1", "DaemonSet", &APPS_V1_DAEMONSET),
    ("apps", "v1", "Deployment", &APPS_V1_DEPLOYMENT), ("apps", "v1", "ReplicaSet", &APPS_V1_REPLICASET),
    ("apps", "v1", "StatefulSet", &APPS_V1_STATEFULSET), ("authentication.k8s.io", "v1", "SelfSubjectReview", &AUTHENTICATION_V1_SELFSUBJECTREVIEW),
    ("authentication.k8s.io", "v1", "TokenRequest", &AUTHENTICATION_V1_TOKENREQUEST),
    ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", &AUTHORIZATION_V1_SELFSUBJECTACCESSREVIEW),
    ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", &AUTHORIZATION_V1_SELFSUBJECTRULESREVIEW),
    ("autoscaling", "v1", "Scale", &AUTOSCALING_V1_SCALE), ("coordination.k8s.io", "v1", "Lease", &COORDINATION_V1_LEASE),
    ("discovery.k8s.io", "v1", "EndpointSlice", &DISCOVERY_V1_ENDPOINTSLICE), ("events.k8s.io", "v1", "Event", &EVENTS_V1_EVENT),
    ("networking.k8s.io", "v1", "Ingress", &NETWORKING_V1_INGRESS), ("networking.k8s.io", "v1", "IngressClass", &NETWORKING_V1_INGRESSCLASS),
    ("networking.k8s.io", "v1", "IPAddress", &NETWORKING_V1_IPADDRESS), ("networking.k8s.io", "v1", "ServiceCIDR", &NETWORKING_V1_SERVICECIDR),
    ("policy", "v1", "Eviction", &POLICY_V1_EVICTION),
];
