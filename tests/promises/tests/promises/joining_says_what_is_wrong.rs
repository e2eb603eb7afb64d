//! `nave join` waits for the agent, and says what the hub said to it: a token that is damaged, wrong, expired or for a hub
//! that nobody reaches. The next try needs no restart, and the right token joins.

use std::{process::Output, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use nave_bed::{eventually, free_udp_port};
use nave_demo::{Agent, Fleet, FleetOptions, Hub, Nave, fleet::WORKSPACE};
use nave_identity::JoinToken;
use nave_promises::observe;

use crate::support::{CHANGE, connected, with_some};

const STAGING: &str = "staging";
const SECRET: &str = "nave-agent-hub";

#[tokio::test(flavor = "multi_thread")]
async fn joining_says_what_is_wrong() -> Result<()> {
    let options = FleetOptions {
        spokes: vec![STAGING],
        ..FleetOptions::default()
    };
    with_some(options, |mut fleet| async move {
        let result = promise(&mut fleet).await;
        (fleet, result)
    })
    .await
}

async fn promise(fleet: &mut Fleet) -> Result<()> {
    let plane = &fleet.planes[STAGING];
    let spoke = plane.client();
    let nave = Nave::new(plane.kubeconfig_path())?;
    let good = token(fleet, "good", &[]).await?;

    // Nothing is touched for a text that is no token.
    let cut = &good[..good.len() - 7];
    for (text, words) in [("hello", "does not begin with `nave1.`"), (cut, "copy it again, whole")] {
        let said = failed(nave.output(&["join", "--token", text]).await?)?;
        assert!(said.contains(words), "{said}");
    }
    assert!(observe::secret(&spoke, "flux-system", SECRET).await?.is_none());

    // The imaginary node runs the Deployment's pod; this process is what would be in it.
    let more = ["--hub-secret", SECRET, "--namespace", "flux-system"];
    let agent = Agent::prepare(plane, &fleet.agent_folder(STAGING), None, &more)?;
    let mut parsed: JoinToken = good.parse()?;
    parsed.addresses = vec![format!("127.0.0.1:{}", free_udp_port()?)];
    let unreachable = parsed.to_text().to_string();
    let first = {
        let (nave, token) = (nave.clone(), unreachable.clone());
        tokio::spawn(async move { nave.output(&["join", "--token", &token, "--timeout", "40s"]).await })
    };
    let secrets: Api<Secret> = Api::namespaced(spoke.clone(), "flux-system");
    eventually(CHANGE, "the secret", || async {
        secrets.get_opt(SECRET).await?.map(drop).context("it is not there")
    })
    .await?;
    fleet.agents.insert(STAGING, agent);
    let agent = fleet.agents.get_mut(STAGING).context("it was just put there")?;
    agent.restart().await?;
    let said = failed(first.await??)?;
    assert!(said.contains("no answer in 5 s (is UDP let through?)"), "{said}");
    assert!(said.contains(&parsed.addresses[0]), "the address is not named: {said}");

    let wrong = JoinToken::issue(
        good.parse::<JoinToken>()?.addresses,
        good.parse::<JoinToken>()?.root_pin,
        format!("{WORKSPACE}/good"),
    )?;
    let said = failed(join(&nave, &wrong.token.to_text()).await?)?;
    assert!(
        said.contains("the hub refuses: ") && said.contains("secret is wrong"),
        "{said}"
    );

    let expired = token(fleet, "expired", &["--ttl", "1s"]).await?;
    tokio::time::sleep(Duration::from_millis(1500)).await; // the token's life is what is waited for
    let said = failed(join(&nave, &expired).await?)?;
    assert!(said.contains("the hub refuses: ") && said.contains("expired"), "{said}");
    assert!(said.contains("hub token create"), "it does not say what to do: {said}");

    let joined = join(&nave, &good).await?;
    let said = text(&joined);
    assert!(
        joined.status.success() && said.contains("joined as platform/staging"),
        "{said}"
    );
    connected(fleet, STAGING).await?;
    let said = failed(join(&nave, &good).await?)?;
    assert!(said.contains("joined already, as platform/staging"), "{said}");
    let secret = secrets.get(SECRET).await?;
    let used = secret.data.unwrap_or_default();
    assert!(!used.contains_key("token"), "a token that was used is kept");
    Ok(())
}

async fn token(fleet: &Fleet, name: &str, more: &[&str]) -> Result<String> {
    let arguments: Vec<&str> = ["--cluster", STAGING].iter().chain(more).copied().collect();
    Hub::token(&fleet.nave, WORKSPACE, name, &arguments).await
}

async fn join(nave: &Nave, token: &str) -> Result<Output> {
    nave.output(&["join", "--token", token, "--timeout", "60s"]).await
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What a command that must fail has said.
fn failed(output: Output) -> Result<String> {
    let said = text(&output);
    anyhow::ensure!(!output.status.success(), "it succeeded: {said}");
    eprintln!("--- nave join said\n{said}");
    Ok(said)
}
