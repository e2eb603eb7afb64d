//! From the command line to an exit code.

use std::{io::IsTerminal, process::ExitCode};

use crate::{
    arguments::CommandLine,
    failure::{Coded, Quiet},
    hints, later, say,
};

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let command_line = later::parse::<CommandLine>();
    // The one that kube is built with; another crate may have installed the same one first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say::failure(&format!("starting the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = Box::pin(command_line.run()) => outcome,
            // A progress bar hides the cursor; leaving through here gives it back.
            _ = interrupted() => Err(anyhow::Error::new(Quiet { code: 130 })),
        }
    });
    // Whatever still waits for the network must not delay the prompt.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(quiet) = error.downcast_ref::<Quiet>() {
                return ExitCode::from(quiet.code);
            }
            let (code, error) = match error.downcast::<Coded>() {
                Ok(Coded { code, error }) => (ExitCode::from(code), error),
                Err(error) => (ExitCode::FAILURE, error),
            };
            // `nave get all | head` ends the reader early; that is no failure.
            if hints::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            say::failure(&hints::describe(&error));
            for hint in hints::hints(&error) {
                say::hint(&hint);
            }
            code
        }
    }
}

async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the default action of the signal ends the process.
        std::future::pending::<()>().await;
    }
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}
