//! YAML with its comments as a tree, as SOPS makes one of go-yaml's nodes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};
use nave_object::yaml::{Dialect, Scalar, Style, Tag, resolve, scalar_value};

use super::StoreError;
use super::comments::{Comments, Mark, MarkKind, attach};
use crate::value::{Branch, Item, Value};

/// Nodes that aliases may add to a file.
const MAX_ALIASED: usize = 100_000;
/// Levels, with those that aliases add.
const MAX_LEVELS: usize = 250;

/// The documents of a text.
pub(super) fn read(text: &str) -> Result<Vec<Branch>, StoreError> {
    let events = events(text)?;
    let marks: Vec<Mark> = events.iter().map(|event| event.mark.clone()).collect();
    let comments = attach(text, &marks);
    let mut builder = Builder {
        events,
        comments,
        at: 0,
        anchors: Vec::new(),
    };
    let mut tree = Tree { aliased: 0 };
    let mut branches = Vec::new();
    while builder.at < builder.events.len() {
        let (root, foot) = builder.document();
        let line = root.line;
        let mut branch = Vec::new();
        tree.root(&root, &builder.anchors, &mut branch, line)?;
        above(&foot, &mut branch);
        branches.push(branch);
    }
    Ok(branches)
}

/// An event with what is needed of it.
struct Read {
    mark: Mark,
    line: usize,
    anchor: usize,
    content: Content,
}

enum Content {
    None,
    Scalar(Value),
    Alias(usize),
}

fn events(text: &str) -> Result<Vec<Read>, StoreError> {
    let mut options = granit_parser::Options::default();
    options.set_emit_comments(false);
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut out = Vec::new();
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| StoreError::new(error.marker().line(), kind_of_problem(&error)))?;
        let line = span.start.line();
        let flow = |style| matches!(style, StructureStyle::Flow);
        let (kind, anchor, content) = match event {
            Event::DocumentStart(..) => (MarkKind::DocumentStart, 0, Content::None),
            Event::DocumentEnd => (MarkKind::DocumentEnd, 0, Content::None),
            Event::Alias(id) => (MarkKind::Scalar { plain: false }, 0, Content::Alias(id)),
            Event::Scalar(value, style, anchor, tag) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                let plain = matches!(style, ScalarStyle::Plain);
                // A block of empty lines has no extent, and a text.
                let mut value = if span.is_empty() && !is_block { "" } else { &*value };
                // A block that the file ends in has no line break more than the file.
                let at_end = span.end.byte_offset().is_none_or(|end| end >= text.len());
                if is_block && at_end && !text.ends_with('\n') {
                    value = value.strip_suffix('\n').unwrap_or(value);
                }
                let kind = match (span.is_empty(), is_block) {
                    (_, true) => MarkKind::Block,
                    (true, false) => MarkKind::Nothing,
                    (false, false) => MarkKind::Scalar { plain },
                };
                let tag = tag.map(|tag| match tag.core_suffix() {
                    Some(suffix) => suffix.to_owned(),
                    None => tag.suffix().to_owned(),
                });
                (
                    kind,
                    anchor,
                    Content::Scalar(scalar(value, plain, tag.as_deref(), line)?),
                )
            }
            Event::SequenceStart(style, anchor, _) => (MarkKind::SeqStart { flow: flow(style) }, anchor, Content::None),
            Event::MappingStart(style, anchor, _) => (MarkKind::MapStart { flow: flow(style) }, anchor, Content::None),
            Event::SequenceEnd => (MarkKind::SeqEnd { flow: false }, 0, Content::None),
            Event::MappingEnd => (MarkKind::MapEnd { flow: false }, 0, Content::None),
            _ => continue,
        };
        let offset = |marker: granit_parser::Marker| marker.byte_offset().unwrap_or(0).min(text.len());
        let (mut start, mut end) = (offset(span.start), offset(span.end));
        if matches!(kind, MarkKind::Block) && span.is_empty() {
            // A block of empty lines: the parser stands behind it, and behind the comments that follow.
            let before = out.last().map_or(0, |read: &Read| read.mark.end).min(start);
            start = before + text[before..start].find(['|', '>']).unwrap_or(0);
            end = after_empty_lines(text, start);
        }
        out.push(Read {
            mark: Mark { kind, start, end },
            line,
            anchor,
            content,
        });
    }
    close_as_opened(&mut out);
    Ok(out)
}

