//! A real S3 server, and one that misbehaves.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use nave_artifact::{Digest, Limits};
use nave_bed::{S3Options, S3Server};
use nave_bucket::{Keys, Storage};
use nave_net::TlsOptions;
use tokio::sync::OnceCell;

use crate::stage::{SECRET, TIMEOUT, access, all, keys, open, serve, told};

async fn server() -> Option<&'static S3Server> {
    static SERVER: OnceCell<Option<S3Server>> = OnceCell::const_new();
    SERVER
        .get_or_init(|| async {
            S3Server::start(S3Options::default())
                .await
                .expect("an S3 server starts")
        })
        .await
        .as_ref()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_is_what_flux_would_list() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.make_bucket("list").await?;
    for (key, text) in [
        ("apps/a%20b.yaml", "1"),
        ("apps/deep/%C3%BC+%26.yaml", "2"),
        ("apps/logo.png", "3"),
        ("apps-too/x", "4"),
        ("notes.md", "5"),
        ("skip/this", "6"),
        (".sourceignore", "/skip\n"),
    ] {
        server.put("list", key, text.as_bytes()).await?;
    }
    let (name, secret) = S3Server::KEYS;
    let mut wanted = access(Storage::S3, server.address(), keys(name, secret));
    wanted.bucket = "list".to_owned();
    let remote = open(wanted)?;
    let limits = Limits::default();
    let listing = remote.list("", Some("*.md"), &limits, TIMEOUT).await?;
    let found: Vec<&str> = listing.index.iter().map(|(key, _)| key).collect();
    // Unlike elsewhere, pictures are not left out of their own.
    assert_eq!(
        found,
        ["apps-too/x", "apps/a b.yaml", "apps/deep/ü+&.yaml", "apps/logo.png"]
    );
    // The etag of a small object is its MD5 sum; these are `md5sum`'s of 4, 1, 2 and 3.
    let lines = "apps-too/x a87ff679a2f3e71d9181a67b7542122c\napps/a b.yaml c4ca4238a0b923820dcc509a6f75849b\n\
                 apps/deep/ü+&.yaml c81e728d9d4c2f636f067f89cc14862c\napps/logo.png eccbc87e4b5ce2fe28308fd9f2a7baf3\n";
    assert_eq!(listing.index.revision(), Digest::sha256(lines.as_bytes()));
    assert_eq!(listing.ignore_file.as_deref(), Some(b"/skip\n".as_slice()));

    // A prefix may end within a name.
    let some = remote.list("apps", None, &limits, TIMEOUT).await?;
    assert_eq!(some.index.len(), 4);
    let some = remote.list("apps/", None, &limits, TIMEOUT).await?;
    assert_eq!(some.index.len(), 3);

    let directory = tempfile::tempdir()?;
    let fetched = remote.download(&listing, directory.path(), &limits, TIMEOUT).await?;
    let content: BTreeMap<&str, String> = fetched
        .files
        .iter()
        .map(|(path, file)| (path.as_str(), std::fs::read_to_string(&file.file).unwrap()))
        .collect();
    assert_eq!(content["apps/deep/ü+&.yaml"], "2");
    assert_eq!(fetched.index.revision(), listing.index.revision());
    assert!(fetched.vanished.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_or_vanishes_between_listing_and_reading() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.make_bucket("moving").await?;
    for key in ["stays", "changes", "goes"] {
        server.put("moving", key, b"before").await?;
    }
    let (name, secret) = S3Server::KEYS;
    let mut wanted = access(Storage::S3, server.address(), keys(name, secret));
    wanted.bucket = "moving".to_owned();
    let remote = open(wanted)?;
    let limits = Limits::default();
    let listing = remote.list("", None, &limits, TIMEOUT).await?;
    server.put("moving", "changes", b"after, and longer").await?;
    server.remove("moving", "goes").await?;
    let directory = tempfile::tempdir()?;
    let fetched = remote.download(&listing, directory.path(), &limits, TIMEOUT).await?;
    assert_eq!(fetched.vanished, ["goes"]);
    assert_eq!(
        std::fs::read_to_string(&fetched.files["changes"].file)?,
        "after, and longer"
    );
    assert_ne!(fetched.index.revision(), listing.index.revision());
    // What was stored is what is listed next time: nothing is downloaded again.
    let again = remote.list("", None, &limits, TIMEOUT).await?;
    assert_eq!(fetched.index.revision(), again.index.revision());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ways_in_and_refusals() -> Result<()> {
    let Some(server) = server().await else { return Ok(()) };
    server.put(S3Server::PUBLIC, "greeting", b"hello").await?;
    let limits = Limits::default();
    let anonymous = open(access(Storage::S3, server.address(), Keys::Anonymous))?;
    let directory = tempfile::tempdir()?;
    let (_, content) = all(&anonymous, directory.path()).await?;
    assert_eq!(content["greeting"], "hello");

    let (name, secret) = S3Server::KEYS;
    let list = async |change: fn(&mut nave_bucket::Access), keys: Keys| {
        let mut wanted = access(Storage::S3, server.address(), keys);
        change(&mut wanted);
        open(wanted)?.list("", None, &limits, TIMEOUT).await
    };
    list(|access| access.region = "eu-west-1".to_owned(), keys(name, secret)).await?;
    let text = told(list(|_| {}, keys(name, "wrong-5d1f33")).await);
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
    let text = told(list(|_| {}, keys("nobody", SECRET)).await);
    assert!(text.contains("answers 403 InvalidAccessKeyId"), "{text}");
    server.make_bucket("private").await?;
    let text = told(list(|access| access.bucket = "private".to_owned(), Keys::Anonymous).await);
    assert!(text.contains("answers 403 AccessDenied"), "{text}");
    let text = told(list(|access| access.bucket = "missing".to_owned(), keys(name, secret)).await);
    assert_eq!(text, "bucket 'missing' not found");
    let text = told(list(|access| access.insecure = false, keys(name, secret)).await);
    assert!(text.contains(server.address()), "{text}");
    let text = told(list(|access| access.endpoint = "127.0.0.1:1".to_owned(), keys(name, secret)).await);
    assert!(text.contains("127.0.0.1:1: "), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_own_authority_and_client_certificates() -> Result<()> {
    for mutual_tls in [false, true] {
        let options = S3Options { tls: true, mutual_tls };
        let Some(server) = S3Server::start(options).await? else {
            return Ok(());
        };
        let limits = Limits::default();
        let list = async |tls: TlsOptions| {
            let mut wanted = access(Storage::S3, server.address(), Keys::Anonymous);
            wanted.insecure = false;
            wanted.tls = tls;
            open(wanted)?.list("", None, &limits, TIMEOUT).await
        };
        let text = told(list(TlsOptions::default()).await);
        assert!(text.contains("signed by an unknown authority"), "{text}");
        let ca = server.ca_pem().context("it speaks TLS")?.as_bytes().to_vec();
        let trusting = TlsOptions {
            ca: Some(ca),
            identity: None,
        };
        if mutual_tls {
            told(list(trusting.clone()).await);
            let client = server.client()?;
            let identity = Some((client.certificate.into_bytes(), client.key.into_bytes()));
            list(TlsOptions { identity, ..trusting }).await?;
        } else {
            list(trusting).await?;
        }
    }
    Ok(())
}

/// A stand-in that pages, cuts, stalls, fails and lies, as the query of its bucket says.
#[derive(Default)]
struct Faults {
    gets: AtomicUsize,
    lists: AtomicUsize,
}

async fn faulty(
    State(faults): State<Arc<Faults>>,
    uri: Uri,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let (bucket, key) = uri.path()[1..].split_once('/').unwrap_or((&uri.path()[1..], ""));
    if !key.is_empty() {
        if key == ".sourceignore" {
            return refuse(StatusCode::NOT_FOUND, "NoSuchKey");
        }
        let number = faults.gets.fetch_add(1, Ordering::SeqCst);
        let etag = [(header::ETAG, "\"e\"")];
        return match bucket {
            // The first answer ends early.
            "cut" if number == 0 => {
                let half = futures::stream::iter([
                    Ok(Bytes::from_static(b"ha")),
                    Err(std::io::Error::other("the cable is pulled")),
                ]);
                (etag, Body::from_stream(half)).into_response()
            }
            "stall" => {
                let first = futures::stream::once(async { Ok::<_, std::io::Error>(Bytes::from_static(b"ha")) });
                (
                    etag,
                    Body::from_stream(futures::StreamExt::chain(first, futures::stream::pending())),
                )
                    .into_response()
            }
            "long" => (etag, "much more than what was listed").into_response(),
            _ => (etag, "half").into_response(),
        };
    }
    let number = faults.lists.fetch_add(1, Ordering::SeqCst);
    let one = "<Contents><Key>k</Key><ETag>\"e\"</ETag><Size>4</Size></Contents>";
    let page = |contents: &str, next: Option<&str>| {
        let next = next.map_or_else(String::new, |next| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{next}</NextContinuationToken>")
        });
        format!("<ListBucketResult>{contents}{next}</ListBucketResult>").into_response()
    };
    match bucket {
        "pages" => {
            let token: usize = query
                .get("continuation-token")
                .map_or(0, |token| token.parse().unwrap_or_default());
            let contents: String = (0..1000)
                .map(|n| {
                    format!(
                        "<Contents><Key>k/{}</Key><ETag>e{n}</ETag><Size>1</Size></Contents>",
                        token * 1000 + n
                    )
                })
                .collect();
            page(&contents, (token < 2).then(|| (token + 1).to_string()).as_deref())
        }
        "busy" if number < 2 => refuse(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        "circle" => page(one, Some("same")),
        "huge" => page(
            "<Contents><Key>k</Key><ETag>e</ETag><Size>99999999999999</Size></Contents>",
            None,
        ),
        "climb" => page(
            "<Contents><Key>a/../../b</Key><ETag>e</ETag><Size>1</Size></Contents>",
            None,
        ),
        "html" => "<html><body>Welcome to nginx</body>".into_response(),
        "elsewhere" => {
            // Signed for another region than this bucket's.
            let wanted = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>m</Message><Region>eu-south-1</Region></Error>";
            if number == 0 {
                (StatusCode::BAD_REQUEST, wanted).into_response()
            } else {
                page(one, None)
            }
        }
        _ => page(one, None),
    }
}

fn refuse(status: StatusCode, code: &str) -> Response {
    (
        status,
        format!("<Error><Code>{code}</Code><Message>no</Message></Error>"),
    )
        .into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_misbehaves() -> Result<()> {
    let at = async |bucket: &str| {
        let routes = Router::new()
            .fallback(any(faulty))
            .with_state(Arc::new(Faults::default()));
        let address = serve(routes).await?;
        let mut wanted = access(Storage::S3, &address, keys("reader", SECRET));
        wanted.bucket = bucket.to_owned();
        anyhow::Ok(open(wanted)?)
    };
    let limits = Limits::default();
    let list = async |bucket: &str| {
        at(bucket)
            .await
            .expect("it opens")
            .list("", None, &limits, TIMEOUT)
            .await
    };
    assert_eq!(list("pages").await?.index.len(), 3000);
    assert_eq!(list("busy").await?.index.len(), 1);
    assert_eq!(list("elsewhere").await?.index.len(), 1);
    let text = told(list("circle").await);
    assert!(text.contains("the next page is the one before"), "{text}");
    let text = told(list("huge").await);
    assert!(
        text.contains("holds more than 1024 MiB; choose less with spec.prefix"),
        "{text}"
    );
    let text = told(list("climb").await);
    assert!(text.contains("object 'a/../../b' cannot be a file"), "{text}");
    let text = told(list("html").await);
    assert!(text.contains("answers what cannot be read"), "{text}");
    let few = Limits { files: 999, ..limits };
    let text = told(at("pages").await?.list("", None, &few, TIMEOUT).await);
    assert!(text.contains("holds more than 999 objects"), "{text}");

    // What is cut is read again from the beginning.
    let directory = tempfile::tempdir()?;
    let (fetched, content) = all(&at("cut").await?, directory.path()).await?;
    assert_eq!((content["k"].as_str(), fetched.files["k"].size), ("half", 4));
    // What does not end, ends.
    let remote = at("stall").await?;
    let listing = remote.list("", None, &limits, TIMEOUT).await?;
    let short = Duration::from_secs(1);
    let text = told(remote.download(&listing, directory.path(), &limits, short).await);
    assert_eq!(
        text,
        "fetch from bucket 'stall' failed: not done after 1 s (spec.timeout)"
    );
    // What is larger than was listed counts as it is.
    let remote = at("long").await?;
    let listing = remote.list("", None, &limits, TIMEOUT).await?;
    let small = Limits { bytes: 10, ..limits };
    let text = told(remote.download(&listing, directory.path(), &small, TIMEOUT).await);
    assert!(text.contains("holds more than"), "{text}");
    Ok(())
}
