//! The grammar of `--set` and its kin: `a.b[0].c=v,d={x,y}`.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::{Map, Value};

use super::{merge_maps, with_floats};
use crate::Values;
use crate::text::quote;

/// The largest index of a list.
const MAX_INDEX: i64 = 65_536;
/// How many dots a key may have.
const MAX_NESTING: usize = 30;

/// A line of `--set` that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SetError(pub String);

/// `--set`: booleans, null and integers are what they look like, all else is text.
///
/// # Errors
/// Keys without values, indices that are negative or beyond 65,536, keys of more than 30 levels, lists without an end,
/// and a key that goes through something other than a map or list.
pub fn set(line: &str, values: &mut Values) -> Result<(), SetError> {
    Parser::new(line, Mode::Typed).parse(values)
}

/// `--set-string`: every value is a text.
///
/// # Errors
/// As [`set`].
pub fn set_string(line: &str, values: &mut Values) -> Result<(), SetError> {
    Parser::new(line, Mode::Text).parse(values)
}

/// `--set-file`: every value names a file, whose text `read` gives.
///
/// # Errors
/// As [`set`], and what `read` says.
pub fn set_file(
    line: &str,
    values: &mut Values,
    mut read: impl FnMut(&str) -> Result<String, SetError>,
) -> Result<(), SetError> {
    Parser::new(line, Mode::File(&mut read)).parse(values)
}

/// `--set-json`: values are JSON; the whole may be one JSON object, which is laid over the values.
///
/// # Errors
/// As [`set`], and broken JSON.
pub fn set_json(line: &str, values: &mut Values) -> Result<(), SetError> {
    if line.trim_start().starts_with('{') {
        let object: Map<String, Value> =
            serde_json::from_str(line.trim()).map_err(|error| SetError(error.to_string()))?;
        let object = object.into_iter().map(|(key, value)| (key, with_floats(value)));
        merge_maps(values, object.collect());
        return Ok(());
    }
    Parser::new(line, Mode::Json).parse(values)
}

/// `--set-literal`: all that follows the first `=` is the value, as it is.
///
/// # Errors
/// As [`set`].
pub fn set_literal(line: &str, values: &mut Values) -> Result<(), SetError> {
    Parser::new(line, Mode::Literal).parse(values)
}

enum Mode<'a> {
    Typed,
    Text,
    File(&'a mut dyn FnMut(&str) -> Result<String, SetError>),
    Json,
    Literal,
}

/// What ends parsing: the end of the line, which is how it should be, or an error.
enum Stop {
    End,
    Error(SetError),
}

impl Stop {
    fn new(problem: impl Into<String>) -> Stop {
        Stop::Error(SetError(problem.into()))
    }
}

struct Parser<'a> {
    line: &'a str,
    rest: Peekable<Chars<'a>>,
    mode: Mode<'a>,
}

