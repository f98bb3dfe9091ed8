//! Changes of whole answers in their own place, without allocation.

use super::wire::{HEADER, TYPE_OPT, skip_name, u16_at};

/// Leaves out the authority and additional sections of an answer that has answer records, but for
/// its OPT record (`minimal`).
pub(crate) fn keep_answers(start: usize, out: &mut Vec<u8>) {
    let message = &mut out[start..];
    if u16_at(message, 6).unwrap_or(0) == 0 || message[3] & 0x0f != 0 {
        return;
    }
    let Some((end, opt)) = places(message) else { return };
    let kept = opt.map_or(end, |opt| {
        let length = message.len() - opt;
        message.copy_within(opt.., end);
        end + length
    });
    message[8..12].copy_from_slice(&[0, 0, 0, u8::from(opt.is_some())]);
    out.truncate(start + kept);
}

/// Where the answers end, and where the OPT record begins, which is the last of all.
fn places(message: &[u8]) -> Option<(usize, Option<usize>)> {
    let mut at = question_end(message)?;
    let answers = usize::from(u16_at(message, 6)?);
    let others = usize::from(u16_at(message, 8)?) + usize::from(u16_at(message, 10)?);
    let (mut end, mut opt) = (at, None);
    for index in 0..answers + others {
        let begun = at;
        at = skip_name(message, at)?;
        if u16_at(message, at)? == TYPE_OPT {
            opt = Some(begun);
        }
        at += 10 + usize::from(u16_at(message, at + 8)?);
        if index + 1 == answers {
            end = at;
        }
    }
    (at <= message.len()).then_some((end, opt))
}

fn question_end(message: &[u8]) -> Option<usize> {
    match u16_at(message, 4)? {
        0 => Some(HEADER),
        1 => Some(skip_name(message, HEADER)? + 4),
        _ => None,
    }
}

/// Turns each set of addresses in the answer section, so that another comes first
/// (`loadbalance`). Sets are runs of A or AAAA records whose owners are spelt alike.
pub(crate) fn rotate(message: &mut [u8], turn: usize) {
    let Some(mut at) = question_end(message) else { return };
    let answers = u16_at(message, 6).unwrap_or(0);
    let (mut begun, mut open, mut count) = (at, None, 0);
    for index in 0..=answers {
        let this = if index == answers { None } else { address(message, at) };
        let same = this.is_some_and(|this| {
            // Owner, type and class.
            let head = this.owner + 4;
            open == Some(this) && message[at..at + head] == message[begun..begun + head]
        });
        if same {
            count += 1;
        } else {
            if let Some(AddressRecord { size, .. }) = open
                && count > 1
            {
                message[begun..begun + size * count].rotate_left(turn % count * size);
            }
            (begun, open, count) = (at, this, 1);
        }
        // Behind the last answer nothing is left to be turned.
        let end = skip_name(message, at).filter(|_| index < answers);
        let Some(end) = end else { return };
        at = end + 10 + usize::from(u16_at(message, end + 8).unwrap_or(0));
    }
}

/// The octets of an address record, and of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AddressRecord {
    size: usize,
    owner: usize,
}

/// The address record that lies whole at `at`.
fn address(message: &[u8], at: usize) -> Option<AddressRecord> {
    let end = skip_name(message, at)?;
    let length = match (u16_at(message, end)?, u16_at(message, end + 8)?) {
        (1, 4) => 4,
        (28, 16) => 16,
        _ => return None,
    };
    message.get(end..end + 10 + length)?;
    Some(AddressRecord { size: end - at + 10 + length, owner: end - at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x01\x01";
    const CNAME: &[u8] = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x02\xc0\x0c";
    const OPT: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

    fn message(records: &[&[u8]], counts: [u8; 3]) -> Vec<u8> {
        let mut message = vec![0, 1, 0x81, 0x80, 0, 1, 0, counts[0], 0, counts[1], 0, counts[2]];
        message.extend_from_slice(b"\x01a\x00\x00\x01\x00\x01");
        records.iter().for_each(|record| message.extend_from_slice(record));
        message
    }

    fn address(last: u8) -> Vec<u8> {
        [A, &[last]].concat()
    }

    #[test]
    fn sets_of_addresses_turn() {
        let sets = |turn| {
            let all = [CNAME, &address(1), &address(2), &address(3)];
            let mut message = message(&all, [4, 0, 0]);
            rotate(&mut message, turn);
            let first = 19 + CNAME.len() + 15;
            [message[first], message[first + 16], message[first + 32]]
        };
        assert_eq!(sets(0), [1, 2, 3]);
        assert_eq!(sets(1), [2, 3, 1]);
        assert_eq!(sets(5), [3, 1, 2]);
        let mut with_opt = message(&[&address(1), &address(2), OPT], [2, 0, 1]);
        rotate(&mut with_opt, 1);
        assert_eq!(with_opt, message(&[&address(2), &address(1), OPT], [2, 0, 1]));
    }

    #[test]
    fn only_answers_and_the_opt_record_are_kept() {
        let mut out = b"xx".to_vec();
        let (a, b) = (address(1), address(2));
        out.extend(message(&[&a, CNAME, &b, OPT], [1, 1, 2]));
        keep_answers(2, &mut out);
        assert_eq!(out[2..], message(&[&a, OPT], [1, 0, 1]));
        let denial = message(&[CNAME], [0, 1, 0]);
        let mut out = denial.clone();
        keep_answers(0, &mut out);
        assert_eq!(out, denial, "a denial needs its SOA record");
    }

    proptest::proptest! {
        #[test]
        fn no_message_panics(tail: Vec<u8>, counts: [u8; 3], turn: usize) {
            let mut message = message(&[&tail], counts);
            rotate(&mut message, turn % 1000);
            keep_answers(0, &mut message);
        }
    }
}
