//! How much a message may unpack to, checked on the bytes before anything is allocated.
//!
//! Two bytes on the wire can stand for an element of a hundred bytes in memory. A frame is therefore walked once
//! without decoding: how many fields a message has, and how many the messages inside it have, must fit its shape.

use std::ops::RangeInclusive;

/// What a message may consist of.
pub(crate) struct Shape {
    /// Most fields, repeated ones counted each time.
    pub fields: usize,
    /// Fewest bytes: an element that must carry a digest cannot be repeated for two bytes each.
    pub least: usize,
    /// Messages inside it, by field number.
    pub nested: &'static [(RangeInclusive<u32>, &'static Shape)],
}

/// A frame that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than its stream allows.
    #[error("{what} of {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// What it was read as.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// More fields than the message can need.
    #[error("{what} has more than {limit} fields")]
    TooManyFields {
        /// What it was read as.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// Not protobuf, or not this message.
    #[error("{what} cannot be read")]
    Malformed {
        /// What it was read as.
        what: &'static str,
    },
    /// A field has a value that it must not have.
    #[error("{what}: field {field} {why}")]
    Field {
        /// The message.
        what: &'static str,
        /// The field.
        field: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
}

impl Shape {
    pub(crate) const fn flat(fields: usize) -> Self {
        Self {
            fields,
            least: 0,
            nested: &[],
        }
    }

    pub(crate) const fn with(fields: usize, nested: &'static [(RangeInclusive<u32>, &'static Shape)]) -> Self {
        Self {
            fields,
            least: 0,
            nested,
        }
    }

    pub(crate) const fn of_at_least(self, bytes: usize) -> Self {
        Self { least: bytes, ..self }
    }

    /// Walks `bytes` as protobuf and counts.
    pub(crate) fn check(&self, what: &'static str, mut bytes: &[u8]) -> Result<(), DecodeError> {
        let malformed = || DecodeError::Malformed { what };
        if bytes.len() < self.least {
            return Err(malformed());
        }
        let mut count = 0;
        while !bytes.is_empty() {
            count += 1;
            if count > self.fields {
                return Err(DecodeError::TooManyFields {
                    what,
                    limit: self.fields,
                });
            }
            let tag = take_varint(&mut bytes).ok_or_else(malformed)?;
            let number = u32::try_from(tag >> 3).map_err(|_| malformed())?;
            match tag & 7 {
                0 => drop(take_varint(&mut bytes).ok_or_else(malformed)?),
                1 => drop(take(&mut bytes, 8).ok_or_else(malformed)?),
                2 => {
                    let length = take_varint(&mut bytes).ok_or_else(malformed)?;
                    let length = usize::try_from(length).map_err(|_| malformed())?;
                    let inner = take(&mut bytes, length).ok_or_else(malformed)?;
                    if let Some((_, shape)) = self.nested.iter().find(|(numbers, _)| numbers.contains(&number)) {
                        shape.check(what, inner)?;
                    }
                }
                5 => drop(take(&mut bytes, 4).ok_or_else(malformed)?),
                // Groups went out of use before this protocol was made.
                _ => return Err(malformed()),
            }
        }
        Ok(())
    }
}

/// Reads a little-endian base-128 number of at most ten bytes.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return (index < 9 || *byte <= 1).then_some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    const INNER: Shape = Shape::flat(2);
    const OUTER: Shape = Shape::with(3, &[(1..=1, &INNER)]);

    fn check(bytes: &[u8], expected: &str) {
        let told = OUTER
            .check("test message", bytes)
            .err()
            .map_or("fits".to_owned(), |error| error.to_string());
        assert_eq!(told, expected, "{bytes:02x?}");
    }

    #[test]
    fn fields_are_counted_at_every_level() {
        check(&[], "fits");
        check(&[0x08, 1, 0x10, 2, 0x18, 3], "fits");
        check(
            &[0x08, 1, 0x10, 2, 0x18, 3, 0x18, 3],
            "test message has more than 3 fields",
        );
        check(&[0x0a, 4, 0x08, 1, 0x08, 1], "fits");
        check(
            &[0x0a, 6, 0x08, 1, 0x08, 1, 0x08, 1],
            "test message has more than 2 fields",
        );
        check(&[0x12, 6, 0x08, 1, 0x08, 1, 0x08, 1], "fits");
        check(&[0x0d, 1, 2, 3, 4, 0x09, 1, 2, 3, 4, 5, 6, 7, 8], "fits");
        for broken in [
            &[0x08][..],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0xff; 11],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ] {
            check(broken, "test message cannot be read");
        }
    }

    #[test]
    fn elements_must_carry_something() {
        const SHAPE: Shape = Shape::flat(2).of_at_least(2);
        assert!(SHAPE.check("test message", &[0x08, 1]).is_ok());
        assert!(SHAPE.check("test message", &[]).is_err());
    }

    #[test]
    fn varints_have_their_full_range_and_no_more() {
        let mut max: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(take_varint(&mut max), Some(u64::MAX));
        let mut over: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(take_varint(&mut over), None);
    }
}
