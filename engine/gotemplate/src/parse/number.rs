//! Numbers in templates: kept as every type that can hold them, as Go's untyped constants.

use crate::format::{Unit, quote, unquote_char};

/// A number and what it can stand for.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Number {
    pub(crate) text: String,
    pub(crate) int: Option<i64>,
    pub(crate) uint: Option<u64>,
    pub(crate) float: Option<f64>,
    pub(crate) complex: Option<(f64, f64)>,
}

impl Number {
    /// A character in single quotes.
    pub(crate) fn character(literal: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(literal).into_owned();
        let (unit, tail) = literal
            .get(1..)
            .and_then(|t| unquote_char(t, b'\''))
            .ok_or("invalid syntax")?;
        if tail != b"'" {
            return Err(format!("malformed character constant: {text}"));
        }
        let code = match unit {
            Unit::Byte(b) => u32::from(b),
            Unit::Rune(c) => u32::from(c),
        };
        Ok(Self {
            text,
            int: Some(i64::from(code)),
            uint: Some(u64::from(code)),
            float: Some(f64::from(code)),
            complex: None,
        })
    }

    /// `1+2i`.
    pub(crate) fn complex(literal: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(literal).into_owned();
        let parts = text.strip_suffix('i').and_then(|body| {
            // The sign of the imaginary part is the last one that does not belong to an exponent.
            let hex = body.contains(['x', 'X']);
            let split = body.char_indices().rev().find(|(at, c)| {
                let before = body[..*at].chars().next_back();
                matches!(c, '+' | '-')
                    && *at > 0
                    && !(matches!(before, Some('p' | 'P')) || (!hex && matches!(before, Some('e' | 'E'))))
            })?;
            Some((parse_float(&body[..split.0])?, parse_float(&body[split.0..])?))
        });
        let Some((re, im)) = parts else {
            return Err("syntax error scanning complex number".to_owned());
        };
        Ok(Self::from_complex(text, re, im))
    }

    fn from_complex(text: String, re: f64, im: f64) -> Self {
        let mut number = Self {
            text,
            complex: Some((re, im)),
            ..Self::default()
        };
        if im == 0.0 {
            number.float = Some(re);
            number.int = whole_int(re);
            number.uint = whole_uint(re);
        }
        number
    }

    /// Any other number.
    pub(crate) fn real(literal: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(literal).into_owned();
        if let Some(f) = text.strip_suffix('i').and_then(parse_float) {
            return Ok(Self::from_complex(text, 0.0, f));
        }
        let mut number = Self {
            uint: parse_uint(&text),
            int: parse_int(&text),
            ..Self::default()
        };
        if number.int == Some(0) {
            // In case of -0.
            number.uint = Some(0);
        }
        #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
        if let Some(int) = number.int {
            number.float = Some(int as f64);
        } else if let Some(uint) = number.uint {
            number.float = Some(uint as f64);
        } else if let Some(f) = parse_float(&text) {
            if !text.contains(['.', 'e', 'E', 'p', 'P']) {
                return Err(format!("integer overflow: {}", quote(literal)));
            }
            number.float = Some(f);
            number.int = whole_int(f);
            number.uint = whole_uint(f);
        } else {
            return Err(format!("illegal number syntax: {}", quote(literal)));
        }
        number.text = text;
        Ok(number)
    }

    /// Whether it was written as a character.
    pub(crate) fn is_character(&self) -> bool {
        self.text.starts_with('\'')
    }

    /// Whether it was written as a hexadecimal integer.
    pub(crate) fn is_hex_int(&self) -> bool {
        let b = self.text.as_bytes();
        b.len() > 2 && b[0] == b'0' && matches!(b[1], b'x' | b'X') && !self.text.contains(['p', 'P'])
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "checked by the way back"
)]
fn whole_int(f: f64) -> Option<i64> {
    let int = f as i64;
    (int as f64 == f && int != i64::MAX).then_some(int)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "checked by the way back"
)]
fn whole_uint(f: f64) -> Option<u64> {
    let uint = f as u64;
    (uint as f64 == f && uint != u64::MAX).then_some(uint)
}

