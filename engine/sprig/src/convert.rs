//! Conversions of `github.com/spf13/cast` 1.7.0 and equality of `reflect.DeepEqual`.

use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, LimitExceeded, Shape, Value};

/// How deep two values are compared.
const MAX_DEPTH: usize = 200;

/// `cast.ToInt64`: what cannot be converted is 0.
pub(crate) fn to_int64(value: &Value) -> i64 {
    match value {
        Value::Int(_, bits) => bits.cast_signed(),
        Value::Float(f) => truncate(*f),
        Value::Bool(b) => i64::from(*b),
        Value::Str(text) => parse_int(without_zero_decimals(&text.to_text()), 0).unwrap_or(0),
        Value::Object(object) if matches!(object.type_name(), "time.Month" | "time.Weekday") => {
            value.as_signed().unwrap_or_default()
        }
        _ => 0,
    }
}

/// `cast.ToFloat64`: what cannot be converted is 0.
#[expect(clippy::cast_precision_loss, reason = "the conversion is Go's")]
pub(crate) fn to_float64(value: &Value) -> f64 {
    match value {
        Value::Int(kind, bits) if kind.is_signed() => bits.cast_signed() as f64,
        Value::Int(_, bits) => *bits as f64,
        Value::Float(f) => *f,
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::Str(text) => parse_float(&text.to_text()).unwrap_or(0.0),
        _ => 0.0,
    }
}

/// Go's conversion of a `float64` to an `int64` on amd64: what does not fit is the least integer.
pub(crate) fn truncate(f: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "within the range it cuts off the fraction only"
    )]
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f) {
        f as i64
    } else {
        i64::MIN
    }
}

/// `strconv.ParseFloat`; a number too large for a float is an error.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    if text.contains('_') {
        let bytes = text.as_bytes();
        let between = |at: usize| {
            at > 0 && bytes[at - 1].is_ascii_alphanumeric() && bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric)
        };
        let proper = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || between(at));
        return if proper {
            parse_float(&text.replace('_', ""))
        } else {
            None
        };
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(hex) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0X")) {
        return parse_hex_float(hex).map(|f| if text.starts_with('-') { -f } else { f });
    }
    let f: f64 = text.parse().ok()?;
    (f.is_finite() || !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')).then_some(f)
}

/// `1.8p3`: the exponent is required, as in Go.
fn parse_hex_float(text: &str) -> Option<f64> {
    let (digits, exponent) = text.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.len() + fraction.len() == 0 || whole.len() + fraction.len() > 13 {
        return None;
    }
    let mantissa = whole
        .chars()
        .chain(fraction.chars())
        .try_fold(0u64, |sum, c| Some(sum << 4 | u64::from(c.to_digit(16)?)))?;
    let shift = exponent.checked_sub(4 * i32::try_from(fraction.len()).ok()?)?;
    #[expect(clippy::cast_precision_loss, reason = "at most 52 bits")]
    let f = mantissa as f64 * 2f64.powi(shift);
    f.is_finite().then_some(f)
}

/// Why a text is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntError {
    Syntax,
    /// Too large in this direction; the value is the nearest there is.
    Range(i64),
}

/// `strconv.ParseInt` with 64 bits. Base 0 goes by the prefix and allows `_` between digits.
pub(crate) fn parse_int(text: &str, base: u32) -> Result<i64, IntError> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let prefix = unsigned.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match (base, prefix.as_deref()) {
        (0, Some("0x")) => (16, &unsigned[2..]),
        (0, Some("0b")) => (2, &unsigned[2..]),
        (0, Some("0o")) => (8, &unsigned[2..]),
        (0, _) if unsigned.len() > 1 && unsigned.starts_with('0') => (8, &unsigned[1..]),
        (0, _) => (10, unsigned),
        (base, _) => (base, unsigned),
    };
    if digits.is_empty() {
        return Err(IntError::Syntax);
    }
    if base == 0 && digits.contains('_') {
        let prefixed = digits.len() != unsigned.len();
        let lonely = digits.contains("__") || digits.ends_with('_') || digits.starts_with('_') && !prefixed;
        if lonely {
            return Err(IntError::Syntax);
        }
    }
    let mut sum: i128 = 0;
    for c in digits.chars().filter(|c| base != 0 || *c != '_') {
        let digit = c.to_digit(radix).ok_or(IntError::Syntax)?;
        sum = (sum * i128::from(radix) + i128::from(digit)).min(1 << 100);
    }
    let sum = if negative { -sum } else { sum };
    i64::try_from(sum).map_err(|_| IntError::Range(if negative { i64::MIN } else { i64::MAX }))
}

