//! Trees of the kinds that people have: one small application, one large overlay, one repository for a whole company.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Applications of the monorepo; every overlay stands over one of them.
const BASES: usize = 20;
/// Files of the large tree, with three objects each.
const FILES: usize = 100;

/// Directories to build.
pub struct Trees {
    /// An overlay over a base of four objects.
    pub small: PathBuf,
    /// An overlay over 300 objects.
    pub large: PathBuf,
    /// Overlays over shared bases and a shared component.
    pub monorepo: Vec<PathBuf>,
}

impl Trees {
    /// Writes all trees below a folder.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(root: &Path, overlays: usize) -> Result<Trees> {
        let root = root.canonicalize()?;
        Ok(Trees {
            small: small(&root.join("small"))?,
            large: large(&root.join("large"))?,
            monorepo: monorepo(&root.join("monorepo"), overlays)?,
        })
    }
}

fn small(root: &Path) -> Result<PathBuf> {
    write(root, "base/app.yaml", &application("web"))?;
    write(root, "base/kustomization.yaml", "resources:\n- app.yaml\n")?;
    write(root, "overlay/patch.yaml", &patch("web", 3))?;
    write(
        root,
        "overlay/kustomization.yaml",
        "namespace: shop\nnamePrefix: eu-\nresources:\n- ../base\nlabels:\n- pairs:\n    env: staging\n  includeSelectors: true\n\
         patches:\n- path: patch.yaml\nimages:\n- name: example.com/web\n  newTag: 2.8.0\n\
         configMapGenerator:\n- name: settings\n  literals:\n  - LEVEL=debug\n  - REGION=eu\n",
    )?;
    Ok(root.join("overlay"))
}

fn large(root: &Path) -> Result<PathBuf> {
    let mut resources = String::from("resources:\n");
    for number in 0..FILES {
        let name = format!("service-{number:03}");
        // Deployment, Service and ConfigMap.
        let text: Vec<String> = application(&name).split("---\n").take(3).map(str::to_owned).collect();
        write(root, &format!("base/{name}.yaml"), &text.join("---\n"))?;
        writeln!(resources, "- {name}.yaml")?;
    }
    write(root, "base/kustomization.yaml", &resources)?;
    write(root, "overlay/patch.yaml", &patch("service-042", 5))?;
    write(
        root,
        "overlay/kustomization.yaml",
        "namespace: shop\nnamePrefix: eu-\nresources:\n- ../base\nlabels:\n- pairs:\n    env: production\n  includeSelectors: true\n\
         commonAnnotations:\n  team: platform\n\
         patches:\n- path: patch.yaml\n- target:\n    kind: Deployment\n    name: service-01.\n  patch: |-\n    - op: replace\n      path: /spec/replicas\n      value: 4\n\
         images:\n- name: example.com/service-007\n  newName: mirror.example.com/service-007\n  newTag: 3.1.4\n\
         configMapGenerator:\n- name: settings\n  literals:\n  - LEVEL=info\n",
    )?;
    Ok(root.join("overlay"))
}

fn monorepo(root: &Path, overlays: usize) -> Result<Vec<PathBuf>> {
    for number in 0..BASES {
        let name = format!("app-{number:02}");
        write(root, &format!("bases/{name}/app.yaml"), &application(&name))?;
        write(
            root,
            &format!("bases/{name}/kustomization.yaml"),
            "resources:\n- app.yaml\n",
        )?;
    }
    write(
        root,
        "components/quiet/kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n\
         patches:\n- target:\n    kind: Deployment\n  patch: |-\n    - op: add\n      path: /spec/template/spec/terminationGracePeriodSeconds\n      value: 5\n",
    )?;
    let mut dirs = Vec::new();
    for number in 0..overlays {
        let name = format!("app-{:02}", number % BASES);
        let dir = format!("overlays/tenant-{number:04}");
        write(root, &format!("{dir}/patch.yaml"), &patch(&name, 1 + number % 7))?;
        let mut text = format!(
            "namespace: tenant-{number:04}\nnameSuffix: -t{number}\nresources:\n- ../../bases/{name}\n\
             labels:\n- pairs:\n    tenant: tenant-{number:04}\n  includeSelectors: true\n\
             patches:\n- path: patch.yaml\nimages:\n- name: example.com/{name}\n  newTag: 1.{number}.0\n\
             configMapGenerator:\n- name: tenant\n  literals:\n  - TENANT=tenant-{number:04}\n"
        );
        if number % 2 == 0 {
            text.push_str("components:\n- ../../components/quiet\n");
        }
        write(root, &format!("{dir}/kustomization.yaml"), &text)?;
        dirs.push(root.join(dir));
    }
    Ok(dirs)
}

fn patch(name: &str, replicas: usize) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {replicas}\n  template:\n    spec:\n      \
         containers:\n      - name: app\n        resources:\n          limits:\n            memory: 256Mi\n        env:\n        - name: REPLICAS\n          value: \"{replicas}\"\n"
    )
}

/// A Deployment, a Service, a ConfigMap and an Ingress that name each other.
fn application(name: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: {name}
spec:
  replicas: 2
  selector:
    matchLabels:
      app.kubernetes.io/name: {name}
  template:
    metadata:
      labels:
        app.kubernetes.io/name: {name}
      annotations:
        prometheus.io/scrape: \"true\"
        prometheus.io/port: \"9090\"
    spec:
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
      containers:
      - name: app
        image: example.com/{name}:1.0.0
        args:
        - --listen=:8080
        - --config=/etc/{name}/config.yaml
        ports:
        - name: http
          containerPort: 8080
        - name: metrics
          containerPort: 9090
        env:
        - name: POD_NAME
          valueFrom:
            fieldRef:
              fieldPath: metadata.name
        - name: LOG_LEVEL
          valueFrom:
            configMapKeyRef:
              name: {name}
              key: level
        resources:
          requests:
            cpu: 100m
            memory: 64Mi
        readinessProbe:
          httpGet:
            path: /ready
            port: http
        livenessProbe:
          httpGet:
            path: /live
            port: http
          initialDelaySeconds: 5
        volumeMounts:
        - name: config
          mountPath: /etc/{name}
      volumes:
      - name: config
        configMap:
          name: {name}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
  labels:
    app.kubernetes.io/name: {name}
spec:
  selector:
    app.kubernetes.io/name: {name}
  ports:
  - name: http
    port: 80
    targetPort: http
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}
data:
  level: info
  config.yaml: |
    server:
      address: :8080
      timeout: 30s
    database:
      host: postgres.{name}.svc
      pool: 10
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  annotations:
    nginx.ingress.kubernetes.io/rewrite-target: /
spec:
  rules:
  - host: {name}.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: {name}
            port:
              name: http
"
    )
}

fn write(root: &Path, name: &str, text: &str) -> Result<()> {
    let path = root.join(name);
    fs::create_dir_all(path.parent().context("a file has a folder")?)?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
