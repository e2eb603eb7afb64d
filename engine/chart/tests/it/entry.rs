//! What bytes mean to the fuzz targets; `fuzz/fuzz_targets` includes this file.

use nave_chart::{LoadLimits, RenderLimits, RenderRequest, Values, load_archive, load_folder, render};

const LIMITS: LoadLimits = LoadLimits {
    total_bytes: 1 << 20,
    file_bytes: 1 << 20,
    files: 1000,
    levels: 8,
};

/// Files behind lines `== path` are a chart, which is rendered.
pub fn folder(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let files = text.split("\n== ").filter_map(|file| {
        let (path, content) = file.split_once('\n')?;
        Some((path.trim_start_matches("== ").to_owned(), content.as_bytes().to_vec()))
    });
    if let Ok(chart) = load_folder(files.collect::<Vec<_>>(), &LIMITS) {
        let mut request = RenderRequest::install("name", "space", Values::new());
        request.limits = RenderLimits {
            fuel: 200_000,
            bytes: 4 << 20,
            ..RenderLimits::default()
        };
        drop(render(&chart, &request));
    }
}

/// The bytes are a packed chart.
pub fn archive(bytes: &[u8]) {
    drop(load_archive(bytes, &LIMITS));
}
