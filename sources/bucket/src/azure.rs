//! Requests and answers of Azure Blob Storage.

use percent_encoding::percent_decode_str;
use serde::Deserialize;
use url::{Host, Url};

use crate::{
    BucketError, Object,
    list::{Listed, Page},
    request::{escaped, key_path},
    s3::plain_etag,
};

#[derive(Debug)]
pub(crate) struct Azure {
    /// With the container, without a slash at the end.
    base: String,
    server: String,
    account: String,
}

impl Azure {
    pub fn new(endpoint: &str, container: &str) -> Result<Self, BucketError> {
        let wrong = |problem: &str| BucketError::Spec {
            field: "spec.endpoint",
            problem: problem.to_owned(),
        };
        let url = Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                wrong("it is not the address of an account, such as https://account.blob.core.windows.net")
            })?;
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong(
                "credentials do not belong into it; name a Secret in spec.secretRef",
            ));
        }
        if container.is_empty()
            || !container
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'$'))
        {
            return Err(BucketError::Spec {
                field: "spec.bucketName",
                problem: "it is no name of a container".to_owned(),
            });
        }
        // Emulators have the account in the path.
        let account = match url.host() {
            Some(Host::Domain(name)) if name.split('.').count() > 2 => name.split('.').next().unwrap_or_default(),
            _ => url.path().trim_matches('/').split('/').next().unwrap_or_default(),
        };
        let server = match url.port() {
            Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        Ok(Azure {
            base: format!("{}/{container}", url.as_str().trim_end_matches('/')),
            account: account.to_owned(),
            server,
        })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn account(&self) -> &str {
        &self.account
    }

    pub fn object(&self, key: &str) -> String {
        format!("{}/{}", self.base, key_path(key))
    }

    pub fn page(&self, prefix: &str, token: Option<&str>) -> String {
        let mut url = format!("{}?comp=list&restype=container", self.base);
        if !prefix.is_empty() {
            url.push_str(&format!("&prefix={}", escaped(prefix)));
        }
        if let Some(token) = token {
            url.push_str(&format!("&marker={}", escaped(token)));
        }
        url
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    blobs: Blobs,
    #[serde(default)]
    next_marker: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blobs {
    #[serde(default)]
    blob: Vec<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Blob {
    name: Name,
    properties: Properties,
}

#[derive(Deserialize)]
struct Name {
    /// Names that XML cannot hold are percent-encoded.
    #[serde(rename = "@Encoded", default)]
    encoded: bool,
    #[serde(rename = "$text", default)]
    text: String,
}

#[derive(Deserialize)]
struct Properties {
    #[serde(rename = "Etag", default)]
    etag: String,
    #[serde(rename = "Content-Length", default)]
    length: u64,
    #[serde(rename = "ResourceType", default)]
    kind: String,
}

pub(crate) fn parse(text: &str) -> Result<Page, String> {
    let answer: Answer =
        quick_xml::de::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| error.to_string())?;
    let mut objects = Vec::with_capacity(answer.blobs.blob.len());
    for blob in answer.blobs.blob {
        // Accounts with a hierarchical namespace list their directories.
        if blob.properties.kind == "directory" {
            continue;
        }
        let key = if blob.name.encoded {
            percent_decode_str(&blob.name.text)
                .decode_utf8()
                .map_err(|_| format!("the name '{}' is not text", blob.name.text))?
                .into_owned()
        } else {
            blob.name.text
        };
        objects.push(Listed {
            key,
            object: Object {
                etag: etag(&blob.properties.etag),
                size: blob.properties.length,
                generation: None,
            },
        });
    }
    Ok(Page {
        objects,
        next: answer.next_marker.filter(|marker| !marker.is_empty()),
    })
}

/// As the header of a download has it, which is what Flux's revisions end up with. A listing leaves the quotes out; Flux
/// takes that for a change and downloads everything at every interval.
pub(crate) fn etag(text: &str) -> String {
    format!("\"{}\"", plain_etag(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_answers() {
        let azure = Azure::new("https://acct.blob.core.windows.net/", "c").unwrap();
        assert_eq!(
            (azure.account(), azure.server()),
            ("acct", "acct.blob.core.windows.net")
        );
        assert_eq!(azure.object("a b"), "https://acct.blob.core.windows.net/c/a%20b");
        let emulator = Azure::new("http://127.0.0.1:10000/devstoreaccount1", "c").unwrap();
        assert_eq!(
            (emulator.account(), emulator.server()),
            ("devstoreaccount1", "127.0.0.1:10000")
        );
        assert!(Azure::new("acct.blob.core.windows.net", "c").is_err());
        assert!(Azure::new("https://acct.blob.core.windows.net?sig=x", "c").is_err());
        assert!(Azure::new("https://acct.blob.core.windows.net", "c/d").is_err());
        let page = parse(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\"><Blobs>\
             <Blob><Name>a/b</Name><Properties><Etag>0x8D</Etag><Content-Length>3</Content-Length></Properties></Blob>\
             <Blob><Name Encoded=\"true\">c%2Fd</Name><Properties><Etag>0x8E</Etag></Properties></Blob>\
             <Blob><Name>dir</Name><Properties><ResourceType>directory</ResourceType></Properties></Blob>\
             </Blobs><NextMarker /></EnumerationResults>",
        )
        .unwrap();
        let seen: Vec<_> = page
            .objects
            .iter()
            .map(|listed| (listed.key.as_str(), listed.object.etag.as_str()))
            .collect();
        assert_eq!(seen, [("a/b", "\"0x8D\""), ("c/d", "\"0x8E\"")]);
        assert!(page.next.is_none());
    }
}
