//! Recorded bytes of every message. A later version must read them as they are, and write them as they are.
//!
//! `RECORD=1` rewrites `tests/fixtures/v1.txt` with what this version writes: only ever to add messages. A line that
//! changes is a break of compatibility, and the peers of three versions back are still out there.

use bytes::Bytes;
use nave_proto::wire::*;
use nave_proto::{Close, CloseCode};
use prost::Message;

fn owner() -> OwnerRef {
    OwnerRef {
        kind: "FleetKustomization".into(),
        ns: "platform".into(),
        name: "apps".into(),
        uid: "uid-1".into(),
    }
}

fn checkpoint() -> Checkpoint {
    Checkpoint {
        incarnation: 7,
        seq: 300,
        nonce: vec![9; 16],
    }
}

fn fact() -> Fact {
    Fact {
        key: "region".into(),
        value: "eu".into(),
    }
}

fn control() -> Vec<(&'static str, ControlBody)> {
    vec![
        (
            "Hello",
            ControlBody::Hello(Hello {
                major: 1,
                features: 5,
                instance_id: "instance".into(),
                boot_seq: 3,
                session_seq: 4,
                cluster_uid: "cluster".into(),
                hub_uid: "hub".into(),
                last: Some(checkpoint()),
                root_set_version: 2,
                desired_root: vec![1; 32],
                status_root: vec![2; 32],
                agent_version: "0.1.0".into(),
                k8s_version: "v1.36.3".into(),
                clock_ms: 1_800_000_000_000,
                policy_digest: vec![3; 32],
                max_item_bytes: 4_194_304,
                facts: vec![fact()],
                ..Hello::default()
            }),
        ),
        (
            "Welcome",
            ControlBody::Welcome(Welcome {
                features: 1,
                hub_uid: "hub".into(),
                now_ms: 1_800_000_000_500,
                mode: Mode::Behind as i32,
                desired_root: vec![1; 32],
                status_root: vec![2; 32],
                reconnect_window_ms: 2000,
                heartbeat_ms: 30_000,
                clock_ms: 1_800_000_000_000,
                max_item_bytes: 65_536,
                root_sets: vec![vec![4, 5]],
                reason: "the hub was restored".into(),
                cluster_ns: "platform".into(),
                cluster_name: "eu-1".into(),
                profile: LinkProfile::Standard as i32,
                agent_version: String::new(),
            }),
        ),
        (
            "WelcomeMetered",
            ControlBody::Welcome(Welcome {
                features: 7,
                hub_uid: "hub".into(),
                heartbeat_ms: 120_000,
                profile: LinkProfile::Metered as i32,
                ..Welcome::default()
            }),
        ),
        (
            "Heartbeat",
            ControlBody::Heartbeat(Heartbeat {
                desired_root8: u64::MAX,
                status_root8: 1,
                seq: 9,
                clock_ms: -5,
                policy_digest: Vec::new(),
            }),
        ),
        (
            "HeartbeatPolicy",
            ControlBody::Heartbeat(Heartbeat {
                seq: 10,
                policy_digest: vec![6; 32],
                ..Heartbeat::default()
            }),
        ),
        (
            "Fence",
            ControlBody::Fence(Fence {
                instance_id: "other".into(),
                boot_seq: 8,
            }),
        ),
        (
            "FenceReply",
            ControlBody::FenceReply(FenceReply {
                contested: true,
                stored_instance_id: "instance".into(),
                stored_boot_seq: 3,
            }),
        ),
        (
            "JoinRequest",
            ControlBody::JoinRequest(JoinRequest {
                token_id: "platform/t".into(),
                token_secret: vec![6; 32],
                csr: vec![7; 3],
                name: "eu-1".into(),
                cluster_uid: "cluster".into(),
                facts: vec![fact()],
                major: 1,
            }),
        ),
        (
            "JoinReply",
            ControlBody::JoinReply(JoinReply {
                state: JoinState::Pending as i32,
                cluster_ns: "platform".into(),
                cluster_name: "eu-1".into(),
                cert_chain: vec![vec![8; 2]],
                signed_root_set: vec![9],
                now_ms: 1_800_000_000_500,
            }),
        ),
        (
            "RenewRequest",
            ControlBody::RenewRequest(RenewRequest { csr: vec![7; 3] }),
        ),
        (
            "RenewReply",
            ControlBody::RenewReply(RenewReply {
                code: RenewCode::Later as i32,
                cert_chain: vec![vec![8; 2]],
                reason: "the hub is behind".into(),
                retry_after_ms: 60_000,
            }),
        ),
        (
            "RootSets",
            ControlBody::RootSets(RootSets {
                signed: vec![vec![1], vec![2, 3]],
            }),
        ),
        (
            "PrunePlan",
            ControlBody::PrunePlan(PrunePlan {
                change_id: "change".into(),
                key: "FleetKustomization/platform/apps".into(),
                digest: vec![5; 32],
                deletes: 12,
                cascades: vec!["Namespace//old".into()],
                sample: vec!["ConfigMap/app/a".into()],
            }),
        ),
        (
            "PrunePermit",
            ControlBody::PrunePermit(PrunePermit {
                change_id: "change".into(),
                plan_digest: vec![5; 32],
                granted: true,
                reason: "approved".into(),
            }),
        ),
    ]
}

