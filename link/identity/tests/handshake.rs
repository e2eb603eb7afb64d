//! Both ends of TLS in memory: who may talk to whom, and what each side is told when not.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use nave_identity::{
    Authority, AuthorityRole, CertificateRequest, ClusterRef, Key, KeyFingerprint, PeerCertificate, RootSet,
    SERVER_NAME, ServerCertificates, ServerIdentity, TimeFloor, Trust, TrustedRoots, client_config, later_version,
    recover, server_config,
};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

struct Hub {
    roots: Authority,
    clients: Authority,
    certificates: ServerCertificates,
}

fn hub(now: Timestamp) -> Hub {
    let year = SignedDuration::from_hours(24 * 365);
    let roots = Authority::generate(AuthorityRole::Server, now, year).expect("generation works");
    let clients = Authority::generate(AuthorityRole::Client, now, year).expect("generation works");
    let identity = roots
        .issue_server(now, SignedDuration::from_hours(24))
        .expect("issuing works");
    let certificates = ServerCertificates::new(&identity).expect("usable identity");
    Hub {
        roots,
        clients,
        certificates,
    }
}

/// Runs the handshake; the server's view of the client, or the first error of either side.
fn shake(client: ClientConfig, server: ServerConfig, name: &'static str) -> Result<ServerConnection, String> {
    let name = ServerName::try_from(name).expect("valid name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("usable configuration");
    let mut server = ServerConnection::new(Arc::new(server)).expect("usable configuration");
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("writing to memory");
        server.read_tls(&mut wire.as_slice()).expect("reading from memory");
        server.process_new_packets().map_err(|error| format!("hub: {error}"))?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).expect("writing to memory");
        client.read_tls(&mut wire.as_slice()).expect("reading from memory");
        client
            .process_new_packets()
            .map_err(|error| format!("agent: {error}"))?;
    }
    Ok(server)
}

fn joining(key: &Key, pin: KeyFingerprint) -> ClientConfig {
    let chain = vec![key.self_signed(Timestamp::now()).expect("signing works")];
    client_config(key, chain, Trust::Pin(pin), TimeFloor::default()).expect("usable configuration")
}

fn serve(hub: &Hub) -> ServerConfig {
    server_config(hub.certificates.clone()).expect("usable configuration")
}

fn peer(server: &ServerConnection) -> CertificateDer<'static> {
    server.peer_certificates().expect("a certificate is mandatory")[0]
        .clone()
        .into_owned()
}

fn roots(hub: &Hub) -> Trust {
    Trust::Roots(vec![hub.roots.certificate().clone()])
}

#[test]
fn a_joining_agent_checks_the_pin_and_the_hub_learns_the_key() {
    let (hub, key) = (hub(Timestamp::now()), Key::generate().expect("random source works"));
    let server = shake(joining(&key, hub.roots.fingerprint()), serve(&hub), SERVER_NAME).expect("right pin");
    let seen = PeerCertificate::read(&peer(&server), &[hub.clients.certificate().clone()]).expect("readable");
    assert_eq!(seen.facts.key, key.fingerprint());
    assert!(seen.facts.self_signed && !seen.issued_by_us);

    let error = shake(
        joining(&key, KeyFingerprint::of_spki(b"other")),
        serve(&hub),
        SERVER_NAME,
    );
    let error = error.expect_err("wrong pin");
    assert!(
        error.contains("the hub shows no root with the pinned key sha256:"),
        "{error}"
    );
}

