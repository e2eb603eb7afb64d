//! Keys for a user of a directory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use nave_artifact::Limits;
use nave_bed::{S3Options, S3Server};
use nave_bucket::{Keys, Storage};
use nave_net::{SecretText, TlsOptions};

use crate::stage::{SECRET, TIMEOUT, access, form, open, serve, told};

async fn assume(State(asked): State<Arc<AtomicUsize>>, body: String) -> Response {
    let form = form(&body);
    asked.fetch_add(1, Ordering::SeqCst);
    let wanted = [
        ("Action", "AssumeRoleWithLDAPIdentity"),
        ("Version", "2011-06-15"),
        ("LDAPUsername", "alice"),
        ("LDAPPassword", SECRET),
    ];
    if wanted
        .iter()
        .any(|(name, value)| form.get(*name).map(String::as_str) != Some(value))
    {
        let body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>LDAP: invalid credentials</Message></Error></ErrorResponse>";
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let (access, secret) = S3Server::KEYS;
    format!(
        "<?xml version=\"1.0\"?><AssumeRoleWithLDAPIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithLDAPIdentityResult><Credentials><AccessKeyId>{access}</AccessKeyId>\
         <SecretAccessKey>{secret}</SecretAccessKey><Expiration>2099-01-01T00:00:00Z</Expiration><SessionToken></SessionToken>\
         </Credentials></AssumeRoleWithLDAPIdentityResult></AssumeRoleWithLDAPIdentityResponse>"
    )
    .into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_a_directory_gets_keys_once() -> Result<()> {
    let Some(server) = S3Server::start(S3Options::default()).await? else {
        return Ok(());
    };
    server.make_bucket("team").await?;
    server.put("team", "a", b"1").await?;
    let asked = Arc::new(AtomicUsize::new(0));
    let service = serve(Router::new().route("/", post(assume)).with_state(asked.clone())).await?;
    let with = |password: &str| {
        let mut wanted = access(
            Storage::S3,
            server.address(),
            Keys::Ldap {
                endpoint: format!("http://{service}/"),
                user: Some(("alice".into(), SecretText::new(password))),
                tls: TlsOptions::default(),
            },
        );
        wanted.bucket = "team".to_owned();
        open(wanted)
    };
    let remote = with(SECRET)?;
    for _ in 0..3 {
        let listing = remote.list("", None, &Limits::default(), TIMEOUT).await?;
        assert_eq!(listing.index.len(), 1);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let text = told(with("wrong")?.list("", None, &Limits::default(), TIMEOUT).await);
    assert!(
        text.contains("(spec.sts.endpoint) for keys: 403 AccessDenied: LDAP: invalid credentials"),
        "{text}"
    );
    Ok(())
}
