//! The `Accept` header: which form of an object the client wants.

use http::HeaderMap;

use crate::discovery::AggregatedVersion;

/// How objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rendering {
    /// As they are.
    Object,
    /// As a `meta.k8s.io/v1 Table` (or v1beta1).
    Table { beta: bool },
    /// Only their metadata, as `meta.k8s.io/v1 PartialObjectMetadata(List)`.
    Metadata { beta: bool },
}

/// A chosen answer form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) rendering: Rendering,
    pub(crate) yaml: bool,
    /// `apidiscovery.k8s.io` version asked for with `as=APIGroupDiscoveryList`.
    pub(crate) aggregated: Option<AggregatedVersion>,
}

const PLAIN: Accept = Accept { rendering: Rendering::Object, yaml: false, aggregated: None };

/// The first form of the client's list that this server can give; `None` when there is none.
/// Discovery's forms only count where `discovery` says so.
pub(crate) fn negotiate(headers: &HeaderMap, discovery: bool) -> Option<Accept> {
    let mut values = headers.get_all(http::header::ACCEPT).iter().peekable();
    values.peek()?;
    let texts = values.filter_map(|value| value.to_str().ok());
    let mut clauses: Vec<(u32, &str)> = Vec::new();
    for clause in texts.flat_map(|text| text.split(',')) {
        let quality = parameter(clause, "q").and_then(|q| q.parse::<f32>().ok()).unwrap_or(1.0);
        clauses.push(((quality * 1000.0) as u32, clause.trim()));
    }
    clauses.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
    clauses.into_iter().find_map(|(_, clause)| one(clause, discovery))
}

impl Accept {
    /// As [`negotiate`], but a missing header means plain JSON.
    pub(crate) fn from_headers(headers: &HeaderMap, discovery: bool) -> Option<Self> {
        if headers.contains_key(http::header::ACCEPT) {
            negotiate(headers, discovery)
        } else {
            Some(PLAIN)
        }
    }
}

fn one(clause: &str, discovery: bool) -> Option<Accept> {
    let media = clause.split(';').next().unwrap_or_default().trim();
    let yaml = match media {
        "" if clause.is_empty() => return None,
        "*/*" | "application/*" | "application/json" => false,
        "application/yaml" => true,
        _ => return None,
    };
    let beta = match parameter(clause, "v") {
        Some("v1beta1") => true,
        None | Some("v1") => false,
        Some(_) if discovery => false,
        Some(_) => return None,
    };
    let plain = Accept { yaml, ..PLAIN };
    match (parameter(clause, "as"), parameter(clause, "g")) {
        (None, _) => Some(plain),
        (Some("Table"), Some("meta.k8s.io")) => {
            Some(Accept { rendering: Rendering::Table { beta }, ..plain })
        }
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io")) => {
            Some(Accept { rendering: Rendering::Metadata { beta }, ..plain })
        }
        (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io")) if discovery => {
            let aggregated = AggregatedVersion::parse(parameter(clause, "v")?)?;
            Some(Accept { aggregated: Some(aggregated), ..plain })
        }
        _ => None,
    }
}

fn parameter<'a>(clause: &'a str, name: &str) -> Option<&'a str> {
    clause.split(';').skip(1).find_map(|parameter| {
        let (key, value) = parameter.trim().split_once('=')?;
        (key.trim() == name).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn accept(text: &'static str, discovery: bool) -> Option<Accept> {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(text));
        Accept::from_headers(&headers, discovery)
    }

    #[test]
    fn kubectl_get_asks_for_a_table() {
        let text = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                    application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let chosen = accept(text, false).unwrap();
        assert_eq!(chosen.rendering, Rendering::Table { beta: false });
    }

    #[test]
    fn protobuf_falls_back_to_what_else_is_accepted() {
        assert_eq!(accept("application/vnd.kubernetes.protobuf, */*", false), Some(PLAIN));
        let both = "application/vnd.kubernetes.protobuf,application/json";
        assert_eq!(accept(both, false), Some(PLAIN));
        assert_eq!(accept("application/vnd.kubernetes.protobuf", false), None);
        assert_eq!(accept("text/html", false), None);
    }

    #[test]
    fn quality_orders_the_clauses() {
        let chosen = accept("application/json;q=0.5, application/yaml;q=0.9", false).unwrap();
        assert!(chosen.yaml);
    }

    #[test]
    fn aggregated_discovery_counts_only_for_discovery() {
        let text = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                    application/json";
        assert_eq!(accept(text, true).unwrap().aggregated, Some(AggregatedVersion::V2));
        assert_eq!(accept(text, false), Some(PLAIN));
    }
}
