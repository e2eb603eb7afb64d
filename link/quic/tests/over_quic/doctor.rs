//! An examination against real hubs, relays and proxies.

use std::time::Duration;

use nave_identity::{Authority, AuthorityRole, JoinToken};
use nave_quic::doctor::{Finding, Health, examine, healthy};
use nave_quic::{AgentIdentity, DialOptions, ProxyRules};

use crate::bed::{HttpProxy, Relay, TestHub, TokenSpec, identity_of, start_agent};

fn options() -> DialOptions {
    DialOptions {
        connect_timeout: Duration::from_secs(3),
        ..DialOptions::default()
    }
}

async fn examined(token: &JoinToken, options: &DialOptions) -> Vec<Finding> {
    let identity = AgentIdentity::begin(token).expect("key generation works");
    examine(&identity, options).await.expect("it can be made")
}

/// The lines that are not good.
fn troubles(findings: &[Finding]) -> Vec<String> {
    let bad = findings.iter().filter(|finding| finding.health != Health::Good);
    bad.map(|finding| format!("{:?} {finding}", finding.health)).collect()
}

#[tokio::test]
async fn troubles_of_the_way_are_told_apart() {
    let hub = TestHub::start();
    let relay = Relay::to(hub.address).await;
    let address = relay.address.clone();
    let token = hub.token_at("platform/t", TokenSpec::default(), address.clone());

    let all = examined(&token, &options()).await;
    assert_eq!(troubles(&all), Vec::<String>::new());
    let looked_at: Vec<String> = all.iter().map(|finding| finding.what.clone()).collect();
    let want = ["name", "udp", "tcp", "certificate", "key at"].map(|what| format!("{what} {address}"));
    assert_eq!(looked_at, want);

    relay.swallow_udp(true);
    let all = examined(&token, &options()).await;
    let udp = format!("Worse udp {address}: no answer in 3 s (is UDP let through?)");
    assert_eq!(troubles(&all), [udp]);
    assert!(healthy(&all), "TCP carries the link");

    let nowhere = hub.token_at("platform/n", TokenSpec::default(), "nobody.invalid:9443".to_owned());
    let all = examined(&nowhere, &options()).await;
    assert!(
        troubles(&all)[0].starts_with("Bad name nobody.invalid:9443: resolving the name: "),
        "{all:?}"
    );

    const HUB: &str = "hub.corp.invalid:9443";
    let proxy = HttpProxy::start(HUB, hub.address).await;
    let behind = hub.token_at("platform/p", TokenSpec::default(), HUB.to_owned());
    let through = |user: &str| DialOptions {
        proxy: ProxyRules::new(
            Some(format!("http://{user}{}", proxy.address).parse().expect("a URL")),
            "",
        ),
        ..options()
    };
    let all = examined(&behind, &through("")).await;
    let said = troubles(&all);
    assert!(
        said[1].starts_with(&format!("Bad proxy {} to {HUB}: ", proxy.address)),
        "{said:?}"
    );
    assert!(said[1].contains("407"), "{said:?}");
    let all = examined(&behind, &through("agent:let%20me%20in@")).await;
    let said = troubles(&all);
    assert!(
        said.len() == 1 && said[0].starts_with("Worse name "),
        "the proxy resolves: {said:?}"
    );
    hub.shut().await;
}

#[tokio::test]
async fn troubles_of_the_ends_are_told_apart() {
    let hub = TestHub::start();
    // A hub of somebody else at the address, by what the token says.
    let year = jiff::SignedDuration::from_hours(24 * 365);
    let other = Authority::generate(AuthorityRole::Server, jiff::Timestamp::now(), year).expect("generation works");
    let address = hub.address.to_string();
    let strange = JoinToken::issue(vec![address.clone()], other.fingerprint(), "platform/t".to_owned());
    let all = examined(&strange.expect("valid arguments").token, &options()).await;
    let said = troubles(&all);
    assert!(
        said.len() == 1 && said[0].starts_with(&format!("Bad certificate {address}: ")),
        "{said:?}"
    );
    assert!(said[0].contains("shows no root with the pinned key"), "{said:?}");

    // Nobody may join.
    let pin = hub.inner.server_authority.fingerprint();
    let early = JoinToken::issue(vec![address.clone()], pin, "platform/t".to_owned());
    let all = examined(&early.expect("valid arguments").token, &options()).await;
    let said = troubles(&all);
    assert!(
        said.len() == 1 && said[0].starts_with(&format!("Bad key at {address}: key unknown")),
        "{said:?}"
    );

    // A member's key is let in, and its session is not disturbed.
    let token = hub.token("platform/member", TokenSpec::default());
    let (identity, _, state) = identity_of(&token, "eu-1").await.expect("joins");
    let agent = start_agent(identity.clone(), state);
    agent.handle.connected().await;
    let all = examine(&identity, &options()).await.expect("it can be made");
    assert_eq!(troubles(&all), Vec::<String>::new());
    assert_eq!(agent.connections(), 1);
    assert!(agent.handle.mode().is_some());
    agent.stop().await;
    hub.shut().await;
}
