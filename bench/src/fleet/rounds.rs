//! What is measured, in order.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{
    ask::{Answer, Ask, now_us},
    capture::{Capture, Seen},
    options::Options,
    pin,
    profile::Profile,
    report::Report,
    stage::{LARGE, MOVING, Stage, WORKSPACE, hub_writes, version},
    talk::Simulator,
    truth::{Arrived, Truth},
};
use crate::process;

/// The hub counts as at rest after so long without a write.
const QUIET: Duration = Duration::from_secs(10);
/// Agents whose status changes are timed.
const TOUCHED: usize = 200;
/// Agents that are started one by one.
const STARTED: usize = 10;
/// Changes of a busy agent in a second, and for how many seconds.
const STORM: (u32, u32) = (200, 5);

/// The cluster of the real agent.
const TRUTH: &str = "truth";

struct Bench {
    options: Options,
    stage: Stage,
    simulator: Simulator,
    /// The real agent, once it has joined.
    truth: Option<Truth>,
    report: Report,
}

/// Runs all of it.
pub async fn run(options: Options) -> Result<()> {
    pin::this(pin::OTHERS)?;
    eprintln!("► control plane, git server, hub");
    let stage = Stage::start(&options).await?;
    let mut simulator = Simulator::start(pin::OTHERS)?;
    let hub = stage.hub.link.clone();
    let profile = options.profile;
    simulator.ask(&Ask::Open { hub, profile }).await?;
    println!(
        "{} agents, {} fleet objects, {profile:?} ({})",
        options.agents,
        options.objects,
        profile.path()
    );
    let mut bench = Bench {
        options,
        stage,
        simulator,
        truth: None,
        report: Report::default(),
    };
    let end = bench.rounds().await;
    if let Some(path) = &bench.options.csv {
        bench.report.write(path, &bench.options)?;
    }
    if end.is_err() {
        let log = bench.stage.hub.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!(
            "the end of the hub's log:\n{}",
            lines[lines.len().saturating_sub(20)..].join("\n")
        );
    }
    end
}

impl Bench {
    async fn rounds(&mut self) -> Result<()> {
        let empty = self.memory("hub memory without agents")?;
        self.join().await?;
        if self.options.profile == Profile::UdpBlocked {
            self.starts().await?;
        }
        if !self.options.no_real_agent {
            self.be_true().await?;
        }
        self.deliver().await?;
        match self.options.profile {
            Profile::Metered => self.meter().await?,
            Profile::Skew => self.clocks().await?,
            _ => {}
        }
        if self.options.profile.is_steady() {
            self.rest(empty).await?;
            self.touch().await?;
        }
        self.commits().await?;
        self.kill().await?;
        if self.options.profile == Profile::UdpBlocked {
            self.heal().await?;
        }
        self.finish(empty).await
    }

    /// All agents at once, with tokens of many uses.
    async fn join(&mut self) -> Result<()> {
        let (agents, uses) = (self.options.agents, self.options.uses);
        let tokens = self.stage.tokens(agents, uses).await?;
        eprintln!("► {agents} agents join with {} tokens", tokens.len());
        let (hub, simulator) = self.cpu()?;
        let begun = now_us();
        let ask = Ask::Join { agents, tokens, uses };
        let Answer::Joined { took, retries } = self.simulator.ask(&ask).await? else {
            bail!("joining was answered with something else");
        };
        self.report
            .add("join storm, all joined", (now_us() - begun) as f64 / 1e6, "s", "");
        self.report.spread("join", &took, "");
        self.report
            .add("join attempts that had to be repeated", retries as f64, "", "");
        let (hub_after, simulator_after) = self.cpu()?;
        self.report.cpu("join, hub CPU", hub_after - hub, agents);
        self.report
            .cpu("join, simulator CPU", simulator_after - simulator, agents);
        Ok(())
    }

    /// A real agent joins beside the simulated ones, straight to the hub.
    async fn be_true(&mut self) -> Result<()> {
        eprintln!("► a real agent with a control plane of its own");
        let token = self.stage.token_of(TRUTH).await?;
        let names = self.options.names().chain([LARGE.to_owned()]);
        self.truth = Some(Truth::start(&token, names).await?);
        self.stage.connected(TRUTH).await
    }

    /// Clusters that get the fleet objects.
    fn clusters(&self) -> usize {
        self.options.agents + usize::from(self.truth.is_some())
    }

