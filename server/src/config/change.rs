//! In what two configurations differ.

use std::collections::BTreeSet;
use std::fmt;

use toml::Value;

use super::{Config, PASSWORD};

/// A key with two values. As text: "limits.max_rooms: 10000 -> 5", and of a password only that it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The key, tables with dots.
    pub key: String,
    text: String,
}

impl Change {
    /// True where a running server can take the new value.
    pub fn is_live(&self) -> bool {
        self.key == "log" || self.key.starts_with("limits.") || self.key.starts_with("tls.")
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.text)
    }
}

impl Config {
    /// What is different in `new`, in the order of the keys.
    pub fn changes(&self, new: &Config) -> Vec<Change> {
        let (old, new) = (self.leaves(), new.leaves());
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let shown = |value: Option<&Value>| value.map_or("nothing".to_string(), Value::to_string);
        keys.into_iter()
            .filter(|key| old.get(*key) != new.get(*key))
            .map(|key| Change {
                key: key.clone(),
                text: match key.as_str() {
                    PASSWORD => "changed".to_string(),
                    _ => format!("{} -> {}", shown(old.get(key)), shown(new.get(key))),
                },
            })
            .collect()
    }
}
