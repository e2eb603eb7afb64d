//! Text to nodes: granit's events, Go's tags, anchors and merge keys.

use std::collections::HashSet;
use std::sync::Arc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use super::colons::Colons;
use super::quotes;
use super::simple;
use super::{Dialect, Map, Node, Scalar, SmolStr, Style, Tag, YamlError, resolve};

/// Go's limits on aliases: how much of a document may come from them, by its size.
/// (go-yaml, `allowedAliasRatio`.)
const RATIO_LOW: f64 = 400_000.0;
const RATIO_HIGH: f64 = 4_000_000.0;

/// Levels of a document, aliases followed. The parser allows 255 of block and of flow style each; walking
/// deeper trees would need more stack than threads have.
const MAX_LEVELS: usize = 512;

/// How often a text is read again; each time all texts with a colon before the first problem are mended.
const MAX_ROUNDS: usize = 16;

/// All documents of a text as nodes, empty ones left out; anchors and merge keys are resolved.
///
/// In [`Dialect::Kyaml`] the text is cut at the lines that start with `---` before it is parsed,
/// and of each piece the first document counts, because kustomize does so.
///
/// # Errors
/// Broken YAML; equal keys in [`Dialect::Kyaml`]; keys that are maps or lists; aliases to the node they
/// stand in, or so many of them that Go refuses the document.
pub fn parse_nodes(text: &str, dialect: Dialect) -> Result<Vec<Node>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut documents = Vec::new();
    match dialect {
        Dialect::K8s => read(text, dialect, 0, usize::MAX, &mut documents)?,
        Dialect::Kyaml => {
            for (line, piece) in split_documents(text)? {
                read(&piece, dialect, line, 1, &mut documents)?;
            }
        }
    }
    Ok(documents)
}

/// Reads documents: simple ones in one pass, the others with the parser.
fn read(text: &str, dialect: Dialect, line: usize, limit: usize, into: &mut Vec<Node>) -> Result<(), YamlError> {
    match simple::read(text, dialect, line) {
        Some(nodes) => {
            into.extend(nodes);
            Ok(())
        }
        None => read_by_parser(text, dialect, line, limit, into),
    }
}

/// Reads documents, and again where lines of texts in quotes stand further left than the parser takes them.
pub(super) fn read_by_parser(
    text: &str,
    dialect: Dialect,
    line: usize,
    limit: usize,
    into: &mut Vec<Node>,
) -> Result<(), YamlError> {
    let before = into.len();
    let most = text.len() + quotes::most_added(text.len());
    let mut mended = None;
    let mut result = read_mending_colons(text, dialect, line, limit, into, &mut mended);
    for _ in 0..MAX_ROUNDS {
        let Some(text) = mended.take().filter(|text| text.len() <= most) else {
            break;
        };
        into.truncate(before);
        result = read_mending_colons(&text, dialect, line, limit, into, &mut mended);
    }
    result
}

/// Reads documents, and again where texts end in a colon that Go's reader takes for a part of them.
fn read_mending_colons(
    text: &str,
    dialect: Dialect,
    line: usize,
    limit: usize,
    into: &mut Vec<Node>,
    mended: &mut Option<String>,
) -> Result<(), YamlError> {
    let before = into.len();
    let mut colons = Colons::default();
    let mut reader = Reader::new(text, dialect, line, &mut colons);
    let mut result = reader.documents(limit, into);
    *mended = reader.mended;
    for _ in 0..MAX_ROUNDS {
        let Some(rewritten) = colons.rewrite(text) else { break };
        into.truncate(before);
        let mut reader = Reader::new(&rewritten, dialect, line, &mut colons);
        result = reader.documents(limit, into);
        *mended = reader.mended;
    }
    result
}

