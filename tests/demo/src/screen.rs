//! What the demo shows: a spinner with the step on a terminal, plain lines elsewhere.

use std::{
    cell::RefCell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use nave_demo::Fleet;

/// The terminal, or whatever standard error is.
pub struct Screen {
    bar: Option<ProgressBar>,
    step: RefCell<Option<(String, Instant)>>,
}

impl Screen {
    /// Spinners only on a terminal.
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is well formed"),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Screen {
            bar,
            step: RefCell::default(),
        }
    }

    /// Ends the step before and begins this one.
    pub fn step(&self, name: &str) {
        self.end_step();
        match &self.bar {
            Some(bar) => {
                bar.reset_elapsed();
                bar.set_message(name.to_owned());
            }
            None => eprintln!("► {name}"),
        }
        self.step.replace(Some((name.to_owned(), Instant::now())));
    }

    /// Ends the step with what came of it.
    pub fn done(&self, result: &str) {
        self.end_step();
        self.print(&format!("✔ {result}"));
    }

    /// A line that stays.
    pub fn note(&self, text: &str) {
        self.print(&format!("  {text}"));
    }

    /// Shows the state of the fleet objects until the future is dropped.
    pub async fn follow(&self, fleet: &Fleet) -> Result<()> {
        let mut last = String::new();
        loop {
            let mut parts = Vec::new();
            for name in ["infrastructure", "apps"] {
                let object = fleet.fleet_kustomization(name).await?;
                let clusters = &object["status"]["clusters"];
                parts.push(format!(
                    "{name} {}/{}",
                    clusters["ready"].as_u64().unwrap_or(0),
                    clusters["selected"].as_u64().unwrap_or(0)
                ));
            }
            let text = format!("clusters ready: {}", parts.join(", "));
            if text != last {
                match &self.bar {
                    Some(bar) => bar.set_message(text.clone()),
                    None => eprintln!("  {text}"),
                }
                last = text;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    fn end_step(&self) {
        if let Some((name, began)) = self.step.take() {
            let took = began.elapsed().as_secs_f64();
            if took >= 0.1 {
                self.print(&format!("✔ {name} ({took:.1} s)"));
            }
        }
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.end_step();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
