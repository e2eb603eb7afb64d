//! Slash-separated paths, as Go's `path` has them; the `os…` functions are the same on Unix.

use nave_gotemplate::Value;

use crate::table::{STRING, Table, text_at};

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("base osBase", &[STRING], |_, args| Ok(base(&text_at(args, 0)).into()));
    table.add("dir osDir", &[STRING], |_, args| Ok(dir(&text_at(args, 0)).into()));
    table.add(
        "clean osClean",
        &[STRING],
        |_, args| Ok(clean(&text_at(args, 0)).into()),
    );
    table.add("ext osExt", &[STRING], |_, args| Ok(ext(&text_at(args, 0)).into()));
    table.add("isAbs osIsAbs", &[STRING], |_, args| {
        Ok(Value::Bool(text_at(args, 0).starts_with('/')))
    });
}

fn base(path: &str) -> &str {
    if path.is_empty() {
        return ".";
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return "/";
    }
    path.rsplit('/').next().unwrap_or(path)
}

fn dir(path: &str) -> String {
    clean(&path[..path.rfind('/').map_or(0, |at| at + 1)])
}

fn ext(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rfind('.').map_or("", |at| &name[at..])
}

/// The shortest path that means the same.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}
