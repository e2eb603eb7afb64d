//! GitRepository: observe, plan, act, report.

mod act;
mod include;
mod observe;
mod packed;
mod plan;
mod status;
mod tokens;
mod verify;

use std::sync::Arc;

use nave_crds::GitRepository;
use nave_git::Git;
use nave_runtime::Watched;

use crate::{
    common::Common,
    failure::Failure,
    reconciler::{Done, Steps, Work},
    run::Filter,
};

/// What is particular to a GitRepository.
pub(crate) struct GitRepositorySteps {
    git: Arc<Git>,
    watched: Watched<GitRepository>,
    filter: Filter,
    tokens: tokens::Tokens,
    packed: packed::PackedTrees,
}

impl GitRepositorySteps {
    pub fn new(git: Arc<Git>, watched: Watched<GitRepository>, filter: Filter) -> Self {
        GitRepositorySteps {
            git,
            watched,
            filter,
            tokens: tokens::Tokens::default(),
            packed: packed::PackedTrees::default(),
        }
    }
}

impl Steps<GitRepository> for GitRepositorySteps {
    fn is_ours(&self, object: &GitRepository) -> bool {
        (self.filter)(object)
    }

    async fn work(
        &self,
        common: &Common<GitRepository>,
        object: &GitRepository,
        work: &mut Work<GitRepository>,
    ) -> Result<Done, Failure> {
        self.reconcile(common, object, work).await
    }

    fn release(&self, key: &str) {
        self.git.release(key);
        self.packed.forget(key);
    }
}
