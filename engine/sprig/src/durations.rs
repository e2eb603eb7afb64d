//! Go's `time.Duration`: its text, its arithmetic, and Helm's functions of it.

use std::any::Any;

use nave_gotemplate::{Function, FunctionError, GoType, Object, Shape, Value};

use crate::convert::parse_float;
use crate::table::{ANY, Table};

/// Nanoseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

/// A `time.Duration` in a template: nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoDuration(pub i64);

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("mustToDuration", &[ANY], |_, args| {
        from_value(&args[0])
            .map(|d| Value::object(GoDuration(d)))
            .map_err(FunctionError::new)
    });
    let mut number = |name: &str, f: fn(i64) -> Value| {
        table.add(name, &[ANY], move |_, args| Ok(f(from_value(&args[0]).unwrap_or(0))));
    };
    number("durationSeconds", |d| Value::Float(seconds(d)));
    number("durationMilliseconds", |d| Value::int64(d / 1_000_000));
    number("durationMicroseconds", |d| Value::int64(d / 1_000));
    number("durationNanoseconds", Value::int64);
    number("durationMinutes", |d| Value::Float(fraction(d, MINUTE)));
    number("durationHours", |d| Value::Float(fraction(d, HOUR)));
    number("durationDays", |d| Value::Float(fraction(d, HOUR) / 24.0));
    number("durationWeeks", |d| Value::Float(fraction(d, HOUR) / 24.0 / 7.0));
    for (name, f) in [
        ("durationRoundTo", round as fn(i64, i64) -> i64),
        ("durationTruncateTo", truncate),
    ] {
        table.add(name, &[ANY, ANY], move |_, args| {
            let d = from_value(&args[0]);
            let to = from_value(&args[1]);
            Ok(Value::object(GoDuration(match (d, to) {
                (Ok(d), Ok(to)) => f(d, to),
                (Ok(d), Err(_)) => d,
                (Err(_), _) => 0,
            })))
        });
    }
}

/// Whole units and the rest apart, as Go does it for the sake of precision.
#[expect(clippy::cast_precision_loss, reason = "the conversion is Go's")]
fn fraction(d: i64, unit: i64) -> f64 {
    (d / unit) as f64 + (d % unit) as f64 / unit as f64
}

pub(crate) fn seconds(d: i64) -> f64 {
    fraction(d, SECOND)
}

/// `Duration.Round`: half away from zero, to the least or greatest duration where it overflows.
pub(crate) fn round(d: i64, to: i64) -> i64 {
    if to <= 0 {
        return d;
    }
    let rest = i128::from(d % to).abs();
    let (d, to) = (i128::from(d), i128::from(to));
    let whole = d - d % to;
    let rounded = if 2 * rest < to { whole } else { whole + to * d.signum() };
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

fn truncate(d: i64, to: i64) -> i64 {
    if to <= 0 { d } else { d - d % to }
}

/// `Duration.String`: `1h2m3.5s`, `1.5ms`, `0s`.
pub(crate) fn format(d: i64) -> String {
    let sign = if d < 0 { "-" } else { "" };
    let n = d.unsigned_abs();
    let decimals = |n: u64, unit: u64| {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", n % unit);
        match fraction.trim_end_matches('0') {
            "" => (n / unit).to_string(),
            fraction => format!("{}.{fraction}", n / unit),
        }
    };
    match n {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{n}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", decimals(n, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", decimals(n, 1_000_000)),
        _ => {
            let (hour, minute) = (HOUR.unsigned_abs(), MINUTE.unsigned_abs());
            let hours = if n >= hour {
                format!("{}h", n / hour)
            } else {
                String::new()
            };
            let minutes = if n >= minute {
                format!("{}m", n % hour / minute)
            } else {
                String::new()
            };
            format!("{sign}{hours}{minutes}{}s", decimals(n % minute, SECOND.unsigned_abs()))
        }
    }
}