    /// Agents come one by one while UDP is swallowed: with a key, a certificate and a session of their own.
    async fn starts(&mut self) -> Result<()> {
        eprintln!("► {STARTED} agents more, one after another");
        let tokens = self.stage.more_tokens("late", STARTED, 1).await?;
        let Answer::Took { took } = self.simulator.ask(&Ask::Start { tokens }).await? else {
            bail!("starting was answered with something else");
        };
        self.options.agents += STARTED;
        self.report
            .spread("UDP blocked: start to session, the join included", &took, "<= 3000");
        Ok(())
    }

    /// UDP is let through.
    async fn heal(&mut self) -> Result<()> {
        eprintln!("► UDP is let through (a try may be four minutes away)");
        let Answer::Took { took } = self.simulator.ask(&Ask::Heal).await? else {
            bail!("healing was answered with something else");
        };
        self.report.spread("UDP open again: back on QUIC", &took, "<= 300000");
        let last = took.iter().max().copied().unwrap_or_default() as f64 / 1e6;
        self.report.add("UDP open again: all back on QUIC", last, "s", "<= 300");
        Ok(())
    }

    /// An operator says that every line is metered.
    async fn meter(&mut self) -> Result<()> {
        eprintln!("► every line is metered from now on");
        self.simulator.ask(&Ask::Mark).await?;
        self.stage.meter_all().await?;
        let Answer::Back { .. } = self.simulator.ask(&Ask::Back).await? else {
            bail!("coming back was answered with something else");
        };
        let enforced = self.stage.say("LinkProfile", "True", self.options.agents).await?;
        self.report
            .add("clusters whose metered profile is enforced", enforced as f64, "", "all");
        Ok(())
    }

    /// What the hub says of clocks that are wrong; their agents have joined and hold everything.
    async fn clocks(&mut self) -> Result<()> {
        let agents = self.options.agents;
        let wrong = (0..agents).filter(|number| number % 7 != 6).count();
        let first = (0..agents).filter(|number| number % 7 == 0).count();
        self.report
            .add("agents whose clock stands at 1970, in sync", first as f64, "", "all");
        let told = self.stage.say("ClockSynced", "False", wrong).await?;
        let bound = format!("{wrong} are wrong");
        self.report
            .add("clusters whose clock is told to be wrong", told as f64, "", &bound);
        Ok(())
    }

    /// The fleet objects reach every agent for the first time.
    async fn deliver(&mut self) -> Result<()> {
        eprintln!("► {} fleet objects", self.options.objects);
        let (hub, _) = self.cpu()?;
        let begun = now_us();
        self.stage.place(&self.options).await?;
        let (agents, items) = (self.options.agents, self.options.objects);
        self.simulator.ask(&Ask::Holding { items }).await?;
        self.report
            .add("first delivery, all in sync", (now_us() - begun) as f64 / 1e6, "s", "");
        if self.options.profile == Profile::Oversize {
            self.stage.refused(agents).await?;
            self.report
                .add("agents that refused the large object alone", agents as f64, "", "all");
        }
        let head = self.stage.head().await?;
        self.stage.reported(MOVING, &head, self.clusters()).await?;
        if let Some(truth) = &self.truth {
            truth.arrived(&head, "0").await?;
        }
        self.report.add(
            "first delivery, the hub reports it",
            (now_us() - begun) as f64 / 1e6,
            "s",
            "",
        );
        let (hub_after, _) = self.cpu()?;
        self.report.cpu("first delivery, hub CPU", hub_after - hub, agents);
        Ok(())
    }

    /// Nothing happens: bytes, CPU, writes, memory.
    async fn rest(&mut self, empty: f64) -> Result<()> {
        eprintln!("► at rest (cluster statuses are written first, five in a second)");
        self.stage.at_rest(QUIET).await?;
        let audit = self.stage.plane.audit()?;
        let mark = audit.mark()?;
        let (hub, simulator) = self.cpu()?;
        let before = self.simulator.sum().await?;
        let seconds = self.options.idle_seconds();
        let capture = Capture::start(self.stage.port()?);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let captured = capture.map(Capture::finish);
        let after = self.simulator.sum().await?;
        let (hub_after, simulator_after) = self.cpu()?;
        let (agents, hours) = (self.options.agents as f64, seconds as f64 / 3600.0);
        let bytes = after.bytes.saturating_sub(before.bytes) as f64;
        self.report.add(
            "idle traffic per agent and hour",
            bytes / agents / hours / 1024.0,
            "KiB",
            self.options.idle_bound(),
        );
        self.captured(captured, hours);
        let datagrams = after.datagrams.saturating_sub(before.datagrams) as f64;
        self.report
            .add("idle datagrams per agent and hour", datagrams / agents / hours, "", "");
        let share = |used: Duration| 100.0 * used.as_secs_f64() / (hours * 3600.0);
        self.report.add("idle, hub CPU", share(hub_after - hub), "%", "");
        self.report.add(
            "idle, hub CPU per 1,000 agents",
            share(hub_after - hub) * 1000.0 / agents,
            "%",
            "",
        );
        self.report
            .add("idle, simulator CPU", share(simulator_after - simulator), "%", "");
        let writes = hub_writes(&audit.since(mark)?);
        self.report
            .add("idle, writes of the hub but leases", writes as f64, "", "0");
        self.slope("at rest", empty)
    }