/// Where a block of empty lines ends that begins at `header`.
fn after_empty_lines(text: &str, header: usize) -> usize {
    let mut end = header;
    let mut lines = text[header..].split_inclusive('\n');
    // The rest of the line on which the block begins.
    end += lines.next().map_or(0, str::len);
    for line in lines.take_while(|line| line.trim_end().is_empty()) {
        end += line.len();
    }
    end
}

/// Ends do not say how they are written; their starts do.
fn close_as_opened(events: &mut [Read]) {
    let mut open = Vec::new();
    for event in events {
        match &mut event.mark.kind {
            MarkKind::MapStart { flow } | MarkKind::SeqStart { flow } => open.push(*flow),
            MarkKind::MapEnd { flow } | MarkKind::SeqEnd { flow } => {
                *flow = open.pop().expect("the parser balances starts and ends");
            }
            _ => {}
        }
    }
}

/// The parser's words, of which none is from the text.
fn kind_of_problem(error: &granit_parser::ScanError) -> String {
    match error.info().as_str() {
        "recursion limit exceeded" => "lists and maps are nested more than 255 levels deep".to_owned(),
        // Some of them quote what stands there.
        other if other.contains(['"', '\'', '`']) => "it is not YAML".to_owned(),
        other => other.to_owned(),
    }
}

fn scalar(text: &str, plain: bool, tag: Option<&str>, line: usize) -> Result<Value, StoreError> {
    let tag = match tag {
        None if !plain => Tag::Str,
        None => resolve(text, Dialect::Kyaml),
        Some("int") => Tag::Int,
        Some("float") => Tag::Float,
        Some("bool") => Tag::Bool,
        Some("null") => Tag::Null,
        Some("timestamp") => Tag::Timestamp,
        Some("binary") => Tag::Binary,
        Some(_) => Tag::Str,
    };
    let refuse = |what: &str| StoreError::new(line, format!("the scalar cannot be read as {what}"));
    let json = |what: &str| {
        let scalar = Scalar {
            text: text.into(),
            tag,
            style: Style::Plain,
            line: 0,
            column: 0,
            twin: 0,
        };
        scalar_value(&scalar, Dialect::Kyaml).map_err(|_| refuse(what))
    };
    Ok(match tag {
        Tag::Null => Value::Null,
        Tag::Bool => Value::Bool(json("a boolean")?.as_bool().ok_or_else(|| refuse("a boolean"))?),
        Tag::Int => {
            let number = json("a whole number")?;
            Value::Int(number.as_i64().ok_or_else(|| refuse("a whole number of 64 bits"))?)
        }
        Tag::Float => {
            let digits = text.replace('_', "");
            let (sign, unsigned) = match digits.strip_prefix(['-', '+']) {
                Some(rest) => (if digits.starts_with('-') { -1.0 } else { 1.0 }, rest),
                None => (1.0, digits.as_str()),
            };
            Value::Float(match unsigned {
                ".inf" | ".Inf" | ".INF" => sign * f64::INFINITY,
                ".nan" | ".NaN" | ".NAN" => f64::NAN,
                _ => digits.parse().map_err(|_| refuse("a number"))?,
            })
        }
        Tag::Timestamp => match json("a point in time")? {
            serde_json::Value::String(text) => Value::Time(text),
            _ => return Err(refuse("a point in time")),
        },
        Tag::Binary => {
            let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            Value::Text(STANDARD.decode(compact).map_err(|_| refuse("base64"))?)
        }
        Tag::Str | Tag::Merge | Tag::Other | Tag::Implicit => Value::text(text),
    })
}

