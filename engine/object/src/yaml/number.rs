//! Numbers as Go reads and prints them.

/// `strconv.FormatFloat(value, 'g', -1, 64)`: how YAML prints a float.
pub fn format_float(value: f64) -> String {
    general(&format!("{value:e}"), value.is_nan(), value.is_infinite(), value < 0.0)
}

/// `strconv.FormatFloat(value, 'g', -1, 32)`: how `sigs.k8s.io/yaml` prints a float key.
pub(crate) fn format_float32(value: f32) -> String {
    general(&format!("{value:e}"), value.is_nan(), value.is_infinite(), value < 0.0)
}

/// How `encoding/json` prints a float: plain below 1e21, and with a short exponent above.
pub fn format_float_json(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let shortest = format!("{value:e}");
        let (digits, exponent) = split(&shortest);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs()).replace("e-0", "e-");
    }
    format!("{value}")
}

/// Integer texts that Go's `ParseInt` and `ParseUint` take with base 0, `_` taken out first:
/// decimal, `0x`, `0b`, `0o`, and a leading `0` for octal.
pub(crate) fn parse_int(text: &str) -> Option<i128> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = |prefix: &str| {
        unsigned
            .get(..2)
            .filter(|start| start.eq_ignore_ascii_case(prefix))
            .map(|_| &unsigned[2..])
    };
    let (digits, radix) = if let Some(digits) = lower("0x") {
        (digits, 16)
    } else if let Some(digits) = lower("0b") {
        (digits, 2)
    } else if let Some(digits) = lower("0o") {
        (digits, 8)
    } else if unsigned.len() > 1 && unsigned.starts_with('0') {
        (&unsigned[1..], 8)
    } else {
        (unsigned, 10)
    };
    // from_str_radix would take another sign.
    if !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    let value = if negative { -value } else { value };
    // ParseUint takes no sign, so the upper half is for unsigned texts alone.
    let signed_text = unsigned.len() != text.len();
    let top = if signed_text {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    (i128::from(i64::MIN)..=top).contains(&value).then_some(value)
}

/// Floats by go-yaml's pattern `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(place) => (&unsigned[..place], Some(&unsigned[place + 1..])),
        None => (unsigned, None),
    };
    let all_digits = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit());
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let mantissa_fits = all_digits(whole)
        && fraction.is_none_or(all_digits)
        && (!whole.is_empty() || fraction.is_some_and(|digits| !digits.is_empty()));
    let exponent_fits = exponent.is_none_or(|exponent| {
        let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !digits.is_empty() && all_digits(digits)
    });
    if !mantissa_fits || !exponent_fits {
        return None;
    }
    // Go reports a value out of range as an error, and the text stays a text.
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

fn general(shortest: &str, nan: bool, infinite: bool, negative: bool) -> String {
    if nan {
        return ".nan".to_owned();
    }
    if infinite {
        return if negative { "-.inf" } else { ".inf" }.to_owned();
    }
    let (mantissa, exponent) = split(shortest);
    // strconv takes an exponent below 1e-04 and from 1e+06 on; only `fmt` waits until 1e+21.
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    plain(mantissa, exponent)
}

/// `d.ddd` times ten to the `exponent`, written without an exponent.
fn plain(mantissa: &str, exponent: i32) -> String {
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        format!("{sign}{digits}{}", "0".repeat(whole - digits.len()))
    } else {
        format!("{sign}{}.{}", &digits[..whole], &digits[whole..])
    }
}

/// Mantissa and exponent of what `{:e}` printed.
fn split(shortest: &str) -> (&str, i32) {
    let (mantissa, exponent) = shortest.split_once('e').expect("{:e} always prints an exponent");
    (mantissa, exponent.parse().expect("{:e} prints a decimal exponent"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        for (value, yaml, json) in [
            (1.5, "1.5", "1.5"),
            (0.1, "0.1", "0.1"),
            (-0.25, "-0.25", "-0.25"),
            (1234567.5, "1.2345675e+06", "1234567.5"),
            (123456.5, "123456.5", "123456.5"),
            (1e21, "1e+21", "1e+21"),
            (1.5e-7, "1.5e-07", "1.5e-7"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
        ] {
            assert_eq!(format_float(value), yaml);
            assert_eq!(format_float_json(value), json);
        }
    }

    #[test]
    fn integers_read_as_in_go() {
        for (text, value) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("0644", Some(420)),
            ("0o17", Some(15)),
            ("-0x10", Some(-16)),
            ("0B11", Some(3)),
            ("08", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("+-1", None),
            ("18446744073709551615", Some(18446744073709551615)),
            ("+18446744073709551615", None),
            ("-9223372036854775808", Some(-9223372036854775808)),
            ("-9223372036854775809", None),
        ] {
            assert_eq!(parse_int(text), value, "{text}");
        }
    }
}