impl<'a> Parser<'a> {
    fn new(line: &'a str, mode: Mode<'a>) -> Parser<'a> {
        Parser {
            line,
            rest: line.chars().peekable(),
            mode,
        }
    }

    fn parse(mut self, values: &mut Values) -> Result<(), SetError> {
        loop {
            match self.key(values, 0) {
                Ok(()) => {}
                Err(Stop::End) => return Ok(()),
                Err(Stop::Error(error)) => return Err(error),
            }
        }
    }

    /// What comes before one of `stops`, and which; without one, nothing at the end of the line.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let escapes = !matches!(self.mode, Mode::Literal);
        let mut text = String::new();
        while let Some(c) = self.rest.next() {
            match c {
                c if stops.contains(&c) => return (text, Some(c)),
                '\\' if escapes => match self.rest.next() {
                    Some(next) => text.push(next),
                    None => return (text, None),
                },
                c => text.push(c),
            }
        }
        (text, None)
    }

    fn key(&mut self, data: &mut Values, level: usize) -> Result<(), Stop> {
        let stops: &[char] = match self.mode {
            Mode::Literal => &['=', '[', '.'],
            _ => &['=', '[', ',', '.'],
        };
        let (key, stop) = self.until(stops);
        match stop {
            None if key.is_empty() => Err(Stop::End),
            None => Err(Stop::new(format!("key {} has no value", quote(&key)))),
            Some('[') => {
                let index = self.index()?;
                let mut list = match data.get_mut(&key) {
                    None => Vec::new(),
                    Some(Value::Array(list)) => std::mem::take(list),
                    Some(other) => return Err(conversion(other, "[]interface {}")),
                };
                let result = self.item(&mut list, index, level);
                put(data, key, Value::Array(list));
                result
            }
            Some('=') => {
                // A value that is not there counts as an empty one, and the line is over.
                let (value, result) = self.value();
                if let Some(value) = value {
                    put(data, key, value);
                }
                result
            }
            Some('.') => self.map(data, key, level),
            Some(_) => {
                let problem = format!("key {} has no value (cannot end with ,)", quote(&key));
                put(data, key, Value::String(String::new()));
                Err(Stop::new(problem))
            }
        }
    }

    fn map(&mut self, data: &mut Values, key: String, level: usize) -> Result<(), Stop> {
        let level = deeper(level)?;
        let mut inner = match data.get_mut(&key) {
            None => Values::new(),
            Some(Value::Object(map)) => std::mem::take(map),
            Some(other) => return Err(conversion(other, "map[string]interface {}")),
        };
        let result = self.key(&mut inner, level);
        let is_empty = inner.is_empty();
        if !is_empty {
            put(data, key.clone(), Value::Object(inner));
        }
        match result {
            Ok(()) if is_empty => Err(Stop::new(format!("key map {} has no value", quote(&key)))),
            result => result,
        }
    }

    /// The value to put, if any, and how to go on.
    fn value(&mut self) -> (Option<Value>, Result<(), Stop>) {
        match &self.mode {
            Mode::Json => match self.json() {
                Ok(value) => (Some(value), Ok(())),
                Err(stop) => (None, Err(stop)),
            },
            Mode::Literal => (Some(Value::String(self.rest.by_ref().collect())), Ok(())),
            _ if self.rest.peek().is_none() => (Some(Value::String(String::new())), Err(Stop::End)),
            _ if self.rest.peek() == Some(&'{') => match self.list() {
                Ok(list) => (Some(list), Ok(())),
                Err(stop) => (None, Err(stop)),
            },
            _ => {
                let (text, _) = self.until(&[',']);
                match self.typed(text) {
                    Ok(value) => (Some(value), Ok(())),
                    Err(error) => (Some(Value::Null), Err(Stop::Error(error))),
                }
            }
        }
    }

    fn list(&mut self) -> Result<Value, Stop> {
        self.rest.next();
        let mut list = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            let Some(stop) = stop else {
                return Err(Stop::new("list must terminate with '}'"));
            };
            list.push(self.typed(text).map_err(Stop::Error)?);
            if stop == '}' {
                self.rest.next_if_eq(&',');
                return Ok(Value::Array(list));
            }
        }
    }

    fn typed(&mut self, text: String) -> Result<Value, SetError> {
        match &mut self.mode {
            Mode::File(read) => read(&text).map(Value::String),
            Mode::Typed => Ok(look_like(text)),
            _ => Ok(Value::String(text)),
        }
    }

    /// One JSON value, or null where there is none before the next comma; the comma is taken, too.
    fn json(&mut self) -> Result<Value, Stop> {
        if self.is_empty_value() {
            return Ok(Value::Null);
        }
        let rest: String = self.rest.clone().collect();
        let mut stream = serde_json::Deserializer::from_str(&rest).into_iter::<Value>();
        let value = match stream.next() {
            Some(Ok(value)) => with_floats(value),
            Some(Err(error)) => return Err(Stop::new(error.to_string())),
            None => return Err(Stop::End),
        };
        let start = self.line.len() - rest.len() + stream.byte_offset();
        self.rest = self.line[start..].chars().peekable();
        self.is_empty_value();
        Ok(value)
    }

    /// Takes blanks and a comma; whether there was nothing else up to there.
    fn is_empty_value(&mut self) -> bool {
        while let Some(c) = self.rest.peek() {
            match c {
                ',' => {
                    self.rest.next();
                    return true;
                }
                c if c.is_whitespace() => {
                    self.rest.next();
                }
                _ => return false,
            }
        }
        true
    }

    fn index(&mut self) -> Result<i64, Stop> {
        let (text, stop) = self.until(&[']']);
        // An index without an end is the end of the line, which Helm does not mind.
        if stop.is_none() {
            return Err(Stop::End);
        }
        text.parse().map_err(|_| {
            Stop::new(format!(
                "error parsing index: strconv.Atoi: parsing {}: invalid syntax",
                quote(&text)
            ))
        })
    }

    fn item(&mut self, list: &mut Vec<Value>, index: i64, level: usize) -> Result<(), Stop> {
        if index < 0 {
            return Err(Stop::new(format!("negative {index} index not allowed")));
        }
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            let letters: Vec<String> = text.chars().map(|c| format!("'{c}'")).collect();
            return Err(Stop::new(format!(
                "unexpected data at end of array index: [{}]",
                letters.join(" ")
            )));
        }
        let there = usize::try_from(index).ok().and_then(|index| list.get_mut(index));
        match stop {
            None => Err(Stop::End),
            Some('=') => {
                let (value, result) = self.value();
                match (value, result) {
                    (Some(value), Ok(()) | Err(Stop::End)) => put_at(list, index, value),
                    (_, result) => result,
                }
            }
            Some('[') => {
                let next = self.index()?;
                let level = deeper(level)?;
                let mut inner = match there {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::Array(inner)) => inner.clone(),
                    Some(other) => return Err(conversion(other, "[]interface {}")),
                };
                self.item(&mut inner, next, level)?;
                put_at(list, index, Value::Array(inner))
            }
            _ => {
                let mut inner = match there {
                    Some(Value::Object(inner)) => inner.clone(),
                    Some(other) => {
                        *other = Value::Object(Values::new());
                        Values::new()
                    }
                    None => Values::new(),
                };
                self.key(&mut inner, level)?;
                put_at(list, index, Value::Object(inner))
            }
        }
    }
}

