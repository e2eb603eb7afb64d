//! Clusters that clouds run: where they are, and the tokens that they take.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jiff::{SignedDuration, Timestamp};
use nave_object::yaml::{Dialect, read_documents};
use serde_json::Value;
use url::Url;

use crate::{
    SecretText,
    cloud::{
        Cloud, CloudError, CloudToken, Identity, Provider, Service,
        aws::{bad_address, host_of, partition_suffix},
        http::{json, text},
        sigv4::{Signed, presign, sign},
    },
};

/// A cluster as a ConfigMap names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterRequest {
    /// Whose cluster it is.
    pub provider: Provider,
    /// EKS: an ARN; GKE: `projects/…/locations/…/clusters/…`; AKS: the id of the resource.
    pub cluster: String,
    /// Its address, where it is known.
    pub address: Option<String>,
    /// Certificates in PEM that it is verified by, where they are known.
    pub ca: Option<String>,
}

/// Where a cluster is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPlace {
    /// `https://…`
    pub address: String,
    /// Certificates in PEM that it is verified by; the system's where there are none.
    pub ca: Option<String>,
}

const EKS: &str = "AWS EKS";
const GKE: &str = "Google Kubernetes Engine";
const AKS: &str = "Azure Kubernetes Service";
/// The application that all of Azure's clusters are, as far as tokens are concerned.
const AKS_SCOPE: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";
const MANAGEMENT_SCOPE: &str = "https://management.azure.com/.default";
const AKS_VERSION: &str = "2024-09-01";
/// EKS takes a token for so long, whatever it says itself.
const EKS_LIFE: SignedDuration = SignedDuration::from_mins(15);
const EKS_SECONDS: u32 = 900;

impl Cloud {
    /// Where the cluster is: as the request says, or as the cloud describes it.
    ///
    /// # Errors
    /// The name is none of the provider's, the cloud refuses, or it says another address than the request.
    pub async fn cluster_place(
        &self,
        identity: &Identity,
        request: &ClusterRequest,
    ) -> Result<ClusterPlace, CloudError> {
        let known = match (&request.address, &request.ca) {
            // GKE is always asked, as in Flux.
            (Some(address), Some(ca)) if request.provider != Provider::Gcp => Some((address, ca)),
            _ => None,
        };
        if let Some((address, ca)) = known {
            if request.provider == Provider::Aws {
                eks_name(&request.cluster)?;
            }
            return Ok(ClusterPlace {
                address: canonical(address)?,
                ca: Some(ca.clone()),
            });
        }
        let name = format!("{identity} {request:?}");
        let describe = async {
            let place = self.described(identity, request).await?;
            // The cache's own limit comes first.
            Ok((place, Timestamp::now() + SignedDuration::from_hours(24)))
        };
        self.inner.places.get(name, self.usage.as_deref(), describe).await
    }

    async fn described(&self, identity: &Identity, request: &ClusterRequest) -> Result<ClusterPlace, CloudError> {
        let found = match request.provider {
            Provider::Aws => self.eks(identity, &request.cluster).await?,
            Provider::Gcp => self.gke(identity, &request.cluster).await?,
            Provider::Azure => self.aks(identity, &request.cluster, request.address.as_deref()).await?,
        };
        if let Some(address) = &request.address
            && canonical(address)? != canonical(&found.address)?
        {
            return Err(CloudError::NotOurs(format!(
                "cluster '{}' has the address '{}', and not '{address}'",
                request.cluster, found.address
            )));
        }
        Ok(ClusterPlace {
            address: canonical(&found.address)?,
            ca: request.ca.clone().or(found.ca),
        })
    }

    /// A token that the cluster takes.
    ///
    /// # Errors
    /// The name is none of the provider's, there is no identity, or the cloud refuses.
    pub async fn cluster_token(
        &self,
        identity: &Identity,
        provider: Provider,
        cluster: &str,
    ) -> Result<CloudToken, CloudError> {
        match provider {
            Provider::Gcp => self.gcp_token(identity).await,
            Provider::Azure => self.azure_token(identity, AKS_SCOPE).await,
            Provider::Aws => {
                let (region, name) = eks_name(cluster)?;
                let credentials = self.aws_credentials(identity, Some(region)).await?;
                let address = self.sts(region);
                let url = Url::parse(&format!("{address}/")).map_err(|_| bad_address(&address))?;
                let host = host_of(&url).ok_or_else(|| bad_address(&address))?;
                let signed = Signed {
                    method: "GET",
                    host: &host,
                    path: "/",
                    query: &[("Action", "GetCallerIdentity"), ("Version", "2011-06-15")],
                    headers: &[("x-k8s-aws-id", name)],
                    body: b"",
                    region,
                    service: "sts",
                };
                let now = Timestamp::now();
                let query = presign(&signed, &credentials, now, EKS_SECONDS);
                let text = format!("{}://{host}/?{query}", url.scheme());
                let end = now + EKS_LIFE;
                Ok(CloudToken {
                    value: SecretText::new(format!("k8s-aws-v1.{}", URL_SAFE_NO_PAD.encode(text))),
                    expires: credentials.expires.map_or(end, |expires| expires.min(end)),
                })
            }
        }
    }

