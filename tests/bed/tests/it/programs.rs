//! The programs of the workspace are built and run as the test was built.

use anyhow::Result;
use nave_bed::{Launch, binary};

use crate::DEADLINE;

#[tokio::test]
async fn a_program_of_the_workspace_is_built_once_and_runs() -> Result<()> {
    let program = tokio::task::spawn_blocking(|| binary("bed")).await??;
    assert_eq!(binary("bed")?, program);
    let process = Launch::new("bed", &program).arg("--version").start()?;
    assert!(process.wait_exit(DEADLINE).await?.success());
    assert_eq!(process.log(), format!("bed {}\n", env!("CARGO_PKG_VERSION")));
    Ok(())
}
