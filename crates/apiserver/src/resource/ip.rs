//! Addresses and ranges as fields hold them: what is refused and what is warned of, with the texts
//! of `k8s.io/apimachinery/pkg/util/validation/ip.go`.
//!
//! *Legacy* fields were once read leniently; what an object holds already is not looked at again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::FieldError;
use super::names::{NOT_A_CIDR, NOT_AN_IP, is_link_local_multicast, parse_ip, parse_ip_sloppy};

/// An address in a field that predates strict reading. `known` are those of the old object.
pub(crate) fn legacy(path: &str, value: &str, known: &[&str]) -> Vec<FieldError> {
    if known.contains(&value) {
        return Vec::new();
    }
    let complaint = match (parse_ip_sloppy(value), parse_ip(value)) {
        (None, _) => NOT_AN_IP,
        (Some(_), None) => "must not have leading 0s",
        (Some(ip), Some(_)) if is_mapped(ip) => "must not be an IPv4-mapped IPv6 address",
        _ => return Vec::new(),
    };
    vec![FieldError::invalid_text(path, value, complaint)]
}

/// An address in its one canonical form.
pub(crate) fn strict(path: &str, value: &str) -> Vec<FieldError> {
    let errors = legacy(path, value, &[]);
    if !errors.is_empty() {
        return errors;
    }
    match parse_ip(value).map(|ip| ip.to_string()) {
        Some(canonical) if canonical != value => {
            let text = format!("must be in canonical form ({canonical:?})");
            vec![FieldError::invalid_text(path, value, text)]
        }
        _ => Vec::new(),
    }
}

/// What is warned of where [`legacy`] lets an address pass.
pub(crate) fn warnings(path: &str, value: &str) -> Option<String> {
    let ip = parse_ip_sloppy(value)?;
    let canonical = unmapped(ip).to_string();
    if parse_ip(value).is_none() || is_mapped(ip) {
        return Some(format!(
            "{path}: non-standard IP address {value:?} is invalid: use {canonical:?}"
        ));
    }
    (ip.is_ipv6() && canonical != value).then(|| {
        format!(
            "{path}: IPv6 address {value:?} should be in RFC 5952 canonical format ({canonical:?})"
        )
    })
}

/// A range as text: the address that stands before the slash, and the length.
#[derive(Clone, Copy)]
struct Cidr {
    address: IpAddr,
    length: u8,
    /// Whether address and length have no leading zeros.
    standard: bool,
}

impl Cidr {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let ip = parse_ip_sloppy(address)?;
        if length.is_empty() || !length.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let bits: u8 = length.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let standard = parse_ip(address).is_some() && (length == "0" || !length.starts_with('0'));
        (bits <= most).then_some(Self { address: ip, length: bits, standard })
    }

    /// The address with the bits beyond the length cleared.
    fn masked(self) -> IpAddr {
        match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                Ipv4Addr::from_bits(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                Ipv6Addr::from_bits(ip.to_bits() & mask).into()
            }
        }
    }

    /// The range as Go prints it, mapped addresses as IPv4.
    fn canonical(self) -> String {
        let mapped = is_mapped(self.address) && self.length >= 96;
        let length = if mapped { self.length - 96 } else { self.length };
        let address = if mapped { unmapped(self.masked()) } else { self.masked() };
        format!("{address}/{length}")
    }
}

/// A range in a field that predates strict reading. `known` are those of the old object.
pub(crate) fn legacy_cidr(path: &str, value: &str, known: &[&str]) -> Vec<FieldError> {
    if known.contains(&value) {
        return Vec::new();
    }
    let complaint = match Cidr::parse(value) {
        None => NOT_A_CIDR,
        Some(cidr) if !cidr.standard => "must not have leading 0s in IP or prefix length",
        Some(cidr) if is_mapped(cidr.address) => "must not have an IPv4-mapped IPv6 address",
        Some(cidr) if cidr.masked() != cidr.address => {
            "must not have bits set beyond the prefix length"
        }
        Some(_) => return Vec::new(),
    };
    vec![FieldError::invalid_text(path, value, complaint)]
}

/// A range in its one canonical form.
pub(crate) fn strict_cidr(path: &str, value: &str) -> Vec<FieldError> {
    let errors = legacy_cidr(path, value, &[]);
    if !errors.is_empty() {
        return errors;
    }
    match Cidr::parse(value).map(Cidr::canonical) {
        Some(canonical) if canonical != value => {
            let text = format!("must be in canonical form ({canonical:?})");
            vec![FieldError::invalid_text(path, value, text)]
        }
        _ => Vec::new(),
    }
}

