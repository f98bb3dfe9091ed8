//! Admission: what is allowed beyond what is valid.
//!
//! Most of kube-apiserver's plugins are either always at work here, as part of what they guard, or
//! not here at all. [`Plugins::from_flags`] knows all their names, so that a flag that cannot be
//! honoured is refused instead of ignored.

use serde_json::Value;

use crate::resource::Resource;
use crate::resource::value::ValueExt;
use crate::status::ApiError;

/// What the plugin `DenyServiceExternalIPs` is called in flags.
const DENY_EXTERNAL_IPS: &str = "DenyServiceExternalIPs";
/// At work whatever the flags say.
const ALWAYS: [&str; 4] =
    ["DefaultTolerationSeconds", "NamespaceLifecycle", "Priority", "ServiceAccount"];
/// Those of kube-apiserver 1.36 that are not here.
const LACKING: [&str; 36] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "JobValidation",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "NodeDeclaredFeatureValidator",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "PodGroupProtection",
    "PodGroupWorkloadExists",
    "PodNodeSelector",
    "PodResizeValidator",
    "PodSecurity",
    "PodTolerationRestriction",
    "PodTopologyLabels",
    "ResourceQuota",
    "RuntimeClass",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// The plugins that can be switched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Plugins {
    /// No Service gets external IPs that it does not have already (CVE-2020-8554).
    pub deny_service_external_ips: bool,
}

/// Why `--enable-admission-plugins` and `--disable-admission-plugins` cannot be honoured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    #[error("{flag} plugin {name:?} is unknown")]
    Unknown { flag: &'static str, name: String },
    #[error("{0} in enable-admission-plugins and disable-admission-plugins overlapped")]
    Overlapping(String),
    #[error(
        "enable-admission-plugins plugin {0:?} is one of Kubernetes that this API server does not have; leave it out"
    )]
    Lacking(String),
    #[error(
        "disable-admission-plugins plugin {0:?} cannot be switched off: this API server always does its work"
    )]
    Always(String),
}

impl Plugins {
    /// What the lists of the two flags ask for.
    pub fn from_flags(enable: &[String], disable: &[String]) -> Result<Self, PluginError> {
        let lists = [("enable-admission-plugins", enable), ("disable-admission-plugins", disable)];
        for (flag, list) in lists {
            if let Some(name) = list.iter().find(|name| !is_known(name)) {
                return Err(PluginError::Unknown { flag, name: name.clone() });
            }
        }
        if let Some(name) = enable.iter().find(|name| disable.contains(name)) {
            return Err(PluginError::Overlapping(name.clone()));
        }
        if let Some(name) = enable.iter().find(|name| LACKING.contains(&&***name)) {
            return Err(PluginError::Lacking(name.clone()));
        }
        if let Some(name) = disable.iter().find(|name| ALWAYS.contains(&&***name)) {
            return Err(PluginError::Always(name.clone()));
        }
        let enabled = |plugin: &str| enable.iter().any(|name| name == plugin);
        Ok(Self { deny_service_external_ips: enabled(DENY_EXTERNAL_IPS) })
    }

    /// Whether a valid object may be written in place of `old`.
    pub(crate) fn admit(
        self,
        resource: &Resource,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), ApiError> {
        let is_service = resource.group.is_empty() && resource.plural == "services";
        if self.deny_service_external_ips && is_service && gains_external_ips(object, old) {
            let why = "Use of external IPs is denied by admission control";
            return Err(ApiError::forbidden(resource, object.text("metadata.name"), why));
        }
        Ok(())
    }
}

fn is_known(name: &str) -> bool {
    name == DENY_EXTERNAL_IPS || ALWAYS.contains(&name) || LACKING.contains(&name)
}

/// A Service may keep and drop external IPs, and that is all.
fn gains_external_ips(service: &Value, old: Option<&Value>) -> bool {
    let path = "spec.externalIPs";
    let had = old.map(|old| old.texts(path)).unwrap_or_default();
    service.texts(path).iter().any(|address| !had.contains(address))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flags(enable: &[&str], disable: &[&str]) -> Result<Plugins, String> {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Plugins::from_flags(&list(enable), &list(disable)).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_honoured_or_refused() {
        let on = Plugins { deny_service_external_ips: true };
        assert_eq!(flags(&["DenyServiceExternalIPs"], &[]), Ok(on));
        assert_eq!(flags(&["ServiceAccount"], &["PodSecurity"]), Ok(Plugins::default()));
        assert_eq!(flags(&[], &["DenyServiceExternalIPs"]), Ok(Plugins::default()));
        for (enable, disable, expected) in [
            (&["Deny"][..], &[][..], "enable-admission-plugins plugin \"Deny\" is unknown"),
            (&[], &["Deny"], "disable-admission-plugins plugin \"Deny\" is unknown"),
            (
                &["ServiceAccount"],
                &["ServiceAccount"],
                "ServiceAccount in enable-admission-plugins and disable-admission-plugins overlapped",
            ),
        ] {
            assert_eq!(flags(enable, disable), Err(expected.to_owned()));
        }
        assert!(flags(&["PodSecurity"], &[]).is_err_and(|text| text.contains("does not have")));
        assert!(flags(&[], &["Priority"]).is_err_and(|text| text.contains("switched off")));
    }

    #[test]
    fn external_ips_may_go_but_not_come() {
        let with = |ips: &[&str]| json!({"spec": {"externalIPs": ips}});
        let old = with(&["1.2.3.4", "1.2.3.5"]);
        assert!(!gains_external_ips(&with(&[]), None));
        assert!(gains_external_ips(&with(&["1.2.3.4"]), None));
        assert!(!gains_external_ips(&with(&["1.2.3.5"]), Some(&old)));
        assert!(!gains_external_ips(&with(&["1.2.3.5", "1.2.3.4"]), Some(&old)));
        assert!(gains_external_ips(&with(&["1.2.3.4", "1.2.3.6"]), Some(&old)));
    }
}
