//! Charts of our own, as archives.

use std::io::Write;

use anyhow::Result;

/// A chart as an archive: `Chart.yaml` for this version, and files below `templates/` or elsewhere.
pub fn archive(name: &str, version: &str, files: &[(&str, String)]) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, text: &str| -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append_data(&mut header, format!("{name}/{path}"), text.as_bytes())?;
        Ok(())
    };
    let about = format!("apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: \"7\"\n");
    add("Chart.yaml", &about)?;
    add("values.yaml", "greeting: hello\n")?;
    for (path, text) in files {
        add(path, text)?;
    }
    let bytes = tar.into_inner()?;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&bytes)?;
    Ok(packed.finish()?)
}

/// A ConfigMap; `annotations` are lines below `annotations:`.
pub fn config(name: &str, value: &str, annotations: &str) -> String {
    let annotations = match annotations {
        "" => String::new(),
        text => format!("  annotations:\n    {text}\n"),
    };
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n{annotations}data:\n  value: \"{value}\"\n")
}

/// A Deployment of one pod with these annotations.
pub fn deployment(name: &str, annotations: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  selector:\n    matchLabels: {{app: {name}}}\n  \
         template:\n    metadata:\n      labels: {{app: {name}}}\n      annotations: {{{annotations}}}\n    spec:\n      containers:\n      \
         - name: app\n        image: example.com/app:1\n"
    )
}

/// A Job or Pod that is run at an event.
pub fn hook(kind: &str, name: &str, event: &str, policy: &str, annotations: &str) -> String {
    let head = format!(
        "metadata:\n  name: {name}\n  annotations:\n    helm.sh/hook: {event}\n    helm.sh/hook-delete-policy: {policy}\n"
    );
    let containers = "restartPolicy: Never\n  containers:\n  - name: app\n    image: example.com/app:1\n";
    match kind {
        "Pod" => format!("apiVersion: v1\nkind: Pod\n{head}    {annotations}\nspec:\n  {containers}"),
        _ => {
            let containers = containers.replace("\n  ", "\n      ");
            format!(
                "apiVersion: batch/v1\nkind: Job\n{head}spec:\n  backoffLimit: 0\n  template:\n    metadata:\n      annotations:\n        \
                 {annotations}\n    spec:\n      {containers}"
            )
        }
    }
}
