//! One conversation with a remote: greeting, and listing references.

use std::{sync::atomic::AtomicBool, time::Duration};

use gix::{
    bstr::{BString, ByteSlice},
    progress::Discard,
    protocol::{
        Handshake, LsRefsCommand,
        handshake::Ref,
        ls_refs::RefPrefixes,
        transport::{Protocol, Service, client::blocking_io::http::Transport},
    },
};

use crate::{
    GitError, Wanted,
    reference::{Advertised, Resolved},
    wire::{Failure, FailureSlot, Wire},
};

/// What `git` calls an agent.
pub(crate) const AGENT: &str = concat!("nave/", env!("CARGO_PKG_VERSION"));

/// An open conversation.
pub(crate) struct Session {
    pub transport: Transport<Wire>,
    pub handshake: Handshake,
    wire: Wire,
    url: String,
    timeout: Duration,
    failures: FailureSlot,
    authorized: bool,
}

/// Set when nobody waits for the result any more.
pub(crate) type Interrupt = AtomicBool;

impl Session {
    /// Greets the remote and learns what it can do; over HTTP that is one request.
    pub fn open(wire: Wire, timeout: Duration) -> Result<Self, GitError> {
        let url = wire.origin.to_string();
        let failures = wire.failures.clone();
        let authorized = wire.authorization.is_some();
        let parsed = gix::Url::try_from(url.as_str()).map_err(|error| GitError::Protocol {
            what: LISTING,
            url: url.clone(),
            detail: error.to_string(),
        })?;
        let mut transport = Transport::new_http(wire.clone(), parsed, Protocol::V2, false);
        let greeting = gix::protocol::handshake(
            &mut transport,
            Service::UploadPack,
            // Credentials go with the first request; there is nobody to ask for others.
            |_action| Ok(None),
            Vec::new(),
            &mut Discard,
        );
        let explain = Explain {
            url: &url,
            timeout,
            failures: &failures,
            authorized,
        };
        let handshake = greeting.map_err(|error| explain.error(LISTING, &error))?;
        Ok(Session {
            transport,
            handshake,
            wire,
            url,
            timeout,
            failures,
            authorized,
        })
    }

    /// References that begin with one of the prefixes; all when there is none. Old servers send all in any case.
    pub fn list(&mut self, prefixes: &[String]) -> Result<Vec<Advertised>, GitError> {
        if let Some(references) = &self.handshake.refs {
            return Ok(references.iter().filter_map(advertised).collect());
        }
        let prefixes = (!prefixes.is_empty()).then(|| {
            let mut wanted = RefPrefixes::new();
            wanted.extend(prefixes.iter().map(|prefix| BString::from(prefix.as_str())));
            wanted
        });
        let agent = ("agent", Some(AGENT.to_owned()));
        let listed = LsRefsCommand::new(prefixes, &self.handshake.capabilities, agent).invoke_blocking(
            &mut self.transport,
            &mut Discard,
            false,
        );
        match listed {
            Ok(references) => Ok(references.iter().filter_map(advertised).collect()),
            Err(error) => Err(self.explain().error(LISTING, &error)),
        }
    }

    /// The commit that a reference means now.
    pub fn resolve(&mut self, wanted: &Wanted) -> Result<Resolved, GitError> {
        let listed = self.list(&wanted.prefixes())?;
        if let Some(resolved) = wanted.find(&listed) {
            return Ok(resolved);
        }
        // Only now is it worth a look at everything: to tell an empty repository from a misspelt branch.
        let all = self.list(&[])?;
        if all.is_empty() {
            return Err(GitError::Empty { url: self.url.clone() });
        }
        let alternatives = wanted.alternatives(&all);
        Err(GitError::ReferenceNotFound {
            reference: wanted.describe(),
            url: self.url.clone(),
            hint: if alternatives.is_empty() {
                String::new()
            } else {
                format!(", which has {}", alternatives.join(", "))
            },
        })
    }

    /// The remote, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Greets again: after a refusal the conversation is over.
    pub fn greet_again(&mut self) -> Result<(), GitError> {
        let wire = self.wire.clone();
        *self = Session::open(wire, self.timeout)?;
        Ok(())
    }

    /// Turns gix's errors into ours.
    pub fn explain(&self) -> Explain<'_> {
        Explain {
            url: &self.url,
            timeout: self.timeout,
            failures: &self.failures,
            authorized: self.authorized,
        }
    }
}

pub(crate) const LISTING: &str = "listing references of";
pub(crate) const FETCHING: &str = "fetching from";

/// What is needed to say what went wrong.
pub(crate) struct Explain<'a> {
    pub url: &'a str,
    pub timeout: Duration,
    pub failures: &'a FailureSlot,
    pub authorized: bool,
}

impl Explain<'_> {
    pub fn error(&self, what: &'static str, error: &gix::Error) -> GitError {
        let url = self.url.to_owned();
        match self.failures.take() {
            Some(Failure::Timeout) => GitError::Timeout {
                what,
                url,
                timeout: self.timeout,
            },
            Some(Failure::Status(status @ (401 | 403))) => GitError::Unauthorized {
                url,
                status,
                hint: if self.authorized {
                    "check the credentials and what they may read"
                } else {
                    "it asks for credentials, and none are given"
                },
            },
            Some(Failure::Status(404)) => GitError::NotFound { url },
            Some(Failure::Status(status)) => GitError::Status { url, status },
            Some(Failure::Tls(detail)) => GitError::Tls { url, detail },
            Some(Failure::Connect(detail)) => GitError::Connect { url, detail },
            Some(Failure::Redirect { target, why }) => GitError::Redirect { url, target, why },
            Some(Failure::TooLarge(limit)) => GitError::TooLarge {
                url,
                limit,
                what: "bytes",
            },
            None => GitError::Protocol {
                what,
                url,
                detail: chain(error),
            },
        }
    }
}

/// gix prints only the top of its chain; the bottom is what a person can use.
pub(crate) fn chain(error: &gix::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.iter_errors() {
        let text = cause.to_string();
        if parts.last().is_none_or(|before| !before.contains(&text)) {
            parts.push(text);
        }
    }
    nave_net::redact(&parts.join(": "))
}

fn advertised(reference: &Ref) -> Option<Advertised> {
    let (name, commit) = match reference {
        Ref::Peeled {
            full_ref_name, object, ..
        }
        | Ref::Direct { full_ref_name, object }
        | Ref::Symbolic {
            full_ref_name, object, ..
        } => (full_ref_name, object),
        Ref::Unborn { .. } => return None,
    };
    Some(Advertised {
        name: name.to_str_lossy().into_owned(),
        commit: commit.to_string(),
    })
}
