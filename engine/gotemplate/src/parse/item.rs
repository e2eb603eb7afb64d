//! What the scanner gives: kinds of items, and how error messages show them.

use crate::format::{quote, runes};

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something is wrong; the item's text says what.
    Error,
    Bool,
    /// A character with a meaning of its own, such as a comma.
    Char,
    CharConstant,
    Complex,
    Assign,
    Declare,
    Eof,
    Field,
    Identifier,
    LeftDelim,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelim,
    RightParen,
    Space,
    String,
    Text,
    Variable,
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// One item of the text.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) kind: Kind,
    /// Where it begins, in bytes.
    pub(super) pos: usize,
    /// Where it ends.
    pub(super) end: usize,
    /// The line it begins on, from 1.
    pub(super) line: usize,
    /// The message of [`Kind::Error`].
    pub(super) error: Option<Box<str>>,
}

impl Item {
    /// The item before the first one.
    pub(super) fn none() -> Self {
        Self {
            kind: Kind::Eof,
            pos: 0,
            end: 0,
            line: 0,
            error: None,
        }
    }

    /// Its text.
    pub(super) fn text<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        &text[self.pos..self.end]
    }

    /// How an error message shows it.
    pub(super) fn describe(&self, text: &[u8]) -> String {
        let own = self.text(text);
        match self.kind {
            Kind::Eof => "EOF".to_owned(),
            Kind::Error => self.error.as_deref().unwrap_or_default().to_owned(),
            Kind::Block
            | Kind::Break
            | Kind::Continue
            | Kind::Dot
            | Kind::Define
            | Kind::Else
            | Kind::End
            | Kind::If
            | Kind::Nil
            | Kind::Range
            | Kind::Template
            | Kind::With => format!("<{}>", String::from_utf8_lossy(own)),
            _ if own.len() > 10 => {
                let cut = runes::iter(own).take(10).map(|(_, len)| len).sum();
                format!("{}...", quote(&own[..cut]))
            }
            _ => quote(own),
        }
    }
}
