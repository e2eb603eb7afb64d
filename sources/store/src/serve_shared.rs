//! Serving from the shared storage: any replica answers for all.

use axum::{
    body::Body,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures::TryStreamExt as _;
use object_store::GetRange;

use crate::{serve::listing, shared::Shared};

/// Answers for a path that was checked; `asked` is the header `Range`.
pub(crate) async fn serve_shared(shared: &Shared, relative: &str, method: &Method, asked: Option<&str>) -> Response {
    match answer(shared, relative, method, asked).await {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(path = relative, error = %error, "reading the shared storage");
            // Readers try again.
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

async fn answer(shared: &Shared, relative: &str, method: &Method, asked: Option<&str>) -> std::io::Result<Response> {
    if relative.is_empty() || relative.ends_with('/') {
        let names = shared.names(relative.trim_end_matches('/')).await?;
        return Ok(match names {
            Some(names) => listing(&names),
            None => StatusCode::NOT_FOUND.into_response(),
        });
    }
    let range = asked.and_then(range);
    let is_part = range.is_some();
    let mut found = shared.find(relative, range.clone()).await?;
    if found.is_none()
        && let (Some(target), Some((directory, _))) = (shared.target(relative).await?, relative.rsplit_once('/'))
    {
        found = shared.find(&format!("{directory}/{target}"), range).await?;
    }
    let Some(found) = found else {
        return Ok(StatusCode::NOT_FOUND.into_response());
    };
    let length = found.range.end - found.range.start;
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::from_stream(found.content.map_err(std::io::Error::from)),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/octet-stream"),
    );
    if is_part {
        let text = format!(
            "bytes {}-{}/{}",
            found.range.start,
            found.range.end.saturating_sub(1),
            found.meta.size
        );
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// One range of bytes; others are answered with everything, as is allowed.
fn range(text: &str) -> Option<GetRange> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) if first <= last => Some(GetRange::Bounded(first..last.checked_add(1)?)),
        (Some(first), None) if last.is_empty() => Some(GetRange::Offset(first)),
        (None, Some(last)) if first.is_empty() && last > 0 => Some(GetRange::Suffix(last)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(range("bytes=0-9"), Some(GetRange::Bounded(0..10)));
        assert_eq!(range("bytes=5-"), Some(GetRange::Offset(5)));
        assert_eq!(range("bytes=-5"), Some(GetRange::Suffix(5)));
        for text in [
            "bytes=9-0",
            "bytes=1-2,5-6",
            "lines=1-2",
            "bytes=-",
            "bytes=-0",
            "bytes=x-",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
