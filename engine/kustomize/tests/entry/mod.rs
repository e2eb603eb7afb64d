//! What the fuzz targets run: bytes in, a build, and nothing that panics or runs away.
#![allow(dead_code, reason = "each user takes one of the two")]

use nave_kustomize::{Answers, LoadRestriction, MemoryTree, Options, Reorder, Step, build, flux};

/// Bytes as a tree: a line `== path` starts a file, and what stands before the first one is the kustomization
/// file at the top. The tree is built as the command line tools do, and as Flux does.
pub fn loader(bytes: &[u8]) {
    let mut tree = MemoryTree::new();
    let mut path = b"kustomization.yaml".to_vec();
    let mut content: Vec<u8> = Vec::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"== ") {
            Some(name) => {
                tree.insert(&String::from_utf8_lossy(&path), std::mem::take(&mut content));
                path = name.trim_ascii_end().to_vec();
            }
            None => content.extend_from_slice(line),
        }
    }
    tree.insert(&String::from_utf8_lossy(&path), content);
    finish(&tree, LoadRestriction::RootOnly);
    let overlay = flux::Overlay {
        target_namespace: Some("apps".to_owned()),
        ..flux::Overlay::default()
    };
    let _ = flux::build(&tree, "", &overlay, &Options::default(), &Answers::new());
}

/// Bytes as an object, a line `==`, and a patch: for all objects when it is a JSON patch, else also for the one
/// it names.
pub fn patches(bytes: &[u8]) {
    let mark = b"\n==\n";
    let Some(place) = bytes.windows(mark.len()).position(|window| window == mark) else {
        return;
    };
    let (object, patch) = (&bytes[..place], &bytes[place + mark.len()..]);
    for entry in ["{path: patch, target: {kind: '.*'}}", "{path: patch}"] {
        let mut tree = MemoryTree::new();
        let top = format!("resources: [object.yaml]\ncommonLabels: {{a: b}}\npatches: [{entry}, {entry}]\n");
        tree.insert("kustomization.yaml", top.into_bytes());
        tree.insert("object.yaml", object);
        tree.insert("patch", patch);
        finish(&tree, LoadRestriction::None);
    }
}

fn finish(tree: &MemoryTree, load: LoadRestriction) {
    let options = Options {
        load,
        reorder: Reorder::Legacy,
        allow_remote: true,
        allow_helm: true,
        cache: None,
    };
    match build(tree, "", &options, &Answers::new()) {
        Ok(Step::Done(objects)) => {
            let _ = nave_kustomize_text(&objects);
        }
        Ok(Step::Needs(needs)) => assert!(!needs.is_empty(), "a build that asks asks for something"),
        Err(error) => assert!(!error.to_string().is_empty(), "an error says something"),
    }
}

/// The text of the result, whose making must not fail either.
fn nave_kustomize_text<T: std::fmt::Display>(objects: &[T]) -> String {
    objects.iter().map(ToString::to_string).collect()
}
