//! A program of ours that can be killed and started again with the same arguments.

use std::time::Duration;

use anyhow::{Context, Result};
use nave_bed::{Launch, Proc, binary, free_tcp_port};

/// How long a program may take until it is ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// How long it may take to end when asked.
const STOP_WITHIN: Duration = Duration::from_secs(30);

/// One program over all its lives.
pub struct Program {
    name: &'static str,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    health: String,
    process: Option<Proc>,
    /// What its former lives logged.
    past: String,
}

impl Program {
    /// Not started yet. `health` is the `host:port` of its health server.
    pub fn new(name: &'static str, arguments: Vec<String>, health: &str) -> Self {
        Program {
            name,
            arguments,
            environment: Vec::new(),
            health: format!("http://{health}/readyz"),
            process: None,
            past: String::new(),
        }
    }

    /// Sets an environment variable for all lives to come.
    pub fn env(&mut self, key: &str, value: &str) {
        self.environment.push((key.to_owned(), value.to_owned()));
    }

    /// Starts it and does not wait; builds it first if need be.
    pub fn launch(&mut self) -> Result<()> {
        self.kill9();
        let program = tokio::task::block_in_place(|| binary(self.name))?;
        let mut launch = Launch::new(self.name, program).args(&self.arguments);
        for (key, value) in &self.environment {
            launch = launch.env(key, value);
        }
        self.process = Some(launch.start()?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    pub async fn wait_ready(&self) -> Result<()> {
        let process = self
            .process
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))?;
        process.wait_ready(&self.health, READY_WITHIN).await
    }

    /// Kills it with -9 and leaves it dead.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
            self.past += &process.log();
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    pub async fn stop(&mut self) -> Result<()> {
        if let Some(process) = self.process.take_if(|process| process.is_running()) {
            process.terminate(STOP_WITHIN).await?;
            self.past += &process.log();
        }
        Ok(())
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        let process = self.process.as_ref().filter(|process| process.is_running());
        process.map(Proc::pid)
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        self.process
            .as_ref()
            .with_context(|| format!("{} is not running", self.name))?
            .resident_kib()
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        let now = self.process.as_ref().map(Proc::log).unwrap_or_default();
        format!("{}{now}", self.past)
    }
}

/// `127.0.0.1:PORT` with free ports.
pub fn local_addresses<const N: usize>() -> Result<[String; N]> {
    let mut addresses = [const { String::new() }; N];
    for address in &mut addresses {
        *address = format!("127.0.0.1:{}", free_tcp_port()?);
    }
    Ok(addresses)
}
