//! YAML as events from a reader, and values made of them, one at a time: a large index is never held as a whole.

use std::{
    cell::RefCell,
    io::{self, BufReader, Read},
    rc::Rc,
};

use granit_parser::{ErrorKind, Event, FallibleBufferedInput, Options, Parser, ScalarStyle};
use nave_object::yaml::{Dialect, Scalar, SmolStr, Style, Tag, resolve, scalar_value};
use serde_json::{Map, Value};

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The reader's.
    #[error("reading the index")]
    Read(#[source] io::Error),
    /// Not YAML, or not what belongs there.
    #[error("line {line}: {problem}")]
    Yaml {
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

/// Events of one document.
pub(crate) struct Events<R: Read> {
    parser: Parser<'static, FallibleBufferedInput<Characters<R>>>,
    failed: Rc<RefCell<Option<io::Error>>>,
    /// Of the last event, from 1.
    pub line: usize,
}

/// One event, as far as an index has any.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Scalar(Value, String),
    SequenceStart,
    SequenceEnd,
    MappingStart,
    MappingEnd,
    End,
}

impl<R: Read> Events<R> {
    pub fn new(reader: R) -> Self {
        let failed = Rc::new(RefCell::new(None));
        let characters = Characters {
            reader: BufReader::with_capacity(1 << 16, reader),
            failed: failed.clone(),
            is_first: true,
        };
        let mut options = Options::default();
        options.set_emit_comments(false);
        Events {
            parser: Parser::new_from_fallible_iter_with_options(characters, options),
            failed,
            line: 1,
        }
    }

    pub fn wrong(&self, problem: impl Into<String>) -> StreamError {
        StreamError::Yaml {
            line: self.line,
            problem: problem.into(),
        }
    }

    /// The next event; what only frames the document is passed over.
    pub fn next(&mut self) -> Result<Token, StreamError> {
        loop {
            let Some(next) = self.parser.next_event() else {
                return Ok(Token::End);
            };
            let (event, span) = next.map_err(|error| match self.failed.borrow_mut().take() {
                Some(source) => StreamError::Read(source),
                None => StreamError::Yaml {
                    line: error.marker().line(),
                    problem: error.info().to_owned(),
                },
            })?;
            self.line = span.start.line();
            return Ok(match event {
                Event::Scalar(text, style, _, tag) => {
                    let is_plain = style == ScalarStyle::Plain && tag.is_none();
                    let text = if is_plain && span.is_empty() { "" } else { &*text };
                    let scalar = Scalar {
                        text: SmolStr::new(text),
                        tag: if is_plain {
                            resolve(text, Dialect::K8s)
                        } else {
                            Tag::Str
                        },
                        style: if is_plain { Style::Plain } else { Style::Double },
                        line: u32::try_from(self.line).unwrap_or(u32::MAX),
                        column: 0,
                        twin: 0,
                    };
                    let value = scalar_value(&scalar, Dialect::K8s).map_err(|error| StreamError::Yaml {
                        line: self.line,
                        problem: error.problem,
                    })?;
                    Token::Scalar(value, text.to_owned())
                }
                Event::SequenceStart(..) => Token::SequenceStart,
                Event::SequenceEnd => Token::SequenceEnd,
                Event::MappingStart(..) => Token::MappingStart,
                Event::MappingEnd => Token::MappingEnd,
                Event::DocumentEnd => Token::End,
                Event::Alias(_) | Event::UnresolvedAlias(_) => {
                    return Err(self.wrong("aliases are not allowed in an index"));
                }
                _ => continue,
            });
        }
    }

    /// The key of a mapping's next entry, or none at its end.
    pub fn key(&mut self) -> Result<Option<String>, StreamError> {
        match self.next()? {
            Token::Scalar(_, text) => Ok(Some(text)),
            Token::MappingEnd => Ok(None),
            _ => Err(self.wrong("only texts can be keys")),
        }
    }

    /// The value that begins with `first`. `room` is how many values it may hold.
    pub fn value(&mut self, first: Token, room: &mut usize) -> Result<Value, StreamError> {
        self.nested(first, room, 0)
    }

    fn nested(&mut self, first: Token, room: &mut usize, depth: usize) -> Result<Value, StreamError> {
        *room = room
            .checked_sub(1)
            .ok_or_else(|| self.wrong("this entry holds too many values"))?;
        if depth > MAX_DEPTH {
            return Err(self.wrong(format!("lists and maps are nested more than {MAX_DEPTH} levels deep")));
        }
        match first {
            Token::Scalar(value, _) => Ok(value),
            Token::SequenceStart => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Token::SequenceEnd => return Ok(Value::Array(items)),
                        token => items.push(self.nested(token, room, depth + 1)?),
                    }
                }
            }
            Token::MappingStart => {
                let mut map = Map::new();
                while let Some(key) = self.key()? {
                    let token = self.next()?;
                    let value = self.nested(token, room, depth + 1)?;
                    if map.contains_key(&key) {
                        return Err(self.wrong(format!("key {key:?} is set twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Value::Object(map))
            }
            Token::SequenceEnd | Token::MappingEnd | Token::End => Err(self.wrong("the index ends too early")),
        }
    }
}

/// Far more than an index has, far less than what a stack holds.
const MAX_DEPTH: usize = 64;

/// Characters of a reader.
pub(crate) struct Characters<R> {
    reader: BufReader<R>,
    failed: Rc<RefCell<Option<io::Error>>>,
    is_first: bool,
}

impl<R: Read> Characters<R> {
    fn byte(&mut self) -> io::Result<Option<u8>> {
        let mut byte = [0];
        loop {
            return match self.reader.read(&mut byte) {
                Ok(0) => Ok(None),
                Ok(_) => Ok(Some(byte[0])),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
        }
    }

    fn character(&mut self) -> io::Result<Option<char>> {
        let Some(first) = self.byte()? else { return Ok(None) };
        if first.is_ascii() {
            return Ok(Some(char::from(first)));
        }
        let length = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return Err(not_text()),
        };
        let mut bytes = [first, 0, 0, 0];
        for place in &mut bytes[1..length] {
            *place = self.byte()?.ok_or_else(not_text)?;
        }
        let text = std::str::from_utf8(&bytes[..length]).map_err(|_| not_text())?;
        Ok(text.chars().next())
    }
}

fn not_text() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-8")
}

impl<R: Read> Iterator for Characters<R> {
    type Item = Result<char, ErrorKind>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            return match self.character() {
                Ok(Some('\u{feff}')) if std::mem::take(&mut self.is_first) => continue,
                Ok(character) => {
                    self.is_first = false;
                    character.map(Ok)
                }
                Err(error) => {
                    *self.failed.borrow_mut() = Some(error);
                    Some(Err(ErrorKind::InputDecoding { message: String::new() }))
                }
            };
        }
    }
}
