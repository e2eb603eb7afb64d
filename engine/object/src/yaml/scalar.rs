//! What a scalar means: go-yaml's resolution of plain texts, for both major versions.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::number::{parse_float, parse_int};
use super::{Dialect, Scalar, Style, Tag, YamlError};

/// The tag that go-yaml (2 for [`Dialect::K8s`], 3 for [`Dialect::Kyaml`]) gives a plain text.
pub fn resolve(text: &str, dialect: Dialect) -> Tag {
    let Some(first) = text.bytes().next() else {
        return Tag::Null;
    };
    match first {
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => resolve_word(text, dialect),
        b'.' => match text {
            ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" => Tag::Float,
            // Go's own parser takes a `_` between two digits here.
            _ if !text.contains("__")
                && !text.ends_with('_')
                && !text.contains("._")
                && parse_float(&without_underscores(text)).is_some() =>
            {
                Tag::Float
            }
            _ => Tag::Str,
        },
        b'+' | b'-' | b'0'..=b'9' => resolve_number(text),
        _ => Tag::Str,
    }
}

fn resolve_word(text: &str, dialect: Dialect) -> Tag {
    match text {
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Tag::Bool,
        "~" | "null" | "Null" | "NULL" => Tag::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off"
        | "OFF"
            if dialect == Dialect::K8s =>
        {
            Tag::Bool
        }
        _ => Tag::Str,
    }
}

fn resolve_number(text: &str) -> Tag {
    if matches!(text, "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf" | "-.INF") {
        return Tag::Float;
    }
    if is_timestamp(text) {
        return Tag::Timestamp;
    }
    let plain = without_underscores(text);
    if parse_int(&plain).is_some() {
        Tag::Int
    } else if parse_float(&plain).is_some() {
        Tag::Float
    } else {
        Tag::Str
    }
}

/// The JSON value of a scalar.
///
/// # Errors
/// An explicit tag that the text does not fit, broken base64 under `!!binary`, and infinities,
/// which JSON cannot express.
pub fn scalar_value(scalar: &Scalar, dialect: Dialect) -> Result<Value, YamlError> {
    let text = scalar.text.as_str();
    let refuse = |what: &str| {
        let problem = format!("`{text}` cannot be read as {what}");
        Err(YamlError::new(scalar.line as usize, problem).at_column(scalar.column as usize))
    };
    if dialect == Dialect::Kyaml && scalar.style == Style::Folded {
        return Ok(Value::String(super::fold::refold(text)));
    }
    let tag = match scalar.tag {
        // go-yaml 3 writes a node with quotes whatever its tag says, if the tag goes without
        // saying, and reads it back as a text. Explicit tags have lost their quotes in the parser.
        _ if dialect == Dialect::Kyaml && scalar.style != Style::Plain => Tag::Str,
        Tag::Implicit => resolve(text, dialect),
        tag => tag,
    };
    match tag {
        Tag::Str | Tag::Other | Tag::Merge | Tag::Implicit => Ok(Value::String(text.to_owned())),
        Tag::Null => match text {
            "" | "~" | "null" | "Null" | "NULL" => Ok(Value::Null),
            _ => refuse("null"),
        },
        Tag::Bool => match (resolve(text, dialect), text.as_bytes().first(), text.len()) {
            (Tag::Bool, Some(b't' | b'T' | b'y' | b'Y'), _) | (Tag::Bool, Some(b'o' | b'O'), 2) => {
                Ok(Value::Bool(true))
            }
            (Tag::Bool, ..) => Ok(Value::Bool(false)),
            _ => refuse("a boolean"),
        },
        Tag::Int => match parse_int(&without_underscores(text)) {
            Some(number) => Ok(integer(number)),
            None => refuse("an integer"),
        },
        Tag::Float => {
            let plain = without_underscores(text);
            if let Some(number) = parse_int(&plain) {
                return Ok(integer(number));
            }
            match parse_float(&plain) {
                Some(number) => Ok(float(number)),
                None => refuse("a number that JSON has"),
            }
        }
        Tag::Timestamp if dialect == Dialect::Kyaml => match full_timestamp(text) {
            Some(full) => Ok(Value::String(full)),
            None => refuse("a point in time"),
        },
        Tag::Timestamp => Ok(Value::String(text.to_owned())),
        Tag::Binary => {
            let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
            match STANDARD.decode(compact) {
                // What is not UTF-8 reaches JSON through Go's replacement character, too.
                Ok(bytes) => Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
                Err(_) => refuse("base64"),
            }
        }
    }
}

/// Whether a YAML 1.1 reader takes the text, unquoted, as something else than a text.
pub fn is_yaml_1_1_non_string(text: &str) -> bool {
    !text.is_empty() && !text.contains('\n') && !matches!(resolve(text, Dialect::K8s), Tag::Str | Tag::Timestamp)
}

