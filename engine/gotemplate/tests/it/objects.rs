//! Values of the host: methods, fields, text, and how they print.

use std::any::Any;
use std::rc::Rc;

use nave_gotemplate::{Function, GoType, Kind, Map, Object, Session, Shape, Templates, Value};

use crate::functions;

/// A map with methods, as Helm's files.
struct Files(Vec<(Rc<str>, Value)>);

impl Object for Files {
    fn type_name(&self) -> &'static str {
        "engine.files"
    }

    fn shape(&self) -> Shape {
        Shape::Map(self.0.clone())
    }

    fn method(&self, name: &str) -> Option<Function> {
        let files = self.0.clone();
        match name {
            "Get" => Some(Function::new(&[GoType::String], move |_, args| {
                let wanted = args[0].as_string().unwrap_or_default();
                let found = files.iter().find(|(name, _)| wanted == **name);
                Ok(found.map_or_else(|| Value::string(""), |(_, v)| v.clone()))
            })),
            "Join" => Some(Function::variadic(&[GoType::String, GoType::INT], |caller, args| {
                Ok(Value::Str(caller.sprint(args)?))
            })),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A pointer to a struct, as a chart's metadata.
struct Metadata;

impl Object for Metadata {
    fn type_name(&self) -> &'static str {
        "*chart.Metadata"
    }

    fn shape(&self) -> Shape {
        Shape::Struct(vec![
            ("Name", Value::from("demo")),
            ("Keywords", Value::strings(["a", "b"])),
        ])
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A named number with text, as `time.Duration`.
struct Duration(i64);

impl Object for Duration {
    fn type_name(&self) -> &'static str {
        "time.Duration"
    }

    fn shape(&self) -> Shape {
        Shape::Basic(Value::int64(self.0))
    }

    fn text(&self) -> Option<String> {
        Some(format!("{}s", self.0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn data() -> Value {
    let files = vec![
        (Rc::from("a.txt"), Value::from("alpha")),
        (Rc::from("b.txt"), Value::from("beta")),
    ];
    let named = Map::new(GoType::NamedMap("common.Values", &GoType::Any)).with_methods(|map, name| {
        let count = i64::try_from(map.len()).ok()?;
        (name == "Count").then(|| Function::new(&[], move |_, _| Ok(Value::int(count))))
    });
    named.insert("x", 1.5);
    let map = Map::new(GoType::ANY_MAP);
    map.insert("Files", Value::object(Files(files)));
    map.insert("Chart", Value::object(Metadata));
    map.insert("D", Value::object(Duration(90)));
    map.insert("Values", Value::Map(Rc::new(named)));
    Value::Map(Rc::new(map))
}

fn render(text: &str) -> Result<String, String> {
    let mut templates = Templates::new("set", functions::all());
    templates.parse("t", text.as_bytes()).map_err(|e| e.to_string())?;
    functions::render(&mut Session::default(), &templates, "t", data())
}

#[test]
fn methods_and_fields() {
    for (text, want) in [
        (
            r#"{{.Files.Get "a.txt"}}|{{"b.txt" | .Files.Get}}|{{.Files.Get "no"}}|"#,
            "alpha|beta||",
        ),
        (
            r#"{{range $k, $v := .Files}}{{$k}}={{$v}};{{end}}{{len .Files}}{{index .Files "a.txt"}}"#,
            "a.txt=alpha;b.txt=beta;2alpha",
        ),
        (
            r#"{{.Files.Join "a" 1 2}}|{{2 | .Files.Join "a" 1}}|{{(.Files).Join "z"}}"#,
            "a1 2|a1 2|z",
        ),
        (
            "{{.Chart.Name}} {{.Chart.Keywords}} {{.Chart}} {{printf \"%v %T\" .Chart .Chart}} {{printf \"%+v\" .Chart}}",
            "demo [a b] {demo [a b]} &{demo [a b]} *chart.Metadata &{Name:demo Keywords:[a b]}",
        ),
        (
            "{{.D}} {{printf \"%d %s %v %T %5d\" .D .D .D .D .D}} {{eq .D .D}} {{lt .D (i64 91)}} {{if .D}}y{{end}}",
            "90s 90 90s 90s time.Duration    90 true true y",
        ),
        (
            "{{.Values.Count}} {{.Values.x}} {{maps .Values}} {{printf \"%T %#v\" .Values .Values}}",
            "1 1.5 1 common.Values common.Values{\"x\":1.5}",
        ),
        (
            "{{printf \"%d\" .Files}}",
            "map[%!d(string=a.txt):%!d(string=alpha) %!d(string=b.txt):%!d(string=beta)]",
        ),
    ] {
        assert_eq!(render(text).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn errors_of_objects() {
    for (text, want) in [
        (
            "{{.Files.Get}}",
            "at <.Files.Get>: wrong number of args for Get: want 1 got 0",
        ),
        ("{{.Files.Get 1}}", "at <1>: expected string; found 1"),
        (
            "{{.Files.Get .D}}",
            "at <.D>: wrong type for value; expected string; got time.Duration",
        ),
        (
            r#"{{.Files.Get "a" "b"}}"#,
            "at <.Files.Get>: wrong number of args for Get: want 1 got 2",
        ),
        (
            r#"{{.Files.Join "a" "b"}}"#,
            "at <\"b\">: expected integer; found \"b\"",
        ),
        (
            "{{.Chart.Nope}}",
            "at <.Chart.Nope>: can't evaluate field Nope in type interface {}",
        ),
        (
            "{{.Chart.Name 1}}",
            "at <.Chart.Name>: Name has arguments but cannot be invoked as function",
        ),
        (
            "{{up .D}}",
            "at <.D>: wrong type for value; expected string; got time.Duration",
        ),
        (
            "{{index .D 1}}",
            "error calling index: can't index item of type time.Duration",
        ),
        (
            "{{range .D}}{{end}}{{range .Chart}}{{end}}",
            "range can't iterate over {demo [a b]}",
        ),
    ] {
        let error = render(text).expect_err(text);
        assert!(error.ends_with(want), "{text}: {error}");
    }
}

#[test]
fn kinds_and_types() {
    let data = data();
    let map = data.as_map().expect("a map");
    let kind = |name: &str| map.get(name).expect("there").kind();
    assert_eq!(kind("Files"), Kind::Map);
    assert_eq!(kind("Chart"), Kind::Ptr);
    assert_eq!(kind("D").name(), "int64");
    assert_eq!(kind("Values"), Kind::Map);
    assert_eq!(map.get("Values").expect("there").type_name(), "common.Values");
    let json = data.to_json().expect("JSON");
    assert_eq!(json["Chart"]["Keywords"][1], "b");
    assert_eq!(json["D"], 90);
    assert_eq!(json["Values"]["x"], 1.5);
}
