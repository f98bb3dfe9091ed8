//! The options of `kubernetes`.

use std::sync::Arc;
use std::time::Duration;

use portolan_model::names::{NameOptions, PodMode};

use crate::dns::config::{Key, fallthrough, zones_or_block};
use crate::dns::corefile::{CorefileError, Directive, DirectiveOption};
use crate::dns::store::StoreOptions;
use crate::dns::zone::{Fallthrough, Zone};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KubernetesConfig {
    pub(crate) zones: Vec<Zone>,
    pub(crate) store: StoreOptions,
    pub(crate) ttl: u32,
    pub(super) fallthrough: Fallthrough,
    /// How long to wait for the cluster's names before answering anything.
    pub(crate) startup_timeout: Duration,
}

impl KubernetesConfig {
    pub(crate) fn read(directive: &Directive, keys: &[Key]) -> Result<Self, CorefileError> {
        let zones = zones_or_block(directive, &directive.args, keys)?;
        if zones.iter().all(Zone::is_reverse) {
            return Err(
                directive.error("has only reverse zones: Services need a zone of their own")
            );
        }
        let mut config = Self {
            zones,
            store: StoreOptions {
                names: NameOptions::default(),
                endpoints: true,
                labels: None,
                namespace_labels: None,
            },
            ttl: 5,
            fallthrough: Fallthrough::default(),
            startup_timeout: Duration::from_secs(5),
        };
        for option in &directive.options {
            config.option(directive, option)?;
        }
        Ok(config)
    }

    fn option(
        &mut self,
        directive: &Directive,
        option: &DirectiveOption,
    ) -> Result<(), CorefileError> {
        let names = &mut self.store.names;
        match option.name.as_str() {
            "pods" => {
                let what = "disabled, insecure or verified";
                names.pods = match directive.one(option, what)? {
                    "disabled" => PodMode::Disabled,
                    "insecure" => PodMode::Insecure,
                    "verified" => PodMode::Verified,
                    other => {
                        let problem = format!("pods takes {what}, not \"{other}\"");
                        return Err(directive.error_at(option.line, problem));
                    }
                };
            }
            "ttl" => {
                let ttl = directive.one_as(option, "seconds from 0 to 3600")?;
                if ttl > 3600 {
                    let problem = format!("ttl takes seconds from 0 to 3600, not {ttl}");
                    return Err(directive.error_at(option.line, problem));
                }
                self.ttl = ttl;
            }
            "endpoint_pod_names" => {
                directive.option_without_args(option)?;
                names.endpoint_pod_names = true;
            }
            "noendpoints" => {
                directive.option_without_args(option)?;
                self.store.endpoints = false;
            }
            "ignore" => {
                if directive.one(option, "empty_service")? != "empty_service" {
                    return Err(directive.error_at(option.line, "ignore takes empty_service"));
                }
                names.ignore_empty_service = true;
            }
            "namespaces" if !option.args.is_empty() => {
                names.namespaces.extend(option.args.iter().map(|name| Arc::from(name.as_str())));
            }
            "labels" if !option.args.is_empty() => {
                self.store.labels = Some(option.args.join(" "));
            }
            "namespace_labels" if !option.args.is_empty() => {
                self.store.namespace_labels = Some(option.args.join(" "));
                names.declared_namespaces_only = true;
            }
            "startup_timeout" => self.startup_timeout = directive.duration(option)?,
            "fallthrough" => self.fallthrough = fallthrough(directive, option)?,
            _ => return Err(directive.unknown(option)),
        }
        Ok(())
    }
}
