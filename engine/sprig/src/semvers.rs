//! `semver` and `semverCompare`, and what a template sees of a version.

use std::any::Any;
use std::rc::Rc;

use nave_gotemplate::{Function, FunctionError, GoType, IntKind, Object, Shape, Value};
use nave_version::{Range, Version};

use crate::table::{STRING, Table, text_at};

const VERSION: GoType = GoType::Named("*semver.Version");

pub(crate) fn register(table: &mut Table<'_>) {
    table.add("semver", &[STRING], |_, args| {
        Ok(Value::object(Semver(parse(&text_at(args, 0))?)))
    });
    table.add("semverCompare", &[STRING, STRING], |_, args| {
        let range = Range::parse(&text_at(args, 0)).map_err(|error| FunctionError::new(error.to_string()))?;
        Ok(range.matches(&parse(&text_at(args, 1))?).into())
    });
}

fn parse(text: &str) -> Result<Version, FunctionError> {
    Version::parse(text).map_err(|error| FunctionError::new(error.to_string()))
}

/// A version in a template: `*semver.Version`.
struct Semver(Version);

impl Object for Semver {
    fn type_name(&self) -> &'static str {
        "*semver.Version"
    }

    fn shape(&self) -> Shape {
        Shape::Opaque
    }

    fn text(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn equals(&self, _: &dyn Object) -> Option<bool> {
        None
    }

    fn method(&self, name: &str) -> Option<Function> {
        let version = self.0.clone();
        let number = |n: u64| Some(Function::new(&[], move |_, _| Ok(Value::Int(IntKind::Uint64, n))));
        let text = |text: String| {
            let text: Rc<str> = text.into();
            Some(Function::new(&[], move |_, _| Ok(Value::string(&*text))))
        };
        let next = |version: Option<Version>, what: &'static str| {
            Some(Function::new(&[], move |_, _| match &version {
                Some(version) => Ok(Value::object(Semver(version.clone()))),
                None => Err(FunctionError::new(format!(
                    "{what} version increment would overflow uint64"
                ))),
            }))
        };
        let compare = |f: fn(std::cmp::Ordering) -> Value| {
            let version = version.clone();
            Some(Function::new(&[VERSION], move |_, args| {
                let other = match &args[0] {
                    Value::Object(other) => other.as_any().downcast_ref::<Self>().map(|other| other.0.clone()),
                    _ => None,
                };
                other
                    .map(|other| f(version.cmp(&other)))
                    .ok_or_else(crate::table::nil_pointer)
            }))
        };
        let changed = |f: fn(&Version, &str) -> Result<Version, nave_version::VersionError>| {
            let version = version.clone();
            Some(Function::new(&[GoType::String], move |_, args| {
                match f(&version, &text_at(args, 0)) {
                    Ok(version) => Ok(Value::object(Semver(version))),
                    Err(error) => Err(FunctionError::new(error.to_string())),
                }
            }))
        };
        match name {
            "Major" => number(version.major()),
            "Minor" => number(version.minor()),
            "Patch" => number(version.patch()),
            "Prerelease" => text(version.prerelease().to_owned()),
            "Metadata" => text(version.metadata().to_owned()),
            "Original" => text(version.original().to_owned()),
            "String" => text(version.to_string()),
            "IncMajor" => next(version.inc_major(), "major"),
            "IncMinor" => next(version.inc_minor(), "minor"),
            "IncPatch" => next(version.inc_patch(), "patch"),
            "SetPrerelease" => changed(Version::with_prerelease),
            "SetMetadata" => changed(Version::with_metadata),
            "Compare" => compare(|order| Value::int(order as i64)),
            "Equal" => compare(|order| order.is_eq().into()),
            "LessThan" => compare(|order| order.is_lt().into()),
            "LessThanEqual" => compare(|order| order.is_le().into()),
            "GreaterThan" => compare(|order| order.is_gt().into()),
            "GreaterThanEqual" => compare(|order| order.is_ge().into()),
            _ => None,
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
