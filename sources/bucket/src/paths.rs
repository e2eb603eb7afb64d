//! From keys, which may be anything, to paths, which may not.

use std::collections::BTreeMap;

use crate::{BucketError, Index};

/// The path that each object gets in the artifact, with its key. Repeated and leading slashes go, as in Flux.
pub(crate) fn plan(index: &Index) -> Result<BTreeMap<String, String>, BucketError> {
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for (key, _) in index.iter() {
        let path = path(key)?;
        if let Some(other) = paths.insert(path, key.to_owned()) {
            return Err(wrong(key, format!("object '{other}' has the same path")));
        }
    }
    for (path, key) in &paths {
        for (at, _) in path.match_indices('/') {
            if let Some(other) = paths.get(&path[..at]) {
                return Err(wrong(
                    key,
                    format!("object '{other}' is a file where a directory is needed"),
                ));
            }
        }
    }
    Ok(paths)
}

fn path(key: &str) -> Result<String, BucketError> {
    let segments: Vec<&str> = key.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
        return Err(wrong(key, "it has '.' or '..' in its path".to_owned()));
    }
    if segments.is_empty() || key.contains('\0') {
        return Err(wrong(key, "it is no path".to_owned()));
    }
    Ok(segments.join("/"))
}

fn wrong(key: &str, problem: String) -> BucketError {
    BucketError::Path {
        key: key.chars().take(512).collect(),
        problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Object;

    #[track_caller]
    fn check(keys: &[&str], expected: Result<&[&str], &str>) {
        let index = Index(keys.iter().map(|key| ((*key).to_owned(), Object::default())).collect());
        let found = plan(&index).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.into_keys().collect::<Vec<_>>(), expected),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found}"),
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn nothing_leads_out_and_nothing_collides() {
        check(&["a", "b/c", "/d", "e//f"], Ok(&["a", "b/c", "d", "e/f"]));
        check(
            &["../a"],
            Err("'../a' cannot be a file of an artifact: it has '.' or '..'"),
        );
        check(&["a/./b"], Err("it has '.' or '..'"));
        check(&["//"], Err("it is no path"));
        check(&["a\0b"], Err("it is no path"));
        check(&["a/b", "a//b"], Err("has the same path"));
        check(&["a", "a/b"], Err("object 'a' is a file where a directory is needed"));
        check(
            &["a", "a-b", "a/b"],
            Err("object 'a' is a file where a directory is needed"),
        );
    }
}
