//! Getting one commit with everything in it, and nothing of its history.

use std::num::NonZeroU32;

use gix::{
    ObjectId,
    progress::Discard,
    protocol::{
        fetch::{
            self, Arguments, Context, Negotiate, Shallow, Tags,
            negotiate::{Action, Round, one_round},
        },
        transport::Protocol,
    },
};

use crate::{
    GitError,
    cache::ObjectStore,
    session::{AGENT, FETCHING, Interrupt, Session},
};

/// Brings `commit` into the store: by its hash, and where a server gives out only what its references name, by
/// fetching the whole history of `reference`, or of everything advertised. The annotated tag that leads to it comes along.
pub(crate) fn fetch_commit(
    store: &mut ObjectStore,
    session: &mut Session,
    commit: &ObjectId,
    tag: Option<ObjectId>,
    reference: Option<&str>,
    interrupt: &Interrupt,
) -> Result<(), GitError> {
    // A tag brings its commit, and servers of the first protocol version give out a commit only where a reference leads
    // to it directly.
    let wants = match tag {
        Some(tag) => [tag],
        None if store.has(commit) => return Ok(()),
        None => [*commit],
    };
    let shallow = Shallow::DepthAtRemote(NonZeroU32::MIN);
    match receive(store, session, &wants, &shallow, interrupt) {
        Ok(()) => {}
        Err(GitError::Protocol { detail, .. }) if gives_any_commit(session, &detail) => {
            return Err(not_found(session, commit));
        }
        Err(refusal @ GitError::Protocol { .. }) => {
            let tips = tips(session, reference)?;
            if tips.is_empty() || tips.contains(commit) {
                return Err(refusal);
            }
            tracing::debug!(%commit, "the remote gives out references only, fetching their whole history");
            // Git's own number for "all of it".
            let whole = Shallow::DepthAtRemote(NonZeroU32::new(i32::MAX as u32).expect("is not zero"));
            receive(store, session, &tips, &whole, interrupt)?;
        }
        Err(other) => return Err(other),
    }
    store.refresh()?;
    if store.repository().find_header(*commit).is_err() {
        return Err(not_found(session, commit));
    }
    if store.has(commit) {
        return Ok(());
    }
    store.complete(*commit)
}

/// Whether the refusal means that the commit does not exist. With the second protocol version git gives out whatever it
/// has (upload-pack.c, `parse_want`), so fetching everything to look for it would be in vain.
fn gives_any_commit(session: &Session, refusal: &str) -> bool {
    session.handshake.server_protocol_version == Protocol::V2 && refusal.contains("not our ref")
}

fn not_found(session: &Session, commit: &ObjectId) -> GitError {
    GitError::CommitNotFound {
        commit: commit.to_string(),
        url: session.url().to_owned(),
    }
}

/// What the reference points to, or every branch; in a new conversation, because a refusal ends one.
fn tips(session: &mut Session, reference: Option<&str>) -> Result<Vec<ObjectId>, GitError> {
    session.greet_again()?;
    let advertised = session.list(&[reference.unwrap_or("refs/heads/").to_owned()])?;
    let tips = advertised
        .iter()
        .filter(|found| match reference {
            Some(name) => found.name == name,
            None => found.name.starts_with("refs/heads/"),
        })
        .filter_map(|found| ObjectId::from_hex(found.commit.as_bytes()).ok());
    Ok(tips.collect())
}

fn receive(
    store: &ObjectStore,
    session: &mut Session,
    wants: &[ObjectId],
    shallow: &Shallow,
    interrupt: &Interrupt,
) -> Result<(), GitError> {
    let repository = store.repository();
    let mut negotiation = Known {
        wants,
        haves: store.known().copied().collect(),
    };
    let max_object = session.max_object();
    let failed = |error: &gix::Error, session: &Session| match error.classify().is_resource_exhausted() {
        true => GitError::TooLarge {
            url: session.url().to_owned(),
            limit: max_object as u64,
            what: "bytes in one file, and files are read whole; keep large ones in Git LFS or in a bucket",
        },
        false => session.explain().error(FETCHING, error),
    };
    let options = fetch::Options {
        shallow_file: repository.shallow_file().map_err(|error| failed(&error, session))?,
        shallow,
        tags: Tags::None,
        reject_shallow_remote: false,
    };
    let pack_directory = repository.objects.store_ref().path().join("pack");
    let outcome = gix::protocol::fetch(
        &mut negotiation,
        |pack, progress, should_interrupt| {
            let written = gix::odb::pack::Bundle::write_to_directory(
                pack,
                Some(&pack_directory),
                progress,
                should_interrupt,
                // Deltas may be against what an earlier fetch brought.
                Some(repository.objects.clone()),
                repository.object_hash(),
                gix::odb::pack::bundle::write::Options {
                    // Other remotes are being fetched beside this one.
                    thread_limit: Some(1),
                    alloc_limit_bytes: Some(max_object),
                    ..Default::default()
                },
            )?;
            // Nothing collects garbage here, so nothing needs to be kept from being collected.
            if let Some(keep) = written.keep_path {
                let _ = std::fs::remove_file(keep);
            }
            Ok(true)
        },
        Discard,
        interrupt,
        Context {
            handshake: &mut session.handshake,
            transport: &mut session.transport,
            user_agent: ("agent", Some(AGENT.to_owned())),
            trace_packetlines: false,
        },
        options,
    );
    outcome.map(|_| ()).map_err(|error| failed(&error, session))
}

/// Says what is wanted and what is known in one round. A commit that was fetched is known with its whole tree, so
/// there is nothing to find out about common history.
struct Known<'a> {
    wants: &'a [ObjectId],
    haves: Vec<ObjectId>,
}

impl Negotiate for Known<'_> {
    fn mark_complete_and_common_ref(&mut self) -> gix::Result<Action> {
        Ok(Action::MustNegotiate {
            remote_ref_target_known: Vec::new(),
        })
    }

    fn add_wants(&mut self, arguments: &mut Arguments, _known: &[bool]) -> bool {
        for id in self.wants {
            arguments.want(id);
        }
        !self.wants.is_empty()
    }

    fn one_round(
        &mut self,
        _state: &mut one_round::State,
        arguments: &mut Arguments,
        _previous: Option<&fetch::Response>,
    ) -> gix::Result<(Round, bool)> {
        for id in &self.haves {
            arguments.have(id);
        }
        let round = Round {
            haves_sent: self.haves.len(),
            in_vain: 0,
            haves_to_send: self.haves.len(),
            previous_response_had_at_least_one_in_common: false,
        };
        Ok((round, true))
    }
}
