//! Repositories over SSH.

use std::time::Duration;

use nave_artifact::File;
use nave_bed::git_ssh::{SshServer, ecdsa, ed25519, pem};
use nave_git::{
    Auth, Base, Git, GitError, Lease, NewCommit, Options, Person, Remote, Resolved, SshAuth, SshAuthError, SshKeyKind,
    SshKeyPair, SshOptions, Wanted,
};
use nave_net::{SecretText, TlsOptions};
use russh::keys::PrivateKey;

use crate::server::{Repository, Server, TIMEOUT, reader};

struct Stage {
    _http: Server,
    ssh: SshServer,
    repository: Repository,
    identity: PrivateKey,
}

async fn stage() -> Stage {
    // Repositories are made as for HTTP; nobody asks that server for them.
    let http = Server::start().await;
    let repository = http.repository("app");
    repository.write("deploy/a.yaml", "a: 1\n");
    repository.commit("one");
    let identity = ed25519();
    let ssh = SshServer::start(
        http.root.path().to_owned(),
        ed25519(),
        vec![identity.public_key().clone()],
    )
    .await;
    Stage {
        _http: http,
        ssh,
        repository,
        identity,
    }
}

fn auth(identity: &PrivateKey, known_hosts: &str) -> Auth {
    Auth::Ssh(SshAuth::new(&pem(identity), None, known_hosts.as_bytes()).unwrap())
}

async fn read(git: &Git, url: &str, auth: Auth, timeout: Duration) -> Result<(Resolved, Vec<String>), GitError> {
    let remote = git.remote("test", Remote::new(url, auth, TlsOptions::default(), None).unwrap())?;
    let resolved = remote.resolve(&Wanted::Branch("main".into()), timeout).await?;
    let found = remote.checkout(&resolved, &Default::default(), timeout).await?;
    Ok((resolved, found.tree.iter().map(|(path, _)| path.to_owned()).collect()))
}

