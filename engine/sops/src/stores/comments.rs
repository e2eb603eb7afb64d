//! To which node of a YAML text a comment belongs, by the rules of go-yaml 3.
//!
//! ```text
//! # head of a
//! a: 1 # line of a
//! # foot of a
//!
//! # head of b
//! b: 2
//! ```
//!
//! go-yaml decides while it cuts the text into tokens. A run of comment lines between two tokens is cut into pieces
//! where a blank line or another indentation says so; each piece is to be handed out at a place in the text, and goes
//! to the first node that is read at or behind it. Blocks that end within the run end at a piece of their indentation.

use std::collections::VecDeque;

/// What stands in the text, in order, with offsets in bytes.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) kind: MarkKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkKind {
    DocumentStart,
    DocumentEnd,
    /// Plain, quoted or an alias.
    Scalar {
        plain: bool,
    },
    /// A block scalar; a comment may stand in its first line.
    Block,
    /// A scalar that is not there.
    Nothing,
    MapStart {
        flow: bool,
    },
    MapEnd {
        flow: bool,
    },
    SeqStart {
        flow: bool,
    },
    SeqEnd {
        flow: bool,
    },
}

/// The comments of one node, each line with its `#`.
#[derive(Debug, Clone, Default)]
pub(super) struct Comments {
    pub(super) head: Vec<String>,
    pub(super) line: Vec<String>,
    pub(super) foot: Vec<String>,
}

/// The comments of each mark. Those of a block stand at its end mark, or at its start as head.
pub(super) fn attach(text: &str, marks: &[Mark]) -> Vec<Comments> {
    let mut cutter = Cutter::new(text);
    for (place, mark) in marks.iter().enumerate() {
        cutter.mark(place, mark, marks.get(place + 1));
    }
    hand_out(cutter.tokens, cutter.pieces.into(), marks.len())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// Takes all comments at hand.
    Node,
    BlockStart,
    BlockMapEnd,
    BlockSeqEnd,
    DocumentEnd,
    Entry,
    /// Keys, colons, commas, document starts: they hold comments up for what follows.
    Other,
}

struct Token {
    kind: TokenKind,
    start: usize,
    mark: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    Head,
    Line,
    Foot,
}

struct Piece {
    kind: PieceKind,
    lines: Vec<String>,
    /// Handed out to the first token at or behind this.
    due: usize,
}

/// A piece within the run that is looked at, for the ends of blocks.
struct Span {
    scan: usize,
    start: usize,
    end: usize,
    column: usize,
}

enum Container {
    BlockMap { value: bool },
    BlockSeq { indentless: bool },
    Flow,
}

struct Previous {
    start: usize,
    /// The line that it ends in, as far as the scanner has read; from 0.
    line: usize,
    plain: bool,
    colon: bool,
    comma: bool,
}

struct Cutter<'a> {
    text: &'a str,
    lines: Vec<usize>,
    at: usize,
    tokens: Vec<Token>,
    pieces: Vec<Piece>,
    previous: Previous,
    before_previous: usize,
    containers: Vec<Container>,
    indents: Vec<usize>,
    ends: Vec<(usize, TokenKind)>,
}

