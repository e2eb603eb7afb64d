//! Sprig's functions of regular expressions, in the syntax of Go's `regexp`.

mod syntax;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use nave_gotemplate::{Caller, FunctionError, Value};
use regex::{Captures, Regex, RegexBuilder};

use crate::dicts::nil_strings;
use crate::table::{INT, Result, STRING, Table, int_at, size, text_at};

/// The longest expression, in bytes.
const MAX_PATTERN: usize = 64 << 10;
/// How large a compiled expression and its tables may be, in bytes.
const MAX_COMPILED: usize = 4 << 20;
/// How many compiled expressions are kept.
const MAX_KEPT: usize = 256;

/// Expressions that have been compiled in this render.
#[derive(Default)]
pub(crate) struct Cache {
    compiled: HashMap<String, std::result::Result<Regex, String>>,
}

pub(crate) fn register(table: &mut Table<'_>, cache: &Rc<RefCell<Cache>>) {
    let mut add = |name: &str,
                   must: &str,
                   params: &'static [nave_gotemplate::GoType],
                   f: fn(&mut Caller<'_>, &Regex, &[Value]) -> Result| {
        let shared = Rc::clone(cache);
        let quiet = name == "regexMatch";
        table.add(name, params, move |caller, args| {
            let pattern = text_at(args, 0);
            match compile(caller, &shared, &pattern)? {
                Ok(regex) => run(caller, &regex, args, f),
                Err(_) if quiet => Ok(false.into()),
                Err(error) => Err(FunctionError::new(format!(
                    "regexp: Compile({}): {error}",
                    back_quoted(&pattern)
                ))),
            }
        });
        let shared = Rc::clone(cache);
        table.add(must, params, move |caller, args| {
            match compile(caller, &shared, &text_at(args, 0))? {
                Ok(regex) => run(caller, &regex, args, f),
                Err(error) => Err(FunctionError::new(error)),
            }
        });
    };
    const TWO: &[nave_gotemplate::GoType] = &[STRING, STRING];
    const COUNTED: &[nave_gotemplate::GoType] = &[STRING, STRING, INT];
    const THREE: &[nave_gotemplate::GoType] = &[STRING, STRING, STRING];
    add("regexMatch", "mustRegexMatch", TWO, |_, regex, args| {
        Ok(regex.is_match(&text_at(args, 1)).into())
    });
    add("regexFind", "mustRegexFind", TWO, |_, regex, args| {
        Ok(regex.find(&text_at(args, 1)).map_or("", |found| found.as_str()).into())
    });
    add("regexFindAll", "mustRegexFindAll", COUNTED, |caller, regex, args| {
        let (text, count) = (text_at(args, 1), int_at(args, 2));
        let most = if count < 0 { usize::MAX } else { size(count.into()) };
        let found: Vec<&str> = regex.find_iter(&text).take(most).map(|found| found.as_str()).collect();
        caller.charge_items(found.len())?;
        Ok(if found.is_empty() {
            nil_strings()
        } else {
            Value::strings(found)
        })
    });
    add(
        "regexReplaceAll",
        "mustRegexReplaceAll",
        THREE,
        |caller, regex, args| {
            let template = Template::new(&text_at(args, 2));
            replace(caller, regex, &text_at(args, 1), |captures, out| {
                template.expand(regex, captures, out)
            })
        },
    );
    add(
        "regexReplaceAllLiteral",
        "mustRegexReplaceAllLiteral",
        THREE,
        |caller, regex, args| {
            let with = text_at(args, 2);
            replace(caller, regex, &text_at(args, 1), |_, out| out.push_str(&with))
        },
    );
    add("regexSplit", "mustRegexSplit", COUNTED, |caller, regex, args| {
        let text = text_at(args, 1);
        match split(regex, &text, int_at(args, 2)) {
            Some(parts) => {
                caller.charge_items(parts.len())?;
                Ok(Value::strings(parts))
            }
            None => Ok(nil_strings()),
        }
    });
    table.add("regexQuoteMeta", &[STRING], |caller, args| {
        let text = text_at(args, 0);
        caller.charge_bytes(text.len().saturating_mul(2))?;
        let mut out = String::with_capacity(text.len());
        for c in text.chars() {
            if r"\.+*?()|[]{}^$".contains(c) {
                out.push('\\');
            }
            out.push(c);
        }
        Ok(out.into())
    });
}

