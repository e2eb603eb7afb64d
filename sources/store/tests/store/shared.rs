//! Two replicas over one storage: in memory, and a real S3 server.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result};
use nave_artifact::{Digest, File, FileTree};
use nave_bed::{S3Options, S3Server};
use nave_store::{Options, Owner, Retention, Shared, Store, Verdict};
use object_store::memory::InMemory;

use crate::soak;

fn open(directory: &Path, shared: &Shared) -> Result<Store> {
    let mut options = Options::new(directory, "store.example");
    options.shared = Some(shared.clone());
    options.retention = Retention {
        ttl: Duration::from_secs(3600),
        records: 1,
    };
    Ok(Store::open(options)?)
}

async fn serve(store: &Store) -> Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let routes = store.routes();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(format!("http://{address}"))
}

async fn get(base: &str, path: &str, range: Option<&str>) -> Result<(u16, Vec<u8>)> {
    let mut request = reqwest::Client::new().get(format!("{base}/{path}"));
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let response = request.send().await?;
    Ok((response.status().as_u16(), response.bytes().await?.to_vec()))
}

fn tree(content: &str) -> Arc<FileTree> {
    let mut tree = FileTree::new();
    tree.insert("a.yaml", File::plain(content.as_bytes()))
        .expect("it is plain");
    Arc::new(tree)
}

