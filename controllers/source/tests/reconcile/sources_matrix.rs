//! Each kind of source by each way of authenticating: it reconciles, stores anew on a change and not otherwise, says what is
//! wrong when the credentials are, and serves the last good artifact meanwhile.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, Result, ensure};
use nave_artifact::{Digest, FileTree, Limits, unpack};
use nave_bed::{
    Auth, Authority, GitRepo, GitServer, GitServerOptions, HttpProxy, Issued, Registry, RegistryFault, RegistryFront,
    RegistryOptions, S3Options, S3Server,
    git_ssh::{SshServer, ed25519, pem},
};
use nave_net::{BasicAuth, SecretData, SecretText, TlsOptions};
use nave_oci::{Access, Credentials, flux_artifact};
use nave_oracle::Helm;
use serde_json::{Value, json};

use crate::{
    bucket,
    chart_server::{ChartServer, package},
    objects::condition,
    oci::{self, remote, tarball},
    stage::Stage,
};

const PASSWORD: &str = "canary-31c7fe";

/// Keys of a Secret.
type Keys<'a> = Vec<(&'a str, String)>;

/// One way in: the fields of the spec, and Secrets with which it works and does not.
struct Way<'a> {
    name: &'a str,
    kind: &'a str,
    spec: Value,
    /// Keys of the Secret `<name>`, right and wrong; none for ways without.
    secret: Option<(Keys<'a>, Keys<'a>)>,
    /// Part of what is said of the wrong ones.
    said: &'a str,
}

impl Way<'_> {
    async fn give(&self, stage: &Stage, is_right: bool) -> Result<()> {
        let Some((right, wrong)) = &self.secret else {
            return Ok(());
        };
        let keys: Vec<(&str, &str)> = if is_right { right } else { wrong }
            .iter()
            .map(|(key, value)| (*key, value.as_str()))
            .collect();
        stage.secret(self.name, &keys).await
    }

    /// The right Secret makes it ready, and asking again changes nothing.
    async fn begin(&self, stage: &Stage, revision: &str) -> Result<Value> {
        self.give(stage, true).await?;
        stage.apply_object(self.kind, self.name, self.spec.clone()).await?;
        let status = stage.ready_object(self.kind, self.name, revision).await?;
        let object = stage.reconcile(self.kind, self.name, "again").await?;
        assert_eq!(
            object["status"]["artifact"], status["artifact"],
            "{}: an unchanged source is not stored again",
            self.name
        );
        Ok(status)
    }

    /// A change is stored; then wrong credentials keep the last good artifact, and show nowhere.
    async fn end(&self, stage: &Stage, revision: &str) -> Result<()> {
        stage.request(self.kind, self.name, "changed").await?;
        let good = stage.ready_object(self.kind, self.name, revision).await?;
        if self.secret.is_none() {
            return Ok(());
        }
        self.give(stage, false).await?;
        stage.request(self.kind, self.name, "refused").await?;
        stage.failed_saying(self.kind, self.name, self.said).await?;
        let status = stage.object(self.kind, self.name).await?["status"].clone();
        assert_eq!(status["artifact"], good["artifact"], "{}", self.name);
        download(&status).await?;
        let text = status.to_string();
        assert!(!text.contains("canary") && !text.contains("PRIVATE KEY"), "{text}");
        self.give(stage, true).await?;
        stage.ready_object(self.kind, self.name, revision).await?;
        Ok(())
    }
}

/// What is served under the artifact's own address is what the status says.
async fn download(status: &Value) -> Result<Vec<u8>> {
    let url = status["artifact"]["url"].as_str().context("there is an artifact")?;
    let bytes = reqwest::get(url).await?.error_for_status()?.bytes().await?.to_vec();
    assert_eq!(status["artifact"]["digest"], Digest::sha256(&bytes).to_string());
    Ok(bytes)
}