/// Cuts a text at its `---` lines as kustomize does; each piece comes with the number of lines
/// before it. `\r\n` becomes `\n`.
///
/// # Errors
/// A separator line with something other than a comment behind the dashes.
pub fn split_documents(text: &str) -> Result<Vec<(usize, std::borrow::Cow<'_, str>)>, YamlError> {
    use std::borrow::Cow;
    let text: Cow<'_, str> = if text.contains("\r\n") {
        text.replace("\r\n", "\n").into()
    } else {
        text.into()
    };
    let mut pieces = Vec::new();
    let (mut start, mut from, mut line) = (0, 0, 0);
    // The line break before a separator belongs to it, so two separators in a row are one
    // separator and the start of the next document, which YAML then reads as its own mark.
    while let Some(found) = text[from..].find("\n---") {
        let separator = from + found;
        let Some(length) = text[separator + 1..].find('\n') else {
            break;
        };
        let end = separator + 1 + length;
        let behind = text[separator + 4..end].trim();
        let skipped = |text: &str| text.bytes().filter(|byte| *byte == b'\n').count();
        if !behind.is_empty() && !behind.starts_with('#') {
            let number = line + skipped(&text[start..=separator]) + 1;
            let separator = text[separator..end].trim();
            return Err(YamlError::new(
                number,
                format!("`{separator}` is no document separator: only a comment may follow ---"),
            ));
        }
        pieces.push((line, start..separator + 1));
        line += skipped(&text[start..=end]);
        start = end + 1;
        from = start;
    }
    pieces.push((line, start..text.len()));
    Ok(match text {
        Cow::Borrowed(text) => pieces
            .into_iter()
            .map(|(line, range)| (line, Cow::Borrowed(&text[range])))
            .collect(),
        Cow::Owned(text) => pieces
            .into_iter()
            .map(|(line, range)| (line, Cow::Owned(text[range].to_owned())))
            .collect(),
    })
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    dialect: Dialect,
    /// Lines of the file before this text.
    line: usize,
    /// Nodes behind anchors, by the parser's number; each with its weight in nodes and its levels.
    anchors: Vec<Option<(Node, u64, usize)>>,
    /// Nodes so far, and how many of them came from aliases.
    nodes: u64,
    aliased: u64,
    colons: &'a mut Colons,
    /// Where the newest event ends.
    last: usize,
    /// The text as it can be read where this one cannot, because lines of a text in quotes stand too far left.
    mended: Option<String>,
}

/// A list or map that is not complete yet.
struct Open {
    anchor: usize,
    /// `nodes` when it began.
    since: u64,
    body: Body,
}

enum Body {
    Seq(Vec<Node>),
    Map {
        entries: Vec<(Scalar, Node)>,
        key: Option<Scalar>,
    },
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, dialect: Dialect, line: usize, colons: &'a mut Colons) -> Reader<'a> {
        let mut options = granit_parser::Options::default();
        options.set_emit_comments(false);
        Reader {
            text,
            parser: Parser::new_from_str_with_options(text, options),
            dialect,
            line,
            anchors: Vec::new(),
            nodes: 0,
            aliased: 0,
            colons,
            last: 0,
            mended: None,
        }
    }

