//! One conversation with a remote: greeting, and listing references.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use gix::{
    bstr::{BString, ByteSlice},
    progress::Discard,
    protocol::{
        Handshake, LsRefsCommand,
        handshake::Ref,
        ls_refs::RefPrefixes,
        transport::{
            Protocol, Service,
            client::blocking_io::{Transport, http},
        },
    },
};

use crate::{
    Auth, GitError, Remote, Wanted,
    reference::{Advertised, Resolved},
    ssh,
    wire::{Failure, FailureSlot, Wire},
};

/// What `git` calls an agent.
pub(crate) const AGENT: &str = concat!("nave/", env!("CARGO_PKG_VERSION"));

/// An open conversation.
pub(crate) struct Session {
    pub transport: Box<dyn Transport + Send>,
    pub handshake: Handshake,
    wire: Wire,
    remote: Arc<Remote>,
    service: Service,
    url: String,
    timeout: Duration,
    failures: FailureSlot,
    authorized: bool,
}

/// Set when nobody waits for the result any more.
pub(crate) type Interrupt = AtomicBool;

impl Session {
    /// Greets the remote and learns what it can do; over HTTP that is one request.
    pub fn open(wire: Wire, remote: &Arc<Remote>, service: Service, timeout: Duration) -> Result<Self, GitError> {
        let url = wire.origin.to_string();
        let failures = wire.failures.clone();
        let authorized = wire.authorization.is_some();
        let explain = Explain {
            url: &url,
            timeout,
            failures: &failures,
            authorized,
        };
        // The second version has no pushing.
        let (version, what) = match service {
            Service::UploadPack => (Protocol::V2, LISTING),
            Service::ReceivePack => (Protocol::V1, PUSHING),
        };
        let mut transport: Box<dyn Transport + Send> = match &remote.auth {
            Auth::Ssh(auth) => ssh::connect(&wire, auth, service, version)
                .map_err(|error| explain.error(what, &gix::Error::from_error(error)))?,
            Auth::None | Auth::Basic(_) | Auth::Bearer(_) => {
                let parsed = gix::Url::try_from(url.as_str()).map_err(|error| GitError::Protocol {
                    what,
                    url: url.clone(),
                    detail: error.to_string(),
                })?;
                Box::new(http::Transport::new_http(wire.clone(), parsed, version, false))
            }
        };
        let greeting = gix::protocol::handshake(
            &mut transport,
            service,
            // Credentials go with the first request; there is nobody to ask for others.
            |_action| Ok(None),
            Vec::new(),
            &mut Discard,
        );
        let handshake = greeting.map_err(|error| explain.error(what, &error))?;
        Ok(Session {
            transport,
            handshake,
            wire,
            remote: remote.clone(),
            service,
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
        if let Wanted::Semver(range) = wanted {
            return Err(no_version(range, &self.url, &listed));
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

    pub fn service(&self) -> Service {
        self.service
    }

    /// The remote, without credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Greets again: after a refusal the conversation is over.
    pub fn greet_again(&mut self) -> Result<(), GitError> {
        *self = Session::open(self.wire.clone(), &self.remote, self.service, self.timeout)?;
        Ok(())
    }

    /// Turns gix's errors into ours.
    /// Upper bound of one object, in bytes.
    pub fn max_object(&self) -> usize {
        self.wire.max_object
    }

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
pub(crate) const PUSHING: &str = "pushing to";

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
            Some(Failure::HostKey(detail)) => GitError::HostKey { url, detail },
            Some(Failure::Denied(detail)) => GitError::Denied { url, detail },
            Some(Failure::Said(detail)) => GitError::Said { what, url, detail },
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
    let (name, commit, tag) = match reference {
        Ref::Peeled {
            full_ref_name,
            tag,
            object,
        } => (full_ref_name, object, Some(tag)),
        Ref::Direct { full_ref_name, object } => (full_ref_name, object, None),
        Ref::Symbolic {
            full_ref_name,
            object,
            tag,
            ..
        } => (full_ref_name, object, tag.as_ref()),
        Ref::Unborn { .. } => return None,
    };
    Some(Advertised {
        name: name.to_str_lossy().into_owned(),
        commit: commit.to_string(),
        tag: tag.map(ToString::to_string),
    })
}

fn no_version(range: &str, url: &str, listed: &[Advertised]) -> GitError {
    let tags = listed
        .iter()
        .filter_map(|reference| reference.name.strip_prefix("refs/tags/"));
    let highest: Vec<&str> = nave_version::sort_descending(None, tags).into_iter().take(3).collect();
    GitError::NoVersion {
        range: range.to_owned(),
        url: url.to_owned(),
        hint: if highest.is_empty() {
            "; it has no tag that is a version".to_owned()
        } else {
            format!("; the highest are {}", highest.join(", "))
        },
    }
}
