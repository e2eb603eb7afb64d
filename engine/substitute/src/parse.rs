//! From text to pieces: literal text and `${…}` functions, whose arguments are pieces again.

use std::fmt;

/// Nesting of `${a:-${b:-…}}` is bounded, so that no manifest can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// One piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Call(Call),
}

/// `${name…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub name: String,
    pub function: Function,
}

/// What is done with the variable's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Function {
    /// `${v}`
    Value,
    /// `${#v}`
    Length,
    /// `${v:-d}`, `${v:=d}`, `${v=d}`; `${v:?d}` and `${v:+d}` mean the same here.
    Default(Vec<Piece>),
    /// `${v:pos}`, `${v:pos:len}`
    Slice(Vec<Piece>, Option<Vec<Piece>>),
    /// `${v^}`, `${v^^}`, `${v,}`, `${v,,}`
    Case { upper: bool, all: bool },
    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`
    Trim {
        prefix: bool,
        longest: bool,
        pattern: Vec<Piece>,
    },
    /// `${v/a/b}`, `${v//a/b}`, `${v/#a/b}`, `${v/%a/b}`
    Replace {
        place: Place,
        from: Vec<Piece>,
        to: Vec<Piece>,
    },
}

/// Which occurrences a replacement touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    First,
    All,
    Start,
    End,
}

/// Text that is no valid expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} in {excerpt:?} (line {line})")]
pub struct SyntaxError {
    problem: Problem,
    /// From the `${` on, at most some 40 characters.
    pub excerpt: String,
    /// 1-based line of the `${`.
    pub line: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    MissingBrace,
    MissingName,
    BadReplacement,
    TooDeep,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::MissingBrace => "missing closing brace or unsupported operator",
            Problem::MissingName => "missing variable name",
            Problem::BadReplacement => "replacement without a second slash",
            Problem::TooDeep => "expressions nested too deeply",
        })
    }
}

/// Parses a whole text.
pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, SyntaxError> {
    let mut parser = Parser {
        text,
        position: 0,
        depth: 0,
    };
    let mut pieces = Vec::new();
    let mut literal = String::new();
    while let Some(next) = parser.peek() {
        if parser.rest().starts_with("${") {
            flush(&mut literal, &mut pieces);
            let start = parser.position;
            let call = parser.call().map_err(|problem| error(text, start, problem))?;
            pieces.push(Piece::Call(call));
        } else if parser.rest().starts_with("$$") {
            // The second dollar is literal even when a brace follows: this is how `${x}` is written.
            literal.push('$');
            parser.position += 2;
        } else {
            literal.push(next);
            parser.position += next.len_utf8();
        }
    }
    flush(&mut literal, &mut pieces);
    Ok(pieces)
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

/// Where an argument's literal text ends, apart from `${`.
#[derive(Clone, Copy)]
struct Until {
    stop: &'static [char],
    /// Whether `\/` and `\\` lose their backslash, and `$$` one dollar, as in replacements.
    escapes: bool,
}

const CLOSING: Until = Until {
    stop: &['}'],
    escapes: false,
};

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        if found {
            self.position += expected.len_utf8();
        }
        found
    }

    fn close(&mut self) -> Result<(), Problem> {
        if self.eat('}') {
            Ok(())
        } else {
            Err(Problem::MissingBrace)
        }
    }

    /// Letters, digits and underscores; a leading digit is accepted, such a variable is merely never set.
    fn name(&mut self) -> Result<String, Problem> {
        let length: usize = self
            .rest()
            .chars()
            .take_while(|c| *c == '_' || c.is_alphanumeric())
            .map(char::len_utf8)
            .sum();
        if length == 0 {
            return Err(Problem::MissingName);
        }
        let name = self.rest()[..length].to_owned();
        self.position += length;
        Ok(name)
    }

    fn call(&mut self) -> Result<Call, Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::TooDeep);
        }
        self.position += "${".len();
        let call = if self.eat('#') {
            let name = self.name()?;
            Call {
                name,
                function: Function::Length,
            }
        } else {
            let name = self.name()?;
            let function = self.function()?;
            Call { name, function }
        };
        self.close()?;
        self.depth -= 1;
        Ok(call)
    }

    fn function(&mut self) -> Result<Function, Problem> {
        Ok(match self.peek() {
            Some('=') => {
                self.position += 1;
                Function::Default(self.argument(CLOSING)?)
            }
            Some(':') => {
                self.position += 1;
                match self.peek() {
                    Some('-' | '=' | '?' | '+') => {
                        self.position += 1;
                        Function::Default(self.argument(CLOSING)?)
                    }
                    _ => self.slice()?,
                }
            }
            Some(sign @ ('^' | ',')) => {
                self.position += 1;
                let all = self.eat(sign);
                Function::Case {
                    upper: sign == '^',
                    all,
                }
            }
            Some(sign @ ('#' | '%')) => {
                self.position += 1;
                let longest = self.eat(sign);
                Function::Trim {
                    prefix: sign == '#',
                    longest,
                    pattern: self.argument(CLOSING)?,
                }
            }
            Some('/') => self.replace()?,
            _ => Function::Value,
        })
    }

    fn slice(&mut self) -> Result<Function, Problem> {
        let position = self.argument(Until {
            stop: &[':', '}'],
            escapes: false,
        })?;
        let length = if self.eat(':') {
            Some(self.argument(CLOSING)?)
        } else {
            None
        };
        Ok(Function::Slice(position, length))
    }

    fn replace(&mut self) -> Result<Function, Problem> {
        self.position += 1;
        let place = match self.peek() {
            Some('/') => Place::All,
            Some('#') => Place::Start,
            Some('%') => Place::End,
            _ => Place::First,
        };
        if place != Place::First {
            self.position += 1;
        }
        // A closing brace does not end the searched text: only the slash does.
        let from = self.argument(Until {
            stop: &['/'],
            escapes: true,
        })?;
        if !self.eat('/') {
            return Err(Problem::BadReplacement);
        }
        let to = self.argument(Until {
            stop: &['}'],
            escapes: true,
        })?;
        Ok(Function::Replace { place, from, to })
    }

    fn argument(&mut self, until: Until) -> Result<Vec<Piece>, Problem> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        while let Some(next) = self.peek() {
            if self.rest().starts_with("${") {
                flush(&mut literal, &mut pieces);
                pieces.push(Piece::Call(self.call()?));
                continue;
            }
            if until.escapes
                && let Some(kept) = ["\\/", "\\\\", "$$"]
                    .iter()
                    .find(|escape| self.rest().starts_with(**escape))
                    .and_then(|escape| escape.chars().nth(1))
            {
                literal.push(kept);
                self.position += 2;
                continue;
            }
            if until.stop.contains(&next) {
                break;
            }
            literal.push(next);
            self.position += next.len_utf8();
        }
        flush(&mut literal, &mut pieces);
        Ok(pieces)
    }
}

fn flush(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(std::mem::take(literal)));
    }
}

fn error(text: &str, start: usize, problem: Problem) -> SyntaxError {
    SyntaxError {
        problem,
        excerpt: text[start..]
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(40)
            .collect(),
        line: text[..start].matches('\n').count() + 1,
    }
}