/// `12.00` is `12` to the reference.
fn without_zero_decimals(text: &str) -> &str {
    let zeros = text.trim_end_matches('0');
    if zeros.len() < text.len()
        && let Some(whole) = zeros.strip_suffix('.')
    {
        return whole;
    }
    text
}

/// Sprig's `empty`: zero, false, without elements, nil. A struct is never empty.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Func(_) => false,
        _ => !value.truth(),
    }
}

/// `reflect.DeepEqual`: types count, a nil list is no empty one, NaN equals nothing.
pub(crate) fn deep_equal(caller: &mut Caller<'_>, left: &Value, right: &Value) -> Result<bool, FunctionError> {
    equal(caller, left, right, 0)
}

fn equal(caller: &mut Caller<'_>, left: &Value, right: &Value, depth: usize) -> Result<bool, FunctionError> {
    if depth > MAX_DEPTH {
        return Err(LimitExceeded::Nesting(MAX_DEPTH).into());
    }
    caller.charge(1)?;
    Ok(match (left, right) {
        (Value::Nil, Value::Nil) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::Int(kind, left), Value::Int(other, right)) => kind == other && left == right,
        (Value::Float(left), Value::Float(right)) => left == right,
        (Value::Complex(a, b), Value::Complex(c, d)) => a == c && b == d,
        (Value::Str(left), Value::Str(right)) => left == right,
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::List(left), Value::List(right)) => {
            if left.go_type() != right.go_type() || left.is_nil() != right.is_nil() || left.len() != right.len() {
                return Ok(false);
            }
            if Rc::ptr_eq(left, right) {
                return Ok(true);
            }
            for (left, right) in left.items().iter().zip(right.items()) {
                if !equal(caller, left, right, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Map(left), Value::Map(right)) => {
            if left.go_type() != right.go_type() || left.is_nil() != right.is_nil() || left.len() != right.len() {
                return Ok(false);
            }
            if Rc::ptr_eq(left, right) {
                return Ok(true);
            }
            for (key, left) in left.entries() {
                let Some(right) = right.get(&key) else { return Ok(false) };
                if !equal(caller, &left, &right, depth + 1)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(left), Value::Object(right)) => {
            if left.type_name() != right.type_name() {
                return Ok(false);
            }
            if Rc::ptr_eq(left, right) {
                return Ok(true);
            }
            match (left.equals(&**right), left.shape(), right.shape()) {
                (Some(equal), ..) => equal,
                (None, Shape::Struct(left), Shape::Struct(right)) => {
                    for ((_, left), (_, right)) in left.iter().zip(&right) {
                        if !equal(caller, left, right, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    left.len() == right.len()
                }
                (None, Shape::Map(left), Shape::Map(right)) => {
                    for ((left_key, left), (right_key, right)) in left.iter().zip(&right) {
                        if left_key != right_key || !equal(caller, left, right, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    left.len() == right.len()
                }
                (None, Shape::List(left), Shape::List(right)) => {
                    for (left, right) in left.iter().zip(&right) {
                        if !equal(caller, left, right, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    left.len() == right.len()
                }
                (None, Shape::Basic(left), Shape::Basic(right)) => equal(caller, &left, &right, depth + 1)?,
                _ => false,
            }
        }
        _ => false,
    })
}
