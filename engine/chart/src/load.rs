//! Charts from archives and folders.

mod archive;
mod files;
mod folder;
mod ignore;
mod pattern;

use std::io;

use crate::{DecodeError, InvalidMetadata};

pub use archive::load_archive;
pub use files::load_files;
pub use folder::load_folder;
pub use ignore::{IgnoreError, IgnoreRules};
pub(crate) use pattern::matches;

/// How large a chart may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Bytes of all files together, those of packed charts inside counted again; Helm's default is 100 MiB.
    pub total_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Files, those of charts inside counted, too.
    pub files: usize,
    /// Charts inside charts.
    pub levels: usize,
}

impl Default for LoadLimits {
    fn default() -> LoadLimits {
        LoadLimits {
            total_bytes: 100 << 20,
            file_bytes: 100 << 20,
            files: 50_000,
            levels: 24,
        }
    }
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no gzip.
    #[error("stream does not appear to be a valid chart file: it is no gzipped archive")]
    NotGzip,
    /// The archive is broken.
    #[error("unable to load chart archive")]
    Archive(#[source] io::Error),
    /// The archive is empty.
    #[error("no files in chart archive")]
    Empty,
    /// An entry has a path that starts with `/`.
    #[error("chart illegally contains absolute paths: {path:?}")]
    AbsolutePath {
        /// The entry.
        path: String,
    },
    /// An entry is not below the one folder that an archive has.
    #[error("chart illegally contains content outside the base directory: {path:?}")]
    OutsideBase {
        /// The entry.
        path: String,
    },
    /// An entry has a path that leads out of the chart.
    #[error("chart illegally references parent directory: {path:?}")]
    ParentDirectory {
        /// The entry.
        path: String,
    },
    /// An entry has a path like `c:/a`.
    #[error("chart contains illegally named files: {path:?}")]
    DrivePath {
        /// The entry.
        path: String,
    },
    /// `Chart.yaml` stands beside the base folder.
    #[error("chart yaml not in base directory")]
    ChartYamlOutside,
    /// All files together are too large.
    #[error("decompressed chart is larger than the maximum size {limit}")]
    TooLarge {
        /// The most bytes there may be.
        limit: u64,
    },
    /// One file is too large.
    #[error("decompressed chart file {path:?} is larger than the maximum file size {limit}")]
    FileTooLarge {
        /// The file.
        path: String,
        /// The most bytes it may have.
        limit: u64,
    },
    /// There are too many files.
    #[error("chart has more than {limit} files")]
    TooManyFiles {
        /// The most there may be.
        limit: usize,
    },
    /// Charts are in charts in charts.
    #[error("charts are nested in more than {limit} levels")]
    TooDeep {
        /// The most there may be.
        limit: usize,
    },
    /// There is no `Chart.yaml`.
    #[error("Chart.yaml file is missing")]
    NoChartYaml,
    /// The chart is of a later kind.
    #[error("unsupported chart version: Chart.yaml has apiVersion {version:?}, and v1 and v2 are known")]
    ApiVersion {
        /// What `Chart.yaml` says.
        version: String,
    },
    /// A file of the chart cannot be read.
    #[error("cannot load {file}")]
    File {
        /// Which.
        file: String,
        /// What is wrong in it.
        #[source]
        source: DecodeError,
    },
    /// `Chart.yaml` says what it must not.
    #[error(transparent)]
    Invalid(#[from] InvalidMetadata),
    /// `.helmignore` has a line that means nothing.
    #[error("cannot load .helmignore")]
    Ignore(#[source] IgnoreError),
    /// An entry of `charts/` ends in `.tgz` and is a folder.
    #[error("error unpacking subchart tar in {chart}: expected {name}, got {found}")]
    PackedFolder {
        /// The chart above.
        chart: String,
        /// The entry.
        name: String,
        /// What is in it.
        found: String,
    },
    /// A chart in `charts/` cannot be loaded.
    #[error("error unpacking subchart {name} in {chart}")]
    Subchart {
        /// The entry in `charts/`.
        name: String,
        /// The chart above.
        chart: String,
        /// What is wrong with it.
        #[source]
        source: Box<LoadError>,
    },
}

/// What is left of [`LoadLimits`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    limits: LoadLimits,
    bytes: u64,
    files: usize,
    levels: usize,
}

impl Budget {
    pub(crate) fn new(limits: &LoadLimits) -> Budget {
        Budget {
            limits: *limits,
            bytes: limits.total_bytes,
            files: limits.files,
            levels: limits.levels,
        }
    }

    /// Takes one file of this size.
    pub(crate) fn take(&mut self, path: &str, size: u64) -> Result<(), LoadError> {
        if size > self.limits.file_bytes {
            return Err(LoadError::FileTooLarge {
                path: path.to_owned(),
                limit: self.limits.file_bytes,
            });
        }
        let limit = self.limits.total_bytes;
        self.bytes = self.bytes.checked_sub(size).ok_or(LoadError::TooLarge { limit })?;
        let limit = self.limits.files;
        self.files = self.files.checked_sub(1).ok_or(LoadError::TooManyFiles { limit })?;
        Ok(())
    }

    /// Goes one level down.
    pub(crate) fn enter(&mut self) -> Result<(), LoadError> {
        let limit = self.limits.levels;
        self.levels = self.levels.checked_sub(1).ok_or(LoadError::TooDeep { limit })?;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.levels += 1;
    }
}
