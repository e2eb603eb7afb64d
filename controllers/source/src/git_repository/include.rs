//! Putting the artifacts of other repositories into a checkout (`spec.include`). Pure.

use nave_artifact::{FileTree, Ignore};
use nave_crds::source::GitRepositoryInclude;

/// An include that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IncludeError {
    #[error("include of '{repository}': path '{path}' leads out of the repository")]
    Path { repository: String, path: String },
    #[error("include of '{repository}': '{path}' does not exist in its artifact")]
    Missing { repository: String, path: String },
    #[error("include of '{repository}': '{path}' exists already")]
    Occupied { repository: String, path: String },
}

/// Moves `fromPath` of an included artifact onto `toPath` of the checkout.
///
/// As a rename would, it refuses to go over anything that is there. What the checkout's ignore rules exclude stays out.
pub(crate) fn include(
    tree: &mut FileTree,
    ignore: &Ignore,
    include: &GitRepositoryInclude,
    artifact: &FileTree,
) -> Result<(), IncludeError> {
    let repository = || include.repository.name.clone();
    let inside = |path: &str| {
        let plain = path.trim_start_matches("./").trim_matches('/').to_owned();
        if plain.split('/').any(|segment| segment == "..") || plain.contains('\0') {
            return Err(IncludeError::Path {
                repository: repository(),
                path: path.to_owned(),
            });
        }
        let segments: Vec<&str> = plain
            .split('/')
            .filter(|segment| !matches!(*segment, "" | "."))
            .collect();
        Ok(segments.join("/"))
    };
    let from = inside(&include.from_path)?;
    let to = inside(include.to_path())?;
    if (tree.is_dir(&to) && !(to.is_empty() && tree.is_empty())) || tree.get(&to).is_some() {
        return Err(IncludeError::Occupied {
            repository: repository(),
            path: to,
        });
    }
    let occupied = |_| IncludeError::Occupied {
        repository: repository(),
        path: to.clone(),
    };
    if let Some(file) = artifact.get(&from) {
        if !ignore.excludes(&to) {
            tree.insert(to.clone(), file.clone()).map_err(occupied)?;
        }
        return Ok(());
    }
    if !artifact.is_dir(&from) {
        return Err(IncludeError::Missing {
            repository: repository(),
            path: from,
        });
    }
    for (path, file) in artifact.below(&from) {
        let rest = path[from.len()..].trim_start_matches('/');
        let target = if to.is_empty() {
            rest.to_owned()
        } else {
            format!("{to}/{rest}")
        };
        if !ignore.excludes(&target) {
            tree.insert(target, file.clone()).map_err(occupied)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nave_artifact::File;
    use nave_crds::meta::LocalRef;

    fn tree(paths: &[&str]) -> FileTree {
        let mut tree = FileTree::new();
        for path in paths {
            tree.insert(*path, File::plain(path.as_bytes())).unwrap();
        }
        tree
    }

    #[track_caller]
    fn check(from: &str, to: &str, expected: Result<&[&str], &str>) {
        let mut checkout = tree(&["app/a", "README"]);
        let rules = Ignore::new([], Some("*.md"));
        let spec = GitRepositoryInclude {
            repository: LocalRef { name: "shared".into() },
            from_path: from.into(),
            to_path: to.into(),
        };
        let artifact = tree(&["base/x.yaml", "base/deep/y.yaml", "base/notes.md", "single"]);
        let result = include(&mut checkout, &rules, &spec, &artifact);
        match expected {
            Ok(paths) => {
                result.unwrap();
                let found: Vec<&str> = checkout.iter().map(|(path, _)| path).collect();
                assert_eq!(found, paths);
            }
            Err(text) => assert_eq!(result.unwrap_err().to_string(), text),
        }
    }

    #[test]
    fn directories_and_files_are_moved_onto_their_target() {
        check(
            "",
            "",
            Ok(&[
                "README",
                "app/a",
                "shared/base/deep/y.yaml",
                "shared/base/x.yaml",
                "shared/single",
            ]),
        );
        check(
            "./base/",
            "lib",
            Ok(&["README", "app/a", "lib/deep/y.yaml", "lib/x.yaml"]),
        );
        check("single", "app/b", Ok(&["README", "app/a", "app/b"]));
    }

    #[test]
    fn what_is_there_is_not_written_over() {
        check("base", "app", Err("include of 'shared': 'app' exists already"));
        check("single", "app/a", Err("include of 'shared': 'app/a' exists already"));
        check(
            "base",
            "README/x",
            Err("include of 'shared': 'README/x' exists already"),
        );
        check("base", "/", Err("include of 'shared': '' exists already"));
    }

    #[test]
    fn ways_out_and_missing_paths_are_told() {
        check(
            "../x",
            "",
            Err("include of 'shared': path '../x' leads out of the repository"),
        );
        check(
            "",
            "a/../../b",
            Err("include of 'shared': path 'a/../../b' leads out of the repository"),
        );
        check(
            "gone",
            "",
            Err("include of 'shared': 'gone' does not exist in its artifact"),
        );
    }
}
