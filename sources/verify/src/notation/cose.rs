//! Envelopes in CBOR: `COSE_Sign1`, as much of CBOR as that needs.

use super::envelope::{
    AUTHENTIC_TIME, Algorithm, EXPIRY, Envelope, SCHEME, SIGNING_TIME, Scheme, check_critical, malformed, scheme,
    target,
};
use crate::SignatureError;

/// A value of CBOR (RFC 8949) of definite length.
#[derive(Debug, Clone, PartialEq)]
enum Cbor {
    Integer(i64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Cbor>),
    Map(Vec<(Cbor, Cbor)>),
    Tagged(u64, Box<Cbor>),
    /// `false`, `null`, floating-point numbers: none of them means anything here.
    Other,
}

const SIGN1: u64 = 18;
const EPOCH: u64 = 1;
const ALGORITHM: i64 = 1;
const CRITICAL: i64 = 2;
const CONTENT_TYPE: i64 = 3;
const CHAIN: i64 = 33;
const DEEPEST: usize = 16;
/// Items of one list or map.
const MOST: u64 = 1024;

/// Reads an envelope; nothing is verified yet.
pub(crate) fn read(bytes: &[u8]) -> Result<Envelope, SignatureError> {
    let mut reader = Reader { rest: bytes };
    let whole = reader.value(0)?;
    if !reader.rest.is_empty() {
        return Err(malformed("it goes on after its end"));
    }
    let Cbor::Tagged(SIGN1, inner) = whole else {
        return Err(malformed("it is no COSE_Sign1"));
    };
    let Cbor::List(parts) = *inner else {
        return Err(malformed("it is no COSE_Sign1"));
    };
    let [
        Cbor::Bytes(protected),
        Cbor::Map(unprotected),
        Cbor::Bytes(payload),
        Cbor::Bytes(signature),
    ] = &parts[..]
    else {
        return Err(malformed("it is no COSE_Sign1 with a payload"));
    };
    let mut reader = Reader { rest: protected };
    let Cbor::Map(header) = reader.value(0)? else {
        return Err(malformed("its protected header is no map"));
    };
    if !reader.rest.is_empty() {
        return Err(malformed("its protected header goes on after its end"));
    }
    let number = |label: i64| find(&header, &Cbor::Integer(label));
    let named = |name: &str| find(&header, &Cbor::Text(name.to_owned()));
    if let Some(Cbor::List(critical)) = number(CRITICAL) {
        let mut names = Vec::new();
        for label in critical {
            match label {
                Cbor::Text(name) => names.push(name.as_str()),
                Cbor::Integer(ALGORITHM | CONTENT_TYPE) => {}
                _ => return Err(malformed("it has a critical header that is not supported")),
            }
        }
        check_critical(names)?;
    }
    let algorithm = match number(ALGORITHM) {
        Some(Cbor::Integer(-37)) => Algorithm::Ps256,
        Some(Cbor::Integer(-38)) => Algorithm::Ps384,
        Some(Cbor::Integer(-39)) => Algorithm::Ps512,
        Some(Cbor::Integer(-7)) => Algorithm::Es256,
        Some(Cbor::Integer(-35)) => Algorithm::Es384,
        Some(Cbor::Integer(-36)) => Algorithm::Es512,
        _ => return Err(malformed("its algorithm is not allowed")),
    };
    let Some(Cbor::Text(content_type)) = number(CONTENT_TYPE) else {
        return Err(malformed("it has no content type"));
    };
    let Some(Cbor::Text(scheme_name)) = named(SCHEME) else {
        return Err(malformed("it has no signing scheme"));
    };
    let scheme = scheme(scheme_name)?;
    let time = match scheme {
        Scheme::X509 => named(SIGNING_TIME),
        Scheme::SigningAuthority => named(AUTHENTIC_TIME),
    };
    let certificates = match find(unprotected, &Cbor::Integer(CHAIN)) {
        Some(Cbor::Bytes(one)) => vec![one.clone()],
        Some(Cbor::List(all)) => all.iter().map(bytes_of).collect::<Result<_, _>>()?,
        _ => return Err(malformed("it has no chain of certificates")),
    };
    let mut signed = vec![0x84];
    write(&mut signed, 3, b"Signature1");
    write(&mut signed, 2, protected);
    write(&mut signed, 2, b"");
    write(&mut signed, 2, payload);
    Ok(Envelope {
        algorithm,
        signed,
        signature: signature.clone(),
        certificates,
        scheme,
        signed_at: second(time.ok_or_else(|| malformed("it has no signing time"))?)?,
        expires_at: named(EXPIRY).map(second).transpose()?,
        target: target(content_type, payload)?,
    })
}

