//! `healthCheckExprs` and `readyExpr`: health and readiness by CEL.
//!
//! Parsing and evaluation run behind `catch_unwind`, since the expressions come from users and the interpreter is not
//! ours; a panic in it becomes an error like any other.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use kube_cel::{
    KubeCelExt,
    cel::{
        Context, IdedExpr, Program, Value as CelValue,
        common::ast::{self, EntryExpr, Expr},
    },
};
use serde_json::Value;

use crate::{Health, fields::text, generic};

/// Longer expressions are refused unread; the longest in public manifests are a few hundred bytes.
const MAX_EXPRESSION_BYTES: usize = 16 * 1024;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// It does not parse.
    #[error("expression {expression:?} of {field}: {problem}")]
    Compile {
        /// The field that holds it, such as `spec.healthCheckExprs[0].current`.
        field: String,
        /// The expression.
        expression: String,
        /// What the parser said.
        problem: String,
    },
    /// Two entries speak of the same kinds.
    #[error("spec.healthCheckExprs has two entries for {kinds}")]
    Duplicate {
        /// Group and kind.
        kinds: String,
    },
    /// It has no answer for this object.
    #[error("evaluating {expression:?}: {problem}")]
    Evaluate {
        /// The expression.
        expression: String,
        /// What went wrong.
        problem: String,
    },
}

/// One entry of `spec.healthCheckExprs` as it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomHealth {
    /// Group and version; only the group decides.
    pub api_version: String,
    /// Kind; empty for all kinds of the group.
    pub kind: String,
    /// True while the object is being worked on.
    pub in_progress: Option<String>,
    /// True when it failed.
    pub failed: Option<String>,
    /// True when it is as asked for.
    pub current: String,
}

/// Compiled `healthCheckExprs`.
#[derive(Debug, Default)]
pub struct HealthExpressions(HashMap<(String, String), Rules>);

#[derive(Debug)]
struct Rules {
    in_progress: Option<Expression>,
    failed: Option<Expression>,
    current: Expression,
}

/// A compiled `readyExpr`.
#[derive(Debug)]
pub struct ReadyExpression(Expression);

struct Expression {
    source: String,
    program: Program,
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.source.fmt(f)
    }
}

impl HealthExpressions {
    /// Compiles all entries.
    ///
    /// # Errors
    /// An expression that does not parse, or two entries for one group and kind.
    pub fn compile(entries: &[CustomHealth]) -> Result<Self, CelError> {
        let mut rules = HashMap::new();
        for (index, entry) in entries.iter().enumerate() {
            let field = |name: &str| format!("spec.healthCheckExprs[{index}].{name}");
            let group = group_of(&entry.api_version).to_owned();
            let compiled = Rules {
                in_progress: entry
                    .in_progress
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .map(|text| Expression::compile(text, field("inProgress")))
                    .transpose()?,
                failed: entry
                    .failed
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .map(|text| Expression::compile(text, field("failed")))
                    .transpose()?,
                current: Expression::compile(&entry.current, field("current"))?,
            };
            let kinds = format!("{group}/{}", entry.kind);
            if rules.insert((group, entry.kind.clone()), compiled).is_some() {
                return Err(CelError::Duplicate { kinds });
            }
        }
        Ok(HealthExpressions(rules))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an entry judges this kind.
    pub fn covers(&self, group: &str, kind: &str) -> bool {
        let has = |kind: &str| self.0.contains_key(&(group.to_owned(), kind.to_owned()));
        has(kind) || has("")
    }

    /// The health that the expressions for the object's kind give; none when no entry is for it.
    ///
    /// An expression that has no answer yet (a field that is not there) leaves the object in progress.
    pub fn evaluate(&self, object: &Value) -> Option<Health> {
        let group = group_of(text(object, "/apiVersion")).to_owned();
        let kind = text(object, "/kind").to_owned();
        let rules = self
            .0
            .get(&(group.clone(), kind))
            .or_else(|| self.0.get(&(group, String::new())))?;
        Some(rules.evaluate(object))
    }
}

impl Rules {
    fn evaluate(&self, object: &Value) -> Health {
        if let Some(health) = generic::unobserved(object) {
            return health;
        }
        let fields = object.as_object().into_iter().flatten();
        let variables: Vec<(&str, CelValue)> = fields.map(|(name, value)| (name.as_str(), to_cel(value))).collect();
        let holds = |expression: &Expression| expression.evaluate(&variables);
        let answer = || -> Result<Health, CelError> {
            if let Some(expression) = &self.in_progress
                && holds(expression)?
            {
                return Ok(Health::in_progress("custom health check: in progress"));
            }
            if let Some(expression) = &self.failed
                && holds(expression)?
            {
                return Ok(Health::failed("custom health check: failed"));
            }
            Ok(if holds(&self.current)? {
                Health::current("custom health check: current")
            } else {
                Health::in_progress("custom health check: not current yet")
            })
        };
        answer().unwrap_or_else(|error| Health::in_progress(error.to_string()))
    }
}

impl ReadyExpression {
    /// Compiles the expression that stands at `field`.
    ///
    /// # Errors
    /// It does not parse, or speaks of a variable that is neither `self` nor `dep`: it could never be true.
    pub fn compile(expression: &str, field: impl Into<String>) -> Result<Self, CelError> {
        let field = field.into();
        let compiled = Expression::compile(expression, field.clone())?;
        match compiled.unknown_variable(&["self", "dep"]) {
            None => Ok(ReadyExpression(compiled)),
            Some(name) => Err(CelError::Compile {
                field,
                expression: expression.chars().take(200).collect(),
                problem: format!("undeclared reference to '{name}': there are self and dep"),
            }),
        }
    }

