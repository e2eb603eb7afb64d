//! Bucket: observe, plan, act, report.

mod act;
mod cloud;
mod plan;
mod status;

use nave_bucket::Buckets;
use nave_crds::Bucket;

pub(crate) use cloud::CloudKeys;

use crate::{
    common::Common,
    failure::Failure,
    reconciler::{Done, Steps, Work},
};

/// What is particular to a Bucket.
pub(crate) struct BucketSteps {
    pub buckets: Buckets,
}

impl Steps<Bucket> for BucketSteps {
    fn is_ours(&self, _object: &Bucket) -> bool {
        true
    }

    async fn work(&self, common: &Common<Bucket>, object: &Bucket, work: &mut Work<Bucket>) -> Result<Done, Failure> {
        self.reconcile(common, object, work).await
    }

    fn release(&self, key: &str) {
        self.buckets.release(key);
    }
}
