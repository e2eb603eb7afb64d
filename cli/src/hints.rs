//! One line for an error, and what its reader can do.

use kube::{config::KubeconfigError, runtime::watcher};

use crate::failure::Advised;

/// The whole chain in one line, without repetitions.
///
/// kube's errors print their sources themselves, some with a debug form of the API server's answer; those are put into
/// words here and end the chain.
pub fn describe(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        if let Some(kube) = find_kube(cause) {
            parts.push(describe_kube(kube));
            break;
        }
        if let Some(kubeconfig) = cause.downcast_ref::<KubeconfigError>() {
            parts.push(describe_kubeconfig(kubeconfig));
            break;
        }
        let text = one_line(&cause.to_string());
        if !parts.iter().any(|part| part.ends_with(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// What the reader can do; empty when nothing comes to mind that is not in the error itself.
pub fn hints(error: &anyhow::Error) -> Vec<String> {
    let mut hints = Vec::new();
    for cause in error.chain() {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            hints.push(advised.hint().to_owned());
        }
        if let Some(kubeconfig) = cause.downcast_ref::<KubeconfigError>() {
            hints.push(kubeconfig_hint(kubeconfig).to_owned());
        } else if let Some(kube) = find_kube(cause) {
            hints.extend(kube_hint(kube));
            break;
        }
    }
    hints.dedup();
    hints
}

/// Whether the reader of our output went away.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Whether asking again is of no use: the API server answered, and the answer was no.
pub fn is_refusal(error: &watcher::Error) -> bool {
    match find_kube(error) {
        // 410 and 429 are how the API server says "start over" and "later".
        Some(kube::Error::Api(status)) => (400..500).contains(&status.code) && ![410, 429].contains(&status.code),
        Some(_) | None => false,
    }
}

/// kube-runtime wraps the client's error.
fn find_kube<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a kube::Error> {
    if let Some(kube) = cause.downcast_ref::<kube::Error>() {
        return Some(kube);
    }
    match cause.downcast_ref::<watcher::Error>()? {
        watcher::Error::InitialListFailed(kube)
        | watcher::Error::WatchStartFailed(kube)
        | watcher::Error::WatchFailed(kube) => Some(kube),
        _ => None,
    }
}

fn describe_kube(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => one_line(&status.message),
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::Service(source) => match one_line(&innermost(source.as_ref())).as_str() {
            "deadline has elapsed" => "the API server did not answer in time".to_owned(),
            text => text.to_owned(),
        },
        kube::Error::HyperError(source) => one_line(&innermost(source)),
        kube::Error::Auth(source) => format!(
            "getting credentials for the API server: {}",
            one_line(&innermost(source))
        ),
        other => one_line(&other.to_string()),
    }
}

fn describe_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::CurrentContextNotSet => "the kubeconfig has no current context".to_owned(),
        KubeconfigError::LoadContext(name) => format!("the kubeconfig has no context {name:?}"),
        KubeconfigError::LoadClusterOfContext(name) => format!("the kubeconfig has no cluster {name:?}"),
        KubeconfigError::ReadConfig(source, path) => format!("reading kubeconfig {}: {source}", path.display()),
        KubeconfigError::FindPath => {
            "there is no kubeconfig: neither KUBECONFIG nor a home directory is known".to_owned()
        }
        KubeconfigError::Parse(source) => format!("the kubeconfig is malformed: {}", one_line(&source.to_string())),
        other => one_line(&other.to_string()),
    }
}

fn kubeconfig_hint(error: &KubeconfigError) -> &'static str {
    match error {
        KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
            "`kubectl config get-contexts` lists the contexts; choose one with --context"
        }
        _ => "name a kubeconfig with --kubeconfig FILE or the environment variable KUBECONFIG",
    }
}

fn kube_hint(error: &kube::Error) -> Option<String> {
    let hint = match error {
        kube::Error::Api(status) => match status.code {
            401 => "the API server does not accept these credentials; log in again or choose another --context",
            403 => "these credentials may not do that; ask for the rights, or act for somebody else with --as",
            404 if status.message.contains("could not find the requested resource")
                || status.message.contains("page not found") =>
            {
                "the cluster does not know this kind; `nave check` shows what is installed, `nave install` adds it"
            }
            _ => return None,
        },
        kube::Error::Service(source) => {
            let text = innermost(source.as_ref()).to_lowercase();
            if text.contains("refused")
                || text.contains("timed out")
                || text.contains("deadline has elapsed")
                || text.contains("unreachable")
            {
                "the API server does not answer; is the cluster up, and is this the right --context?"
            } else if text.contains("certificate") || text.contains("unknownissuer") {
                "the certificate of the API server is not signed by the authority in the kubeconfig"
            } else if text.contains("lookup") || text.contains("resolve") || text.contains("name or service") {
                "the name of the API server cannot be resolved; check clusters[].cluster.server in the kubeconfig"
            } else {
                return None;
            }
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The last source of an error tells what happened; the ones above it which layer noticed.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context;
    use kube::core::Status;

    use super::*;
    use crate::failure::advised;

    fn check(error: anyhow::Error, text: &str, hint: Option<&str>) {
        assert_eq!(describe(&error), text);
        let hints = hints(&error);
        match hint {
            Some(part) => assert!(hints.iter().any(|hint| hint.contains(part)), "{hints:?}"),
            None => assert!(hints.is_empty(), "{hints:?}"),
        }
    }

    fn api(code: u16, message: &str) -> anyhow::Error {
        kube::Error::Api(Box::new(Status {
            code,
            message: message.to_owned(),
            ..Status::default()
        }))
        .into()
    }

    #[test]
    fn answers_of_the_api_server_are_put_into_one_line() {
        check(
            api(403, "secrets is forbidden:\n User \"x\" cannot list").context("listing secrets"),
            "listing secrets: secrets is forbidden: User \"x\" cannot list",
            Some("--as"),
        );
        check(api(401, "Unauthorized"), "Unauthorized", Some("log in again"));
        check(api(409, "conflict"), "conflict", None);
        check(
            api(404, "the server could not find the requested resource"),
            "the server could not find the requested resource",
            Some("nave install"),
        );
    }

    #[test]
    fn sources_are_not_repeated() {
        let error = Err::<(), _>(std::io::Error::other("disk full"))
            .context("writing x: disk full")
            .unwrap_err();
        check(error, "writing x: disk full", None);
    }

    #[test]
    fn a_missing_kubeconfig_is_named_with_a_way_out() {
        let error = kube::config::Kubeconfig::read_from("/nowhere/kubeconfig").unwrap_err();
        check(
            error.into(),
            "reading kubeconfig /nowhere/kubeconfig: No such file or directory (os error 2)",
            Some("KUBECONFIG"),
        );
    }

    #[test]
    fn advice_travels_with_its_error() {
        check(
            advised("no such thing", "make one").context("looking"),
            "looking: no such thing",
            Some("make one"),
        );
    }
}