impl<'a> Cutter<'a> {
    fn new(text: &'a str) -> Cutter<'a> {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Cutter {
            text,
            lines: std::iter::once(0).chain(breaks.map(|(place, _)| place + 1)).collect(),
            at: if text.starts_with('\u{feff}') { 3 } else { 0 },
            tokens: Vec::new(),
            pieces: Vec::new(),
            previous: Previous {
                start: 0,
                line: 0,
                plain: false,
                colon: false,
                comma: false,
            },
            before_previous: 0,
            containers: Vec::new(),
            indents: Vec::new(),
            ends: Vec::new(),
        }
    }

    fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    fn column(&self, offset: usize) -> usize {
        offset - self.lines[self.line(offset)]
    }

    fn byte(&self, offset: usize) -> u8 {
        self.text.as_bytes().get(offset).copied().unwrap_or(0)
    }

    fn mark(&mut self, place: usize, mark: &Mark, next: Option<&Mark>) {
        match mark.kind {
            MarkKind::DocumentStart => {
                let mut content = self.advance();
                while self.byte(content) == b'%' {
                    self.at = self.text[content..]
                        .find('\n')
                        .map_or(self.text.len(), |end| content + end);
                    content = self.advance();
                }
                if self.text[content..].starts_with("---") {
                    self.token(TokenKind::Other, content, place, content + 3, false);
                }
                return;
            }
            MarkKind::DocumentEnd => {
                let content = self.advance();
                let end = match self.text[content..].starts_with("...") {
                    true => content + 3,
                    false => content,
                };
                self.tokens.push(Token {
                    kind: TokenKind::DocumentEnd,
                    start: content,
                    mark: place,
                });
                self.at = end;
                return;
            }
            MarkKind::MapEnd { flow: false } => {
                self.containers.pop();
                self.ends.push((place, TokenKind::BlockMapEnd));
                return self.value_done();
            }
            MarkKind::SeqEnd { flow: false } => {
                if let Some(Container::BlockSeq { indentless: false }) = self.containers.pop() {
                    self.ends.push((place, TokenKind::BlockSeqEnd));
                }
                return self.value_done();
            }
            MarkKind::MapEnd { flow: true } | MarkKind::SeqEnd { flow: true } => {
                self.containers.pop();
                self.flow_separators();
                let content = self.advance();
                self.token(TokenKind::Node, content, place, content + 1, false);
                return self.value_done();
            }
            _ => {}
        }
        // Indicators before the node.
        match self.containers.last() {
            Some(Container::Flow) => self.flow_separators(),
            Some(Container::BlockSeq { .. }) => {
                let content = self.advance();
                if self.byte(content) == b'-' {
                    self.token(TokenKind::Entry, content, place, content + 1, false);
                }
            }
            Some(Container::BlockMap { value: true }) => {
                let content = self.advance();
                if self.byte(content) == b':' {
                    self.token(TokenKind::Other, content, place, content + 1, false);
                    self.previous.colon = true;
                    self.line_comment(self.before_previous);
                }
            }
            Some(Container::BlockMap { value: false }) | None => {}
        }
        match mark.kind {
            MarkKind::Nothing => self.value_done(),
            MarkKind::Scalar { plain } => {
                self.advance();
                self.token(TokenKind::Node, mark.start, place, mark.end, plain);
                self.line_comment(mark.start);
                self.value_done();
            }
            MarkKind::Block => {
                self.advance();
                let header = self.text[mark.start..].lines().next().unwrap_or_default();
                if let Some(comment) = header.find(" #") {
                    self.pieces.push(Piece {
                        kind: PieceKind::Line,
                        lines: vec![header[comment + 1..].to_owned()],
                        due: mark.start,
                    });
                }
                // The scanner has read all blank lines behind it; where its text ends does not matter.
                self.token(
                    TokenKind::Node,
                    mark.start,
                    place,
                    mark.end.max(mark.start + header.len()),
                    true,
                );
                self.value_done();
            }
            MarkKind::MapStart { flow: true } | MarkKind::SeqStart { flow: true } => {
                let content = self.advance();
                let start = self.text[content..]
                    .find(['[', '{'])
                    .map_or(content, |found| content + found);
                self.token(TokenKind::Node, start, place, start + 1, false);
                self.line_comment(start);
                self.containers.push(Container::Flow);
            }
            MarkKind::MapStart { flow: false } => {
                self.advance();
                let start = next.map_or(mark.start, |next| next.start);
                self.open(place, start);
                self.containers.push(Container::BlockMap { value: false });
            }
            MarkKind::SeqStart { flow: false } => {
                let content = self.advance();
                let start = self.text[content..].find('-').map_or(content, |found| content + found);
                let column = self.column(start);
                let indentless = matches!(self.containers.last(), Some(Container::BlockMap { .. }))
                    && self.indents.last() == Some(&column);
                if !indentless {
                    self.open(place, start);
                }
                self.containers.push(Container::BlockSeq { indentless });
            }
            _ => {}
        }
    }

    fn open(&mut self, place: usize, start: usize) {
        self.tokens.push(Token {
            kind: TokenKind::BlockStart,
            start,
            mark: place,
        });
        self.indents.push(self.column(start));
    }

    /// In a map, what follows a key is its value and the other way round.
    fn value_done(&mut self) {
        if let Some(Container::BlockMap { value }) = self.containers.last_mut() {
            *value = !*value;
        }
    }

    fn token(&mut self, kind: TokenKind, start: usize, mark: usize, end: usize, plain: bool) {
        self.tokens.push(Token { kind, start, mark });
        self.before_previous = self.previous.start;
        self.previous = Previous {
            start,
            line: self.line(end.saturating_sub(1).max(start)),
            plain,
            colon: false,
            comma: false,
        };
        self.at = end.max(self.at);
    }

    fn flow_separators(&mut self) {
        loop {
            let content = self.advance();
            let byte = self.byte(content);
            if !matches!(byte, b',' | b':' | b'?') {
                return;
            }
            self.token(TokenKind::Other, content, 0, content + 1, false);
            self.previous.comma = byte == b',';
            self.line_comment(self.before_previous);
        }
    }

    /// A comment behind a token in its line.
    fn line_comment(&mut self, due: usize) {
        let rest = &self.text[self.at..];
        let blanks = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        if blanks == 0 || !rest[blanks..].starts_with('#') {
            return;
        }
        let comment = rest[blanks..].lines().next().unwrap_or_default();
        self.pieces.push(Piece {
            kind: PieceKind::Line,
            lines: vec![comment.to_owned()],
            due,
        });
        self.at += blanks + comment.len();
    }

    /// Goes to the next token: cuts the comments before it into pieces, and ends the blocks that have ended.
    fn advance(&mut self) -> usize {
        let from = self.at;
        let bytes = self.text.as_bytes();
        let mut lines: Vec<usize> = Vec::new();
        let mut at = from;
        while at < bytes.len() {
            match bytes[at] {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'#' if at == 0 || bytes[at - 1].is_ascii_whitespace() => {
                    lines.push(at);
                    at = self.text[at..].find('\n').map_or(bytes.len(), |end| at + end);
                }
                _ => break,
            }
        }
        let spans = match lines.is_empty() {
            true => Vec::new(),
            false => self.cut(from, &lines, at),
        };
        self.end_blocks(from, &spans);
        self.at = at;
        at
    }

    /// Cuts a run of comments, each given by its `#`, up to the token at `next`.
    fn cut(&mut self, from: usize, comments: &[usize], next: usize) -> Vec<Span> {
        let bytes = self.text.as_bytes();
        let gap = |from: usize, to: usize| bytes[from..to].iter().filter(|byte| **byte == b'\n').count();
        let first = comments[0];
        let content = self.text[..first].trim_end().len();
        let breaks = gap(content, first);
        // Behind a plain scalar the scanner has gone on to the comment already.
        let scan_line = if self.previous.plain {
            self.line(first)
        } else {
            self.previous.line
        };
        let may_be_foot = breaks == 1 && scan_line > 0 && !self.previous.colon;
        let closing = matches!(self.containers.last(), Some(Container::Flow)) && matches!(self.byte(next), b']' | b'}');
        let indent = self.indents.last().copied().unwrap_or(0);
        let mut run = Run {
            pieces: Vec::new(),
            spans: Vec::new(),
            scan: from,
            due: if self.previous.comma {
                self.before_previous
            } else {
                self.previous.start
            },
            text: Vec::new(),
            start: first,
            column: 0,
        };
        let mut first_blank = breaks <= 1;
        for (place, comment) in comments.iter().enumerate() {
            let column = self.column(*comment);
            if !run.text.is_empty() && column < indent && column != run.column {
                run.foot(*comment);
            }
            if run.text.is_empty() {
                run.start = *comment;
                run.column = column;
            }
            let line = self.text[*comment..].lines().next().unwrap_or_default();
            run.text.push(line.to_owned());
            let after = comments.get(place + 1).copied().unwrap_or(next);
            let end = comment + line.len();
            let is_end = after == bytes.len();
            if gap(end, after) > 1 || is_end || (closing && after == next) {
                let closes = closing && after == next;
                let dedented = run.column < indent;
                if closes || (first_blank && ((may_be_foot && run.start == first) || dedented)) {
                    if dedented && !closes {
                        run.due = run.start;
                    }
                    run.foot(end);
                }
                first_blank = false;
            }
        }
        let column = self.column(next);
        let is_end = next == bytes.len();
        if !run.text.is_empty() && !is_end && column < indent && column != run.column {
            run.foot(next);
        }
        if !run.text.is_empty() {
            run.due = run.start;
            run.piece(PieceKind::Head, next);
        }
        self.pieces.append(&mut run.pieces);
        run.spans
    }

    fn end_blocks(&mut self, from: usize, spans: &[Span]) {
        let mut end = from.saturating_sub(1);
        for (mark, kind) in std::mem::take(&mut self.ends) {
            let indent = self.indents.pop().unwrap_or(0);
            let mut stop = end;
            for span in spans.iter().rev() {
                if span.end < stop {
                    break;
                }
                if span.column == indent {
                    end = span.start;
                }
                stop = span.scan;
            }
            self.tokens.push(Token { kind, start: end, mark });
        }
    }
}

/// A run of comments while it is cut.
struct Run {
    pieces: Vec<Piece>,
    spans: Vec<Span>,
    scan: usize,
    due: usize,
    text: Vec<String>,
    start: usize,
    column: usize,
}

impl Run {
    fn foot(&mut self, end: usize) {
        self.piece(PieceKind::Foot, end);
        self.scan = end;
        self.due = end;
    }