/// The base by the prefix, and the digits.
fn base(text: &str) -> (u32, &str) {
    match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    }
}

/// `strconv.ParseUint(text, 0, 64)`.
fn parse_uint(text: &str) -> Option<u64> {
    let (base, digits) = base(text);
    if !underscores_ok(text) {
        return None;
    }
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) {
        return None;
    }
    u64::from_str_radix(&digits, base).ok()
}

/// `strconv.ParseInt(text, 0, 64)`.
fn parse_int(text: &str) -> Option<i64> {
    let (negative, magnitude) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let magnitude = parse_uint(magnitude)?;
    if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    }
}

/// `strconv.ParseFloat(text, 64)`; out of range is no number.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let (sign, body) = match text.as_bytes() {
        [b'-', ..] => (-1.0, &text[1..]),
        [b'+', ..] => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if body.starts_with("0x") || body.starts_with("0X") {
        if !underscores_ok(body) {
            return None;
        }
        return Some(sign * parse_hex_float(&body[2..].replace('_', ""))?);
    }
    if !body.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !underscores_ok(body) {
        return None;
    }
    let f: f64 = body.replace('_', "").parse().ok()?;
    f.is_finite().then_some(sign * f)
}

fn parse_hex_float(text: &str) -> Option<f64> {
    let (mantissa, exp) = text.split_once(['p', 'P'])?;
    let mut exp = exp.parse::<i64>().ok()?.clamp(-1_000_000_000, 1_000_000_000);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut bits: u128 = 0;
    let mut sticky = false;
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = c.to_digit(16)?;
        if bits >> 120 == 0 {
            bits = bits << 4 | u128::from(digit);
            exp -= if i >= whole.len() { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exp += if i >= whole.len() { 0 } else { 4 };
        }
    }
    if bits == 0 {
        return Some(0.0);
    }
    // Bring it to 64 significant bits, the lowest of which says whether something was cut off.
    let excess = 128 - i64::from(bits.leading_zeros()) - 64;
    if excess > 0 {
        sticky |= bits & ((1 << excess) - 1) != 0;
        bits >>= excess;
        exp += excess;
    }
    let mut bits = u64::try_from(bits).ok()? | u64::from(sticky);
    // A number too small for the full width loses bits before it is rounded.
    let lowest = -1074 - 2;
    if exp < lowest {
        let shift = (lowest - exp).min(63);
        let lost = bits & ((1 << shift) - 1) != 0;
        bits = bits >> shift | u64::from(lost);
        exp += lowest - exp;
    }
    #[expect(clippy::cast_precision_loss, reason = "rounds to even, once")]
    let mut f = bits as f64;
    while exp > 0 && f.is_finite() {
        f *= 2.0;
        exp -= 1;
    }
    while exp < 0 && f != 0.0 {
        f /= 2.0;
        exp += 1;
    }
    f.is_finite().then_some(f)
}

/// Underscores stand only between digits, or between a prefix and a digit.
fn underscores_ok(text: &str) -> bool {
    if !text.contains('_') {
        return true;
    }
    let text = text.trim_start_matches(['+', '-']);
    let b = text.as_bytes();
    let prefixed = b.len() >= 2 && b[0] == b'0' && matches!(b[1].to_ascii_lowercase(), b'b' | b'o' | b'x');
    let hex = prefixed && b[1].eq_ignore_ascii_case(&b'x');
    let mut saw = if prefixed { b'0' } else { b'^' };
    // Without a prefix that says the base, an underscore is allowed when the base is left open, as it is here.
    for c in &b[if prefixed { 2 } else { 0 }..] {
        saw = match c {
            b'0'..=b'9' => b'0',
            c if hex && c.is_ascii_hexdigit() => b'0',
            b'_' if saw != b'0' => return false,
            b'_' => b'_',
            _ if saw == b'_' => return false,
            _ => b'!',
        };
    }
    saw != b'_'
}
