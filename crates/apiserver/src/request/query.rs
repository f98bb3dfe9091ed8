//! The query's parameters, as `ListOptions`, `CreateOptions`, `DeleteOptions` and others name them.

use crate::status::ApiError;

/// All the parameters that any verb understands; others are ignored, as kube-apiserver does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) watch: bool,
    pub(crate) allow_watch_bookmarks: bool,
    pub(crate) send_initial_events: Option<bool>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) limit: usize,
    pub(crate) proceed: String,
    pub(crate) resource_version: String,
    pub(crate) resource_version_match: String,
    pub(crate) label_selector: String,
    pub(crate) field_selector: String,
    pub(crate) dry_run: bool,
    pub(crate) field_validation: String,
    pub(crate) field_manager: String,
    pub(crate) force: bool,
    pub(crate) grace_period_seconds: Option<i64>,
    pub(crate) propagation_policy: Option<String>,
    pub(crate) orphan_dependents: Option<bool>,
    pub(crate) include_object: String,
    pub(crate) pretty: bool,
    pub(crate) verbose: bool,
}

impl Options {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut options = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            match &*key {
                "watch" => options.watch = flag(&key, &value)?,
                "allowWatchBookmarks" => options.allow_watch_bookmarks = flag(&key, &value)?,
                "sendInitialEvents" if !value.is_empty() => {
                    options.send_initial_events = Some(flag(&key, &value)?);
                }
                "timeoutSeconds" if !value.is_empty() => {
                    options.timeout_seconds = Some(number::<i64>(&key, &value)?.max(0) as u64);
                }
                "limit" if !value.is_empty() => {
                    options.limit = number::<i64>(&key, &value)?.max(0) as usize;
                }
                "continue" => options.proceed = value,
                "resourceVersion" => options.resource_version = value,
                "resourceVersionMatch" => options.resource_version_match = value,
                "labelSelector" => options.label_selector = value,
                "fieldSelector" => options.field_selector = value,
                "dryRun" => options.dry_run = dry_run(&value)?,
                "fieldValidation" => options.field_validation = value,
                "fieldManager" => options.field_manager = value,
                "force" => options.force = flag(&key, &value)?,
                "gracePeriodSeconds" if !value.is_empty() => {
                    options.grace_period_seconds = Some(number(&key, &value)?);
                }
                "propagationPolicy" if !value.is_empty() => {
                    options.propagation_policy = Some(value);
                }
                "orphanDependents" if !value.is_empty() => {
                    options.orphan_dependents = Some(flag(&key, &value)?);
                }
                "includeObject" => options.include_object = value,
                "pretty" => options.pretty = flag(&key, &value)?,
                "verbose" => options.verbose = true,
                _ => {}
            }
        }
        Ok(options)
    }
}

fn dry_run(value: &str) -> Result<bool, ApiError> {
    match value {
        "" => Ok(false),
        "All" => Ok(true),
        other => Err(ApiError::bad_request(format!(
            "invalid dryRun value: dryRun: Unsupported value: {other:?}: supported values: \"All\""
        ))),
    }
}

/// Go's reading of a boolean parameter: present without a value means true.
fn flag(key: &str, value: &str) -> Result<bool, ApiError> {
    match value.to_ascii_lowercase().as_str() {
        "" | "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err(ApiError::bad_request(format!(
            "invalid value for {key}: strconv.ParseBool: parsing {value:?}: invalid syntax"
        ))),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, ApiError> {
    value.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "invalid value for {key}: strconv.ParseInt: parsing {value:?}: invalid syntax"
        ))
    })
}
