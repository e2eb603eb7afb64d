//! The parser: Go's grammar, its lookahead, and its words for what is wrong.

use std::rc::Rc;

use super::item::{Item, Kind};
use super::lex::Lexer;
use super::node::{Branches, Node, NodeId, NodeKind, Source};
use crate::error::ParseError;
use crate::format::{quote, unquote};
use crate::func::Functions;

/// How deep parentheses and control structures may nest together. Each level costs a little stack; Go's own limit for
/// parentheses, 10000, is for stacks that grow.
pub(crate) const MAX_NESTING: usize = 150;

/// The longest text, so that positions fit into 32 bits.
const MAX_TEXT: usize = 64 << 20;

/// One template of a text.
pub(crate) struct Definition {
    pub(crate) name: Rc<str>,
    pub(crate) root: NodeId,
}

/// Parses a text into its nodes and the templates it defines, its own last.
pub(crate) fn parse(name: &str, text: &[u8], functions: &Functions) -> Result<(Source, Vec<Definition>), ParseError> {
    if text.len() > MAX_TEXT {
        let message = format!("text is longer than {MAX_TEXT} bytes");
        return Err(ParseError {
            name: name.to_owned(),
            line: 1,
            message,
        });
    }
    let mut lexer = Lexer::new(text);
    lexer.break_is_keyword = !functions.has("break");
    lexer.continue_is_keyword = !functions.has("continue");
    let mut parser = Parser {
        name,
        text,
        functions,
        lexer,
        token: [Item::none(), Item::none(), Item::none()],
        peeked: 0,
        nodes: Vec::new(),
        definitions: Vec::new(),
        tree: Tree::new(),
        nesting: 0,
    };
    match parser.top_level() {
        Ok(()) => {
            let source = Source {
                name: Rc::from(name),
                text: Rc::from(text),
                nodes: parser.nodes,
            };
            Ok((source, parser.definitions))
        }
        Err(Fault(message)) => Err(ParseError {
            name: name.to_owned(),
            line: parser.token[0].line,
            message,
        }),
    }
}

/// What is wrong; the line is that of the newest token.
pub(super) struct Fault(pub(super) String);

pub(super) type Parsed<T> = Result<T, Fault>;

/// What Go keeps per tree: a definition within a text has its own.
pub(super) struct Tree {
    pub(super) vars: Vec<Rc<str>>,
    range_depth: usize,
    action_line: usize,
}

impl Tree {
    fn new() -> Self {
        Self {
            vars: vec![Rc::from("$")],
            range_depth: 0,
            action_line: 0,
        }
    }
}

/// What ends a list of nodes.
enum End {
    End,
    Else,
}

impl End {
    fn describe(&self) -> &'static str {
        match self {
            Self::End => "{{end}}",
            Self::Else => "{{else}}",
        }
    }
}

/// A node of a list, or the end of it.
enum Step {
    Node(NodeId),
    End(End),
}

pub(super) struct Parser<'t> {
    name: &'t str,
    pub(super) text: &'t [u8],
    pub(super) functions: &'t Functions,
    lexer: Lexer<'t>,
    /// Lookahead, as Go keeps it: `token[0]` is the newest.
    token: [Item; 3],
    peeked: usize,
    pub(super) nodes: Vec<Node>,
    definitions: Vec<Definition>,
    pub(super) tree: Tree,
    nesting: usize,
}

