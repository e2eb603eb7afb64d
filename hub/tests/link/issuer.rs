//! An authority that has nothing to do with the hub, and a Secret as cert-manager fills it.

use anyhow::Result;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use nave_identity::SERVER_NAME;
use nave_quic::{AgentDialer, DialOptions};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
};
use serde_json::json;

use crate::{fake_agent::Disk, stage::Stage};

/// Name of the Secret in the hub's namespace.
pub const SECRET: &str = "link-tls";

pub struct Issuer(CertifiedIssuer<'static, KeyPair>);

impl Issuer {
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Example Root");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?;
        Ok(Issuer(CertifiedIssuer::self_signed(params, key)?))
    }

    /// Fills the Secret with a new key and certificate; gives back the certificate.
    pub async fn fill(&self, stage: &Stage) -> Result<Vec<u8>> {
        let mut params = CertificateParams::new(vec![SERVER_NAME.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.0)?;
        write(stage, "tls.key", key.serialize_pem()).await?;
        write(stage, "ca.crt", self.0.pem()).await?;
        write(stage, "tls.crt", certificate.pem()).await?;
        Ok(certificate.der().to_vec())
    }
}

/// Writes one key of the Secret.
pub async fn write(stage: &Stage, key: &str, value: String) -> Result<()> {
    let api: Api<Secret> = Api::namespaced(stage.client.clone(), "nave-system");
    let data = json!({key: ByteString(value.into_bytes())});
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": data});
    // Each key has a writer of its own, so that none takes those of the others away.
    let who = PatchParams::apply(&format!("test-{key}")).force();
    api.patch(SECRET, &who, &Patch::Apply(object)).await?;
    Ok(())
}

/// The certificate that the hub shows to this agent.
pub async fn shown(disk: &Disk) -> Result<Vec<u8>> {
    let identity = disk.look(|memory| memory.identity.clone()).expect("it has joined");
    let tls = identity.tls(identity.time_floor())?;
    let dialer = AgentDialer::new(DialOptions::default())?;
    let connection = dialer.dial(&identity.addresses, tls).await?;
    Ok(connection.peer_certificate().to_vec())
}
