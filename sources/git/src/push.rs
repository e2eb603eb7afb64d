//! Sending new commits: one reference at a time, and only where it still is what it was thought to be.

use std::io::{Read, Write};

use flate2::{Compression, write::ZlibEncoder};
use gix::{
    ObjectId,
    objs::Kind,
    protocol::transport::{
        Service,
        client::{MessageKind, WriteMode, blocking_io::Transport},
    },
};
use sha1::{Digest, Sha1};

use crate::{
    GitError,
    commit::NewObject,
    session::{AGENT, PUSHING, Session},
};

/// What a reference has to be for a push to go through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// Not there yet.
    Absent,
    /// At this commit (or tag), by full hash.
    At(String),
    /// Whatever it is, it is replaced.
    Any,
}

/// Progress messages of the server that are kept, in bytes.
const MAX_SAID: usize = 4 << 10;
/// A report on one reference has a few lines.
const MAX_REPORT: u64 = 64 << 10;

/// Sets `reference` to `new`, or deletes it where that is none.
pub(crate) fn push(
    session: &mut Session,
    reference: &str,
    lease: &Lease,
    new: Option<&ObjectId>,
    objects: &[NewObject],
) -> Result<(), GitError> {
    debug_assert!(session.service() == Service::ReceivePack);
    let url = session.url().to_owned();
    let listed = session.list(&[])?;
    let now = listed
        .iter()
        .find(|found| found.name == reference)
        .map(|found| found.tag.clone().unwrap_or_else(|| found.commit.clone()));
    let fits = match lease {
        Lease::Absent => now.is_none(),
        Lease::At(expected) => now.as_ref() == Some(expected),
        Lease::Any => true,
    };
    if !fits {
        let told =
            |commit: Option<&String>| commit.map_or_else(|| "absent".to_owned(), |commit| format!("at {commit}"));
        let expected = match lease {
            Lease::At(expected) => Some(expected),
            Lease::Absent | Lease::Any => None,
        };
        return Err(GitError::Moved {
            reference: reference.to_owned(),
            url,
            expected: told(expected),
            actual: told(now.as_ref()),
        });
    }
    if now.is_none() && new.is_none() {
        return Ok(());
    }
    let zero = ObjectId::null(gix::hash::Kind::Sha1).to_string();
    let old = now.unwrap_or_else(|| zero.clone());
    let to = new.map_or(zero, ToString::to_string);
    if old == to {
        return Ok(());
    }
    let offered: Vec<String> = session
        .handshake
        .capabilities
        .iter()
        .map(|capability| capability.name().to_string())
        .collect();
    let offers = |name: &str| offered.iter().any(|offered| offered == name);
    let protocol = |detail: &str| GitError::Protocol {
        what: PUSHING,
        url: url.clone(),
        detail: detail.to_owned(),
    };
    if !offers("report-status") {
        return Err(protocol("the server does not report what becomes of a push"));
    }
    if new.is_none() && !offers("delete-refs") {
        return Err(protocol("the server deletes no references"));
    }
    let mut wanted = vec!["report-status".to_owned()];
    let side_band = offers("side-band-64k");
    if side_band {
        wanted.push("side-band-64k".to_owned());
    }
    if offers("agent") {
        wanted.push(format!("agent={AGENT}"));
    }
    let command = format!("{old} {to} {reference}\0 {}", wanted.join(" "));
    let mut request = format!("{:04x}{command}0000", command.len() + 4).into_bytes();
    if new.is_some() {
        pack(objects, &mut request);
    }

    let mut said = Vec::new();
    let report = exchange(session, &request, side_band, &mut said)?;
    verdict(reference, &url, &report, &said)
}

fn exchange(session: &mut Session, request: &[u8], side_band: bool, said: &mut Vec<u8>) -> Result<Vec<u8>, GitError> {
    let transport = &mut session.transport;
    let result = (|| -> std::io::Result<Vec<u8>> {
        let writer = transport
            .request(WriteMode::Binary, MessageKind::Flush, false)
            .map_err(std::io::Error::other)?;
        let (mut raw, mut reader) = writer.into_parts();
        raw.write_all(request)?;
        raw.flush()?;
        drop(raw);
        let mut report = Vec::new();
        if side_band {
            reader.set_progress_handler(Some(Box::new(|_is_error, text: &[u8]| {
                let room = MAX_SAID.saturating_sub(said.len());
                said.extend_from_slice(&text[..text.len().min(room)]);
                said.push(b'\n');
                std::ops::ControlFlow::Continue(())
            })));
            reader.take(MAX_REPORT).read_to_end(&mut report)?;
            Ok(unwrap_lines(&report))
        } else {
            reader.take(MAX_REPORT).read_to_end(&mut report)?;
            Ok(report)
        }
    })();
    result.map_err(|error| session.explain().error(PUSHING, &gix::Error::from_error(error)))
}

