//! Texts without what differs between any two runs: times, addresses, temporary folders.

use std::sync::LazyLock;

use regex::Regex;

/// What is looked for, and what stands for it.
static SAME: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let duration = r"(?:\d+(?:\.\d+)?(?:h|ms|µs|ns|m|s))+";
    [
        (format!("(finished in|passed in|failed after) {duration}"), "$1 TIME"),
        (
            r"http://127\.0\.0\.1:\d+/(gitrepository|ocirepository|bucket|helmrepository|helmchart|externalartifact)/"
                .to_owned(),
            "http://STORE/$1/",
        ),
        (
            r"/[^\s'\x22]*/(?:kustomize-controller|source-controller)/[A-Za-z]+-[^/\s'\x22:]+".to_owned(),
            "TMP",
        ),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z".to_owned(), "WHEN"),
    ]
    .into_iter()
    .map(|(pattern, stand_in)| (Regex::new(&pattern).expect("the pattern is right"), stand_in))
    .collect()
});

/// The text with stand-ins.
pub fn same(text: &str) -> String {
    SAME.iter().fold(text.to_owned(), |text, (pattern, stand_in)| {
        pattern.replace_all(&text, *stand_in).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_folders_are_the_same_in_all_runs() {
        assert_eq!(
            same("Reconciliation finished in 1m2.5s, next run in 1h0m0s"),
            "Reconciliation finished in TIME, next run in 1h0m0s"
        );
        assert_eq!(
            same("stat /tmp/x/kustomize-controller/kustomization-123/app: no such file"),
            "stat TMP/app: no such file"
        );
        assert_eq!(
            same("http://127.0.0.1:4711/gitrepository/a/b"),
            "http://STORE/gitrepository/a/b"
        );
    }
}
