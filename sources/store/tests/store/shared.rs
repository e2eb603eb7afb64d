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
    assert_eq!(get(&base, "ocirepository/apps/app/", None).await?.0, 404);
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