    /// Whether the dependency is ready: `self` is the dependent object, `dep` the dependency.
    ///
    /// # Errors
    /// The expression has no boolean answer; callers take that as not ready.
    pub fn evaluate(&self, dependent: &Value, dependency: &Value) -> Result<bool, CelError> {
        self.0
            .evaluate(&[("self", to_cel(dependent)), ("dep", to_cel(dependency))])
    }
}

impl Expression {
    fn compile(source: &str, field: String) -> Result<Self, CelError> {
        let error = |problem: String| CelError::Compile {
            field: field.clone(),
            expression: source.chars().take(200).collect(),
            problem,
        };
        if source.trim().is_empty() {
            return Err(error("is empty".to_owned()));
        }
        if source.len() > MAX_EXPRESSION_BYTES {
            return Err(error(format!("is longer than {MAX_EXPRESSION_BYTES} bytes")));
        }
        match catch_unwind(|| Program::compile(source)) {
            Ok(Ok(program)) => Ok(Expression {
                source: source.to_owned(),
                program,
            }),
            Ok(Err(errors)) => Err(error(errors.to_string())),
            Err(_) => Err(error("cannot be parsed".to_owned())),
        }
    }

    /// The first variable that is none of `known`.
    fn unknown_variable(&self, known: &[&'static str]) -> Option<&str> {
        let mut scope: Vec<&str> = known.to_vec();
        unknown_in(self.program.expression(), &mut scope)
    }

    fn evaluate(&self, variables: &[(&str, CelValue)]) -> Result<bool, CelError> {
        let error = |problem: String| CelError::Evaluate {
            expression: self.source.clone(),
            problem,
        };
        let answer = catch_unwind(AssertUnwindSafe(|| {
            let mut context = Context::default().with_all();
            for (name, value) in variables {
                context.add_variable_from_value(*name, value.clone());
            }
            self.program.execute(&context)
        }));
        match answer {
            Ok(Ok(CelValue::Bool(answer))) => Ok(answer),
            Ok(Ok(other)) => Err(error(format!("gives {other:?}, not true or false"))),
            Ok(Err(problem)) => Err(error(problem.to_string())),
            Err(_) => Err(error("cannot be evaluated".to_owned())),
        }
    }
}

/// Names that CEL itself has: its types, and what functions are called by (`optional.of`, `ip.isCanonical`).
const OF_CEL: [&str; 27] = [
    "base64",
    "bool",
    "bytes",
    "cel",
    "cidr",
    "double",
    "duration",
    "dyn",
    "format",
    "google",
    "hash",
    "int",
    "ip",
    "json",
    "jsonpatch",
    "list",
    "lists",
    "map",
    "math",
    "null_type",
    "optional",
    "regex",
    "semver",
    "sets",
    "string",
    "strings",
    "type",
];

/// The first variable of `expression` that is neither in scope nor CEL's own. Macros such as `exists` bring variables with
/// them; the parser's own have an `@`.
fn unknown_in<'a>(expression: &'a IdedExpr, scope: &mut Vec<&'a str>) -> Option<&'a str> {
    let entries = |entries: &'a [ast::IdedEntryExpr]| {
        entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::StructField(field) => vec![&field.value],
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
        })
    };
    let parts: Vec<&IdedExpr> = match &expression.expr {
        Expr::Ident(name) => {
            let is_known = name.starts_with('@') || scope.contains(&name.as_str()) || OF_CEL.contains(&name.as_str());
            return (!is_known).then_some(name);
        }
        Expr::Comprehension(parts) => {
            let outer = [&parts.iter_range, &parts.accu_init];
            if let Some(unknown) = outer.into_iter().find_map(|part| unknown_in(part, scope)) {
                return Some(unknown);
            }
            let depth = scope.len();
            scope.extend([parts.iter_var.as_str(), parts.accu_var.as_str()]);
            scope.extend(parts.iter_var2.as_deref());
            let inner = [&parts.loop_cond, &parts.loop_step, &parts.result];
            let unknown = inner.into_iter().find_map(|part| unknown_in(part, scope));
            scope.truncate(depth);
            return unknown;
        }
        Expr::Call(call) => call.target.iter().map(|target| &**target).chain(&call.args).collect(),
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => entries(&map.entries).collect(),
        Expr::Struct(fields) => entries(&fields.entries).collect(),
        Expr::Select(select) => vec![&*select.operand],
        Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    };
    parts.into_iter().find_map(|part| unknown_in(part, scope))
}

fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Numbers become signed, as the CEL of Kubernetes sees them; serde's own conversion would make them unsigned, and then
/// `status.replicas + 1` is an error.
fn to_cel(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(truth) => CelValue::Bool(*truth),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| CelValue::Float(number.as_f64().unwrap_or(f64::NAN)), CelValue::Int),
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(items) => CelValue::List(Arc::new(items.iter().map(to_cel).collect())),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), to_cel(value)))
            .collect::<HashMap<String, CelValue>>()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Status;

    fn expressions(in_progress: &str, failed: &str, current: &str) -> Result<HealthExpressions, CelError> {
        HealthExpressions::compile(&[CustomHealth {
            api_version: "example.com/v1".into(),
            kind: "Widget".into(),
            in_progress: Some(in_progress.into()),
            failed: Some(failed.into()),
            current: current.into(),
        }])
    }

    #[track_caller]
    fn check_health(status: Value, wanted: Option<Status>) {
        let rules = expressions(
            "has(status.phase) && status.phase in ['Starting', 'Stopping']",
            "status.conditions.exists(c, c.type == 'Ready' && c.status == 'False' && c.reason.startsWith('Bad'))",
            "status.conditions.filter(c, c.type == 'Ready').all(c, c.status == 'True') && status.replicas + 1 == 4",
        )
        .expect("the expressions are valid");
        let object =
            json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"generation": 2}, "status": status});
        assert_eq!(rules.evaluate(&object).map(|health| health.status), wanted);
    }

    #[test]
    fn expressions_decide_in_order() {
        let ready = |status: &str, reason: &str| json!([{"type": "Ready", "status": status, "reason": reason}]);
        check_health(
            json!({"phase": "Starting", "conditions": ready("True", "Ok"), "replicas": 3}),
            Some(Status::InProgress),
        );
        check_health(
            json!({"conditions": ready("False", "BadLuck"), "replicas": 3}),
            Some(Status::Failed),
        );
        check_health(
            json!({"conditions": ready("False", "Soon"), "replicas": 3}),
            Some(Status::InProgress),
        );
        check_health(
            json!({"conditions": ready("True", "Ok"), "replicas": 3}),
            Some(Status::Current),
        );
        check_health(
            json!({"conditions": ready("True", "Ok"), "replicas": 2}),
            Some(Status::InProgress),
        );
        check_health(json!({}), Some(Status::InProgress)); // no such field yet
        check_health(
            json!({"observedGeneration": 1, "conditions": ready("True", "Ok"), "replicas": 3}),
            Some(Status::InProgress),
        );
    }

    #[test]
    fn only_the_named_kinds_are_judged() {
        let rules = expressions("false", "false", "true").unwrap();
        let object = |api_version: &str, kind: &str| json!({"apiVersion": api_version, "kind": kind});
        assert!(rules.evaluate(&object("example.com/v1", "Widget")).is_some());
        assert!(rules.evaluate(&object("example.com/v1", "Gadget")).is_none());
        assert!(rules.evaluate(&object("v1", "Widget")).is_none());
        let group = HealthExpressions::compile(&[CustomHealth {
            api_version: "example.com/v1".into(),
            current: "true".into(),
            ..CustomHealth::default()
        }])
        .unwrap();
        assert!(group.evaluate(&object("example.com/v1", "Gadget")).is_some());
    }

    #[test]
    fn bad_expressions_are_errors_that_name_the_field() {
        let error = expressions("false", "status.phase ==", "true").unwrap_err();
        assert!(error.to_string().contains("spec.healthCheckExprs[0].failed"), "{error}");
        assert!(expressions("false", "false", "").is_err());
        for text in [
            "\u{0}", "((((", "a.b(", "'", "[1,", "{", "-", "1.", "has()", "x.all()", "size(", "\\",
        ] {
            let _ = ReadyExpression::compile(text, "f"); // must not panic
        }
        let entry = CustomHealth {
            api_version: "v1".into(),
            kind: "Pod".into(),
            current: "true".into(),
            ..CustomHealth::default()
        };
        let error = HealthExpressions::compile(&[entry.clone(), entry]).unwrap_err();
        assert_eq!(error.to_string(), "spec.healthCheckExprs has two entries for /Pod");
    }

    #[test]
    fn ready_expressions_see_both_objects() {
        let expression = ReadyExpression::compile(
            "dep.metadata.labels['version'] == self.metadata.labels['version']",
            "spec.dependsOn[0].readyExpr",
        )
        .unwrap();
        let labelled = |version: &str| json!({"metadata": {"labels": {"version": version}}});
        assert_eq!(expression.evaluate(&labelled("1"), &labelled("1")), Ok(true));
        assert_eq!(expression.evaluate(&labelled("1"), &labelled("2")), Ok(false));
        assert!(expression.evaluate(&labelled("1"), &json!({})).is_err());
        let number = ReadyExpression::compile("1 + 1", "f").unwrap();
        assert!(number.evaluate(&json!({}), &json!({})).is_err());
    }

    #[test]
    fn a_variable_that_nobody_sets_is_refused() {
        for text in [
            "self.spec.x == dep.spec.x",
            "dep.status.conditions.exists(c, c.type == 'Ready' && c.status == self.x)",
            "[1, 2].map(n, n + 1).all(m, m > 0) && {'a': dep.x}['a'] == 1",
            "has(dep.status) && dep.items.filter(i, i.parts.exists(p, p == i.name)).size() > 0",
            "type(dep.x) == int && optional.of(dep.x).hasValue()",
        ] {
            ReadyExpression::compile(text, "f").unwrap_or_else(|error| panic!("{text}: {error}"));
        }
        for (text, name) in [
            ("status.ready", "status"),
            ("dep.ready && dependency.ready", "dependency"),
            ("dep.conditions.exists(c, c.x) && c.y", "c"),
            ("dep.x == [object.y]", "object"),
            ("{'a': that}['a']", "that"),
            ("object.name.startsWith('x')", "object"),
        ] {
            let error = ReadyExpression::compile(text, "spec.dependsOn[0].readyExpr").expect_err(text);
            let wanted = format!("undeclared reference to '{name}'");
            assert!(error.to_string().contains(&wanted), "{error}");
        }
    }
}
