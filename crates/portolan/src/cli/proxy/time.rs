//! Times as Go writes them.

use std::time::Duration;

use anyhow::Context;

/// A time as Go writes it: `15m0s`, `1h30m`, `0`; nothing for none.
pub(super) fn time(flag: &str, text: Option<String>) -> anyhow::Result<Option<Duration>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = parse(&text);
    time.map(Some).with_context(|| format!("{flag} {text}: give a time such as 15m or 90s"))
}

fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut sum) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum = sum.checked_add(match &rest[..letters] {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            _ => return None,
        })?;
        rest = &rest[letters..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        assert_eq!(parse("1h30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse("15"), None);
        assert_eq!(parse("m"), None);
    }
}
