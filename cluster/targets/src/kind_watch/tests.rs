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
        shared: Arc::new(Shared::new(Arc::default())),
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
    seen(&watch.shared, &opened(meta("there", "5"), true));
    let late = subscribe(&watch, "late");
    watch.shared.lock().end_list();
    let status = |subscription: &Subscription, name: &str| {
        subscription
            .latest("n", name)
            .map(|news| (news.version, news.health.map(|health| health.status)))
    };
    assert_eq!(status(&there, "there"), Some((5, Some(Status::Current))));
    assert_eq!(status(&missing, "missing"), Some((0, Some(Status::NotFound))));
    assert_eq!(status(&late, "late"), None);
    gone(&watch.shared, &meta("there", "9"));
    assert_eq!(status(&there, "there"), Some((9, Some(Status::NotFound))));
    watch.shared.lock().begin_list();
    watch.shared.lock().end_list();
    assert_eq!(status(&late, "late"), Some((u64::MAX, Some(Status::NotFound))));
    drop((there, missing, late));
    assert!(watch.shared.lock().interests.is_empty());
}

#[tokio::test]
async fn a_watch_of_metadata_tells_changes_and_judges_nothing() {
    let watch = watch();
    let there = subscribe(&watch, "there");
    seen(&watch.shared, &opened(meta("there", "5"), false));
    assert_eq!(
        there.latest("n", "there"),
        Some(News {
            version: 5,
            health: None
        })
    );
    gone(&watch.shared, &meta("there", "9"));
    let health = there.latest("n", "there").and_then(|news| news.health);
    assert_eq!(health.map(|health| health.status), Some(Status::NotFound));
}

fn opened(meta: ObjectMeta, is_whole: bool) -> Opened {
    let value = json!({"kind": "X"});
    Opened { meta, value, is_whole }
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
    seen(&watch.shared, &opened(applied, true));
    seen(&watch.shared, &opened(meta("b", "1"), true));
    assert!(watch.known("n", "a").is_none(), "the list is not complete");
    watch.shared.lock().end_list();
    assert!(watch.known("n", "a").is_some());
    assert!(watch.known("n", "b").is_none());
    watch.shared.lock().failed_at = Some(Instant::now());
    assert!(watch.known("n", "a").is_none(), "the watch has just failed");
}
