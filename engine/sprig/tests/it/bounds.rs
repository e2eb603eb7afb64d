//! Templates that want too much end with an error, at once and without the memory.

use nave_gotemplate::Limits;

use crate::render_within;

/// A limit that a reasonable template stays far below.
fn limits() -> Limits {
    Limits {
        fuel: 200_000,
        bytes: 4 << 20,
        ..Limits::default()
    }
}

fn check_refused(template: &str) {
    let error = render_within(template, &serde_json::Value::Null, limits()).expect_err(template);
    assert!(error.limit().is_some(), "{template}: {error}");
}

#[test]
fn what_would_be_too_large_is_refused_before_it_is_made() {
    for template in [
        "{{ until 9223372036854775807 }}",
        "{{ untilStep -9223372036854775808 9223372036854775807 1 }}",
        "{{ seq 9223372036854775806 }}",
        "{{ seq -9223372036854775807 9223372036854775806 }}",
        "{{ repeat 9000000000 \"abc\" }}",
        "{{ indent 9223372036854775807 \"x\" }}",
        "{{ nindent 99999999 \"x\\ny\" }}",
        "{{ randAlphaNum 9223372036854775807 }}",
        "{{ randBytes 9223372036854775807 }}",
        "{{ range until 1000 }}{{ bcrypt \"x\" }}{{ end }}",
        "{{ range until 1000 }}{{ genPrivateKey \"rsa\" }}{{ end }}",
        "{{ derivePassword 1 \"long\" \"a\" \"b\" \"c\" }}{{ derivePassword 2 \"long\" \"a\" \"b\" \"c\" }}",
        "{{ replace \"\" (repeat 10000 \"x\") (repeat 10000 \"y\") }}",
        "{{ regexReplaceAll \"\" (repeat 10000 \"y\") (repeat 10000 \"x\") }}",
        "{{ wrapWith 1 (repeat 10000 \"x\") (repeat 10000 \"y\") }}",
        "{{ $l := until 3000 }}{{ uniq $l }}",
        "{{ $x := \"aaaaaaaaaaaaaaaa\" }}{{ range until 40 }}{{ $x = cat $x $x }}{{ end }}",
        "{{ $x := list 1 }}{{ range until 40 }}{{ $x = concat $x $x }}{{ end }}",
        "{{ $x := \"aaaaaaaaaaaaaaaa\" }}{{ range until 40 }}{{ $x = join \"\" (list $x $x) }}{{ end }}",
        "{{ $x := dict \"a\" 1 }}{{ range until 40 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toJson $x }}",
        "{{ $x := dict \"a\" 1 }}{{ range until 40 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ deepCopy $x }}",
        "{{ $x := dict \"a\" 1 }}{{ range until 40 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toYaml $x }}",
        "{{ $x := dict \"a\" 1 }}{{ range until 40 }}{{ $x = dict \"a\" $x \"b\" $x }}{{ end }}{{ toToml $x }}",
    ] {
        check_refused(template);
    }
}

#[test]
fn values_that_hold_themselves_are_refused() {
    for function in [
        "toJson",
        "toPrettyJson",
        "toYaml",
        "toYamlPretty",
        "toToml",
        "deepCopy",
        "toString",
        "quote",
    ] {
        check_refused(&format!(
            "{{{{ $d := dict }}}}{{{{ $_ := set $d \"self\" $d }}}}{{{{ {function} $d }}}}"
        ));
    }
    let two = "{{ $a := dict }}{{ $b := dict }}{{ $_ := set $a \"x\" $b }}{{ $_ := set $b \"x\" $a }}";
    check_refused(&format!("{two}{{{{ deepEqual $a $b }}}}"));
    check_refused(&format!("{two}{{{{ merge $a $b }}}}{{{{ toJson $a }}}}"));
}

#[test]
fn deep_texts_are_refused_with_an_error() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    for template in [
        format!("{{{{ mustFromJson `{}` }}}}", deep("[", "]")),
        format!("{{{{ mustFromJson `{}` }}}}", deep("{\"a\":", "}")),
        format!("{{{{ mustRegexMatch `{}` \"x\" }}}}", deep("(", ")")),
    ] {
        let error = render_within(&template, &serde_json::Value::Null, Limits::default()).expect_err("too deep");
        assert!(error.to_string().contains("error calling must"), "{error:.200}");
    }
    for template in [
        format!("{{{{ (fromYaml `a: {}`).Error }}}}", deep("[", "]")),
        format!("{{{{ (fromToml `a = {}`).Error }}}}", deep("[", "]")),
        format!("{{{{ (fromJson `{}`).Error }}}}", deep("[", "]")),
    ] {
        let text = render_within(&template, &serde_json::Value::Null, Limits::default()).expect("an error as text");
        assert!(!text.is_empty());
    }
}

#[test]
fn expressions_that_would_compile_to_too_much_are_refused() {
    for pattern in ["((a{1000}){1000}){1000}", "(x{500}){500}", "\\pL{1000}{1000}"] {
        let template = format!("{{{{ mustRegexMatch `{pattern}` \"x\" }}}}");
        let error = render_within(&template, &serde_json::Value::Null, Limits::default()).expect_err(pattern);
        assert!(error.to_string().contains("error parsing regexp"), "{error}");
    }
    // Linear in the text, whatever the expression.
    let template = "{{ regexMatch `^(a+)+$` (print (repeat 50000 \"a\") \"b\") }}";
    assert_eq!(
        render_within(template, &serde_json::Value::Null, Limits::default()).expect("it ends"),
        "false"
    );
}
