//! Go's layouts: how the reference time `Mon Jan 2 15:04:05 MST 2006` tells what to write.

use super::time::GoTime;

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

pub(crate) const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// One element of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekDay,
    WeekDay,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    Pm,
    LowerPm,
    /// The abbreviation of the zone.
    Abbreviation,
    /// The offset: whether `Z` stands for none, whether there are colons, how many of hours, minutes and seconds.
    Offset {
        z: bool,
        colon: bool,
        parts: u8,
    },
    /// Decimals of the second: the separator, how many, and whether zeros at the end are left out.
    Fraction {
        separator: char,
        digits: usize,
        trim: bool,
    },
}

/// The text before the first element, the element with its own text, and what follows.
pub(crate) fn next(layout: &str) -> Option<(&str, Element, &str, &str)> {
    for (at, _) in layout.char_indices() {
        if let Some((skip, element, len)) = element(&layout[at..]) {
            let start = at + skip;
            return Some((&layout[..start], element, &layout[start..at + len], &layout[at + len..]));
        }
    }
    None
}

const PLAIN: [(&str, Element); 33] = [
    ("January", Element::LongMonth),
    ("Jan", Element::Month),
    ("Monday", Element::LongWeekDay),
    ("Mon", Element::WeekDay),
    ("MST", Element::Abbreviation),
    ("002", Element::ZeroYearDay),
    ("01", Element::ZeroMonth),
    ("02", Element::ZeroDay),
    ("03", Element::ZeroHour12),
    ("04", Element::ZeroMinute),
    ("05", Element::ZeroSecond),
    ("06", Element::Year),
    ("15", Element::Hour),
    ("1", Element::NumMonth),
    ("2006", Element::LongYear),
    ("2", Element::Day),
    ("__2", Element::UnderYearDay),
    ("_2", Element::UnderDay),
    ("3", Element::Hour12),
    ("4", Element::Minute),
    ("5", Element::Second),
    ("PM", Element::Pm),
    ("pm", Element::LowerPm),
    (
        "-070000",
        Element::Offset {
            z: false,
            colon: false,
            parts: 3,
        },
    ),
    (
        "-07:00:00",
        Element::Offset {
            z: false,
            colon: true,
            parts: 3,
        },
    ),
    (
        "-0700",
        Element::Offset {
            z: false,
            colon: false,
            parts: 2,
        },
    ),
    (
        "-07:00",
        Element::Offset {
            z: false,
            colon: true,
            parts: 2,
        },
    ),
    (
        "-07",
        Element::Offset {
            z: false,
            colon: false,
            parts: 1,
        },
    ),
    (
        "Z070000",
        Element::Offset {
            z: true,
            colon: false,
            parts: 3,
        },
    ),
    (
        "Z07:00:00",
        Element::Offset {
            z: true,
            colon: true,
            parts: 3,
        },
    ),
    (
        "Z0700",
        Element::Offset {
            z: true,
            colon: false,
            parts: 2,
        },
    ),
    (
        "Z07:00",
        Element::Offset {
            z: true,
            colon: true,
            parts: 2,
        },
    ),
    (
        "Z07",
        Element::Offset {
            z: true,
            colon: false,
            parts: 1,
        },
    ),
];

/// The element at the start of a text: how many bytes of it belong to the text before, the element, its end.
fn element(text: &str) -> Option<(usize, Element, usize)> {
    let bytes = text.as_bytes();
    if text.starts_with("_2006") {
        return Some((1, Element::LongYear, 5));
    }
    if let [separator @ (b'.' | b','), digit @ (b'0' | b'9'), ..] = bytes {
        let digits = bytes[1..].iter().take_while(|byte| *byte == digit).count();
        if !bytes.get(1 + digits).is_some_and(u8::is_ascii_digit) {
            let fraction = Element::Fraction {
                separator: char::from(*separator),
                digits,
                trim: *digit == b'9',
            };
            return Some((0, fraction, 1 + digits));
        }
        return None;
    }
    let (word, element) = PLAIN.iter().find(|(word, _)| text.starts_with(word))?;
    let lower_follows = bytes.get(word.len()).is_some_and(u8::is_ascii_lowercase);
    if matches!(*word, "Jan" | "Mon") && lower_follows {
        return None;
    }
    Some((0, *element, word.len()))
}

impl GoTime {
    /// `Time.Format`.
    #[must_use]
    pub fn format(&self, layout: &str) -> String {
        let civil = self.civil();
        let (offset, abbreviation) = self.offset();
        let hour12 = match civil.hour % 12 {
            0 => 12,
            hour => hour,
        };
        let month = MONTHS[civil.month as usize - 1];
        let day = DAYS[civil.weekday as usize];
        let mut out = String::new();
        let mut rest = layout;
        while let Some((before, element, _, after)) = next(rest) {
            out.push_str(before);
            rest = after;
            let text = match element {
                Element::LongMonth => month.to_owned(),
                Element::Month => month[..3].to_owned(),
                Element::NumMonth => civil.month.to_string(),
                Element::ZeroMonth => format!("{:02}", civil.month),
                Element::LongWeekDay => day.to_owned(),
                Element::WeekDay => day[..3].to_owned(),
                Element::Day => civil.day.to_string(),
                Element::UnderDay => format!("{:2}", civil.day),
                Element::ZeroDay => format!("{:02}", civil.day),
                Element::UnderYearDay => format!("{:3}", civil.year_day),
                Element::ZeroYearDay => format!("{:03}", civil.year_day),
                Element::Hour => format!("{:02}", civil.hour),
                Element::Hour12 => hour12.to_string(),
                Element::ZeroHour12 => format!("{hour12:02}"),
                Element::Minute => civil.minute.to_string(),
                Element::ZeroMinute => format!("{:02}", civil.minute),
                Element::Second => civil.second.to_string(),
                Element::ZeroSecond => format!("{:02}", civil.second),
                Element::LongYear if civil.year < 0 => format!("-{:04}", civil.year.unsigned_abs()),
                Element::LongYear => format!("{:04}", civil.year),
                Element::Year => format!("{:02}", civil.year.max(0) % 100),
                Element::Pm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
                Element::LowerPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
                Element::Abbreviation if abbreviation.is_empty() => short_offset(offset),
                Element::Abbreviation => abbreviation.clone(),
                Element::Offset { z, colon, parts } => offset_text(offset, z, colon, parts),
                Element::Fraction {
                    separator,
                    digits,
                    trim,
                } => {
                    let all = format!("{:09}", civil.nanos);
                    let cut = if digits <= 9 {
                        all[..digits].to_owned()
                    } else {
                        format!("{all:0<digits$}")
                    };
                    let kept = if trim { cut.trim_end_matches('0') } else { &cut };
                    if trim && kept.is_empty() {
                        String::new()
                    } else {
                        format!("{separator}{kept}")
                    }
                }
            };
            out.push_str(&text);
        }
        out.push_str(rest);
        out
    }
}

fn offset_text(offset: i64, z: bool, colon: bool, parts: u8) -> String {
    if z && offset == 0 {
        return "Z".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let (seconds, colon) = (offset.unsigned_abs(), if colon { ":" } else { "" });
    let mut out = format!("{sign}{:02}", seconds / 3600);
    if parts > 1 {
        out.push_str(&format!("{colon}{:02}", seconds / 60 % 60));
    }
    if parts > 2 {
        out.push_str(&format!("{colon}{:02}", seconds % 60));
    }
    out
}

/// What stands for the abbreviation of a zone that has none.
fn short_offset(offset: i64) -> String {
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
}