fn state() -> Vec<(&'static str, StateBody)> {
    vec![
        (
            "ItemPut",
            StateBody::ItemPut(ItemPut {
                set: SetKind::Desired as i32,
                key: "FleetKustomization/platform/apps".into(),
                version: 200,
                owner: Some(owner()),
                digest: vec![1; 32],
                payload: Bytes::from_static(b"payload"),
                chunks: Vec::new(),
                sensitive: true,
                salt: vec![2; 32],
            }),
        ),
        (
            "ItemDelete",
            StateBody::ItemDelete(ItemDelete {
                set: SetKind::Desired as i32,
                key: "FleetKustomization/platform/apps".into(),
                version: 201,
                owner: Some(owner()),
                cause: DeleteCause::NotPlaced as i32,
                policy: DeletePolicy::Orphan as i32,
                change_id: "change".into(),
            }),
        ),
        (
            "Ack",
            StateBody::Ack(Ack {
                set: SetKind::Status as i32,
                version: 200,
                failed: vec![FailedItem {
                    key: "k".into(),
                    code: FailCode::Denied as i32,
                    message: "no".into(),
                }],
            }),
        ),
        (
            "TreeRequest",
            StateBody::TreeRequest(TreeRequest {
                set: 1,
                snapshot_root: vec![3; 32],
                prefix: vec![0, 15],
            }),
        ),
        (
            "TreeReply",
            StateBody::TreeReply(TreeReply {
                set: 1,
                snapshot_root: vec![3; 32],
                prefix: vec![0, 15],
                children: vec![vec![4; 32]; 16],
                entries: vec![TreeEntry {
                    key: "k".into(),
                    digest: vec![5; 32],
                    owner_uid: "uid-1".into(),
                }],
                gone: true,
            }),
        ),
        ("Checkpoint", StateBody::Checkpoint(checkpoint())),
        (
            "EventMsg",
            StateBody::Event(EventMsg {
                time_ms: 1_800_000_000_000,
                kind: "Kustomization".into(),
                ns: "flux-system".into(),
                name: "apps".into(),
                severity: "Warning".into(),
                reason: "BuildFailed".into(),
                message: "no such file".into(),
                revision: "main@sha1:abc".into(),
                dropped_before: 3,
                item: "FleetKustomization/platform/apps".into(),
            }),
        ),
    ]
}

fn chunk() -> Vec<(&'static str, ChunkBody)> {
    vec![
        (
            "ManifestRequest",
            ChunkBody::ManifestRequest(ManifestRequest {
                manifest_digest: vec![1; 32],
            }),
        ),
        (
            "ManifestReply",
            ChunkBody::ManifestReply(ManifestReply {
                manifest_digest: vec![1; 32],
                encoding: ChunkEncoding::Zstd as i32,
                raw_size: 1000,
                data: Bytes::from_static(b"packed"),
            }),
        ),
        (
            "ChunkRequest",
            ChunkBody::ChunkRequest(ChunkRequest {
                manifest_digest: vec![1; 32],
                digests: vec![vec![2; 32], vec![3; 32]],
                dict_manifest: vec![4; 32],
            }),
        ),
        (
            "ChunkReply",
            ChunkBody::ChunkReply(ChunkReply {
                digest: vec![2; 32],
                encoding: ChunkEncoding::Plain as i32,
                raw_size: 5,
                data: Bytes::from_static(b"plain"),
            }),
        ),
        (
            "ChunkReplyDictionary",
            ChunkBody::ChunkReply(ChunkReply {
                digest: vec![2; 32],
                encoding: ChunkEncoding::ZstdDictionary as i32,
                raw_size: 5,
                data: Bytes::from_static(b"packed"),
            }),
        ),
        (
            "FetchRefused",
            ChunkBody::Refused(FetchRefused {
                code: RefusalCode::NotDesired as i32,
                message: "no".into(),
            }),
        ),
    ]
}

