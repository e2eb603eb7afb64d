//! Requests to the cluster in the name of a caller.

use std::{fmt::Write as _, pin::Pin, time::Duration};

use futures::{AsyncBufRead, AsyncReadExt};
use http::{HeaderValue, Request, header};
use kube::Client;
use nave_proto::wire::{LiveEndCode, LiveRequest};
use serde_json::Value;

use super::{Ended, PREFIX, kinds::Kind};

/// The API server has so long until its answer begins.
const ANSWER: Duration = Duration::from_secs(30);
/// A page of a list, or an object, is at most this large.
const LARGEST: u64 = 8 * 1024 * 1024;

/// Rows where the API server has them; objects otherwise.
pub const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Objects.
pub const AS_OBJECTS: &str = "application/json";

/// A body as it comes.
pub type Stream = Pin<Box<dyn AsyncBufRead + Send>>;

/// The path of a kind's objects.
pub fn path(kind: &Kind, namespace: &str, name: &str) -> String {
    let mut path = match kind.group.as_str() {
        "" => format!("/api/{}", kind.version),
        group => format!("/apis/{group}/{}", kind.version),
    };
    if kind.namespaced && !namespace.is_empty() {
        path.push_str("/namespaces/");
        push_encoded(&mut path, namespace);
    }
    path.push('/');
    path.push_str(&kind.plural);
    if !name.is_empty() {
        path.push('/');
        push_encoded(&mut path, name);
    }
    path
}

/// Appends parameters; those without a value are left out.
pub fn with_query(mut path: String, parameters: &[(&str, String)]) -> String {
    let mut before = '?';
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        path.push(before);
        path.push_str(name);
        path.push('=');
        push_encoded(&mut path, value);
        before = '&';
    }
    path
}

/// Everything but what may stand anywhere in a URL; a slash so leads to no other resource.
fn push_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric()
            || b"-_~".contains(&byte)
            || (byte == b'.' && !text.trim_matches('.').is_empty())
        {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}"); // into memory
        }
    }
}

/// A request in the caller's name.
fn request(of: &LiveRequest, path: &str, accept: &'static str) -> Result<Request<Vec<u8>>, Ended> {
    let prefixed = |name: &str| {
        HeaderValue::from_bytes(format!("{PREFIX}{name}").as_bytes()).map_err(|_| {
            Ended::new(
                LiveEndCode::Invalid,
                "a name of the caller cannot be written in a header",
            )
        })
    };
    let invalid = |error: http::Error| Ended::new(LiveEndCode::Invalid, format!("the request cannot be made: {error}"));
    let mut request = Request::get(path)
        .header(header::ACCEPT, accept)
        .body(Vec::new())
        .map_err(invalid)?;
    let headers = request.headers_mut();
    headers.insert("impersonate-user", prefixed(&of.user)?);
    for group in &of.groups {
        headers.append("impersonate-group", prefixed(group)?);
    }
    Ok(request)
}

/// Asks, and gives the answer as it comes.
pub async fn open(client: &Client, of: &LiveRequest, path: &str, accept: &'static str) -> Result<Stream, Ended> {
    let request = request(of, path, accept)?;
    let answer = tokio::time::timeout(ANSWER, client.request_stream(request)).await;
    match answer {
        Err(_) => Err(Ended::new(
            LiveEndCode::Failed,
            "the cluster's API server did not answer in time",
        )),
        Ok(Err(error)) => Err(refused(error)),
        Ok(Ok(stream)) => Ok(Box::pin(stream)),
    }
}

/// Asks, and reads the answer as JSON.
pub async fn json(client: &Client, of: &LiveRequest, path: &str, accept: &'static str) -> Result<Value, Ended> {
    let stream = open(client, of, path, accept).await?;
    let mut body = Vec::new();
    let failed = |error: &dyn std::fmt::Display| {
        Ended::new(
            LiveEndCode::Failed,
            format!("reading the answer of the cluster's API server: {error}"),
        )
    };
    match tokio::time::timeout(ANSWER, stream.take(LARGEST + 1).read_to_end(&mut body)).await {
        Err(_) => return Err(failed(&"it does not end")),
        Ok(Err(error)) => return Err(failed(&error)),
        Ok(Ok(_)) => {}
    }
    if body.len() as u64 > LARGEST {
        return Err(failed(&"it is larger than 8 MiB; ask for one namespace, or by label"));
    }
    serde_json::from_slice(&body).map_err(|error| failed(&error))
}

fn refused(error: kube::Error) -> Ended {
    match error {
        kube::Error::Api(status) => {
            let code = match status.code {
                401 | 403 => LiveEndCode::Forbidden,
                404 => LiveEndCode::NotFound,
                400 | 406 | 422 => LiveEndCode::Invalid,
                429 => LiveEndCode::Busy,
                _ => LiveEndCode::Failed,
            };
            Ended::new(code, status.message.clone())
        }
        other => Ended::new(
            LiveEndCode::Failed,
            format!("the cluster's API server cannot be asked: {other}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jane(user: &str, groups: &[&str]) -> LiveRequest {
        LiveRequest {
            user: user.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            ..LiveRequest::default()
        }
    }

    #[test]
    fn nobody_becomes_somebody_of_this_cluster() {
        let asked = jane("system:admin", &["system:masters", "devs"]);
        let request = request(&asked, "/api/v1/pods", AS_OBJECTS).ok().expect("made");
        let headers = request.headers();
        assert_eq!(headers["impersonate-user"], "nave-live:system:admin");
        let groups: Vec<_> = headers.get_all("impersonate-group").iter().collect();
        assert_eq!(groups, ["nave-live:system:masters", "nave-live:devs"]);
    }

    #[test]
    fn names_stay_in_their_place() {
        let mut path = String::new();
        for name in ["web-1", "a/b", "..", "a.b", "x?y=z#", "system:node"] {
            push_encoded(&mut path, name);
            path.push(' ');
        }
        assert_eq!(path, "web-1 a%2Fb %2E%2E a.b x%3Fy%3Dz%23 system%3Anode ");
        let query = with_query(
            "/p".into(),
            &[("a", String::new()), ("b", "x=y,z".into()), ("c", "1".into())],
        );
        assert_eq!(query, "/p?b=x%3Dy%2Cz&c=1");
    }
}
