//! What a spec asks for, and whether its fields fit together. Pure.

use std::time::Duration;

use nave_bucket::{BucketError, Storage};
use nave_crds::{
    conditions::{FETCH_FAILED, STORAGE_OPERATION_FAILED},
    reasons::source as reasons,
    source::{BucketProvider, BucketSpec, StsProvider},
};

use crate::failure::{Failure, Retry, chain};

/// What to ask, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    pub provider: BucketProvider,
    pub storage: Storage,
    pub timeout: Duration,
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Reads a spec. The definition's rules say the same; an object may be older than they are.
pub(crate) fn plan(spec: &BucketSpec) -> Result<Plan, Failure> {
    let stalled = |reason, message: String| Err(Failure::new(Retry::Stalled, FETCH_FAILED, reason, message));
    let provider = spec.provider.unwrap_or_default();
    if let Some(sts) = &spec.sts {
        let (wanted, given) = (provider.as_str(), sts.provider.as_str());
        match (provider, sts.provider) {
            (BucketProvider::Gcp | BucketProvider::Azure, _) => {
                let message = format!("STS configuration is not supported for '{wanted}' bucket provider");
                return stalled(reasons::INVALID_STS_CONFIGURATION, message);
            }
            (BucketProvider::Aws, StsProvider::Aws) => {
                for (field, is_set) in [
                    ("secretRef", sts.secret_ref.is_some()),
                    ("certSecretRef", sts.cert_secret_ref.is_some()),
                ] {
                    if is_set {
                        let message = format!("spec.sts.{field} is not required for the '{given}' STS provider");
                        return stalled(reasons::INVALID_STS_CONFIGURATION, message);
                    }
                }
            }
            (BucketProvider::Generic, StsProvider::Ldap) => {}
            _ => {
                let message = format!("STS provider '{given}' is not supported for '{wanted}' bucket provider");
                return stalled(reasons::INVALID_STS_CONFIGURATION, message);
            }
        }
    }
    if !spec.service_account_name.is_empty() {
        let problem = match provider {
            BucketProvider::Generic => Some("is not supported for the 'generic' Bucket provider"),
            _ if spec.secret_ref.is_some() => Some("cannot be set together with spec.secretRef"),
            _ => None,
        };
        if let Some(problem) = problem {
            let message = format!("spec.serviceAccountName {problem}");
            return stalled(reasons::INVALID_PROVIDER_CONFIGURATION, message);
        }
    }
    Ok(Plan {
        provider,
        storage: match provider {
            BucketProvider::Generic | BucketProvider::Aws => Storage::S3,
            BucketProvider::Gcp => Storage::Google,
            BucketProvider::Azure => Storage::Azure,
        },
        timeout: spec.timeout.map_or(DEFAULT_TIMEOUT, |timeout| timeout.get()),
    })
}

/// Which condition an error of the bucket is.
pub(crate) fn failure(error: &BucketError) -> Failure {
    let message = chain(error);
    match error {
        BucketError::Spec { field, .. } => {
            let reason = match *field {
                "spec.endpoint" => reasons::URL_INVALID,
                _ => reasons::BUCKET_OPERATION_FAILED,
            };
            Failure::new(Retry::Stalled, FETCH_FAILED, reason, message)
        }
        BucketError::Keys(_) => Failure::new(Retry::Backoff, FETCH_FAILED, reasons::AUTHENTICATION_FAILED, message),
        BucketError::Disk { .. } => Failure::new(
            Retry::Backoff,
            STORAGE_OPERATION_FAILED,
            reasons::DIRECTORY_CREATION_FAILED,
            message,
        ),
        _ => Failure::new(Retry::Backoff, FETCH_FAILED, reasons::BUCKET_OPERATION_FAILED, message),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(fields: Value, expected: Result<Storage, (&str, &str)>) {
        let mut spec = json!({"bucketName": "b", "endpoint": "e", "interval": "1m"});
        for (field, value) in fields.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let found = plan(&serde_json::from_value(spec).unwrap());
        match (found, expected) {
            (Ok(found), Ok(storage)) => assert_eq!(found.storage, storage),
            (Err(found), Err((reason, part))) => {
                assert_eq!((found.reason, found.retry), (reason, Retry::Stalled));
                assert!(found.message.contains(part), "{}", found.message);
            }
            (found, expected) => panic!("{found:?} where {expected:?} was expected"),
        }
    }

    #[test]
    fn fields_that_contradict_each_other_stall() {
        let sts = |provider: &str| json!({"provider": provider, "endpoint": "https://sts"});
        check(json!({}), Ok(Storage::S3));
        check(json!({"provider": "gcp"}), Ok(Storage::Google));
        check(json!({"provider": "azure"}), Ok(Storage::Azure));
        check(json!({"provider": "aws", "sts": sts("aws")}), Ok(Storage::S3));
        check(json!({"sts": sts("ldap")}), Ok(Storage::S3));
        let wrong = "InvalidSTSConfiguration";
        check(
            json!({"provider": "gcp", "sts": sts("aws")}),
            Err((wrong, "STS configuration is not supported for 'gcp' bucket provider")),
        );
        check(
            json!({"sts": sts("aws")}),
            Err((
                wrong,
                "STS provider 'aws' is not supported for 'generic' bucket provider",
            )),
        );
        let mut with_secret = sts("aws");
        with_secret["secretRef"] = json!({"name": "x"});
        check(
            json!({"provider": "aws", "sts": with_secret}),
            Err((wrong, "spec.sts.secretRef is not required")),
        );
        check(
            json!({"serviceAccountName": "x"}),
            Err(("InvalidProviderConfiguration", "'generic' Bucket provider")),
        );
        check(
            json!({"provider": "aws", "serviceAccountName": "x", "secretRef": {"name": "y"}}),
            Err(("InvalidProviderConfiguration", "together with spec.secretRef")),
        );
        check(json!({"provider": "aws", "serviceAccountName": "x"}), Ok(Storage::S3));
    }
}
