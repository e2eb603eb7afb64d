//! Trees that are packed file by file, and copied where they have not changed.

use anyhow::Result;
use nave_artifact::{FileTree, pack};
use nave_bed::{GitServer, GitServerOptions};
use nave_crds::source::GitRepositoryStatus;
use serde_json::json;

use crate::stage::Stage;

/// 600 files of 20 KB are more than is held in memory.
fn content(number: usize, version: usize) -> String {
    let line = format!("number: {number}\nversion: {version}\n");
    line.repeat(20_000 / line.len())
}

fn path(number: usize) -> String {
    format!("apps/{}/file-{number:03}.yaml", number % 25)
}

async fn packed(stage: &Stage, status: &GitRepositoryStatus) -> Result<(Vec<u8>, FileTree)> {
    let bytes = std::fs::read(stage.file(&status.artifact.as_ref().unwrap().path))?;
    Ok((bytes, stage.download(status).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_tree_is_the_same_archive_whether_it_is_packed_or_copied() -> Result<()> {
    let server = GitServer::start(GitServerOptions::default()).await?;
    let repository = server.create_repo("mono").await?;
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n";
    let mut files: Vec<(String, String)> = (0..600).map(|number| (path(number), content(number, 1))).collect();
    files.push(("lfs/model.bin".to_owned(), pointer.to_owned()));
    let all: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, &**text)).collect();
    let first = repository.commit_files(&all).await?;
    let mut stage = Stage::start("large").await?;
    stage.apply("mono", repository.url(), json!({})).await?;
    let status = stage.ready("mono", &format!("main@sha1:{first}")).await?;
    let (bytes, tree) = packed(&stage, &status).await?;
    assert_eq!(tree.len(), 601);
    assert!(bytes == pack(&tree));
    assert_eq!(&*tree.get(&path(42)).unwrap().data, content(42, 1).as_bytes());
    let event = stage.event("mono", "GitOperationFailed").await?;
    assert!(event.message.unwrap().contains("lfs/model.bin"));

    let changed = content(42, 2);
    let second = repository
        .commit_files(&[(&path(42), &changed), ("new.yaml", "n: 1\n")])
        .await?;
    stage.trigger("mono");
    let status = stage.ready("mono", &format!("main@sha1:{second}")).await?;
    let (copied, tree) = packed(&stage, &status).await?;
    assert_eq!(tree.len(), 602);
    assert_eq!(&*tree.get(&path(42)).unwrap().data, changed.as_bytes());
    assert_eq!(&*tree.get(&path(43)).unwrap().data, content(43, 1).as_bytes());
    assert!(copied == pack(&tree));

    // A damaged archive is not copied from.
    let stored = stage.file(&status.artifact.as_ref().unwrap().path);
    let mut damaged = copied.clone();
    for byte in &mut damaged[100..copied.len() - 100] {
        *byte ^= 0x55;
    }
    std::fs::write(&stored, damaged)?;
    let third = repository.commit_files(&[("new.yaml", "n: 2\n")]).await?;
    stage.trigger("mono");
    let status = stage.ready("mono", &format!("main@sha1:{third}")).await?;
    let (bytes, tree) = packed(&stage, &status).await?;
    assert!(bytes == pack(&tree) && tree.len() == 602);
    stage.stop().await;
    Ok(())
}
