//! One map of values over another.

use serde_json::Value;

use crate::Values;

/// Lays `over` over `base`: maps are merged, everything else is replaced, null too.
pub fn merge_maps(base: &mut Values, over: Values) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Object(base)), Value::Object(over)) => merge_maps(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}
