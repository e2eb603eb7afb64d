//! May this user see that of this cluster? The API server's authorizers decide, on resources that exist for this only.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use nave_identity::ClusterRef;

use super::{front_proxy::Caller, question::What};

/// The group of clusters.
const GROUP: &str = "fleet.nave.dev";

/// What must be allowed: a verb on `clusters/live-…` of the cluster's workspace, under the cluster's name.
pub fn attributes(cluster: &ClusterRef, what: What, verb: &str) -> ResourceAttributes {
    ResourceAttributes {
        group: Some(GROUP.to_owned()),
        version: Some("v1alpha1".to_owned()),
        resource: Some("clusters".to_owned()),
        subresource: Some(what.subresource().to_owned()),
        namespace: Some(cluster.namespace.clone()),
        name: Some(cluster.name.clone()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    }
}

/// Asks the API server. `Err` holds why not, for the user.
pub async fn allowed(
    client: &Client,
    caller: &Caller,
    attributes: ResourceAttributes,
) -> kube::Result<Result<(), String>> {
    let words = format!(
        "user {:?} may not {} {}/{} {:?} in namespace {:?}",
        caller.user,
        attributes.verb.as_deref().unwrap_or_default(),
        attributes.resource.as_deref().unwrap_or_default(),
        attributes.subresource.as_deref().unwrap_or_default(),
        attributes.name.as_deref().unwrap_or_default(),
        attributes.namespace.as_deref().unwrap_or_default(),
    );
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: Some(caller.user.clone()),
            groups: Some(caller.groups.clone()),
            extra: Some(caller.extra.clone()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    let allowed = answer
        .status
        .is_some_and(|status| status.allowed && status.denied != Some(true));
    Ok(if allowed { Ok(()) } else { Err(words) })
}
