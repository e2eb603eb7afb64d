//! The store against a real directory and a real HTTP client.

#[path = "store/shared.rs"]
mod shared;
#[path = "store/soak.rs"]
mod soak;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use nave_artifact::{Digest, File, FileTree};
use nave_store::{Options, Owner, ReadError, Retention, Store, Verdict};

fn open(directory: &std::path::Path) -> Store {
    Store::open(Options::new(directory, "store.example")).unwrap()
}

fn owner() -> Owner {
    Owner::new("GitRepository", "apps", "podinfo").unwrap()
}

fn tree(content: &str) -> Arc<FileTree> {
    let mut tree = FileTree::new();
    tree.insert("app/deploy.yaml", File::plain(content.as_bytes())).unwrap();
    Arc::new(tree)
}

#[tokio::test]
async fn what_is_put_is_read_back_from_memory_and_from_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = store.put_tree(&owner(), "1.tar.gz", tree("a")).await.unwrap();
    assert_eq!(stored.path, "gitrepository/apps/podinfo/1.tar.gz");
    assert_eq!(stored.url, "http://store.example/gitrepository/apps/podinfo/1.tar.gz");
    let bytes = store.read(&stored.path).await.unwrap();
    assert_eq!(
        (Digest::sha256(&bytes), bytes.len() as u64),
        (stored.digest, stored.size)
    );
    assert_eq!(store.tree(&stored.path, &stored.digest).await.unwrap(), tree("a"));

    let reopened = open(directory.path());
    assert!(reopened.tree_in_memory(&stored.digest).is_none());
    assert_eq!(reopened.tree(&stored.path, &stored.digest).await.unwrap(), tree("a"));
    assert!(reopened.tree_in_memory(&stored.digest).is_some());
}

#[tokio::test]
async fn a_link_leads_to_the_latest() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for (file, content) in [("1.tar.gz", "a"), ("2.tar.gz", "b")] {
        let stored = store.put_reader(&owner(), file, content.as_bytes()).await.unwrap();
        assert_eq!(stored.digest, Digest::sha256(content.as_bytes()));
        // Setting it again to the same file changes nothing.
        for _ in 0..2 {
            let url = store.link(&owner(), "latest.tar.gz", file).await.unwrap();
            assert_eq!(url, "http://store.example/gitrepository/apps/podinfo/latest.tar.gz");
        }
        let link = directory.path().join("gitrepository/apps/podinfo/latest.tar.gz");
        assert_eq!(std::fs::read_to_string(link).unwrap(), content);
    }
    assert!(store.link(&owner(), "../x", "1.tar.gz").await.is_err());
    assert!(store.link(&owner(), "x", "../../../etc/passwd").await.is_err());
    // Retention leaves the link alone and removes what is old.
    let later = SystemTime::now() + Duration::from_secs(3600);
    assert_eq!(store.collect(&owner(), "2.tar.gz", later).await.unwrap(), ["1.tar.gz"]);
    let mut names: Vec<String> = std::fs::read_dir(directory.path().join("gitrepository/apps/podinfo"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["2.tar.gz", "latest.tar.gz"]);
}

#[tokio::test]
async fn what_cannot_be_made_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let broken = store
        .put_with(&owner(), "1.tar.gz", |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("no more"))
        })
        .await;
    assert!(broken.is_err());
    let left = std::fs::read_dir(directory.path().join("gitrepository/apps/podinfo")).unwrap();
    assert_eq!(left.count(), 0);
    assert!(matches!(
        store.open_file("gitrepository/apps/podinfo/1.tar.gz").await,
        Err(ReadError::Missing { .. })
    ));
    store
        .put_with(&owner(), "1.tar.gz", |out| out.write_all(b"whole"))
        .await
        .unwrap();
    let file = store.open_file("gitrepository/apps/podinfo/1.tar.gz").await.unwrap();
    assert_eq!(std::io::read_to_string(file).unwrap(), "whole");
}

#[tokio::test]
async fn damage_is_seen() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = store.put(&owner(), "1.tar.gz", b"content".to_vec()).await.unwrap();
    let file = directory.path().join(&stored.path);
    for _ in 0..2 {
        assert_eq!(
            store.verify(&stored.path, &stored.digest).await.unwrap(),
            Verdict::Intact
        );
    }
    // Same size, and the modification time put back: the change time still tells.
    let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
    std::fs::write(&file, b"CONTENT").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let verdict = store.verify(&stored.path, &stored.digest).await.unwrap();
    assert_eq!(
        verdict,
        Verdict::Mismatch {
            actual: Digest::sha256(b"CONTENT")
        }
    );
    let error = store.tree(&stored.path, &stored.digest).await.unwrap_err();
    assert!(matches!(error, ReadError::Digest { .. }), "{error}");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(
        store.verify(&stored.path, &stored.digest).await.unwrap(),
        Verdict::Missing
    );
    let error = store.tree(&stored.path, &stored.digest).await.unwrap_err();
    assert!(matches!(error, ReadError::Missing { .. }), "{error}");
    assert!(store.verify("../../etc/passwd", &stored.digest).await.is_err());
}