    fn documents(&mut self, limit: usize, into: &mut Vec<Node>) -> Result<(), YamlError> {
        let mut open: Vec<Open> = Vec::new();
        let mut seen = 0;
        while let Some(next) = self.parser.next_event() {
            let (event, span) = next.map_err(|error| {
                let at = error.marker();
                if let Some(start) = at.byte_offset() {
                    self.colons.look(self.text, start, None);
                    if matches!(error.kind(), ErrorKind::InvalidQuotedScalarIndent) {
                        self.mended = quotes::indented(self.text, self.last, start);
                    }
                }
                let problem = match error.info().as_str() {
                    "recursion limit exceeded" => "lists and maps are nested more than 255 levels deep".to_owned(),
                    other => other.to_owned(),
                };
                YamlError::new(self.line + at.line(), problem).at_column(at.col() + 1)
            })?;
            let line = self.line + span.start.line();
            let column = span.start.col() + 1;
            self.last = span.end.byte_offset().map_or(self.last, |end| end.max(self.last));
            let (node, anchor, since) = match event {
                Event::DocumentEnd => {
                    seen += 1;
                    if seen == limit {
                        return Ok(());
                    }
                    continue;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.nodes += 1;
                    let mut style = style;
                    if let Some(start) = span.start.byte_offset() {
                        match style {
                            ScalarStyle::Plain => self.colons.look(self.text, start, span.end.byte_offset()),
                            ScalarStyle::SingleQuoted if self.colons.is_quoted(start) => style = ScalarStyle::Plain,
                            _ => {}
                        }
                    }
                    let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                    // The parser says `~` for a scalar that is not there; Go says nothing. A block of empty lines has
                    // no extent either, and a text.
                    let mut text = if span.is_empty() && !is_block { "" } else { &*text };
                    // Go ends a block that the file ends in with the file's last line break only.
                    let at_end = span.end.byte_offset().is_none_or(|end| end >= self.text.len());
                    if is_block && !self.text.ends_with('\n') && at_end {
                        text = text.strip_suffix('\n').unwrap_or(text);
                    }
                    let core = tag.as_ref().map(|tag| {
                        match tag.core_suffix() {
                            Some(suffix) => suffix.to_owned(),
                            None if tag.suffix() == "binary" || tag.suffix() == "timestamp" => tag.suffix().to_owned(),
                            // `!` alone makes a text; any other tag is the user's own.
                            None if tag.suffix().is_empty() => "str".to_owned(),
                            None => "!".to_owned(),
                        }
                    });
                    (
                        Node::Scalar(self.scalar(text, style, core.as_deref(), (line, column))),
                        anchor,
                        self.nodes - 1,
                    )
                }
                Event::SequenceStart(_, anchor, _) => {
                    self.nodes += 1;
                    self.begin(anchor);
                    open.push(Open {
                        anchor,
                        since: self.nodes - 1,
                        body: Body::Seq(Vec::new()),
                    });
                    continue;
                }
                Event::MappingStart(_, anchor, _) => {
                    self.nodes += 1;
                    self.begin(anchor);
                    open.push(Open {
                        anchor,
                        since: self.nodes - 1,
                        body: Body::Map {
                            entries: Vec::new(),
                            key: None,
                        },
                    });
                    continue;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let done = open.pop().expect("the parser balances starts and ends");
                    let node = match done.body {
                        Body::Seq(items) => Node::seq(items),
                        Body::Map { entries, .. } => self.finish_map(entries)?,
                    };
                    (node, done.anchor, done.since)
                }
                Event::Alias(id) => {
                    let Some((node, weight, height)) = self.anchors.get(id).cloned().flatten() else {
                        let problem = "an alias stands inside its own anchor";
                        return Err(YamlError::new(line, problem).at_column(column));
                    };
                    // The parser counts levels as they are written, and aliases add to them.
                    if open.len() + height > MAX_LEVELS {
                        let problem = format!("aliases nest the document more than {MAX_LEVELS} levels deep");
                        return Err(YamlError::new(line, problem).at_column(column));
                    }
                    self.nodes += weight;
                    self.aliased += weight;
                    self.check_aliases(line)?;
                    (node, 0, self.nodes)
                }
                _ => continue,
            };
            if anchor != 0 {
                self.begin(anchor);
                let height = node.height();
                self.anchors[anchor] = Some((node.clone(), self.nodes - since, height));
            }
            match open.last_mut().map(|open| &mut open.body) {
                None => {
                    if !node.is_null() {
                        into.push(node);
                    }
                }
                Some(Body::Seq(items)) => items.push(node),
                Some(Body::Map { entries, key }) => match (key.take(), node) {
                    (Some(key), node) => entries.push((key, node)),
                    (None, Node::Scalar(scalar)) => *key = Some(scalar),
                    (None, node) => {
                        let problem = format!("a key is {}, but only texts can be keys", node.type_name());
                        return Err(YamlError::new(line, problem).at_column(column));
                    }
                },
            }
        }
        Ok(())
    }