    /// The same on the wire, of the real agent too: the hub's port is looked at.
    fn captured(&mut self, captured: std::io::Result<Seen>, hours: f64) {
        let clusters = self.clusters() as f64;
        match captured {
            Ok(seen) => {
                let each = seen.bytes as f64 / clusters / hours / 1024.0;
                let bound = self.options.idle_bound();
                self.report
                    .add("idle traffic per agent and hour, captured", each, "KiB", bound);
                let each = seen.packets as f64 / clusters / hours;
                self.report
                    .add("idle packets per agent and hour, captured", each, "", "");
            }
            Err(error) => eprintln!("► no capture of the idle traffic: {error} (it takes CAP_NET_RAW)"),
        }
    }

    /// One status changes here, and many in one place.
    async fn touch(&mut self) -> Result<()> {
        eprintln!("► status changes");
        let agents = TOUCHED.min(self.options.agents);
        if let Answer::Touched { took, .. } = self.simulator.ask(&Ask::Touch { agents }).await? {
            let bound = self.options.profile.latency("<= 250");
            self.report.spread("status change known to the hub", &took, bound);
        }
        let (per_second, seconds) = STORM;
        let others = agents.saturating_sub(1);
        if others == 0 {
            return Ok(());
        }
        let storm = Ask::Storm {
            per_second,
            seconds,
            others,
        };
        if let Answer::Touched {
            took,
            last_took,
            changes,
        } = self.simulator.ask(&storm).await?
        {
            self.report.add("busy agent, changes", changes as f64, "", "");
            self.report.add(
                "busy agent, last change known after",
                last_took as f64 / 1e3,
                "ms",
                self.options.profile.latency("<= 250"),
            );
            let bound = self.options.profile.latency("<= 250");
            self.report.spread("others meanwhile", &took, bound);
        }
        Ok(())
    }

