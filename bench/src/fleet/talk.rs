//! The bench's end of the pipe to its simulator.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::ask::{Answer, Ask, Sum};

/// The simulator's process; it ends when its standard input does, however this process ends.
pub struct Simulator {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Simulator {
    /// Starts this very program again, on `core`.
    pub fn start(core: usize) -> Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args(["fleet-simulator", "--core", &core.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the simulator")?;
        let input = child.stdin.take().context("the simulator has no standard input")?;
        let output = child.stdout.take().context("the simulator has no standard output")?;
        Ok(Simulator {
            child,
            input,
            output: BufReader::new(output).lines(),
        })
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("the simulator has ended")
    }

    /// Asks and waits for the answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Answer> {
        let mut line = serde_json::to_string(ask)?;
        line.push('\n');
        self.input
            .write_all(line.as_bytes())
            .await
            .context("asking the simulator")?;
        let line = self.output.next_line().await.context("hearing the simulator")?;
        let line = line.context("the simulator ended")?;
        match serde_json::from_str(&line).context("understanding the simulator")? {
            Answer::Failed { why } => bail!("the simulator: {why}"),
            answer => Ok(answer),
        }
    }

    /// What all agents come to.
    pub async fn sum(&mut self) -> Result<Sum> {
        match self.ask(&Ask::Sum).await? {
            Answer::Sum(sum) => Ok(sum),
            other => bail!("the simulator answered {other:?}"),
        }
    }
}
