//! From pieces and variables to text.

use crate::{
    SyntaxError, Variables, glob,
    parse::{Call, Function, Piece, Place, parse},
};

/// Why a text could not be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// An expression is malformed.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// A variable is used that is not set and has no default; only when strict.
    #[error("variable {name:?} is not set and has no default")]
    NotSet {
        /// The variable.
        name: String,
    },
}

/// Expands every `${…}` of `text`. An unset variable is empty, or an error when `strict`.
///
/// # Errors
/// A malformed expression, or, when `strict`, an unset variable; also inside a default that is not needed.
pub fn expand(text: &str, variables: &Variables, strict: bool) -> Result<String, ExpandError> {
    if !text.contains('$') {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len());
    render(&parse(text)?, variables, strict, &mut out)?;
    Ok(out)
}

fn render(pieces: &[Piece], variables: &Variables, strict: bool, out: &mut String) -> Result<(), ExpandError> {
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Call(call) => out.push_str(&evaluate(call, variables, strict)?),
        }
    }
    Ok(())
}

fn evaluate(call: &Call, variables: &Variables, strict: bool) -> Result<String, ExpandError> {
    let argument = |pieces: &[Piece]| -> Result<String, ExpandError> {
        let mut text = String::new();
        render(pieces, variables, strict, &mut text)?;
        Ok(text)
    };
    let value = match variables.get(&call.name) {
        Some(value) => value,
        None if strict && !matches!(call.function, Function::Default(_)) => {
            return Err(ExpandError::NotSet {
                name: call.name.clone(),
            });
        }
        None => "",
    };
    Ok(match &call.function {
        Function::Value => value.to_owned(),
        Function::Length => value.len().to_string(),
        Function::Default(default) => {
            let default = argument(default)?;
            if value.is_empty() { default } else { value.to_owned() }
        }
        Function::Slice(position, length) => {
            let position = argument(position)?;
            let length = length.as_deref().map(argument).transpose()?;
            slice(value, &position, length.as_deref())
        }
        Function::Case { upper, all } => change_case(value, *upper, *all),
        Function::Trim {
            prefix,
            longest,
            pattern,
        } => {
            let pattern = argument(pattern)?;
            if *prefix {
                glob::trim_prefix(value, &pattern, *longest).to_owned()
            } else {
                glob::trim_suffix(value, &pattern, *longest).to_owned()
            }
        }
        Function::Replace { place, from, to } => replace(value, *place, &argument(from)?, &argument(to)?),
    })
}

/// Positions are bytes. What is no number leaves the value as it is; a negative position counts from the end, a
/// negative length stops that far before the end.
fn slice(value: &str, position: &str, length: Option<&str>) -> String {
    let Ok(position) = position.parse::<i64>() else {
        return value.to_owned();
    };
    let total = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let start = if position < 0 {
        position.saturating_add(total).max(0)
    } else {
        position
    };
    if start >= total {
        return String::new();
    }
    let end = match length.map(str::parse::<i64>) {
        None => total,
        Some(Err(_)) => return value.to_owned(),
        Some(Ok(length)) if length < 0 => total.saturating_add(length).max(start),
        Some(Ok(length)) => start.saturating_add(length).min(total),
    };
    let bytes = &value.as_bytes()[usize_of(start)..usize_of(end)];
    String::from_utf8_lossy(bytes).into_owned() // a cut inside a character
}

fn usize_of(position: i64) -> usize {
    usize::try_from(position).expect("positions lie between zero and the value's length")
}

fn change_case(value: &str, upper: bool, all: bool) -> String {
    let change = |text: &str| {
        if upper {
            text.to_uppercase()
        } else {
            text.to_lowercase()
        }
    };
    if all {
        return change(value);
    }
    let first = value.chars().next().map_or(0, char::len_utf8);
    change(&value[..first]) + &value[first..]
}

/// The searched text is literal, not a pattern.
fn replace(value: &str, place: Place, from: &str, to: &str) -> String {
    match place {
        Place::First => value.replacen(from, to, 1),
        Place::All => value.replace(from, to),
        Place::Start => match value.strip_prefix(from) {
            Some(rest) => format!("{to}{rest}"),
            None => value.to_owned(),
        },
        Place::End => match value.strip_suffix(from) {
            Some(rest) => format!("{rest}{to}"),
            None => value.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_where() {
        let variables = Variables::from_iter([("a", "1")]);
        let error = expand("x: ${a}\ny: ${b-c}\n", &variables, false).unwrap_err();
        assert_eq!(
            error.to_string(),
            "missing closing brace or unsupported operator in \"${b-c}\" (line 2)"
        );
        let error = expand("${c}", &variables, true).unwrap_err();
        assert_eq!(error.to_string(), "variable \"c\" is not set and has no default");
    }

    #[test]
    fn nesting_is_bounded() {
        let text = "${a:-".repeat(100_000);
        assert!(expand(&text, &Variables::new(), false).is_err());
        let text = format!("{}x{}", "${a:-".repeat(30), "}".repeat(30));
        assert_eq!(expand(&text, &Variables::new(), false).unwrap(), "x");
    }

    #[test]
    fn slices_never_panic() {
        let variables = Variables::from_iter([("v", "aé")]);
        for position in -5..6 {
            for length in -5..6 {
                let text = format!("${{v:{position}:{length}}}");
                expand(&text, &variables, false).unwrap();
            }
        }
        let text = format!("${{v:{}:{}}}", i64::MAX, i64::MAX);
        assert_eq!(expand(&text, &variables, false).unwrap(), "");
    }
}
