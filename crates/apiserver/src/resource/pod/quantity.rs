//! Amounts of resources, as far as validation and quality of service need them.

use serde_json::Value;

use crate::resource::value::ValueExt;

/// The amount in billionths, or [`None`] for what is no quantity.
pub(super) fn nanos(text: &str) -> Option<i128> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let split = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    const NANO: i128 = 1_000_000_000;
    let scale: i128 = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => NANO,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * NANO,
        "T" => NANO * NANO * 1_000,
        "P" => NANO * NANO * 1_000_000,
        "E" => NANO * NANO * NANO,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        _ => {
            let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            NANO.checked_mul(10_i128.checked_pow(exponent)?)?
        }
    };
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut amount = whole.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.chars() {
        unit /= 10;
        amount = amount.checked_add(unit * i128::from(digit.to_digit(10)?))?;
    }
    Some(if negative { -amount } else { amount })
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub(super) fn qos_class(pod: &Value) -> &'static str {
    let containers: Vec<&Value> =
        pod.list("spec.containers").iter().chain(pod.list("spec.initContainers")).collect();
    let amount = |container: &Value, list: &str, name: &str| {
        container.fields(&format!("resources.{list}"))?.get(name)?.as_str().and_then(nanos)
    };
    let names = ["cpu", "memory"];
    let any = containers.iter().any(|c| {
        names.iter().any(|name| {
            amount(c, "limits", name).is_some_and(|n| n > 0)
                || amount(c, "requests", name).is_some_and(|n| n > 0)
        })
    });
    if !any {
        return "BestEffort";
    }
    let all = containers.iter().all(|c| {
        names.iter().all(|name| {
            let limit = amount(c, "limits", name).filter(|n| *n > 0);
            limit.is_some() && amount(c, "requests", name).is_none_or(|n| Some(n) == limit)
        })
    });
    if all { "Guaranteed" } else { "Burstable" }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantities() {
        for (text, expected) in [
            ("1", Some(1_000_000_000)),
            ("100m", Some(100_000_000)),
            ("1.5", Some(1_500_000_000)),
            ("1Ki", Some(1_024_000_000_000)),
            ("2e3", Some(2_000_000_000_000)),
            ("-1", Some(-1_000_000_000)),
            (".5", Some(500_000_000)),
            ("x", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn classes() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(qos_class(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(qos_class(&pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))), "Guaranteed");
        assert_eq!(
            qos_class(&pod(
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})
            )),
            "Burstable"
        );
    }
}
