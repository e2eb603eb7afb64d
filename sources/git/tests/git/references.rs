//! What references mean, and what is said when they mean nothing.

use nave_git::{Auth, Wanted};

use crate::server::{Server, TIMEOUT, handle, reader};

async fn check_all(old_protocol: bool) {
    let server = Server::start().await;
    server.behave(|behaviour| behaviour.old_protocol = old_protocol);
    let repository = server.repository("app");
    repository.write("a.yaml", "a: 1\n");
    let first = repository.commit("first");
    repository.git(&["tag", "light"]);
    repository.git(&["tag", "-a", "v1.0.0", "-m", "release"]);
    repository.git(&["push", "--quiet", "--tags", "origin"]);
    repository.write("a.yaml", "a: 2\n");
    let second = repository.commit("second");
    repository.git(&["push", "--quiet", "origin", "HEAD:refs/pull/1/head"]);
    repository.git(&["checkout", "--quiet", "-b", "feature/x", &first]);
    repository.write("b.yaml", "b: 1\n");
    let branch = repository.commit("branch");

    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    for (wanted, revision) in [
        (Wanted::Branch("main".into()), format!("main@sha1:{second}")),
        (Wanted::Branch("feature/x".into()), format!("feature/x@sha1:{branch}")),
        (Wanted::Tag("light".into()), format!("light@sha1:{first}")),
        (Wanted::Tag("v1.0.0".into()), format!("v1.0.0@sha1:{first}")),
        (
            Wanted::Name("refs/tags/v1.0.0^{}".into()),
            format!("refs/tags/v1.0.0@sha1:{first}"),
        ),
        (
            Wanted::Name("refs/pull/1/head".into()),
            format!("refs/pull/1/head@sha1:{second}"),
        ),
        (Wanted::Name("HEAD".into()), format!("HEAD@sha1:{second}")),
        (
            Wanted::Commit {
                id: first.clone(),
                branch: None,
            },
            format!("sha1:{first}"),
        ),
        (
            Wanted::Commit {
                id: first.clone(),
                branch: Some("main".into()),
            },
            format!("main@sha1:{first}"),
        ),
    ] {
        let resolved = remote.resolve(&wanted, TIMEOUT).await.unwrap();
        assert_eq!(resolved.revision, revision);
        let checkout = remote.checkout(&resolved, &Default::default(), TIMEOUT).await.unwrap();
        assert_eq!(checkout.commit.id, resolved.commit);
        let content = if resolved.commit == second { "a: 2\n" } else { "a: 1\n" };
        assert_eq!(
            &*checkout.tree.get("a.yaml").unwrap().data,
            content.as_bytes(),
            "{revision}"
        );
    }

    for (wanted, expected) in [
        (
            Wanted::Branch("mian".into()),
            "branch 'mian' not found in {url}, which has feature/x, main",
        ),
        (
            Wanted::Tag("v2".into()),
            "tag 'v2' not found in {url}, which has light, v1.0.0",
        ),
        (
            Wanted::Name("refs/heads/gone".into()),
            "reference 'refs/heads/gone' not found in {url}, which has refs/heads/feature/x",
        ),
        (
            Wanted::Commit {
                id: first.clone(),
                branch: Some("gone".into()),
            },
            "branch 'gone' not found in {url}, which has feature/x, main",
        ),
    ] {
        let error = remote.resolve(&wanted, TIMEOUT).await.unwrap_err().to_string();
        assert!(
            error.starts_with(&expected.replace("{url}", &repository.url)),
            "{error}"
        );
    }

    let unknown = Wanted::Commit {
        id: "0123456789012345678901234567890123456789".into(),
        branch: None,
    };
    let resolved = remote.resolve(&unknown, TIMEOUT).await.unwrap();
    let error = remote
        .checkout(&resolved, &Default::default(), TIMEOUT)
        .await
        .unwrap_err()
        .to_string();
    let expected = format!("commit {} not found in {}", resolved.commit, repository.url);
    assert_eq!(error, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_resolve_to_commits_and_files() {
    check_all(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_of_the_first_protocol_version_do_as_well() {
    check_all(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_repository_is_told_from_a_missing_branch() {
    let server = Server::start().await;
    let repository = server.repository("empty");
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    let error = remote
        .resolve(&Wanted::Branch("main".into()), TIMEOUT)
        .await
        .unwrap_err();
    assert!(error.is_empty_repository(), "{error}");
    assert_eq!(error.to_string(), format!("repository {} is empty", repository.url));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_a_tree_is_no_commit() {
    let server = Server::start().await;
    let repository = server.repository("app");
    repository.write("a/b.yaml", "x");
    repository.commit("first");
    repository.git(&["tag", "tree", "HEAD^{tree}"]);
    repository.git(&["push", "--quiet", "--tags", "origin"]);
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    let resolved = remote.resolve(&Wanted::Tag("tree".into()), TIMEOUT).await.unwrap();
    let error = remote
        .checkout(&resolved, &Default::default(), TIMEOUT)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("refs/tags/tree of {} is a tree, expected a commit", repository.url)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_the_middle_of_history_is_found_where_only_references_are_given_out() {
    let server = Server::start().await;
    let repository = server.repository("app");
    let mut commits = Vec::new();
    for number in 0..5 {
        repository.write("a.yaml", &format!("a: {number}\n"));
        commits.push(repository.commit("next"));
    }
    repository.git(&["checkout", "--quiet", "-b", "other", &commits[0]]);
    repository.write("b.yaml", "b: 1\n");
    let elsewhere = repository.commit("elsewhere");
    for old_protocol in [true, false] {
        server.behave(|behaviour| behaviour.old_protocol = old_protocol);
        let (git, _cache) = reader();
        let remote = handle(&git, &repository.url, Auth::None);
        let checkout = async |id: &str, branch: Option<&str>| {
            let wanted = Wanted::Commit {
                id: id.to_owned(),
                branch: branch.map(str::to_owned),
            };
            let resolved = remote.resolve(&wanted, TIMEOUT).await?;
            remote.checkout(&resolved, &Default::default(), TIMEOUT).await
        };
        // The tip is in the cache already, without history, when the others are asked for.
        checkout(&commits[4], Some("main")).await.unwrap();
        for (number, branch) in [(2, None), (1, Some("main"))] {
            let found = checkout(&commits[number], branch).await.unwrap();
            let content = format!("a: {number}\n");
            assert_eq!(&*found.tree.get("a.yaml").unwrap().data, content.as_bytes());
        }
        checkout(&elsewhere, None).await.unwrap();
        checkout(&commits[4], None).await.unwrap();
    }
}
