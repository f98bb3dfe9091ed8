//! Short words for reading and defaulting JSON objects.

use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// Access by dotted paths (`spec.ports`); no field name that is read this way holds a dot.
pub(crate) trait ValueExt {
    /// The value at the path, or null.
    fn at(&self, path: &str) -> &Value;
    /// The string at the path, or the empty string.
    fn text(&self, path: &str) -> &str;
    fn int(&self, path: &str) -> Option<i64>;
    fn flag(&self, path: &str) -> Option<bool>;
    /// The list at the path, or an empty one.
    fn list(&self, path: &str) -> &[Value];
    /// The object at the path, if there is one.
    fn fields(&self, path: &str) -> Option<&Map<String, Value>>;
    /// Whether something other than null stands at the path.
    fn has(&self, path: &str) -> bool {
        !self.at(path).is_null()
    }
    /// The strings of the list at the path.
    fn texts(&self, path: &str) -> Vec<&str> {
        self.list(path).iter().filter_map(Value::as_str).collect()
    }

    /// A place to write to: objects are made on the way where there is none.
    fn slot(&mut self, path: &str) -> &mut Value;
    /// The value at the path, if it exists.
    fn at_mut(&mut self, path: &str) -> Option<&mut Value>;
    fn list_mut(&mut self, path: &str) -> &mut [Value];
    /// Writes `value` where the path holds nothing, null or (as Go sees it) a zero value.
    fn set_default(&mut self, path: &str, value: impl Into<Value>);
    fn remove_at(&mut self, path: &str) -> Option<Value>;
    /// Copies the path from `other`, its absence included.
    fn copy_from(&mut self, other: &Value, path: &str);
}

impl ValueExt for Value {
    fn at(&self, path: &str) -> &Value {
        let mut here = self;
        for part in path.split('.') {
            match here.get(part) {
                Some(next) => here = next,
                None => return &NULL,
            }
        }
        here
    }

    fn text(&self, path: &str) -> &str {
        self.at(path).as_str().unwrap_or_default()
    }

    fn int(&self, path: &str) -> Option<i64> {
        self.at(path).as_i64()
    }

    fn flag(&self, path: &str) -> Option<bool> {
        self.at(path).as_bool()
    }

    fn list(&self, path: &str) -> &[Value] {
        self.at(path).as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn fields(&self, path: &str) -> Option<&Map<String, Value>> {
        self.at(path).as_object()
    }

    fn slot(&mut self, path: &str) -> &mut Value {
        let mut here = self;
        for part in path.split('.') {
            if !here.is_object() {
                *here = Value::Object(Map::new());
            }
            here = match here {
                Value::Object(map) => map.entry(part).or_insert(Value::Null),
                other => other,
            };
        }
        here
    }

    fn at_mut(&mut self, path: &str) -> Option<&mut Value> {
        let mut here = self;
        for part in path.split('.') {
            here = here.get_mut(part)?;
        }
        Some(here)
    }

    fn list_mut(&mut self, path: &str) -> &mut [Value] {
        match self.at_mut(path) {
            Some(Value::Array(list)) => list,
            _ => &mut [],
        }
    }

    fn set_default(&mut self, path: &str, value: impl Into<Value>) {
        let slot = self.slot(path);
        let zero = match slot {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if zero {
            *slot = value.into();
        }
    }

    fn remove_at(&mut self, path: &str) -> Option<Value> {
        let (parent, last) = match path.rsplit_once('.') {
            Some((parent, last)) => (self.at_mut(parent)?, last),
            None => (self, path),
        };
        parent.as_object_mut()?.remove(last)
    }

    fn copy_from(&mut self, other: &Value, path: &str) {
        match other.at(path) {
            Value::Null => {
                self.remove_at(path);
            }
            value => *self.slot(path) = value.clone(),
        }
    }
}
