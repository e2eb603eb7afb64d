//! Taking values down without recursion: a template can nest lists as deep as its fuel lasts.

use std::rc::Rc;

use super::{List, Map, Value};

impl Drop for List {
    fn drop(&mut self) {
        take_down(std::mem::take(&mut self.items));
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        take_down(std::mem::take(self.entries.get_mut()).into_values().collect());
    }
}

/// Drops what was only held here, level by level.
fn take_down(mut pending: Vec<Value>) {
    while let Some(value) = pending.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    pending.append(&mut list.items);
                }
            }
            Value::Map(map) => {
                if let Some(mut map) = Rc::into_inner(map) {
                    pending.extend(std::mem::take(map.entries.get_mut()).into_values());
                    pending.extend(map.view_of.take().map(Value::Map));
                }
            }
            _ => {}
        }
    }
}