/// What `git archive` makes of a commit.
fn git_archive(repository: &GitRepo, commit: &str) -> Result<FileTree> {
    let output = Command::new("git")
        .arg("-C")
        .arg(repository.bare())
        .args(["archive", "--format=tar.gz", commit])
        .output()
        .context("running git archive")?;
    ensure!(
        output.status.success(),
        "git archive: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(unpack(output.stdout.as_slice(), &Limits::default())?)
}

/// Content and mode by path.
fn content(tree: &FileTree) -> BTreeMap<String, (Vec<u8>, bool)> {
    tree.iter()
        .map(|(path, file)| (path.to_owned(), (file.data.to_vec(), file.executable)))
        .collect()
}

fn keys<'a>(pairs: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
    pairs.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
}

fn git(name: &str, url: &str) -> Value {
    json!({"url": url, "interval": "1h", "ref": {"branch": "main"}, "secretRef": {"name": name}})
}

fn through_proxy(mut spec: Value, name: &str) -> Value {
    spec["proxySecretRef"] = json!({"name": name});
    spec
}

/// A Secret for the proxy, right and wrong.
fn proxy_keys(proxy: &HttpProxy) -> (Keys<'static>, Keys<'static>) {
    let with = |password: &str| {
        keys(&[
            ("address", proxy.url()),
            ("username", "carrier"),
            ("password", password),
        ])
    };
    (with(PASSWORD), with("canary-wrong"))
}

