//! `urlParse` and `urlJoin`, after Go's `net/url`.

use std::rc::Rc;

use nave_gotemplate::{FunctionError, Map, Value};

use crate::table::{MAP, Result, STRING, Table, map_at, nil_pointer, str_at};
use crate::text::quote;

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("urlParse", &[STRING], |caller, args| {
        let text = str_at(args, 0);
        caller.charge_bytes(text.len().saturating_mul(2))?;
        let url = Url::parse(text.as_bytes())
            .map_err(|error| FunctionError::new(format!("unable to parse url: parse {}: {error}", quote(&text))))?;
        let map = Map::new(MAP);
        let user = url.user.as_ref().map(User::text).unwrap_or_default();
        for (key, value) in [
            ("scheme", url.scheme.clone()),
            ("host", url.host.clone()),
            ("hostname", url.hostname().to_vec()),
            ("path", url.path.clone()),
            ("query", url.query.clone()),
            ("opaque", url.opaque.clone()),
            ("fragment", url.fragment.clone()),
            ("userinfo", user),
        ] {
            map.insert(key, Value::string(value));
        }
        Ok(Value::Map(Rc::new(map)))
    });
    table.add("urlJoin", &[MAP], |_, args| join(&map_at(args, 0)));
}

fn join(map: &Map) -> Result {
    let get = |key: &str| match map.get(key) {
        None => Ok(Vec::new()),
        Some(Value::Nil) => Err(nil_pointer()),
        Some(value) => match value.as_string() {
            Some(text) => Ok(text.as_bytes().to_vec()),
            None => Err(FunctionError::new(format!(
                "unable to parse {key} key, must be of type string, but {} found",
                value.kind().name()
            ))),
        },
    };
    let mut url = Url {
        scheme: get("scheme")?,
        host: get("host")?,
        path: get("path")?,
        query: get("query")?,
        opaque: get("opaque")?,
        fragment: get("fragment")?,
        user: None,
    };
    let user = get("userinfo")?;
    if !user.is_empty() {
        let whole = [b"proto://", user.as_slice(), b"@host"].concat();
        let parsed = Url::parse(&whole).map_err(|error| {
            let whole = quote(&whole.clone().into());
            FunctionError::new(format!("unable to parse userinfo in dict: parse {whole}: {error}"))
        })?;
        url.user = parsed.user;
    }
    Ok(Value::string(url.text()))
}

#[derive(Default)]
struct Url {
    scheme: Vec<u8>,
    opaque: Vec<u8>,
    user: Option<User>,
    host: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    fragment: Vec<u8>,
}

struct User {
    name: Vec<u8>,
    password: Option<Vec<u8>>,
}

/// Which characters need no escape where.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    User,
    Host,
    Path,
    Fragment,
}

impl User {
    fn text(&self) -> Vec<u8> {
        let mut out = escape(&self.name, Place::User);
        if let Some(password) = &self.password {
            out.push(b':');
            out.extend(escape(password, Place::User));
        }
        out
    }
}

fn cut(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(place) => (&text[..place], Some(&text[place + 1..])),
        None => (text, None),
    }
}

fn scheme(text: &[u8]) -> std::result::Result<(&[u8], &[u8]), String> {
    for (place, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if place > 0 => {}
            b':' if place == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok((&text[..place], &text[place + 1..])),
            _ => break,
        }
    }
    Ok((b"", text))
}

