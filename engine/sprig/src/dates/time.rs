//! Go's `time.Time`: an instant with a zone to show it in.

use std::any::Any;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nave_gotemplate::{Function, FunctionError, GoType, Object, Shape, Value};

use crate::durations::{GoDuration, SECOND};
use crate::table::text_at;

/// Seconds from the year 1, Go's zero time, to 1970.
const TO_UNIX: i64 = 62_135_596_800;

/// A `time.Time` in a template. The default is Go's zero time: the first of January of the year 1, UTC.
#[derive(Clone, Debug)]
pub struct GoTime {
    /// Seconds since 1970.
    seconds: i64,
    nanos: u32,
    zone: Zone,
}

/// Where a time is shown.
#[derive(Clone, Debug, Default)]
pub(crate) enum Zone {
    /// UTC, which is also the local zone.
    #[default]
    Utc,
    /// A zone of the database.
    Named(TimeZone),
    /// A fixed number of seconds east of Greenwich, with the abbreviation that it was read with, if any.
    Fixed(i64, String),
}

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
    pub(crate) second: u32,
    pub(crate) nanos: u32,
    /// From Sunday.
    pub(crate) weekday: u32,
    /// From 1.
    pub(crate) year_day: u32,
}

impl Zone {
    /// `time.LoadLocation` with the database that comes with the program; the local zone is UTC.
    pub(crate) fn load(name: &str) -> Option<Self> {
        if matches!(name, "" | "UTC" | "Local") {
            return Some(Self::Utc);
        }
        let zone = jiff::tz::TimeZoneDatabase::bundled().get(name).ok()?;
        // Go looks for a file of exactly this name.
        (zone.iana_name() == Some(name)).then(|| Self::Named(zone))
    }

    /// Seconds east of Greenwich and the abbreviation at an instant.
    pub(crate) fn offset(&self, seconds: i64) -> (i64, String) {
        match self {
            Self::Utc => (0, "UTC".to_owned()),
            Self::Fixed(offset, name) => (*offset, name.clone()),
            Self::Named(zone) => {
                let bounds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
                let at = Timestamp::from_second(seconds.clamp(*bounds.start(), *bounds.end())).unwrap_or_default();
                let info = zone.to_offset_info(at);
                (i64::from(info.offset().seconds()), info.abbreviation().to_owned())
            }
        }
    }
}

impl Default for GoTime {
    fn default() -> Self {
        Self {
            seconds: -TO_UNIX,
            nanos: 0,
            zone: Zone::Utc,
        }
    }
}

impl GoTime {
    /// An instant in UTC.
    #[must_use]
    pub fn from_timestamp(at: Timestamp) -> Self {
        let nanos = at.as_nanosecond();
        let second = i128::from(SECOND);
        Self {
            seconds: i64::try_from(nanos.div_euclid(second)).expect("a timestamp is within 64 bits of seconds"),
            nanos: u32::try_from(nanos.rem_euclid(second)).expect("less than a second"),
            zone: Zone::Utc,
        }
    }

    pub(crate) fn from_unix(seconds: i64) -> Self {
        // Go counts from the year 1, and wraps where that overflows.
        Self {
            seconds,
            nanos: 0,
            zone: Zone::Utc,
        }
    }

    /// An instant given as what a clock in a zone shows.
    pub(crate) fn from_civil(civil: Civil, zone: Zone) -> Self {
        let days = days_from_civil(civil.year, civil.month, civil.day);
        let clock = i64::from(civil.hour * 3600 + civil.minute * 60 + civil.second);
        let shown = days * 86_400 + clock;
        // Go guesses with the offset of the wrong instant and corrects once.
        let first = zone.offset(shown).0;
        let second = zone.offset(shown - first).0;
        let seconds = shown - if first == second { first } else { second };
        Self {
            seconds,
            nanos: civil.nanos,
            zone,
        }
    }

    /// The time that a template value is, if it is one.
    pub(crate) fn of(value: &Value) -> Option<&Self> {
        match value {
            Value::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    pub(crate) fn within(&self, zone: Zone) -> Self {
        Self { zone, ..self.clone() }
    }

    pub(crate) fn unix(&self) -> i64 {
        self.seconds
    }

    pub(crate) fn offset(&self) -> (i64, String) {
        self.zone.offset(self.seconds)
    }

    pub(crate) fn plus(&self, nanos: i64) -> Self {
        let total = i64::from(self.nanos) + nanos % SECOND;
        Self {
            seconds: self
                .seconds
                .wrapping_add(nanos / SECOND)
                .wrapping_add(total.div_euclid(SECOND)),
            nanos: u32::try_from(total.rem_euclid(SECOND)).expect("less than a second"),
            zone: self.zone.clone(),
        }
    }

    /// `Time.Sub`: the least or greatest duration where it overflows.
    pub(crate) fn since(&self, earlier: &Self) -> i64 {
        let nanos = self.total() - earlier.total();
        i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
    }

    fn total(&self) -> i128 {
        i128::from(self.seconds) * i128::from(SECOND) + i128::from(self.nanos)
    }

    pub(crate) fn civil(&self) -> Civil {
        let shown = self.seconds.saturating_add(self.offset().0);
        let days = shown.div_euclid(86_400);
        let clock = u32::try_from(shown.rem_euclid(86_400)).expect("less than a day");
        let (year, month, day) = civil_from_days(days);
        let year_day = days - days_from_civil(year, 1, 1) + 1;
        Civil {
            year,
            month,
            day,
            hour: clock / 3600,
            minute: clock / 60 % 60,
            second: clock % 60,
            nanos: self.nanos,
            weekday: u32::try_from((days + 4).rem_euclid(7)).expect("less than a week"),
            year_day: u32::try_from(year_day).expect("a day of the year"),
        }
    }

    /// The text that JSON and TOML have for it.
    pub(crate) fn rfc3339(&self) -> String {
        self.format("2006-01-02T15:04:05.999999999Z07:00")
    }
}

/// Days since 1970 of a date of the Gregorian calendar. A month beyond the year counts on into the next ones.
pub(crate) fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let of_year = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let small = |n: i64| u32::try_from(n).expect("a day or month");
    (year, small(month), small(day))
}

impl Object for GoTime {
    fn type_name(&self) -> &'static str {
        "time.Time"
    }

