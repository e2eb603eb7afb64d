//! The link over real sockets: joining, refusals, sessions, cuts, renewal, fetches.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::bed::{Relay, TestHub, TokenSpec, artifact, carrier, eventually, identity_of, start_agent};
use bytes::Bytes;
use jiff::SignedDuration;
use nave_identity::{Approval, JoinToken, KeyFingerprint};
use nave_proto::wire::{EventMsg, FailCode, Mode, OwnerRef, PrunePermit, PrunePlan, RefusalCode};
use nave_proto::{CloseCode, Digest, FetchError};
use nave_quic::{AgentEnd, AgentNote, FetchFailure, JoinError, Joined, Note};

pub fn set_row(agent: &crate::bed::TestAgent, key: &str, payload: &str) {
    let payload = Bytes::from(payload.to_owned());
    agent
        .handle
        .update_status(|status| status.put(key, &OwnerRef::default(), payload, None))
        .expect("valid row");
}

async fn refused(token: &JoinToken) -> String {
    let error = identity_of(token, "eu-1").await.err().expect("refused");
    assert!(!error.may_pass(), "{error:?}: trying again with this token cannot help");
    match error {
        JoinError::Refused(close) => close.to_string(),
        JoinError::Dial(error) => error.to_string(),
        other => panic!("another kind of failure: {other:?}"),
    }
}

/// A hub and an agent that has joined and is connected.
pub async fn joined() -> (TestHub, crate::bed::TestAgent) {
    let hub = TestHub::start();
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, joined, state) = identity_of(&token, "eu-1").await.expect("joins");
    assert_eq!(joined, Joined::Admitted);
    let agent = start_agent(identity, state);
    agent.handle.connected().await;
    (hub, agent)
}

