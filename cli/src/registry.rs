//! Container registries as the artifact verbs reach them: what is typed, whose credentials, which files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use nave_artifact::{File, FileTree, Ignore, Limits};
use nave_net::{BasicAuth, SecretData, SecretText};
use nave_oci::{Access, Credentials, DockerConfig, Registries, Remote, Repository};

use crate::failure::advised;

/// How to get into a registry.
#[derive(Debug, Clone, clap::Args)]
pub struct RegistryArguments {
    /// User and password as <user>:<password>, or a token; else those of `docker login` are used
    #[arg(long, value_name = "CREDENTIALS")]
    creds: Option<String>,
    /// Who authenticates; only generic is there
    #[arg(long, default_value = "generic", value_name = "NAME")]
    provider: Provider,
    /// Allow plain HTTP and certificates that nobody vouches for
    #[arg(long)]
    insecure_registry: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Provider {
    Generic,
    Aws,
    Azure,
    Gcp,
}

impl RegistryArguments {
    /// The repository of a URL, and the tag or digest in it.
    pub fn open(&self, url: &str) -> Result<(Remote, Option<String>)> {
        if self.provider != Provider::Generic {
            return Err(advised(
                "--provider: logging in to cloud providers is not supported by this version",
                "log in with the provider's own tool and docker login, and leave --provider out",
            ));
        }
        let (repository, reference) = Repository::from_url_with_reference(url)?;
        let access = Access {
            credentials: self.credentials(&repository)?,
            insecure: self.insecure_registry,
            ..Access::default()
        };
        Ok((Registries::default().open(&repository, access)?, reference))
    }

    fn credentials(&self, repository: &Repository) -> Result<Credentials> {
        if let Some(given) = &self.creds {
            return Ok(match given.split_once(':') {
                Some((username, password)) => Credentials::Basic(BasicAuth {
                    username: username.to_owned(),
                    password: SecretText::new(password),
                }),
                // As Flux has it: a token goes in the place of a password, with a user name that says so.
                None => Credentials::Basic(BasicAuth {
                    username: "flux".to_owned(),
                    password: SecretText::new(given.as_str()),
                }),
            });
        }
        of_config(docker_config(), repository).map(Option::unwrap_or_default)
    }
}

/// What `helm registry login` or `docker login` left for a registry.
///
/// # Errors
/// A file of credentials that cannot be read.
pub fn login(repository: &Repository) -> Result<Credentials> {
    match of_config(helm_config(), repository)? {
        Some(credentials) => Ok(credentials),
        None => of_config(docker_config(), repository).map(Option::unwrap_or_default),
    }
}

fn of_config(path: Option<PathBuf>, repository: &Repository) -> Result<Option<Credentials>> {
    let Some((path, text)) = path.and_then(|path| fs::read(&path).ok().map(|text| (path, text))) else {
        return Ok(None);
    };
    let data = SecretData::from([(".dockerconfigjson".to_owned(), text)]);
    let config = DockerConfig::from_secret(&data).with_context(|| format!("reading {}", path.display()))?;
    Ok(config.credentials_for(repository).cloned())
}

fn helm_config() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    if let Some(path) = set("HELM_REGISTRY_CONFIG") {
        return Some(path);
    }
    let home = || Some(std::env::home_dir()?.join(".config"));
    let folder = match set("HELM_CONFIG_HOME") {
        Some(folder) => folder,
        None => set("XDG_CONFIG_HOME").or_else(home)?.join("helm"),
    };
    Some(folder.join("registry/config.json"))
}

fn docker_config() -> Option<PathBuf> {
    let folder = match std::env::var_os("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir()?.join(".docker"),
    };
    Some(folder.join("config.json"))
}

/// Limit for one request to a registry; a layer may be large and the line slow.
pub const REQUEST: Duration = Duration::from_secs(600);

/// The tag of a URL that has to name one.
pub fn tag_of(url: &str, reference: Option<String>) -> Result<String> {
    match reference {
        Some(reference) if !reference.contains(':') => Ok(reference),
        _ => bail!("{url} names no tag, such as oci://<registry>/<repository>:<tag>"),
    }
}

/// What stays out of an artifact unless something else is said: Flux's list.
pub const IGNORED: &str =
    ".git/,.gitignore,.gitmodules,.gitattributes,*.jpg,*.jpeg,*.gif,*.png,*.wmv,*.flv,*.tar.gz,*.zip";