    async fn eks(&self, identity: &Identity, cluster: &str) -> Result<ClusterPlace, CloudError> {
        let (region, name) = eks_name(cluster)?;
        let credentials = self.aws_credentials(identity, Some(region)).await?;
        let address = self.inner.settings.endpoint(Service::AwsEks, || {
            format!("https://eks.{region}.{}", partition_suffix(region))
        });
        let url = Url::parse(&format!("{address}/clusters/{name}")).map_err(|_| bad_address(&address))?;
        let host = host_of(&url).ok_or_else(|| bad_address(&address))?;
        let path = url.path().to_owned();
        let signed = Signed {
            method: "GET",
            host: &host,
            path: &path,
            query: &[],
            headers: &[],
            body: b"",
            region,
            service: "eks",
        };
        let mut request = self.inner.client.get(url);
        for (name, value) in sign(&signed, &credentials, Timestamp::now()) {
            request = request.header(name, value);
        }
        let answer = json(EKS, request).await?;
        Ok(ClusterPlace {
            address: text(EKS, &answer, "/cluster/endpoint")?.to_owned(),
            ca: Some(pem(EKS, text(EKS, &answer, "/cluster/certificateAuthority/data")?)?),
        })
    }

    async fn gke(&self, identity: &Identity, cluster: &str) -> Result<ClusterPlace, CloudError> {
        let parts: Vec<&str> = cluster.split('/').collect();
        let is_name = matches!(parts[..], ["projects", project, "locations", location, "clusters", name]
            if [project, location, name].into_iter().all(is_plain));
        if !is_name {
            return Err(CloudError::NotOurs(format!(
                "'{cluster}' is no cluster of GKE, expected projects/<project>/locations/<location>/clusters/<name>"
            )));
        }
        let token = self.gcp_token(identity).await?;
        let address = self
            .inner
            .settings
            .endpoint(Service::GcpContainer, || "https://container.googleapis.com".to_owned());
        let request = self
            .inner
            .client
            .get(format!("{address}/v1/{cluster}"))
            .header("authorization", format!("Bearer {}", token.value.expose()));
        let answer = json(GKE, request).await?;
        Ok(ClusterPlace {
            address: text(GKE, &answer, "/endpoint")?.to_owned(),
            ca: Some(pem(GKE, text(GKE, &answer, "/masterAuth/clusterCaCertificate")?)?),
        })
    }

    async fn aks(&self, identity: &Identity, cluster: &str, wanted: Option<&str>) -> Result<ClusterPlace, CloudError> {
        let parts: Vec<&str> = cluster.split('/').collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let is_id = matches!(lower[..], ["", "subscriptions", subscription, "resourcegroups", group, "providers",
                "microsoft.containerservice", "managedclusters", name]
            if [subscription, group, name].into_iter().all(is_plain));
        if !is_id {
            return Err(CloudError::NotOurs(format!(
                "'{cluster}' is no cluster of AKS, expected /subscriptions/<id>/resourceGroups/<group>/providers/\
                 Microsoft.ContainerService/managedClusters/<name>"
            )));
        }
        let token = self.azure_token(identity, MANAGEMENT_SCOPE).await?;
        let bearer = format!("Bearer {}", token.value.expose());
        let address = self
            .inner
            .settings
            .endpoint(Service::AzureManagement, || "https://management.azure.com".to_owned());
        let client = &self.inner.client;
        let described = client
            .get(format!("{address}{cluster}?api-version={AKS_VERSION}"))
            .header("authorization", bearer.as_str());
        let described = json(AKS, described).await?;
        if described.pointer("/properties/aadProfile").is_none_or(Value::is_null) {
            return Err(CloudError::NotOurs(format!(
                "cluster '{cluster}' has no integration with Microsoft Entra ID, which is needed"
            )));
        }
        let credentials = client
            .post(format!(
                "{address}{cluster}/listClusterUserCredential?api-version={AKS_VERSION}"
            ))
            .header("authorization", bearer)
            .header("content-length", "0");
        let answer = json(AKS, credentials).await?;
        let mut others = Vec::new();
        for entry in answer
            .get("kubeconfigs")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let place = of_kubeconfig(text(AKS, entry, "/value")?)?;
            match wanted {
                Some(wanted) if canonical(wanted)? != canonical(&place.address)? => others.push(place.address),
                _ => return Ok(place),
            }
        }
        Err(CloudError::NotOurs(match wanted {
            Some(wanted) => format!("cluster '{cluster}' has the addresses {others:?}, and not '{wanted}'"),
            None => format!("cluster '{cluster}' has no kubeconfig"),
        }))
    }
}

