//! Charts that are broken or hostile: a clear error, in bounded time and memory.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use nave_chart::{
    LoadLimits, Lookup, LookupError, RenderLimits, RenderRequest, Values, load_archive, load_folder, render,
};
use serde_json::{Value, json};

use crate::support::{chain, chart};

/// Renders one template on a thread with the stack that threads have by default.
fn error_of(files: &[(&str, &str)]) -> String {
    let files: Vec<(String, String)> = files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let work = move || {
        let files: Vec<(&str, &str)> = files.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let mut request = RenderRequest::install("rel", "default", Values::new());
        request.limits = RenderLimits {
            fuel: 20_000_000,
            bytes: 64 << 20,
            ..RenderLimits::default()
        };
        match render(&chart(&files), &request) {
            Ok(rendered) => panic!("rendered: {:?}", rendered.files),
            Err(error) => chain(&error),
        }
    };
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(work)
        .expect("a thread");
    thread.join().expect("an error, no panic")
}

#[track_caller]
fn check(template: &str, parts: &[&str]) {
    let error = error_of(&[("templates/a.yaml", template)]);
    for part in parts {
        assert!(error.contains(part), "{template}: {part} is not in {error}");
    }
}

#[test]
fn endless_recursion_ends() {
    check(
        "{{ define \"x\" }}{{ include \"x\" . }}{{ end }}{{ include \"x\" . }}",
        &[
            "rendering template has a nested reference name: x: unable to execute template",
            "web/templates/a.yaml:1:",
        ],
    );
    check(
        "{{ define \"x\" }}{{ template \"x\" . }}{{ end }}{{ template \"x\" . }}",
        &["exceeded maximum template depth", "web/templates/a.yaml:1:"],
    );
    let error = error_of(&[
        ("values.yaml", "t: '{{ tpl .Values.t . }}'"),
        ("templates/a.yaml", "\na: {{ tpl .Values.t . }}"),
    ]);
    assert!(error.contains("exceeded maximum template depth"), "{error}");
}

#[test]
fn huge_results_are_refused_before_they_are_made() {
    for template in [
        "{{ until 2000000000 }}",
        "{{ untilStep 0 2000000000 1 | len }}",
        "{{ repeat 2000000000 \"x\" }}",
        "{{ range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}",
        "{{ range until 1000000 }}{{ printf \"%1000d\" 1 }}{{ end }}",
        "{{ indent 2000000000 \"x\" }}",
        "{{ randAlphaNum 2000000000 }}",
    ] {
        check(template, &["template "]);
    }
}

#[test]
fn a_map_that_holds_itself_is_no_endless_walk() {
    for template in [
        "{{ $_ := set .Values \"x\" .Values }}{{ toYaml .Values | required \"nothing\" }}",
        "{{ $_ := set .Values \"x\" .Values }}{{ print .Values }}",
        "{{ $_ := set .Values \"x\" .Values }}{{ mustToJson .Values }}",
    ] {
        check(template, &["web/templates/a.yaml:1:"]);
    }
}