/// The files below a directory, or the one file, without what is ignored. Symbolic links are left out as Flux leaves them
/// out, or followed.
///
/// # Errors
/// The disk's, a path that is no text, a link that leads nowhere.
pub fn files(path: &Path, ignored: &[String], follow_links: bool) -> Result<FileTree> {
    let metadata = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    let mut reader = Reader {
        ignore: Ignore::new([], Some(&ignored.join("\n"))),
        follow_links,
        limits: Limits::default(),
        tree: FileTree::new(),
        above: BTreeSet::new(),
    };
    if metadata.is_file() {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.with_context(|| format!("{} is no text", path.display()))?;
        reader.file(path, name)?;
    } else {
        reader.directory(path, "")?;
    }
    Ok(reader.tree)
}

struct Reader {
    ignore: Ignore,
    follow_links: bool,
    limits: Limits,
    tree: FileTree,
    /// Directories on the way here, so that links do not go in circles.
    above: BTreeSet<PathBuf>,
}

impl Reader {
    fn directory(&mut self, path: &Path, relative: &str) -> Result<()> {
        let shown = || path.display().to_string();
        let real = path.canonicalize().with_context(|| format!("reading {}", shown()))?;
        ensure!(self.above.insert(real.clone()), "{} leads back to itself", shown());
        for entry in fs::read_dir(path).with_context(|| format!("listing {}", shown()))? {
            let entry = entry.with_context(|| format!("listing {}", shown()))?;
            let name = entry.file_name();
            let name = name
                .to_str()
                .with_context(|| format!("{} is no text", entry.path().display()))?;
            let below = if relative.is_empty() {
                name.to_owned()
            } else {
                format!("{relative}/{name}")
            };
            let mut kind = entry.file_type()?;
            if kind.is_symlink() {
                if !self.follow_links {
                    continue;
                }
                kind = fs::metadata(entry.path())
                    .with_context(|| format!("following {}", entry.path().display()))?
                    .file_type();
            }
            if kind.is_dir() {
                self.directory(&entry.path(), &below)?;
            } else if kind.is_file() {
                self.file(&entry.path(), &below)?;
            }
        }
        self.above.remove(&real);
        Ok(())
    }

    fn file(&mut self, path: &Path, relative: &str) -> Result<()> {
        if self.ignore.excludes(relative) {
            return Ok(());
        }
        let data = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        ensure!(
            self.tree.bytes() + data.len() as u64 <= self.limits.bytes && self.tree.len() < self.limits.files,
            "there are more than {} bytes or {} files",
            self.limits.bytes,
            self.limits.files
        );
        let file = File {
            executable: is_executable(path)?,
            data: data.into(),
        };
        self.tree.insert(relative, file)?;
        Ok(())
    }
}

#[cfg(unix)]
fn is_executable(path: &Path) -> Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_path: &Path) -> Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn files_links_and_what_is_ignored() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let root = dir.path();
        fs::create_dir_all(root.join("a/.git"))?;
        fs::write(root.join("a/.git/config"), "x")?;
        fs::write(root.join("a/app.yaml"), "1")?;
        fs::write(root.join("a/logo.png"), "x")?;
        std::os::unix::fs::symlink("app.yaml", root.join("a/link.yaml"))?;
        let paths = |tree: &FileTree| -> Vec<String> { tree.iter().map(|(path, _)| path.to_owned()).collect() };
        assert_eq!(paths(&files(root, &ignored(IGNORED), false)?), ["a/app.yaml"]);
        assert_eq!(
            paths(&files(root, &ignored(IGNORED), true)?),
            ["a/app.yaml", "a/link.yaml"]
        );
        assert_eq!(paths(&files(&root.join("a/app.yaml"), &[], false)?), ["app.yaml"]);
        std::os::unix::fs::symlink("..", root.join("a/up"))?;
        assert!(
            files(root, &[], true)
                .unwrap_err()
                .to_string()
                .contains("leads back to itself")
        );
        Ok(())
    }

    #[test]
    fn tags_are_needed() {
        assert_eq!(tag_of("u", Some("v1".into())).unwrap(), "v1");
        assert!(tag_of("u", None).is_err());
        assert!(tag_of("u", Some("sha256:0".into())).is_err());
    }
}
