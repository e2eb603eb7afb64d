//! `Sprintf`: directives, explicit argument numbers, widths from arguments, and complaints.

use super::printer::{Flags, Printer};
use super::runes;
use crate::value::Value;

/// Widths and precisions beyond this are mistakes to Go.
const TOO_LARGE: i64 = 1_000_000;

struct Directives<'a> {
    format: &'a [u8],
    args: &'a [Value],
    at: usize,
    next_arg: usize,
    reordered: bool,
    good_number: bool,
}

/// Prints `args` as the format says.
pub(super) fn run(printer: &mut Printer, format: &[u8], args: &[Value]) {
    let mut d = Directives {
        format,
        args,
        at: 0,
        next_arg: 0,
        reordered: false,
        good_number: true,
    };
    while d.at < format.len() && !printer.has_failed() {
        let text = d.at;
        d.at = format[text..]
            .iter()
            .position(|b| *b == b'%')
            .map_or(format.len(), |n| text + n);
        printer.bytes(&format[text..d.at]);
        if d.at < format.len() {
            d.at += 1;
            d.good_number = true;
            printer.flags = Flags::default();
            if !d.directive(printer) {
                break;
            }
        }
    }
    if !d.reordered && d.next_arg < args.len() {
        printer.flags = Flags::default();
        printer.text("%!(EXTRA ");
        for (i, arg) in args[d.next_arg..].iter().enumerate() {
            if i > 0 {
                printer.text(", ");
            }
            if arg.is_nil() {
                printer.text("<nil>");
            } else {
                printer.text(&arg.type_name());
                printer.byte(b'=');
                printer.argument(arg, 'v');
            }
        }
        printer.byte(b')');
    }
}

impl Directives<'_> {
    fn peek(&self) -> Option<u8> {
        self.format.get(self.at).copied()
    }

    /// One directive after its percent sign; says whether there is more.
    fn directive(&mut self, printer: &mut Printer) -> bool {
        while let Some(c) = self.peek() {
            match c {
                b'#' => printer.flags.sharp = true,
                b'0' => printer.flags.zero = true,
                b'+' => printer.flags.plus = true,
                b'-' => printer.flags.minus = true,
                b' ' => printer.flags.space = true,
                _ => break,
            }
            self.at += 1;
        }
        let mut after_index = self.argument_number();
        if self.peek() == Some(b'*') {
            self.at += 1;
            match self.int_argument() {
                Some(width) => {
                    printer.flags.width = Some(width.unsigned_abs() as usize);
                    if width < 0 {
                        printer.flags.minus = true;
                        printer.flags.zero = false;
                    }
                }
                None => printer.text("%!(BADWIDTH)"),
            }
            after_index = false;
        } else {
            printer.flags.width = self.number();
            if after_index && printer.flags.width.is_some() {
                self.good_number = false;
            }
        }
        // A point at the very end is the verb.
        if self.peek() == Some(b'.') && self.at + 1 < self.format.len() {
            self.at += 1;
            if after_index {
                self.good_number = false;
            }
            after_index = self.argument_number();
            if self.peek() == Some(b'*') {
                self.at += 1;
                printer.flags.prec = self.int_argument().and_then(|p| usize::try_from(p).ok());
                if printer.flags.prec.is_none() {
                    printer.text("%!(BADPREC)");
                }
                after_index = false;
            } else {
                printer.flags.prec = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.argument_number();
        }
        if self.at >= self.format.len() {
            printer.text("%!(NOVERB)");
            return false;
        }
        let (verb, len) = runes::first(&self.format[self.at..]);
        self.at += len;
        self.print(printer, verb);
        true
    }

    fn print(&mut self, printer: &mut Printer, verb: char) {
        let complaint = if verb == '%' {
            return printer.byte(b'%');
        } else if !self.good_number {
            "(BADINDEX)"
        } else if self.next_arg >= self.args.len() {
            "(MISSING)"
        } else {
            if matches!(verb, 'v' | 'w') {
                printer.flags.sharp_v = std::mem::take(&mut printer.flags.sharp);
                printer.flags.plus_v = std::mem::take(&mut printer.flags.plus);
            }
            printer.argument(&self.args[self.next_arg], verb);
            self.next_arg += 1;
            return;
        };
        printer.text("%!");
        printer.text(verb.encode_utf8(&mut [0; 4]));
        printer.text(complaint);
    }

    /// A decimal number at this place. One that is far too long swallows the rest of the format, as in Go.
    fn number(&mut self) -> Option<usize> {
        let (number, end) = parse_number(self.format, self.at, self.format.len());
        self.at = end;
        number
    }

    /// The next argument as a width or precision; it is used up even if it is none.
    fn int_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next_arg)?;
        self.next_arg += 1;
        arg.as_signed()
            .or_else(|| arg.as_unsigned().and_then(|n| i64::try_from(n).ok()))
            .filter(|n| (-TOO_LARGE..=TOO_LARGE).contains(n))
    }

    /// `[n]`, if it stands here: the number of the next argument. Says whether one was found.
    fn argument_number(&mut self) -> bool {
        if self.peek() != Some(b'[') {
            return false;
        }
        self.reordered = true;
        let format = &self.format[self.at..];
        let close = if format.len() < 3 {
            None
        } else {
            format.iter().position(|b| *b == b']')
        };
        let Some(close) = close else {
            self.good_number = false;
            self.at += 1;
            return false;
        };
        self.at += close + 1;
        match parse_number(format, 1, close) {
            (Some(n), end) if end == close => {
                if (1..=self.args.len()).contains(&n) {
                    self.next_arg = n - 1;
                } else {
                    self.good_number = false;
                }
                true
            }
            _ => {
                self.good_number = false;
                false
            }
        }
    }
}

fn parse_number(text: &[u8], start: usize, end: usize) -> (Option<usize>, usize) {
    let mut number = None;
    let mut at = start;
    while at < end && text[at].is_ascii_digit() {
        let so_far = number.unwrap_or(0);
        if so_far > TOO_LARGE.unsigned_abs() as usize {
            return (None, end);
        }
        number = Some(so_far * 10 + usize::from(text[at] - b'0'));
        at += 1;
    }
    (number, at)
}
