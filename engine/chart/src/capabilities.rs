//! `.Capabilities` of templates: what the cluster and Helm can do.

use std::sync::Arc;

mod api_versions;

use api_versions::API_VERSIONS;

/// What the cluster and Helm can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// The cluster's version.
    pub kube_version: KubeVersion,
    /// Groups with versions, and kinds in them: `apps/v1`, `apps/v1/Deployment`.
    pub api_versions: Arc<[String]>,
    /// Helm's own version.
    pub helm_version: BuildInfo,
}

/// A version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeVersion {
    /// As the cluster says it, such as `v1.33.4-gke.1245000`.
    pub version: String,
    /// Its numbers only, such as `v1.33.4`; charts' `kubeVersion` is compared with it.
    pub normalized: String,
    /// The first number.
    pub major: String,
    /// The second number.
    pub minor: String,
}

/// The build of Helm whose behaviour this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// Helm's version.
    pub version: String,
    /// The commit.
    pub git_commit: String,
    /// Whether its tree was clean.
    pub git_tree_state: String,
    /// The version of Go.
    pub go_version: String,
    /// The version of Kubernetes its client is of.
    pub kube_client_version: String,
}

/// A text is no version of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not parse \"{text}\" as version")]
pub struct KubeVersionError {
    /// The text.
    pub text: String,
}

impl KubeVersion {
    /// Reads `1.33`, `v1.33.4` or `v1.33.4-gke.1245000`.
    ///
    /// # Errors
    /// The text has no two numbers at its start, or one with a leading zero.
    pub fn parse(text: &str) -> Result<KubeVersion, KubeVersionError> {
        let error = || KubeVersionError { text: text.to_owned() };
        let plain = text.trim();
        let plain = plain.strip_prefix('v').unwrap_or(plain);
        // What follows the numbers is of no interest.
        let end = plain
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(plain.len());
        let end = plain[..end].find("..").unwrap_or(end);
        let numbers = plain[..end].trim_end_matches('.');
        let mut known = Vec::new();
        for part in numbers.split('.') {
            if known.is_empty() && part.len() > 1 && part.starts_with('0') {
                return Err(error());
            }
            known.push(part.parse::<u64>().map_err(|_| error())?.to_string());
        }
        if known.len() < 2 {
            return Err(error());
        }
        let version = match text.starts_with('v') {
            true => text.to_owned(),
            false => format!("v{text}"),
        };
        Ok(KubeVersion {
            version,
            normalized: format!("v{}", known.join(".")),
            major: known[0].clone(),
            minor: known[1].clone(),
        })
    }
}

impl Default for BuildInfo {
    fn default() -> BuildInfo {
        BuildInfo {
            version: "v4.3.1".to_owned(),
            git_commit: String::new(),
            git_tree_state: String::new(),
            go_version: "go1.26.0".to_owned(),
            kube_client_version: "v1.37".to_owned(),
        }
    }
}

impl Default for Capabilities {
    /// What `helm template` assumes when there is no cluster.
    fn default() -> Capabilities {
        Capabilities {
            kube_version: KubeVersion {
                version: "v1.37.0".to_owned(),
                normalized: "v1.37.0".to_owned(),
                major: "1".to_owned(),
                minor: "37".to_owned(),
            },
            api_versions: API_VERSIONS.iter().map(|version| (*version).to_owned()).collect(),
            helm_version: BuildInfo::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_kubernetes_reads_them() {
        for (text, wanted) in [
            ("1.33", Some(("v1.33", "v1.33", "33"))),
            ("v1.33.4", Some(("v1.33.4", "v1.33.4", "33"))),
            ("v1.33.4-gke.1245000", Some(("v1.33.4-gke.1245000", "v1.33.4", "33"))),
            ("1.29+", Some(("v1.29+", "v1.29", "29"))),
            ("1", None),
            ("1.", None),
            ("01.5", None),
            ("1.05.", Some(("v1.05.", "v1.5", "5"))),
            ("latest", None),
        ] {
            let read = KubeVersion::parse(text).ok();
            let read = read
                .as_ref()
                .map(|v| (v.version.as_str(), v.normalized.as_str(), v.minor.as_str()));
            assert_eq!(read, wanted, "{text}");
        }
    }
}
