//! A child process with its log, that is gone when its handle is.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use tempfile::TempDir;

use crate::keeper;
use crate::wait::eventually;

/// Lines of the log that are shown when something goes wrong.
const TAIL_LINES: usize = 40;

/// What to start; ends in [`Launch::start`].
#[derive(Debug)]
pub struct Launch {
    name: String,
    command: Command,
    stdout: Option<PathBuf>,
    hold_stdin: bool,
}

/// A running child. Dropping it kills its whole process group; while panicking, the end of its log is printed first.
#[derive(Debug)]
pub struct Proc {
    name: String,
    pid: u32,
    log: PathBuf,
    child: Mutex<Child>,
    /// Closed when we end, which a child may take as its own end.
    _stdin: Option<ChildStdin>,
    _dir: TempDir,
}

impl Launch {
    /// Prepares `program` under a name that is used in messages and for its log file.
    pub fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Launch {
        Launch {
            name: name.into(),
            command: Command::new(program),
            stdout: None,
            hold_stdin: false,
        }
    }

    /// Adds one argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Launch {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Launch {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable; the rest of our environment is passed on.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Launch {
        self.command.env(key, value);
        self
    }

    /// Keeps a variable of our environment from the child.
    pub fn env_remove(mut self, key: impl AsRef<OsStr>) -> Launch {
        self.command.env_remove(key);
        self
    }

    /// Passes nothing of our environment on but `PATH`.
    pub fn env_clear(mut self) -> Launch {
        let path: Option<OsString> = std::env::var_os("PATH");
        self.command.env_clear().envs(path.map(|path| ("PATH", path)));
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, dir: impl AsRef<Path>) -> Launch {
        self.command.current_dir(dir);
        self
    }

    /// Writes standard output to a file of its own instead of the log.
    pub fn stdout_to(mut self, file: impl Into<PathBuf>) -> Launch {
        self.stdout = Some(file.into());
        self
    }

    /// Gives the child a standard input that stays open until the handle is dropped or this process ends.
    pub fn hold_stdin(mut self) -> Launch {
        self.hold_stdin = true;
        self
    }

    /// Starts the process. Its log goes to the folder named by `NAVE_BED_LOGS`, where it stays, or to a scratch folder.
    pub fn start(self) -> Result<Proc> {
        let Launch {
            name,
            mut command,
            stdout,
            hold_stdin,
        } = self;
        let dir = keeper::scratch_dir(&name)?;
        let log = match std::env::var_os("NAVE_BED_LOGS") {
            Some(logs) => {
                fs::create_dir_all(&logs).with_context(|| format!("creating {}", Path::new(&logs).display()))?;
                let scratch = dir.path().file_name().unwrap_or_default().to_string_lossy();
                Path::new(&logs).join(format!("{scratch}.log"))
            }
            None => dir.path().join("log"),
        };
        let create = |path: &Path| File::create(path).with_context(|| format!("creating {}", path.display()));
        let errors = create(&log)?;
        command.stdout(match &stdout {
            Some(path) => create(path)?,
            None => errors.try_clone().context("sharing the log file")?,
        });
        command.stderr(errors);
        command.stdin(if hold_stdin { Stdio::piped() } else { Stdio::null() });
        let mut child = keeper::spawn(command).with_context(|| format!("starting {name}"))?;
        Ok(Proc {
            name,
            pid: child.id(),
            log,
            _stdin: child.stdin.take(),
            child: Mutex::new(child),
            _dir: dir,
        })
    }
}

impl Proc {
    /// The name it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, which is also the id of its process group.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file with its standard error (and output).
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// All it has written so far.
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines it has written.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// How it ended, or nothing while it runs.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.locked().try_wait().ok().flatten()
    }

    /// Whether it has not ended yet. A paused process runs.
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none()
    }

    /// Waits until `url` answers 200. Fails at once when the process ends, with the end of its log.
    ///
    /// A certificate is not checked: what is asked is whether somebody is there.
    pub async fn wait_ready(&self, url: &str, deadline: Duration) -> Result<()> {
        crate::tls::install_crypto_provider();
        let client = reqwest::Client::builder()
            .tls_danger_accept_invalid_certs(true)
            .timeout(Duration::from_secs(5))
            .build()
            .context("building an HTTP client")?;
        self.wait_until(&format!("{url} to answer"), deadline, || async {
            client.get(url).send().await?.error_for_status()?;
            Ok(())
        })
        .await
    }

    /// Waits until the log contains `text`. Fails at once when the process ends without it.
    pub async fn wait_log(&self, text: &str, deadline: Duration) -> Result<()> {
        self.wait_until(&format!("{text:?} in its log"), deadline, || async {
            if self.log().contains(text) {
                Ok(())
            } else {
                bail!("it is not there")
            }
        })
        .await
    }

    /// Waits until it ends by itself.
    pub async fn wait_exit(&self, deadline: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        eventually(deadline, &what, || async {
            self.exit_status().context("it is running")
        })
        .await
        .with_context(|| self.last_words())
    }

    /// Asks it to end (SIGTERM) and kills it when it has not after `grace`. Returns how it ended.
    pub async fn terminate(&self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        if let Ok(status) = self.wait_exit(grace).await {
            return Ok(status);
        }
        self.kill9();
        self.wait_exit(grace).await
    }

    /// Kills it and all its children, as a power cut would.
    pub fn kill9(&self) {
        keeper::kill_group(&self.locked());
    }

    /// Stops it from running (SIGSTOP): connections stay open, and nobody answers.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Lets it run again.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal to its process group.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.locked();
        killpg(keeper::group_of(&child), signal).with_context(|| format!("sending {signal} to {}", self.name))
    }

    /// Resident memory of the process itself, in KiB.
    pub fn resident_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix("VmRSS:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .trim()
                    .parse()
                    .ok()
            })
            .with_context(|| format!("finding VmRSS in {path}"))
    }

    async fn wait_until<F>(&self, what: &str, deadline: Duration, mut condition: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        let what = format!("{}: {what}", self.name);
        let ended = eventually(deadline, &what, || {
            let ended = self.exit_status();
            let check = condition();
            async move {
                match check.await {
                    Ok(()) => Ok(None),
                    Err(error) if ended.is_none() => Err(error),
                    Err(_) => Ok(ended),
                }
            }
        })
        .await
        .with_context(|| self.last_words())?;
        match ended {
            None => Ok(()),
            Some(status) => bail!("waiting for {what}: it ended with {status}\n{}", self.last_words()),
        }
    }

    fn last_words(&self) -> String {
        format!("the log of {} ends with:\n{}", self.name, self.log_tail(TAIL_LINES))
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().expect("nothing panics while it holds the child")
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.last_words());
        }
        let mut child = self.locked();
        keeper::kill_group(&child);
        let _ = child.wait();
        keeper::forget(&child);
    }
}
