//! Points in time as Go reads and prints them.

/// A text in RFC 3339, taken apart.
pub(crate) struct Moment<'a> {
    /// `2024-01-15T10:20:30`
    seconds: &'a str,
    /// The digits behind the point, without zeros at the end.
    fraction: &'a str,
    /// `Z` or `+02:00`
    zone: &'a str,
}

impl<'a> Moment<'a> {
    /// Reads what Go's `time.RFC3339` layout takes.
    pub(crate) fn parse(text: &'a str) -> Option<Moment<'a>> {
        let bytes = text.as_bytes();
        let shape = b"0000-00-00T00:00:00";
        if !text.is_ascii() || bytes.len() <= shape.len() {
            return None;
        }
        let fits = |(byte, wanted): (&u8, &u8)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        };
        if !bytes.iter().zip(shape).all(fits) {
            return None;
        }
        let (seconds, rest) = text.split_at(shape.len());
        let date: jiff::civil::DateTime = seconds.parse().ok()?;
        // A leap second is one more than Go takes.
        if date.second() != seconds[17..].parse::<i8>().ok()? {
            return None;
        }
        let (fraction, zone) = match rest.strip_prefix('.') {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit())?;
                if end == 0 {
                    return None;
                }
                rest.split_at(end)
            }
            None => ("", rest),
        };
        let fraction = fraction[..fraction.len().min(9)].trim_end_matches('0');
        let zone = match zone.as_bytes() {
            b"Z" => "Z",
            [b'+' | b'-', a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit()) => {
                let hours: u32 = zone[1..3].parse().ok()?;
                let minutes: u32 = zone[4..].parse().ok()?;
                if hours > 24 || minutes > 60 {
                    return None;
                }
                if hours == 0 && minutes == 0 { "Z" } else { zone }
            }
            _ => return None,
        };
        Some(Moment {
            seconds,
            fraction,
            zone,
        })
    }

    /// With its fraction: Go's `RFC3339Nano`, and what is encrypted and signed.
    pub(crate) fn full(&self) -> String {
        if self.fraction.is_empty() {
            return self.short();
        }
        format!("{}.{}{}", self.seconds, self.fraction, self.zone)
    }

    /// Without its fraction: Go's `RFC3339`.
    pub(crate) fn short(&self) -> String {
        format!("{}{}", self.seconds, self.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_in_go() {
        for (text, full, short) in [
            ("2024-01-15T10:20:30Z", "2024-01-15T10:20:30Z", "2024-01-15T10:20:30Z"),
            (
                "2024-01-15T10:20:30.500Z",
                "2024-01-15T10:20:30.5Z",
                "2024-01-15T10:20:30Z",
            ),
            (
                "2024-01-15T10:20:30+00:00",
                "2024-01-15T10:20:30Z",
                "2024-01-15T10:20:30Z",
            ),
            (
                "2024-01-15T10:20:30-07:30",
                "2024-01-15T10:20:30-07:30",
                "2024-01-15T10:20:30-07:30",
            ),
        ] {
            let moment = Moment::parse(text).expect(text);
            assert_eq!((moment.full().as_str(), moment.short().as_str()), (full, short));
        }
        for text in [
            "",
            "2024-01-15",
            "2024-13-15T10:20:30Z",
            "2024-01-15T10:20:60Z",
            "2024-01-15T10:20:30",
            "2024-01-15 10:20:30Z",
        ] {
            assert!(Moment::parse(text).is_none(), "{text}");
        }
    }
}
