//! `--cluster`, and what goes with it.

/// Where to look, if not at the cluster of the kubeconfig.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct LiveArguments {
    /// Look into this cluster of the fleet, through its hub: NAME or WORKSPACE/NAME
    #[arg(long, global = true, value_name = "CLUSTER")]
    pub cluster: Option<String>,
}