    /// Makes room for an anchor; without a node yet, an alias to it is inside it.
    fn begin(&mut self, anchor: usize) {
        if self.anchors.len() <= anchor {
            self.anchors.resize(anchor + 1, None);
        }
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&str>, (line, column): (usize, usize)) -> Scalar {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal => Style::Literal,
            ScalarStyle::Folded => Style::Folded,
        };
        let tag = match tag {
            None if style != Style::Plain => Tag::Str,
            None if text == "<<" => Tag::Merge,
            None => resolve(text, self.dialect),
            Some("str") => Tag::Str,
            Some("int") => Tag::Int,
            Some("float") => Tag::Float,
            Some("bool") => Tag::Bool,
            Some("null") => Tag::Null,
            Some("binary") => Tag::Binary,
            Some("timestamp") => Tag::Timestamp,
            Some(_) => Tag::Other,
        };
        // Go writes a tag that was asked for, and reads the scalar by it and not by its quotes.
        let style = match tag {
            Tag::Int | Tag::Float | Tag::Bool | Tag::Null | Tag::Binary | Tag::Timestamp => Style::Plain,
            _ => style,
        };
        Scalar {
            text: SmolStr::new(text),
            tag,
            style,
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            twin: 0,
        }
    }

    fn check_aliases(&self, line: usize) -> Result<(), YamlError> {
        let nodes = self.nodes as f64;
        let allowed = if nodes <= RATIO_LOW {
            0.99
        } else if nodes >= RATIO_HIGH {
            0.10
        } else {
            0.99 - 0.89 * ((nodes - RATIO_LOW) / (RATIO_HIGH - RATIO_LOW))
        };
        if self.aliased > 100 && self.nodes > 1000 && self.aliased as f64 / nodes > allowed {
            return Err(YamlError::new(line, "the document grows too much through aliases"));
        }
        Ok(())
    }

    fn finish_map(&self, entries: Vec<(Scalar, Node)>) -> Result<Node, YamlError> {
        let merges = entries.iter().any(|(key, _)| key.tag == Tag::Merge);
        if !merges && !has_equal_keys(&entries) {
            return Ok(Node::Map(Arc::new(entries.into_iter().collect())));
        }
        let mut map = Map::new();
        let mut merged: Vec<(usize, Node)> = Vec::new();
        for (key, node) in entries {
            if key.tag == Tag::Merge {
                let maps = merge_sources(&node).ok_or_else(|| {
                    YamlError::new(key.line as usize, "only maps and lists of maps can be merged with <<")
                })?;
                match self.dialect {
                    // go-yaml 2 merges where `<<` stands: keys before it are overwritten.
                    Dialect::K8s => {
                        for source in maps.iter().rev() {
                            for (key, node) in source.iter() {
                                match map.get_mut(&key.text) {
                                    Some(place) => *place = node.clone(),
                                    None => map.push(key.clone(), node.clone()),
                                }
                            }
                        }
                    }
                    Dialect::Kyaml => {
                        for source in maps {
                            merged.push((key.line as usize, Node::Map(source)));
                        }
                    }
                }
                continue;
            }
            if let Some(place) = map.position(&key.text) {
                if self.dialect == Dialect::Kyaml {
                    let first = &map.entries_mut()[place].0;
                    let problem = format!("the key `{}` is already on line {}", key.text, first.line);
                    return Err(YamlError::new(key.line as usize, problem).at_column(key.column as usize));
                }
                map.entries_mut()[place].1 = node;
            } else {
                map.push(key, node);
            }
        }
        // Keys of the map itself win, then the sources in their order.
        for (_, source) in merged {
            for (key, node) in source.as_map().expect("merge_sources gives maps").iter() {
                if !map.contains(&key.text) {
                    map.push(key.clone(), node.clone());
                }
            }
        }
        Ok(Node::Map(Arc::new(map)))
    }
}

/// A scalar without quotes and tag, at a line and column from 1.
pub(super) fn plain_scalar(text: &str, dialect: Dialect, line: usize, column: usize) -> Scalar {
    Scalar {
        text: SmolStr::new(text),
        tag: if text == "<<" {
            Tag::Merge
        } else {
            resolve(text, dialect)
        },
        style: Style::Plain,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(column).unwrap_or(u32::MAX),
        twin: 0,
    }
}

fn merge_sources(node: &Node) -> Option<Vec<Arc<Map>>> {
    match node {
        Node::Map(map) => Some(vec![map.clone()]),
        Node::Seq(items) => items
            .iter()
            .map(|item| match item {
                Node::Map(map) => Some(map.clone()),
                _ => None,
            })
            .collect(),
        Node::Scalar(_) => None,
    }
}

pub(super) fn has_equal_keys(entries: &[(Scalar, Node)]) -> bool {
    // Most maps are small, and comparing a handful of short texts beats hashing them.
    if entries.len() <= 16 {
        return entries
            .iter()
            .enumerate()
            .any(|(place, (key, _))| entries[..place].iter().any(|(other, _)| other.text == key.text));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    !entries.iter().all(|(key, _)| seen.insert(key.text.as_str()))
}
