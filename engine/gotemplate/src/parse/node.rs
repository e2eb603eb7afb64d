//! The parsed template: nodes in one table per text, and how they are written again in error messages.

use std::rc::Rc;

use super::number::Number;
use crate::format::quote;

/// A node's place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(pub(crate) u32);

/// One node and where it begins, in bytes.
pub(crate) struct Node {
    pub(crate) pos: u32,
    pub(crate) kind: NodeKind,
}

pub(crate) enum NodeKind {
    List(Vec<NodeId>),
    /// From byte to byte.
    Text(usize, usize),
    Action(NodeId),
    Break,
    Continue,
    If(Branches),
    With(Branches),
    Range(Branches),
    Template {
        name: Rc<str>,
        pipe: Option<NodeId>,
    },
    Pipe {
        assign: bool,
        decl: Vec<NodeId>,
        cmds: Vec<NodeId>,
    },
    Command(Vec<NodeId>),
    Identifier(Rc<str>),
    /// The name with its `$`, then fields.
    Variable(Vec<Rc<str>>),
    Dot,
    Nil,
    Field(Vec<Rc<str>>),
    Chain {
        node: NodeId,
        fields: Vec<Rc<str>>,
    },
    Bool(bool),
    Number(Box<Number>),
    String {
        quoted: Rc<[u8]>,
        text: Rc<[u8]>,
    },
}

/// A chain of conditions: `if … else if … else`. What Go nests is one level here, so that long chains cost no depth.
pub(crate) struct Branches {
    /// Pipeline and list of each.
    pub(crate) arms: Vec<(NodeId, NodeId)>,
    pub(crate) otherwise: Option<NodeId>,
}

/// One parsed text.
pub(crate) struct Source {
    /// The name it was parsed under.
    pub(crate) name: Rc<str>,
    pub(crate) text: Rc<[u8]>,
    pub(crate) nodes: Vec<Node>,
}

impl Source {
    pub(crate) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// The line from 1 and the byte within it from 0.
    pub(crate) fn position(&self, id: NodeId) -> (usize, usize) {
        let before = &self.text[..self.node(id).pos as usize];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        (line, before.len() - start)
    }

    /// The expression as Go writes it again.
    pub(crate) fn expression(&self, id: NodeId) -> String {
        let mut out = String::new();
        self.write(&mut out, id);
        out
    }

    fn write(&self, out: &mut String, id: NodeId) {
        match &self.node(id).kind {
            NodeKind::List(nodes) => nodes.iter().for_each(|n| self.write(out, *n)),
            NodeKind::Text(start, end) => out.push_str(&String::from_utf8_lossy(&self.text[*start..*end])),
            NodeKind::Action(pipe) => {
                out.push_str("{{");
                self.write(out, *pipe);
                out.push_str("}}");
            }
            NodeKind::Break => out.push_str("{{break}}"),
            NodeKind::Continue => out.push_str("{{continue}}"),
            NodeKind::If(branches) => self.write_branches(out, "if", branches),
            NodeKind::With(branches) => self.write_branches(out, "with", branches),
            NodeKind::Range(branches) => self.write_branches(out, "range", branches),
            NodeKind::Template { name, pipe } => {
                out.push_str("{{template ");
                out.push_str(&quote(name.as_bytes()));
                if let Some(pipe) = pipe {
                    out.push(' ');
                    self.write(out, *pipe);
                }
                out.push_str("}}");
            }
            NodeKind::Pipe { assign, decl, cmds } => {
                for (i, variable) in decl.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    self.write(out, *variable);
                }
                if !decl.is_empty() {
                    out.push_str(if *assign { " = " } else { " := " });
                }
                for (i, command) in cmds.iter().enumerate() {
                    if i > 0 {
                        out.push_str(" | ");
                    }
                    self.write(out, *command);
                }
            }
            NodeKind::Command(args) => {
                for (i, arg) in args.iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    self.write_operand(out, *arg);
                }
            }
            NodeKind::Identifier(name) => out.push_str(name),
            NodeKind::Variable(idents) => out.push_str(&idents.join(".")),
            NodeKind::Dot => out.push('.'),
            NodeKind::Nil => out.push_str("nil"),
            NodeKind::Field(idents) => write_fields(out, idents),
            NodeKind::Chain { node, fields } => {
                self.write_operand(out, *node);
                write_fields(out, fields);
            }
            NodeKind::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            NodeKind::Number(number) => out.push_str(&number.text),
            NodeKind::String { quoted, .. } => out.push_str(&String::from_utf8_lossy(quoted)),
        }
    }

    /// A pipeline as an operand stands in parentheses.
    fn write_operand(&self, out: &mut String, id: NodeId) {
        let parens = matches!(self.node(id).kind, NodeKind::Pipe { .. });
        if parens {
            out.push('(');
        }
        self.write(out, id);
        if parens {
            out.push(')');
        }
    }

    fn write_branches(&self, out: &mut String, keyword: &str, branches: &Branches) {
        for (i, (pipe, list)) in branches.arms.iter().enumerate() {
            if i > 0 {
                out.push_str("{{else}}");
            }
            out.push_str("{{");
            out.push_str(keyword);
            out.push(' ');
            self.write(out, *pipe);
            out.push_str("}}");
            self.write(out, *list);
        }
        if let Some(list) = branches.otherwise {
            out.push_str("{{else}}");
            self.write(out, list);
        }
        for _ in &branches.arms {
            out.push_str("{{end}}");
        }
    }

    /// Whether there is nothing but space and definitions.
    pub(crate) fn is_empty(&self, id: NodeId) -> bool {
        match &self.node(id).kind {
            NodeKind::List(nodes) => nodes.iter().all(|n| self.is_empty(*n)),
            NodeKind::Text(start, end) => {
                // Go trims Unicode's spaces here.
                String::from_utf8_lossy(&self.text[*start..*end]).trim().is_empty()
            }
            _ => false,
        }
    }
}

fn write_fields(out: &mut String, idents: &[Rc<str>]) {
    for ident in idents {
        out.push('.');
        out.push_str(ident);
    }
}
