//! How this machine's clock compares with an API server's.

use http::Request;
use jiff::Timestamp;
use kube::{Client, client::Body};

/// By how many seconds this machine's clock is ahead of the API server's; none when the server does not tell the time.
///
/// Both have whole seconds, and the answer has travelled: a second or two mean nothing.
///
/// # Errors
/// The server does not answer.
pub async fn seconds_ahead(client: &Client) -> kube::Result<Option<i64>> {
    let request = Request::get("/version")
        .body(Body::empty())
        .map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    let date = response.headers().get(http::header::DATE);
    let theirs = date.and_then(|date| read(date.to_str().ok()?));
    Ok(theirs.map(|theirs| Timestamp::now().as_second() - theirs))
}

fn read(date: &str) -> Option<i64> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    Some(date.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http_are_read() {
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(read("yesterday"), None);
    }
}
