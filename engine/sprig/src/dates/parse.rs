//! Reading a time by a layout, as `time.Parse` does with UTC for the local zone.

use super::layout::{DAYS, Element, MONTHS, next};
use super::time::{Civil, GoTime, Zone, days_from_civil};

/// What has been read so far.
#[derive(Default)]
struct Parts {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    pm: Option<bool>,
    utc: bool,
    offset: Option<i64>,
    abbreviation: String,
}

/// What is wrong with one element.
enum Wrong {
    Bad,
    Range(&'static str),
}

impl GoTime {
    /// `time.Parse`. The error is Go's.
    ///
    /// # Errors
    /// A text that does not follow the layout, or is no date of the calendar.
    pub(crate) fn parse(layout: &str, text: &str) -> Result<Self, String> {
        let whole = |detail: &str| format!("parsing time {}{detail}", quote(text));
        let cannot = |rest: &str, element: &str| {
            whole(&format!(
                " as {}: cannot parse {} as {}",
                quote(layout),
                quote(rest),
                quote(element)
            ))
        };
        let mut parts = Parts::default();
        let mut rest = text;
        let mut format = layout;
        loop {
            let step = next(format);
            let before = step.map_or(format, |(before, ..)| before);
            rest = skip(rest, before).map_err(|rest| cannot(rest, before))?;
            let Some((_, element, name, after)) = step else { break };
            format = after;
            let mut left = rest;
            match parts.take(element, &mut left, format) {
                Ok(()) => rest = left,
                Err(Wrong::Bad) => return Err(cannot(rest, name)),
                Err(Wrong::Range(what)) => return Err(whole(&format!(": {what} out of range"))),
            }
        }
        if !rest.is_empty() {
            return Err(whole(&format!(": extra text: {}", quote(rest))));
        }
        parts.finish().map_err(|problem| whole(&format!(": {problem}")))
    }
}

impl Parts {
    fn take(&mut self, element: Element, rest: &mut &str, following: &str) -> Result<(), Wrong> {
        match element {
            Element::Year => {
                let two = digits(rest, 2, 2)?;
                self.year = i64::from(two) + if two >= 69 { 1900 } else { 2000 };
            }
            Element::LongYear => self.year = digits(rest, 4, 4)?.into(),
            Element::Month => self.month = Some(lookup(rest, &MONTHS, 3)? + 1),
            Element::LongMonth => self.month = Some(lookup(rest, &MONTHS, usize::MAX)? + 1),
            Element::NumMonth | Element::ZeroMonth => {
                let month = digits(rest, least(element == Element::ZeroMonth), 2)?;
                self.month = Some(within(month, 1, 12, "month")?);
            }
            Element::WeekDay => drop(lookup(rest, &DAYS, 3)?),
            Element::LongWeekDay => drop(lookup(rest, &DAYS, usize::MAX)?),
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                if element == Element::UnderDay {
                    *rest = rest.strip_prefix(' ').unwrap_or(rest);
                }
                self.day = Some(digits(rest, least(element == Element::ZeroDay), 2)?);
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                for _ in 0..2 {
                    if element == Element::UnderYearDay {
                        *rest = rest.strip_prefix(' ').unwrap_or(rest);
                    }
                }
                self.year_day = Some(digits(rest, if element == Element::ZeroYearDay { 3 } else { 1 }, 3)?);
            }
            Element::Hour => self.hour = within(digits(rest, 1, 2)?, 0, 23, "hour")?,
            Element::Hour12 | Element::ZeroHour12 => {
                let hour = digits(rest, least(element == Element::ZeroHour12), 2)?;
                self.hour = within(hour, 0, 12, "hour")?;
            }
            Element::Minute | Element::ZeroMinute => {
                let minute = digits(rest, least(element == Element::ZeroMinute), 2)?;
                self.minute = within(minute, 0, 59, "minute")?;
            }
            Element::Second | Element::ZeroSecond => {
                let second = digits(rest, least(element == Element::ZeroSecond), 2)?;
                self.second = within(second, 0, 59, "second")?;
                // Decimals are read even where the layout has none.
                if decimals(rest) > 0 && !matches!(next(following), Some((_, Element::Fraction { .. }, ..))) {
                    self.nanos = fraction(rest, decimals(rest));
                }
            }
            Element::Pm => self.pm = Some(either(rest, "AM", "PM")?),
            Element::LowerPm => self.pm = Some(either(rest, "am", "pm")?),
            Element::Abbreviation => {
                if let Some(after) = rest.strip_prefix("UTC") {
                    self.utc = true;
                    *rest = after;
                } else {
                    let length = abbreviation(rest).ok_or(Wrong::Bad)?;
                    self.abbreviation = rest[..length].to_owned();
                    *rest = &rest[length..];
                }
            }
            Element::Offset { z: true, .. } if rest.starts_with('Z') => {
                self.utc = true;
                *rest = &rest[1..];
            }
            Element::Offset { colon, parts, .. } => self.offset = Some(offset(rest, colon, parts)?),
            Element::Fraction {
                digits, trim: false, ..
            } => {
                if decimals(rest) < digits {
                    return Err(Wrong::Bad);
                }
                self.nanos = fraction(rest, digits);
            }
            Element::Fraction { .. } => {
                let count = decimals(rest);
                if count > 0 {
                    self.nanos = fraction(rest, count);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<GoTime, &'static str> {
        match self.pm {
            Some(true) if self.hour < 12 => self.hour += 12,
            Some(false) if self.hour == 12 => self.hour = 0,
            _ => {}
        }
        let (month, day) = self.date()?;
        let civil = Civil {
            year: self.year,
            month,
            day,
            hour: self.hour,
            minute: self.minute,
            second: self.second,
            nanos: self.nanos,
            weekday: 0,
            year_day: 0,
        };
        let zone = match self.offset {
            _ if self.utc => Zone::Utc,
            Some(0) if self.abbreviation.is_empty() || self.abbreviation == "UTC" => Zone::Utc,
            Some(offset) => Zone::Fixed(offset, self.abbreviation),
            None if self.abbreviation.is_empty() => Zone::Utc,
            None => {
                // The offset of a mere abbreviation is not known; of GMT+3 it is, but for the clock's reading.
                let hours = self
                    .abbreviation
                    .strip_prefix("GMT")
                    .and_then(|hours| hours.parse::<i64>().ok());
                let time = GoTime::from_civil(civil, Zone::Utc);
                return Ok(time.within(Zone::Fixed(hours.unwrap_or(0) * 3600, self.abbreviation)));
            }
        };
        Ok(GoTime::from_civil(civil, zone))
    }

    fn date(&self) -> Result<(u32, u32), &'static str> {
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let days = |month: u32| match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let Some(year_day) = self.year_day else {
            let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
            return if day < 1 || day > days(month) {
                Err("day out of range")
            } else {
                Ok((month, day))
            };
        };
        if year_day < 1 || year_day > 365 + u32::from(leap) {
            return Err("day-of-year out of range");
        }
        let mut month = 1;
        let mut day = year_day;
        while day > days(month) {
            day -= days(month);
            month += 1;
        }
        if self.month.is_some_and(|seen| seen != month) {
            return Err("day-of-year does not match month");
        }
        if self.day.is_some_and(|seen| seen != day) {
            return Err("day-of-year does not match day");
        }
        debug_assert!(days_from_civil(self.year, month, day) >= days_from_civil(self.year, 1, 1));
        Ok((month, day))
    }
}

fn quote(text: &str) -> String {
    crate::text::quote(&text.into())
}

/// Spaces of the layout stand for any number of spaces.
fn skip<'a>(mut text: &'a str, mut before: &str) -> Result<&'a str, &'a str> {
    while let Some(wanted) = before.chars().next() {
        if wanted == ' ' {
            if !text.is_empty() && !text.starts_with(' ') {
                return Err(text);
            }
            before = before.trim_start_matches(' ');
            text = text.trim_start_matches(' ');
            continue;
        }
        text = text.strip_prefix(wanted).ok_or(text)?;
        before = &before[wanted.len_utf8()..];
    }
    Ok(text)
}

fn least(two: bool) -> usize {
    if two { 2 } else { 1 }
}

fn digits(rest: &mut &str, least: usize, most: usize) -> Result<u32, Wrong> {
    let count = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if count < least {
        return Err(Wrong::Bad);
    }
    let (number, after) = rest.split_at(count);
    *rest = after;
    number.parse().map_err(|_| Wrong::Bad)
}

fn within(n: u32, low: u32, high: u32, what: &'static str) -> Result<u32, Wrong> {
    if (low..=high).contains(&n) {
        Ok(n)
    } else {
        Err(Wrong::Range(what))
    }
}

/// The place of the name, of which the first `letters` count, that the text starts with in any case.
fn lookup(rest: &mut &str, names: &[&str], letters: usize) -> Result<u32, Wrong> {
    for (place, name) in names.iter().enumerate() {
        let name = &name[..letters.min(name.len())];
        if rest
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
        {
            *rest = &rest[name.len()..];
            return u32::try_from(place).map_err(|_| Wrong::Bad);
        }
    }
    Err(Wrong::Bad)
}

fn either(rest: &mut &str, no: &str, yes: &str) -> Result<bool, Wrong> {
    for (word, answer) in [(no, false), (yes, true)] {
        if let Some(after) = rest.strip_prefix(word) {
            *rest = after;
            return Ok(answer);
        }
    }
    Err(Wrong::Bad)
}

/// How many digits follow a point or comma.
fn decimals(rest: &str) -> usize {
    rest.strip_prefix(['.', ','])
        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count())
}

