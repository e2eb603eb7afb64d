//! `b64enc`, `b64dec`, `b32enc`, `b32dec`. A text that cannot be decoded gives the error's text, as in Sprig.

use nave_gotemplate::{Caller, Str, Value};

use crate::table::{Result, STRING, Table, str_at};

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(crate) fn register(table: &mut Table<'_>) {
    let mut add = |name: &str, f: fn(&[u8]) -> Vec<u8>| {
        table.add(
            name,
            &[STRING],
            move |caller: &mut Caller<'_>, args: &[Value]| -> Result {
                let text: Str = str_at(args, 0);
                caller.charge((text.len() / 16) as u64)?;
                caller.charge_bytes(text.len().saturating_mul(2))?;
                Ok(Value::string(f(text.as_bytes())))
            },
        );
    };
    add("b64enc", |bytes| encode(bytes, BASE64, 6));
    add("b32enc", |bytes| encode(bytes, BASE32, 5));
    add("b64dec", |bytes| {
        decode_base64(bytes).unwrap_or_else(String::into_bytes)
    });
    add("b32dec", |bytes| {
        decode_base32(bytes).unwrap_or_else(String::into_bytes)
    });
}

/// Base 64 with padding.
pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    encode(bytes, BASE64, 6).into_iter().map(char::from).collect()
}

fn encode(bytes: &[u8], alphabet: &[u8], bits: u32) -> Vec<u8> {
    let (group, digits) = if bits == 6 { (3, 4) } else { (5, 8) };
    let mut out = Vec::with_capacity(bytes.len().div_ceil(group) * digits);
    for chunk in bytes.chunks(group) {
        let mut sum: u64 = 0;
        for index in 0..group {
            sum = sum << 8 | u64::from(chunk.get(index).copied().unwrap_or_default());
        }
        let used = (chunk.len() * 8).div_ceil(bits as usize);
        for index in 0..digits {
            let digit = sum >> (bits as usize * (digits - 1 - index)) & ((1 << bits) - 1);
            let digit = usize::try_from(digit).expect("a digit has at most six bits");
            out.push(if index < used { alphabet[digit] } else { b'=' });
        }
    }
    out
}

/// Standard base 64 with padding; line breaks are skipped. The error is Go's.
pub(crate) fn decode_base64(text: &[u8]) -> std::result::Result<Vec<u8>, String> {
    decode(text, BASE64, 6)
}

fn decode_base32(text: &[u8]) -> std::result::Result<Vec<u8>, String> {
    decode(text, BASE32, 5)
}

fn decode(text: &[u8], alphabet: &[u8], bits: usize) -> std::result::Result<Vec<u8>, String> {
    let (group, base) = if bits == 6 { (4, 64) } else { (8, 32) };
    let corrupt = |at: usize| format!("illegal base{base} data at input byte {at}");
    // Go strips line breaks from base 32 first, and counts from there.
    let kept: Vec<(usize, u8)> = text
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .enumerate()
        .map(|(place, (original, byte))| (if bits == 6 { original } else { place }, byte))
        .collect();
    let mut out = Vec::with_capacity(kept.len() * bits / 8);
    let mut at = 0;
    while at < kept.len() {
        let mut sum: u64 = 0;
        let mut digits = 0;
        while digits < group {
            let Some((place, byte)) = kept.get(at).copied() else {
                // Go reports the start of the unfinished group.
                let end = if bits == 6 { text.len() } else { kept.len() };
                return Err(corrupt(end - digits));
            };
            if byte == b'=' {
                break;
            }
            let Some(digit) = alphabet.iter().position(|letter| *letter == byte) else {
                return Err(corrupt(place));
            };
            sum = sum << bits | digit as u64;
            digits += 1;
            at += 1;
        }
        if digits < group {
            let padding = kept[at..].iter().take_while(|(_, byte)| *byte == b'=').count();
            let allowed = if bits == 6 {
                matches!(digits, 2 | 3)
            } else {
                matches!(digits, 2 | 4 | 5 | 7)
            };
            if !allowed {
                return Err(corrupt(kept[at].0));
            }
            if padding < group - digits {
                let end = if bits == 6 { text.len() } else { kept.len() };
                let after = match kept.get(at + padding) {
                    // In base 64 Go reports the place before the one that should have been padding.
                    Some((place, _)) if bits == 6 => place - 1,
                    Some((place, _)) => *place,
                    None => end,
                };
                return Err(corrupt(after));
            }
            let end = at + group - digits;
            if let Some((place, _)) = kept.get(end) {
                return Err(corrupt(*place));
            }
            at = end;
        }
        let whole = digits * bits / 8;
        sum <<= bits * (group - digits);
        let bytes = sum.to_be_bytes();
        let first = 8 - group * bits / 8;
        out.extend_from_slice(&bytes[first..first + whole]);
    }
    Ok(out)
}