    /// A push until every agent has it and the hub knows.
    async fn commits(&mut self) -> Result<()> {
        let agents = self.options.agents;
        let (mut applied_all, mut seen_all, mut last, mut told) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut truly_applied, mut truly_ready) = (Vec::new(), Vec::new());
        let (hub, simulator) = self.cpu()?;
        for round in 1..=self.options.commits {
            eprintln!("► commit {round}");
            let commit = self.stage.commit(round).await?;
            let pushed = now_us();
            let ask = Ask::Applied {
                item: format!("FleetKustomization/{WORKSPACE}/{MOVING}"),
                revision: commit.clone(),
            };
            let truth = async {
                match &self.truth {
                    Some(truth) => truth.arrived(&commit, &version(round)).await.map(Some),
                    None => Ok(None),
                }
            };
            let (answer, truth) = tokio::try_join!(self.simulator.ask(&ask), truth)?;
            let Answer::Applied { applied, seen } = answer else {
                bail!("a commit was answered with something else");
            };
            if let Some(Arrived { applied, ready }) = truth {
                truly_applied.push(applied.saturating_sub(pushed));
                truly_ready.push(ready.saturating_sub(pushed));
            }
            let since = |times: &[u64]| times.iter().map(|at| at.saturating_sub(pushed)).collect::<Vec<_>>();
            applied_all.extend(since(&applied));
            seen_all.extend(since(&seen));
            last.extend(since(&seen).into_iter().max());
            self.stage.reported(MOVING, &commit, self.clusters()).await?;
            told.push(now_us() - pushed);
        }
        let (hub_after, simulator_after) = self.cpu()?;
        self.report.spread("commit to applied", &applied_all, "");
        let bound = self.options.profile.latency("<= 2000");
        self.report.spread("commit to applied and seen", &seen_all, bound);
        if self.truth.is_some() {
            self.report.spread("real agent: commit to applied", &truly_applied, "");
            self.report
                .spread("real agent: commit to ready in its own cluster", &truly_ready, "");
        }
        self.report
            .spread("commit to seen of the last agent, by commit", &last, "");
        self.report
            .spread("commit to the fleet object's status, by commit", &told, "");
        let rounds = self.options.commits.max(1) as u32;
        self.report
            .cpu("one commit, hub CPU", (hub_after - hub) / rounds, agents);
        self.report.cpu(
            "one commit, simulator CPU",
            (simulator_after - simulator) / rounds,
            agents,
        );
        Ok(())
    }

    /// The hub dies and comes again.
    async fn kill(&mut self) -> Result<()> {
        eprintln!("► kill -9 of the hub");
        let agents = self.options.agents;
        let before = self.simulator.sum().await?;
        self.simulator.ask(&Ask::Mark).await?;
        self.stage.hub.kill9();
        let killed = now_us();
        self.stage.hub.restart().await?;
        self.stage.hold()?;
        let ready = now_us();
        let answer = self.simulator.ask(&Ask::Back).await?;
        let Answer::Back {
            first_packet,
            welcomed,
            synced,
            bytes,
        } = answer
        else {
            bail!("coming back was answered with something else");
        };
        let last = |times: &[u64]| times.iter().copied().max().unwrap_or_default();
        let from_packet: Vec<u64> = synced
            .iter()
            .zip(&first_packet)
            .map(|(end, begin)| end.saturating_sub(*begin))
            .collect();
        let bound = if agents <= 1000 { "<= 2" } else { "<= 10" };
        let tail = last(&synced).saturating_sub(last(&first_packet)) as f64 / 1e6;
        self.report.add(
            "after -9: from the last agent's first packet to all in sync",
            tail,
            "s",
            bound,
        );
        self.report
            .spread("after -9: one agent, first packet to in sync", &from_packet, "");
        let since = |from: u64, times: &[u64]| last(times).saturating_sub(from) as f64 / 1e6;
        self.report
            .add("after -9: hub ready again", (ready - killed) as f64 / 1e6, "s", "");
        self.report.add(
            "after -9: last first packet, from the kill",
            since(killed, &first_packet),
            "s",
            "",
        );
        self.report.add(
            "after -9: last welcome, from the kill",
            since(killed, &welcomed),
            "s",
            "",
        );
        self.report
            .add("after -9: all in sync, from the kill", since(killed, &synced), "s", "");
        let mut bytes = bytes;
        bytes.sort_unstable();
        let middle = super::report::percentile(&bytes, 0.5) as f64 / 1024.0;
        self.report
            .add("after -9: bytes from welcome to sync, p50", middle, "KiB", "<= 2");
        let (hub, _) = self.cpu()?;
        self.report.cpu("after -9: hub CPU since its start", hub, agents);
        let after = self.simulator.sum().await?;
        self.report
            .add("after -9: items sent again", (after.puts - before.puts) as f64, "", "0");
        self.report.add(
            "after -9: items deleted",
            (after.deletes - before.deletes) as f64,
            "",
            "0",
        );
        Ok(())
    }

    async fn finish(&mut self, empty: f64) -> Result<()> {
        self.slope("after it all", empty)?;
        let sum = self.simulator.sum().await?;
        self.report
            .add("packets lost on the present connections", sum.lost as f64, "", "");
        self.report.add("connections in all", sum.connections as f64, "", "");
        self.report.add("items deleted in all", sum.deletes as f64, "", "0");
        anyhow::ensure!(sum.deletes == 0, "nobody asked for a deletion");
        let (resident, _) = process::memory(self.simulator.pid()?)?;
        self.report.add("simulator memory", resident, "MiB", "");
        Ok(())
    }

    /// Memory of the hub with its agents, and what one agent more costs.
    fn slope(&mut self, when: &str, empty: f64) -> Result<()> {
        let now = self.memory(&format!("hub memory {when}"))?;
        let each = (now - empty) * 1024.0 / self.options.agents as f64;
        self.report
            .add(&format!("memory per agent {when}"), each, "KiB", "<= 64");
        let gib = 1024.0 * 1024.0 / each.max(0.001);
        self.report.add(&format!("agents in a GiB {when}"), gib, "", ">= 16000");
        Ok(())
    }

    fn memory(&mut self, name: &str) -> Result<f64> {
        let (resident, anonymous) = process::memory(self.stage.hub_pid()?)?;
        self.report
            .add(name, resident, "MiB", &format!("({anonymous:.1} anonymous)"));
        Ok(resident)
    }

    /// CPU of the hub and of the simulator so far.
    fn cpu(&self) -> Result<(Duration, Duration)> {
        let simulator = self.simulator.pid().context("the simulator runs")?;
        Ok((process::cpu(self.stage.hub_pid()?)?, process::cpu(simulator)?))
    }
}
