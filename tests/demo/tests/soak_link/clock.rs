//! Wall clocks of processes that can be set, each for itself.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result, ensure};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Where a hub's clock may jump to: what happens to servers, an hour or weeks of either sign.
pub const OF_A_HUB: [Jump; 4] = [
    Jump::By(-40 * DAY),
    Jump::By(-2 * HOUR),
    Jump::By(2 * HOUR),
    Jump::By(20 * DAY),
];
/// Where an agent's clock may jump to: small machines also begin in 1970, or in years that have not come.
pub const OF_AN_AGENT: [Jump; 5] = [
    Jump::To1970,
    Jump::By(-40 * DAY),
    Jump::By(2 * HOUR),
    Jump::By(20 * DAY),
    Jump::By(3_650 * DAY),
];

/// What a clock does at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Seconds.
    By(i64),
    To1970,
}

/// What makes clocks settable, compiled.
pub struct Preload(PathBuf);

impl Preload {
    /// Compiles it into `folder`.
    pub fn compile(folder: &Path) -> Result<Self> {
        let library = folder.join("libclock.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soak_link/clock/preload.rs");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let status = Command::new(rustc)
            .args(["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "-o"])
            .args([&library, &source])
            .status()
            .context("running rustc")?;
        ensure!(
            status.success(),
            "rustc could not compile {}: {status}",
            source.display()
        );
        Ok(Preload(library))
    }
}

/// The clock of one process.
pub struct Clock {
    file: PathBuf,
    library: PathBuf,
}

impl Clock {
    /// One that is right, kept in `file`.
    pub fn make(preload: &Preload, file: PathBuf) -> Result<Self> {
        fs::write(&file, 0_i64.to_le_bytes()).with_context(|| format!("writing {}", file.display()))?;
        let library = preload.0.clone();
        Ok(Clock { file, library })
    }

    /// What the process must have in its environment.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("NAVE_TEST_CLOCK", self.file.display().to_string()),
        ]
    }

    /// Sets it.
    pub fn jump(&self, jump: Jump) -> Result<()> {
        let seconds = match jump {
            Jump::By(seconds) => seconds,
            Jump::To1970 => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
                60 - i64::try_from(now.as_secs())?
            }
        };
        self.write(seconds)
    }

    /// Makes it right again.
    pub fn mend(&self) -> Result<()> {
        self.write(0)
    }

    fn write(&self, seconds: i64) -> Result<()> {
        let file = OpenOptions::new().write(true).open(&self.file)?;
        file.write_all_at(&seconds.to_le_bytes(), 0)
            .with_context(|| format!("writing {}", self.file.display()))
    }
}

#[test]
fn a_process_sees_the_clock_that_it_was_given() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let preload = Preload::compile(folder.path())?;
    let clock = Clock::make(&preload, folder.path().join("clock"))?;
    let year = |clock: &Clock| -> Result<String> {
        let output = Command::new("date")
            .args(["-u", "+%Y"])
            .envs(clock.environment())
            .output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let now = year(&clock)?;
    clock.jump(Jump::To1970)?;
    assert_eq!(year(&clock)?, "1970");
    clock.jump(Jump::By(Duration::from_hours(24 * 3_650).as_secs().cast_signed()))?;
    assert!(year(&clock)? > now, "{now}");
    clock.mend()?;
    assert_eq!(year(&clock)?, now);
    Ok(())
}