fn find<'a>(map: &'a [(Cbor, Cbor)], label: &Cbor) -> Option<&'a Cbor> {
    map.iter().find(|(key, _)| key == label).map(|(_, value)| value)
}

fn bytes_of(value: &Cbor) -> Result<Vec<u8>, SignatureError> {
    match value {
        Cbor::Bytes(bytes) => Ok(bytes.clone()),
        _ => Err(malformed("its chain holds something else than certificates")),
    }
}

fn second(value: &Cbor) -> Result<i64, SignatureError> {
    match value {
        Cbor::Tagged(EPOCH, inner) => match **inner {
            Cbor::Integer(second) => Ok(second),
            _ => Err(malformed("a point in time is no number of seconds")),
        },
        _ => Err(malformed("a point in time is no number of seconds")),
    }
}

/// Bytes or text with their header.
fn write(out: &mut Vec<u8>, major: u8, content: &[u8]) {
    let major = major << 5;
    match content.len() {
        short @ 0..=23 => out.push(major | short as u8),
        middle @ 24..=0xff => out.extend([major | 24, middle as u8]),
        long @ 0x100..=0xffff => {
            out.push(major | 25);
            out.extend((long as u16).to_be_bytes());
        }
        longer => {
            out.push(major | 26);
            out.extend((longer as u32).to_be_bytes());
        }
    }
    out.extend(content);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], SignatureError> {
        if count > self.rest.len() {
            return Err(malformed("it ends early"));
        }
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<(u8, u8, u64), SignatureError> {
        let first = self.take(1)?[0];
        let (major, short) = (first >> 5, first & 0x1f);
        let argument = match short {
            0..=23 => u64::from(short),
            24..=27 => {
                let bytes = self.take(1 << (short - 24))?;
                bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
            }
            _ => return Err(malformed("it has a value of no definite length")),
        };
        Ok((major, short, argument))
    }

    fn value(&mut self, depth: usize) -> Result<Cbor, SignatureError> {
        if depth > DEEPEST {
            return Err(malformed("its values lie too deep"));
        }
        let too_large = |_| malformed("a number is too large");
        let (major, _, argument) = self.head()?;
        let count = || {
            if argument > MOST {
                Err(malformed("a list is too long"))
            } else {
                Ok(argument)
            }
        };
        Ok(match major {
            0 => Cbor::Integer(i64::try_from(argument).map_err(too_large)?),
            1 => Cbor::Integer(-1 - i64::try_from(argument).map_err(too_large)?),
            2 => Cbor::Bytes(self.take(usize::try_from(argument).map_err(too_large)?)?.to_vec()),
            3 => {
                let bytes = self.take(usize::try_from(argument).map_err(too_large)?)?.to_vec();
                Cbor::Text(String::from_utf8(bytes).map_err(|_| malformed("a text is not UTF-8"))?)
            }
            4 => {
                let mut list = Vec::new();
                for _ in 0..count()? {
                    list.push(self.value(depth + 1)?);
                }
                Cbor::List(list)
            }
            5 => {
                let mut map: Vec<(Cbor, Cbor)> = Vec::new();
                for _ in 0..count()? {
                    let key = self.value(depth + 1)?;
                    if find(&map, &key).is_some() {
                        return Err(malformed("a label stands twice in a map"));
                    }
                    map.push((key, self.value(depth + 1)?));
                }
                Cbor::Map(map)
            }
            6 => Cbor::Tagged(argument, Box::new(self.value(depth + 1)?)),
            _ => Cbor::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_refused() {
        let deep: Vec<u8> = std::iter::repeat_n(0x81, 10_000).collect();
        for bytes in [
            &b""[..],
            &[0xd2],
            &[0xd2, 0x84, 0x40, 0xa0, 0x40],
            &[0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40, 0x00],
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x9f, 0xff],
            &[0xa2, 0x01, 0x01, 0x01, 0x02],
            &deep,
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.starts_with("the envelope cannot be read"), "{error}");
        }
    }
}
