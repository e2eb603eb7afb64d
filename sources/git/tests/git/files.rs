//! Which files come out of a commit.

use std::os::unix::fs::{PermissionsExt, symlink};

use nave_git::{Auth, Checkout, Selection, Wanted};

use crate::server::{Repository, Server, TIMEOUT, git, handle, reader};

async fn checkout(repository: &Repository, selection: &Selection) -> Result<Checkout, nave_git::GitError> {
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    let resolved = remote.resolve(&Wanted::Branch("main".into()), TIMEOUT).await?;
    remote.checkout(&resolved, selection, TIMEOUT).await
}

fn paths(checkout: &Checkout) -> Vec<&str> {
    checkout.tree.iter().map(|(path, _)| path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn regular_files_come_with_their_executable_bit_and_nothing_else_comes() {
    let server = Server::start().await;
    let repository = server.repository("app");
    repository.write("deploy/app.yaml", "kind: Deployment\n");
    repository.write("deploy/base/run.sh", "#!/bin/sh\n");
    let script = repository.work.join("deploy/base/run.sh");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("/etc/passwd", repository.work.join("deploy/link")).unwrap();
    repository.write(".gitignore", "x\n");
    repository.write("logo.png", "\u{1}");
    repository.write("name with ünï.yaml", "x: 1\n");
    // A submodule is an entry that points to a commit elsewhere.
    repository.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        "160000,0123456789012345678901234567890123456789,sub",
    ]);
    repository.commit("Add the app\n\nwith a body");

    let found = checkout(&repository, &Selection::default()).await.unwrap();
    assert_eq!(
        paths(&found),
        ["deploy/app.yaml", "deploy/base/run.sh", "name with ünï.yaml"]
    );
    assert!(found.tree.get("deploy/base/run.sh").unwrap().executable);
    assert!(!found.tree.get("deploy/app.yaml").unwrap().executable);
    assert_eq!(found.commit.subject, "Add the app");
    assert_eq!(found.commit.seconds, 1_795_262_400);

    // The same files as git itself archives, links aside.
    let listed = git(&repository.work, &["ls-tree", "-r", "--name-only", "-z", "HEAD"]);
    let by_git: Vec<&str> = listed
        .split('\0')
        .filter(|name| !matches!(*name, "" | "deploy/link" | "sub" | ".gitignore" | "logo.png"))
        .collect();
    assert_eq!(paths(&found), by_git);
}

#[tokio::test(flavor = "multi_thread")]
async fn ignore_rules_of_files_and_spec_apply() {
    let server = Server::start().await;
    let repository = server.repository("app");
    for path in [
        "README.md",
        "deploy/a.yaml",
        "deploy/notes.md",
        "infra/b.yaml",
        "infra/secret/c.yaml",
    ] {
        repository.write(path, "x: 1\n");
    }
    repository.write("infra/.sourceignore", "/secret\n");
    repository.commit("files");
    let found = checkout(&repository, &Selection::default()).await.unwrap();
    assert_eq!(
        paths(&found),
        [
            "README.md",
            "deploy/a.yaml",
            "deploy/notes.md",
            "infra/.sourceignore",
            "infra/b.yaml"
        ]
    );
    let spec = Selection::new(&[], Some("/*\n!/deploy\n/deploy/**/*.md\nbad[z-a]\n".into())).unwrap();
    let found = checkout(&repository, &spec).await.unwrap();
    assert_eq!(paths(&found), ["deploy/a.yaml"]);
    assert_eq!(found.ignore.invalid(), ["/: bad[z-a]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sparse_directories_are_a_filter_and_must_exist() {
    let server = Server::start().await;
    let repository = server.repository("app");
    for path in ["README.md", "apps/a/x.yaml", "apps/ab/y.yaml", "infra/z.yaml"] {
        repository.write(path, "x: 1\n");
    }
    let commit = repository.commit("files");
    let sparse = |paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        Selection::new(&paths, None).unwrap()
    };
    let found = checkout(&repository, &sparse(&["./apps/a", "infra/"])).await.unwrap();
    assert_eq!(paths(&found), ["apps/a/x.yaml", "infra/z.yaml"]);
    let error = checkout(&repository, &sparse(&["apps/gone"]))
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("sparse checkout directory 'apps/gone' does not exist in main@sha1:{commit}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_name_that_is_no_text_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let server = Server::start().await;
    let repository = server.repository("app");
    repository.write("a.yaml", "x");
    std::fs::write(repository.work.join(std::ffi::OsStr::from_bytes(b"b\xff.yaml")), "x").unwrap();
    let commit = repository.commit("odd");
    let error = checkout(&repository, &Selection::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(&format!(
            "commit {commit} holds file \"b\u{fffd}.yaml\", whose name is not valid UTF-8"
        )),
        "{error}"
    );
    let without = Selection::new(&[], Some("b*\n".into())).unwrap();
    assert_eq!(paths(&checkout(&repository, &without).await.unwrap()), ["a.yaml"]);
}
