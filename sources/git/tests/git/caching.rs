//! What is asked of the remote, and what becomes of the cache.

use std::{fs, path::Path};

use nave_git::{Auth, Git, Options, Remote, Selection, Wanted};
use nave_net::TlsOptions;

use crate::server::{Repository, Server, TIMEOUT, handle, reader};

fn main_branch() -> Wanted {
    Wanted::Branch("main".into())
}

fn fill(repository: &Repository) {
    for number in 0..50 {
        // Text that does not compress away, so that bytes tell what was sent.
        let text: String = (0..40)
            .map(|line| format!("{:x}\n", (number * 7919 + line) * 2_654_435_761_u64))
            .collect();
        repository.write(&format!("apps/{number}/values.yaml"), &text);
    }
}

fn lines(server: &Server) -> Vec<String> {
    server.requests().into_iter().map(|seen| seen.line).collect()
}

fn stores(cache: &Path) -> usize {
    fs::read_dir(cache)
        .unwrap()
        .filter(|entry| {
            let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
            name != "salt" && !name.starts_with('.')
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_reference_costs_a_listing_and_a_small_change_a_small_fetch() {
    let server = Server::start().await;
    let repository = server.repository("mono");
    fill(&repository);
    repository.commit("first");
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);

    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    assert_eq!(
        lines(&server),
        ["GET /mono.git/info/refs", "POST /mono.git/git-upload-pack"]
    );
    remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    let whole: usize = server.requests().iter().map(|seen| seen.answered).sum();
    remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    assert_eq!(
        lines(&server),
        Vec::<String>::new(),
        "a commit in the cache is not fetched"
    );

    repository.write("apps/7/values.yaml", "changed: true\n");
    repository.commit("second");
    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    server.requests();
    let found = remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    let delta: usize = server.requests().iter().map(|seen| seen.answered).sum();
    assert!(delta * 5 < whole, "{delta} bytes for one file, {whole} for all");
    assert_eq!(found.tree.len(), 50);
    assert_eq!(&*found.tree.get("apps/7/values.yaml").unwrap().data, b"changed: true\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn rewritten_history_and_branches_that_go_back_are_followed() {
    let server = Server::start().await;
    let repository = server.repository("app");
    let (git, _cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    repository.write("a", "1");
    let first = repository.commit("1");
    for (content, base) in [("2", None), ("3", Some(&first)), ("1", Some(&first))] {
        if let Some(base) = base {
            repository.git(&["reset", "--quiet", "--hard", base]);
        }
        repository.write("a", content);
        repository.commit(content);
        let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
        let found = remote
            .checkout(&resolved, &Selection::default(), TIMEOUT)
            .await
            .unwrap();
        assert_eq!(&*found.tree.get("a").unwrap().data, content.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_users_of_one_remote_cost_one_fetch() {
    let server = Server::start().await;
    let repository = server.repository("mono");
    fill(&repository);
    repository.commit("first");
    let (git, cache) = reader();
    let users = (0..10).map(|number| {
        let git = git.clone();
        let url = repository.url.clone();
        async move {
            let remote = Remote::new(&url, Auth::None, TlsOptions::default(), None).unwrap();
            let remote = git.remote(&format!("apps/{number}"), remote).unwrap();
            let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
            let sparse = Selection::new(&[format!("apps/{number}")], None).unwrap();
            remote.checkout(&resolved, &sparse, TIMEOUT).await.unwrap().tree.len()
        }
    });
    let found = futures::future::join_all(users).await;
    assert_eq!(found, [1; 10]);
    // Each lists twice over (greeting, listing); one of them greets and fetches.
    let requests = server.requests();
    assert_eq!(requests.len(), 22, "{requests:#?}");
    assert_eq!(stores(cache.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_goes_with_its_last_user() {
    let server = Server::start().await;
    let (one, two) = (server.repository("one"), server.repository("two"));
    let (git, cache) = reader();
    for repository in [&one, &two] {
        repository.write("a", "1");
        repository.commit("1");
    }
    let use_it = async |user: &str, url: &str, auth: Auth| {
        let remote = git
            .remote(user, Remote::new(url, auth, TlsOptions::default(), None).unwrap())
            .unwrap();
        let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
        remote
            .checkout(&resolved, &Selection::default(), TIMEOUT)
            .await
            .unwrap();
    };
    use_it("a", &one.url, Auth::None).await;
    use_it("b", &one.url, Auth::None).await;
    assert_eq!(stores(cache.path()), 1);
    // Other credentials, another store: what one may read is no other's business.
    let token = Auth::Bearer(nave_net::SecretText::new("t"));
    use_it("c", &one.url, token).await;
    assert_eq!(stores(cache.path()), 2);
    use_it("a", &two.url, Auth::None).await;
    assert_eq!(stores(cache.path()), 3);
    git.release("b");
    assert_eq!(stores(cache.path()), 2);
    git.release("c");
    git.release("a");
    git.release("nobody");
    assert_eq!(stores(cache.path()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_keeps_what_is_claimed_again_and_sweeps_the_rest() {
    let server = Server::start().await;
    let (one, two) = (server.repository("one"), server.repository("two"));
    let cache = tempfile::tempdir().unwrap();
    let fetch = async |git: &Git, repository: &Repository| {
        let remote = Remote::new(&repository.url, Auth::None, TlsOptions::default(), None).unwrap();
        let remote = git.remote(&repository.url, remote).unwrap();
        let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
        remote
            .checkout(&resolved, &Selection::default(), TIMEOUT)
            .await
            .unwrap();
    };
    for repository in [&one, &two] {
        repository.write("a", "1");
        repository.commit("1");
        fetch(&Git::open(Options::new(cache.path())).unwrap(), repository).await;
    }
    assert_eq!(stores(cache.path()), 2);
    let git = Git::open(Options::new(cache.path())).unwrap();
    server.requests();
    fetch(&git, &one).await;
    assert_eq!(lines(&server).len(), 2, "the store of the earlier run has the commit");
    git.sweep();
    assert_eq!(stores(cache.path()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_is_made_anew() {
    let server = Server::start().await;
    let repository = server.repository("app");
    fill(&repository);
    repository.commit("1");
    let (git, cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    let first = remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    let store = fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    let packs = || -> Vec<_> {
        let mut all: Vec<_> = fs::read_dir(store.join("objects/pack"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        all.retain(|path| path.extension().is_some_and(|kind| kind == "pack" || kind == "idx"));
        all
    };
    let damages: [&dyn Fn(); 5] = [
        &|| {
            packs()
                .iter()
                .for_each(|path| writable(path, |file| file.set_len(100).unwrap()))
        },
        &|| packs().iter().for_each(|path| fs::remove_file(path).unwrap()),
        &|| {
            for path in packs()
                .iter()
                .filter(|path| path.extension().is_some_and(|kind| kind == "pack"))
            {
                let mut data = fs::read(path).unwrap();
                let middle = data.len() / 2;
                data[middle..middle + 64].fill(0xff);
                writable(path, |_| ());
                fs::write(path, data).unwrap();
            }
        },
        &|| fs::write(store.join("nave-fetched"), "nonsense\n").unwrap(),
        &|| fs::write(store.join("shallow.lock"), "").unwrap(),
    ];
    for (number, damage) in damages.iter().enumerate() {
        damage();
        let again = remote
            .checkout(&resolved, &Selection::default(), TIMEOUT)
            .await
            .unwrap();
        assert_eq!(again.tree, first.tree, "damage {number}");
    }
    // Also when the next commit is fetched on top of it.
    fs::write(store.join("shallow.lock"), "").unwrap();
    repository.write("b", "2");
    repository.commit("2");
    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    let next = remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .unwrap();
    assert!(next.tree.get("b").is_some());
}

fn writable(path: &Path, change: impl FnOnce(&fs::File)) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    change(&fs::File::options().write(true).open(path).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_fetches_start_the_store_afresh() {
    let server = Server::start().await;
    let repository = server.repository("app");
    let (git, cache) = reader();
    let remote = handle(&git, &repository.url, Auth::None);
    for number in 0..70 {
        repository.write("a", &number.to_string());
        repository.commit("next");
        let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
        let found = remote
            .checkout(&resolved, &Selection::default(), TIMEOUT)
            .await
            .unwrap();
        assert_eq!(&*found.tree.get("a").unwrap().data, number.to_string().as_bytes());
    }
    let store = fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_dir())
        .unwrap();
    let packs = fs::read_dir(store.join("objects/pack")).unwrap().count();
    assert!(packs < 2 * 64, "{packs} files");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_large_to_unpack_is_refused_and_others_go_on() {
    let server = Server::start().await;
    let repository = server.repository("heavy");
    // A file of nothing but zeros is small on the wire.
    repository.write("disk.img", &"0".repeat(3 << 20));
    repository.commit("an image");
    let cache = tempfile::tempdir().unwrap();
    let options = Options {
        max_object: 2 << 20,
        ..Options::new(cache.path())
    };
    let git = Git::open(options).unwrap();
    let remote = handle(&git, &repository.url, Auth::None);
    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    let error = remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .expect_err("the file is larger than a file may be");
    let text = error.to_string();
    assert!(text.contains("holds more than 2097152 bytes in one file"), "{text}");
    assert!(text.contains("Git LFS"), "{text}");

    repository.write("disk.img", "elsewhere");
    repository.commit("no image");
    let resolved = remote.resolve(&main_branch(), TIMEOUT).await.unwrap();
    remote
        .checkout(&resolved, &Selection::default(), TIMEOUT)
        .await
        .expect("what is small enough is fetched");
}
