//! `nave build kustomization` over bases that are somewhere else.

use nave_bed::{GitRepo, GitServer, GitServerOptions};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::support::{Files, RUNTIME, nave};

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {version: v1}\n";

/// A repository with a tag `v1` and a branch `main` one commit further.
async fn repository(server: &GitServer, name: &str) -> (GitRepo, String) {
    let repository = server.create_repo(name).await.expect("a repository");
    let first = repository
        .commit_files(&[
            (
                "deploy/base/kustomization.yaml",
                "resources: [config.yaml, ../shared]\n",
            ),
            ("deploy/base/config.yaml", CONFIG),
            (
                "deploy/shared/kustomization.yaml",
                "configMapGenerator: [{name: image, files: [dot.png]}]\n",
            ),
            ("deploy/shared/dot.png", "not a picture"),
        ])
        .await
        .expect("a commit");
    repository.tag("v1").await.expect("a tag");
    repository
        .commit_files(&[("deploy/base/config.yaml", &CONFIG.replace("v1}", "v2}"))])
        .await
        .expect("a commit");
    (repository, first)
}

fn build(words: &[&str]) -> super::support::Outcome {
    let mut line = vec!["build", "kustomization"];
    line.extend(words);
    RUNTIME.block_on(nave(None, &line))
}

#[test]
fn repositories_are_fetched_at_the_reference_that_the_address_names() {
    let (server, _repository, first) = RUNTIME.block_on(async {
        let server = GitServer::start(GitServerOptions::default()).await.expect("a server");
        let (repository, first) = repository(&server, "bases").await;
        (server, repository, first)
    });
    let address = server.repo_url("bases");
    for (reference, version) in [
        ("?ref=v1", "v1"),
        ("?ref=main", "v2"),
        ("?ref=refs/heads/main&timeout=60s", "v2"),
        (&*format!("?ref={first}"), "v1"),
        ("", "v2"),
    ] {
        let url = format!("{address}//deploy/base{reference}");
        let files = Files::new(&[(
            "kustomization.yaml",
            &format!("namePrefix: eu-\nresources: ['{url}']\n"),
        )]);
        let built = build(&[&files.path(".")]).ok();
        assert!(built.contains(&format!("version: {version}\n")), "{reference}: {built}");
        assert!(
            built.contains("name: eu-app\n") && built.contains("dot.png: not a picture"),
            "{built}"
        );
        // The same as the thing to build.
        assert_eq!(build(&[&url]).ok(), built.replace("eu-", ""), "{reference}");
    }
    let check = |url: &str, parts: &[&str]| {
        let files = Files::new(&[("kustomization.yaml", &format!("resources: ['{url}']\n"))]);
        let error = build(&[&files.path(".")]).fails(1);
        for part in parts.iter().copied().chain(["kustomization.yaml", url]) {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert_eq!(error.matches('✗').count(), 1, "{error}");
    };
    check(&format!("{address}//deploy/base?ref=gone"), &["gone", "not found"]);
    check(&format!("{}//x", server.repo_url("nobody")), &["not found"]);
    check(&format!("{address}//nowhere?ref=v1"), &["does not exist"]);
    check("http://127.0.0.1:1/o/r.git//x", &["cannot reach"]);
}

#[test]
fn submodules_are_fetched_unless_the_address_says_that_they_are_not_needed() {
    let (server, _app) = RUNTIME.block_on(async {
        let server = GitServer::start(GitServerOptions::default()).await.expect("a server");
        let lib = server.create_repo("lib").await.expect("a repository");
        let commit = lib
            .commit_files(&[
                ("kustomization.yaml", "resources: [config.yaml]\n"),
                ("config.yaml", CONFIG),
            ])
            .await
            .expect("a commit");
        let app = server.create_repo("app").await.expect("a repository");
        app.commit_files(&[("deploy/kustomization.yaml", "resources: [../vendor/lib]\n")])
            .await
            .expect("a commit");
        let modules = "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n".to_owned();
        // The address of the other one, as it is seen from this one.
        let url = server.repo_url("lib");
        let modules = modules.replace("../lib.git", &url);
        app.write_files(&[(".gitmodules", &modules)]).expect("a file");
        let entry = format!("160000,{commit},vendor/lib");
        for arguments in [
            &["update-index", "--add", "--cacheinfo", &entry][..],
            &["add", ".gitmodules"],
            &[
                "-c",
                "user.name=t",
                "-c",
                "user.email=t@example.com",
                "commit",
                "--quiet",
                "-m",
                "link",
            ],
        ] {
            let status = std::process::Command::new("git")
                .args(arguments)
                .current_dir(app.work_tree())
                .status()
                .expect("git runs");
            assert!(status.success(), "{arguments:?}");
        }
        app.push().await.expect("it is taken");
        (server, app)
    });
    let address = format!("{}//deploy?ref=main", server.repo_url("app"));
    assert!(build(&[&address]).ok().contains("version: v1\n"));
    let error = build(&[&format!("{address}&submodules=false")]).fails(1);
    assert!(error.contains("vendor/lib"), "{error}");
}

#[test]
fn repositories_in_folders_are_fetched_with_git() {
    let (_server, repository) = RUNTIME.block_on(async {
        let server = GitServer::start(GitServerOptions::default()).await.expect("a server");
        let (repository, _) = repository(&server, "bases").await;
        (server, repository)
    });
    let address = format!("file://{}//deploy/base?ref=v1", repository.bare().display());
    let files = Files::new(&[("kustomization.yaml", &format!("resources: ['{address}']\n"))]);
    let built = build(&[&files.path(".")]).ok();
    assert!(built.contains("version: v1\n"), "{built}");
    let files = Files::new(&[("kustomization.yaml", "resources: ['file:///nowhere/at/all//x']\n")]);
    let error = build(&[&files.path(".")]).fails(1);
    assert!(
        error.contains("git fetch failed") && error.contains("/nowhere/at/all"),
        "{error}"
    );
}

#[test]
fn files_are_fetched_over_http() {
    let (address, server) = RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = RUNTIME.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                let found = request[..length].starts_with(b"GET /config.yaml ");
                let (status, body) = if found {
                    ("200 OK", CONFIG)
                } else {
                    ("404 Not Found", "")
                };
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                // A client that goes away early is its own test's failure.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, server)
    });
    let with = |name: &str| {
        let files = Files::new(&[(
            "kustomization.yaml",
            &format!("namePrefix: eu-\nresources: ['http://{address}/{name}']\n"),
        )]);
        build(&[&files.path(".")])
    };
    assert!(with("config.yaml").ok().contains("name: eu-app\n"));
    let error = with("other.yaml").fails(1);
    assert!(
        error.contains("the server answered 404") && error.contains("/other.yaml"),
        "{error}"
    );
    server.abort();
}
