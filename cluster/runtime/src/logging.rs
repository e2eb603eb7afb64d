//! Logs on standard error: JSON lines for a cluster, plain text for a terminal.

mod json;

use tracing_subscriber::{EnvFilter, fmt, fmt::format::JsonFields, layer::SubscriberExt, util::SubscriberInitExt};

/// How log lines are written (`--log-encoding`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Console,
}

/// Libraries speak up only when something is wrong; ours follow `--log-level`.
fn filter(level: &str) -> EnvFilter {
    let ours = match level {
        "trace" | "debug" | "info" | "warn" | "error" => level,
        _ => "info",
    };
    // Targets match by prefix: `nave` covers every crate of ours.
    EnvFilter::new(format!("warn,nave={ours}"))
}

/// Starts logging. `RUST_LOG` wins over `level` where it is set. A second call does nothing.
pub fn init(level: &str, encoding: Encoding) {
    let filter = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::new(text),
        _ => filter(level),
    };
    let registry = tracing_subscriber::registry().with(filter);
    let _ = match encoding {
        Encoding::Json => registry
            .with(
                fmt::layer()
                    .event_format(json::Lines)
                    .fmt_fields(JsonFields::new())
                    .with_writer(std::io::stderr),
            )
            .try_init(),
        Encoding::Console => registry
            .with(
                fmt::layer()
                    .with_target(false)
                    .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                    .with_writer(std::io::stderr),
            )
            .try_init(),
    };
}
