//! What must not outlive this process: its children with their whole process groups, and its scratch folder.
//!
//! A shell script waits at the other end of a pipe that only we hold. Whatever ends us (return, panic, Ctrl-C, SIGTERM,
//! SIGKILL) closes the pipe, and the script kills every group still listed and removes the folder. Signal handlers and
//! exit hooks were ruled out: they miss SIGKILL and fight with those of the program under test. As a second net the
//! kernel kills each child when the thread that started it ends; hence one thread, which never ends, starts them all
//! (a worker of a test's runtime would take a shared plane with it).

use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

use anyhow::{Context as _, Result};
use nix::sys::signal::{SigHandler, Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Reads `+ <group>` and `- <group>`, and acts when the input ends. The loop at the end gives dying processes the time
/// to stop writing into the folder.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
groups=' '
while read -r verb group; do
  case $verb in
    +) groups="$groups$group " ;;
    -) groups="${groups%% $group *} ${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
for attempt in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" 2>/dev/null && break; sleep 0.1; done
"#;

struct Keeper {
    root: PathBuf,
    script: Mutex<ChildStdin>,
    requests: Mutex<mpsc::Sender<Request>>,
}

struct Request {
    command: Command,
    reply: mpsc::Sender<io::Result<Child>>,
}

/// Makes a folder that is removed when the value is dropped, and at the latest when this process ends.
pub fn scratch_dir(prefix: &str) -> Result<TempDir> {
    let root = &keeper()?.root;
    tempfile::Builder::new()
        .prefix(&format!("{prefix}-"))
        .tempdir_in(root)
        .with_context(|| format!("creating a folder in {}", root.display()))
}

/// Starts a child at the head of a process group of its own, which dies with us.
pub(crate) fn spawn(command: Command) -> Result<Child> {
    let keeper = keeper()?;
    let what = format!("starting {}", command.get_program().display());
    let (reply, answer) = mpsc::channel();
    keeper
        .requests
        .lock()
        .expect("nothing panics while it holds the sender")
        .send(Request { command, reply })
        .expect("the spawning thread never ends");
    let child = answer
        .recv()
        .expect("the spawning thread answers every request")
        .context(what)?;
    keeper.tell('+', child.id());
    Ok(child)
}

/// Kills the whole group of a child that was started by [`spawn`]. A group that is gone is not an error.
pub(crate) fn kill_group(child: &Child) {
    let _ = killpg(group_of(child), Signal::SIGKILL);
}

/// Forgets a child that has been waited for: its number may soon be somebody else's.
pub(crate) fn forget(child: &Child) {
    if let Ok(keeper) = keeper() {
        keeper.tell('-', child.id());
    }
}

/// The process group that `spawn` put the child in.
pub(crate) fn group_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("Linux numbers processes below 2^22"))
}

fn keeper() -> Result<&'static Keeper> {
    static KEEPER: OnceLock<std::result::Result<Keeper, String>> = OnceLock::new();
    KEEPER
        .get_or_init(|| Keeper::start().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

impl Keeper {
    fn start() -> Result<Keeper> {
        let root = tempfile::Builder::new()
            .prefix("nave-bed-")
            .tempdir()
            .context("creating a scratch folder")?
            .keep();
        let (requests, inbox) = mpsc::channel::<Request>();
        let script = start_script(&root)?;
        thread::Builder::new()
            .name("bed-spawner".into())
            .spawn(move || {
                for Request { mut command, reply } in inbox {
                    // Whoever asked waits for the answer, so the receiver is there.
                    let _ = reply.send(spawn_here(&mut command));
                }
            })
            .context("starting the spawning thread")?;
        Ok(Keeper {
            root,
            script: Mutex::new(script),
            requests: Mutex::new(requests),
        })
    }

    fn tell(&self, verb: char, group: u32) {
        let mut script = self.script.lock().expect("nothing panics while it holds the pipe");
        // Without the script the kernel's request to kill the children with us remains.
        let _ = writeln!(script, "{verb} {group}");
    }
}

fn start_script(root: &Path) -> Result<ChildStdin> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT, "nave-bed-keeper"])
        .arg(root)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting the keeper script with /bin/sh")?;
    Ok(child.stdin.take().expect("standard input was asked to be a pipe"))
}

fn spawn_here(command: &mut Command) -> io::Result<Child> {
    command.process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and sigaction are bare system calls.
    // A shell starts what runs in the background with some signals ignored: children begin without that.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| {
            for ignored in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGHUP] {
                nix::sys::signal::signal(ignored, SigHandler::SigDfl)?;
            }
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
        });
    }
    command.spawn()
}
