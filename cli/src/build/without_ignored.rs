//! What is left out where a kustomization file is generated.

use std::borrow::Cow;

use nave_artifact::Ignore;
use nave_kustomize::Tree;

/// A tree of which some files are not listed, so that a generated kustomization file leaves them out. A file that
/// somebody names is read all the same, as with flux.
pub struct WithoutIgnored<'a> {
    tree: &'a dyn Tree,
    directory: &'a str,
    rules: Option<Ignore>,
}

impl<'a> WithoutIgnored<'a> {
    /// Patterns are those of a `.gitignore` file in the directory that is built.
    pub fn new(tree: &'a dyn Tree, directory: &'a str, patterns: &[String]) -> Self {
        let rules = (!patterns.is_empty()).then(|| Ignore::new([], Some(&patterns.join("\n"))));
        WithoutIgnored { tree, directory, rules }
    }
}

impl Tree for WithoutIgnored<'_> {
    fn read(&self, path: &str) -> Option<Cow<'_, [u8]>> {
        self.tree.read(path)
    }

    fn is_dir(&self, path: &str) -> bool {
        self.tree.is_dir(path)
    }

    fn list(&self, dir: &str) -> Vec<String> {
        let mut names = self.tree.list(dir);
        let Some(rules) = &self.rules else { return names };
        let below = match dir.strip_prefix(self.directory) {
            Some(rest) => rest.trim_start_matches('/'),
            None => return names,
        };
        names.retain(|name| {
            let path = if below.is_empty() {
                name.clone()
            } else {
                format!("{below}/{name}")
            };
            !rules.excludes(&path)
        });
        names
    }

    fn real_path(&self, path: &str) -> Option<String> {
        self.tree.real_path(path)
    }
}

#[cfg(test)]
mod tests {
    use nave_kustomize::MemoryTree;

    use super::*;

    #[test]
    fn ignored_files_are_not_listed_but_can_be_read() {
        let tree: MemoryTree = ["repo/app/a.yaml", "repo/app/test/b.yaml", "repo/app/c.tmp.yaml"]
            .into_iter()
            .map(|path| (path, &b"x"[..]))
            .collect();
        let patterns = ["test/".to_owned(), "*.tmp.yaml".to_owned()];
        let tree = WithoutIgnored::new(&tree, "repo/app", &patterns);
        assert_eq!(tree.list("repo/app"), ["a.yaml", "test"]);
        assert_eq!(tree.list("repo/app/test"), Vec::<String>::new());
        assert_eq!(tree.list("repo"), ["app"]);
        assert!(tree.read("repo/app/c.tmp.yaml").is_some());
    }
}