/// What holds of any storage.
async fn check(shared: &Shared) -> Result<()> {
    nave_net::install_crypto_provider();
    let (one, two) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (maker, other) = (open(one.path(), shared)?, open(two.path(), shared)?);
    let base = serve(&other).await?;
    let owner = Owner::new("OCIRepository", "apps", "app")?;

    // What one replica made, another serves, and reads.
    let stored = maker.put_tree(&owner, "sha256:1.tar.gz", tree("1")).await?;
    maker.link(&owner, "latest.tar.gz", "sha256:1.tar.gz").await?;
    let bytes = maker.read(&stored.path).await?;
    assert_eq!(get(&base, &stored.path, None).await?, (200, bytes.clone()));
    assert_eq!(
        get(&base, "ocirepository/apps/app/latest.tar.gz", None).await?,
        (200, bytes.clone())
    );
    assert_eq!(
        get(&base, &stored.path, Some("bytes=2-3")).await?,
        (206, bytes[2..4].to_vec())
    );
    assert_eq!(get(&base, "ocirepository/apps/app/none.tar.gz", None).await?.0, 404);
    let (status, page) = get(&base, "ocirepository/apps/app/", None).await?;
    let page = String::from_utf8(page)?;
    assert!(
        status == 200 && page.contains("latest.tar.gz") && page.contains(":1.tar.gz"),
        "{page}"
    );
    assert_eq!(other.tree(&stored.path, &stored.digest).await?, tree("1"));
    assert_eq!(other.verify(&stored.path, &stored.digest).await?, Verdict::Intact);

    // A file of the same name with other content: whoever has the older one gets the newer.
    let newer = maker.put_tree(&owner, "sha256:1.tar.gz", tree("2")).await?;
    assert_eq!(other.verify(&newer.path, &newer.digest).await?, Verdict::Intact);
    assert_eq!(Digest::sha256(&other.read(&newer.path).await?), newer.digest);

    // A volume that was wiped is filled from the storage, and a storage that was emptied from the volume.
    std::fs::remove_dir_all(one.path().join("ocirepository"))?;
    assert_eq!(maker.verify(&newer.path, &newer.digest).await?, Verdict::Intact);
    assert_eq!(Digest::sha256(&maker.read(&newer.path).await?), newer.digest);
    open(two.path(), shared)?.remove(&newer.path).await?;
    assert_eq!(get(&base, &newer.path, None).await?.0, 404);
    assert_eq!(maker.verify(&newer.path, &newer.digest).await?, Verdict::Intact);
    assert_eq!(get(&base, &newer.path, None).await?.0, 200);
    let unknown = Digest::sha256(b"unknown");
    let missing = maker.verify("ocirepository/apps/app/none.tar.gz", &unknown).await?;
    assert_eq!(missing, Verdict::Missing);

    // What is large goes in parts.
    let large: Vec<u8> = (0..25_000_000_u32).map(|n| (n ^ (n >> 8)) as u8).collect();
    let big = maker.put(&owner, "big.tar.gz", large.clone()).await?;
    let (status, served) = get(&base, &big.path, None).await?;
    assert!(status == 200 && served == large, "{} bytes are served", served.len());

    // Retention and removal reach both.
    let removed = maker.collect(&owner, "big.tar.gz", SystemTime::now()).await?;
    assert_eq!(removed, ["sha256:1.tar.gz"]);
    assert_eq!(get(&base, &newer.path, None).await?.0, 404);
    maker.remove_all(&owner).await?;
    assert_eq!(get(&base, &big.path, None).await?.0, 404);
    assert_eq!(get(&base, "ocirepository/apps/app/latest.tar.gz", None).await?.0, 404);
    let (status, page) = get(&base, "ocirepository/apps/app/", None).await?;
    assert_eq!(status, 404, "{}", String::from_utf8_lossy(&page));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_what_is_in_memory() -> Result<()> {
    check(&Shared::new(Arc::new(InMemory::new()), "/nave/artifacts/")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_an_s3_server() -> Result<()> {
    let Some(server) = S3Server::start(S3Options::default()).await? else {
        return Ok(());
    };
    server.make_bucket("store").await?;
    let (access, secret) = S3Server::KEYS;
    let endpoint = server.address();
    // Keys come from the environment, which a test must not change: so they are given here.
    let address = format!("s3://store/nave?endpoint={endpoint}&insecure=true&region=us-east-1");
    let shared = nave_store::s3_with_keys(&address, Some((access, secret))).context("it opens")?;
    check(&shared).await
}

#[test]
fn addresses_that_make_no_sense_are_refused() {
    for (address, part) in [
        ("http://a/b", "it must be s3://bucket/prefix"),
        ("s3://", "it must be s3://bucket/prefix"),
        ("s3://k:canary-1@b/p", "keys come from the environment"),
        ("s3://b/p?endpoint=http://x", "endpoint: give the host"),
        ("s3://b/p?secret=x", "'secret' is none of endpoint, region and insecure"),
    ] {
        let error = nave_store::s3(address).expect_err(address).to_string();
        assert!(error.contains(part) && !error.contains("canary"), "{error}");
    }
}

/// The other replica is a process of its own, killed again and again while it stores: what it said to be stored is served by
/// this one, whole, and the next process goes on from there.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_is_killed_while_it_stores() -> Result<()> {
    let Some(server) = S3Server::start(S3Options::default()).await? else {
        return Ok(());
    };
    nave_net::install_crypto_provider();
    server.make_bucket("killed").await?;
    let address = format!(
        "s3://killed/nave?endpoint={}&insecure=true&region=us-east-1",
        server.address()
    );
    let (here, there) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let shared = nave_store::s3_with_keys(&address, Some(S3Server::KEYS)).context("it opens")?;
    let mut options = Options::new(here.path(), "store.example");
    options.shared = Some(shared);
    let store = Store::open(options)?;
    let base = serve(&store).await?;
    let mut next = 0;
    for round in 1..=5 {
        let mut running = soak::Running::start(there.path(), next, Some(&address)).await?;
        let mut newest: u64 = running.said("stored ").await?.context("it stores something")?.parse()?;
        running.child.kill().await?; // SIGKILL
        while let Some(line) = running.said("stored ").await? {
            newest = line.parse()?;
        }
        let path = format!("{}/{}", soak::owner().directory(), soak::name(newest));
        let (status, body) = get(&base, &path, None).await?;
        anyhow::ensure!(
            status == 200 && body == soak::content(newest),
            "round {round}: {newest} is answered with {status} and {} bytes",
            body.len()
        );
        let latest = format!("{}/latest.tar.gz", soak::owner().directory());
        let (status, body) = get(&base, &latest, None).await?;
        let first = body.first_chunk().map(|first| u64::from_le_bytes(*first));
        let number = first.context("less is served than anybody stored")?;
        anyhow::ensure!(
            status == 200 && number >= newest && body == soak::content(number),
            "round {round}: the link leads to {number}, not whole"
        );
        let digest = Digest::sha256(&soak::content(newest));
        assert_eq!(store.verify(&path, &digest).await?, Verdict::Intact);
        next = number.max(newest) + 1;
    }
    Ok(())
}
