//! Text of values as Go's fmt prints them.

mod float;
mod number;
mod printer;
mod printf;
mod quote;
pub(crate) mod runes;

pub(crate) use quote::{Unit, quote, unquote, unquote_char};

use printer::Printer;

use crate::limits::LimitExceeded;
use crate::value::{Str, Value};

/// `fmt.Sprint`: a space between two operands of which neither is a string.
///
/// # Errors
///
/// When the text is longer than `max` bytes, or a value is nested too deeply.
pub fn sprint(values: &[Value], max: usize) -> Result<Str, LimitExceeded> {
    // What most actions print.
    if let [Value::Str(text)] = values {
        return Ok(text.clone());
    }
    let mut printer = Printer::new(max);
    let mut after_string = false;
    for (i, value) in values.iter().enumerate() {
        let string = value.kind() == crate::value::Kind::String;
        if i > 0 && !string && !after_string {
            printer.byte(b' ');
        }
        printer.argument(value, 'v');
        after_string = string;
    }
    printer.finish()
}

/// `fmt.Sprintln`: a space between all operands, and a newline.
///
/// # Errors
///
/// As [`sprint`].
pub fn sprintln(values: &[Value], max: usize) -> Result<Str, LimitExceeded> {
    let mut printer = Printer::new(max);
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            printer.byte(b' ');
        }
        printer.argument(value, 'v');
    }
    printer.byte(b'\n');
    printer.finish()
}

/// `fmt.Sprintf`, complaints about wrong verbs and operands included.
///
/// # Errors
///
/// As [`sprint`].
pub fn sprintf(format: &[u8], values: &[Value], max: usize) -> Result<Str, LimitExceeded> {
    let mut printer = Printer::new(max);
    printf::run(&mut printer, format, values);
    printer.finish()
}