/// `time.ParseDuration`, with Go's complaints.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let quoted = || crate::text::quote(&text.into());
    let invalid = || format!("time: invalid duration {}", quoted());
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let limit = 1u128 << 63;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (whole, fraction) = rest[..end].split_once('.').unwrap_or((&rest[..end], ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        // A second point begins the unit.
        let (fraction, unit_start) = match fraction.find('.') {
            Some(at) => (&fraction[..at], whole.len() + 1 + at),
            None => (fraction, end),
        };
        rest = &rest[unit_start..];
        let unit_end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "" => return Err(format!("time: missing unit in duration {}", quoted())),
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => SECOND.unsigned_abs(),
            "m" => MINUTE.unsigned_abs(),
            "h" => HOUR.unsigned_abs(),
            unit => {
                return Err(format!(
                    "time: unknown unit {} in duration {}",
                    crate::text::quote(&unit.into()),
                    quoted()
                ));
            }
        };
        rest = &rest[unit_end..];
        let whole: u128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        let nanos = whole.saturating_mul(u128::from(unit));
        total = total
            .saturating_add(nanos)
            .saturating_add(u128::from(part_of(fraction, unit)));
        if nanos > limit || total > limit {
            return Err(invalid());
        }
    }
    match (negative, i64::try_from(total)) {
        (true, Ok(n)) => Ok(-n),
        (true, Err(_)) => Ok(i64::MIN),
        (false, Ok(n)) => Ok(n),
        (false, Err(_)) => Err(invalid()),
    }
}

/// The decimals of a number of units; Go reads as many as fit into 63 bits and calculates with a float.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as Go does"
)]
fn part_of(digits: &str, unit: u64) -> u64 {
    let (mut n, mut scale): (i64, f64) = (0, 1.0);
    for digit in digits.bytes() {
        let Some(next) = n.checked_mul(10).and_then(|n| n.checked_add(i64::from(digit - b'0'))) else {
            break;
        };
        n = next;
        scale *= 10.0;
    }
    (n as f64 * (unit as f64 / scale)) as u64
}

/// Helm's reading of a value as a duration: numbers are seconds.
pub(crate) fn from_value(value: &Value) -> Result<i64, String> {
    if let Value::Object(object) = value
        && let Some(duration) = object.as_any().downcast_ref::<GoDuration>()
    {
        return Ok(duration.0);
    }
    if let Value::Str(text) = value {
        let text = text.to_text();
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err("empty duration".to_owned());
        }
        if let Ok(d) = parse(trimmed) {
            return Ok(d);
        }
        return match parse_float(trimmed) {
            Some(f) => from_float(f),
            None => Err(format!(
                "could not parse duration {}",
                crate::text::quote(&(&*text).into())
            )),
        };
    }
    if value.is_nil() {
        return Err("invalid duration".to_owned());
    }
    if let Some(n) = value.as_signed() {
        return n
            .checked_mul(SECOND)
            .ok_or_else(|| format!("duration seconds overflow: {n}"));
    }
    if let Some(n) = value.as_unsigned() {
        let nanos = i64::try_from(n).ok().and_then(|n| n.checked_mul(SECOND));
        return nanos.ok_or_else(|| format!("duration seconds overflow: {n}"));
    }
    match value.as_float() {
        Some(f) => from_float(f),
        None => Err(format!("unsupported duration type {}", value.type_name())),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "checked to be within the range"
)]
fn from_float(f: f64) -> Result<i64, String> {
    let shown = nave_object::yaml::format_float(f);
    if !f.is_finite() {
        return Err(format!("invalid duration seconds: {shown}"));
    }
    if f.abs() > i64::MAX as f64 / SECOND as f64 {
        return Err(format!("duration seconds overflow: {shown}"));
    }
    Ok((f * SECOND as f64) as i64)
}

impl Object for GoDuration {
    fn type_name(&self) -> &'static str {
        "time.Duration"
    }

    fn shape(&self) -> Shape {
        Shape::Basic(Value::int64(self.0))
    }

    fn text(&self) -> Option<String> {
        Some(format(self.0))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>() == Some(self))
    }

    fn method(&self, name: &str) -> Option<Function> {
        const DURATION: GoType = GoType::Named("time.Duration");
        let d = self.0;
        let constant = |value: Value| Some(Function::new(&[], move |_, _| Ok(value.clone())));
        let to = |f: fn(i64, i64) -> i64| {
            Some(Function::new(&[DURATION], move |_, args| {
                Ok(Value::object(Self(f(d, args[0].as_signed().unwrap_or_default()))))
            }))
        };
        match name {
            "String" => constant(format(d).into()),
            "Nanoseconds" => constant(Value::int64(d)),
            "Microseconds" => constant(Value::int64(d / 1_000)),
            "Milliseconds" => constant(Value::int64(d / 1_000_000)),
            "Seconds" => constant(Value::Float(seconds(d))),
            "Minutes" => constant(Value::Float(fraction(d, MINUTE))),
            "Hours" => constant(Value::Float(fraction(d, HOUR))),
            "Abs" => constant(Value::object(Self(d.saturating_abs()))),
            "Round" => to(round),
            "Truncate" => to(truncate),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
