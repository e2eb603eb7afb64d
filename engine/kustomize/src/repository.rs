//! URLs of remote bases, in all forms that kustomize takes.

use std::time::Duration;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(27);

/// A Git repository, and a directory in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RepositoryUrl {
    /// Scheme, user and host up to the path, such as `https://github.com/` or `git@host:`.
    pub host: String,
    /// Path of the repository on the host, such as `org/repo`.
    pub repository: String,
    /// Directory inside the repository, without leading slash; empty for its root.
    pub path: String,
    /// Branch, tag or commit; empty for the default branch.
    pub reference: String,
    /// Whether submodules are fetched, too.
    pub submodules: bool,
    /// How long fetching may take.
    pub timeout: Duration,
}

impl RepositoryUrl {
    /// Takes a text apart; `None` when it is no URL of a repository, but a path.
    pub fn parse(text: &str) -> Option<RepositoryUrl> {
        if text.starts_with('/') {
            return None;
        }
        let (text, query) = text.split_once('?').unwrap_or((text, ""));
        let (reference, timeout, submodules) = parse_query(query);
        let (host, rest) = split_host(text)?;
        let segments = if host.starts_with("file://") { None } else { Some(2) };
        let (repository, path) = split_path(&rest, segments)?;
        if repository.is_empty() || leaves(&path) {
            return None;
        }
        let path = path.strip_prefix('/').unwrap_or(&path).to_owned();
        Some(RepositoryUrl {
            host,
            repository,
            path,
            reference,
            submodules,
            timeout,
        })
    }

    /// What to hand to Git.
    pub fn clone_url(&self) -> String {
        format!("{}{}", self.host, self.repository)
    }
}

/// Whether a text is the URL of a file to be fetched by HTTP.
pub(crate) fn is_http(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https"))
}

fn split_host(text: &str) -> Option<(String, String)> {
    let text = strip_prefix_ignoring_case(text, "git::").unwrap_or(text);
    let schemes = ["ssh://", "https://", "http://", "file://"];
    let found = schemes
        .iter()
        .find_map(|scheme| Some((*scheme, strip_prefix_ignoring_case(text, scheme)?)));
    let (scheme, text) = found.unwrap_or(("", text));
    let (user, text) = split_user(text);
    let lower = text.to_ascii_lowercase();
    let github = lower.starts_with("github.com/") || lower.starts_with("github.com:");
    let scp = scheme.is_empty() && (!user.is_empty() || github);
    if scheme.is_empty() && !scp {
        return None;
    }
    if scheme == "file://" {
        return Some((scheme.to_owned(), format!("{user}{text}")));
    }
    let slash = text.find('/');
    let colon = text.find(':').filter(|_| scp);
    let end = match (slash, colon) {
        (None, colon) => colon,
        (Some(slash), Some(colon)) if colon > 0 && colon < slash => Some(colon),
        (slash, _) => slash,
    };
    let (host, rest) = match end {
        Some(end) => text.split_at(end + 1),
        None => (text, ""),
    };
    let host = if github {
        if scheme == "ssh://" || !user.is_empty() {
            format!("{user}github.com:")
        } else {
            "https://github.com/".to_owned()
        }
    } else if host.is_empty() {
        return None;
    } else {
        format!("{scheme}{user}{host}")
    };
    Some((host, rest.to_owned()))
}

fn split_user(text: &str) -> (&str, &str) {
    let Some(at) = text.find('@') else { return ("", text) };
    let name = &text[..at];
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fits { text.split_at(at + 1) } else { ("", text) }
}

/// Repository and directory: at an explicit mark, else after a number of segments.
fn split_path(text: &str, segments: Option<usize>) -> Option<(String, String)> {
    if let Some(mark) = text.find("_git/") {
        let (root, rest) = text.split_at(mark + "_git/".len());
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        return Some((format!("{root}{name}"), path.to_owned()));
    }
    if let Some((repository, path)) = text.split_once("//") {
        return Some((repository.to_owned(), path.to_owned()));
    }
    if let Some(mark) = text.find(".git") {
        let (repository, path) = text.split_at(mark + ".git".len());
        return Some((repository.to_owned(), path.to_owned()));
    }
    let Some(segments) = segments else {
        return Some((text.to_owned(), String::new()));
    };
    let parts: Vec<&str> = text.split('/').collect();
    if parts.len() < segments {
        return None;
    }
    Some((parts[..segments].join("/"), parts[segments..].join("/")))
}

/// Whether a directory is outside the repository.
fn leaves(path: &str) -> bool {
    crate::tree::normalize("", path).is_none()
}

fn parse_query(query: &str) -> (String, Duration, bool) {
    let get = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .filter(|value| !value.is_empty())
    };
    let reference = get("ref").or_else(|| get("version")).unwrap_or_default();
    let timeout = get("timeout")
        .and_then(|text| match text.parse::<u64>() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => nave_object::duration::parse(&text).ok(),
        })
        .filter(|timeout| !timeout.is_zero())
        .unwrap_or(DEFAULT_TIMEOUT);
    let off = ["0", "f", "F", "false", "FALSE", "False"];
    let submodules = !get("submodules").is_some_and(|text| off.contains(&text.as_str()));
    (reference, timeout, submodules)
}

fn strip_prefix_ignoring_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &text[prefix.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, clone_url: &str, path: &str, reference: &str) {
        let url = RepositoryUrl::parse(text).unwrap_or_else(|| panic!("{text} is no repository"));
        assert_eq!(url.clone_url(), clone_url, "{text}");
        assert_eq!(url.path, path, "{text}");
        assert_eq!(url.reference, reference, "{text}");
    }

    #[test]
    fn all_forms_of_urls_are_taken_apart() {
        check("github.com/o/r/a/b?ref=v1", "https://github.com/o/r", "a/b", "v1");
        check("https://github.com/o/r//a?ref=v1", "https://github.com/o/r", "a", "v1");
        check(
            "git@github.com:o/r.git/a",
            "git@github.com:o/r.git",
            "/a".trim_start_matches('/'),
            "",
        );
        check("ssh://git@host:22/o/r.git", "ssh://git@host:22/o/r.git", "", "");
        check(
            "https://host/x/_git/r/a/b?version=t",
            "https://host/x/_git/r",
            "a/b",
            "t",
        );
        check("git::https://host/o/r", "https://host/o/r", "", "");
        check("file:///srv/repo//dir", "file:///srv/repo", "dir", "");
        check(
            "https://gitlab.com/g/s/r.git//d?ref=m&timeout=5m",
            "https://gitlab.com/g/s/r.git",
            "d",
            "m",
        );
    }

    #[test]
    fn paths_are_no_repositories() {
        for text in [
            "../base",
            "a/b",
            "/abs",
            "base.yaml",
            "https://host",
            "github.com/o",
            "https://github.com/o/r//../x",
        ] {
            assert_eq!(RepositoryUrl::parse(text), None, "{text}");
        }
    }

    #[test]
    fn query_parameters_are_read() {
        let url = RepositoryUrl::parse("github.com/o/r?timeout=90s&submodules=false").unwrap();
        assert_eq!((url.timeout, url.submodules), (Duration::from_secs(90), false));
        let url = RepositoryUrl::parse("github.com/o/r?timeout=7").unwrap();
        assert_eq!((url.timeout, url.submodules), (Duration::from_secs(7), true));
    }
}
