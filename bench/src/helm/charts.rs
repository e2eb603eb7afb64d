//! Charts of the kinds that people have: one application with helpers, and one with a hundred templates.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Templates of the large chart.
const TEMPLATES: usize = 100;

const HELPERS: &str = r#"{{- define "app.fullname" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- define "app.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "app.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "app.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
"#;

const VALUES: &str = "replicas: 0\nimage: {repository: registry.example.com/app, pullPolicy: IfNotPresent}\nhost: example.com\n\
                      service: {port: 80, targetPort: 8080}\nresources:\n  requests: {cpu: 100m, memory: 64Mi}\n\
                      env:\n- {name: LEVEL, value: info}\n- {name: REGION, value: eu}\npodAnnotations: {team: platform}\n\
                      tolerations: []\naffinity: {}\n";

const ACCOUNT: &str = r#"apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "app.fullname" . }}NUMBER
  labels:
    {{- include "app.labels" . | nindent 4 }}
"#;

const SERVICE: &str = r#"apiVersion: v1
kind: Service
metadata:
  name: {{ include "app.fullname" . }}NUMBER
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  ports:
  - name: http
    port: {{ .Values.service.port }}
    targetPort: {{ .Values.service.targetPort }}
  selector:
    {{- include "app.selector" . | nindent 4 }}
"#;

const INGRESS: &str = r#"{{- if .Capabilities.APIVersions.Has "v1" }}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "app.fullname" . }}NUMBER
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  rules:
  - host: {{ printf "%s.%s" .Release.Name .Values.host | quote }}
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: {{ include "app.fullname" . }}NUMBER
            port: {name: http}
{{- end }}
"#;

const DEPLOYMENT: &str = r#"apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "app.fullname" . }}NUMBER
  labels:
    {{- include "app.labels" . | nindent 4 }}
spec:
  replicas: {{ .Values.replicas }}
  selector:
    matchLabels:
      {{- include "app.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "app.selector" . | nindent 8 }}
      {{- with .Values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ include "app.fullname" . }}NUMBER
      containers:
      - name: {{ .Chart.Name }}
        image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        ports:
        - {name: http, containerPort: {{ .Values.service.targetPort }}}
        env:
        {{- range .Values.env }}
        - name: {{ .name | quote }}
          value: {{ tpl .value $ | quote }}
        {{- end }}
        resources:
          {{- toYaml .Values.resources | nindent 10 }}
      {{- with .Values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
"#;

/// Folders with charts.
pub struct Charts {
    /// Four objects.
    pub small: PathBuf,
    /// A hundred templates.
    pub large: PathBuf,
}

impl Charts {
    /// Writes both below a folder.
    ///
    /// # Errors
    /// The disk is full.
    pub fn write(root: &Path) -> Result<Charts> {
        Ok(Charts {
            small: application(&root.join("small"), "1.0.0")?,
            large: large(&root.join("large"))?,
        })
    }
}

/// The chart `app` in this version: the four objects of the published benchmark.
pub fn application(dir: &Path, version: &str) -> Result<PathBuf> {
    about(dir, version)?;
    for (name, text) in [
        ("serviceaccount", ACCOUNT),
        ("service", SERVICE),
        ("ingress", INGRESS),
        ("deployment", DEPLOYMENT),
    ] {
        write(dir, &format!("templates/{name}.yaml"), &text.replace("NUMBER", ""))?;
    }
    Ok(dir.to_owned())
}

fn large(dir: &Path) -> Result<PathBuf> {
    about(dir, "1.0.0")?;
    let kinds = [ACCOUNT, SERVICE, INGRESS, DEPLOYMENT];
    for number in 0..TEMPLATES {
        let text = kinds[number % kinds.len()].replace("NUMBER", &format!("-{number:03}"));
        write(dir, &format!("templates/part-{number:03}.yaml"), &text)?;
    }
    Ok(dir.to_owned())
}

fn about(dir: &Path, version: &str) -> Result<()> {
    let text = format!("apiVersion: v2\nname: app\nversion: {version}\nappVersion: \"{version}\"\n");
    write(dir, "Chart.yaml", &text)?;
    write(dir, "values.yaml", VALUES)?;
    write(dir, "templates/_helpers.tpl", HELPERS)
}

fn write(dir: &Path, path: &str, text: &str) -> Result<()> {
    let path = dir.join(path);
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