fn live() -> Vec<(&'static str, LiveBody)> {
    vec![
        (
            "LiveRequest",
            LiveBody::Request(LiveRequest {
                verb: LiveVerb::Logs as i32,
                group: "apps".into(),
                version: "v1".into(),
                resource: "deployments".into(),
                ns: "app".into(),
                name: "web".into(),
                user: "jane".into(),
                container: "main".into(),
                follow: true,
                tail_lines: 10,
                groups: vec!["ops".into()],
                ..LiveRequest::default()
            }),
        ),
        (
            "LiveRequestWithCredit",
            LiveBody::Request(LiveRequest {
                verb: LiveVerb::List as i32,
                resource: "po".into(),
                ns: "app".into(),
                user: "jane".into(),
                label_selector: "app=web".into(),
                since_seconds: 60,
                previous: true,
                timestamps: true,
                table: true,
                window: 12_288,
                id: "0f".into(),
                ..LiveRequest::default()
            }),
        ),
        ("LiveCredit", LiveBody::Credit(LiveCredit { bytes: 6_144 })),
        (
            "LiveData",
            LiveBody::Data(LiveData {
                data: Bytes::from_static(b"line"),
            }),
        ),
        (
            "LiveEnd",
            LiveBody::End(LiveEnd {
                code: LiveEndCode::Forbidden as i32,
                message: "no".into(),
            }),
        ),
    ]
}

fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let bundle = Bundle {
        objects: vec![Bytes::from_static(b"{}")],
        artifact: Some(ArtifactRef {
            manifest_digest: vec![1; 32],
            revision: "main@sha1:abc".into(),
            origin: "https://git.example.com/fleet".into(),
            size: 2000,
        }),
        secrets: vec![Bytes::from_static(b"{}")],
        grant: Some(Grant {
            admin: false,
            service_account: "team-a".into(),
            namespaces: vec!["team-a".into()],
            lockdown: true,
            workspace: "team-a".into(),
        }),
        change_id: "change".into(),
        requested_at: "2026-11-21T00:00:00Z".into(),
        suspend: true,
    };
    let status = StatusPayload {
        observed_payload: vec![1; 32],
        observed_manifest: vec![2; 32],
        revision: "main@sha1:abc".into(),
        state: "failed".into(),
        conditions: vec![Condition {
            r#type: "Ready".into(),
            status: "False".into(),
            reason: "BuildFailed".into(),
            message: "no such file".into(),
            observed_generation: 2,
            last_transition_ms: 1_800_000_000_000,
        }],
        inventory_count: 4,
        inventory_digest: vec![3; 32],
        prune_digest: vec![4; 32],
        object: "Deployment/app/web".into(),
    };
    let chunk = ManifestChunk {
        digest: vec![6; 32],
        size: 5,
    };
    let file = ManifestFile {
        path: "a/b.yaml".into(),
        mode: 0o644,
        size: 5,
        digest: vec![5; 32],
        chunks: vec![chunk],
    };
    let evidence = Evidence {
        r#type: "cosign".into(),
        bytes: vec![7],
    };
    let manifest = Manifest {
        files: vec![file],
        evidence: vec![evidence],
    };
    assert_eq!(Bundle::read(bundle.encode_to_vec().into()), Ok(bundle.clone()));
    assert_eq!(StatusPayload::read(&status.encode_to_vec()), Ok(status.clone()));
    assert_eq!(Manifest::read(&manifest.encode_to_vec()), Ok(manifest.clone()));
    let mut close = Close::new(CloseCode::JoinRefused, "join token expired").retry_after(60_000);
    close.redirect.push("hub-2.example.com:9443".into());
    assert_eq!(Close::from_bytes(6, &close.to_bytes()), close);
    vec![
        ("Bundle", bundle.encode_to_vec()),
        ("StatusPayload", status.encode_to_vec()),
        ("Manifest", manifest.encode_to_vec()),
        ("Close", close.to_bytes()),
    ]
}

/// Encodes, and checks that the bytes are read back as the same message.
fn frames<B>(messages: Vec<(&'static str, B)>, encode: fn(B) -> Vec<u8>, decode: fn(Bytes) -> Option<B>) -> Vec<String>
where
    B: Clone + PartialEq + std::fmt::Debug,
{
    let line = |(name, body): (&'static str, B)| {
        let bytes = encode(body.clone());
        assert_eq!(
            decode(bytes.clone().into()),
            Some(body),
            "{name} is not read back as it was"
        );
        line(name, &bytes)
    };
    messages.into_iter().map(line).collect()
}

fn line(name: &str, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name} {hex}")
}

#[test]
fn recorded_messages_are_still_written_and_read() {
    let mut lines = frames(control(), encode, |frame| decode(frame).expect("own frame"));
    lines.extend(frames(state(), encode, |frame| decode(frame).expect("own frame")));
    lines.extend(frames(chunk(), encode, |frame| decode(frame).expect("own frame")));
    lines.extend(frames(live(), encode, |frame| decode(frame).expect("own frame")));
    lines.extend(payloads().iter().map(|(name, bytes)| line(name, bytes)));
    let text = lines.join("\n") + "\n";

    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/v1.txt");
    if std::env::var_os("RECORD").is_some() {
        std::fs::write(path, &text).expect("the fixtures can be written");
    }
    let recorded = std::fs::read_to_string(path).expect("the fixtures are checked in");
    for (ours, theirs) in text.lines().zip(recorded.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(
        text.lines().count(),
        recorded.lines().count(),
        "a message was added or removed"
    );
}
