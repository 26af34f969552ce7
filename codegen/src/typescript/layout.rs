//! What protobuf allows and TypeScript does not: two properties of one name.

use std::collections::HashMap;
use std::path::Path;

use prost_types::DescriptorProto;

use crate::error::Error;

use super::messages::{Member, members, method_name};
use super::names::{camel_case, enum_value, property, shared_prefix};
use super::schema::{Item, What};

/// Refuses a file that cannot be printed so that it compiles.
pub(super) fn check(items: &[Item<'_>], path: &Path) -> Result<(), Error> {
    for item in items {
        let scopes: Vec<Scope> = match item.what {
            What::Message(message) => of_message(message),
            What::Enum(one) => {
                let prefix = shared_prefix(one.name(), one.value.iter().map(|v| v.name())).len();
                let values = one.value.iter().map(|v| (v.name(), enum_value(&v.name()[prefix..])));
                vec![values.map(|(name, printed)| (name.to_string(), printed)).collect()]
            }
            What::Service(service) => {
                vec![service.method.iter().map(|m| (m.name().to_string(), method_name(m.name()))).collect()]
            }
            What::Extension(_) => continue,
        };
        for scope in scopes {
            let mut seen: HashMap<&str, &str> = HashMap::new();
            for (name, printed) in &scope {
                if let Some(other) = seen.insert(printed, name) {
                    let what = format!("{other} and {name} would both be {printed}");
                    return Err(refused(path, item, &what));
                }
            }
        }
    }
    Ok(())
}

/// Names that stand side by side, with what is printed for them.
type Scope = Vec<(String, String)>;

fn of_message(message: &DescriptorProto) -> Vec<Scope> {
    let mut scopes = vec![vec![]];
    for member in members(message) {
        match member {
            Member::Field(at) => {
                let name = message.field[at].name();
                scopes[0].push((name.to_string(), property(&camel_case(name))));
            }
            Member::Oneof(at, fields) => {
                let name = message.oneof_decl[at].name();
                scopes[0].push((name.to_string(), property(&camel_case(name))));
                let cases = fields.into_iter().map(|at| message.field[at].name());
                scopes.push(cases.map(|name| (name.to_string(), camel_case(name))).collect());
            }
        }
    }
    scopes
}

fn refused(path: &Path, item: &Item<'_>, what: &str) -> Error {
    Error::Layout {
        what: format!("{}: in {}, {what} in TypeScript", path.display(), item.full_name),
        fix: "rename it".to_string(),
    }
}
