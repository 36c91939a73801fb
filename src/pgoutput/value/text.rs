//! Strings, and bytea as base64.

/// What a byte costs in a JSON string: 0 nothing, `u` six bytes, else a backslash and that letter.
#[expect(clippy::indexing_slicing, reason = "checked at compile time")]
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = b'u';
        control += 1;
    }
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0A] = b'n';
    table[0x0C] = b'f';
    table[0x0D] = b'r';
    table[0x22] = b'"';
    table[0x5C] = b'\\';
    table
};

/// Appends a text as a JSON string, whatever its type: what `as = "string"` gives.
#[inline]
pub fn write_text_json(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_inner(text, out);
    out.push(b'"');
}

/// Appends a text as the inside of a JSON string.
pub(super) fn write_inner(text: &[u8], out: &mut Vec<u8>) {
    let plain = plain_prefix(text);
    let (head, rest) = text.split_at_checked(plain).unwrap_or((text, &[]));
    out.extend_from_slice(head);
    if rest.is_empty() {
        return;
    }
    if std::str::from_utf8(rest).is_ok() {
        write_escaped(rest, out);
    } else {
        for piece in rest.utf8_chunks() {
            write_escaped(piece.valid().as_bytes(), out);
            if !piece.invalid().is_empty() {
                out.extend_from_slice("\u{FFFD}".as_bytes());
            }
        }
    }
}

/// Appends valid UTF-8, copying runs between the bytes that need an escape.
fn write_escaped(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|byte| escape(*byte) != 0) {
        let Some((run, [byte, rest @ ..])) = text.split_at_checked(at) else { break };
        out.extend_from_slice(run);
        match escape(*byte) {
            b'u' => {
                out.extend_from_slice(b"\\u00");
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 0xF));
            }
            letter => out.extend_from_slice(&[b'\\', letter]),
        }
        text = rest;
    }
    out.extend_from_slice(text);
}

#[inline]
fn escape(byte: u8) -> u8 {
    ESCAPES.get(usize::from(byte)).copied().unwrap_or_default()
}

const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// Returns how many bytes at the front are ASCII and need no escape; it may stop up to eight
/// bytes early. Eight bytes at a time: a control character, a quote, a backslash or a high bit
/// anywhere among them sets the top bit of its byte.
#[inline]
fn plain_prefix(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    const fn zero_byte(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let (words, tail) = text.as_chunks::<8>();
    let mut plain = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = zero_byte(word ^ (ONES * 0x22));
        let backslash = zero_byte(word ^ (ONES * 0x5C));
        let control = word.wrapping_sub(ONES * 0x20);
        if (quote | backslash | control | word) & HIGH != 0 {
            return plain;
        }
        plain += 8;
    }
    for byte in tail {
        if *byte >= 0x80 || escape(*byte) != 0 {
            return plain;
        }
        plain += 1;
    }
    plain
}

/// Appends bytea in hex form (`\x00ff`) as a string of base64. Returns false when it is not.
pub(super) fn write_bytea(text: &[u8], out: &mut Vec<u8>) -> bool {
    let Some(hex) = text.strip_prefix(b"\\x") else { return false };
    let (pairs, []) = hex.as_chunks::<2>() else { return false };
    out.reserve(pairs.len() / 3 * 4 + 6);
    out.push(b'"');
    let (groups, tail) = pairs.as_chunks::<3>();
    for group in groups {
        let [Some(a), Some(b), Some(c)] = group.map(byte) else { return false };
        out.extend_from_slice(&sextets([a, b, c]));
    }
    match tail.first().zip(tail.get(1)) {
        Some((first, second)) => {
            let (Some(a), Some(b)) = (byte(*first), byte(*second)) else { return false };
            let [s0, s1, s2, _] = sextets([a, b, 0]);
            out.extend_from_slice(&[s0, s1, s2, b'=']);
        }
        None => {
            if let Some(first) = tail.first() {
                let Some(a) = byte(*first) else { return false };
                let [s0, s1, ..] = sextets([a, 0, 0]);
                out.extend_from_slice(&[s0, s1, b'=', b'=']);
            }
        }
    }
    out.push(b'"');
    true
}

/// The value of a hex digit; 0xFF for every other byte.
const HEX: [u8; 256] = {
    let mut table = [0xFF; 256];
    let mut digit = 0;
    #[expect(clippy::indexing_slicing, reason = "checked at compile time")]
    while digit < 10 {
        table[(b'0' + digit) as usize] = digit;
        if digit < 6 {
            table[(b'a' + digit) as usize] = 10 + digit;
            table[(b'A' + digit) as usize] = 10 + digit;
        }
        digit += 1;
    }
    table
};

#[inline]
fn byte([high, low]: [u8; 2]) -> Option<u8> {
    let nibble = |digit: u8| HEX.get(usize::from(digit)).copied().unwrap_or(0xFF);
    let (high, low) = (nibble(high), nibble(low));
    ((high | low) & 0xF0 == 0).then_some((high << 4) | low)
}

#[inline]
fn sextets([a, b, c]: [u8; 3]) -> [u8; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let letter = |sextet: u8| ALPHABET.get(usize::from(sextet & 0x3F)).copied().unwrap_or(b'A');
    [letter(a >> 2), letter((a << 4) | (b >> 4)), letter((b << 2) | (c >> 6)), letter(c)]
}
