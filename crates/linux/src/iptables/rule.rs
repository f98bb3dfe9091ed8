//! One rule, as `iptables-save` prints it and `iptables-restore` reads it.
//!
//! The same rule can be written in many ways (`--or-mark 1` is saved as `--set-xmark 0x1/0x1`).
//! Here it is a value: two rules are alike if the kernel does the same for both. What this module
//! has no word for is kept as text, so that it is like nothing else.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// A source or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Net {
    /// Everything but that network.
    pub not: bool,
    pub net: IpNet,
}

/// Which end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    Source,
    Destination,
}

/// The match `recent`: lists of addresses that were seen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recent {
    /// Whether the source was seen in so many seconds; older ones are forgotten.
    Check { list: String, seconds: u32 },
    /// The source was seen now.
    Set { list: String },
}

/// What else a packet has to fulfil.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Match {
    /// Always fulfilled.
    Comment(String),
    /// The states of the connection, in the kernel's own order, separated by commas.
    State {
        not: bool,
        states: String,
    },
    /// The address is one of this machine's.
    Local(Side),
    Mark {
        not: bool,
        value: u32,
        mask: u32,
    },
    /// Fulfilled once in so many times, at random.
    OneIn(u32),
    Recent(Recent),
    DestinationPort(u16),
    /// Anything else, in its own words.
    Other(String),
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// A chain, or one of ACCEPT, DROP and RETURN.
    Jump(String),
    /// The bits of `mask` are cleared, then those of `value` are flipped.
    Mark {
        value: u32,
        mask: u32,
    },
    Masquerade {
        random_fully: bool,
    },
    Dnat(SocketAddr),
    /// ICMP's port unreachable.
    Reject,
    /// A TCP reset.
    Reset,
    /// Anything else, in its own words.
    Other(String),
}

/// A rule, without the chain that it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Rule {
    pub source: Option<Net>,
    pub destination: Option<Net>,
    /// As `iptables-save` names it: `tcp`, `udp`, `sctp`.
    pub protocol: Option<String>,
    pub matches: Vec<Match>,
    pub target: Option<Target>,
}

impl Rule {
    /// A rule for everything, which jumps.
    pub fn jump(to: impl Into<String>) -> Self {
        Self { target: Some(Target::Jump(to.into())), ..Self::default() }
    }

    /// A rule for everything with that target.
    pub fn new(target: Target) -> Self {
        Self { target: Some(target), ..Self::default() }
    }

    /// From anywhere is said by saying nothing.
    pub fn from(mut self, net: IpNet) -> Self {
        self.source = (net.prefix_len() > 0).then_some(Net { not: false, net: net.trunc() });
        self
    }

    pub fn not_from(mut self, net: IpNet) -> Self {
        self.source = Some(Net { not: true, net: net.trunc() });
        self
    }

    pub fn to(mut self, net: IpNet) -> Self {
        self.destination = (net.prefix_len() > 0).then_some(Net { not: false, net: net.trunc() });
        self
    }

    pub fn not_to(mut self, net: IpNet) -> Self {
        self.destination = Some(Net { not: true, net: net.trunc() });
        self
    }

    pub fn protocol(mut self, protocol: &str) -> Self {
        self.protocol = Some(protocol.to_owned());
        self
    }

    pub fn port(self, protocol: &str, port: u16) -> Self {
        self.protocol(protocol).when(Match::DestinationPort(port))
    }

    pub fn comment(self, text: impl Into<String>) -> Self {
        self.when(Match::Comment(text.into()))
    }

    pub fn when(mut self, condition: Match) -> Self {
        self.matches.push(condition);
        self
    }

    /// The chain, or ACCEPT, DROP, RETURN, that it goes to.
    pub fn target_chain(&self) -> Option<&str> {
        match &self.target {
            Some(Target::Jump(chain)) => Some(chain),
            _ => None,
        }
    }

    /// Its destination port.
    pub fn destination_port(&self) -> Option<u16> {
        self.matches.iter().find_map(|item| match item {
            Match::DestinationPort(port) => Some(*port),
            _ => None,
        })
    }

    /// Its comment, or nothing.
    pub fn text(&self) -> &str {
        let comment = self.matches.iter().find_map(|item| match item {
            Match::Comment(text) => Some(text.as_str()),
            _ => None,
        });
        comment.unwrap_or_default()
    }

    pub fn has(&self, condition: &Match) -> bool {
        self.matches.contains(condition)
    }

    /// Whether the kernel does the same for both: programs may print matches in another order.
    pub fn is_like(&self, other: &Self) -> bool {
        let sorted = |rule: &Self| {
            let mut matches = rule.matches.clone();
            matches.sort();
            matches
        };
        self == other
            || (self.source, self.destination, &self.protocol, &self.target)
                == (other.source, other.destination, &other.protocol, &other.target)
                && sorted(self) == sorted(other)
    }

