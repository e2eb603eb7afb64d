//! The four kinds of reads.

use bytes::Bytes;
use futures::AsyncReadExt;
use nave_proto::wire::{LiveEndCode, LiveRequest};

use super::{
    Ended, LiveReads, Pieces, api,
    kinds::Kind,
    show::{lines, refuse_secrets},
};

/// Objects in a page; rows in a page.
const PAGE: &str = "100";
const TABLE_PAGE: &str = "500";
/// A list is at most so long in all, and a log at one go.
const LONGEST: u64 = 16 * 1024 * 1024;
const LONGEST_FOLLOWED: u64 = 256 * 1024 * 1024;
/// A piece of a log: about what the link may have under way.
const PIECE: usize = 8 * 1024;

/// One object.
pub async fn get(reads: &LiveReads, request: &LiveRequest, pieces: &Pieces) -> Result<(), Ended> {
    let kind = reads.kinds.resolve(request).await?;
    refuse_secrets(&kind)?;
    if kind.namespaced && request.ns.is_empty() {
        let text = format!("{} are in namespaces, and none is named", kind.plural);
        return Err(Ended::new(LiveEndCode::Invalid, text));
    }
    let path = api::path(&kind, &request.ns, &request.name);
    let text = {
        let _memory = reads.places.memory().await;
        let answer = api::json(&reads.client, request, &path, accept(request)).await?;
        lines(answer, &kind)?
    };
    pieces.send(text).await
}

/// Objects of a kind.
pub async fn list(reads: &LiveReads, request: &LiveRequest, pieces: &Pieces) -> Result<(), Ended> {
    let kind = reads.kinds.resolve(request).await?;
    refuse_secrets(&kind)?;
    let path = api::path(&kind, &request.ns, "");
    let limit = if request.table { TABLE_PAGE } else { PAGE };
    let selector = ("labelSelector", request.label_selector.clone());
    pages(
        reads,
        request,
        pieces,
        &kind,
        &path,
        &[("limit", limit.to_owned()), selector],
    )
    .await
}

/// Events of a namespace, or about one object in it.
pub async fn events(reads: &LiveReads, request: &LiveRequest, pieces: &Pieces) -> Result<(), Ended> {
    let mut wanted = request.clone();
    wanted.group.clear();
    wanted.version = "v1".to_owned();
    wanted.resource = "events".to_owned();
    let kind = reads.kinds.resolve(&wanted).await?;
    let fields = [
        ("involvedObject.kind", &request.resource),
        ("involvedObject.name", &request.name),
    ];
    let fields = fields.iter().filter(|(_, value)| !value.is_empty());
    let fields: Vec<String> = fields.map(|(field, value)| format!("{field}={value}")).collect();
    let path = api::path(&kind, &request.ns, "");
    let parameters = [("limit", TABLE_PAGE.to_owned()), ("fieldSelector", fields.join(","))];
    wanted.table = false;
    pages(reads, &wanted, pieces, &kind, &path, &parameters).await
}

async fn pages(
    reads: &LiveReads,
    request: &LiveRequest,
    pieces: &Pieces,
    kind: &Kind,
    path: &str,
    parameters: &[(&str, String)],
) -> Result<(), Ended> {
    let (mut next, mut sent) = (String::new(), 0);
    loop {
        let mut parameters = parameters.to_vec();
        parameters.push(("continue", next));
        let path = api::with_query(path.to_owned(), &parameters);
        let text = {
            let _memory = reads.places.memory().await;
            let answer = api::json(&reads.client, request, &path, accept(request)).await?;
            next = answer["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
            lines(answer, kind)?
        };
        sent += text.len() as u64;
        pieces.send(text).await?;
        if next.is_empty() {
            return Ok(());
        }
        if sent >= LONGEST {
            let text = format!("there are more {}; ask for one namespace, or by label", kind.plural);
            return Err(Ended::new(LiveEndCode::Truncated, text));
        }
    }
}

fn accept(request: &LiveRequest) -> &'static str {
    if request.table { api::AS_TABLE } else { api::AS_OBJECTS }
}

/// The log of one container.
pub async fn logs(reads: &LiveReads, request: &LiveRequest, pieces: &Pieces) -> Result<(), Ended> {
    if request.ns.is_empty() || request.name.is_empty() {
        return Err(Ended::new(LiveEndCode::Invalid, "a log is of one pod in one namespace"));
    }
    let pods = LiveRequest {
        group: String::new(),
        version: "v1".to_owned(),
        resource: "pods".to_owned(),
        ..request.clone()
    };
    let kind = reads.kinds.resolve(&pods).await?;
    let flag = |set: bool| if set { "true".to_owned() } else { String::new() };
    let number = |value: u32| if value == 0 { String::new() } else { value.to_string() };
    let path = format!("{}/log", api::path(&kind, &request.ns, &request.name));
    let path = api::with_query(
        path,
        &[
            ("container", request.container.clone()),
            ("follow", flag(request.follow)),
            ("tailLines", number(request.tail_lines)),
            ("sinceSeconds", number(request.since_seconds)),
            ("previous", flag(request.previous)),
            ("timestamps", flag(request.timestamps)),
        ],
    );
    let mut stream = api::open(&reads.client, request, &path, "*/*").await?;
    // A container may be silent for long.
    pieces.send(Bytes::new()).await?;
    let longest = if request.follow { LONGEST_FOLLOWED } else { LONGEST };
    let (mut buffer, mut sent) = (vec![0; PIECE], 0);
    loop {
        let read = stream.read(&mut buffer).await.map_err(|error| {
            Ended::new(
                LiveEndCode::Failed,
                format!("reading the log of pod {}/{}: {error}", request.ns, request.name),
            )
        })?;
        if read == 0 {
            return Ok(());
        }
        sent += read as u64;
        pieces.send(Bytes::copy_from_slice(&buffer[..read])).await?;
        if sent >= longest {
            return Err(Ended::new(
                LiveEndCode::Truncated,
                "the log is longer than is sent at once; ask for its tail",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_asked_for_only_where_they_are_wanted() {
        let table = LiveRequest {
            table: true,
            ..LiveRequest::default()
        };
        assert!(accept(&table).contains("as=Table"));
        assert!(!accept(&LiveRequest::default()).contains("Table"));
    }
}
