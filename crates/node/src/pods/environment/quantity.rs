//! Quantities of resources, as far as the downward API needs them.

/// A quantity in billionths of its unit.
pub(super) fn nano(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    const GIGA: u128 = 1_000_000_000;
    let factor = match suffix {
        "" => GIGA,
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "k" => GIGA * 1_000,
        "M" => GIGA * 1_000_000,
        "G" => GIGA * GIGA,
        "T" => GIGA * GIGA * 1_000,
        "Ki" => GIGA << 10,
        "Mi" => GIGA << 20,
        "Gi" => GIGA << 30,
        "Ti" => GIGA << 40,
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-9..=12).contains(&power) {
                return None;
            }
            10_u128.pow((9 + power).unsigned_abs())
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 9 || whole.len() > 18 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    Some(whole * factor + part * factor / 10_u128.pow(fraction.len() as u32))
}

/// What the machine has of a resource, in billionths of its unit.
pub(super) fn capacity(resource: &str) -> Option<u128> {
    match resource {
        "cpu" => Some(
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u128
                * 1_000_000_000,
        ),
        "memory" => {
            let text = std::fs::read_to_string("/proc/meminfo").ok()?;
            let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
            nano(&format!("{}Ki", line.trim().trim_end_matches(" kB")))
        }
        "ephemeral-storage" => nano("10Gi"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, value) in [
            ("1", 1_000_000_000),
            ("250m", 250_000_000),
            ("0.5", 500_000_000),
            (".5", 500_000_000),
            ("1Ki", 1024 * 1_000_000_000),
            ("1e3", 1_000_000_000_000),
            ("3n", 3),
        ] {
            assert_eq!(nano(text), Some(value), "{text}");
        }
        for bad in ["", "x", "1x", ".", "1e99"] {
            assert_eq!(nano(bad), None, "{bad}");
        }
        assert!(capacity("cpu").unwrap() >= 1_000_000_000);
        assert!(capacity("memory").unwrap() > 0);
    }
}
