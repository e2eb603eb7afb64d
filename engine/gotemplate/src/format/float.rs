//! Floating-point numbers as Go's strconv writes them.

/// No number has more digits than this after its point; more are zeros.
const MAX_DIGITS: usize = 1100;

/// `strconv.FormatFloat(f, verb, prec, 64)` for the verbs `e E f g G b x X`; `prec` `None` is the shortest text that
/// reads back as the same number.
pub(crate) fn format(f: f64, verb: char, prec: Option<usize>) -> String {
    if f.is_nan() {
        return "NaN".to_owned();
    }
    if f.is_infinite() {
        return if f > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if f.is_sign_negative() { "-" } else { "" };
    let magnitude = f.abs();
    let body = match verb {
        'b' => binary(magnitude),
        'x' | 'X' => hexadecimal(magnitude, verb, prec),
        'e' | 'E' => exponent(magnitude, verb, prec),
        'f' => fixed(magnitude, prec),
        _ => general(magnitude, verb, prec),
    };
    format!("{sign}{body}")
}

/// The significant digits and the decimal exponent of the first one. `precision` is the number of digits after the first.
fn digits(f: f64, precision: Option<usize>) -> (String, i32) {
    let text = match precision {
        None => format!("{f:e}"),
        Some(p) => format!("{f:.*e}", p.min(MAX_DIGITS)),
    };
    let (mantissa, exp) = text.split_once('e').expect("the format writes an exponent");
    let mut digits = mantissa.replace('.', "");
    if let Some(p) = precision {
        digits.push_str(&"0".repeat(p.saturating_sub(MAX_DIGITS)));
    }
    (digits, exp.parse().expect("the format writes an integer"))
}

fn with_exponent(digits: &str, exp: i32, verb: char) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exp < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}{verb}{sign}{:02}", exp.abs())
}

fn exponent(f: f64, verb: char, prec: Option<usize>) -> String {
    let (digits, exp) = digits(f, prec);
    with_exponent(&digits, exp, verb)
}

fn fixed(f: f64, prec: Option<usize>) -> String {
    match prec {
        None => format!("{f}"),
        Some(p) => {
            let mut text = format!("{f:.*}", p.min(MAX_DIGITS));
            text.push_str(&"0".repeat(p.saturating_sub(MAX_DIGITS)));
            text
        }
    }
}

fn general(f: f64, verb: char, prec: Option<usize>) -> String {
    let (digits, exp) = digits(f, prec.map(|p| p.max(1) - 1));
    // Zeros at the end are not written, and count for nothing in the choice of the form.
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let point = if f == 0.0 { 1 } else { exp + 1 };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let limit = match prec {
        None => 6,
        Some(p) => {
            let p = i32::try_from(p.max(1)).unwrap_or(i32::MAX);
            if p > count && count >= point { count } else { p }
        }
    };
    if exp < -4 || exp >= limit {
        let verb = if verb == 'G' { 'E' } else { 'e' };
        return with_exponent(digits, exp, verb);
    }
    if point <= 0 {
        return format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    let point = point.unsigned_abs() as usize;
    if digits.len() <= point {
        return format!("{digits}{}", "0".repeat(point - digits.len()));
    }
    format!("{}.{}", &digits[..point], &digits[point..])
}

/// Mantissa and exponent as they are stored: the exponent of the value is that of the mantissa's lowest bit.
fn parts(f: f64) -> (u64, i32) {
    let bits = f.to_bits();
    let mantissa = bits & ((1 << 52) - 1);
    let exp = i32::try_from(bits >> 52 & 0x7ff).expect("eleven bits");
    if exp == 0 {
        (mantissa, -1074)
    } else {
        (mantissa | 1 << 52, exp - 1075)
    }
}

fn binary(f: f64) -> String {
    let (mantissa, exp) = parts(f);
    format!("{mantissa}p{exp:+}")
}

fn hexadecimal(f: f64, verb: char, prec: Option<usize>) -> String {
    let (mut mantissa, exp) = parts(f);
    let mut exp = if mantissa == 0 { 0 } else { exp + 52 };
    // One bit before the point, sixty after it.
    mantissa <<= 8;
    while mantissa != 0 && mantissa & 1 << 60 == 0 {
        mantissa <<= 1;
        exp -= 1;
    }
    if let Some(p) = prec.filter(|p| *p < 15) {
        let shift = p * 4;
        let extra = (mantissa << shift) & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & 1 << 61 != 0 {
            mantissa >>= 1;
            exp += 1;
        }
    }
    let mut text = String::from(if mantissa >> 60 & 1 == 0 { "0x0" } else { "0x1" });
    let mut fraction = mantissa << 4;
    if prec.is_some_and(|p| p > 0) || (prec.is_none() && fraction != 0) {
        text.push('.');
        let mut left = prec;
        while left.map_or(fraction != 0, |n| n > 0) {
            text.push(char::from_digit((fraction >> 60) as u32 & 15, 16).expect("four bits"));
            fraction <<= 4;
            left = left.map(|n| n - 1);
        }
    }
    let sign = if exp < 0 { '-' } else { '+' };
    text.push_str(&format!("p{sign}{:02}", exp.abs()));
    if verb == 'X' { text.to_uppercase() } else { text }
}
