//! Pipelines: declarations, commands and their operands.

use std::rc::Rc;

use super::item::{Item, Kind};
use super::node::{NodeId, NodeKind};
use super::number::Number;
use super::parser::{Fault, Parsed, Parser};
use crate::format::{quote, unquote};

impl Parser<'_> {
    pub(super) fn pipeline(&mut self, context: &str, end: Kind) -> Parsed<NodeId> {
        let pos = self.peek_non_space().pos;
        let (decl, assign) = self.declarations(context)?;
        let mut cmds = Vec::new();
        loop {
            let token = self.next_non_space();
            match token.kind {
                kind if kind == end => break,
                Kind::Bool
                | Kind::CharConstant
                | Kind::Complex
                | Kind::Dot
                | Kind::Field
                | Kind::Identifier
                | Kind::Number
                | Kind::Nil
                | Kind::RawString
                | Kind::String
                | Kind::Variable
                | Kind::LeftParen => {
                    self.backup();
                    cmds.push(self.command()?);
                }
                _ => return self.unexpected(&token, context),
            }
        }
        if cmds.is_empty() {
            return Err(Fault(format!("missing value for {context}")));
        }
        for (i, command) in cmds.iter().enumerate().skip(1) {
            let NodeKind::Command(args) = self.kind(*command) else {
                continue;
            };
            if let NodeKind::Bool(_) | NodeKind::Dot | NodeKind::Nil | NodeKind::Number(_) | NodeKind::String { .. } =
                self.kind(args[0])
            {
                return Err(Fault(format!("non executable command in pipeline stage {}", i + 1)));
            }
        }
        Ok(self.node(pos, NodeKind::Pipe { assign, decl, cmds }))
    }

    /// The variables before `:=` or `=`, and whether it is `=`.
    fn declarations(&mut self, context: &str) -> Parsed<(Vec<NodeId>, bool)> {
        let mut decl = Vec::new();
        loop {
            let variable = self.peek_non_space();
            if variable.kind != Kind::Variable {
                return Ok((decl, false));
            }
            self.next();
            // A space is a token, so three tokens are looked at: in "$x foo" the "foo" has to be read to know that
            // $x is an operand.
            let after = self.peek();
            let next = self.peek_non_space();
            match next.kind {
                Kind::Assign | Kind::Declare => {
                    self.next_non_space();
                    self.declare(&mut decl, &variable);
                    return Ok((decl, next.kind == Kind::Assign));
                }
                Kind::Char if next.text(self.text) == b"," => {
                    self.next_non_space();
                    self.declare(&mut decl, &variable);
                    if context == "range" && decl.len() < 2 {
                        match self.peek_non_space().kind {
                            Kind::Variable | Kind::RightDelim | Kind::RightParen => continue,
                            _ => return Err(Fault("range can only initialize variables".to_owned())),
                        }
                    }
                    return Err(Fault(format!("too many declarations in {context}")));
                }
                _ if after.kind == Kind::Space => self.backup3(variable, after),
                _ => self.backup2(variable),
            }
            return Ok((decl, false));
        }
    }

    fn declare(&mut self, decl: &mut Vec<NodeId>, variable: &Item) {
        let name = self.name_of(variable);
        self.tree.vars.push(Rc::clone(&name));
        decl.push(self.node(variable.pos, NodeKind::Variable(vec![name])));
    }

    fn command(&mut self) -> Parsed<NodeId> {
        let pos = self.peek_non_space().pos;
        let mut args = Vec::new();
        loop {
            self.peek_non_space();
            if let Some(operand) = self.operand()? {
                args.push(operand);
            }
            let token = self.next();
            match token.kind {
                Kind::Space => continue,
                Kind::RightDelim | Kind::RightParen => self.backup(),
                Kind::Pipe => {}
                _ => return self.unexpected(&token, "operand"),
            }
            break;
        }
        if args.is_empty() {
            return Err(Fault("empty command".to_owned()));
        }
        Ok(self.node(pos, NodeKind::Command(args)))
    }

    /// A term and the fields after it.
    fn operand(&mut self) -> Parsed<Option<NodeId>> {
        let Some(term) = self.term()? else { return Ok(None) };
        let first = self.peek();
        if first.kind != Kind::Field {
            return Ok(Some(term));
        }
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            let item = self.next();
            fields.push(Rc::from(String::from_utf8_lossy(&item.text(self.text)[1..])));
        }
        let shown = match self.kind(term) {
            NodeKind::Field(idents) => {
                let idents = idents.iter().cloned().chain(fields).collect();
                return Ok(Some(self.node(first.pos, NodeKind::Field(idents))));
            }
            NodeKind::Variable(idents) => {
                let idents = idents.iter().cloned().chain(fields).collect();
                return Ok(Some(self.node(first.pos, NodeKind::Variable(idents))));
            }
            NodeKind::Bool(b) => b.to_string(),
            NodeKind::String { quoted, .. } => String::from_utf8_lossy(quoted).into_owned(),
            NodeKind::Number(number) => number.text.clone(),
            NodeKind::Nil => "nil".to_owned(),
            NodeKind::Dot => ".".to_owned(),
            _ => return Ok(Some(self.node(first.pos, NodeKind::Chain { node: term, fields }))),
        };
        Err(Fault(format!("unexpected . after term {}", quote(shown.as_bytes()))))
    }

    fn term(&mut self) -> Parsed<Option<NodeId>> {
        let token = self.next_non_space();
        let own = token.text(self.text);
        let kind = match token.kind {
            Kind::Identifier => {
                let name = self.name_of(&token);
                if !self.functions.has(&name) {
                    return Err(Fault(format!("function {} not defined", quote(own))));
                }
                NodeKind::Identifier(name)
            }
            Kind::Dot => NodeKind::Dot,
            Kind::Nil => NodeKind::Nil,
            Kind::Variable => {
                let name = self.name_of(&token);
                if !self.tree.vars.contains(&name) {
                    return Err(Fault(format!("undefined variable {}", quote(own))));
                }
                NodeKind::Variable(vec![name])
            }
            Kind::Field => NodeKind::Field(vec![Rc::from(String::from_utf8_lossy(&own[1..]))]),
            Kind::Bool => NodeKind::Bool(own == b"true"),
            Kind::CharConstant => NodeKind::Number(Box::new(Number::character(own).map_err(Fault)?)),
            Kind::Complex => NodeKind::Number(Box::new(Number::complex(own).map_err(Fault)?)),
            Kind::Number => NodeKind::Number(Box::new(Number::real(own).map_err(Fault)?)),
            Kind::LeftParen => {
                self.enter()?;
                let pipe = self.pipeline("parenthesized pipeline", Kind::RightParen)?;
                self.leave();
                return Ok(Some(pipe));
            }
            Kind::String | Kind::RawString => {
                let text = unquote(own).ok_or_else(|| Fault("invalid syntax".to_owned()))?;
                NodeKind::String {
                    quoted: Rc::from(own),
                    text: Rc::from(text),
                }
            }
            _ => {
                self.backup();
                return Ok(None);
            }
        };
        Ok(Some(self.node(token.pos, kind)))
    }
}