#[test]
fn a_member_checks_the_roots_and_an_expired_lease_still_proves_the_key() {
    let now = Timestamp::now();
    let (hub, other) = (hub(now), hub(now));
    let key = Key::generate().expect("random source works");
    let request = CertificateRequest::read(&key.request().expect("signing works")).expect("own request");
    let long_ago = now - SignedDuration::from_hours(24 * 400);
    let issued = hub
        .clients
        .issue_client(
            &request,
            &ClusterRef::new("platform", "eu-1"),
            long_ago,
            SignedDuration::from_hours(24),
        )
        .expect("issuing works");
    let config = |trust| client_config(&key, issued.chain.clone(), trust, TimeFloor::default()).expect("usable");

    let server = shake(config(roots(&hub)), serve(&hub), SERVER_NAME).expect("possession is proved");
    let seen = PeerCertificate::read(&peer(&server), &[hub.clients.certificate().clone()]).expect("readable");
    assert!(seen.issued_by_us && !seen.facts.is_current(now));

    let error = shake(config(roots(&other)), serve(&hub), SERVER_NAME).expect_err("another hub's roots");
    assert!(error.starts_with("agent: "), "{error}");
    let error = shake(config(roots(&hub)), serve(&hub), "hub.example.com").expect_err("another name");
    assert!(error.contains("not valid for name"), "{error}");
}