/// A node as go-yaml gives it to SOPS.
struct Node {
    line: usize,
    kind: Kind,
    comments: Comments,
}

enum Kind {
    Scalar(Value),
    Alias(usize),
    Seq(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

struct Builder {
    events: Vec<Read>,
    comments: Vec<Comments>,
    at: usize,
    /// By the parser's number.
    anchors: Vec<Option<std::rc::Rc<Node>>>,
}

impl Builder {
    fn document(&mut self) -> (std::rc::Rc<Node>, Vec<String>) {
        // An anchor belongs to its document.
        self.anchors.clear();
        self.at += 1;
        let root = self.node();
        let foot = std::mem::take(&mut self.comments[self.at].foot);
        self.at += 1;
        (root, foot)
    }

    fn node(&mut self) -> std::rc::Rc<Node> {
        let place = self.at;
        self.at += 1;
        let mut comments = std::mem::take(&mut self.comments[place]);
        let line = self.events[place].line;
        let anchor = self.events[place].anchor;
        let kind = match self.events[place].mark.kind {
            MarkKind::MapStart { flow } => {
                let (entries, end) = self.map(flow);
                (comments.line, comments.foot) = (end.line, end.foot);
                Kind::Map(entries)
            }
            MarkKind::SeqStart { .. } => {
                let mut items = Vec::new();
                while !matches!(self.events[self.at].mark.kind, MarkKind::SeqEnd { .. }) {
                    items.push(self.owned());
                }
                let end = std::mem::take(&mut self.comments[self.at]);
                self.at += 1;
                (comments.line, comments.foot) = (end.line, end.foot);
                Kind::Seq(items)
            }
            _ => match std::mem::replace(&mut self.events[place].content, Content::None) {
                Content::Alias(id) => Kind::Alias(id),
                Content::Scalar(value) => Kind::Scalar(value),
                Content::None => Kind::Scalar(Value::Null),
            },
        };
        let node = std::rc::Rc::new(Node { line, kind, comments });
        if anchor != 0 {
            if self.anchors.len() <= anchor {
                self.anchors.resize(anchor + 1, None);
            }
            self.anchors[anchor] = Some(node.clone());
        }
        node
    }

    fn owned(&mut self) -> Node {
        let anchor = self.events[self.at].anchor;
        match std::rc::Rc::try_unwrap(self.node()) {
            Ok(node) => node,
            Err(shared) => Node {
                line: shared.line,
                kind: Kind::Alias(anchor),
                comments: shared.comments.clone(),
            },
        }
    }

    fn map(&mut self, flow: bool) -> (Vec<(Node, Node)>, Comments) {
        let mut entries: Vec<(Node, Node)> = Vec::new();
        while !matches!(self.events[self.at].mark.kind, MarkKind::MapEnd { .. }) {
            let mut key = self.owned();
            // A foot that comes with a key was left of the entry before.
            if !flow
                && !key.comments.foot.is_empty()
                && let Some((before, _)) = entries.last_mut()
            {
                before.comments.foot = std::mem::take(&mut key.comments.foot);
            }
            let mut value = self.owned();
            if key.comments.foot.is_empty() {
                key.comments.foot = std::mem::take(&mut value.comments.foot);
            }
            entries.push((key, value));
        }
        let mut end = std::mem::take(&mut self.comments[self.at]);
        self.at += 1;
        if !flow
            && !end.foot.is_empty()
            && let Some((last, _)) = entries.last_mut()
        {
            last.comments.foot = std::mem::take(&mut end.foot);
        }
        (entries, end)
    }
}

/// Comments as items of a map, without their mark.
fn above(comments: &[String], branch: &mut Branch) {
    let lines = comments.iter().filter(|line| !line.is_empty());
    branch.extend(lines.map(|line| Item::Comment(line.as_bytes()[1..].to_vec())));
}

fn above_in_list(comments: &[String], items: &mut Vec<Value>) {
    let lines = comments.iter().filter(|line| !line.is_empty());
    items.extend(lines.map(|line| Value::Comment(line.as_bytes()[1..].to_vec())));
}

struct Tree {
    aliased: usize,
}

type Anchors = [Option<std::rc::Rc<Node>>];

impl Tree {
    fn root(&mut self, node: &Node, anchors: &Anchors, branch: &mut Branch, line: usize) -> Result<(), StoreError> {
        match &node.kind {
            Kind::Map(_) => self.map(node, anchors, branch, false, 0),
            Kind::Scalar(Value::Null) => {
                above(&node.comments.head, branch);
                above(&node.comments.line, branch);
                Ok(())
            }
            Kind::Seq(_) => Err(StoreError::new(line, "the document is a list, but a map is needed")),
            _ => Err(StoreError::new(
                line,
                "the document is a single value, but a map is needed",
            )),
        }
    }

    fn map(
        &mut self,
        node: &Node,
        anchors: &Anchors,
        branch: &mut Branch,
        handled: bool,
        level: usize,
    ) -> Result<(), StoreError> {
        let Kind::Map(entries) = &node.kind else { return Ok(()) };
        if !handled {
            above(&node.comments.head, branch);
            above(&node.comments.line, branch);
        }
        for (key, value) in entries {
            above(&key.comments.head, branch);
            above(&key.comments.line, branch);
            let scalar = matches!(value.kind, Kind::Scalar(_) | Kind::Alias(_));
            if scalar {
                above(&value.comments.head, branch);
                above(&value.comments.line, branch);
            }
            let name = match &key.kind {
                Kind::Scalar(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
                Kind::Scalar(other) => {
                    let problem = format!("a key is {}, but only texts can be keys", other.type_name());
                    return Err(StoreError::new(key.line, problem));
                }
                _ => return Err(StoreError::new(key.line, "only texts can be keys")),
            };
            let inner = self.value(value, anchors, scalar, level + 1)?;
            branch.push(Item::Entry(name, inner));
            if scalar {
                above(&value.comments.foot, branch);
            }
            above(&key.comments.foot, branch);
        }
        if !handled {
            above(&node.comments.foot, branch);
        }
        Ok(())
    }

    fn value(&mut self, node: &Node, anchors: &Anchors, handled: bool, level: usize) -> Result<Value, StoreError> {
        if level > MAX_LEVELS {
            return Err(StoreError::new(node.line, "lists and maps are nested too deep"));
        }
        if self.aliased > 0 {
            self.aliased += 1;
        }
        Ok(match &node.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::Alias(id) => {
                let Some(Some(target)) = anchors.get(*id) else {
                    return Err(StoreError::new(node.line, "an alias stands inside its own anchor"));
                };
                self.aliased += 1;
                if self.aliased > MAX_ALIASED {
                    return Err(StoreError::new(
                        node.line,
                        "the document grows too much through aliases",
                    ));
                }
                self.value(target, anchors, false, level + 1)?
            }
            Kind::Seq(items) => {
                let mut out = Vec::new();
                if !handled {
                    above_in_list(&node.comments.head, &mut out);
                    above_in_list(&node.comments.line, &mut out);
                }
                for item in items {
                    above_in_list(&item.comments.head, &mut out);
                    above_in_list(&item.comments.line, &mut out);
                    out.push(self.value(item, anchors, true, level + 1)?);
                    above_in_list(&item.comments.foot, &mut out);
                }
                if !handled {
                    above_in_list(&node.comments.foot, &mut out);
                }
                Value::List(out)
            }
            Kind::Map(_) => {
                let mut branch = Vec::new();
                self.map(node, anchors, &mut branch, handled, level)?;
                Value::Map(branch)
            }
        })
    }
}
