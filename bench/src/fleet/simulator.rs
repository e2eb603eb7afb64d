//! The simulator: does what it is asked, line by line, until nobody asks any more.

use std::{
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nave_identity::JoinToken;
use nave_quic::WallClock;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use super::{
    ask::{Answer, Ask, Sum, now_us},
    profile::{Path, Profile},
    spoke::{Board, Spoke},
};

/// Nothing that is waited for takes this long when it works.
const GIVE_UP: Duration = Duration::from_secs(900);
/// How often a wait looks, besides when it is told.
const LOOK: Duration = Duration::from_millis(200);

struct Simulator {
    board: Arc<Board>,
    spokes: Vec<Spoke>,
    profile: Profile,
    path: Option<Path>,
}

/// Answers what comes in on standard input, until it ends.
pub async fn simulate() -> Result<()> {
    nave_bed::install_crypto_provider();
    let mut simulator = Simulator {
        board: Arc::default(),
        spokes: Vec::new(),
        profile: Profile::Lan,
        path: None,
    };
    let mut lines = asked();
    while let Some(line) = lines.recv().await {
        let ask: Ask = serde_json::from_str(&line).with_context(|| format!("understanding {line}"))?;
        let answer = simulator.answer(ask).await.unwrap_or_else(|error| Answer::Failed {
            why: format!("{error:#}"),
        });
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    simulator.spokes.iter().for_each(Spoke::stop);
    Ok(())
}

/// The lines of standard input, read by a thread of their own. One question waits for its answer, so there is room.
fn asked() -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { return };
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receive
}

impl Simulator {
    async fn answer(&mut self, ask: Ask) -> Result<Answer> {
        match ask {
            Ask::Open { hub, profile } => {
                (self.path, self.profile) = (Some(profile.open(&hub)?), profile);
                Ok(Answer::Opened)
            }
            Ask::Join { agents, tokens, uses } => self.join(agents, &tokens, uses).await,
            Ask::Applied { item, revision } => self.applied(&item, &revision).await,
            Ask::Holding { items } => self.holding(items).await,
            Ask::Mark => {
                for spoke in &self.spokes {
                    let mut memory = spoke.state.lock();
                    (memory.attempt, memory.welcomed, memory.synced) = (0, 0, 0);
                }
                Ok(Answer::Marked)
            }
            Ask::Back => self.back().await,
            Ask::Touch { agents } => self.touch(agents).await,
            Ask::Storm {
                per_second,
                seconds,
                others,
            } => self.storm(per_second, seconds, others).await,
            Ask::Start { tokens } => self.start(&tokens).await,
            Ask::Heal => self.heal().await,
            Ask::Sum => Ok(Answer::Sum(self.sum())),
        }
    }

    async fn join(&mut self, agents: usize, tokens: &[String], uses: usize) -> Result<Answer> {
        let address = self.path.as_ref().context("the path is not open")?.address.clone();
        let mut joins = JoinSet::new();
        let first = self.spokes.len();
        for number in first..first + agents {
            let text = tokens
                .get((number - first) / uses.max(1))
                .context("there are not enough tokens")?;
            let mut token: JoinToken = text.parse().context("reading a token")?;
            token.addresses = vec![address.clone()];
            let (board, most) = (self.board.clone(), self.profile.max_item_bytes());
            let clock = self.clock(number);
            let name = format!("sim-{number:05}");
            joins.spawn(async move { Spoke::join(name, &token, (most, clock), board).await });
        }
        let mut took = Vec::new();
        while let Some(joined) = joins.join_next().await {
            let (spoke, time) = joined.context("an agent panicked")??;
            self.spokes.push(spoke);
            took.push(time);
        }
        let retries = self.board.retries.swap(0, Ordering::Relaxed);
        Ok(Answer::Joined { took, retries })
    }

    fn clock(&self, number: usize) -> WallClock {
        let now = i64::try_from(now_us() / 1_000_000).unwrap_or_default();
        self.profile.clock(number, now)
    }

    async fn start(&mut self, tokens: &[String]) -> Result<Answer> {
        let path = self.path.as_ref().context("the path is not open")?;
        let (address, mut took) = (path.address.clone(), Vec::new());
        for text in tokens {
            let mut token: JoinToken = text.parse().context("reading a token")?;
            token.addresses = vec![address.clone()];
            let number = self.spokes.len();
            let terms = (self.profile.max_item_bytes(), self.clock(number));
            let begun = now_us();
            let (spoke, _) = Spoke::join(format!("sim-{number:05}"), &token, terms, self.board.clone()).await?;
            let deadline = Instant::now() + GIVE_UP;
            let welcomed = loop {
                let welcomed = spoke.state.lock().welcomed;
                if welcomed > 0 {
                    break welcomed;
                }
                self.pause(deadline, "the first session of an agent").await?;
            };
            took.push(welcomed.saturating_sub(begun));
            self.spokes.push(spoke);
        }
        Ok(Answer::Took { took })
    }

    async fn heal(&self) -> Result<Answer> {
        self.path.as_ref().context("the path is not open")?.heal();
        let (begun, deadline) = (now_us(), Instant::now() + GIVE_UP);
        let mut took = vec![0; self.spokes.len()];
        loop {
            for (took, _) in took
                .iter_mut()
                .zip(&self.spokes)
                .filter(|(took, spoke)| **took == 0 && spoke.is_over_quic())
            {
                *took = now_us() - begun;
            }
            let left = took.iter().filter(|took| **took == 0).count();
            if left == 0 {
                return Ok(Answer::Took { took });
            }
            self.pause(deadline, &format!("{left} agents to come over QUIC"))
                .await?;
        }
    }

    async fn applied(&self, item: &str, revision: &str) -> Result<Answer> {
        let at = |spoke: &Spoke| {
            let memory = spoke.state.lock();
            let applied = memory
                .items
                .get(item)
                .filter(|applied| applied.revision.ends_with(revision))?;
            (applied.at > 0 && memory.synced >= applied.at).then_some((applied.at, memory.synced))
        };
        let (applied, seen) = self
            .wait(&format!("{item} at {revision}"), at)
            .await?
            .into_iter()
            .unzip();
        Ok(Answer::Applied { applied, seen })
    }

    async fn holding(&self, items: usize) -> Result<Answer> {
        let at = |spoke: &Spoke| {
            let memory = spoke.state.lock();
            let ready = memory.items.values().filter(|applied| applied.at > 0).count();
            (ready == items && memory.synced > 0).then_some(memory.synced)
        };
        let seen = self.wait(&format!("{items} items that are ready"), at).await?;
        Ok(Answer::Applied {
            applied: Vec::new(),
            seen,
        })
    }

    async fn back(&self) -> Result<Answer> {
        let at = |spoke: &Spoke| {
            let memory = spoke.state.lock();
            let done = memory.welcomed > 0 && memory.synced >= memory.welcomed;
            let bytes = memory.synced_bytes.saturating_sub(memory.welcome_bytes);
            done.then_some((memory.attempt, memory.welcomed, memory.synced, bytes))
        };
        let rows = self.wait("a new session that is in sync", at).await?;
        Ok(Answer::Back {
            first_packet: rows.iter().map(|row| row.0).collect(),
            welcomed: rows.iter().map(|row| row.1).collect(),
            synced: rows.iter().map(|row| row.2).collect(),
            bytes: rows.iter().map(|row| row.3).collect(),
        })
    }

    async fn touch(&self, agents: usize) -> Result<Answer> {
        let took = self.touch_each(agents, 0).await?;
        Ok(Answer::Touched {
            took,
            last_took: 0,
            changes: agents as u64,
        })
    }

    /// Changes of `agents` agents after the first `skip`, 5 ms apart, and how long each took.
    async fn touch_each(&self, agents: usize, skip: usize) -> Result<Vec<u64>> {
        let chosen: Vec<&Spoke> = self.spokes.iter().skip(skip).take(agents).collect();
        ensure!(!chosen.is_empty(), "there are no agents to choose from");
        let mut begun = Vec::new();
        for spoke in &chosen {
            begun.push(now_us());
            ensure!(spoke.touch(), "an agent has no item to report");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let deadline = Instant::now() + GIVE_UP;
        let mut took = Vec::new();
        for (spoke, begun) in chosen.iter().zip(begun) {
            loop {
                let synced = spoke.synced();
                if synced >= begun {
                    took.push(synced - begun);
                    break;
                }
                self.pause(deadline, "a change that the hub knows").await?;
            }
        }
        Ok(took)
    }

    async fn storm(&self, per_second: u32, seconds: u32, others: usize) -> Result<Answer> {
        let busy = self.spokes.first().context("there are no agents")?;
        let changes = u64::from(per_second) * u64::from(seconds);
        let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second.max(1));
        let storm = async {
            for _ in 0..changes {
                tick.tick().await;
                ensure!(busy.touch(), "the busy agent has no item to report");
            }
            Ok(now_us())
        };
        let (last, took) = tokio::try_join!(storm, self.touch_each(others, 1))?;
        let deadline = Instant::now() + GIVE_UP;
        while busy.synced() < last {
            self.pause(deadline, "the busy agent's last change at the hub").await?;
        }
        Ok(Answer::Touched {
            took,
            last_took: busy.synced() - last,
            changes,
        })
    }

    fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for spoke in &self.spokes {
            let (bytes, datagrams, lost) = spoke.state.traffic();
            let memory = spoke.state.lock();
            sum.connected += usize::from(memory.welcomed > 0);
            sum.connections += memory.connections;
            sum.items += memory.items.len();
            sum.puts += memory.puts;
            sum.deletes += memory.deletes;
            sum.bytes += bytes;
            sum.datagrams += datagrams;
            sum.lost += lost;
        }
        sum
    }

    /// Waits until `at` has something for every agent.
    async fn wait<T>(&self, what: &str, at: impl Fn(&Spoke) -> Option<T>) -> Result<Vec<T>> {
        let deadline = Instant::now() + GIVE_UP;
        loop {
            let found: Vec<T> = self.spokes.iter().filter_map(&at).collect();
            if found.len() == self.spokes.len() {
                return Ok(found);
            }
            let words = format!("{what} ({} of {} agents)", found.len(), self.spokes.len());
            self.pause(deadline, &words).await?;
        }
    }

    /// Until something changes, or a little while.
    async fn pause(&self, deadline: Instant, what: &str) -> Result<()> {
        if Instant::now() > deadline {
            bail!("waited in vain for {what}");
        }
        // A thousand agents change things in bursts: one look for all of them.
        let _ = tokio::time::timeout(LOOK, self.board.changed.notified()).await;
        tokio::time::sleep(LOOK / 10).await;
        Ok(())
    }
}