impl Url {
    fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        let (text, fragment) = cut(text, b'#');
        if text.iter().any(|byte| *byte < b' ' || *byte == 0x7F) {
            return Err("net/url: invalid control character in URL".to_owned());
        }
        let mut url = Self::default();
        if let Some(fragment) = fragment {
            url.fragment = unescape(fragment, Place::Fragment)?;
        }
        if text == b"*" {
            url.path = text.to_vec();
            return Ok(url);
        }
        let (scheme, rest) = scheme(text)?;
        url.scheme = scheme.to_ascii_lowercase();
        let (rest, query) = cut(rest, b'?');
        url.query = query.unwrap_or_default().to_vec();
        if !rest.starts_with(b"/") {
            if !url.scheme.is_empty() {
                url.opaque = rest.to_vec();
                return Ok(url);
            }
            if cut(rest, b'/').0.contains(&b':') {
                return Err("first path segment in URL cannot contain colon".to_owned());
            }
        }
        let mut path = rest;
        if let Some(authority) = rest.strip_prefix(b"//")
            && (!url.scheme.is_empty() || !rest.starts_with(b"///"))
        {
            let end = authority
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(authority.len());
            url.authority(&authority[..end])?;
            path = &authority[end..];
        }
        url.path = unescape(path, Place::Path)?;
        Ok(url)
    }

    fn authority(&mut self, text: &[u8]) -> std::result::Result<(), String> {
        let at = text.iter().rposition(|byte| *byte == b'@');
        let host = at.map_or(text, |at| &text[at + 1..]);
        self.host = host_of(host)?;
        let Some(at) = at else { return Ok(()) };
        let user = &text[..at];
        if !user
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte))
        {
            return Err("net/url: invalid userinfo".to_owned());
        }
        let (name, password) = cut(user, b':');
        self.user = Some(User {
            name: unescape(name, Place::User)?,
            password: password.map(|password| unescape(password, Place::User)).transpose()?,
        });
        Ok(())
    }

    /// The host without brackets and port.
    fn hostname(&self) -> &[u8] {
        let mut host = self.host.as_slice();
        if let Some(colon) = host.iter().rposition(|byte| *byte == b':')
            && is_port(&host[colon..])
        {
            host = &host[..colon];
        }
        host.strip_prefix(b"[")
            .and_then(|host| host.strip_suffix(b"]"))
            .unwrap_or(host)
    }

    fn text(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if !self.scheme.is_empty() {
            out.extend_from_slice(&self.scheme);
            out.push(b':');
        }
        if self.opaque.is_empty() {
            let authority = !self.host.is_empty() || self.user.is_some();
            if authority || !self.scheme.is_empty() && !self.path.is_empty() {
                out.extend_from_slice(b"//");
                if let Some(user) = &self.user {
                    out.extend(user.text());
                    out.push(b'@');
                }
                out.extend(escape(&self.host, Place::Host));
            }
            let path = if self.path == b"*" {
                b"*".to_vec()
            } else {
                escape(&self.path, Place::Path)
            };
            if !path.is_empty() && path[0] != b'/' && !self.host.is_empty() {
                out.push(b'/');
            }
            if out.is_empty() && cut(&path, b'/').0.contains(&b':') {
                out.extend_from_slice(b"./");
            }
            out.extend(path);
        } else {
            out.extend_from_slice(&self.opaque);
        }
        if !self.query.is_empty() {
            out.push(b'?');
            out.extend_from_slice(&self.query);
        }
        if !self.fragment.is_empty() {
            out.push(b'#');
            out.extend(escape(&self.fragment, Place::Fragment));
        }
        out
    }
}

fn is_port(text: &[u8]) -> bool {
    text.is_empty() || text[0] == b':' && text[1..].iter().all(u8::is_ascii_digit)
}

fn host_of(text: &[u8]) -> std::result::Result<Vec<u8>, String> {
    let port = if text.starts_with(b"[") {
        let Some(end) = text.iter().rposition(|byte| *byte == b']') else {
            return Err("missing ']' in host".to_owned());
        };
        &text[end + 1..]
    } else {
        text.iter()
            .rposition(|byte| *byte == b':')
            .map_or(&b""[..], |colon| &text[colon..])
    };
    if !is_port(port) {
        return Err(format!("invalid port {} after host", quote(&port.into())));
    }
    unescape(text, Place::Host)
}

fn needs_escape(byte: u8, place: Place) -> bool {
    match byte {
        _ if byte.is_ascii_alphanumeric() => false,
        b'-' | b'_' | b'.' | b'~' => false,
        b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'<' | b'>' | b'"' if place == Place::Host => false,
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match place {
            Place::User => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Place::Host => matches!(byte, b'/' | b'?' | b'@'),
            Place::Path => byte == b'?',
            Place::Fragment => false,
        },
        b'!' | b'(' | b')' | b'*' if place == Place::Fragment => false,
        _ => true,
    }
}

fn escape(text: &[u8], place: Place) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if needs_escape(*byte, place) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn unescape(text: &[u8], place: Place) -> std::result::Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        if *byte == b'%' {
            let digits = after
                .get(..2)
                .and_then(|digits| Some((hex(digits[0])?, hex(digits[1])?)));
            let escape = || format!("invalid URL escape {}", quote(&rest[..rest.len().min(3)].into()));
            let (high, low) = digits.ok_or_else(escape)?;
            let code = high << 4 | low;
            if place == Place::Host && code < 0x80 && code != b'%' {
                return Err(escape());
            }
            out.push(code);
            rest = &after[2..];
        } else {
            if place == Place::Host && byte.is_ascii() && needs_escape(*byte, place) {
                return Err(format!("invalid character {} in host name", quote(&rest[..1].into())));
            }
            out.push(*byte);
            rest = after;
        }
    }
    Ok(out)
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
