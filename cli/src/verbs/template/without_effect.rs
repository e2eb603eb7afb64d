//! Flags of `helm template` that are about an installation: command lines have them, and what is printed stays the same.

use anyhow::Result;

use crate::failure::advised;

/// Flags that change nothing here, as in `helm template`.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WithoutEffect {
    #[arg(long, hide = true)]
    create_namespace: bool,
    #[arg(long, hide = true)]
    description: Option<String>,
    #[arg(long, hide = true)]
    disable_openapi_validation: bool,
    #[arg(long, hide = true)]
    force_conflicts: bool,
    #[arg(long, hide = true)]
    force_replace: bool,
    #[arg(short, long, hide = true)]
    labels: Vec<String>,
    #[arg(long, hide = true)]
    replace: bool,
    #[arg(long, hide = true, alias = "atomic")]
    rollback_on_failure: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    server_side: Option<Option<String>>,
    #[arg(long, hide = true)]
    skip_crds: bool,
    #[arg(long, hide = true)]
    take_ownership: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    wait: Option<Option<String>>,
    #[arg(long, hide = true)]
    wait_for_jobs: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    dry_run: Option<Option<String>>,
    /// A plugin of Helm; none is run here
    #[arg(long, hide = true, value_name = "PLUGIN")]
    post_renderer: Option<String>,
    #[arg(long, hide = true, allow_hyphen_values = true)]
    post_renderer_args: Vec<String>,
    /// Check against the cluster; this version cannot
    #[arg(long, hide = true, conflicts_with = "dry_run")]
    validate: bool,
}

impl WithoutEffect {
    /// Refuses those that have an effect in Helm.
    ///
    /// # Errors
    /// Something is to be asked of a cluster, or a plugin is to be run.
    pub fn check(&self) -> Result<()> {
        if let Some(plugin) = &self.post_renderer {
            return Err(advised(
                format!("--post-renderer {plugin}: plugins of Helm are not run"),
                "spec.postRenderers of a HelmRelease are kustomize patches and images, which `nave build helmrelease` \
                 applies; for another program, pipe the output into it",
            ));
        }
        let flag = match self.dry_run.as_ref().map(Option::as_deref) {
            _ if self.validate => "--validate",
            Some(Some("server")) => "--dry-run=server",
            Some(Some("client") | None) | None => return Ok(()),
            Some(Some(other)) => {
                return Err(advised(
                    format!("invalid dry-run value {other:?}"),
                    "--dry-run=client is what is done in any case",
                ));
            }
        };
        Err(advised(
            format!("{flag} is not supported: no cluster is asked"),
            "`nave diff` compares with a cluster, and so does `kubectl apply --dry-run=server -f -`",
        ))
    }
}
