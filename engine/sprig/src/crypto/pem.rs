//! PEM blocks, as Go's `encoding/pem` writes and finds them.

use crate::encoding::{decode_base64, encode_base64};

pub(super) struct Block {
    pub(super) label: String,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn encode(label: &str, bytes: &[u8]) -> String {
    let mut out = format!("-----BEGIN {label}-----\n");
    let text = encode_base64(bytes);
    for line in text.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The first whole block of a text; what stands around it does not matter.
pub(super) fn decode(text: &str) -> Option<Block> {
    let mut lines = text.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let label = line
            .strip_prefix("-----BEGIN ")
            .and_then(|line| line.strip_suffix("-----"));
        let Some(label) = label else { continue };
        let end = format!("-----END {label}-----");
        let mut body = String::new();
        let mut ahead = lines.clone();
        let mut closed = false;
        for line in ahead.by_ref() {
            if line == end {
                closed = true;
                break;
            }
            // Headers stand before the first empty line.
            if !line.contains(':') {
                body.extend(line.chars().filter(|c| !c.is_whitespace()));
            }
        }
        if closed && let Ok(bytes) = decode_base64(body.as_bytes()) {
            return Some(Block {
                label: label.to_owned(),
                bytes,
            });
        }
    }
    None
}