#[test]
fn errors_name_the_chart_file_line_and_expression() {
    let error = error_of(&[
        ("templates/a.yaml", "a: 1\nb: {{ include \"sub.x\" .Subcharts.sub }}\n"),
        ("charts/sub/Chart.yaml", "apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
        (
            "charts/sub/templates/_h.tpl",
            "{{ define \"sub.x\" }}\n{{ .Values.a.b.c }}{{ end }}",
        ),
    ]);
    for part in [
        "web/templates/a.yaml:2:6",
        "at <include \"sub.x\" .Subcharts.sub>:",
        "web/charts/sub/templates/_h.tpl:2:12",
        "executing \"sub.x\" at <.Values.a.b.c>:",
        "nil pointer evaluating interface {}.b",
    ] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[test]
fn lookups_are_asked_and_their_errors_said() {
    struct Cluster;
    impl Lookup for Cluster {
        fn lookup(&self, version: &str, kind: &str, namespace: &str, name: &str) -> Result<Option<Value>, LookupError> {
            match (version, kind, namespace, name) {
                ("v1", "Secret", "shop", "a") => Ok(Some(json!({"data": {"n": 3, "f": 1.5}}))),
                ("v1", "Secret", "shop", "") => Ok(Some(json!({"items": [{"metadata": {"name": "a"}}]}))),
                ("v1", "Secret", ..) => Ok(None),
                _ => Err(LookupError::new(format!("there is no kind {kind} in {version}"))),
            }
        }
    }
    let run = |template: &str| {
        let mut request = RenderRequest::install("rel", "default", Values::new());
        request.lookup = Some(std::sync::Arc::new(Cluster));
        render(&chart(&[("templates/a.yaml", template)]), &request)
            .map(|mut rendered| rendered.files.remove("web/templates/a.yaml").unwrap_or_default())
            .map_err(|error| error.to_string())
    };
    let template = "{{ (lookup \"v1\" \"Secret\" \"shop\" \"a\").data }} \
        {{ range (lookup \"v1\" \"Secret\" \"shop\" \"\").items }}{{ .metadata.name }}{{ end }} \
        {{ if not (lookup \"v1\" \"Secret\" \"shop\" \"none\") }}none{{ end }}";
    assert_eq!(run(&format!("a: '{template}'")).unwrap(), "a: 'map[f:1.5 n:3] a none'");
    let error = run("{{ lookup \"x/v1\" \"Thing\" \"\" \"\" }}").unwrap_err();
    assert!(
        error.contains("error calling lookup: there is no kind Thing in x/v1"),
        "{error}"
    );
}

fn pack(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        // The library refuses such paths, so that they are written as bytes.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append(&header, *content).expect("memory");
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder
        .write_all(&archive.into_inner().expect("memory"))
        .expect("memory");
    encoder.finish().expect("memory")
}

const CHART: (&str, &[u8]) = ("web/Chart.yaml", b"apiVersion: v2\nname: web\nversion: 1.0.0\n");

#[track_caller]
fn check_archive(archive: &[u8], part: &str) {
    let error = chain(&load_archive(archive, &LoadLimits::default()).expect_err(part));
    assert!(error.contains(part), "{part} is not in {error}");
}

#[test]
fn archives_that_lead_out_or_swell_are_refused() {
    assert_eq!(
        load_archive(&pack(&[CHART]), &LoadLimits::default())
            .expect("a chart")
            .name(),
        "web"
    );
    check_archive(b"PK\x03\x04", "it is no gzipped archive");
    check_archive(&pack(&[]), "no files in chart archive");
    check_archive(
        &pack(&[CHART, ("web/../../etc/passwd", b"x")]),
        "references parent directory",
    );
    check_archive(&pack(&[CHART, ("web//etc/passwd", b"x")]), "absolute paths");
    check_archive(&pack(&[CHART, ("web/c:/x", b"x")]), "illegally named files");
    check_archive(&pack(&[("Chart.yaml", b"x")]), "chart yaml not in base directory");
    check_archive(&pack(&[("web/values.yaml", b"x")]), "Chart.yaml file is missing");
    let large = vec![0; 60 << 20];
    check_archive(
        &pack(&[CHART, ("web/a", &large), ("web/b", &large)]),
        "decompressed chart is larger than the maximum size 104857600",
    );
    let inner = pack(&[
        ("sub/Chart.yaml", b"apiVersion: v2\nname: sub\nversion: 1.0.0\n"),
        ("sub/a", &large),
    ]);
    check_archive(
        &pack(&[CHART, ("web/a", &large), ("web/charts/sub.tgz", &inner)]),
        "error unpacking subchart sub.tgz in web: decompressed chart is larger",
    );
    let mut cut = pack(&[CHART, ("web/a", b"0123456789")]);
    cut.truncate(cut.len() - 20);
    check_archive(&cut, "unable to load chart archive");
    // A header that claims more than follows.
    let mut bytes = Vec::new();
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..5].copy_from_slice(b"web/a");
    header.set_size(50 << 20);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).expect("memory");
    check_archive(&encoder.finish().expect("memory"), "unable to load chart archive");
}

#[test]
fn charts_in_charts_have_an_end() {
    let mut files = Vec::new();
    let mut prefix = String::new();
    for _ in 0..60 {
        files.push((
            format!("{prefix}Chart.yaml"),
            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        ));
        prefix.push_str("charts/web/");
    }
    let error = chain(&load_folder(files, &LoadLimits::default()).expect_err("too deep"));
    assert!(error.contains("charts are nested in more than 24 levels"), "{error}");
}

#[test]
fn broken_files_are_named() {
    for (file, text, part) in [
        ("values.yaml", "a: [", "cannot load values.yaml: "),
        (
            "values.yaml",
            "- a",
            "cannot load values.yaml: line 1: cannot unmarshal array into values",
        ),
        ("Chart.yaml", "a: [", "cannot load Chart.yaml: "),
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\n",
            "validation: chart.metadata.version is required",
        ),
        (
            "Chart.yaml",
            "apiVersion: v2\nversion: 1.0.0\n",
            "validation: chart.metadata.name is required",
        ),
        (
            "Chart.yaml",
            "apiVersion: v2\nname: a/b\nversion: 1.0.0\n",
            "chart.metadata.name \"a/b\" is invalid",
        ),
        (
            "Chart.yaml",
            "apiVersion: v3\nname: web\nversion: 1.0.0\n",
            "apiVersion \"v3\"",
        ),
        (
            "Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\nkeywords: x\n",
            "line 4: cannot unmarshal string into Metadata.keywords of type array",
        ),
        (
            "charts/sub/values.yaml",
            "x",
            "error unpacking subchart sub in web: Chart.yaml file is missing",
        ),
        (".helmignore", "a/**", "cannot load .helmignore: line 1: double-star"),
    ] {
        let mut files = vec![("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n")];
        files.retain(|(name, _)| *name != file);
        files.push((file, text));
        let error = chain(&load_folder(files, &LoadLimits::default()).expect_err(part));
        assert!(error.contains(part), "{part} is not in {error}");
    }
}
