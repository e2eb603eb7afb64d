//! Which repositories are part of another one, and where they are. Pure.

use gix::{ObjectId, bstr::ByteSlice};
use url::Url;

use crate::GitError;

/// A submodule of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Submodule {
    pub path: String,
    pub commit: ObjectId,
    pub url: Url,
}

/// A file of more than this is not one that people write.
pub(crate) const MAX_GITMODULES: u64 = 1 << 20;

/// Finds out where the submodules at `links` come from.
///
/// # Errors
/// `.gitmodules` cannot be read, does not name one of them, or names a place that is no remote.
pub(crate) fn submodules(
    parent: &Url,
    gitmodules: Option<&[u8]>,
    links: &[(String, ObjectId)],
) -> Result<Vec<Submodule>, GitError> {
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |path: &str, detail: String| GitError::Submodule {
        path: path.to_owned(),
        url: parent.to_string(),
        detail,
    };
    let first = links[0].0.as_str();
    let text = gitmodules.ok_or_else(|| {
        wrong(
            first,
            "there is no .gitmodules that says where it comes from".to_owned(),
        )
    })?;
    let config = gix::config::File::from_bytes_no_includes(
        text,
        gix::config::file::Metadata::from(gix::config::Source::Api),
        gix::config::file::init::Options::default(),
    )
    .map_err(|error| wrong(first, format!(".gitmodules cannot be read: {error}")))?;
    links
        .iter()
        .map(|(path, commit)| {
            let section = config
                .sections_by_name("submodule")
                .into_iter()
                .flatten()
                .find(|section| {
                    section
                        .value("path")
                        .is_some_and(|found| found.as_bytes() == path.as_bytes())
                })
                .ok_or_else(|| wrong(path, ".gitmodules does not say where it comes from".to_owned()))?;
            let given = section
                .value("url")
                .ok_or_else(|| wrong(path, ".gitmodules has no url of it".to_owned()))?;
            let given = given.to_str_lossy().into_owned();
            let url = resolve(parent, &given).map_err(|detail| wrong(path, detail))?;
            Ok(Submodule {
                path: path.clone(),
                commit: *commit,
                url,
            })
        })
        .collect()
}

/// Where a submodule's URL leads, as seen from its parent (git-submodule(1), `add`).
fn resolve(parent: &Url, given: &str) -> Result<Url, String> {
    let shown = || nave_net::redact(given).chars().take(512).collect::<String>();
    if given.starts_with("./") || given.starts_with("../") {
        let mut segments: Vec<&str> = parent
            .path()
            .trim_matches('/')
            .split('/')
            .filter(|part| !part.is_empty())
            .collect();
        for part in given.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    if segments.pop().is_none() {
                        return Err(format!("its url {:?} leads above the server's root", shown()));
                    }
                }
                name => segments.push(name),
            }
        }
        let mut url = parent.clone();
        url.set_path(&segments.join("/"));
        url.set_query(None);
        return Ok(url);
    }
    let url = match crate::remote::scp_like(given) {
        Some(url) => Url::parse(&url),
        None => Url::parse(given),
    }
    .map_err(|_| format!("its url {:?} is not one of http, https or ssh", shown()))?;
    if !matches!(url.scheme(), "http" | "https" | "ssh") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("its url {:?} is not one of http, https or ssh", shown()));
    }
    if parent.scheme() == "https" && url.scheme() == "http" {
        return Err(format!("its url {:?} leaves https", shown()));
    }
    Ok(url)
}

/// Whether the credentials of one may be shown to the other: the same server, reached the same way.
pub(crate) fn is_same_server(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && one.host_str() == other.host_str() && port(one) == port(other)
}

fn port(url: &Url) -> Option<u16> {
    url.port_or_known_default().or((url.scheme() == "ssh").then_some(22))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parent: &str, given: &str, expected: Result<&str, &str>) {
        let found = resolve(&Url::parse(parent).unwrap(), given);
        match (found, expected) {
            (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
            (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn urls_are_seen_from_the_parent() {
        let parent = "https://host/org/app.git";
        check(parent, "../lib.git", Ok("https://host/org/lib.git"));
        check(parent, "../../other/lib", Ok("https://host/other/lib"));
        check(parent, "./sub", Ok("https://host/org/app.git/sub"));
        check(parent, "../../../lib", Err("leads above the server's root"));
        check(parent, "https://else/lib", Ok("https://else/lib"));
        check(parent, "git@else:org/lib.git", Ok("ssh://git@else/org/lib.git"));
        check(
            "ssh://git@host:2222/org/app",
            "../lib",
            Ok("ssh://git@host:2222/org/lib"),
        );
        check(parent, "http://host/lib", Err("leaves https"));
        for given in ["/srv/git/lib", "file:///srv/lib", "ext::sh -c x", "-u", "", "lib"] {
            check(parent, given, Err("is not one of http, https or ssh"));
        }
        check(parent, "https://me:secret@/x", Err("is not one of"));
    }

    #[test]
    fn places_are_taken_from_gitmodules() {
        let id = ObjectId::null(gix::hash::Kind::Sha1);
        let parent = Url::parse("https://host/org/app.git").unwrap();
        let text = b"[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n[submodule \"x\"]\n path = x\n";
        let found = submodules(&parent, Some(text), &[("vendor/lib".to_owned(), id)]).unwrap();
        assert_eq!(found[0].url.as_str(), "https://host/org/lib.git");
        let said = |text: Option<&[u8]>, path: &str| {
            submodules(&parent, text, &[(path.to_owned(), id)])
                .unwrap_err()
                .to_string()
        };
        assert!(said(Some(text), "other").contains("submodule 'other' of https://host/org/app.git"));
        assert!(said(Some(text), "x").contains("no url"));
        assert!(said(None, "x").contains("no .gitmodules"));
        assert!(said(Some(b"[broken"), "x").contains("cannot be read"));
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let same = |a: &str, b: &str| is_same_server(&Url::parse(a).unwrap(), &Url::parse(b).unwrap());
        assert!(same("https://h/a", "https://h:443/b") && same("ssh://git@h/a", "ssh://x@h:22/b"));
        assert!(!same("https://h/a", "https://h.evil/a") && !same("https://h/a", "http://h/a"));
        assert!(!same("https://h/a", "https://h:8443/a") && !same("ssh://h/a", "https://h/a"));
    }
}
