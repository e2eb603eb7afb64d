//! `.Files` of templates.

use std::any::Any;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use nave_gotemplate::{Function, GoType, Object, Shape, Value};

use crate::File;
use crate::glob::Glob;
use crate::text::base_name;

/// Files of a chart by path.
#[derive(Clone)]
pub(super) struct Files(Rc<BTreeMap<Rc<str>, Arc<[u8]>>>);

impl Files {
    pub(super) fn new(files: &[File]) -> Files {
        let files = files
            .iter()
            .map(|file| (Rc::from(file.name.as_str()), Arc::clone(&file.data)));
        Files(Rc::new(files.collect()))
    }

    fn get(&self, name: &str) -> &[u8] {
        self.0.get(name).map_or(&[], |data| data)
    }

    fn glob(&self, pattern: &str) -> Files {
        let glob = Glob::new(pattern);
        let found = self.0.iter().filter(|(name, _)| glob.fits(name));
        Files(Rc::new(
            found.map(|(name, data)| (Rc::clone(name), Arc::clone(data))).collect(),
        ))
    }

    fn lines(&self, name: &str) -> Value {
        let data = self.get(name);
        if data.is_empty() {
            return Value::strings(Vec::<&str>::new());
        }
        let data = data.strip_suffix(b"\n").unwrap_or(data);
        Value::strings(data.split(|byte| *byte == b'\n'))
    }

    /// A map of file names, without folders, to what `content` makes of them, as YAML.
    fn as_map(&self, content: impl Fn(&[u8]) -> String) -> String {
        let map = self
            .0
            .iter()
            .map(|(name, data)| (base_name(name).to_owned(), content(data).into()));
        to_yaml(&serde_json::Value::Object(map.collect()))
    }
}

fn to_yaml(value: &serde_json::Value) -> String {
    nave_object::yaml::write(value).trim_end_matches('\n').to_owned()
}

impl Object for Files {
    fn type_name(&self) -> &'static str {
        "engine.files"
    }

    fn shape(&self) -> Shape {
        let entries = self
            .0
            .iter()
            .map(|(name, data)| (Rc::clone(name), Value::Bytes(Rc::from(&**data))));
        Shape::Map(entries.collect())
    }

    fn field(&self, name: &str) -> Option<Value> {
        self.0.get(name).map(|data| Value::Bytes(Rc::from(&**data)))
    }

    fn method(&self, name: &str) -> Option<Function> {
        const NAME: &[GoType] = &[GoType::String];
        let files = self.clone();
        Some(match name {
            "Get" => Function::new(NAME, move |caller, args| {
                let data = files.get(&name_of(args));
                caller.charge_bytes(data.len())?;
                Ok(Value::string(data))
            }),
            "GetBytes" => Function::new(NAME, move |caller, args| {
                let data = files.get(&name_of(args));
                caller.charge_bytes(data.len())?;
                Ok(Value::Bytes(Rc::from(data)))
            }),
            "Glob" => Function::new(NAME, move |caller, args| {
                caller.charge_items(files.0.len())?;
                Ok(Value::object(files.glob(&name_of(args))))
            }),
            "Lines" => Function::new(NAME, move |caller, args| {
                let name = name_of(args);
                let data = files.get(&name);
                caller.charge_bytes(data.len())?;
                caller.charge_items(data.iter().filter(|byte| **byte == b'\n').count())?;
                Ok(files.lines(&name))
            }),
            "AsConfig" => Function::new(&[], move |caller, _| {
                caller.charge_bytes(files.0.values().map(|data| data.len()).sum())?;
                Ok(Value::string(
                    files.as_map(|data| String::from_utf8_lossy(data).into_owned()),
                ))
            }),
            "AsSecrets" => Function::new(&[], move |caller, _| {
                caller.charge_bytes(files.0.values().map(|data| data.len() * 2).sum())?;
                Ok(Value::string(files.as_map(|data| STANDARD.encode(data))))
            }),
            _ => return None,
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn name_of(args: &[Value]) -> String {
    args[0].as_string().unwrap_or_default().to_text().into_owned()
}
