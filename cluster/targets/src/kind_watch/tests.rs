//! Lists, changes and deletions as a watch brings them, without a cluster.

use nave_health::Status;

use super::*;

fn meta(name: &str, version: &str) -> ObjectMeta {
    ObjectMeta {
        namespace: Some("n".into()),
        name: Some(name.into()),
        resource_version: Some(version.into()),
        ..ObjectMeta::default()
    }
}

fn watch() -> KindWatch {
    KindWatch {
        shared: Arc::new(Shared(Mutex::default())),
        task: tokio::spawn(async {}).abort_handle(),
    }
}

fn subscribe(watch: &KindWatch, name: &str) -> Subscription {
    watch.subscribe(
        [("n".to_owned(), name.to_owned())],
        Arc::new(|value: &Value| nave_health::status(value, Timestamp::UNIX_EPOCH)),
        Arc::new(Notify::new()),
    )
}

#[tokio::test]
async fn subscribers_hear_of_lists_changes_and_deletions() {
    let watch = watch();
    let (there, missing) = (subscribe(&watch, "there"), subscribe(&watch, "missing"));
    watch.shared.lock().begin_list();
    seen(&watch.shared, &meta("there", "5"), &json!({"kind": "X"}));
    let late = subscribe(&watch, "late");
    watch.shared.lock().end_list();
    let status = |subscription: &Subscription, name: &str| {
        subscription
            .latest("n", name)
            .map(|(version, health)| (version, health.status))
    };
    assert_eq!(status(&there, "there"), Some((5, Status::Current)));
    assert_eq!(status(&missing, "missing"), Some((0, Status::NotFound)));
    assert_eq!(status(&late, "late"), None);
    gone(&watch.shared, &meta("there", "9"));
    assert_eq!(status(&there, "there"), Some((9, Status::NotFound)));
    watch.shared.lock().begin_list();
    watch.shared.lock().end_list();
    assert_eq!(status(&late, "late"), Some((u64::MAX, Status::NotFound)));
    drop((there, missing, late));
    assert!(watch.shared.lock().interests.is_empty());
}

#[tokio::test]
async fn rows_are_kept_for_applied_objects_only_and_believed_while_live() {
    let watch = watch();
    let mut applied = meta("a", "1");
    applied.managed_fields = serde_json::from_value(json!([
        {"manager": "kustomize-controller", "operation": "Apply", "fieldsV1": {"f:spec": {}}}
    ]))
    .expect("the entry is well formed");
    watch.shared.lock().begin_list();
    seen(&watch.shared, &applied, &json!({}));
    seen(&watch.shared, &meta("b", "1"), &json!({}));
    assert!(watch.known("n", "a").is_none(), "the list is not complete");
    watch.shared.lock().end_list();
    assert!(watch.known("n", "a").is_some());
    assert!(watch.known("n", "b").is_none());
    watch.shared.lock().failed_at = Some(Instant::now());
    assert!(watch.known("n", "a").is_none(), "the watch has just failed");
}