#[tokio::test]
async fn leftovers_of_a_killed_process_are_removed_at_open_and_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let stored = store.put(&owner(), "1.tar.gz", b"whole".to_vec()).await.unwrap();
    let beside = directory.path().join("gitrepository/apps/podinfo/.tmp-abc");
    std::fs::write(&beside, b"hal").unwrap();
    let (address, _server) = serve(&store).await;
    let status = get(&format!("{address}/gitrepository/apps/podinfo/.tmp-abc"))
        .await
        .status();
    assert_eq!(status, 404);
    let reopened = open(directory.path());
    assert!(!beside.exists());
    assert_eq!(
        reopened.verify(&stored.path, &stored.digest).await.unwrap(),
        Verdict::Intact
    );
}

#[tokio::test]
async fn collection_keeps_the_current_artifact_and_removal_takes_everything() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path(), "x");
    options.retention = Retention {
        ttl: Duration::from_secs(60),
        records: 2,
    };
    let store = Store::open(options).unwrap();
    for name in ["1.tar.gz", "2.tar.gz", "3.tar.gz"] {
        store.put(&owner(), name, name.as_bytes().to_vec()).await.unwrap();
    }
    let below = directory.path().join("gitrepository/apps/podinfo");
    std::fs::write(below.join("1.tar.gz.lock"), b"").unwrap();
    let now = SystemTime::now();
    assert_eq!(store.collect(&owner(), "3.tar.gz", now).await.unwrap(), ["1.tar.gz"]);
    assert!(!below.join("1.tar.gz.lock").exists());
    let later = now + Duration::from_secs(120);
    assert_eq!(store.collect(&owner(), "3.tar.gz", later).await.unwrap(), ["2.tar.gz"]);
    assert!(below.join("3.tar.gz").exists());
    store.remove_all(&owner()).await.unwrap();
    assert!(!below.exists());
    store.remove_all(&owner()).await.unwrap();
    assert!(store.collect(&owner(), "x", later).await.unwrap().is_empty());
}

async fn serve(store: &Store) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let routes = store.routes();
    let task = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, task)
}

async fn get(url: &str) -> reqwest::Response {
    request(reqwest::Method::GET, url, None).await
}

async fn request(method: reqwest::Method, url: &str, range: Option<&str>) -> reqwest::Response {
    nave_net::install_crypto_provider();
    let mut request = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .request(method, url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn artifacts_are_served_with_ranges_heads_and_listings() {
    let directory = tempfile::tempdir().unwrap();
    let outside = directory.path().join("secret");
    std::fs::write(&outside, b"outside").unwrap();
    let store = open(&directory.path().join("data"));
    let name = "sha256:0a.tar.gz";
    let stored = store.put(&owner(), name, b"0123456789".to_vec()).await.unwrap();
    let (address, _server) = serve(&store).await;
    let url = format!("{address}/{}", stored.path);

    let whole = get(&url).await;
    assert_eq!(
        (
            whole.status().as_u16(),
            whole.headers()["content-type"].to_str().unwrap()
        ),
        (200, "application/gzip")
    );
    assert_eq!(whole.bytes().await.unwrap(), "0123456789");
    let head = request(reqwest::Method::HEAD, &url, None).await;
    assert_eq!(head.headers()["content-length"], "10");
    let part = request(reqwest::Method::GET, &url, Some("bytes=3-5")).await;
    assert_eq!(
        (part.status().as_u16(), part.bytes().await.unwrap().as_ref()),
        (206, b"345".as_slice())
    );
    assert_eq!(request(reqwest::Method::POST, &url, None).await.status(), 405);

    let listing = get(&format!("{address}/gitrepository/apps/podinfo/"))
        .await
        .text()
        .await
        .unwrap();
    assert!(
        listing.contains("<a href=\"./sha256%3A0a.tar.gz\">sha256:0a.tar.gz</a>"),
        "{listing}"
    );
    assert!(get(&address).await.text().await.unwrap().contains("gitrepository/"));

    for path in [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/gitrepository/..%5c..%5csecret",
        "/none",
        "/none/",
    ] {
        // The client would tidy the path up, so it is written by hand.
        let answer = raw(&address, path).await;
        assert!(
            answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400"),
            "{path}: {answer}"
        );
        assert!(!answer.contains("outside"));
    }
}

async fn raw(address: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address.trim_start_matches("http://"))
        .await
        .unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
