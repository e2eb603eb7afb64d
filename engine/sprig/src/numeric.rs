//! Sprig's arithmetic: 64-bit integers that wrap, floats, and decimals for the `…f` functions.

use nave_gotemplate::{Caller, GoType, IntKind, List, Value};
use std::rc::Rc;

use crate::convert::{IntError, parse_int, to_float64, to_int64};
use crate::decimal::{Decimal, Operation, fold};
use crate::table::{ANY, INT, Result, STRING, Table, fail, int_at, size, text_at};
use crate::text::display;

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("atoi", &[STRING], |_, args| {
        Ok(Value::int(match parse_int(&text_at(args, 0), 10) {
            Ok(n) | Err(IntError::Range(n)) => n,
            Err(IntError::Syntax) => 0,
        }))
    });
    table.add("int64", &[ANY], |_, args| Ok(Value::int64(to_int64(&args[0]))));
    table.add("int", &[ANY], |_, args| Ok(Value::int(to_int64(&args[0]))));
    table.add("float64", &[ANY], |_, args| Ok(Value::Float(to_float64(&args[0]))));
    table.add("toDecimal", &[ANY], |caller, args| {
        let text = display(caller, &args[0])?;
        Ok(Value::int64(parse_int(&text.to_text(), 8).unwrap_or(0)))
    });
    table.add("add1", &[ANY], |_, args| {
        Ok(Value::int64(to_int64(&args[0]).wrapping_add(1)))
    });
    table.rest("add", &[ANY], |_, args| {
        Ok(Value::int64(args.iter().map(to_int64).fold(0, i64::wrapping_add)))
    });
    table.add("sub", &[ANY, ANY], |_, args| {
        Ok(Value::int64(to_int64(&args[0]).wrapping_sub(to_int64(&args[1]))))
    });
    table.add("div", &[ANY, ANY], |_, args| divide(args, i64::wrapping_div));
    table.add("mod", &[ANY, ANY], |_, args| divide(args, i64::wrapping_rem));
    table.rest("mul", &[ANY, ANY], |_, args| {
        Ok(Value::int64(args.iter().map(to_int64).fold(1, i64::wrapping_mul)))
    });
    table.rest("max biggest", &[ANY, ANY], |_, args| {
        Ok(Value::int64(args.iter().map(to_int64).max().unwrap_or_default()))
    });
    table.rest("min", &[ANY, ANY], |_, args| {
        Ok(Value::int64(args.iter().map(to_int64).min().unwrap_or_default()))
    });
    table.rest("maxf", &[ANY, ANY], |_, args| Ok(Value::Float(reduce(args, larger))));
    table.rest("minf", &[ANY, ANY], |_, args| {
        Ok(Value::Float(reduce(args, |a, b| -larger(-a, -b))))
    });
    table.add("ceil", &[ANY], |_, args| Ok(Value::Float(to_float64(&args[0]).ceil())));
    table.add("floor", &[ANY], |_, args| {
        Ok(Value::Float(to_float64(&args[0]).floor()))
    });
    table.rest("round", &[ANY, INT, GoType::Float64], |_, args| {
        let on = args.get(2).and_then(Value::as_float).unwrap_or(0.5);
        Ok(Value::Float(round(to_float64(&args[0]), int_at(args, 1), on)))
    });
    table.add("add1f", &[ANY], |caller, args| {
        fold(
            caller,
            Decimal::new(to_float64(&args[0]))?,
            &[Value::int(1)],
            Operation::Add,
        )
    });
    table.rest("addf", &[ANY], |caller, args| {
        fold(caller, Decimal::new(0.0)?, args, Operation::Add)
    });
    for (name, operation) in [
        ("subf", Operation::Sub),
        ("mulf", Operation::Mul),
        ("divf", Operation::Div),
    ] {
        table.rest(name, &[ANY, ANY], move |caller, args| {
            fold(caller, Decimal::new(to_float64(&args[0]))?, &args[1..], operation)
        });
    }
    table.add("until", &[INT], |caller, args| {
        let count = int_at(args, 0);
        let numbers = steps(caller, 0, count, if count < 0 { -1 } else { 1 })?;
        Ok(ints(numbers))
    });
    table.add("untilStep", &[INT, INT, INT], |caller, args| {
        let numbers = steps(caller, int_at(args, 0), int_at(args, 1), int_at(args, 2))?;
        Ok(ints(numbers))
    });
    table.rest("seq", &[INT], sequence);
}

