//! Sprig's functions of dates.

mod layout;
mod parse;
mod time;

pub use time::GoTime;
pub(crate) use time::Zone;

use nave_gotemplate::{FunctionError, GoType, Value};

use crate::convert::{IntError, parse_int};
use crate::durations::{self, SECOND};
use crate::table::{ANY, Result, STRING, TIME, Table, text_at};

pub(crate) fn register(table: &mut Table<'_>, now: &GoTime) {
    const STRING_TIME: &[GoType] = &[STRING, TIME];
    let shared = now.clone();
    table.add("now", &[], move |_, _| Ok(Value::object(shared.clone())));
    let add = |table: &mut Table<'_>, names: &str, params: &'static [GoType], f: fn(&GoTime, &[Value]) -> Result| {
        let now = now.clone();
        table.add(names, params, move |caller, args| {
            caller.charge(10)?;
            f(&now, args)
        });
    };
    add(table, "date", &[STRING, ANY], |now, args| {
        Ok(in_zone(now, &text_at(args, 0), &args[1], "Local"))
    });
    add(table, "dateInZone date_in_zone", &[STRING, ANY, STRING], |now, args| {
        Ok(in_zone(now, &text_at(args, 0), &args[1], &text_at(args, 2)))
    });
    add(table, "htmlDate", &[ANY], |now, args| {
        Ok(in_zone(now, "2006-01-02", &args[0], "Local"))
    });
    add(table, "htmlDateInZone", &[ANY, STRING], |now, args| {
        Ok(in_zone(now, "2006-01-02", &args[0], &text_at(args, 1)))
    });
    add(table, "dateModify date_modify", STRING_TIME, |_, args| {
        let time = time_at(args, 1);
        Ok(Value::object(
            durations::parse(&text_at(args, 0)).map_or(time.clone(), |d| time.plus(d)),
        ))
    });
    add(table, "mustDateModify must_date_modify", STRING_TIME, |_, args| {
        let d = durations::parse(&text_at(args, 0)).map_err(FunctionError::new)?;
        Ok(Value::object(time_at(args, 1).plus(d)))
    });
    add(table, "ago", &[ANY], |now, args| {
        let time = moment(&args[0], false).unwrap_or_else(|| now.clone());
        Ok(durations::format(durations::round(now.since(&time), SECOND)).into())
    });
    add(table, "duration", &[ANY], |_, args| {
        let n = match &args[0] {
            Value::Str(text) => match parse_int(&text.to_text(), 10) {
                Ok(n) | Err(IntError::Range(n)) => n,
                Err(IntError::Syntax) => 0,
            },
            value if value.go_type() == Some(GoType::INT64) => value.as_signed().unwrap_or_default(),
            _ => 0,
        };
        Ok(durations::format(n.wrapping_mul(SECOND)).into())
    });
    add(table, "durationRound", &[ANY], |now, args| {
        let d = match &args[0] {
            Value::Str(text) => durations::parse(&text.to_text()).unwrap_or(0),
            value if value.go_type() == Some(GoType::INT64) => value.as_signed().unwrap_or_default(),
            value => GoTime::of(value).map_or(0, |time| now.since(time)),
        };
        Ok(coarse(d.unsigned_abs()).into())
    });
    add(table, "toDate", &[STRING, STRING], |_, args| {
        Ok(Value::object(
            GoTime::parse(&text_at(args, 0), &text_at(args, 1)).unwrap_or_default(),
        ))
    });
    add(table, "mustToDate", &[STRING, STRING], |_, args| {
        GoTime::parse(&text_at(args, 0), &text_at(args, 1))
            .map(Value::object)
            .map_err(FunctionError::new)
    });
    add(table, "unixEpoch", &[TIME], |_, args| {
        Ok(time_at(args, 0).unix().to_string().into())
    });
}

/// The largest unit that is exceeded.
fn coarse(nanos: u64) -> String {
    const HOUR: u64 = 3_600_000_000_000;
    for (unit, name) in [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (HOUR / 60, "m"),
        (HOUR / 3600, "s"),
    ] {
        if nanos > unit {
            return format!("{}{name}", nanos / unit);
        }
    }
    "0s".to_owned()
}

fn in_zone(now: &GoTime, layout: &str, value: &Value, zone: &str) -> Value {
    let time = moment(value, true).unwrap_or_else(|| now.clone());
    let zone = Zone::load(zone).unwrap_or_default();
    time.within(zone).format(layout).into()
}

/// A time, or seconds since 1970 as `int64`, `int` and, on demand, `int32`.
fn moment(value: &Value, int32: bool) -> Option<GoTime> {
    if let Some(time) = GoTime::of(value) {
        return Some(time.clone());
    }
    let fits = match value {
        Value::Int(kind, _) => match kind {
            nave_gotemplate::IntKind::Int | nave_gotemplate::IntKind::Int64 => true,
            nave_gotemplate::IntKind::Int32 => int32,
            _ => false,
        },
        _ => false,
    };
    fits.then(|| GoTime::from_unix(value.as_signed().unwrap_or_default()))
}

fn time_at(args: &[Value], index: usize) -> GoTime {
    args.get(index).and_then(GoTime::of).cloned().unwrap_or_default()
}
