//! Repositories within repositories.

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_git::{Auth, Checkout, GitError, Selection, Wanted};
use nave_net::{BasicAuth, SecretText};

use crate::server::{Repository, Server, TIMEOUT, git, handle, reader};

/// Puts `of` at `path` of `into`, as `git submodule add` would.
fn link(into: &Repository, name: &str, path: &str, url: &str, commit: &str) {
    let file = into.work.join(".gitmodules");
    let before = std::fs::read_to_string(&file).unwrap_or_default();
    into.write(
        ".gitmodules",
        &format!("{before}[submodule \"{name}\"]\n\tpath = {path}\n\turl = {url}\n"),
    );
    into.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{commit},{path}"),
    ]);
    into.git(&["add", ".gitmodules"]);
    into.git(&["commit", "--quiet", "-m", "link"]);
    into.git(&["push", "--quiet", "--force", "origin", "HEAD"]);
}

async fn read(repository: &Repository, auth: Auth, selection: &Selection) -> Result<Checkout, GitError> {
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, auth);
    let resolved = remote.resolve(&Wanted::Branch("main".into()), TIMEOUT).await?;
    let first = remote.checkout_recursive(&resolved, selection, TIMEOUT).await?;
    // Again, from what is here already.
    let again = remote.checkout_recursive(&resolved, selection, TIMEOUT).await?;
    assert!(first.tree.iter().eq(again.tree.iter()));
    Ok(first)
}

fn paths(checkout: &Checkout) -> Vec<&str> {
    checkout.tree.iter().map(|(path, _)| path).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_of_submodules_are_put_in_their_places() {
    let server = Server::start().await;
    let (app, lib, inner) = (
        server.repository("app"),
        server.repository("lib"),
        server.repository("inner"),
    );
    inner.write("i.yaml", "i: 1\n");
    inner.write("notes.md", "no\n");
    let inner_commit = inner.commit("inner");
    lib.write("l.yaml", "l: 1\n");
    lib.write("logo.png", "p");
    lib.commit("lib");
    link(&lib, "inner", "deep/inner", "../inner.git", &inner_commit);
    let lib_commit = lib.head();
    // What comes later is not what the link names.
    lib.write("l.yaml", "l: 2\n");
    lib.commit("later");
    app.write("a.yaml", "a: 1\n");
    app.commit("app");
    link(&app, "lib", "vendor/lib", "../lib.git", &lib_commit);

    let found = read(&app, Auth::None, &Selection::default()).await.unwrap();
    assert_eq!(
        paths(&found),
        [
            "a.yaml",
            "vendor/lib/deep/inner/i.yaml",
            "vendor/lib/deep/inner/notes.md",
            "vendor/lib/l.yaml"
        ]
    );
    assert_eq!(&*found.tree.get("vendor/lib/l.yaml").unwrap().data, b"l: 1\n");

    // Rules of the whole apply to the parts.
    let selection = Selection::new(&[], Some("*.md\n".into())).unwrap();
    let found = read(&app, Auth::None, &selection).await.unwrap();
    assert_eq!(
        paths(&found),
        [
            "a.yaml",
            "vendor/lib/deep/inner/i.yaml",
            "vendor/lib/l.yaml",
            "vendor/lib/logo.png"
        ]
    );
    let sparse = Selection::new(&["vendor/lib/deep".into()], None).unwrap();
    let found = read(&app, Auth::None, &sparse).await.unwrap();
    assert_eq!(
        paths(&found),
        ["vendor/lib/deep/inner/i.yaml", "vendor/lib/deep/inner/notes.md"]
    );

    // The same as git itself makes of it.
    let clone = server.root.path().join("clone");
    git(
        server.root.path(),
        &[
            "clone",
            "--quiet",
            "--recurse-submodules",
            &app.url,
            clone.to_str().unwrap(),
        ],
    );
    assert_eq!(
        std::fs::read_to_string(clone.join("vendor/lib/deep/inner/i.yaml")).unwrap(),
        "i: 1\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_go_to_the_same_server_only() {
    let (server, elsewhere) = (Server::start().await, Server::start().await);
    let (app, near, far) = (
        server.repository("app"),
        server.repository("near"),
        elsewhere.repository("far"),
    );
    near.write("n.yaml", "n: 1\n");
    far.write("f.yaml", "f: 1\n");
    let (near_commit, far_commit) = (near.commit("near"), far.commit("far"));
    app.write("a.yaml", "a: 1\n");
    app.commit("app");
    link(&app, "near", "near", "../near.git", &near_commit);
    link(&app, "far", "far", &far.url, &far_commit);
    let password = "correct-horse-battery";
    server.behave(|b| b.authorization = Some(format!("Basic {}", STANDARD.encode(format!("me:{password}")))));
    let auth = Auth::Basic(BasicAuth {
        username: "me".into(),
        password: SecretText::new(password),
    });
    let found = read(&app, auth.clone(), &Selection::default()).await.unwrap();
    assert_eq!(paths(&found), ["a.yaml", "far/f.yaml", "near/n.yaml"]);
    assert!(elsewhere.requests().iter().all(|seen| seen.authorization.is_none()));
    assert!(server.requests().iter().all(|seen| seen.authorization.is_some()));

    elsewhere.behave(|b| b.authorization = Some("Basic x".into()));
    let error = read(&app, auth, &Selection::default()).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("submodule 'far' of {}", app.url)), "{error}");
    assert!(error.contains("it asks for credentials, and none are given"), "{error}");
    assert!(!error.contains(password), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_and_what_is_not_there_is_told() {
    let server = Server::start().await;
    let app = server.repository("app");
    app.write("a.yaml", "a: 1\n");
    let mut commit = app.commit("app");
    // Each commit holds the one before as its own part.
    for _ in 0..12 {
        link(&app, "self", "self", "../app.git", &commit);
        commit = app.head();
        std::fs::remove_file(app.work.join(".gitmodules")).unwrap();
    }
    let error = read(&app, Auth::None, &Selection::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("go deeper than 10"), "{error}");

    let lost = server.repository("lost");
    lost.write("a.yaml", "a: 1\n");
    lost.commit("app");
    link(&lost, "gone", "gone", "../gone.git", &commit);
    let error = read(&lost, Auth::None, &Selection::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("submodule 'gone'") && error.contains("not found"),
        "{error}"
    );
    // Without recursion it is no concern.
    let (git, _cache) = reader();
    let remote = handle(&git, &lost.url, Auth::None);
    let resolved = remote.resolve(&Wanted::Branch("main".into()), TIMEOUT).await.unwrap();
    let found = remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(paths(&found), ["a.yaml"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pointers_of_lfs_are_noticed() {
    let server = Server::start().await;
    let app = server.repository("app");
    app.write(
        "big.bin",
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    );
    app.write("a.yaml", "version https://git-lfs\n");
    app.commit("app");
    let found = read(&app, Auth::None, &Selection::default()).await.unwrap();
    assert_eq!(found.lfs_pointers, ["big.bin"]);
}
