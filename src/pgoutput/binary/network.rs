//! uuid and network addresses.

use super::Error;
use super::number::{push_hex, write_integer};
use super::take::Take;

pub(super) fn write_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        push_hex(byte, out);
    }
}

pub(super) fn write_mac(bytes: &[u8], out: &mut Vec<u8>) {
    for (index, byte) in bytes.iter().enumerate() {
        if index > 0 {
            out.push(b':');
        }
        push_hex(*byte, out);
    }
}

/// Wire: `Int8(2: IPv4, 3: IPv6) Int8(bits) Int8(1: cidr) Int8(bytes) Byten`.
pub(super) fn write_inet(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let [family, bits, is_cidr, length] = take.array()?;
    let bits_max = match (family, length) {
        (2, 4) => {
            write_ipv4(take.array()?, out);
            32
        }
        (3, 16) => {
            write_ipv6(take.array()?, out);
            128
        }
        _ => return Err(Error::Malformed),
    };
    if bits != bits_max || is_cidr == 1 {
        out.push(b'/');
        write_integer(bits, out);
    }
    Ok(())
}

fn write_ipv4(bytes: [u8; 4], out: &mut Vec<u8>) {
    for (index, byte) in bytes.into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        write_integer(byte, out);
    }
}

/// The longest run of two zero words or more becomes `::`, the first of equal ones; what embeds an
/// IPv4 address ends as one.
fn write_ipv6(bytes: [u8; 16], out: &mut Vec<u8>) {
    let mut words = [0_u16; 8];
    for (word, pair) in words.iter_mut().zip(bytes.chunks_exact(2)) {
        *word = pair.iter().fold(0, |word, byte| word << 8 | u16::from(*byte));
    }
    let (start, length) = zeros(&words);
    let has_run = length >= 2;
    let sixth = words.get(5).copied().unwrap_or_default();
    let embeds = has_run && start == 0 && (length == 6 || (length == 5 && sixth == 0xFFFF));
    for (index, word) in words.into_iter().enumerate() {
        if has_run && (start..start + length).contains(&index) {
            if index == start {
                out.push(b':');
            }
            continue;
        }
        if index > 0 {
            out.push(b':');
        }
        if embeds && index >= 6 {
            break;
        }
        out.extend_from_slice(format!("{word:x}").as_bytes());
    }
    if embeds {
        let [.., a, b, c, d] = bytes;
        write_ipv4([a, b, c, d], out);
    } else if has_run && start + length == 8 {
        out.push(b':');
    }
}

/// Returns where the longest run of zero words is, and how long.
fn zeros(words: &[u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), (0, 0));
    for (index, word) in words.iter().enumerate() {
        if *word != 0 {
            run = (index + 1, 0);
            continue;
        }
        run.1 += 1;
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}