async fn said(git: &Git, url: &str, auth: Auth) -> String {
    read(git, url, auth, TIMEOUT).await.unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_read_and_refreshed_in_both_protocol_versions() {
    let stage = stage().await;
    for old_protocol in [false, true] {
        stage.ssh.behave(|b| b.old_protocol = old_protocol);
        let (git, _cache) = reader();
        let url = stage.ssh.url("app");
        let auth = auth(&stage.identity, &stage.ssh.known_hosts());
        let (first, files) = read(&git, &url, auth.clone(), TIMEOUT).await.unwrap();
        assert_eq!(first.commit, stage.repository.head());
        assert!(files.contains(&"deploy/a.yaml".to_owned()));
        stage.repository.write(&format!("b-{old_protocol}.yaml"), "b: 1\n");
        let commit = stage.repository.commit("two");
        let (second, files) = read(&git, &url, auth, TIMEOUT).await.unwrap();
        assert_eq!(second.commit, commit);
        assert!(files.contains(&format!("b-{old_protocol}.yaml")));
    }
    let commands = stage.ssh.commands.lock().unwrap().clone();
    assert!(
        commands.iter().all(|command| command == "git-upload-pack '/app.git'"),
        "{commands:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_that_are_not_known_are_refused_and_told() {
    let stage = stage().await;
    let (git, _cache) = reader();
    let url = stage.ssh.url("app");
    let line = stage.ssh.known_hosts();

    let elsewhere = format!("elsewhere {}", line.split_once(' ').unwrap().1);
    let text = said(&git, &url, auth(&stage.identity, &elsewhere)).await;
    let port = stage.ssh.port;
    assert!(
        text.contains(&format!(
            "host [127.0.0.1]:{port} is not in known_hosts; its key is ssh-ed25519 SHA256:"
        )),
        "{text}"
    );
    // What the message says to add is what makes it work.
    let told = text.split_once("add this line to known_hosts: ").unwrap().1.to_owned();
    assert_eq!(told.trim(), line.trim());

    let other = stage.ssh.known_as(ed25519().public_key());
    let text = said(&git, &url, auth(&stage.identity, &other)).await;
    assert!(
        text.contains("either the server was given another key, or somebody stands in between"),
        "{text}"
    );

    let other_kind = stage.ssh.known_as(ecdsa().public_key());
    let text = said(&git, &url, auth(&stage.identity, &other_kind)).await;
    assert!(text.contains("known_hosts has ecdsa-sha2-nistp256 of host"), "{text}");
    assert!(text.contains("ssh-keyscan -p"), "{text}");

    let revoked = format!("{line}@revoked {line}");
    let text = said(&git, &url, auth(&stage.identity, &revoked)).await;
    assert!(text.contains("is revoked by line 2 of known_hosts"), "{text}");
    assert!(stage.ssh.commands.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_users_that_are_not_let_in_are_named() {
    let stage = stage().await;
    let (git, _cache) = reader();
    let known = stage.ssh.known_hosts();
    let stranger = ed25519();
    let text = said(&git, &stage.ssh.url("app"), auth(&stranger, &known)).await;
    let print = stranger.fingerprint(russh::keys::HashAlg::Sha256).to_string();
    assert!(
        text.contains(&format!("does not accept key ssh-ed25519 {print} for user \"git\"")),
        "{text}"
    );

    stage.ssh.behave(|b| b.user = Some("deploy".into()));
    let with_user = stage.ssh.url("app").replace("ssh://", "ssh://deploy@");
    read(&git, &with_user, auth(&stage.identity, &known), TIMEOUT)
        .await
        .unwrap();
    let text = said(&git, &stage.ssh.url("app"), auth(&stage.identity, &known)).await;
    assert!(text.contains("for user \"git\""), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_and_silence() {
    let stage = stage().await;
    let (git, _cache) = reader();
    let auth = auth(&stage.identity, &stage.ssh.known_hosts());
    let text = said(&git, &stage.ssh.url("none"), auth.clone()).await;
    assert!(
        text.contains("the server says: fatal: ") && text.contains("none.git' does not appear to be a git repository"),
        "{text}"
    );
    let text = said(&git, &stage.ssh.url("it's%20none"), auth.clone()).await;
    assert!(text.contains("it's none.git"), "{text}");

    stage.ssh.behave(|b| b.hang = true);
    let error = read(&git, &stage.ssh.url("app"), auth.clone(), Duration::from_secs(2))
        .await
        .unwrap_err();
    assert!(matches!(error, GitError::Timeout { .. }), "{error}");

    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let text = said(&git, &format!("ssh://{free}/app.git"), auth.clone()).await;
    assert!(text.starts_with("cannot reach ssh://"), "{text}");
    // Something that is no SSH server.
    let text = said(&git, &stage._http.address.replace("http", "ssh"), auth).await;
    assert!(text.starts_with("cannot reach ssh://"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn algorithms_that_are_asked_for_are_used_or_missed() {
    let stage = stage().await;
    let cache = tempfile::tempdir().unwrap();
    let options = |host_keys: &[&str], kex: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut options = Options::new(cache.path());
        options.ssh = SshOptions::new(&names(host_keys), &names(kex)).unwrap();
        Git::open(options).unwrap()
    };
    let auth = auth(&stage.identity, &stage.ssh.known_hosts());
    let url = stage.ssh.url("app");
    let git = options(&["ssh-ed25519"], &["curve25519-sha256"]);
    read(&git, &url, auth.clone(), TIMEOUT).await.unwrap();
    let text = said(&options(&["rsa-sha2-512"], &[]), &url, auth).await;
    assert!(
        text.contains("host key of ssh://") && text.contains("which has only ssh-ed25519"),
        "{text}"
    );
    let error = SshOptions::new(&["nonsense".to_owned()], &[]).unwrap_err();
    assert_eq!(error.to_string(), "host key algorithm \"nonsense\" is not known");
    assert!(SshOptions::new(&[], &["nonsense".to_owned()]).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_kinds_as_ssh_keygen_writes_them() {
    let stage = stage().await;
    let directory = tempfile::tempdir().unwrap();
    let kinds = [
        ("ed25519", vec!["-t", "ed25519"]),
        ("ecdsa", vec!["-t", "ecdsa", "-b", "521"]),
        ("rsa", vec!["-t", "rsa", "-b", "2048"]),
        ("pkcs1", vec!["-t", "rsa", "-b", "2048", "-m", "PEM"]),
        ("pkcs8", vec!["-t", "ecdsa", "-m", "PKCS8"]),
        ("sec1", vec!["-t", "ecdsa", "-m", "PEM"]),
    ];
    for (name, arguments) in kinds {
        for passphrase in ["", "open sesame"] {
            let file = directory.path().join(format!("{name}-{}", passphrase.len()));
            let made = std::process::Command::new("ssh-keygen")
                .args(["-q", "-C", "", "-N", passphrase, "-f"])
                .arg(&file)
                .args(&arguments)
                .status();
            let Ok(status) = made else {
                eprintln!("skipped: there is no ssh-keygen on this machine");
                return;
            };
            assert!(status.success());
            let identity = std::fs::read(&file).unwrap();
            let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
            let known = stage.ssh.known_hosts();
            let open = |phrase: &str| SshAuth::new(&identity, Some(&SecretText::new(phrase)), known.as_bytes());
            if name == "sec1" && !passphrase.is_empty() {
                let error = open(passphrase).unwrap_err().to_string();
                assert!(error.ends_with("rewrite it with ssh-keygen -p"), "{error}");
                continue;
            }
            if !passphrase.is_empty() {
                assert_eq!(open("").unwrap_err(), SshAuthError::Encrypted, "{name}");
                assert_eq!(open("wrong").unwrap_err(), SshAuthError::Passphrase, "{name}");
            }
            open(passphrase).unwrap_or_else(|error| panic!("{name}: {error}"));
            let phrase = SecretText::new(passphrase);
            let ssh = SshServer::start(
                stage._http.root.path().to_owned(),
                ed25519(),
                vec![public.parse().unwrap()],
            )
            .await;
            let auth = SshAuth::new(&identity, Some(&phrase), ssh.known_hosts().as_bytes()).unwrap();
            let (git, _cache) = reader();
            read(&git, &ssh.url("app"), Auth::Ssh(auth), TIMEOUT)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn host_keys_are_asked_for_and_new_keys_are_let_in() {
    let stage = stage().await;
    let found = nave_git::scan_host_keys("127.0.0.1", stage.ssh.port, TIMEOUT)
        .await
        .unwrap();
    let lines: Vec<&str> = found.iter().map(|key| key.line.as_str()).collect();
    assert_eq!(lines, [stage.ssh.known_hosts().trim()]);
    let free = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let error = nave_git::scan_host_keys("127.0.0.1", free.port(), TIMEOUT)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with(&format!("asking [127.0.0.1]:{} for its host keys: ", free.port())),
        "{error}"
    );

    for kind in [SshKeyKind::Ed25519, SshKeyKind::EcdsaP384] {
        let made = SshKeyPair::generate(kind).unwrap();
        let again = SshKeyPair::of_private(made.identity.expose().as_bytes(), None).unwrap();
        assert_eq!(made.public, again.public);
        let root = stage._http.root.path().to_owned();
        let ssh = SshServer::start(root, ecdsa(), vec![made.public.parse().unwrap()]).await;
        let auth = SshAuth::new(made.identity.expose().as_bytes(), None, ssh.known_hosts().as_bytes()).unwrap();
        let (git, _cache) = reader();
        read(&git, &ssh.url("app"), Auth::Ssh(auth), TIMEOUT).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_pushed() {
    let stage = stage().await;
    let (git, _cache) = reader();
    let remote = Remote::new(
        &stage.ssh.url("app"),
        auth(&stage.identity, &stage.ssh.known_hosts()),
        TlsOptions::default(),
        None,
    )
    .unwrap();
    let handle = git.remote("test", remote).unwrap();
    let base = handle.resolve(&Wanted::Branch("main".into()), TIMEOUT).await.unwrap();
    let new = NewCommit {
        person: Person {
            name: "Nave".into(),
            email: "nave@example.com".into(),
        },
        seconds: 1_795_262_400,
        message: "Update".into(),
        changes: [("deploy/a.yaml".to_owned(), Some(File::plain(b"a: 2\n".as_slice())))].into(),
        sign: None,
    };
    let lease = Lease::At(base.commit.clone());
    let commit = handle
        .commit(Some(&base), new, "refs/heads/main", lease, TIMEOUT)
        .await
        .unwrap()
        .unwrap();
    stage.repository.git(&["fetch", "--quiet", "origin"]);
    assert_eq!(stage.repository.git(&["rev-parse", "origin/main"]), commit);
    assert_eq!(stage.repository.git(&["show", "origin/main:deploy/a.yaml"]), "a: 2");
}

async fn base(git: &Git, url: &str, ssh: Option<&SshAuth>, submodules: bool) -> Result<Vec<String>, String> {
    let base = Base {
        url,
        reference: "main",
        submodules,
        ssh,
        timeout: TIMEOUT,
    };
    let found = git.base(url, base).await.map_err(|error| error.to_string())?;
    Ok(found.iter().map(|(path, _)| path.to_owned()).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_read_with_the_key_of_a_folder_submodules_and_ignored_files_included() {
    let stage = stage().await;
    let lib = stage._http.repository("lib");
    lib.write("l.yaml", "l: 1\n");
    let commit = lib.commit("lib");
    let app = &stage.repository;
    app.write(
        ".gitmodules",
        "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../lib.git\n",
    );
    app.write(".sourceignore", "deploy/\n");
    app.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{commit},vendor/lib"),
    ]);
    app.git(&["add", ".gitmodules", ".sourceignore"]);
    app.git(&["commit", "--quiet", "-m", "link"]);
    app.git(&["push", "--quiet", "origin", "HEAD"]);

    let folder = tempfile::tempdir().unwrap();
    let (git, _cache) = reader();
    let url = stage.ssh.url("app");
    assert!(
        SshAuth::of_folder(folder.path()).await.unwrap().is_none(),
        "there is no key yet"
    );
    assert_eq!(
        base(&git, &url, None, true).await.unwrap_err(),
        "there is no key for ssh here"
    );
    std::fs::write(folder.path().join("id_ed25519"), pem(&stage.identity)).unwrap();
    let error = SshAuth::of_folder(folder.path()).await.unwrap_err();
    assert!(error.to_string().ends_with("known_hosts"), "{error}");
    std::fs::write(folder.path().join("known_hosts"), stage.ssh.known_hosts()).unwrap();
    let key = SshAuth::of_folder(folder.path()).await.unwrap();
    let files = base(&git, &url, key.as_ref(), true).await.unwrap();
    for wanted in ["deploy/a.yaml", "vendor/lib/l.yaml"] {
        assert!(files.iter().any(|path| path == wanted), "{wanted}: {files:?}");
    }
    let files = base(&git, &url, key.as_ref(), false).await.unwrap();
    assert!(!files.iter().any(|path| path.starts_with("vendor/")), "{files:?}");
    std::fs::write(folder.path().join("id_ed25519"), "no key").unwrap();
    let error = SshAuth::of_folder(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("id_ed25519: identity is not a private key"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn local_addresses_are_refused_wherever_they_come_from() {
    let stage = stage().await;
    let cache = tempfile::tempdir().unwrap();
    let options = Options {
        refuse_local: true,
        ..Options::new(cache.path())
    };
    let git = Git::open(options).unwrap();
    let key = SshAuth::new(&pem(&stage.identity), None, stage.ssh.known_hosts().as_bytes()).unwrap();
    let url = stage.ssh.url("app");
    let error = base(&git, &url, Some(&key), false).await.unwrap_err();
    assert_eq!(
        error,
        format!("{url} is an address of this machine, which is not allowed")
    );
}
