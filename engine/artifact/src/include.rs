//! Which files of an artifact a fleet object asks for (`source.include[]`).

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Path globs; a file is asked for when a glob matches it or a directory above it.
///
/// `*` and `?` stay within one path segment, `**` crosses them. No glob at all means everything.
#[derive(Debug, Clone, Default)]
pub struct Include {
    globs: Option<GlobSet>,
}

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("include[{index}] {glob:?} is not a valid glob")]
pub struct IncludeError {
    /// Its position in the list.
    pub index: usize,
    /// The text.
    pub glob: String,
    #[source]
    source: globset::Error,
}

impl Include {
    /// Compiles the globs. A leading `./` or `/` and a trailing `/` change nothing.
    ///
    /// # Errors
    /// A glob is malformed.
    pub fn new<S: AsRef<str>>(globs: &[S]) -> Result<Self, IncludeError> {
        if globs.is_empty() {
            return Ok(Self::default());
        }
        let mut set = GlobSetBuilder::new();
        for (index, glob) in globs.iter().enumerate() {
            let text = glob.as_ref();
            let failed = |source| IncludeError {
                index,
                glob: text.chars().take(512).collect(),
                source,
            };
            let plain = text.trim_start_matches("./").trim_matches('/');
            let glob = GlobBuilder::new(plain)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(failed)?;
            set.add(glob);
        }
        let globs = set.build().map_err(|source| IncludeError {
            index: 0,
            glob: "all together".to_owned(),
            source,
        })?;
        Ok(Include { globs: Some(globs) })
    }

    /// Whether the file is asked for.
    pub fn matches(&self, path: &str) -> bool {
        let Some(globs) = &self.globs else {
            return true;
        };
        globs.is_match(path) || path.match_indices('/').any(|(at, _)| globs.is_match(&path[..at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(globs: &[&str], wanted: &[&str], left_out: &[&str]) {
        let include = Include::new(globs).unwrap();
        for path in wanted {
            assert!(include.matches(path), "{globs:?} should match {path}");
        }
        for path in left_out {
            assert!(!include.matches(path), "{globs:?} should not match {path}");
        }
    }

    #[test]
    fn globs_match_files_and_directories_above_them() {
        check(&[], &["a", "b/c"], &[]);
        check(&["apps/**"], &["apps/a", "apps/a/b"], &["apps", "infra/a", "x/apps/a"]);
        check(&["apps"], &["apps/a", "apps/a/b", "apps"], &["apps-2/a"]);
        check(
            &["./apps/*/prod/"],
            &["apps/a/prod/x", "apps/b/prod/y/z"],
            &["apps/a/b/prod/x", "apps/a/dev/x"],
        );
        check(
            &["*.yaml", "base/**/*.yaml"],
            &["a.yaml", "base/a.yaml", "base/x/a.yaml"],
            &["x/a.yaml", "base/a.txt"],
        );
    }

    #[test]
    fn a_broken_glob_names_its_place() {
        let error = Include::new(&["a", "b["]).unwrap_err().to_string();
        assert_eq!(error, "include[1] \"b[\" is not a valid glob");
    }
}