impl Parser<'_> {
    pub(super) fn next(&mut self) -> Item {
        if self.peeked > 0 {
            self.peeked -= 1;
        } else {
            self.token[0] = self.lexer.next();
        }
        self.token[self.peeked].clone()
    }

    pub(super) fn backup(&mut self) {
        self.peeked += 1;
    }

    /// Gives `first` back before the newest token.
    pub(super) fn backup2(&mut self, first: Item) {
        self.token[1] = first;
        self.peeked = 2;
    }

    /// Gives `first` and `second` back before the newest token.
    pub(super) fn backup3(&mut self, first: Item, second: Item) {
        self.token[1] = second;
        self.token[2] = first;
        self.peeked = 3;
    }

    pub(super) fn peek(&mut self) -> Item {
        if self.peeked == 0 {
            self.peeked = 1;
            self.token[0] = self.lexer.next();
        }
        self.token[self.peeked - 1].clone()
    }

    pub(super) fn next_non_space(&mut self) -> Item {
        loop {
            let token = self.next();
            if token.kind != Kind::Space {
                return token;
            }
        }
    }

    pub(super) fn peek_non_space(&mut self) -> Item {
        let token = self.next_non_space();
        self.backup();
        token
    }

    pub(super) fn node(&mut self, pos: usize, kind: NodeKind) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).expect("a text has fewer nodes than bytes"));
        self.nodes.push(Node {
            pos: u32::try_from(pos).expect("texts are shorter"),
            kind,
        });
        id
    }

    pub(super) fn kind(&self, id: NodeId) -> &NodeKind {
        &self.nodes[id.0 as usize].kind
    }

    pub(super) fn name_of(&self, item: &Item) -> Rc<str> {
        Rc::from(String::from_utf8_lossy(item.text(self.text)))
    }

    pub(super) fn unexpected<T>(&self, token: &Item, context: &str) -> Parsed<T> {
        let shown = token.describe(self.text);
        if token.kind != Kind::Error {
            return Err(Fault(format!("unexpected {shown} in {context}")));
        }
        let line = self.tree.action_line;
        if line == 0 || line == token.line {
            return Err(Fault(shown));
        }
        // Not "action in action".
        let joint = if shown.ends_with(" action") { "" } else { " in action" };
        Err(Fault(format!("{shown}{joint} started at {}:{line}", self.name)))
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Parsed<Item> {
        let token = self.next_non_space();
        if token.kind == kind {
            Ok(token)
        } else {
            self.unexpected(&token, context)
        }
    }

    pub(super) fn enter(&mut self) -> Parsed<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            Err(Fault("max expression depth exceeded".to_owned()))
        } else {
            Ok(())
        }
    }

    pub(super) fn leave(&mut self) {
        self.nesting -= 1;
    }

    fn top_level(&mut self) -> Parsed<()> {
        let pos = self.peek().pos;
        let mut list = Vec::new();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::LeftDelim {
                let delim = self.next();
                if self.next_non_space().kind == Kind::Define {
                    self.definition()?;
                    continue;
                }
                self.backup2(delim);
            }
            match self.text_or_action()? {
                Step::Node(node) => list.push(node),
                Step::End(end) => return Err(Fault(format!("unexpected {}", end.describe()))),
            }
        }
        let root = self.node(pos, NodeKind::List(list));
        self.define(Rc::from(self.name), root)
    }

    /// Adds a template, with Go's rule for a name used twice in one text.
    fn define(&mut self, name: Rc<str>, root: NodeId) -> Parsed<()> {
        let Some(old) = self.definitions.iter().position(|d| d.name == name) else {
            self.definitions.push(Definition { name, root });
            return Ok(());
        };
        if self.is_empty(self.definitions[old].root) {
            self.definitions[old].root = root;
        } else if !self.is_empty(root) {
            let name = quote(name.as_bytes());
            return Err(Fault(format!("template: multiple definition of template {name}")));
        }
        Ok(())
    }

    fn is_empty(&self, id: NodeId) -> bool {
        match self.kind(id) {
            NodeKind::List(nodes) => nodes.iter().all(|n| self.is_empty(*n)),
            NodeKind::Text(start, end) => String::from_utf8_lossy(&self.text[*start..*end]).trim().is_empty(),
            _ => false,
        }
    }

    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let outer = std::mem::replace(&mut self.tree, Tree::new());
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(Kind::RightDelim, CONTEXT)?;
        let (root, end) = self.item_list()?;
        if !matches!(end, End::End) {
            return Err(Fault(format!("unexpected {} in {CONTEXT}", end.describe())));
        }
        self.define(name, root)?;
        self.tree = outer;
        Ok(())
    }

    fn template_name(&mut self, token: &Item, context: &str) -> Parsed<Rc<str>> {
        match token.kind {
            Kind::String | Kind::RawString => {
                let name = unquote(token.text(self.text)).ok_or_else(|| Fault("invalid syntax".to_owned()))?;
                Ok(Rc::from(String::from_utf8_lossy(&name)))
            }
            _ => self.unexpected(token, context),
        }
    }

    /// Nodes up to `{{end}}` or `{{else}}`.
    fn item_list(&mut self) -> Parsed<(NodeId, End)> {
        let pos = self.peek_non_space().pos;
        let mut list = Vec::new();
        while self.peek_non_space().kind != Kind::Eof {
            match self.text_or_action()? {
                Step::Node(node) => list.push(node),
                Step::End(end) => return Ok((self.node(pos, NodeKind::List(list)), end)),
            }
        }
        Err(Fault("unexpected EOF".to_owned()))
    }

    fn text_or_action(&mut self) -> Parsed<Step> {
        let token = self.next_non_space();
        match token.kind {
            Kind::Text => Ok(Step::Node(self.node(token.pos, NodeKind::Text(token.pos, token.end)))),
            Kind::LeftDelim => {
                self.tree.action_line = token.line;
                let step = self.action()?;
                self.tree.action_line = 0;
                Ok(step)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    fn action(&mut self) -> Parsed<Step> {
        let token = self.next_non_space();
        let node = match token.kind {
            Kind::Block => self.block()?,
            Kind::Break => self.jump(&token, "{{break}}", NodeKind::Break)?,
            Kind::Continue => self.jump(&token, "{{continue}}", NodeKind::Continue)?,
            Kind::Else => {
                // What follows "else" directly, an "if" or "with", is left for the control structure.
                if !matches!(self.peek_non_space().kind, Kind::If | Kind::With) {
                    self.expect(Kind::RightDelim, "else")?;
                }
                return Ok(Step::End(End::Else));
            }
            Kind::End => {
                self.expect(Kind::RightDelim, "end")?;
                return Ok(Step::End(End::End));
            }
            Kind::If => self.control("if")?,
            Kind::Range => self.control("range")?,
            Kind::With => self.control("with")?,
            Kind::Template => self.template()?,
            _ => {
                self.backup();
                let pos = self.peek().pos;
                let pipe = self.pipeline("command", Kind::RightDelim)?;
                self.node(pos, NodeKind::Action(pipe))
            }
        };
        Ok(Step::Node(node))
    }

    fn jump(&mut self, token: &Item, what: &str, kind: NodeKind) -> Parsed<NodeId> {
        let end = self.next_non_space();
        if end.kind != Kind::RightDelim {
            return self.unexpected(&end, what);
        }
        if self.tree.range_depth == 0 {
            return Err(Fault(format!("{what} outside {{{{range}}}}")));
        }
        Ok(self.node(token.pos, kind))
    }

    /// `if`, `with` or `range` after its keyword, up to its `{{end}}`.
    fn control(&mut self, context: &str) -> Parsed<NodeId> {
        self.enter()?;
        let vars = self.tree.vars.len();
        let mut arms = Vec::new();
        let mut otherwise = None;
        let mut pos = None;
        loop {
            let pipe = self.pipeline(context, Kind::RightDelim)?;
            pos = pos.or(Some(self.nodes[pipe.0 as usize].pos as usize));
            self.tree.range_depth += usize::from(context == "range");
            let (list, end) = self.item_list()?;
            self.tree.range_depth -= usize::from(context == "range");
            arms.push((pipe, list));
            if matches!(end, End::End) {
                break;
            }
            let next = self.peek().kind;
            if context == "if" && next == Kind::If || context == "with" && next == Kind::With {
                self.next();
                continue;
            }
            let (list, end) = self.item_list()?;
            if !matches!(end, End::End) {
                return Err(Fault(format!("expected end; found {}", end.describe())));
            }
            otherwise = Some(list);
            break;
        }
        self.tree.vars.truncate(vars);
        self.leave();
        let branches = Branches { arms, otherwise };
        let kind = match context {
            "if" => NodeKind::If(branches),
            "with" => NodeKind::With(branches),
            _ => NodeKind::Range(branches),
        };
        Ok(self.node(pos.unwrap_or(0), kind))
    }

    fn block(&mut self) -> Parsed<NodeId> {
        const CONTEXT: &str = "block clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = self.pipeline(CONTEXT, Kind::RightDelim)?;
        self.enter()?;
        let outer = std::mem::replace(&mut self.tree, Tree::new());
        let (root, end) = self.item_list()?;
        if !matches!(end, End::End) {
            return Err(Fault(format!("unexpected {} in {CONTEXT}", end.describe())));
        }
        self.define(Rc::clone(&name), root)?;
        self.tree = outer;
        self.leave();
        Ok(self.node(token.pos, NodeKind::Template { name, pipe: Some(pipe) }))
    }

    fn template(&mut self) -> Parsed<NodeId> {
        const CONTEXT: &str = "template clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let pipe = if self.next_non_space().kind == Kind::RightDelim {
            None
        } else {
            self.backup();
            Some(self.pipeline(CONTEXT, Kind::RightDelim)?)
        };
        Ok(self.node(token.pos, NodeKind::Template { name, pipe }))
    }
}
