//! Printing numbers.

use super::printer::Printer;
use super::{float, runes};

impl Printer {
    /// An integer; says whether the verb is one for integers.
    pub(super) fn integer(&mut self, bits: u64, signed: bool, verb: char) -> bool {
        match verb {
            'v' if self.flags.sharp_v && !signed => self.hex_number(bits, true),
            'v' | 'd' => self.digits(bits, 10, signed, verb),
            'b' => self.digits(bits, 2, signed, verb),
            'o' | 'O' => self.digits(bits, 8, signed, verb),
            'x' | 'X' => self.digits(bits, 16, signed, verb),
            'c' => {
                let c = rune(bits);
                self.pad(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            'q' => self.quoted_rune(rune(bits)),
            'U' => self.unicode(bits),
            _ => return false,
        }
        true
    }

    /// An unsigned number in hexadecimal.
    pub(super) fn hex_number(&mut self, n: u64, prefix: bool) {
        let sharp = std::mem::replace(&mut self.flags.sharp, prefix);
        self.digits(n, 16, false, 'v');
        self.flags.sharp = sharp;
    }

    fn digits(&mut self, bits: u64, base: u32, signed: bool, verb: char) {
        let flags = self.flags;
        let negative = signed && bits.cast_signed() < 0;
        let magnitude = if negative { bits.wrapping_neg() } else { bits };
        let least = match (flags.prec, flags.width) {
            (Some(0), _) if magnitude == 0 => {
                self.flags.zero = false;
                self.padding(flags.width.unwrap_or(0));
                self.flags.zero = flags.zero;
                return;
            }
            (Some(prec), _) => prec,
            (None, Some(width)) if flags.zero && !flags.minus => {
                width.saturating_sub(usize::from(negative || flags.plus || flags.space))
            }
            _ => 0,
        };
        let mut number = match (base, verb) {
            (2, _) => format!("{magnitude:b}"),
            (8, _) => format!("{magnitude:o}"),
            (16, 'X') => format!("{magnitude:X}"),
            (16, _) => format!("{magnitude:x}"),
            _ => magnitude.to_string(),
        };
        if number.len() < least {
            number.insert_str(0, &"0".repeat(least - number.len()));
        }
        let prefix = match (base, verb) {
            (2, _) if flags.sharp => "0b",
            (8, _) if flags.sharp && !number.starts_with('0') => "0",
            (16, 'X') if flags.sharp => "0X",
            (16, _) if flags.sharp => "0x",
            _ => "",
        };
        let octal = if verb == 'O' { "0o" } else { "" };
        let sign = match (negative, flags.plus, flags.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        let text = format!("{sign}{octal}{prefix}{number}");
        // Zeros were put in above, where the sign does not come after them.
        self.flags.zero = false;
        self.pad(text.as_bytes());
        self.flags.zero = flags.zero;
    }

    fn unicode(&mut self, n: u64) {
        let flags = self.flags;
        let mut text = format!("U+{n:0>width$X}", width = flags.prec.unwrap_or(4).clamp(4, 60_000));
        if let Some(prec) = flags.prec.filter(|p| *p > 60_000) {
            text.insert_str(2, &"0".repeat(prec - 60_000));
        }
        if flags.sharp
            && let Some(c) = u32::try_from(n)
                .ok()
                .and_then(char::from_u32)
                .filter(|c| runes::is_print(*c))
        {
            text.push_str(&format!(" '{c}'"));
        }
        self.flags.zero = false;
        self.pad(text.as_bytes());
        self.flags.zero = flags.zero;
    }

    /// A floating-point number; says whether the verb is one for them.
    pub(super) fn float(&mut self, f: f64, verb: char) -> bool {
        let (verb, prec) = match verb {
            'v' => ('g', None),
            'b' | 'g' | 'G' | 'x' | 'X' => (verb, None),
            'f' | 'e' | 'E' => (verb, Some(6)),
            'F' => ('f', Some(6)),
            _ => return false,
        };
        let flags = self.flags;
        let prec = flags.prec.or(prec);
        let text = float::format(f, verb, prec);
        let (sign, number) = match text.strip_prefix(['-', '+']) {
            Some(number) => (if text.starts_with('-') { '-' } else { '+' }, number),
            None => ('+', text.as_str()),
        };
        let sign = if sign == '+' && flags.space && !flags.plus {
            ' '
        } else {
            sign
        };
        let shown = flags.plus || sign != '+';
        if !f.is_finite() {
            // Infinities and NaN are padded as words, and NaN has a sign only on demand.
            let shown = shown && !(f.is_nan() && !flags.space && !flags.plus);
            let word = if shown {
                format!("{sign}{number}")
            } else {
                number.to_owned()
            };
            let word = if f.is_infinite() && !shown {
                format!("+{number}")
            } else {
                word
            };
            self.flags.zero = false;
            self.pad(word.as_bytes());
            self.flags.zero = flags.zero;
            return true;
        }
        let number = if flags.sharp && verb != 'b' {
            with_point(number, verb, prec)
        } else {
            number.to_owned()
        };
        if !shown {
            self.pad(number.as_bytes());
            return true;
        }
        let width = flags.width.unwrap_or(0);
        if flags.zero && !flags.minus && width > number.len() + 1 {
            // The sign stands before the zeros.
            self.text(sign.encode_utf8(&mut [0; 4]));
            self.padding(width - number.len() - 1);
            self.text(&number);
        } else {
            self.pad(format!("{sign}{number}").as_bytes());
        }
        true
    }
}

/// The `#` flag: always a decimal point, and for `g` the zeros at the end.
fn with_point(number: &str, verb: char, prec: Option<usize>) -> String {
    let mut missing = match verb {
        'g' | 'G' | 'x' => prec.map_or(6, |p| i64::try_from(p).unwrap_or(i64::MAX)),
        _ => 0,
    };
    let hexadecimal = matches!(verb, 'x' | 'X');
    let tail = number
        .find(|c: char| matches!(c, 'p' | 'P') || (!hexadecimal && matches!(c, 'e' | 'E')))
        .unwrap_or(number.len());
    let (mantissa, tail) = number.split_at(tail);
    let mut significant = false;
    for c in mantissa.chars().filter(|c| *c != '.') {
        significant |= c != '0';
        missing -= i64::from(significant);
    }
    let mut out = mantissa.to_owned();
    if !mantissa.contains('.') {
        missing -= i64::from(mantissa == "0");
        out.push('.');
    }
    out.push_str(&"0".repeat(usize::try_from(missing).unwrap_or(0)));
    out + tail
}

fn rune(bits: u64) -> char {
    u32::try_from(bits)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(runes::ERROR)
}
