//! Versions of charts that carry the digest of where they came from.

use std::sync::Arc;

use nave_chart::Chart;

/// Charts that come with a digest in their revision carry it in their version, so that a tag that was pushed again is
/// a new version. Gives the digest, too.
pub(crate) fn with_digest(
    chart: Arc<Chart>,
    kind: &str,
    revision: &str,
    is_disabled: bool,
) -> Result<(Arc<Chart>, String), String> {
    let has_digest = kind == "OCIRepository" || kind == "ExternalArtifact" && revision.contains(':');
    if !has_digest || is_disabled {
        return Ok((chart, String::new()));
    }
    let (tag, digest) = revision.split_once('@').unwrap_or(("", revision));
    let Some((_, hex)) = digest.split_once(':') else {
        return Err(format!("revision {revision:?} has no digest"));
    };
    let plain = |version: &str| {
        version
            .split('+')
            .next()
            .unwrap_or_default()
            .trim_start_matches('v')
            .to_owned()
    };
    let version = plain(&chart.metadata.version);
    if is_version(&plain(tag)) && plain(tag) != version {
        return Err(format!(
            "artifact revision {tag} does not match chart version {version}"
        ));
    }
    let mut changed = (*chart).clone();
    let base = chart.metadata.version.split('+').next().unwrap_or_default();
    let short: String = hex.chars().take(12).collect();
    changed.metadata.version = format!("{base}+{short}");
    Ok((Arc::new(changed), digest.to_owned()))
}

/// Three numbers, and perhaps something behind a dash.
fn is_version(text: &str) -> bool {
    let numbers = text.split('-').next().unwrap_or_default();
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() == 3
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use nave_chart::{File, LoadLimits, load_files};

    use super::*;

    #[test]
    fn versions_of_charts_from_registries_carry_the_digest() {
        let text = "apiVersion: v2\nname: shop\nversion: 1.2.3+old\n";
        let files = [File::new("Chart.yaml", text.as_bytes())];
        let chart = Arc::new(load_files(files, &LoadLimits::default()).expect("it is a chart"));
        let check = |kind: &str, revision: &str, is_disabled: bool| {
            with_digest(chart.clone(), kind, revision, is_disabled)
                .map(|(chart, digest)| format!("{} {digest}", chart.metadata.version))
        };
        let digest = "sha256:0123456789abcdef";
        let version = |kind: &str, revision: &str| check(kind, revision, false).expect("it fits");
        assert_eq!(
            version("OCIRepository", &format!("latest@{digest}")),
            format!("1.2.3+0123456789ab {digest}")
        );
        assert_eq!(
            version("OCIRepository", &format!("v1.2.3@{digest}")),
            format!("1.2.3+0123456789ab {digest}")
        );
        assert_eq!(
            version("ExternalArtifact", "main@sha1:0123456789abcdef"),
            "1.2.3+0123456789ab sha1:0123456789abcdef"
        );
        assert_eq!(version("ExternalArtifact", "1"), "1.2.3+old ");
        assert_eq!(version("HelmChart", "1.2.3"), "1.2.3+old ");
        assert_eq!(check("OCIRepository", digest, true).expect("it fits"), "1.2.3+old ");
        let error = check("OCIRepository", &format!("1.2.4@{digest}"), false).expect_err("it does not fit");
        assert!(error.contains("1.2.4 does not match chart version 1.2.3"), "{error}");
    }
}