#[tokio::test(flavor = "multi_thread")]
async fn git_by_every_way_in() -> Result<()> {
    let open = GitServer::start(GitServerOptions::default()).await?;
    let basic = GitServer::start(GitServerOptions {
        auth: Auth::Basic {
            user: "me".into(),
            password: PASSWORD.into(),
        },
        ..Default::default()
    })
    .await?;
    let bearer = GitServer::start(GitServerOptions {
        auth: Auth::Bearer(PASSWORD.into()),
        tls: true,
        ..Default::default()
    })
    .await?;
    let mutual = GitServer::start(GitServerOptions {
        mutual_tls: true,
        ..Default::default()
    })
    .await?;
    let proxy = HttpProxy::start("carrier", PASSWORD).await?;
    let identity = ed25519();
    let mut repositories = Vec::new();
    for server in [&open, &basic, &bearer, &mutual] {
        let repository = server.create_repo("app").await?;
        repository.write_files(&[
            ("deploy/a.yaml", "a: 1\n"),
            ("deploy/sub/b.yaml", "b: 1\n"),
            ("run.sh", "#!/bin/sh\n"),
            ("README.md", "read\n"),
        ])?;
        repository.commit("one").await?;
        repositories.push(repository);
    }
    let root = repositories[0].bare().parent().context("it lies in a folder")?;
    let ssh = SshServer::start(root.to_owned(), ed25519(), vec![identity.public_key().clone()]).await;
    let ca = bearer.ca_pem().context("the server speaks TLS")?;
    let stranger = Authority::new("stranger")?;
    let identity = String::from_utf8(pem(&identity))?;
    let other = ssh.known_as(ed25519().public_key());
    let (mutual_ca, client) = (mutual.ca_pem().context("the server speaks TLS")?, mutual.client()?);
    let strange = stranger.client("stranger", None)?;
    let without = |mut spec: Value| {
        spec.as_object_mut().expect("it is one").remove("secretRef");
        spec
    };
    let ways = [
        (
            0,
            Way {
                name: "http",
                kind: "GitRepository",
                spec: without(git("http", repositories[0].url())),
                secret: None,
                said: "",
            },
        ),
        (
            1,
            Way {
                name: "http-basic",
                kind: "GitRepository",
                spec: git("http-basic", repositories[1].url()),
                secret: Some((
                    keys(&[("username", "me"), ("password", PASSWORD)]),
                    keys(&[("username", "me"), ("password", "canary-wrong")]),
                )),
                said: "refused access (HTTP 401): check the credentials",
            },
        ),
        (
            2,
            Way {
                name: "https-bearer",
                kind: "GitRepository",
                spec: git("https-bearer", repositories[2].url()),
                secret: Some((
                    keys(&[("bearerToken", PASSWORD), ("ca.crt", ca)]),
                    keys(&[("bearerToken", "canary-wrong"), ("ca.crt", ca)]),
                )),
                said: "refused access (HTTP 401)",
            },
        ),
        (
            2,
            Way {
                name: "https-authority",
                kind: "GitRepository",
                spec: git("https-authority", repositories[2].url()),
                secret: Some((
                    keys(&[("bearerToken", PASSWORD), ("ca.crt", ca)]),
                    keys(&[("bearerToken", PASSWORD), ("ca.crt", stranger.pem())]),
                )),
                said: "signed by an unknown authority",
            },
        ),
        (
            3,
            Way {
                name: "https-certificates",
                kind: "GitRepository",
                spec: git("https-certificates", repositories[3].url()),
                secret: Some((
                    keys(&[
                        ("ca.crt", mutual_ca),
                        ("tls.crt", &client.certificate),
                        ("tls.key", &client.key),
                    ]),
                    keys(&[
                        ("ca.crt", mutual_ca),
                        ("tls.crt", &strange.certificate),
                        ("tls.key", &strange.key),
                    ]),
                )),
                said: "the server refused the connection",
            },
        ),
        (
            0,
            Way {
                name: "http-proxy",
                kind: "GitRepository",
                spec: through_proxy(without(git("http-proxy", repositories[0].url())), "http-proxy"),
                secret: Some(proxy_keys(&proxy)),
                said: "407",
            },
        ),
        (
            3,
            Way {
                name: "https-proxy",
                kind: "GitRepository",
                spec: through_proxy(git("https-certificates", repositories[3].url()), "https-proxy"),
                secret: Some(proxy_keys(&proxy)),
                said: "proxy authorization required",
            },
        ),
        (
            0,
            Way {
                name: "ssh-key",
                kind: "GitRepository",
                spec: git("ssh-key", &ssh.url("app")),
                secret: Some((
                    keys(&[("identity", &identity), ("known_hosts", &ssh.known_hosts())]),
                    keys(&[
                        ("identity", &String::from_utf8(pem(&ed25519()))?),
                        ("known_hosts", &ssh.known_hosts()),
                    ]),
                )),
                said: "127.0.0.1",
            },
        ),
        (
            0,
            Way {
                name: "ssh-host",
                kind: "GitRepository",
                spec: git("ssh-host", &ssh.url("app")),
                secret: Some((
                    keys(&[("identity", &identity), ("known_hosts", &ssh.known_hosts())]),
                    keys(&[("identity", &identity), ("known_hosts", &other)]),
                )),
                said: "known_hosts",
            },
        ),
    ];
    let mut stage = Stage::start("matrix-git").await?;
    for (at, way) in &ways {
        let commit = repositories[*at].head().await?;
        let status = way.begin(&stage, &format!("main@sha1:{commit}")).await?;
        let stored = unpack(download(&status).await?.as_slice(), &Limits::default())?;
        assert_eq!(
            content(&stored),
            content(&git_archive(&repositories[*at], &commit)?),
            "{}: as git archive has it",
            way.name
        );
    }
    let mut revisions = Vec::new();
    for repository in &repositories {
        let commit = repository.commit_files(&[("deploy/a.yaml", "a: 2\n")]).await?;
        revisions.push(format!("main@sha1:{commit}"));
    }
    for (at, way) in &ways {
        way.end(&stage, &revisions[*at]).await?;
    }
    assert!(
        proxy.carried() > 0 && proxy.refused() > 0,
        "the proxy was asked: {proxy:?}"
    );

    // A certificate that ran out is said to have, also by a server that was fine before.
    let expired = GitServer::start(GitServerOptions {
        expired: true,
        ..Default::default()
    })
    .await?;
    let late = expired.create_repo("app").await?;
    let ca = expired.ca_pem().context("the server speaks TLS")?;
    stage.secret("expired", &[("ca.crt", ca)]).await?;
    stage
        .apply_object("GitRepository", "expired", git("expired", late.url()))
        .await?;
    stage.failed_saying("GitRepository", "expired", "expired").await?;

    // Rewritten history is followed: what counts is what the branch is now.
    let first = repositories[0]
        .commit_files(&[("late.yaml", "x: 1\n")])
        .await
        .context("one more")?;
    stage.request("GitRepository", "http", "later").await?;
    stage
        .ready_object("GitRepository", "http", &format!("main@sha1:{first}"))
        .await?;
    let back = revisions[0].trim_start_matches("main@sha1:");
    repositories[0].reset(back).await?;
    stage.request("GitRepository", "http", "rewritten").await?;
    let status = stage.ready_object("GitRepository", "http", &revisions[0]).await?;
    let stored = unpack(download(&status).await?.as_slice(), &Limits::default())?;
    assert!(stored.get("late.yaml").is_none());
    stage.stop().await;
    Ok(())
}