    /// Reads what follows `-A CHAIN` in a line.
    pub fn read(line: &str) -> Self {
        Reader { words: words(line), at: 0 }.rule()
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.net.fmt(f)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        let mut part = |f: &mut fmt::Formatter<'_>, text: fmt::Arguments<'_>| {
            let gap = std::mem::replace(&mut space, " ");
            write!(f, "{gap}{text}")
        };
        for (option, net) in [("-s", &self.source), ("-d", &self.destination)] {
            if let Some(net) = net {
                let not = if net.not { "! " } else { "" };
                part(f, format_args!("{not}{option} {net}"))?;
            }
        }
        if let Some(protocol) = &self.protocol {
            part(f, format_args!("-p {protocol}"))?;
        }
        let protocol = self.protocol.as_deref().unwrap_or_default();
        for item in &self.matches {
            match item {
                Match::Comment(text) => {
                    let text = text.replace('\\', r"\\").replace('"', "\\\"");
                    part(f, format_args!("-m comment --comment \"{text}\""))
                }
                Match::State { not, states } => {
                    let not = if *not { "! " } else { "" };
                    part(f, format_args!("-m conntrack {not}--ctstate {states}"))
                }
                Match::Local(Side::Source) => part(f, format_args!("-m addrtype --src-type LOCAL")),
                Match::Local(Side::Destination) => {
                    part(f, format_args!("-m addrtype --dst-type LOCAL"))
                }
                Match::Mark { not, value, mask } => {
                    let not = if *not { "! " } else { "" };
                    part(f, format_args!("-m mark {not}--mark {value:#x}/{mask:#x}"))
                }
                Match::OneIn(count) => {
                    let probability = 1.0 / f64::from(*count);
                    part(
                        f,
                        format_args!("-m statistic --mode random --probability {probability:.10}"),
                    )
                }
                Match::Recent(Recent::Check { list, seconds }) => part(
                    f,
                    format_args!(
                        "-m recent --rcheck --seconds {seconds} --reap --name {list} --rsource"
                    ),
                ),
                Match::Recent(Recent::Set { list }) => {
                    part(f, format_args!("-m recent --set --name {list} --rsource"))
                }
                Match::DestinationPort(port) => {
                    part(f, format_args!("-m {protocol} --dport {port}"))
                }
                Match::Other(text) => part(f, format_args!("{text}")),
            }?;
        }
        match &self.target {
            None => Ok(()),
            Some(Target::Jump(chain)) => part(f, format_args!("-j {chain}")),
            Some(Target::Mark { value, mask }) => {
                part(f, format_args!("-j MARK --set-xmark {value:#x}/{mask:#x}"))
            }
            Some(Target::Masquerade { random_fully }) => {
                let random = if *random_fully { " --random-fully" } else { "" };
                part(f, format_args!("-j MASQUERADE{random}"))
            }
            // A port can only be given along with a protocol's own match.
            Some(Target::Dnat(to)) => {
                part(f, format_args!("-m {protocol} -j DNAT --to-destination {to}"))
            }
            Some(Target::Reject) => part(f, format_args!("-j REJECT")),
            Some(Target::Reset) => part(f, format_args!("-j REJECT --reject-with tcp-reset")),
            Some(Target::Other(text)) => part(f, format_args!("-j {text}")),
        }
    }
}