fn divide(args: &[Value], operation: fn(i64, i64) -> i64) -> Result {
    match to_int64(&args[1]) {
        0 => fail("runtime error: integer divide by zero"),
        divisor => Ok(Value::int64(operation(to_int64(&args[0]), divisor))),
    }
}

fn reduce(args: &[Value], f: fn(f64, f64) -> f64) -> f64 {
    args.iter().map(to_float64).reduce(f).unwrap_or_default()
}

/// `math.Max`: an infinity wins over NaN, NaN over everything else.
fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == 0.0 && b == 0.0 {
        if a.is_sign_negative() { b } else { a }
    } else {
        a.max(b)
    }
}

/// Rounds to `places` decimals; a fraction of at least `on` goes up. That of a negative number never does.
fn round(value: f64, places: i64, on: f64) -> f64 {
    let power = power_of_ten(places);
    let digits = power * value;
    let fraction = if digits.is_infinite() { f64::NAN } else { digits.fract() };
    let rounded = if fraction >= on { digits.ceil() } else { digits.floor() };
    rounded / power
}

/// `math.Pow(10, n)`.
fn power_of_ten(n: i64) -> f64 {
    match i32::try_from(n) {
        Ok(n) => format!("1e{n}").parse().unwrap_or(f64::NAN),
        Err(_) if n < 0 => 0.0,
        Err(_) => f64::INFINITY,
    }
}

/// The numbers from `start` towards `stop`, without it; none if the step leads away. Charged before they are made.
fn steps(
    caller: &mut Caller<'_>,
    start: i64,
    stop: i64,
    step: i64,
) -> std::result::Result<Vec<i64>, nave_gotemplate::FunctionError> {
    let distance = i128::from(stop) - i128::from(start);
    let step = i128::from(step);
    if step == 0 || distance == 0 || (distance < 0) != (step < 0) {
        return Ok(Vec::new());
    }
    let count = (distance.abs() + step.abs() - 1) / step.abs();
    caller.charge_items(size(count))?;
    let number = |index: i128| i64::try_from(i128::from(start) + index * step).expect("it lies between start and stop");
    Ok((0..count).map(number).collect())
}

fn ints(numbers: Vec<i64>) -> Value {
    const INTS: GoType = GoType::List(&GoType::Int(IntKind::Int));
    Value::List(Rc::new(List::new(INTS, numbers.into_iter().map(Value::int).collect())))
}

/// `seq` as in the shell: `END`, `START END` or `START STEP END`.
fn sequence(caller: &mut Caller<'_>, args: &[Value]) -> Result {
    let at = |index| int_at(args, index);
    let towards = |start: i64, end: i64| if end < start { -1 } else { 1 };
    let numbers = match args.len() {
        1 => steps(caller, 1, at(0).wrapping_add(towards(1, at(0))), towards(1, at(0)))?,
        2 => steps(
            caller,
            at(0),
            at(1).wrapping_add(towards(at(0), at(1))),
            towards(at(0), at(1)),
        )?,
        3 if at(2) < at(0) && at(1) > 0 => Vec::new(),
        3 => steps(caller, at(0), at(2).wrapping_add(towards(at(0), at(2))), at(1))?,
        _ => Vec::new(),
    };
    caller.charge_bytes(numbers.len().saturating_mul(20))?;
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    Ok(words.join(" ").into())
}
