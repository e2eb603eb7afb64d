//! Commits and references written to a real `git http-backend`.

use std::collections::BTreeMap;

use nave_artifact::File;
use nave_git::{Auth, GitError, Lease, NewCommit, Person, RemoteHandle, Resolved, Wanted};

use crate::server::{Repository, Server, TIMEOUT, git, handle, reader};

const MAIN: &str = "refs/heads/main";

fn commit(message: &str, changes: &[(&str, Option<&str>)]) -> NewCommit {
    let changes: BTreeMap<String, Option<File>> = changes
        .iter()
        .map(|(path, content)| {
            (
                (*path).to_owned(),
                content.map(|content| File::plain(content.as_bytes())),
            )
        })
        .collect();
    NewCommit {
        person: Person {
            name: "Nave Bot".into(),
            email: "nave@example.com".into(),
        },
        seconds: 1_795_262_400,
        message: message.to_owned(),
        changes,
        sign: None,
    }
}

fn writable(server: &Server, name: &str) -> Repository {
    let repository = server.repository(name);
    let bare = server.root.path().join(format!("{name}.git"));
    git(&bare, &["config", "http.receivepack", "true"]);
    repository
}

async fn main_of(remote: &RemoteHandle) -> Resolved {
    remote.resolve(&Wanted::Branch("main".into()), TIMEOUT).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_changed_added_and_removed() {
    let server = Server::start().await;
    let repository = writable(&server, "app");
    for path in [
        "a.yaml",
        "apps/one/x.yaml",
        "apps/one/y.yaml",
        "apps/two/z.yaml",
        "apps-b",
        "old/gone.yaml",
    ] {
        repository.write(path, "x: 1\n");
    }
    let before = repository.commit("first");
    let (reader, _cache) = reader();
    let remote = handle(&reader, &repository.url, Auth::None);
    let base = main_of(&remote).await;
    let new = commit(
        "Update images\n\n- a\n",
        &[
            ("apps/one/x.yaml", Some("x: 2\n")),
            ("apps/new/deep/n.yaml", Some("n: 1\n")),
            ("old/gone.yaml", None),
            ("never/there", None),
        ],
    );
    let lease = Lease::At(base.commit.clone());
    let made = remote
        .commit(Some(&base), new, MAIN, lease, TIMEOUT)
        .await
        .unwrap()
        .unwrap();

    repository.git(&["fetch", "--quiet", "origin"]);
    repository.git(&["fsck", "--strict"]);
    assert_eq!(repository.git(&["rev-parse", "origin/main"]), made);
    assert_eq!(repository.git(&["rev-parse", "origin/main^"]), before);
    assert_eq!(
        repository.git(&["log", "-1", "--format=%an <%ae> %at|%cn|%B", "origin/main"]),
        "Nave Bot <nave@example.com> 1795262400|Nave Bot|Update images\n\n- a"
    );
    assert_eq!(
        repository.git(&["diff", "--name-status", "origin/main^", "origin/main"]),
        "A\tapps/new/deep/n.yaml\nM\tapps/one/x.yaml\nD\told/gone.yaml"
    );
    // The same again changes nothing, and so makes no commit.
    let base = main_of(&remote).await;
    let again = commit("Update images", &[("apps/one/x.yaml", Some("x: 2\n"))]);
    let lease = Lease::At(base.commit.clone());
    assert_eq!(
        remote.commit(Some(&base), again, MAIN, lease, TIMEOUT).await.unwrap(),
        None
    );
    assert_eq!(main_of(&remote).await.commit, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobodys_commit_is_lost() {
    let server = Server::start().await;
    let repository = writable(&server, "app");
    repository.write("a", "1");
    repository.commit("first");
    let (reader, _cache) = reader();
    let remote = handle(&reader, &repository.url, Auth::None);
    let base = main_of(&remote).await;
    repository.write("a", "2");
    let theirs = repository.commit("theirs");
    let lease = Lease::At(base.commit.clone());
    let error = remote
        .commit(Some(&base), commit("ours", &[("a", Some("3"))]), MAIN, lease, TIMEOUT)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, GitError::Moved { actual, .. } if *actual == format!("at {theirs}")),
        "{error}"
    );
    let error = remote
        .commit(
            Some(&base),
            commit("ours", &[("a", Some("3"))]),
            MAIN,
            Lease::Absent,
            TIMEOUT,
        )
        .await
        .unwrap_err();
    assert!(matches!(error, GitError::Moved { .. }), "{error}");
    assert_eq!(main_of(&remote).await.commit, theirs);
    // Somebody who says so writes over it.
    let ours = remote
        .commit(
            Some(&base),
            commit("ours", &[("a", Some("3"))]),
            MAIN,
            Lease::Any,
            TIMEOUT,
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(main_of(&remote).await.commit, ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_are_made_and_deleted_and_empty_repositories_filled() {
    let server = Server::start().await;
    let repository = writable(&server, "app");
    let (reader, _cache) = reader();
    let remote = handle(&reader, &repository.url, Auth::None);
    let first = remote
        .commit(
            None,
            commit("first", &[("flux/a.yaml", Some("a: 1\n"))]),
            MAIN,
            Lease::Absent,
            TIMEOUT,
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(main_of(&remote).await.commit, first);
    remote
        .set_reference("refs/heads/side", &first, Lease::Absent, TIMEOUT)
        .await
        .unwrap();
    let side = Wanted::Branch("side".into());
    assert_eq!(remote.resolve(&side, TIMEOUT).await.unwrap().commit, first);
    remote
        .delete_reference("refs/heads/side", Lease::At(first.clone()), TIMEOUT)
        .await
        .unwrap();
    assert!(matches!(
        remote.resolve(&side, TIMEOUT).await,
        Err(GitError::ReferenceNotFound { .. })
    ));
    remote
        .delete_reference("refs/heads/side", Lease::Any, TIMEOUT)
        .await
        .unwrap();
    let error = remote
        .set_reference("main", &first, Lease::Any, TIMEOUT)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("only full names"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_does_not_take_is_said() {
    let server = Server::start().await;
    let repository = writable(&server, "app");
    repository.write("a", "1");
    repository.commit("first");
    let (reader, _cache) = reader();
    let remote = handle(&reader, &repository.url, Auth::None);
    let base = main_of(&remote).await;
    let hook = server.root.path().join("app.git/hooks/pre-receive");
    std::fs::write(&hook, "#!/bin/sh\necho 'this branch is protected' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let lease = Lease::At(base.commit.clone());
    let error = remote
        .commit(
            Some(&base),
            commit("ours", &[("a", Some("2"))]),
            MAIN,
            lease.clone(),
            TIMEOUT,
        )
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not take refs/heads/main: pre-receive hook declined (this branch is protected)"),
        "{error}"
    );
    git(
        &server.root.path().join("app.git"),
        &["config", "http.receivepack", "false"],
    );
    let error = remote
        .commit(Some(&base), commit("ours", &[("a", Some("2"))]), MAIN, lease, TIMEOUT)
        .await
        .unwrap_err();
    assert!(matches!(error, GitError::Unauthorized { status: 403, .. }), "{error}");
    for path in ["../a", ".git/config", "a//b", ""] {
        let error = remote
            .commit(
                Some(&base),
                commit("bad", &[(path, Some("x"))]),
                MAIN,
                Lease::Any,
                TIMEOUT,
            )
            .await
            .unwrap_err();
        assert!(matches!(error, GitError::InvalidCommit { .. }), "{error}");
    }
}