#[test]
fn an_expired_hub_certificate_is_refused_and_a_late_floor_notices_too() {
    let now = Timestamp::now();
    let key = Key::generate().expect("random source works");
    let expired = hub(now - SignedDuration::from_hours(48));
    let error = shake(joining(&key, expired.roots.fingerprint()), serve(&expired), SERVER_NAME);
    assert!(error.expect_err("expired").contains("expired"));

    let current = hub(now);
    let floor = TimeFloor::new((now + SignedDuration::from_hours(48)).as_second().unsigned_abs());
    let chain = vec![key.self_signed(now).expect("signing works")];
    let config = client_config(&key, chain, roots(&current), floor).expect("usable configuration");
    let error = shake(config, serve(&current), SERVER_NAME).expect_err("the hub once said it is later");
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn a_client_without_certificate_or_with_an_agents_certificate_as_hub_is_refused() {
    let hub = hub(Timestamp::now());
    let mut store = rustls::RootCertStore::empty();
    store.add(hub.roots.certificate().clone()).expect("own root");
    let mut bare = ClientConfig::builder_with_provider(nave_identity::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3 exists")
        .with_root_certificates(store)
        .with_no_client_auth();
    bare.alpn_protocols = vec![nave_identity::ALPN.to_vec()];
    let error = shake(bare, serve(&hub), SERVER_NAME).expect_err("no certificate");
    assert!(error.starts_with("hub: ") && error.contains("certificate"), "{error}");

    // A server certificate from the client authority must not pass for the hub: the authorities differ.
    let fake_root = Authority::generate(AuthorityRole::Server, Timestamp::now(), SignedDuration::from_hours(9));
    let fake_root = fake_root.expect("generation works");
    let fake = fake_root
        .issue_server(Timestamp::now(), SignedDuration::from_hours(9))
        .expect("issuing works");
    let certificates = ServerCertificates::new(&fake).expect("usable identity");
    let key = Key::generate().expect("random source works");
    let chain = vec![key.self_signed(Timestamp::now()).expect("signing works")];
    let config = client_config(&key, chain, roots(&hub), TimeFloor::default()).expect("usable configuration");
    let server = server_config(certificates).expect("usable configuration");
    let error = shake(config, server, SERVER_NAME).expect_err("a stranger's root");
    assert!(error.starts_with("agent: "), "{error}");
}

#[test]
fn a_replaced_hub_certificate_is_shown_from_the_next_handshake_on() {
    let now = Timestamp::now();
    let (hub, next) = (hub(now), hub(now));
    let key = Key::generate().expect("random source works");
    let identity = next
        .roots
        .issue_server(now, SignedDuration::from_hours(24))
        .expect("issuing works");
    let server = serve(&hub);
    hub.certificates.replace(&identity).expect("usable identity");
    assert!(shake(joining(&key, next.roots.fingerprint()), server.clone(), SERVER_NAME).is_ok());
    assert!(shake(joining(&key, hub.roots.fingerprint()), server, SERVER_NAME).is_err());
}

#[test]
fn an_agent_that_missed_three_changes_of_the_authority_finds_the_way() {
    let now = Timestamp::now();
    let year = SignedDuration::from_hours(24 * 365);
    let authority = || Authority::generate(AuthorityRole::Server, now, year).expect("generation works");
    let chain: Vec<Authority> = (0..4).map(|_| authority()).collect();
    let bridge = |at: usize| chain[at].bridge_to(&chain[at + 1], now, year).expect("signing works");
    let newest = &chain[3];
    let mut identity = newest
        .issue_server(now, SignedDuration::from_hours(24))
        .expect("issuing works");
    identity.chain.extend([bridge(2), bridge(1), bridge(0)]);
    let key = Key::generate().expect("random source works");
    let shaken = |trust: Trust, identity: &ServerIdentity| {
        let certificates = ServerCertificates::new(identity).expect("usable identity");
        let own = vec![key.self_signed(now).expect("signing works")];
        let config = client_config(&key, own, trust, TimeFloor::default()).expect("usable configuration");
        shake(
            config,
            server_config(certificates).expect("usable configuration"),
            SERVER_NAME,
        )
        .map(drop)
    };
    for known in &chain {
        let roots = Trust::Roots(vec![known.certificate().clone()]);
        shaken(roots, &identity).expect("every bridge leads to the newest");
    }
    shaken(Trust::Pin(newest.fingerprint()), &identity).expect("a new token pins the newest");
    let stranger = Trust::Roots(vec![authority().certificate().clone()]);
    shaken(stranger, &identity).expect_err("nobody vouched for it");
    // Without the bridge in the middle there is no way.
    identity.chain.remove(3);
    let roots = Trust::Roots(vec![chain[0].certificate().clone()]);
    shaken(roots, &identity).expect_err("the chain is broken");
}

#[test]
fn an_agent_whose_roots_are_gone_follows_the_recovery_key_and_no_other() {
    let now = Timestamp::now();
    let (lost, new) = (hub(now), hub(now));
    let (key, recovery, other) = (fresh_key(), fresh_key(), fresh_key());
    let first = |hub: &Hub, recovery: Option<&Key>| {
        let set = RootSet::first(vec![hub.roots.certificate().clone()], recovery.map(Key::fingerprint));
        let signed = set.sign(&[hub.roots.key()]).expect("signs");
        TrustedRoots::pinned(signed, hub.roots.fingerprint()).expect("pinned and signed")
    };
    let show = |by: &Key| {
        let hub = first(&new, None);
        let signed = recover(&hub, new.roots.certificate().clone(), by, Some(later_version(now)));
        let recovered = hub
            .recovered(signed.expect("signs"), &new.roots)
            .expect("its own authority");
        let day = SignedDuration::from_hours(24);
        let mut identity = new.roots.issue_server(now, day).expect("issuing works");
        let carrier = new.roots.carry(recovered.signed(), now, day).expect("signs");
        identity.chain.push(carrier);
        new.certificates.replace(&identity).expect("usable identity");
    };
    let config = |set: TrustedRoots| {
        let chain = vec![key.self_signed(now).expect("signing works")];
        client_config(&key, chain, Trust::Set(Box::new(set)), TimeFloor::default()).expect("usable configuration")
    };
    let agent = first(&lost, Some(&recovery));

    let error = shake(config(agent.clone()), serve(&new), SERVER_NAME).expect_err("an unknown root");
    assert!(error.contains("UnknownIssuer"), "{error}");
    show(&other);
    let error = shake(config(agent.clone()), serve(&new), SERVER_NAME).expect_err("another recovery key");
    let words = format!("is not signed by the pinned recovery key {}", recovery.fingerprint());
    assert!(error.starts_with("agent: ") && error.contains(&words), "{error}");
    show(&recovery);
    shake(config(agent), serve(&new), SERVER_NAME).expect("by the recovery key's word");
    let error = shake(config(first(&lost, None)), serve(&new), SERVER_NAME).expect_err("it pinned no key");
    assert!(error.contains("join again with a new token"), "{error}");
}

fn fresh_key() -> Key {
    Key::generate().expect("random source works")
}