/// Go passes every number through JSON text, where a whole float prints without a point, and with zeros behind
/// the digits that tell it from others.
fn float(number: f64) -> Value {
    if number.fract() == 0.0
        && number.abs() < 1e21
        && let Ok(whole) = number.to_string().parse::<i128>()
        && (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&whole)
    {
        return integer(whole);
    }
    serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn integer(number: i128) -> Value {
    match i64::try_from(number) {
        Ok(number) => Value::from(number),
        Err(_) => Value::from(u64::try_from(number).expect("parse_int keeps within 64 bits")),
    }
}

fn without_underscores(text: &str) -> std::borrow::Cow<'_, str> {
    if text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    }
}

/// The parts of a time stamp in one of the four layouts that go-yaml accepts.
struct Moment<'a> {
    date: (u32, u32, u32),
    time: (u32, u32, u32),
    fraction: &'a str,
    zone: &'a str,
}

/// Whether go-yaml takes the text for a time stamp, and so quotes a text that looks like one.
pub(super) fn is_timestamp(text: &str) -> bool {
    parse_timestamp(text).is_some()
}

fn full_timestamp(text: &str) -> Option<String> {
    let moment = parse_timestamp(text)?;
    let (year, month, day) = moment.date;
    let (hour, minute, second) = moment.time;
    let fraction = &moment.fraction[..moment.fraction.len().min(9)];
    let fraction = match fraction.trim_end_matches('0') {
        "" => String::new(),
        digits => format!(".{digits}"),
    };
    let zone = match moment.zone {
        "+00:00" | "-00:00" | "" => "Z",
        zone => zone,
    };
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{zone}"
    ))
}

fn parse_timestamp(text: &str) -> Option<Moment<'_>> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[4] != b'-' || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let year = text[..4].parse().ok()?;
    let (month, rest) = short_number(&text[5..])?;
    let (day, rest) = short_number(rest.strip_prefix('-')?)?;
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days).contains(&day) {
        return None;
    }
    let date = (year, month, day);
    if rest.is_empty() {
        return Some(Moment {
            date,
            time: (0, 0, 0),
            fraction: "",
            zone: "",
        });
    }
    let zoned = rest.starts_with(['T', 't']);
    if !zoned && !rest.starts_with(' ') {
        return None;
    }
    let (hour, rest) = short_number(&rest[1..])?;
    let (minute, rest) = short_number(rest.strip_prefix(':')?)?;
    let (second, rest) = short_number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            rest.split_at(end)
        }
        None => ("", rest),
    };
    let zone_fits = match rest.as_bytes() {
        [] => !zoned,
        [b'Z'] => zoned,
        [b'+' | b'-', a, b, b':', c, d] => {
            zoned
                && [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())
                && rest[1..3].parse::<u32>().is_ok_and(|hours| hours <= 24)
                && rest[4..6].parse::<u32>().is_ok_and(|minutes| minutes <= 60)
        }
        _ => false,
    };
    zone_fits.then_some(Moment {
        date,
        time: (hour, minute, second),
        fraction,
        zone: rest,
    })
}

/// One or two digits at the start of a text.
fn short_number(text: &str) -> Option<(u32, &str)> {
    let end = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    Some((text.get(..end)?.parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_texts_resolve_as_in_go() {
        use Tag::{Bool, Float, Int, Null, Str, Timestamp};
        for (text, k8s, kyaml) in [
            ("yes", Bool, Str),
            ("on", Bool, Str),
            ("y", Bool, Str),
            ("No", Bool, Str),
            ("true", Bool, Bool),
            ("tRUE", Str, Str),
            ("~", Null, Null),
            ("", Null, Null),
            ("0644", Int, Int),
            ("0o644", Int, Int),
            ("0888", Float, Float),
            ("1_000", Int, Int),
            ("0x1F", Int, Int),
            ("-0b11", Int, Int),
            ("1:30", Str, Str),
            ("1.5", Float, Float),
            (".5", Float, Float),
            ("1.", Float, Float),
            ("1e3", Float, Float),
            ("1e+400", Str, Str),
            ("18446744073709551615", Int, Int),
            ("18446744073709551616", Float, Float),
            ("2001-01-01", Timestamp, Timestamp),
            ("2001-13-01", Str, Str),
            ("2001-1-1T1:2:3Z", Timestamp, Timestamp),
            ("2001-01-01 10:00:00.5", Timestamp, Timestamp),
            ("2001-01-01 10:00:00Z", Str, Str),
            ("_1", Str, Str),
            ("<<", Str, Str),
            ("-", Str, Str),
            ("+", Str, Str),
            ("10Gi", Str, Str),
            (".inf", Float, Float),
        ] {
            assert_eq!(resolve(text, Dialect::K8s), k8s, "{text} in K8s");
            assert_eq!(resolve(text, Dialect::Kyaml), kyaml, "{text} in Kyaml");
        }
    }
}
