//! `make soak S=store`: a process that stores, links, collects and serves is killed at random moments. Whatever is served is
//! whole, and what was said to be stored is there.

use std::{
    io::Write as _,
    path::Path,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use nave_store::{Options, Owner, Retention, Store};
use rand::{Rng as _, RngCore as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// Set for the process that is killed; without it that test does nothing.
const DIRECTORY: &str = "NAVE_SOAK_STORE";
const FIRST: &str = "NAVE_SOAK_FIRST";
/// The address of a storage that it shares with others, if it does.
const SHARED: &str = "NAVE_SOAK_SHARED";
/// Artifacts have up to so many bytes: some writes take longer than others.
const LARGEST: usize = 1 << 20;
/// Written in pieces, so that a kill finds half a file.
const PIECE: usize = 16 << 10;
/// The kill comes within this time of the first artifact of a process.
const WINDOW_MILLIS: u64 = 400;
const DEADLINE: Duration = Duration::from_secs(60);

fn number(variable: &str, default: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text} is no number")),
        Err(_) => Ok(default),
    }
}

pub fn owner() -> Owner {
    Owner::new("Bucket", "soak", "object").expect("the names are plain")
}

pub fn name(number: u64) -> String {
    format!("{number}.tar.gz")
}

/// The content of one artifact, which its number decides, and begins with.
pub fn content(number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(number);
    let mut data = vec![0; random.random_range(8..LARGEST)];
    random.fill_bytes(&mut data);
    data[..8].copy_from_slice(&number.to_le_bytes());
    data
}

fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory, "store.example");
    // Everything but the newest two is garbage at once.
    options.retention = Retention {
        ttl: Duration::ZERO,
        records: 2,
    };
    options
}

/// The process that is killed: this test binary again, with only this test in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_child() -> Result<()> {
    let Ok(directory) = std::env::var(DIRECTORY) else {
        return Ok(()); // it is not asked for
    };
    let mut options = options(Path::new(&directory));
    if let Ok(address) = std::env::var(SHARED) {
        nave_net::install_crypto_provider();
        options.shared = Some(nave_store::s3_with_keys(&address, Some(nave_bed::S3Server::KEYS))?);
    }
    let store = Store::open(options)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let say = |line: String| -> Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "soak {line}")?;
        Ok(out.flush()?)
    };
    say(format!("serving {}", listener.local_addr()?))?;
    let routes = store.routes();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    for number in number(FIRST, 0)?.. {
        let data = content(number);
        store
            .put_with(&owner(), &name(number), move |out| {
                data.chunks(PIECE).try_for_each(|piece| out.write_all(piece))
            })
            .await?;
        store.link(&owner(), "latest.tar.gz", &name(number)).await?;
        say(format!("stored {number}"))?;
        store.collect(&owner(), &name(number), SystemTime::now()).await?;
    }
    Ok(())
}

/// A process, and what it says.
pub struct Running {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    address: String,
}

