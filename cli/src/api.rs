//! Requests that several verbs make.

use anyhow::{Context, Result};
use kube::{
    Client, ResourceExt,
    api::{DynamicObject, ListParams, Patch, PatchParams},
};
use nave_crds::annotations;
use serde_json::{Value, json};

use crate::{
    failure::advised,
    fields,
    kinds::{ARTIFACT_GENERATOR, Kind},
};

/// Field manager of what people change through the command line.
pub const FIELD_MANAGER: &str = "nave-cli";
/// Objects per page of a list.
const PAGE: u32 = 500;

/// Every object that matches, page by page.
///
/// # Errors
/// Whatever the API server answers; a kind that it does not know is an error here and not an empty list.
pub async fn list(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    params: &ListParams,
) -> Result<Vec<DynamicObject>> {
    let api = kind.api_in(client, namespace);
    let mut params = params.clone().limit(PAGE);
    let mut objects = Vec::new();
    loop {
        let page = api
            .list(&params)
            .await
            .with_context(|| format!("listing {} objects", kind.kind))?;
        objects.extend(page.items);
        match page.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
    }
    // Items of a list do not say what they are.
    for object in &mut objects {
        object.types = Some(kube::core::TypeMeta {
            api_version: kind.api_version(),
            kind: kind.kind.to_owned(),
        });
    }
    Ok(objects)
}

/// As [`list`]; None where the cluster does not know the kind.
///
/// # Errors
/// Everything else that the API server answers.
pub async fn list_if_known(
    client: &Client,
    kind: &Kind,
    namespace: Option<&str>,
    params: &ListParams,
) -> Result<Option<Vec<DynamicObject>>> {
    match list(client, kind, namespace, params).await {
        Ok(objects) => Ok(Some(objects)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One object of a namespace.
///
/// # Errors
/// An object that does not exist, with its name.
pub async fn get(client: &Client, kind: &Kind, namespace: &str, name: &str) -> Result<DynamicObject> {
    let object = kind
        .api(client, namespace)
        .get_opt(name)
        .await
        .with_context(|| format!("getting {} {namespace}/{name}", kind.kind))?;
    match object {
        Some(mut object) => {
            object.types = Some(kube::core::TypeMeta {
                api_version: kind.api_version(),
                kind: kind.kind.to_owned(),
            });
            Ok(object)
        }
        None => Err(not_found(kind, Some(namespace), name)),
    }
}

/// The one object of this name, in one namespace or wherever it is.
///
/// # Errors
/// No such object, or several of the same name in different namespaces.
pub async fn find(client: &Client, kind: &Kind, namespace: Option<&str>, name: &str) -> Result<DynamicObject> {
    if let Some(namespace) = namespace {
        return get(client, kind, namespace, name).await;
    }
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let mut found = list(client, kind, None, &params).await?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(not_found(kind, None, name)),
        _ => {
            let namespaces: Vec<String> = found.iter().filter_map(ResourceExt::namespace).collect();
            Err(advised(
                format!(
                    "{} {name} exists in several namespaces: {}",
                    kind.kind,
                    namespaces.join(", ")
                ),
                format!("choose one with --namespace, such as -n {}", namespaces[0]),
            ))
        }
    }
}

/// The error for an object that does not exist.
pub fn not_found(kind: &Kind, namespace: Option<&str>, name: &str) -> anyhow::Error {
    let place = namespace.map_or_else(
        || "any namespace".to_owned(),
        |namespace| format!("{namespace:?} namespace"),
    );
    advised(
        format!("{} {name:?} not found in {place}", kind.kind),
        match kind.home {
            crate::kinds::Home::Flux => "`nave get all -A` shows what there is; choose a namespace with -n",
            crate::kinds::Home::Workspace => "`nave get clusters` and `nave get fleet` show what there is",
        },
    )
}

/// Merges `patch` into an object.
///
/// # Errors
/// Whatever the API server answers.
pub async fn merge(client: &Client, kind: &Kind, object: &DynamicObject, patch: &Value) -> Result<DynamicObject> {
    let namespace = object.namespace().unwrap_or_default();
    kind.api(client, &namespace)
        .patch(
            &object.name_any(),
            &PatchParams::apply(FIELD_MANAGER),
            &Patch::Merge(patch),
        )
        .await
        .with_context(|| format!("changing {} {namespace}/{}", kind.kind, object.name_any()))
}

/// Suspends an object or resumes it: by `spec.suspend`, or by the annotation of kinds that have no such field.
///
/// # Errors
/// Whatever the API server answers.
pub async fn set_suspend(client: &Client, kind: &Kind, object: &DynamicObject, suspend: bool) -> Result<DynamicObject> {
    let change = match *kind == ARTIFACT_GENERATOR {
        false => json!({"spec": {"suspend": suspend}}),
        true => {
            let value = suspend.then_some(annotations::DISABLED);
            json!({"metadata": {"annotations": {annotations::GENERATOR_RECONCILE: value}}})
        }
    };
    merge(client, kind, object, &change).await
}

/// Whether an object is suspended.
pub fn is_suspended(kind: &Kind, object: &DynamicObject) -> bool {
    if *kind != ARTIFACT_GENERATOR {
        return fields::flag(object, "/spec/suspend");
    }
    let value = object.annotations().get(annotations::GENERATOR_RECONCILE);
    value.is_some_and(|value| value.eq_ignore_ascii_case(annotations::DISABLED))
}

/// Whether the API server does not know the object or its kind.
pub fn is_not_found(error: &anyhow::Error) -> bool {
    api_code(error) == Some(404)
}

/// The HTTP status in an error's chain.
pub fn api_code(error: &anyhow::Error) -> Option<u16> {
    error
        .chain()
        .find_map(|cause| match cause.downcast_ref::<kube::Error>() {
            Some(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        })
}
