//! What a HelmRelease remembers of the versions it made.

use crate::{
    digest::{config_digest, snapshot_digest},
    hooks::is_test,
    record::{GoTime, Release, phase},
};

/// Snapshots that are kept when none of them is good.
const KEPT: usize = 5;

/// One version of a release as it was when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// See [`snapshot_digest`].
    pub digest: String,
    /// Name of the release.
    pub name: String,
    /// Namespace of the release.
    pub namespace: String,
    /// Version of the release.
    pub version: i64,
    /// Helm's word for its state.
    pub status: String,
    /// What made it.
    pub action: String,
    /// Name of the chart.
    pub chart_name: String,
    /// Version of the chart.
    pub chart_version: String,
    /// Version of the application.
    pub app_version: String,
    /// See [`config_digest`].
    pub config_digest: String,
    /// When the release was first installed.
    pub first_deployed: GoTime,
    /// When this version was made.
    pub last_deployed: GoTime,
    /// When it was uninstalled.
    pub deleted: GoTime,
    /// How its tests went; none before they were looked at.
    pub tests: Option<Vec<TestRun>>,
    /// Digest of the chart's artifact, for charts from OCI.
    pub oci_digest: String,
}

/// How a test went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestRun {
    /// Name of the test.
    pub name: String,
    /// When it began.
    pub started: GoTime,
    /// When it ended.
    pub completed: GoTime,
    /// One of [`phase`], or empty.
    pub phase: String,
}

impl Snapshot {
    /// A release as it is stored now.
    pub fn of(release: &Release, oci_digest: &str, action: &str) -> Snapshot {
        let info = release.info.clone().unwrap_or_default();
        Snapshot {
            digest: snapshot_digest(release, oci_digest),
            name: release.name.clone(),
            namespace: release.namespace.clone(),
            version: release.version,
            status: info.status.as_str().to_owned(),
            action: action.to_owned(),
            chart_name: release.chart_name().to_owned(),
            chart_version: release.chart_version().to_owned(),
            app_version: release
                .chart
                .as_ref()
                .map(|chart| chart.metadata().app_version.clone())
                .unwrap_or_default(),
            config_digest: config_digest(&release.config),
            first_deployed: info.first_deployed,
            last_deployed: info.last_deployed,
            deleted: info.deleted,
            tests: None,
            oci_digest: oci_digest.to_owned(),
        }
    }

    /// Whether it is of this release and version.
    pub fn is_of(&self, release: &Release) -> bool {
        self.name == release.name && self.namespace == release.namespace && self.version == release.version
    }

    /// Takes over how the tests of a release went.
    pub fn set_tests(&mut self, release: &Release) {
        let tests = release.hooks.iter().filter(|hook| is_test(hook));
        self.tests = Some(
            tests
                .map(|hook| TestRun {
                    name: hook.name.clone(),
                    started: hook.last_run.started_at.clone(),
                    completed: hook.last_run.completed_at.clone(),
                    phase: hook.last_run.phase.clone(),
                })
                .collect(),
        );
    }

    /// Whether a test failed.
    pub fn has_failed_test(&self) -> bool {
        self.tests.iter().flatten().any(|test| test.phase == phase::FAILED)
    }

    /// `<namespace>/<name>.v<version>`.
    pub fn full_name(&self) -> String {
        format!("{}/{}.v{}", self.namespace, self.name, self.version)
    }

    /// `<chart>@<version>`.
    pub fn chart(&self) -> String {
        format!("{}@{}", self.chart_name, self.chart_version)
    }

    fn is_good(&self, ignore_tests: bool) -> bool {
        matches!(self.status.as_str(), "deployed" | "superseded") && (ignore_tests || !self.has_failed_test())
    }
}

/// The newest version before the first that worked; `history` has the newest first.
pub fn previous(history: &[Snapshot], ignore_tests: bool) -> Option<&Snapshot> {
    history.iter().skip(1).find(|snapshot| snapshot.is_good(ignore_tests))
}

/// Keeps the newest version and everything down to the one before it that worked; five where none did.
pub fn truncate(history: &mut Vec<Snapshot>, ignore_tests: bool) {
    history.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
    let good = history
        .iter()
        .skip(1)
        .position(|snapshot| snapshot.is_good(ignore_tests));
    history.truncate(good.map_or(KEPT, |at| at + 2));
}