    fn shape(&self) -> Shape {
        Shape::Opaque
    }

    fn text(&self) -> Option<String> {
        Some(self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        let other = other.as_any().downcast_ref::<Self>()?;
        Some(self.total() == other.total() && self.offset() == other.offset())
    }

    fn method(&self, name: &str) -> Option<Function> {
        const TIME: GoType = GoType::Named("time.Time");
        const DURATION: GoType = GoType::Named("time.Duration");
        let civil = self.civil();
        let value = |value: Value| Some(Function::new(&[], move |_, _| Ok(value.clone())));
        let int = |n: i64| value(Value::int(n));
        let own = self.clone();
        let with_time = |f: fn(&Self, &Self) -> Value| {
            let own = own.clone();
            Some(Function::new(&[TIME], move |_, args| {
                Self::of(&args[0])
                    .map(|other| f(&own, other))
                    .ok_or_else(crate::table::nil_pointer)
            }))
        };
        match name {
            "Unix" => value(Value::int64(self.seconds)),
            "UnixMilli" => value(Value::int64(self.total().div_euclid(1_000_000) as i64)),
            "UnixMicro" => value(Value::int64(self.total().div_euclid(1_000) as i64)),
            "UnixNano" => value(Value::int64(self.total() as i64)),
            "Year" => int(civil.year),
            "Month" => value(Value::object(Named::month(civil.month))),
            "Weekday" => value(Value::object(Named::weekday(civil.weekday))),
            "Day" => int(civil.day.into()),
            "YearDay" => int(civil.year_day.into()),
            "Hour" => int(civil.hour.into()),
            "Minute" => int(civil.minute.into()),
            "Second" => int(civil.second.into()),
            "Nanosecond" => int(civil.nanos.into()),
            "IsZero" => value((self.seconds == -TO_UNIX && self.nanos == 0).into()),
            "String" => value(self.text().unwrap_or_default().into()),
            "UTC" | "Local" => value(Value::object(self.within(Zone::Utc))),
            "Format" => Some(Function::new(&[GoType::String], move |_, args| {
                Ok(own.format(&text_at(args, 0)).into())
            })),
            "Add" => Some(Function::new(&[DURATION], move |_, args| {
                Ok(Value::object(own.plus(args[0].as_signed().unwrap_or_default())))
            })),
            "AddDate" => Some(Function::new(
                &[GoType::INT, GoType::INT, GoType::INT],
                move |_, args| {
                    let at = |index: usize| args[index].as_signed().unwrap_or_default();
                    own.add_date(at(0), at(1), at(2)).map(Value::object)
                },
            )),
            "Sub" => with_time(|own, other| Value::object(GoDuration(own.since(other)))),
            "Before" => with_time(|own, other| (own.total() < other.total()).into()),
            "After" => with_time(|own, other| (own.total() > other.total()).into()),
            "Equal" => with_time(|own, other| (own.total() == other.total()).into()),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl GoTime {
    fn add_date(&self, years: i64, months: i64, days: i64) -> Result<Self, FunctionError> {
        let civil = self.civil();
        let small = |n: i64| (-1_000_000..1_000_000_000).contains(&n);
        if !(small(years) && small(months) && small(days)) {
            return Err(FunctionError::new(format!(
                "AddDate {years} {months} {days} is out of range"
            )));
        }
        let month = i64::from(civil.month) - 1 + months;
        let year = civil.year + years + month.div_euclid(12);
        let month = u32::try_from(month.rem_euclid(12)).expect("a month") + 1;
        let first = days_from_civil(year, month, 1);
        let (year, month, day) = civil_from_days(first + i64::from(civil.day) - 1 + days);
        Ok(Self::from_civil(
            Civil {
                year,
                month,
                day,
                ..civil
            },
            self.zone.clone(),
        ))
    }
}

/// A `time.Month` or `time.Weekday`: a number with a name.
struct Named {
    type_name: &'static str,
    number: u32,
    name: &'static str,
}

impl Named {
    fn month(month: u32) -> Self {
        Self {
            type_name: "time.Month",
            number: month,
            name: super::layout::MONTHS[month as usize - 1],
        }
    }

    fn weekday(day: u32) -> Self {
        Self {
            type_name: "time.Weekday",
            number: day,
            name: super::layout::DAYS[day as usize],
        }
    }
}

impl Object for Named {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn shape(&self) -> Shape {
        Shape::Basic(Value::int(self.number.into()))
    }

    fn text(&self) -> Option<String> {
        Some(self.name.to_owned())
    }

    fn equals(&self, other: &dyn Object) -> Option<bool> {
        Some(other.as_any().downcast_ref::<Self>()?.number == self.number)
    }

    fn method(&self, name: &str) -> Option<Function> {
        let text = self.name;
        (name == "String").then(|| Function::new(&[], move |_, _| Ok(text.into())))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
