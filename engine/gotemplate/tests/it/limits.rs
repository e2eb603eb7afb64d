//! What templates may cost.

use nave_gotemplate::{LimitExceeded, Limits, RenderError, Session, Templates, Value};

use crate::functions;

fn run_with(limits: Limits, text: &str) -> Result<Vec<u8>, RenderError> {
    let mut templates = Templates::new("set", functions::all());
    templates.parse("t", text.as_bytes())?;
    templates.execute(&mut Session::new(limits), "t", Value::map())
}

/// Runs where a stack is as small as threads usually have it.
fn on_small_stack(check: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(check)
        .expect("a thread");
    thread.join().expect("no panic, and no overflow");
}

fn check_limit(limits: Limits, text: &'static str, want: LimitExceeded) {
    on_small_stack(move || {
        let error = run_with(limits, text).expect_err(text);
        assert_eq!(error.limit(), Some(want), "{text}: {error}");
    });
}

fn small() -> Limits {
    Limits {
        fuel: 1_000_000,
        bytes: 16 << 20,
        depth: 1100,
    }
}

#[test]
fn recursion_ends_at_the_depth_on_a_small_stack() {
    let depth = LimitExceeded::Depth(1100);
    check_limit(
        small(),
        r#"{{define "r"}}{{template "r" .}}{{end}}{{template "r"}}"#,
        depth,
    );
    check_limit(
        small(),
        r#"{{define "r"}}{{include "r" . | up}}{{end}}{{include "r" .}}"#,
        depth,
    );
    check_limit(
        small(),
        r#"{{define "r"}}{{if true}}{{with 1}}{{range list 1}}{{include "r" . | up}}{{end}}{{end}}{{end}}{{end}}{{include "r" .}}"#,
        depth,
    );
    check_limit(
        small(),
        r#"{{define "r"}}{{tpl "{{include \"r\" .}}" .}}{{end}}{{include "r" .}}"#,
        depth,
    );
}

#[test]
fn an_error_deep_within_templates_comes_up_whole() {
    on_small_stack(|| {
        let text = r#"{{define "r"}}{{if gt (len .) 900}}{{fail "the bottom"}}{{else}}{{include "r" (print . "x")}}{{end}}{{end}}{{include "r" ""}}"#;
        let error = run_with(
            Limits {
                bytes: 1 << 30,
                ..small()
            },
            text,
        )
        .expect_err("fails")
        .to_string();
        assert!(error.starts_with("template: t:1:"), "{}", &error[..100]);
        assert!(
            error.ends_with("error calling fail: the bottom"),
            "{}",
            &error[error.len() - 100..]
        );
        assert!(error.len() < 200_000, "{}", error.len());
    });
}

#[test]
fn loops_end_when_the_fuel_does() {
    check_limit(
        small(),
        "{{range 9223372036854775807}}{{end}}",
        LimitExceeded::Fuel(1_000_000),
    );
    check_limit(
        small(),
        "{{range 100000}}{{range 100000}}{{end}}{{end}}",
        LimitExceeded::Fuel(1_000_000),
    );
}

#[test]
fn text_ends_when_the_bytes_do() {
    let bytes = |error: RenderError| matches!(error.limit(), Some(LimitExceeded::Bytes(_)));
    for text in [
        r#"{{$x := "ab"}}{{range 100}}{{$x = print $x $x}}{{end}}"#,
        r#"{{range 1000}}{{printf "%1000000d" 1}}{{end}}"#,
        r#"{{printf "%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d%1000000d" 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18}}"#,
        r#"{{$x := list 1}}{{range 100}}{{$x = list $x $x $x}}{{end}}{{$x}}"#,
        r#"{{define "r"}}0123456789012345678901234567890123456789{{template "r" .}}{{template "r" .}}{{end}}{{template "r"}}"#,
        r#"{{$x := "ab"}}{{range 100}}{{$x = html $x $x}}{{end}}"#,
    ] {
        let error = run_with(
            Limits {
                depth: 1_000_000,
                ..small()
            },
            text,
        )
        .expect_err(text);
        assert!(bytes(error.clone()) || error.limit().is_some(), "{text}: {error}");
    }
}

#[test]
fn values_nested_deeply_are_refused_and_taken_down() {
    on_small_stack(|| {
        let limits = || Limits {
            fuel: 10_000_000,
            ..small()
        };
        let nested = "{{$x := list 1}}{{range 100000}}{{$x = list $x}}{{end}}";
        assert_eq!(
            run_with(limits(), nested).expect("a value nobody looks into is fine"),
            b""
        );
        let error = run_with(limits(), &format!("{nested}{{{{$x}}}}")).expect_err("too deep to print");
        assert!(matches!(error.limit(), Some(LimitExceeded::Nesting(_))), "{error}");
        let maps = r#"{{$x := dict}}{{range 100000}}{{$x = dict "k" $x}}{{end}}"#;
        assert_eq!(run_with(limits(), maps).expect("maps too"), b"");
    });
}

#[test]
fn a_map_that_holds_itself_is_no_trouble() {
    on_small_stack(|| {
        let mut templates = Templates::new("set", functions::all());
        let text = r#"{{$x := set . "self" .}}{{.self.self.self.name}}"#;
        templates.parse("t", text.as_bytes()).expect("parses");
        templates.parse("print", b"{{.}}").expect("parses");
        let data = Value::map();
        let map = data.as_map().expect("a map").clone();
        map.insert("name", "me");
        let mut session = Session::default();
        assert_eq!(templates.execute(&mut session, "t", data.clone()).expect("runs"), b"me");
        let error = templates
            .execute(&mut session, "print", data.clone())
            .expect_err("has no end");
        assert!(matches!(error.limit(), Some(LimitExceeded::Nesting(_))), "{error}");
        assert!(data.to_json().is_err());
        drop(data);
        let weak = std::rc::Rc::downgrade(&map);
        drop(map);
        drop(session);
        assert!(weak.upgrade().is_none(), "the session takes the cycle apart");
    });
}

#[test]
fn text_nested_deeply_is_refused_on_a_small_stack() {
    on_small_stack(|| {
        for n in [100_000, 151] {
            for (open, middle, close) in [
                ("{{if 1}}", "", "{{end}}"),
                ("{{range 1}}", "", "{{end}}"),
                ("{{with 1}}", "{{end}}", ""),
                ("{{block \"a\" .}}", "", "{{end}}"),
                ("{{if 1}}a{{else}}{{if 1}}", "", "{{end}}{{end}}"),
            ] {
                let text = open.repeat(n) + middle + &close.repeat(n);
                let error = run_with(small(), &text).expect_err("too deep").to_string();
                assert!(error.contains("max expression depth exceeded"), "{error}");
            }
            let text = format!("{{{{{}1{}}}}}", "(".repeat(n), ")".repeat(n));
            let error = run_with(small(), &text).expect_err("too deep").to_string();
            assert!(error.contains("max expression depth exceeded"), "{error}");
        }
        let n = 149;
        let text = format!("{{{{{}1{}}}}}", "(".repeat(n), ")".repeat(n));
        assert_eq!(run_with(small(), &text).expect("allowed"), b"1");
        let text = format!("{}x{}", "{{if 1}}".repeat(n), "{{end}}".repeat(n));
        assert_eq!(run_with(small(), &text).expect("allowed"), b"x");
        // A chain is no nesting.
        let text = format!("{{{{if 0}}}}{}{{{{end}}}}", "{{else if 0}}".repeat(10_000));
        assert_eq!(run_with(small(), &text).expect("allowed"), b"");
    });
}