fn compile(
    caller: &mut Caller<'_>,
    cache: &RefCell<Cache>,
    pattern: &str,
) -> std::result::Result<std::result::Result<Regex, String>, FunctionError> {
    let mut cache = cache.borrow_mut();
    if let Some(known) = cache.compiled.get(pattern) {
        return Ok(known.clone());
    }
    caller.charge(1000 + 20 * pattern.len() as u64)?;
    let compiled = if pattern.len() > MAX_PATTERN {
        Err("error parsing regexp: expression too large".to_owned())
    } else {
        syntax::translate(pattern).and_then(|pattern| {
            RegexBuilder::new(&pattern)
                .size_limit(MAX_COMPILED)
                .dfa_size_limit(MAX_COMPILED)
                .nest_limit(250)
                .build()
                .map_err(|error| match error {
                    regex::Error::CompiledTooBig(_) => "error parsing regexp: expression too large".to_owned(),
                    error => format!(
                        "error parsing regexp: {}",
                        error.to_string().lines().last().unwrap_or_default()
                    ),
                })
        })
    };
    if cache.compiled.len() >= MAX_KEPT {
        cache.compiled.clear();
    }
    cache.compiled.insert(pattern.to_owned(), compiled.clone());
    Ok(compiled)
}

/// Charges the search, which takes time by the length of the text and at worst by that of the expression too.
fn run(
    caller: &mut Caller<'_>,
    regex: &Regex,
    args: &[Value],
    f: fn(&mut Caller<'_>, &Regex, &[Value]) -> Result,
) -> Result {
    let text = args.get(1).and_then(Value::as_string).map_or(0, |text| text.len());
    caller.charge((text as u64).saturating_mul(1 + regex.as_str().len() as u64 / 64) / 16)?;
    f(caller, regex, args)
}

fn replace(
    caller: &mut Caller<'_>,
    regex: &Regex,
    text: &str,
    mut with: impl FnMut(&Captures<'_>, &mut String),
) -> Result {
    let mut out = String::with_capacity(text.len());
    let mut charged = 0;
    let mut last = 0;
    for captures in regex.captures_iter(text) {
        let whole = captures.get(0).expect("group 0 is the whole match");
        out.push_str(&text[last..whole.start()]);
        with(&captures, &mut out);
        last = whole.end();
        caller.charge(1)?;
        if out.len() - charged > 1 << 16 {
            caller.charge_bytes(out.len() - charged)?;
            charged = out.len();
        }
    }
    out.push_str(&text[last..]);
    caller.charge_bytes(out.len() - charged)?;
    Ok(out.into())
}

/// `Regexp.Split`.
fn split<'a>(regex: &Regex, text: &'a str, n: i64) -> Option<Vec<&'a str>> {
    if n == 0 {
        return None;
    }
    if !regex.as_str().is_empty() && text.is_empty() {
        return Some(vec![""]);
    }
    let most = if n < 0 { usize::MAX } else { size(n.into()) };
    let mut parts = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for found in regex.find_iter(text).take(most) {
        if n > 0 && parts.len() + 1 == most {
            break;
        }
        end = found.start();
        if found.end() != 0 {
            parts.push(&text[begin..end]);
        }
        begin = found.end();
    }
    if end != text.len() {
        parts.push(&text[begin..]);
    }
    Some(parts)
}

/// A replacement with `$1`, `${name}` and `$$` in it.
struct Template(Vec<Piece>);

enum Piece {
    Text(String),
    Number(usize),
    Name(String),
}

impl Template {
    fn new(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            pieces.push(Piece::Text(before.to_owned()));
            if let Some(after) = after.strip_prefix('$') {
                pieces.push(Piece::Text("$".to_owned()));
                rest = after;
            } else if let Some((name, after)) = reference(after) {
                let number =
                    name.bytes().all(|byte| byte.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
                match name.parse() {
                    Ok(n) if number && n < 100_000_000 => pieces.push(Piece::Number(n)),
                    _ => pieces.push(Piece::Name(name.to_owned())),
                }
                rest = after;
            } else {
                pieces.push(Piece::Text("$".to_owned()));
                rest = after;
            }
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Self(pieces)
    }

    fn expand(&self, regex: &Regex, captures: &Captures<'_>, out: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Number(n) => out.push_str(captures.get(*n).map_or("", |group| group.as_str())),
                Piece::Name(name) => {
                    if regex.capture_names().flatten().any(|known| known == name) {
                        out.push_str(captures.name(name).map_or("", |group| group.as_str()));
                    }
                }
            }
        }
    }
}

/// The name after a dollar sign, as long as it gets, or in braces; and what follows.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (inner, braced) = text.strip_prefix('{').map_or((text, false), |inner| (inner, true));
    let end = inner
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(inner.len());
    if end == 0 {
        return None;
    }
    let after = &inner[end..];
    if braced {
        Some((&inner[..end], after.strip_prefix('}')?))
    } else {
        Some((&inner[..end], after))
    }
}

fn back_quoted(text: &str) -> String {
    if text.contains('`') || text.chars().any(|c| c.is_control() && c != '\t') {
        crate::text::quote(&text.into())
    } else {
        format!("`{text}`")
    }
}
