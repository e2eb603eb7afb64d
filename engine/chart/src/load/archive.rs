//! Packed charts: gzipped tar archives with one folder at the top.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use tar::{Archive, EntryType};

use super::files::load_chart;
use super::{Budget, LoadError, LoadLimits};
use crate::text::clean_path;
use crate::{Chart, File};

/// Loads a packed chart (`.tgz`).
///
/// # Errors
/// The archive is broken, larger than `limits` once unpacked, has paths that lead out of it, or holds no valid chart.
pub fn load_archive(bytes: &[u8], limits: &LoadLimits) -> Result<Chart, LoadError> {
    load_packed(bytes, &mut Budget::new(limits), true)
}

pub(super) fn load_packed(bytes: &[u8], budget: &mut Budget, top: bool) -> Result<Chart, LoadError> {
    let files = unpack(bytes, budget)?;
    load_chart(files, budget, top)
}

/// A stream that ends with an error, not silently, where too much has come out of it.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("it is much larger than its files"));
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.stream.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

fn unpack(bytes: &[u8], budget: &mut Budget) -> Result<Vec<File>, LoadError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(LoadError::NotGzip);
    }
    let stream = Bounded {
        stream: MultiGzDecoder::new(bytes),
        // Headers and padding take at most 1.5 KiB for each file, or a little more with long names.
        left: budget.bytes.saturating_add(4096 * (budget.files as u64 + 1)),
    };
    let mut archive = Archive::new(stream);
    let mut files = Vec::new();
    for entry in archive.entries().map_err(LoadError::Archive)? {
        let entry = entry.map_err(LoadError::Archive)?;
        let kind = entry.header().entry_type();
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if kind == EntryType::Directory || name.ends_with('/') {
            continue;
        }
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            continue;
        }
        let path = entry_path(&name)?;
        let size = entry.size();
        budget.take(&path, size)?;
        let modified = entry.header().mtime().ok();
        let modified = modified.and_then(|seconds| Timestamp::from_second(i64::try_from(seconds).ok()?).ok());
        // The size comes from the header, and memory is taken as the content comes.
        let mut data = Vec::new();
        let read = entry.take(size).read_to_end(&mut data).map_err(LoadError::Archive)?;
        if (read as u64) < size {
            return Err(LoadError::Archive(io::ErrorKind::UnexpectedEof.into()));
        }
        files.push(File {
            name: path,
            data: without_mark(&data).into(),
            modified,
        });
    }
    if files.is_empty() {
        return Err(LoadError::Empty);
    }
    Ok(files)
}

/// Content without a byte order mark.
pub(super) fn without_mark(data: &[u8]) -> &[u8] {
    data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data)
}

/// The path in the chart: without the first folder, with `/`, and not leading out.
fn entry_path(name: &str) -> Result<String, LoadError> {
    let path = || name.to_owned();
    let separator = if name.contains('\\') { '\\' } else { '/' };
    let (first, rest) = name.split_once(separator).unwrap_or((name, ""));
    let rest = rest.replace(separator, "/");
    if rest.starts_with('/') {
        return Err(LoadError::AbsolutePath { path: path() });
    }
    let clean = clean_path(&rest);
    if clean == "." {
        return Err(match first {
            "Chart.yaml" => LoadError::ChartYamlOutside,
            _ => LoadError::OutsideBase { path: path() },
        });
    }
    if clean.starts_with("..") {
        return Err(LoadError::ParentDirectory { path: path() });
    }
    let bytes = clean.as_bytes();
    if bytes.len() > 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && bytes[2] == b'/' {
        return Err(LoadError::DrivePath { path: path() });
    }
    if first == "Chart.yaml" {
        return Err(LoadError::ChartYamlOutside);
    }
    Ok(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_refused() {
        for (name, problem) in [
            ("web//etc/passwd", "absolute paths"),
            ("web/../../etc/passwd", "parent directory"),
            ("web/..", "parent directory"),
            ("web", "outside the base"),
            ("/", "outside the base"),
            ("web/c:/windows/x", "illegally named"),
            ("web\\c:\\windows", "illegally named"),
            ("Chart.yaml", "not in base"),
            ("Chart.yaml/a", "not in base"),
        ] {
            let error = entry_path(name).expect_err(name).to_string();
            assert!(error.contains(problem), "{name}: {error}");
        }
        assert_eq!(entry_path("web/./templates//a.yaml").unwrap(), "templates/a.yaml");
        assert_eq!(entry_path("web\\templates\\a.yaml").unwrap(), "templates/a.yaml");
        assert_eq!(entry_path("./web/Chart.yaml").unwrap(), "web/Chart.yaml");
    }
}
