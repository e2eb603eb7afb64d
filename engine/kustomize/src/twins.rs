//! Scalars that are one in several places of an object.
//!
//! Kustomize puts one YAML node into all fields that get a new label, and a later change in one place
//! changes all of them. Our nodes have no identity, so they carry numbers, and after every step those
//! with one number are made the same again.

use nave_object::yaml::{Node, Scalar};

/// The twins of one object: number n is at place n - 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Twins {
    known: Vec<(Scalar, bool)>,
    /// The object as it was when all twins were the same.
    seen: Option<Node>,
}

impl Twins {
    /// The number for a scalar that may get twins.
    pub fn next(&self) -> u32 {
        u32::try_from(self.known.len() + 1).unwrap_or_default()
    }

    /// Notes a scalar with that number; `several` says whether it is in more than one place.
    pub fn add(&mut self, scalar: Scalar, several: bool) {
        self.known.push((scalar, several));
        self.seen = None;
    }

    fn is_empty(&self) -> bool {
        !self.known.iter().any(|(_, several)| *several)
    }

    /// Gives every twin the value that one of them has got.
    pub fn reconcile(&mut self, object: &mut Node) {
        if self.is_empty() || self.seen.as_ref().is_some_and(|seen| seen.is_same(object)) {
            return;
        }
        // What they were is compared with all of them, as those that nobody changed still are that.
        let mut changed = Vec::new();
        self.look(object, &mut changed);
        if !changed.is_empty() {
            for (place, scalar) in changed {
                self.known[place].0 = scalar;
            }
            self.write(object);
        }
        self.seen = Some(object.clone());
    }

    fn look(&self, node: &Node, changed: &mut Vec<(usize, Scalar)>) {
        match node {
            Node::Scalar(scalar) => {
                let place = (scalar.twin as usize).wrapping_sub(1);
                if let Some((known, true)) = self.known.get(place)
                    && (known.text != scalar.text || known.tag != scalar.tag || known.style != scalar.style)
                {
                    changed.push((place, scalar.clone()));
                }
            }
            Node::Seq(items) => items.iter().for_each(|item| self.look(item, changed)),
            Node::Map(map) => map.iter().for_each(|(_, value)| self.look(value, changed)),
        }
    }

    fn write(&self, node: &mut Node) {
        match node {
            Node::Scalar(scalar) => {
                if let Some((known, true)) = self.known.get((scalar.twin as usize).wrapping_sub(1)) {
                    *scalar = known.clone();
                }
            }
            Node::Seq(_) => node
                .as_seq_mut()
                .into_iter()
                .flatten()
                .for_each(|item| self.write(item)),
            Node::Map(_) => {
                let map = node.as_map_mut().into_iter();
                map.for_each(|map| map.values_mut().for_each(|value| self.write(value)));
            }
        }
    }
}

/// Makes all scalars below a node stand for themselves.
pub(crate) fn separate(node: &mut Node) {
    if !has_twins(node) {
        return;
    }
    match node {
        Node::Scalar(scalar) => scalar.twin = 0,
        Node::Seq(_) => node.as_seq_mut().into_iter().flatten().for_each(separate),
        Node::Map(_) => {
            let map = node.as_map_mut().into_iter();
            map.for_each(|map| map.values_mut().for_each(separate));
        }
    }
}

fn has_twins(node: &Node) -> bool {
    match node {
        Node::Scalar(scalar) => scalar.twin != 0,
        Node::Seq(items) => items.iter().any(has_twins),
        Node::Map(map) => map.iter().any(|(_, value)| has_twins(value)),
    }
}