    fn piece(&mut self, kind: PieceKind, end: usize) {
        self.spans.push(Span {
            scan: self.scan,
            start: self.start,
            end,
            column: self.column,
        });
        self.pieces.push(Piece {
            kind,
            lines: std::mem::take(&mut self.text),
            due: self.due,
        });
    }
}

/// Gives the pieces to the nodes.
fn hand_out(tokens: Vec<Token>, mut pieces: VecDeque<Piece>, marks: usize) -> Vec<Comments> {
    let mut out = vec![Comments::default(); marks];
    let mut held = Comments::default();
    let mut stem = Vec::new();
    let mut collect = |token: &Token, held: &mut Comments| {
        while let Some(piece) = pieces.front() {
            let is_end = matches!(token.kind, TokenKind::BlockMapEnd | TokenKind::BlockSeqEnd);
            if token.start < piece.due || (is_end && piece.kind == PieceKind::Head) {
                return;
            }
            let piece = pieces.pop_front().expect("it was just looked at");
            match piece.kind {
                PieceKind::Head => held.head.extend(piece.lines),
                PieceKind::Line => held.line.extend(piece.lines),
                PieceKind::Foot => held.foot.extend(piece.lines),
            }
        }
    };
    for (place, token) in tokens.iter().enumerate() {
        collect(token, &mut held);
        match token.kind {
            TokenKind::Node | TokenKind::BlockMapEnd => {
                out[token.mark] = std::mem::take(&mut held);
                stem.clear();
            }
            TokenKind::DocumentEnd => {
                let mut comments = std::mem::take(&mut held);
                if comments.foot.is_empty() {
                    comments.foot = std::mem::take(&mut comments.head);
                }
                out[token.mark] = comments;
                stem.clear();
            }
            TokenKind::Entry => {
                // What stands above the dash of a list or map is about the whole of it.
                let above = held.head.len();
                if let Some(next) = tokens.get(place + 1)
                    && above > 0
                {
                    collect(next, &mut held);
                    if next.kind == TokenKind::BlockStart {
                        let below = held.head.split_off(above);
                        stem = std::mem::replace(&mut held.head, below);
                    }
                }
            }
            TokenKind::BlockStart => out[token.mark].head = std::mem::take(&mut stem),
            TokenKind::BlockSeqEnd | TokenKind::Other => {}
        }
    }
    out
}