#[tokio::test]
async fn joined_by_token_items_flow_both_ways() {
    let (hub, agent) = joined().await;
    hub.put("eu-1", "apps", "one");
    hub.put("eu-1", "infra", "two");
    hub.put("eu-1", "bad", "poison");
    set_row(&agent, "apps", "ready");
    agent.handle.event(EventMsg {
        reason: "Applied".to_owned(),
        ..EventMsg::default()
    });
    eventually("items have arrived", || {
        agent.holds("apps", "one") && agent.holds("infra", "two")
    })
    .await;
    eventually("status has arrived", || {
        hub.row("eu-1", "apps").is_some_and(|row| row == "ready")
    })
    .await;
    eventually("the bad item is reported", || {
        let failed =
            |note: &Note| matches!(note, Note::Failed { key, code: FailCode::Malformed, .. } if &**key == "bad");
        hub.with("eu-1", |cluster| cluster.notes.iter().any(failed))
    })
    .await;
    eventually("the event has arrived", || {
        hub.with("eu-1", |cluster| {
            cluster.notes.iter().any(|note| matches!(note, Note::Event(_)))
        })
    })
    .await;

    hub.put("eu-1", "apps", "one more");
    hub.delete("eu-1", "infra");
    eventually("changes have arrived", || {
        agent.holds("apps", "one more") && agent.effects().len() == 4
    })
    .await;
    assert!(agent.effects().contains(&"delete infra".to_owned()));
    let facts = hub.inner.lock().facts.clone();
    assert_eq!(facts[0].value, "eu[31m", "what an agent says is cleaned");
    let connection = agent.handle.connection().expect("connected");
    assert_eq!(connection.carried_by(), carrier());
    assert!(connection.stats().sent_bytes > 0);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn refusals_carry_words_to_the_one_who_joins() {
    let hub = TestHub::start();
    let good = hub.token("platform/good", TokenSpec::default());
    let (_, joined, _) = identity_of(&good, "eu-1").await.expect("joins");
    assert_eq!(joined, Joined::Admitted);

    // Another hub's token with our address and our pin: the secret is not ours.
    let pin = hub.inner.server_authority.fingerprint();
    let address = vec![hub.address.to_string()];
    let wrong = JoinToken::issue(address.clone(), pin, "platform/good".to_owned())
        .expect("valid")
        .token;
    assert_eq!(
        refused(&wrong).await,
        "join token unknown or its secret is wrong; copy it again, or create a new one"
    );
    let missing = JoinToken::issue(address.clone(), pin, "platform/none".to_owned())
        .expect("valid")
        .token;
    assert_eq!(
        refused(&missing).await,
        "join token unknown or its secret is wrong; copy it again, or create a new one"
    );

    let past = TokenSpec {
        expires_in: SignedDuration::from_secs(-60),
        ..TokenSpec::default()
    };
    assert!(
        refused(&hub.token("platform/past", past))
            .await
            .starts_with("join token expired at ")
    );
    let revoked = TokenSpec {
        revoked: true,
        ..TokenSpec::default()
    };
    assert_eq!(
        refused(&hub.token("platform/revoked", revoked)).await,
        "join token revoked; create a new one"
    );
    assert!(
        refused(&good)
            .await
            .starts_with("join token already used by key sha256:")
    );

    let other_pin = KeyFingerprint::of_spki(b"another hub");
    let elsewhere = JoinToken::issue(address, other_pin, "platform/good".to_owned())
        .expect("valid")
        .token;
    let words = refused(&elsewhere).await;
    assert!(words.contains("the hub shows no root with the pinned key"), "{words}");

    // The hub is unharmed.
    let again = hub.token(
        "platform/again",
        TokenSpec {
            name: "eu-2",
            ..TokenSpec::default()
        },
    );
    assert!(identity_of(&again, "eu-2").await.is_ok());
    hub.shut().await;
}

#[tokio::test]
async fn a_hub_without_tokens_and_a_key_without_cluster_say_so() {
    let hub = TestHub::start();
    let pin = hub.inner.server_authority.fingerprint();
    let token = JoinToken::issue(vec![hub.address.to_string()], pin, "platform/x".to_owned())
        .expect("valid")
        .token;
    assert!(
        refused(&token)
            .await
            .starts_with("key unknown: this hub has no join token")
    );

    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    hub.inner
        .lock()
        .registry
        .remove_cluster(&nave_identity::ClusterRef::new("platform", "eu-1"));
    let agent = start_agent(identity, state);
    eventually("the agent is told", || {
        agent
            .last_words()
            .is_some_and(|words| words.starts_with("key unknown: no cluster of this hub has key"))
    })
    .await;
    assert_eq!(agent.connections(), 0);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn revocation_cuts_the_live_session_and_keeps_the_key_out() {
    let (hub, agent) = joined().await;
    hub.revoke("eu-1", "laptop stolen");
    eventually("the agent is told", || agent.last_words().is_some()).await;
    assert_eq!(agent.last_words().expect("told"), "key revoked: laptop stolen");
    hub.put("eu-1", "apps", "secret");
    let refusals = || {
        let told = |note: &&AgentNote| {
            matches!(note, AgentNote::Disconnected { close: Some(close), .. }
                if close.code() == Some(CloseCode::KeyRevoked) && close.reason == "key revoked: laptop stolen")
        };
        agent.notes().iter().filter(told).count()
    };
    eventually("later attempts are refused too", || refusals() >= 3).await;
    assert_eq!(agent.connections(), 1);
    assert!(agent.effects().is_empty());
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn approval_is_waited_for_and_then_leads_to_a_certificate() {
    let hub = TestHub::start();
    let token = hub.token(
        "platform/t",
        TokenSpec {
            approval: Some(Approval::Manual),
            ..TokenSpec::default()
        },
    );
    let (identity, joined, state) = identity_of(&token, "eu-1").await.expect("joins");
    assert_eq!((joined, identity.has_certificate()), (Joined::Pending, false));
    let key = identity.key().expect("own key").fingerprint();
    hub.put("eu-1", "apps", "one");
    let agent = start_agent(identity, state);
    eventually("it waits", || agent.handle.mode() == Some(Mode::Pending)).await;
    assert!(agent.effects().is_empty(), "nothing flows before approval");

    hub.approve("eu-1");
    eventually("it is connected", || agent.holds("apps", "one")).await;
    assert!(agent.identity().has_certificate());
    assert_eq!(
        agent.identity().key().expect("own key").fingerprint(),
        key,
        "the key that was approved"
    );
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn an_expired_certificate_is_renewed_with_a_new_key() {
    let hub = TestHub::start();
    *hub.inner.lifetime.lock().expect("no panic holds it") = SignedDuration::from_secs(-1);
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    let before = identity.key().expect("own key").fingerprint();
    hub.put("eu-1", "apps", "one");
    let agent = start_agent(identity, state);
    eventually("items flow", || agent.holds("apps", "one")).await;
    assert!(agent.notes().contains(&AgentNote::Renewed));
    let after = agent.identity().key().expect("own key").fingerprint();
    assert_ne!(before, after);
    assert_eq!(
        hub.with("eu-1", |cluster| cluster.keys.keys.clone()),
        [after],
        "the old key is gone"
    );
    let modes: Vec<i32> = agent
        .notes()
        .iter()
        .filter_map(|note| match note {
            AgentNote::Connected(welcome) => Some(welcome.mode),
            _ => None,
        })
        .collect();
    assert_eq!(modes, [Mode::RenewOnly as i32, Mode::Normal as i32]);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_certificate_that_grows_old_is_renewed_while_connected() {
    let hub = TestHub::start();
    // Two thirds of its life are over when it is issued: it is back-dated by an hour and lasts another minute.
    *hub.inner.lifetime.lock().expect("no panic holds it") = SignedDuration::from_secs(60);
    let token = hub.token("platform/t", TokenSpec::default());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    let before = identity.key().expect("own key").fingerprint();
    let agent = start_agent(identity, state);
    eventually("it connects again with the new key", || agent.connections() == 2).await;
    hub.put("eu-1", "apps", "one");
    eventually("items flow", || agent.holds("apps", "one")).await;
    assert_ne!(agent.identity().key().expect("own key").fingerprint(), before);
    let facts = agent.identity().certificate().expect("issued");
    assert!(facts.not_after > jiff::Timestamp::now() + SignedDuration::from_hours(23));
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_cut_path_is_noticed_and_a_resume_sends_only_what_differs() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    let token = hub.token_at("platform/t", TokenSpec::default(), relay.address.clone());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    for number in 0..50 {
        hub.put("eu-1", &format!("item-{number}"), "one");
    }
    let agent = start_agent(identity, state);
    eventually("items have arrived", || agent.effects().len() == 50).await;
    set_row(&agent, "row", "before");
    eventually("status has arrived", || hub.row("eu-1", "row").is_some()).await;

    relay.cut();
    hub.put("eu-1", "item-7", "two");
    hub.delete("eu-1", "item-9");
    set_row(&agent, "row", "meanwhile");
    set_row(&agent, "row", "after");
    eventually("the agent notices", || agent.handle.mode().is_none()).await;
    eventually("the hub notices", || {
        hub.with("eu-1", |cluster| cluster.handle.is_none())
    })
    .await;
    assert_eq!(agent.effects().len(), 50);

    relay.mend();
    eventually("the changes have arrived", || agent.effects().len() == 52).await;
    eventually("status has arrived", || {
        hub.row("eu-1", "row").is_some_and(|row| row == "after")
    })
    .await;
    assert!(agent.holds("item-7", "two") && agent.effects().contains(&"delete item-9".to_owned()));
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_restarted_agent_holds_what_it_held() {
    let (hub, agent) = joined().await;
    hub.put("eu-1", "apps", "one");
    eventually("items have arrived", || agent.holds("apps", "one")).await;
    let identity = agent.identity();
    let old = agent.stop().await;
    let state = bed_state(&old, 2);
    let agent = start_agent(identity, state);
    agent.handle.connected().await;
    hub.put("eu-1", "infra", "two");
    eventually("new items arrive", || agent.holds("infra", "two")).await;
    assert_eq!(agent.effects(), ["put infra"], "nothing is done again");
    agent.stop().await;
    hub.shut().await;
}

/// The state of the process after a restart: the store is there, the counter is raised.
fn bed_state(old: &crate::bed::AgentState, boot_seq: u64) -> std::sync::Arc<crate::bed::AgentState> {
    let state = crate::bed::AgentState {
        instance: format!("{}-{boot_seq}", old.instance),
        boot_seq,
        ..crate::bed::AgentState::default()
    };
    state
        .store
        .lock()
        .expect("no panic holds it")
        .clone_from(&old.store.lock().expect("no panic holds it"));
    state
        .last
        .lock()
        .expect("no panic holds it")
        .clone_from(&old.last.lock().expect("no panic holds it"));
    state
        .identity
        .lock()
        .expect("no panic holds it")
        .clone_from(&old.identity.lock().expect("no panic holds it"));
    std::sync::Arc::new(state)
}

#[tokio::test]
async fn a_hub_that_shuts_down_is_found_again() {
    let (hub, agent) = joined().await;
    hub.put("eu-1", "apps", "one");
    eventually("items have arrived", || agent.holds("apps", "one")).await;
    let memory = hub.shut().await;
    eventually("the agent is told", || agent.last_words().is_some()).await;
    let first = agent.notes().into_iter().find_map(|note| match note {
        AgentNote::Disconnected { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(first.as_deref(), Some("the hub shuts down"));
    let hub = TestHub::reopen(memory);
    eventually("it is connected again", || agent.connections() == 2).await;
    hub.put("eu-1", "apps", "two");
    eventually("items flow", || agent.holds("apps", "two")).await;
    assert_eq!(agent.effects(), ["put apps", "put apps"]);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn plans_are_answered_at_once_or_later_and_once() {
    let (hub, agent) = joined().await;
    let plan = |number: u8| PrunePlan {
        change_id: "change".to_owned(),
        key: "apps".to_owned(),
        digest: vec![number; 32],
        deletes: 3,
        ..PrunePlan::default()
    };
    let permits = || agent.state.permits.lock().expect("no panic holds it").len();
    agent.handle.hold(plan(1));
    eventually("the plan is permitted", || permits() == 1).await;

    hub.inner.lock().grants = false;
    agent.handle.hold(plan(2));
    eventually("the plan is known", || hub.inner.lock().plans.len() == 2).await;
    assert_eq!(permits(), 1);
    let permit = PrunePermit {
        change_id: "change".to_owned(),
        plan_digest: vec![2; 32],
        granted: true,
        reason: "approved".to_owned(),
    };
    hub.handle("eu-1").permit(permit.clone()).expect("the session is live");
    hub.handle("eu-1").permit(permit).expect("the session is live");
    eventually("the permit has arrived", || permits() == 2).await;
    set_row(&agent, "apps", "pruned");
    eventually("everything before has arrived", || hub.row("eu-1", "apps").is_some()).await;
    assert_eq!(permits(), 2);
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn an_artifact_arrives_in_chunks_and_a_foreign_one_does_not() {
    let (hub, agent) = joined().await;
    // A megabyte that does not compress, one that does, and an empty file.
    let mut noise = vec![0u8; 1024 * 1024];
    let mut word = 88_172_645_463_325_252u64;
    for byte in &mut noise {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        *byte = word as u8;
    }
    let files = [
        ("a.bin", noise.clone()),
        ("b.yaml", vec![b'#'; 300_000]),
        ("empty", Vec::new()),
    ];
    let digest = hub.publish("eu-1", &files);
    let manifest = agent
        .handle
        .fetch_manifest(&digest, |manifest| crate::bed::manifest_digest(manifest) == digest)
        .await
        .expect("it is in the desired set");
    let mut got = Vec::new();
    let chunks: Vec<Digest> = manifest
        .files
        .iter()
        .flat_map(|file| &file.chunks)
        .map(|chunk| Digest::from_slice(&chunk.digest).expect("checked"))
        .collect();
    assert!(chunks.len() >= 6);
    agent
        .handle
        .fetch_chunks(&digest, &chunks, |_, content| got.extend_from_slice(&content))
        .await
        .expect("allowed");
    assert_eq!(got[..noise.len()], noise[..]);
    assert_eq!(got.len(), noise.len() + 300_000);

    // Another cluster's artifact, and a chunk of it named through ours.
    let foreign = hub.publish("us-1", &[("secret.yaml", b"password".to_vec())]);
    let error = agent
        .handle
        .fetch_manifest(&foreign, |_| true)
        .await
        .expect_err("not ours");
    assert!(matches!(
        error,
        FetchFailure::Content(FetchError::Refused {
            code: RefusalCode::NotDesired,
            ..
        })
    ));
    let chunk = Digest::of_content(b"password");
    let error = agent
        .handle
        .fetch_chunks(&foreign, &[chunk], |_, _| panic!("nothing comes"))
        .await;
    assert!(matches!(
        error.expect_err("not ours"),
        FetchFailure::Content(FetchError::Refused {
            code: RefusalCode::NotDesired,
            ..
        })
    ));
    let error = agent
        .handle
        .fetch_chunks(&digest, &[chunk], |_, _| panic!("nothing comes"))
        .await;
    assert!(matches!(
        error.expect_err("not in it"),
        FetchFailure::Content(FetchError::Refused {
            code: RefusalCode::NotInManifest,
            ..
        })
    ));
    let nowhere = artifact(&[("x", vec![1])]).0;
    assert!(agent.handle.fetch_manifest(&nowhere, |_| true).await.is_err());

    // A hub that lies about content is not believed.
    let error = agent
        .handle
        .fetch_manifest(&digest, |_| false)
        .await
        .expect_err("another digest");
    assert!(matches!(error, FetchFailure::Content(FetchError::Corrupt { .. })));
    hub.put("eu-1", "apps", "still alive");
    eventually("the session is unharmed", || agent.holds("apps", "still alive")).await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn a_process_that_was_replaced_is_fenced() {
    let (hub, agent) = joined().await;
    let identity = agent.identity();
    // The newer process of the spoke.
    let newer = start_agent(identity.clone(), bed_state(&agent.state, 5));
    newer.handle.connected().await;
    // The older one is asked, looks into the spoke, and finds that it is not the one any more.
    let end = tokio::time::timeout(Duration::from_secs(20), agent.task)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(
        matches!(&end, AgentEnd::Fenced(close) if close.code() == Some(CloseCode::Fenced)),
        "{end:?}"
    );

    // One more that starts late, with an older counter.
    let late = start_agent(identity, bed_state(&newer.state, 3));
    let end = tokio::time::timeout(Duration::from_secs(20), late.task)
        .await
        .expect("in time")
        .expect("no panic");
    assert!(matches!(end, AgentEnd::Fenced(_)), "{end:?}");
    hub.put("eu-1", "apps", "one");
    eventually("the newer one goes on", || newer.holds("apps", "one")).await;
    newer.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn two_that_both_claim_to_be_the_one_are_quarantined() {
    let (hub, agent) = joined().await;
    let clone = bed_state(&agent.state, agent.state.boot_seq);
    let clone = start_agent(agent.identity(), clone);
    eventually("the clone is quarantined", || {
        clone.handle.mode() == Some(Mode::Quarantined)
    })
    .await;
    hub.put("eu-1", "apps", "one");
    eventually("the hub knows", || hub.with("eu-1", |cluster| cluster.quarantined)).await;
    assert!(clone.effects().is_empty());
    clone.stop().await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn roots_rotate_under_a_live_session() {
    let (hub, agent) = joined().await;
    let (signed, _) = hub.rotate_root();
    hub.handle("eu-1")
        .push_root_sets(vec![signed.to_bytes()])
        .expect("the session is live");
    eventually("the agent believes the next set", || {
        agent.notes().contains(&AgentNote::RootsAdvanced { version: 2 })
    })
    .await;
    // The hub shows a certificate of the new root from now on.
    hub.handle("eu-1")
        .close(nave_proto::Close::new(CloseCode::Reconnect, "come back"));
    eventually("it is connected again", || agent.connections() == 2).await;
    let roots = agent.identity().roots().expect("readable").expect("joined");
    assert_eq!((roots.version(), roots.roots().len()), (2, 2));
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn many_changes_of_one_row_end_with_the_last() {
    let (hub, agent) = joined().await;
    for number in 0..2000 {
        set_row(&agent, "row", &number.to_string());
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    eventually("the last has arrived", || {
        hub.row("eu-1", "row").is_some_and(|row| row == "1999")
    })
    .await;
    eventually("the hub holds exactly that", || {
        let theirs = agent.handle.update_status(|status| status.root());
        hub.link("eu-1").roots().1 == theirs
    })
    .await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn an_item_that_takes_long_delays_no_other_and_keeps_its_own_order() {
    let (hub, agent) = joined().await;
    hub.put("eu-1", "large", "slow");
    eventually("the large one is on its way", || {
        hub.with("eu-1", |cluster| cluster.link.desired(|desired| desired.len() == 1))
    })
    .await;
    hub.put("eu-1", "apps", "one");
    eventually("the other has arrived", || agent.holds("apps", "one")).await;
    hub.delete("eu-1", "apps");
    hub.put("eu-1", "large", "small");
    eventually("the other is gone again", || !agent.holds("apps", "one")).await;
    assert!(
        !agent.holds("large", "small"),
        "what came later for the item waits for its turn"
    );
    agent.state.slow.notify_one();
    eventually("the item is as it was said last", || agent.holds("large", "small")).await;
    assert_eq!(agent.effects(), ["put apps", "delete apps", "put large", "put large"]);
}

/// The end of the stream that a refusal brings must not overtake its words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_always_arrives_with_its_words() {
    let hub = TestHub::start();
    let revoked = TokenSpec {
        revoked: true,
        ..TokenSpec::default()
    };
    let token = hub.token("platform/revoked", revoked);
    for _ in 0..100 {
        assert_eq!(refused(&token).await, "join token revoked; create a new one");
    }
}

#[tokio::test]
async fn a_policy_that_changes_is_told_in_the_session_and_once() {
    let (hub, agent) = joined().await;
    let told = |hub: &TestHub| {
        hub.with("eu-1", |cluster| {
            let of_policy = cluster.notes.iter().filter_map(|note| match note {
                Note::Policy(digest) => Some(*digest),
                _ => None,
            });
            of_policy.collect::<Vec<_>>()
        })
    };
    let [first, second] = [b"one", b"two"].map(|text| Digest::of_content(text));
    agent.handle.policy_changed(first);
    eventually("the hub knows", || told(&hub) == [first]).await;
    let beats = |hub: &TestHub| {
        hub.with("eu-1", |cluster| {
            let beats = cluster
                .notes
                .iter()
                .filter(|note| matches!(note, Note::Heartbeat { .. }));
            beats.count()
        })
    };
    let before = beats(&hub);
    eventually("heartbeats go on", || beats(&hub) >= before + 2).await;
    assert_eq!(told(&hub), [first]);
    agent.handle.policy_changed(second);
    eventually("the hub knows the next one", || told(&hub) == [first, second]).await;
    agent.stop().await;
    hub.shut().await;
}

#[tokio::test]
async fn who_is_joining_hears_that_the_hub_shuts_down() {
    let hub = TestHub::start();
    let token = hub.token("platform/t", TokenSpec::default());
    hub.inner.joins_wait.store(true, Ordering::SeqCst);
    let joining = tokio::spawn(async move { identity_of(&token, "eu-1").await.err() });
    eventually("the hub decides", || {
        hub.inner.joins_waiting.load(Ordering::SeqCst) == 1
    })
    .await;
    hub.shut().await;
    let error = joining.await.expect("it does not panic").expect("nobody was admitted");
    match error {
        JoinError::Refused(close) => assert_eq!(close.code(), Some(CloseCode::ShuttingDown), "{close}"),
        other => panic!("it heard no words: {other:?}"),
    }
}
