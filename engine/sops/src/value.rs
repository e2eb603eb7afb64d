//! A file as a tree: what all formats have in common.

/// A value. Texts are bytes because binary files are kept as one text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Vec<u8>),
    /// A point in time, as RFC 3339 with as many digits of a second as it has.
    Time(String),
    /// A comment in a list.
    Comment(Vec<u8>),
    List(Vec<Value>),
    Map(Vec<Item>),
}

/// A line of a map, in the order of the file. Two entries may have one key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Item {
    /// Without its mark: what follows the `#`.
    Comment(Vec<u8>),
    Entry(String, Value),
}

/// One document; YAML files have several.
pub(crate) type Branch = Vec<Item>;

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Value {
        Value::Text(text.into().into_bytes())
    }

    /// What it is, with an article.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Float(_) => "a number",
            Value::Text(_) => "a text",
            Value::Time(_) => "a point in time",
            Value::Comment(_) => "a comment",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }
}

/// The value of a key; of equal keys the first.
pub(crate) fn get<'a>(branch: &'a [Item], name: &str) -> Option<&'a Value> {
    branch.iter().find_map(|item| match item {
        Item::Entry(key, value) if key == name => Some(value),
        _ => None,
    })
}

/// Removes all entries of a key and returns the first.
pub(crate) fn take(branch: &mut Branch, name: &str) -> Option<Value> {
    let mut found = None;
    branch.retain_mut(|item| match item {
        Item::Entry(key, value) if key == name => {
            let value = std::mem::replace(value, Value::Null);
            found.get_or_insert(value);
            false
        }
        _ => true,
    });
    found
}

/// A float as SOPS encrypts and signs it: Go's `'f'` with the fewest digits.
pub(crate) fn fixed(number: f64) -> String {
    if number.is_nan() {
        "NaN".to_owned()
    } else if number.is_infinite() {
        if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        format!("{number}")
    }
}