/// Whether a text is a range of IPv6; nothing where it is no range.
pub(crate) fn cidr_is_v6(value: &str) -> Option<bool> {
    Cidr::parse(value).map(|cidr| !is_mapped(cidr.address) && cidr.address.is_ipv6())
}

/// What is warned of where [`legacy_cidr`] lets a range pass.
pub(crate) fn cidr_warnings(path: &str, value: &str) -> Vec<String> {
    let Some(cidr) = Cidr::parse(value) else { return Vec::new() };
    let canonical = cidr.canonical();
    let mut warnings = Vec::new();
    if cidr.masked() != cidr.address {
        let single = unmapped(cidr.address);
        let bits = if cidr.address.is_ipv4() { 32 } else { 128 };
        warnings.push(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be {canonical:?} or \"{single}/{bits}\"?)"
        ));
    }
    if !cidr.standard || is_mapped(cidr.address) {
        warnings.push(format!(
            "{path}: non-standard CIDR value {value:?} is invalid: use {canonical:?}"
        ));
    }
    if warnings.is_empty() && cidr.address.is_ipv6() && canonical != value {
        warnings.push(format!(
            "{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({canonical:?})"
        ));
    }
    warnings
}

/// An address that something outside its own host can be reached at: for endpoints and external
/// addresses (`ValidateEndpointIP` of `pkg/apis/core/validation`).
pub(crate) fn dialable(path: &str, value: &str) -> Vec<FieldError> {
    let Some(ip) = parse_ip_sloppy(value).map(unmapped) else {
        return vec![FieldError::invalid_text(path, value, "must be a valid IP address")];
    };
    let mut errors = Vec::new();
    let mut refuse = |yes: bool, why: &str| {
        if yes {
            errors.push(FieldError::invalid_text(path, value, why));
        }
    };
    refuse(ip.is_unspecified(), &format!("may not be unspecified ({value})"));
    refuse(ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    let (link_local, multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), is_link_local_multicast(v6)),
    };
    refuse(link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    refuse(multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    errors
}

/// Whether an IPv6 address stands for an IPv4 one.
fn is_mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn unmapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        v4 => v4,
    }
}

/// Whether a text is an address of that family, as Go sees it: mapped ones are IPv4.
pub(crate) fn is_family(value: &str, family: &str) -> bool {
    let ip = parse_ip_sloppy(value).map(unmapped);
    ip.is_some_and(|ip| ip.is_ipv4() == (family == "IPv4"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Vec<FieldError>) -> Vec<String> {
        errors.into_iter().map(|error| error.detail).collect()
    }

    #[test]
    fn what_an_object_holds_already_passes() {
        assert!(legacy("p", "010.0.0.1", &["010.0.0.1"]).is_empty());
        assert!(legacy_cidr("p", "10.0.0.1/8", &["10.0.0.1/8"]).is_empty());
        assert_eq!(texts(legacy("p", "010.0.0.1", &["10.0.0.1"])), ["must not have leading 0s"]);
    }

    #[test]
    fn old_addresses_are_warned_of() {
        let cases = [
            ("10.0.0.1", None),
            ("2001:db8::1", None),
            (
                "010.0.0.1",
                Some("p: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\""),
            ),
            (
                "::ffff:10.0.0.1",
                Some("p: non-standard IP address \"::ffff:10.0.0.1\" is invalid: use \"10.0.0.1\""),
            ),
            (
                "2001:DB8::1",
                Some(
                    "p: IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
                ),
            ),
        ];
        for (value, expected) in cases {
            assert_eq!(warnings("p", value).as_deref(), expected, "{value}");
        }
        assert_eq!(
            cidr_warnings("p", "10.0.0.1/8"),
            [
                "p: CIDR value \"10.0.0.1/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.0.0.1/32\"?)"
            ]
        );
        assert_eq!(
            cidr_warnings("p", "::ffff:10.0.0.0/104"),
            ["p: non-standard CIDR value \"::ffff:10.0.0.0/104\" is invalid: use \"10.0.0.0/8\""]
        );
    }

    #[test]
    fn ranges_end_where_they_should() {
        for good in ["0.0.0.0/0", "10.0.0.1/32", "::/0", "2001:db8::1/128"] {
            assert!(strict_cidr("p", good).is_empty(), "{good}");
        }
        for bad in ["10.0.0.0/33", "::/129", "10.0.0.0", "10.0.0.0/", "/8", "10.0.0.0/+8"] {
            assert_eq!(texts(strict_cidr("p", bad)), [NOT_A_CIDR], "{bad}");
        }
    }
}
