//! A line that lives while something is waited for; nothing of it is left when it is done.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shown on a terminal only, and only when the wait takes longer than a second.
pub struct Progress {
    bar: ProgressBar,
    shown: Option<tokio::task::JoinHandle<()>>,
}

impl Progress {
    /// A wait without a known length.
    pub fn spinner(message: impl Into<String>) -> Progress {
        Progress::start(ProgressBar::hidden(), "{spinner} {msg} ({elapsed})", message.into())
    }

    /// A wait for `total` things.
    pub fn bar(total: usize, message: impl Into<String>) -> Progress {
        Progress::start(
            ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::hidden()),
            "{spinner} {msg} [{bar:30}] {pos}/{len} ({elapsed})",
            message.into(),
        )
    }

    /// What is being waited for now.
    pub fn message(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Prints something else meanwhile, which stays.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// One of the things is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    fn start(bar: ProgressBar, template: &str, message: String) -> Progress {
        let style = ProgressStyle::with_template(template)
            .expect("the templates above are valid")
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_message(message);
        let shown = tokio::runtime::Handle::try_current().ok().map(|runtime| {
            let bar = bar.clone();
            runtime.spawn(async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                // indicatif draws nothing when stderr is no terminal.
                bar.set_draw_target(ProgressDrawTarget::stderr());
                bar.enable_steady_tick(Duration::from_millis(120));
            })
        });
        Progress { bar, shown }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.shown.take() {
            task.abort();
        }
        self.bar.finish_and_clear();
    }
}
