//! One bucket, ready to be asked.

use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;

use crate::{
    Access, BucketError, CloudCredentials, Storage,
    azure::Azure,
    google::{self, Google},
    http_service::Http,
    keys::KeySource,
    request::{self, Refusal},
    s3::{self, S3},
};

/// One bucket, ready to be asked. Cheap to clone; clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Remote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    access: Access,
    backend: Backend,
    http: Http,
    keys: KeySource,
    /// What the storage said, or the spec.
    region: Mutex<String>,
}

/// What a storage speaks.
#[derive(Debug)]
pub(crate) enum Backend {
    S3(S3),
    Google(Google),
    Azure(Azure),
}

impl Remote {
    pub(crate) fn new(access: Access, cloud: Option<Arc<dyn CloudCredentials>>) -> Result<Self, BucketError> {
        if !access.region.is_empty() && !request::is_region(&access.region) {
            return Err(BucketError::Spec {
                field: "spec.region",
                problem: "it is no name of a region".to_owned(),
            });
        }
        let (endpoint, bucket) = (access.endpoint.as_str(), access.bucket.as_str());
        let backend = match access.storage {
            Storage::S3 => Backend::S3(S3::new(endpoint, bucket, &access.region, access.insecure)?),
            Storage::Google => Backend::Google(Google::new(endpoint, bucket, access.insecure)?),
            Storage::Azure => Backend::Azure(Azure::new(endpoint, bucket)?),
        };
        let region = match access.region.as_str() {
            "" => s3::region_of(endpoint).unwrap_or(s3::DEFAULT_REGION),
            region => region,
        };
        let region = Mutex::new(region.to_owned());
        let http = Http::new(&access.tls, access.proxy.as_ref(), access.storage == Storage::Azure)?;
        let keys = KeySource::new(&access, &http, cloud)?;
        Ok(Remote(Arc::new(Inner {
            access,
            backend,
            http,
            keys,
            region,
        })))
    }

    /// The way in.
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    pub(crate) fn bucket(&self) -> &str {
        &self.0.access.bucket
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    pub(crate) fn http(&self) -> &Http {
        &self.0.http
    }

    pub(crate) fn keys(&self) -> &KeySource {
        &self.0.keys
    }

    pub(crate) fn region(&self) -> String {
        self.0.region.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_region(&self, region: &str) {
        region.clone_into(&mut self.0.region.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn server(&self) -> &str {
        match &self.0.backend {
            Backend::S3(s3) => s3.server(),
            Backend::Google(google) => google.server(),
            Backend::Azure(azure) => azure.server(),
        }
    }

    pub(crate) fn account(&self) -> &str {
        match &self.0.backend {
            Backend::Azure(azure) => azure.account(),
            Backend::S3(_) | Backend::Google(_) => "",
        }
    }

    /// Whether there is no such object, while the bucket is there.
    pub(crate) fn is_no_object(&self, error: &BucketError) -> bool {
        matches!(error, BucketError::Refused { status: 404, .. })
    }
}

impl Backend {
    pub fn refusal(&self, headers: &HeaderMap, body: &str) -> Refusal {
        match self {
            Backend::S3(_) => s3::refusal(headers, body),
            Backend::Google(_) => google::refusal(body),
            Backend::Azure(_) => request::xml(body),
        }
    }

    /// Whether the whole bucket is missing.
    pub fn is_no_bucket(&self, status: u16, refusal: &Refusal) -> bool {
        status == 404
            && match self {
                Backend::S3(_) => refusal.code == "NoSuchBucket",
                Backend::Azure(_) => refusal.code == "ContainerNotFound",
                Backend::Google(_) => refusal.message.contains("bucket does not exist"),
            }
    }
}