/// Splits at spaces; double quotes hold words together, a backslash takes the next character as
/// it is.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut started, mut quoted) = (String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, started) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            letter if letter.is_whitespace() && !quoted => {
                if std::mem::take(&mut started) {
                    words.push(std::mem::take(&mut word));
                }
            }
            letter => {
                word.push(letter);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

struct Reader {
    words: Vec<String>,
    at: usize,
}

impl Reader {
    fn next(&mut self) -> String {
        let word = self.words.get(self.at).cloned().unwrap_or_default();
        self.at += 1;
        word
    }

    /// The words up to the next option of one letter, as `-m` and `-j`.
    fn group(&mut self) -> Vec<String> {
        let rest = self.words.get(self.at..).unwrap_or_default();
        let short = |word: &String| word.len() == 2 && word.starts_with('-');
        let mut end = rest.iter().position(short).unwrap_or(rest.len());
        if end < rest.len() && end > 0 && rest[end - 1] == "!" {
            end -= 1;
        }
        let group = rest[..end].to_vec();
        self.at += end;
        group
    }

    fn rule(&mut self) -> Rule {
        let mut rule = Rule::default();
        let (mut not, mut last) = (false, String::new());
        while self.at < self.words.len() {
            let word = self.next();
            if word == "!" {
                not = true;
                continue;
            }
            let negated = std::mem::take(&mut not);
            match word.as_str() {
                "-s" | "-d" => {
                    let text = self.next();
                    let net = read_net(&text).map(|net| Net { not: negated, net });
                    match (net, word.as_str()) {
                        (None, option) => {
                            rule.matches.push(Match::Other(format!("{option} {text}")))
                        }
                        (net, "-s") => rule.source = net,
                        (net, _) => rule.destination = net,
                    }
                }
                "-p" if !negated => rule.protocol = Some(self.next()),
                "-m" => {
                    last = self.next();
                    let group = self.group();
                    rule.matches.extend(read_match(&last, &group));
                }
                "-j" => {
                    let name = self.next();
                    let group = self.group();
                    rule.target = Some(read_target(name, &group));
                }
                // Of the match before, whatever stands between.
                option if option.starts_with("--") && !negated => {
                    let group = [vec![word.clone()], self.group()].concat();
                    rule.matches.extend(read_match(&last, &group));
                }
                other => {
                    let not = if negated { "! " } else { "" };
                    let group = self.group().join(" ");
                    rule.matches.push(Match::Other(format!("{not}{other} {group}")));
                }
            }
        }
        rule
    }
}

fn read_net(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}

/// A number with an optional mask, each decimal or with `0x` in front.
fn read_mark(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match text.split_once('/') {
        Some((value, mask)) => Some((number(value)?, number(mask)?)),
        None => Some((number(text)?, u32::MAX)),
    }
}

/// One in how many; the kernel keeps 31 bits of the probability.
fn read_probability(text: &str) -> Option<u32> {
    let kernel = |probability: f64| (probability * f64::from(1_u32 << 31)).round();
    let given: f64 = text.parse().ok()?;
    let count = (1.0 / given).round();
    (count >= 1.0
        && count <= f64::from(u32::MAX)
        && (kernel(1.0 / count) - kernel(given)).abs() < 0.5)
        .then_some(count as u32)
}

fn read_match(name: &str, group: &[String]) -> Option<Match> {
    let all: Vec<&str> = group.iter().map(String::as_str).collect();
    let known = match (name, &*all) {
        ("tcp" | "udp" | "sctp", []) => return None,
        ("tcp" | "udp" | "sctp", ["--dport", port]) => {
            port.parse().ok().map(Match::DestinationPort)
        }
        ("comment", ["--comment", text]) => Some(Match::Comment((*text).to_owned())),
        ("conntrack", [not @ .., "--ctstate", states]) if matches!(not, [] | ["!"]) => {
            Some(Match::State { not: !not.is_empty(), states: (*states).to_owned() })
        }
        ("addrtype", ["--src-type", "LOCAL"]) => Some(Match::Local(Side::Source)),
        ("addrtype", ["--dst-type", "LOCAL"]) => Some(Match::Local(Side::Destination)),
        ("mark", [not @ .., "--mark", mark]) if matches!(not, [] | ["!"]) => {
            read_mark(mark).map(|(value, mask)| Match::Mark { not: !not.is_empty(), value, mask })
        }
        ("statistic", ["--mode", "random", "--probability", text]) => {
            read_probability(text).map(Match::OneIn)
        }
        ("recent", options) => read_recent(options).map(Match::Recent),
        _ => None,
    };
    Some(known.unwrap_or_else(|| Match::Other(format!("-m {name} {}", all.join(" ")))))
}

fn read_recent(options: &[&str]) -> Option<Recent> {
    let (mut list, mut seconds, mut check, mut set, mut reap) = (None, None, false, false, false);
    let mut options = options.iter();
    while let Some(option) = options.next() {
        match *option {
            "--rcheck" => check = true,
            "--set" => set = true,
            "--reap" => reap = true,
            "--rsource" => {}
            "--name" => list = options.next(),
            "--seconds" => seconds = options.next()?.parse().ok(),
            // Of the whole address; another one would be another rule.
            "--mask" => {
                let mask: IpAddr = options.next()?.parse().ok()?;
                let whole = match mask {
                    IpAddr::V4(mask) => mask.to_bits() == u32::MAX,
                    IpAddr::V6(mask) => mask.to_bits() == u128::MAX,
                };
                if !whole {
                    return None;
                }
            }
            _ => return None,
        }
    }
    let list = (*list?).to_owned();
    match (check, set, seconds, reap) {
        (true, false, Some(seconds), true) => Some(Recent::Check { list, seconds }),
        (false, true, None, false) => Some(Recent::Set { list }),
        _ => None,
    }
}

fn read_target(name: String, group: &[String]) -> Target {
    let all: Vec<&str> = group.iter().map(String::as_str).collect();
    let known = match (name.as_str(), &*all) {
        ("MARK", [option, mark]) => read_mark(mark).and_then(|(value, mask)| match *option {
            "--set-xmark" => Some(Target::Mark { value, mask }),
            "--or-mark" => Some(Target::Mark { value, mask: value }),
            "--xor-mark" => Some(Target::Mark { value, mask: 0 }),
            "--and-mark" => Some(Target::Mark { value: 0, mask: !value }),
            _ => None,
        }),
        ("MASQUERADE", []) => Some(Target::Masquerade { random_fully: false }),
        ("MASQUERADE", ["--random-fully"]) => Some(Target::Masquerade { random_fully: true }),
        ("DNAT", ["--to-destination", to]) => to.parse().ok().map(Target::Dnat),
        ("REJECT", [] | ["--reject-with", "icmp-port-unreachable" | "icmp6-port-unreachable"]) => {
            Some(Target::Reject)
        }
        ("REJECT", ["--reject-with", "tcp-reset"]) => Some(Target::Reset),
        (_, []) => return Target::Jump(name),
        _ => None,
    };
    known.unwrap_or_else(|| Target::Other(format!("{name} {}", all.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kube-proxy writes, and what two kinds of iptables 1.8.9 save of it.
    const ALIKE: [(&str, &str); 9] = [
        (
            r#"-m comment --comment "ns1/svc1:p80 cluster IP" -m tcp -p tcp -d 172.30.0.41 --dport 80 -j KUBE-SVC-A"#,
            r#"-d 172.30.0.41/32 -p tcp -m comment --comment "ns1/svc1:p80 cluster IP" -m tcp --dport 80 -j KUBE-SVC-A"#,
        ),
        (
            r#"-m comment --comment a -m statistic --mode random --probability 0.3333333333 -j KUBE-SEP-A"#,
            r#"-m comment --comment "a" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-A"#,
        ),
        (
            "-m recent --name KUBE-SEP-A --rcheck --seconds 10800 --reap -j KUBE-SEP-A",
            "-m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-A --mask 255.255.255.255 --rsource -j KUBE-SEP-A",
        ),
        (
            "-m recent --name KUBE-SEP-A --set -m tcp -p tcp -j DNAT --to-destination [fd00::3]:80",
            "-p tcp -m recent --set --name KUBE-SEP-A --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource -m tcp -j DNAT --to-destination [fd00::3]:80",
        ),
        ("-j MARK --or-mark 0x4000", "-j MARK --set-xmark 0x4000/0x4000"),
        ("-j MARK --xor-mark 0x4000", "-j MARK --set-xmark 0x4000/0x0"),
        ("-j MARK --and-mark 0xffffbfff", "-j MARK --set-xmark 0x0/0x4000"),
        (
            r#"-m comment --comment "block" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"#,
            r#"! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment block -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"#,
        ),
        ("-j REJECT", "-j REJECT --reject-with icmp-port-unreachable"),
    ];

    #[test]
    fn what_is_written_is_what_is_saved() {
        for (written, saved) in ALIKE {
            let (written, saved) = (Rule::read(written), Rule::read(saved));
            assert!(written.is_like(&saved), "{written:?}\n{saved:?}");
            assert!(Rule::read(&saved.to_string()).is_like(&saved), "{saved}");
            assert!(!saved.to_string().contains("Other"), "{saved}");
            assert!(!saved.matches.iter().any(|item| matches!(item, Match::Other(_))), "{saved:?}");
        }
    }

    #[test]
    fn other_rules_are_not_alike() {
        let odd = [
            "-j MARK --set-xmark 0x4000/0xffff",
            "-m recent --set --name KUBE-SEP-A --mask 255.255.0.0 --rsource",
            "-m statistic --mode random --probability 0.4 -j A",
            "-m tcp -p tcp --dport 80:90 -j A",
            "-i eth0 -j A",
            "! -d 10.0.0.0/8 -j A",
            "-j REJECT --reject-with tcp-reset",
            "",
        ];
        let rules = odd.map(Rule::read);
        for (index, rule) in rules.iter().enumerate() {
            for other in &rules[..index] {
                assert!(!rule.is_like(other), "{rule:?} {other:?}");
            }
            assert!(ALIKE.iter().all(|(plain, _)| !rule.is_like(&Rule::read(plain))), "{rule:?}");
        }
    }

    #[test]
    fn words_are_held_together_by_quotes() {
        assert_eq!(words(r#"-m comment --comment "a \"b\" \\ c" -j X"#)[3], r#"a "b" \ c"#);
        assert_eq!(words(r#"a "" b"#), ["a", "", "b"]);
    }
}