fn deeper(level: usize) -> Result<usize, Stop> {
    match level + 1 {
        level if level > MAX_NESTING => Err(Stop::new(format!(
            "value name nested level is greater than maximum supported nested level of {MAX_NESTING}"
        ))),
        level => Ok(level),
    }
}

fn put(data: &mut Values, key: String, value: Value) {
    if !key.is_empty() {
        data.insert(key, value);
    }
}

fn put_at(list: &mut Vec<Value>, index: i64, value: Value) -> Result<(), Stop> {
    if index > MAX_INDEX {
        return Err(Stop::new(format!(
            "index of {index} is greater than maximum supported index of {MAX_INDEX}"
        )));
    }
    let index = usize::try_from(index).map_err(|_| Stop::new(format!("negative {index} index not allowed")))?;
    if list.len() <= index {
        list.resize(index + 1, Value::Null);
    }
    list[index] = value;
    Ok(())
}

fn conversion(value: &Value, wanted: &str) -> Stop {
    let found = match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    Stop::new(format!(
        "unable to parse key: interface conversion: interface {{}} is {found}, not {wanted}"
    ))
}

fn look_like(text: String) -> Value {
    for (word, value) in [
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("null", Value::Null),
        ("0", Value::from(0)),
    ] {
        if text.eq_ignore_ascii_case(word) {
            return value;
        }
    }
    // What starts with a zero is an identifier of some kind more often than a number.
    let is_number = !text.starts_with('0');
    match text.parse::<i64>() {
        Ok(number) if is_number => Value::from(number),
        _ => Value::String(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    type Set = fn(&str, &mut Values) -> Result<(), SetError>;

    fn check(set: Set, line: &str, wanted: Value) {
        let mut values = Values::new();
        set(line, &mut values).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(Value::Object(values), wanted, "{line}");
    }

    fn check_error(set: Set, base: Value, line: &str, problem: &str) {
        let mut values = match base {
            Value::Object(values) => values,
            _ => Values::new(),
        };
        let error = set(line, &mut values).expect_err(line).to_string();
        assert!(error.contains(problem), "{line}: {error}");
    }

    #[test]
    fn values_have_the_types_they_look_like() {
        check(
            set,
            "a=1,b=x,c=true,d=NULL,e=,f=007,g=1.5,h=0,i=-3",
            json!({"a": 1, "b": "x", "c": true, "d": null,
            "e": "", "f": "007", "g": "1.5", "h": 0, "i": -3}),
        );
        check(
            set_string,
            "a=1,c=true,l={1,2}",
            json!({"a": "1", "c": "true", "l": ["1", "2"]}),
        );
        check(set, "a=9223372036854775808", json!({"a": "9223372036854775808"}));
    }

    #[test]
    fn keys_have_dots_indices_and_escapes() {
        check(set, "a.b.c=1,a.b.d=2", json!({"a": {"b": {"c": 1, "d": 2}}}));
        check(set, "a\\.b=1,c=x\\,y", json!({"a.b": 1, "c": "x,y"}));
        check(set, "a[1].b=x,a[0]=y", json!({"a": ["y", {"b": "x"}]}));
        check(set, "a[0][1]=x", json!({"a": [[null, "x"]]}));
        check(
            set,
            "l={a,1, b},m={},n=x",
            json!({"l": ["a", 1, " b"], "m": [""], "n": "x"}),
        );
        check(
            set,
            "a={x},b[0]={y,z},c=1",
            json!({"a": ["x"], "b": [["y", "z"]], "c": 1}),
        );
        check(set, "a=b=c", json!({"a": "b=c"}));
        check(set, "", json!({}));
        check(set, "=x", json!({}));
    }

    #[test]
    fn json_literal_and_files() {
        check(
            set_json,
            "a={\"b\":[1,null]},c= 2 ,d=\"x,y\",e=",
            json!({"a": {"b": [1.0, null]}, "c": 2.0,
            "d": "x,y", "e": null}),
        );
        check(set_json, " {\"a\": {\"b\": 1}}", json!({"a": {"b": 1.0}}));
        check(set_json, "a[1]=true,a[0]=[]", json!({"a": [[], true]}));
        check(set_literal, "a.b=x,y={1}\\", json!({"a": {"b": "x,y={1}\\"}}));
        let mut values = Values::new();
        set_file("a=one,b.c=two", &mut values, |name| Ok(format!("<{name}>"))).unwrap();
        assert_eq!(Value::Object(values), json!({"a": "<one>", "b": {"c": "<two>"}}));
    }

    #[test]
    fn what_cannot_be_understood_is_said() {
        check_error(set, json!({}), "a", "key \"a\" has no value");
        check_error(set, json!({}), "a,b=1", "key \"a\" has no value (cannot end with ,)");
        check_error(set, json!({}), "a.=,b=1", "key map \"a\" has no value");
        check_error(set, json!({}), "a={x", "list must terminate with '}'");
        check_error(set, json!({}), "a[-1]=x", "negative -1 index not allowed");
        check_error(
            set,
            json!({}),
            "a[65537]=x",
            "index of 65537 is greater than maximum supported index of 65536",
        );
        check_error(set, json!({}), "a[x]=1", "error parsing index");
        check_error(
            set,
            json!({}),
            "a[0]b=1",
            "unexpected data at end of array index: \"b\"",
        );
        check_error(
            set,
            json!({"a": "x"}),
            "a.b=1",
            "interface {} is string, not map[string]interface {}",
        );
        check_error(
            set,
            json!({"a": {}}),
            "a[0]=1",
            "is map[string]interface {}, not []interface {}",
        );
        check_error(set_json, json!({}), "a={", "");
        let deep = format!("{}=1", vec!["a"; 40].join("."));
        check_error(set, json!({}), &deep, "maximum supported nested level of 30");
        let deep = format!("a{}=1", "[0]".repeat(5000));
        check_error(set, json!({}), &deep, "maximum supported nested level of 30");
    }
}
