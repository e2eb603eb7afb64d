//! Where the services of the clouds are, and what the environment says of this process.

use std::collections::BTreeMap;

use crate::cloud::CloudError;

/// A service whose address may be another one than the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// AWS Security Token Service (`AWS_ENDPOINT_URL_STS`).
    AwsSts,
    /// AWS Elastic Container Registry (`AWS_ENDPOINT_URL_ECR`).
    AwsEcr,
    /// The same for public repositories (`AWS_ENDPOINT_URL_ECR_PUBLIC`).
    AwsEcrPublic,
    /// AWS Elastic Kubernetes Service (`AWS_ENDPOINT_URL_EKS`).
    AwsEks,
    /// The metadata of an EC2 instance (`AWS_EC2_METADATA_SERVICE_ENDPOINT`).
    AwsMetadata,
    /// The metadata server of Google Cloud (`GCE_METADATA_HOST`, host and port).
    GcpMetadata,
    /// Google's Security Token Service.
    GcpSts,
    /// Google's IAM Service Account Credentials.
    GcpIam,
    /// Google Kubernetes Engine.
    GcpContainer,
    /// Microsoft Entra ID (`AZURE_AUTHORITY_HOST`).
    AzureLogin,
    /// The metadata of an Azure machine.
    AzureMetadata,
    /// Azure Resource Manager.
    AzureManagement,
    /// The registry itself, where it issues tokens.
    AzureRegistry,
}

/// What the environment says, and addresses that were given otherwise.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    endpoints: BTreeMap<Service, String>,
}

const PREFIXES: [&str; 4] = ["AWS_", "AZURE_", "GCE_", "GOOGLE_"];

impl Settings {
    /// The variables of this process that the clouds' own libraries read.
    pub fn of_process() -> Settings {
        let ours = |(name, _): &(String, String)| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        Settings::from_variables(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .filter(ours),
        )
    }

    /// With variables as given.
    pub fn from_variables(variables: impl IntoIterator<Item = (String, String)>) -> Settings {
        Settings {
            variables: variables.into_iter().collect(),
            endpoints: BTreeMap::new(),
        }
    }

    /// With another address of a service, `http://host:port`.
    pub fn with_endpoint(mut self, service: Service, address: impl Into<String>) -> Settings {
        self.endpoints.insert(service, address.into());
        self
    }

    /// A variable, where it is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|text| !text.is_empty())
    }

    /// The address of a service, without a slash at its end; `usual` where nothing else was said.
    pub(crate) fn endpoint(&self, service: Service, usual: impl FnOnce() -> String) -> String {
        let variable = match service {
            Service::AwsSts => "AWS_ENDPOINT_URL_STS",
            Service::AwsEcr => "AWS_ENDPOINT_URL_ECR",
            Service::AwsEcrPublic => "AWS_ENDPOINT_URL_ECR_PUBLIC",
            Service::AwsEks => "AWS_ENDPOINT_URL_EKS",
            Service::AwsMetadata => "AWS_EC2_METADATA_SERVICE_ENDPOINT",
            Service::AzureLogin => "AZURE_AUTHORITY_HOST",
            _ => "",
        };
        let given = self.endpoints.get(&service).map(String::as_str);
        let general = matches!(
            service,
            Service::AwsSts | Service::AwsEcr | Service::AwsEcrPublic | Service::AwsEks
        )
        .then(|| self.get("AWS_ENDPOINT_URL"))
        .flatten();
        let host = (service == Service::GcpMetadata)
            .then(|| self.get("GCE_METADATA_HOST").map(|host| format!("http://{host}")))
            .flatten();
        let address = given
            .or_else(|| self.get(variable))
            .or(general)
            .map(str::to_owned)
            .or(host)
            .unwrap_or_else(usual);
        address.trim_end_matches('/').to_owned()
    }

    /// The content of the file that a variable names.
    pub(crate) async fn file(&self, variable: &'static str) -> Result<Option<String>, CloudError> {
        let Some(path) = self.get(variable) else {
            return Ok(None);
        };
        let text = tokio::fs::read_to_string(path)
            .await
            .map_err(|error| CloudError::File {
                variable,
                path: path.to_owned(),
                detail: error.to_string(),
            })?;
        Ok(Some(text.trim().to_owned()))
    }
}