/// Server and authority of the first cluster of a kubeconfig.
fn of_kubeconfig(encoded: &str) -> Result<ClusterPlace, CloudError> {
    let wrong = |detail: &str| CloudError::Answer {
        service: AKS,
        detail: detail.to_owned(),
    };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| wrong("its kubeconfig is not base64"))?;
    let yaml = String::from_utf8(bytes).map_err(|_| wrong("its kubeconfig is not text"))?;
    let documents = read_documents(&yaml, Dialect::K8s).map_err(|_| wrong("its kubeconfig is not YAML"))?;
    let cluster = documents
        .first()
        .and_then(|document| document.pointer("/clusters/0/cluster"))
        .ok_or_else(|| wrong("its kubeconfig has no cluster"))?;
    let ca = match cluster.get("certificate-authority-data").and_then(Value::as_str) {
        Some(data) => Some(pem(AKS, data)?),
        None => None,
    };
    Ok(ClusterPlace {
        address: text(AKS, cluster, "/server")?.to_owned(),
        ca,
    })
}

/// `arn:aws:eks:<region>:<account>:cluster/<name>`: region and name.
fn eks_name(arn: &str) -> Result<(&str, &str), CloudError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if let ["arn", partition, "eks", region, account, cluster] = parts[..]
        && partition.starts_with("aws")
        && let Some(name) = cluster.strip_prefix("cluster/")
        && [region, account, name].into_iter().all(is_plain)
    {
        return Ok((region, name));
    }
    Err(CloudError::NotOurs(format!(
        "'{arn}' is no cluster of EKS, expected arn:aws:eks:<region>:<account>:cluster/<name>"
    )))
}

/// The parts become parts of paths.
fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && !matches!(text, "." | "..")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
}

fn pem(service: &'static str, encoded: &str) -> Result<String, CloudError> {
    STANDARD
        .decode(encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| CloudError::Answer {
            service,
            detail: "its certificate authority is not base64 of PEM".to_owned(),
        })
}

/// With scheme and port, so that two spellings of one address are the same.
fn canonical(address: &str) -> Result<String, CloudError> {
    let with_scheme = if address.contains("://") {
        address.to_owned()
    } else {
        format!("https://{address}")
    };
    let url = Url::parse(&with_scheme)
        .ok()
        .filter(|url| url.scheme() == "https" && url.has_host())
        .ok_or_else(|| CloudError::NotOurs(format!("'{address}' is no address of a cluster")))?;
    let host = url.host_str().unwrap_or_default().to_ascii_lowercase();
    Ok(format!("https://{host}:{}", url.port().unwrap_or(443)))
}

#[cfg(test)]
mod checks {
    use super::*;

    #[test]
    fn addresses_are_compared_in_one_spelling() {
        for (address, wanted) in [
            ("https://A.eks.amazonaws.com", "https://a.eks.amazonaws.com:443"),
            ("34.1.2.3", "https://34.1.2.3:443"),
            ("x.hcp.io:8443", "https://x.hcp.io:8443"),
        ] {
            assert_eq!(canonical(address).expect("it is one"), wanted);
        }
        canonical("http://x").expect_err("it is not TLS");
        for arn in [
            "arn:aws:eks:eu-west-1:1:cluster/a/b",
            "arn:aws:eks::1:cluster/a",
            "arn:aws:s3:x:1:cluster/a",
            "",
        ] {
            eks_name(arn).expect_err(arn);
        }
    }
}