impl Running {
    pub async fn start(directory: &Path, first: u64, shared: Option<&str>) -> Result<Running> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--exact", "soak::soak_child", "--nocapture"])
            .env(DIRECTORY, directory)
            .env(FIRST, first.to_string())
            .envs(shared.map(|address| (SHARED, address)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the process with the store")?;
        let lines = BufReader::new(child.stdout.take().context("it has an output")?).lines();
        let mut running = Running {
            child,
            lines,
            address: String::new(),
        };
        running.address = running.said("serving ").await?.context("it serves")?;
        Ok(running)
    }

    /// What follows `word` in the next line that has it; none when the process is gone.
    pub async fn said(&mut self, word: &str) -> Result<Option<String>> {
        let reading = async {
            while let Ok(Some(line)) = self.lines.next_line().await {
                if let Some(rest) = line.split_once("soak ").and_then(|(_, rest)| rest.strip_prefix(word)) {
                    return Some(rest.to_owned());
                }
            }
            None
        };
        tokio::time::timeout(DEADLINE, reading)
            .await
            .context("the process says nothing")
    }
}

/// A file, if it is answered to the end. The process may be killed meanwhile, or collect it.
async fn download(client: &reqwest::Client, address: &str, file: &str) -> Result<Option<Vec<u8>>> {
    let url = format!("http://{address}/{}/{file}", owner().directory());
    let Ok(response) = client.get(url).send().await else {
        return Ok(None);
    };
    if response.status() == 404 {
        return Ok(None);
    }
    ensure!(
        response.status().is_success(),
        "{file} is answered with {}",
        response.status()
    );
    Ok(response.bytes().await.ok().map(|body| body.to_vec()))
}

/// Asks for the newest artifact by its link and by its name; how many answers were complete, all of them whole.
async fn check_served(client: &reqwest::Client, address: &str) -> Result<u64> {
    let Some(latest) = download(client, address, "latest.tar.gz").await? else {
        return Ok(0);
    };
    let number = latest.first_chunk().map(|first| u64::from_le_bytes(*first));
    let number = number.context("less is served than anybody stored")?;
    ensure!(
        latest == content(number),
        "{number} is served with {} bytes, not whole",
        latest.len()
    );
    match download(client, address, &name(number)).await? {
        Some(body) => ensure!(
            body == latest,
            "{number} is served with {} bytes, not whole",
            body.len()
        ),
        None => return Ok(1),
    }
    Ok(2)
}

/// Everything that has a name is whole, and the newest that was said to be stored is there.
fn check_disk(directory: &Path, newest: u64) -> Result<()> {
    let folder = directory.join(owner().directory());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with('.') || entry.file_type()?.is_symlink() {
            continue;
        }
        let number: u64 = file
            .strip_suffix(".tar.gz")
            .context("only artifacts lie here")?
            .parse()
            .context("artifacts are numbered")?;
        ensure!(std::fs::read(entry.path())? == content(number), "{file} is damaged");
        found.push(number);
    }
    ensure!(
        found.contains(&newest),
        "{newest} was stored and is lost; {found:?} are there"
    );
    let latest = std::fs::read_link(folder.join("latest.tar.gz")).context("the link is there")?;
    ensure!(
        folder.join(&latest).is_file(),
        "the link leads to {}, which is not there",
        latest.display()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_store() -> Result<()> {
    let (seed, rounds) = (number("SEED", 1)?, number("ROUNDS", 20)?);
    let directory = tempfile::tempdir()?;
    nave_net::install_crypto_provider();
    let client = reqwest::Client::new();
    let whole = Arc::new(AtomicU64::new(0));
    let mut next = 0;
    for round in 1..=rounds {
        let failed = || format!("seed {seed}, round {round}");
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(round));
        let mut running = Running::start(directory.path(), next, None)
            .await
            .with_context(failed)?;
        let mut newest: u64 = running.said("stored ").await?.context("it stores something")?.parse()?;
        let (address, counted, asking) = (running.address.clone(), whole.clone(), client.clone());
        let reader = tokio::spawn(async move {
            loop {
                match check_served(&asking, &address).await? {
                    0 if tokio::net::TcpStream::connect(&address).await.is_err() => return anyhow::Ok(()),
                    count => counted.fetch_add(count, Ordering::Relaxed),
                };
            }
        });
        // The fault itself, not the proof: when it comes is what the seed decides.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..WINDOW_MILLIS))).await;
        running.child.kill().await?; // SIGKILL
        while let Some(line) = running.said("stored ").await? {
            newest = line.parse()?;
        }
        reader.await?.with_context(failed)?;
        check_disk(directory.path(), newest).with_context(failed)?;
        next = newest + 1;
    }
    // The next process finds nothing half-written.
    let _store = Store::open(options(directory.path()))?;
    let folder = directory.path().join(owner().directory());
    for entry in std::fs::read_dir(folder)? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        ensure!(!file.starts_with(".tmp-"), "{file} is left over");
    }
    let whole = whole.load(Ordering::Relaxed);
    ensure!(whole > 0, "nothing was read while the processes ran");
    println!("{rounds} kills, {next} artifacts, {whole} downloads whole");
    Ok(())
}