/// Takes a point and so many digits: nanoseconds.
fn fraction(rest: &mut &str, count: usize) -> u32 {
    let kept = &rest[1..=count.min(9)];
    let nanos = format!("{kept:0<9}").parse().unwrap_or_default();
    *rest = &rest[count + 1..];
    nanos
}

fn offset(rest: &mut &str, colon: bool, parts: u8) -> Result<i64, Wrong> {
    let sign = match rest.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Wrong::Bad),
    };
    *rest = &rest[1..];
    let mut total = 0;
    for (place, (most, what)) in [
        (24, "time zone offset hour"),
        (60, "time zone offset minute"),
        (60, "time zone offset second"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut part = 0;
        if place < usize::from(parts) {
            if colon && place > 0 {
                *rest = rest.strip_prefix(':').ok_or(Wrong::Bad)?;
            }
            part = within(digits(rest, 2, 2)?, 0, most, what)?;
        }
        total = total * 60 + i64::from(part);
    }
    Ok(sign * total)
}

/// The length of what looks like the abbreviation of a zone.
fn abbreviation(text: &str) -> Option<usize> {
    if text.starts_with("ChST") || text.starts_with("MeST") {
        return Some(4);
    }
    if let Some(after) = text.strip_prefix("GMT") {
        return Some(3 + signed_hours(after));
    }
    if text.starts_with(['+', '-']) {
        return Some(signed_hours(text)).filter(|length| *length > 0);
    }
    let upper = text.bytes().take(6).take_while(u8::is_ascii_uppercase).count();
    match upper {
        3 => Some(3),
        4 if text[..4].ends_with('T') || text.starts_with("WITA") => Some(4),
        5 if text[..5].ends_with('T') => Some(5),
        _ => None,
    }
}

fn signed_hours(text: &str) -> usize {
    if !text.starts_with(['+', '-']) {
        return 0;
    }
    let count = text[1..].bytes().take_while(u8::is_ascii_digit).count();
    match text[1..=count].parse::<u32>() {
        Ok(hours) if hours <= 23 => count + 1,
        _ => 0,
    }
}
