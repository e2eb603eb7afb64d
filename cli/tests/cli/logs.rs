//! `nave logs` against an API server that has logs: the test's own, since nothing runs pods here.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::support::{Files, Outcome, RUNTIME, nave};

const AGENT: &str = "\
not JSON\n\
{\"level\":\"info\",\"ts\":\"2026-11-21T07:00:00.000Z\",\"msg\":\"Applied\",\"controllerKind\":\"Kustomization\",\"name\":\"apps\",\"namespace\":\"team\"}\n\
{\"level\":\"error\",\"ts\":\"2026-11-21T07:00:01.000Z\",\"msg\":\"Reconciler error\",\"controllerKind\":\"GitRepository\",\"name\":\"src\",\"namespace\":\"flux-system\",\"error\":\"no route\"}\n\
{\"level\":\"info\",\"ts\":\"2026-11-21T07:00:02.000Z\",\"msg\":\"starting\"}\n";

const APPLIED: &str = "2026-11-21T07:00:00.000Z info Kustomization/apps.team - Applied \n";
const FAILED: &str = "2026-11-21T07:00:01.000Z error GitRepository/src.flux-system - Reconciler error no route\n";
const STARTING: &str = "2026-11-21T07:00:02.000Z info  - starting \n";

fn answer(path: &str) -> (u16, String) {
    let list = |api_version: &str, kind: &str, items: Value| {
        json!({"apiVersion": api_version, "kind": kind, "metadata": {}, "items": items}).to_string()
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    match path {
        "/apis/apps/v1/namespaces/flux-system/deployments" if query.contains("part-of%3Dflux") => {
            let deployment = json!({
                "metadata": {"name": "nave-agent", "namespace": "flux-system"},
                "spec": {"selector": {"matchLabels": {"app": "nave-agent"}}, "template": {}}
            });
            (200, list("apps/v1", "DeploymentList", json!([deployment])))
        }
        "/api/v1/namespaces/flux-system/pods" if query.contains("app%3Dnave-agent") => {
            let pod = |name: &str, phase: &str| {
                let container = |name: &str| json!({"name": name, "image": "x"});
                json!({
                    "metadata": {"name": name, "namespace": "flux-system"},
                    "spec": {"containers": [container("proxy"), container("manager")]}, "status": {"phase": phase}
                })
            };
            (
                200,
                list("v1", "PodList", json!([pod("a", "Pending"), pod("b", "Running")])),
            )
        }
        "/api/v1/namespaces/flux-system/pods/b/log" if query.contains("container=manager") => match query {
            query if query.contains("tailLines=1") => (200, AGENT.lines().last().unwrap_or_default().to_owned()),
            query if query.contains("sinceSeconds=90") => (200, String::new()),
            _ => (200, AGENT.to_owned()),
        },
        "/apis/apps/v1/namespaces/nave-system/deployments" if query.contains("part-of%3Dnave") => {
            (200, list("apps/v1", "DeploymentList", json!([])))
        }
        _ => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404,
                "reason": "NotFound", "message": format!("nothing at {path}?{query}")});
            (404, status.to_string())
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 8192];
        let length = stream.read(&mut request).await.unwrap_or(0);
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let (code, body) = answer(request.split(' ').nth(1).unwrap_or_default());
        let head = format!(
            "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        // A client that goes away early is its own test's failure.
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    }
}

fn kubeconfig(address: SocketAddr) -> String {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    })
    .to_string()
}

#[test]
fn lines_are_chosen_by_what_they_are_about() {
    let (address, server) = RUNTIME.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        (address, RUNTIME.spawn(serve(listener)))
    });
    let files = Files::new(&[("kubeconfig", &kubeconfig(address))]);
    let file = files.path("kubeconfig");
    let logs = |line: &str| -> Outcome {
        let mut words = vec!["logs"];
        words.extend(line.split_whitespace());
        RUNTIME.block_on(nave(Some(file.as_ref()), &words))
    };
    for (line, expected) in [
        ("-A", format!("{APPLIED}{FAILED}{STARTING}")),
        ("", FAILED.to_owned()),
        ("-n team", APPLIED.to_owned()),
        ("-A --level error", FAILED.to_owned()),
        ("-A --kind kustomization --name apps", APPLIED.to_owned()),
        ("-A --name nobody", String::new()),
        ("-A --tail 1", STARTING.to_owned()),
        ("-A --since 89.5s", String::new()),
        // A stream that ends is over, though more was hoped for.
        ("-A --follow", format!("{APPLIED}{FAILED}{STARTING}")),
    ] {
        assert_eq!(logs(line).ok(), expected, "{line}");
    }
    let error = logs("--hub").fails(1);
    assert!(
        error.contains("no pods of the hub found in \"nave-system\" namespace\nhint: "),
        "{error}"
    );
    let error = logs("--flux-namespace elsewhere").fails(1);
    assert!(
        error.contains("nothing at /apis/apps/v1/namespaces/elsewhere/deployments"),
        "{error}"
    );
    server.abort();
}