async fn push(url: &str, access: Access, text: &str) -> Result<String> {
    let artifact = flux_artifact(tarball(&[("a.yaml", text)]).into(), BTreeMap::new());
    let digest = remote(url, access)?
        .push_artifact("latest", artifact, std::time::Duration::from_secs(60))
        .await?;
    Ok(format!("latest@{digest}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_by_every_way_in() -> Result<()> {
    let locked = Registry::start(RegistryOptions {
        user: Some(("me".into(), PASSWORD.into())),
        ..Default::default()
    })
    .await?;
    let mutual = Registry::start(RegistryOptions {
        mutual_tls: true,
        ..Default::default()
    })
    .await?;
    let (ca, client) = (mutual.ca_pem().context("it speaks TLS")?, mutual.client()?);
    let stranger = Authority::new("stranger")?.client("stranger", None)?;
    let mut tls_keys = SecretData::new();
    for (key, text) in [
        ("ca.crt", ca),
        ("tls.crt", &client.certificate),
        ("tls.key", &client.key),
    ] {
        tls_keys.insert(key.to_owned(), text.as_bytes().to_vec());
    }
    let certificates = || -> Result<Access> {
        Ok(Access {
            tls: TlsOptions::from_certificate_secret(&tls_keys)?,
            ..Access::default()
        })
    };
    let open = oci::open_registry().await;
    let proxy = HttpProxy::start("carrier", PASSWORD).await?;
    let urls = [
        open.oci_url("matrix"),
        locked.oci_url("matrix"),
        mutual.oci_url("matrix"),
    ];
    let ways = [
        (
            0,
            Way {
                name: "anonymous",
                kind: "OCIRepository",
                spec: json!({"url": urls[0], "interval": "1h", "insecure": true}),
                secret: None,
                said: "",
            },
        ),
        (
            2,
            Way {
                name: "certificates",
                kind: "OCIRepository",
                spec: json!({"url": urls[2], "interval": "1h", "certSecretRef": {"name": "certificates"}}),
                secret: Some((
                    keys(&[
                        ("ca.crt", ca),
                        ("tls.crt", &client.certificate),
                        ("tls.key", &client.key),
                    ]),
                    keys(&[
                        ("ca.crt", ca),
                        ("tls.crt", &stranger.certificate),
                        ("tls.key", &stranger.key),
                    ]),
                )),
                said: "the server refused the connection",
            },
        ),
        (
            2,
            Way {
                name: "proxy",
                kind: "OCIRepository",
                spec: through_proxy(
                    json!({"url": urls[2], "interval": "1h", "certSecretRef": {"name": "certificates"}}),
                    "proxy",
                ),
                secret: Some(proxy_keys(&proxy)),
                said: "407",
            },
        ),
    ];
    let mut stage = Stage::start("matrix-oci").await?;
    // Pull secrets have a type of their own.
    let private = json!({"url": urls[1], "interval": "1h", "insecure": true, "secretRef": {"name": "private"}});
    stage.docker_secret("private", locked.address(), "me", PASSWORD).await?;
    let access = |at: usize| match at {
        1 => Ok(Access {
            credentials: Credentials::Basic(BasicAuth {
                username: "me".into(),
                password: SecretText::new(PASSWORD),
            }),
            ..Access::default()
        }),
        2 => certificates(),
        _ => Ok(Access {
            insecure: true,
            ..Access::default()
        }),
    };
    let mut first = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        first.push(push(url, access(at)?, "a: 1\n").await?);
    }
    for (at, way) in &ways {
        way.begin(&stage, &first[*at]).await?;
    }
    stage.apply_object("OCIRepository", "private", private).await?;
    stage.ready_object("OCIRepository", "private", &first[1]).await?;
    let mut second = Vec::new();
    for (at, url) in urls.iter().enumerate() {
        second.push(push(url, access(at)?, "a: 2\n").await?);
    }
    for (at, way) in &ways {
        way.end(&stage, &second[*at]).await?;
    }
    stage.request("OCIRepository", "private", "changed").await?;
    let good = stage.ready_object("OCIRepository", "private", &second[1]).await?;
    stage
        .docker_secret("private", locked.address(), "me", "canary-wrong")
        .await?;
    stage.request("OCIRepository", "private", "refused").await?;
    stage
        .failed_object("OCIRepository", "private", "OCIArtifactPullFailed")
        .await?;
    let status = stage.object("OCIRepository", "private").await?["status"].clone();
    assert_eq!(status["artifact"], good["artifact"]);
    assert!(!status.to_string().contains("canary"), "{status}");
    download(&status).await?;

    // A registry that lies, and an archive that leads out: the last good one stays.
    let front = RegistryFront::start(open.address()).await?;
    let url = front.oci_url("matrix");
    let spec = json!({"url": url, "interval": "1h", "insecure": true});
    stage.apply_object("OCIRepository", "front", spec).await?;
    let good = stage.ready_object("OCIRepository", "front", &second[0]).await?;
    let insecure = Access {
        insecure: true,
        ..Access::default()
    };
    push(&urls[0], insecure, "a: 3\n").await?;
    front.fail(RegistryFault::AlterBlobs);
    stage.request("OCIRepository", "front", "altered").await?;
    let reason = stage.failed_saying("OCIRepository", "front", "digest").await?;
    assert!(reason.starts_with("OCIArtifact"), "{reason}");
    let status = stage.object("OCIRepository", "front").await?["status"].clone();
    assert_eq!(status["artifact"], good["artifact"]);
    download(&status).await?;
    stage.stop().await;
    Ok(())
}

async fn index(server: &ChartServer) -> Result<String> {
    let text = reqwest::get(format!("{}/index.yaml", server.url))
        .await?
        .bytes()
        .await?;
    Ok(Digest::sha256(&text).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn chart_repositories_by_every_way_in() -> Result<()> {
    let server = ChartServer::start().await?;
    server.publish("app", "1.0.0", package("app", "1.0.0", &[]), "");
    let mut stage = Stage::start("matrix-helm").await?;
    let open = Way {
        name: "open",
        kind: "HelmRepository",
        spec: json!({"url": server.url, "interval": "1h"}),
        secret: None,
        said: "",
    };
    let first = index(&server).await?;
    open.begin(&stage, &first).await?;
    server.publish("app", "1.1.0", package("app", "1.1.0", &[]), "");
    let second = index(&server).await?;
    open.end(&stage, &second).await?;

    // An index that is none keeps the last good one.
    server.put("index.yaml", "<html>not an index</html>: [");
    stage.request("HelmRepository", "open", "broken").await?;
    stage
        .failed_object("HelmRepository", "open", "IndexationFailed")
        .await?;
    let status = stage.object("HelmRepository", "open").await?["status"].clone();
    assert_eq!(status["artifact"]["revision"], second);
    download(&status).await?;
    server.publish("app", "1.1.0", package("app", "1.1.0", &[]), "");

    server.authorize(&format!("Basic {}", base64_of(&format!("me:{PASSWORD}"))));
    let locked = Way {
        name: "basic",
        kind: "HelmRepository",
        spec: json!({"url": server.url, "interval": "1h", "secretRef": {"name": "basic"}}),
        secret: Some((
            keys(&[("username", "me"), ("password", PASSWORD)]),
            keys(&[("username", "me"), ("password", "canary-wrong")]),
        )),
        said: "401",
    };
    locked.begin(&stage, &second).await?;
    locked.end(&stage, &second).await?;

    // Client certificates.
    let authority = Authority::new("charts")?;
    let mutual = ChartServer::start_mutual(&authority.server(&["127.0.0.1"])?, &authority).await?;
    mutual.publish("app", "1.1.0", package("app", "1.1.0", &[]), "");
    let client = authority.client("reader", None)?;
    let strange = Authority::new("stranger")?.client("stranger", None)?;
    let with = |given: &Issued| {
        keys(&[
            ("ca.crt", authority.pem()),
            ("tls.crt", &given.certificate),
            ("tls.key", &given.key),
        ])
    };
    let certificates = Way {
        name: "certificates",
        kind: "HelmRepository",
        spec: json!({"url": mutual.url, "interval": "1h", "certSecretRef": {"name": "certificates"}}),
        secret: Some((with(&client), with(&strange))),
        said: "the server refused the connection",
    };
    certificates.begin(&stage, &second).await?;
    let chart = json!({"chart": "app", "version": "1.x", "interval": "1h",
                       "sourceRef": {"kind": "HelmRepository", "name": "certificates"}});
    stage.apply_object("HelmChart", "certificates", chart).await?;
    let status = stage.ready_object("HelmChart", "certificates", "1.1.0").await?;
    let stored = download(&status).await?;
    certificates.end(&stage, &second).await?;

    // What is stored is what `helm pull` fetches.
    let open = ChartServer::start().await?;
    open.publish("app", "1.1.0", package("app", "1.1.0", &[]), "");
    match Helm::start() {
        Ok(mut helm) => assert_eq!(helm_pull(&mut helm, &open.url)?, stored),
        Err(error) if std::env::var_os("CI").is_some() => return Err(error),
        Err(error) => eprintln!("skipped: the reference Helm cannot be built: {error:#}"),
    }
    stage.stop().await;
    Ok(())
}

fn helm_pull(helm: &mut Helm, repository: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let home = folder.path().join("home").display().to_string();
    let into = folder.path().display().to_string();
    let arguments = [
        "pull",
        "app",
        "--repo",
        repository,
        "--version",
        "1.1.0",
        "--destination",
        &into,
        "--repository-cache",
        &home,
    ];
    let arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    helm.command(&arguments)?.map_err(anyhow::Error::msg)?;
    Ok(std::fs::read(folder.path().join("app-1.1.0.tgz"))?)
}

fn base64_of(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_by_every_way_in() -> Result<()> {
    let Some(plain) = bucket::server().await else {
        return Ok(());
    };
    let Some(tls) = S3Server::start(S3Options {
        tls: true,
        ..Default::default()
    })
    .await?
    else {
        return Ok(());
    };
    let (access, secret) = S3Server::KEYS;
    let right = [("accesskey", access), ("secretkey", secret)];
    let wrong = [("accesskey", access), ("secretkey", "canary-wrong")];
    for server in [plain, &tls] {
        server.make_bucket("matrix").await?;
        server.put("matrix", "a", b"1").await?;
    }
    let mut stage = Stage::start("matrix-bucket").await?;
    stage
        .secret("ca", &[("ca.crt", tls.ca_pem().context("it speaks TLS")?)])
        .await?;
    let spec = |name: &str, address: &str, insecure: bool| {
        json!({"endpoint": address, "bucketName": "matrix", "interval": "1h", "insecure": insecure,
               "secretRef": {"name": name}})
    };
    let mut over_tls = spec("https-keys", tls.address(), false);
    over_tls["certSecretRef"] = json!({"name": "ca"});
    let ways = [
        Way {
            name: "http-keys",
            kind: "Bucket",
            spec: spec("http-keys", plain.address(), true),
            secret: Some((keys(&right), keys(&wrong))),
            said: "403",
        },
        Way {
            name: "https-keys",
            kind: "Bucket",
            spec: over_tls,
            secret: Some((keys(&right), keys(&wrong))),
            said: "403",
        },
    ];
    for way in &ways {
        way.begin(&stage, &bucket::revision(&[("a", bucket::ONE)])).await?;
    }
    for server in [plain, &tls] {
        server.put("matrix", "a", b"2").await?;
    }
    for way in &ways {
        way.end(&stage, &bucket::revision(&[("a", bucket::TWO)])).await?;
    }
    let status = stage.object("Bucket", "http-keys").await?["status"].clone();
    assert!(condition(&status, "FetchFailed").is_none(), "{status}");
    stage.stop().await;
    Ok(())
}