/// Within the side band the report is made of packet lines once more.
fn unwrap_lines(mut framed: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    while let Some((length, rest)) = framed.split_at_checked(4) {
        let Some(length) = std::str::from_utf8(length)
            .ok()
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
        else {
            break;
        };
        if length < 4 {
            framed = rest;
            continue;
        }
        let Some((line, after)) = rest.split_at_checked(length - 4) else {
            break;
        };
        lines.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        lines.push(b'\n');
        framed = after;
    }
    lines
}

fn verdict(reference: &str, url: &str, report: &[u8], said: &[u8]) -> Result<(), GitError> {
    let report = String::from_utf8_lossy(report);
    let said = String::from_utf8_lossy(said);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let rejected = |why: &str| {
        let mut detail = why.to_owned();
        if !said.is_empty() {
            detail = format!("{detail} ({})", said.join("; "));
        }
        Err(GitError::Rejected {
            reference: reference.to_owned(),
            url: url.to_owned(),
            detail: nave_net::redact(&detail),
        })
    };
    let mut unpacked = None;
    let mut updated = None;
    for line in report.lines() {
        if let Some(state) = line.strip_prefix("unpack ") {
            unpacked = Some(state);
        } else if line.strip_prefix("ok ") == Some(reference) {
            updated = Some(Ok(()));
        } else if let Some(why) = line
            .strip_prefix("ng ")
            .and_then(|rest| rest.strip_prefix(reference))
            .and_then(|rest| rest.strip_prefix(' '))
        {
            updated = Some(Err(why));
        }
    }
    match (unpacked, updated) {
        (Some("ok"), Some(Ok(()))) => Ok(()),
        (Some("ok"), Some(Err(why))) => rejected(why),
        (Some("ok"), None) => rejected("the server says nothing of the reference"),
        (Some(state), _) => rejected(&format!("the objects were not taken: {state}")),
        (None, _) => rejected("the server does not say what became of it"),
    }
}

/// A pack of whole objects: a commit of a controller changes a few files, where deltas gain nothing.
fn pack(objects: &[NewObject], into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(b"PACK\0\0\0\x02");
    let count = u32::try_from(objects.len()).expect("fewer files than there are numbers of 32 bits");
    into.extend_from_slice(&count.to_be_bytes());
    for object in objects {
        let kind: u8 = match object.kind {
            Kind::Commit => 1,
            Kind::Tree => 2,
            Kind::Blob => 3,
            Kind::Tag => 4,
        };
        let mut size = object.data.len();
        let mut byte = kind << 4 | (size & 0x0f) as u8;
        size >>= 4;
        while size > 0 {
            into.push(byte | 0x80);
            byte = (size & 0x7f) as u8;
            size >>= 7;
        }
        into.push(byte);
        let mut encoder = ZlibEncoder::new(&mut *into, Compression::default());
        encoder.write_all(&object.data).expect("memory takes everything");
        encoder.finish().expect("memory takes everything");
    }
    let sum = Sha1::digest(&into[start..]);
    into.extend_from_slice(&sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(report: &str, said: &str, expected: &str) {
        let found = match verdict("refs/heads/a", "https://h/r", report.as_bytes(), said.as_bytes()) {
            Ok(()) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn what_the_server_reports() {
        let refused = |why: &str| format!("https://h/r does not take refs/heads/a: {why}");
        check("unpack ok\nok refs/heads/a\n", "", "taken");
        check(
            "unpack ok\nng refs/heads/a pre-receive hook declined\n",
            "GH006: Protected branch\n\n",
            &refused("pre-receive hook declined (GH006: Protected branch)"),
        );
        check(
            "unpack index-pack failed\nng refs/heads/a unpacker error\n",
            "",
            &refused("the objects were not taken: index-pack failed"),
        );
        check(
            "unpack ok\nok refs/heads/ab\n",
            "",
            &refused("the server says nothing of the reference"),
        );
        check("", "", &refused("the server does not say what became of it"));
    }

    #[test]
    fn lines_within_the_side_band() {
        assert_eq!(
            unwrap_lines(b"000eunpack ok\n0019ok refs/heads/master\n0000"),
            b"unpack ok\nok refs/heads/master\n"
        );
        assert_eq!(unwrap_lines(b"zzzz"), b"");
        assert_eq!(unwrap_lines(b"ffffshort"), b"");
    }
}
