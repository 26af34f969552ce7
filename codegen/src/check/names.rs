//! Names that are different in a schema and the same where each language has its own way of writing them: `foo_bar` and
//! `FooBar` are one type in Rust. What is claimed here is what `rust.rs` and prost print, and the properties that
//! TypeScript has; Python keeps names as they are.

use std::collections::{BTreeSet, HashMap};

use heck::{ToLowerCamelCase, ToSnakeCase, ToUpperCamelCase};
use prost_build::Module;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

use crate::error::Finding;
use crate::model::{File, Location, Message, Model, Origin};
use crate::rust::{keyword, server_name, type_name};
use crate::typescript::names::{camel_case, shared_prefix};

/// Finds them in the game's files.
pub(super) fn findings(model: &Model) -> Vec<Finding> {
    let mut names = Names { model, scopes: HashMap::new(), findings: vec![] };
    for package in model.packages(Origin::Game) {
        for (name, what) in [("FromClient", "what clients push"), ("FromServer", "what reaches clients")] {
            let scope = module_of(package).join("::");
            let owner =
                Owner { what: format!("the enum that tagwire adds to {package} for {what}"), at: None };
            names.scopes.entry(scope).or_default().insert(name.to_string(), owner);
        }
    }
    for file in model.files.iter().filter(|f| f.origin == Origin::Game) {
        names.file(file);
    }
    names.sets();
    names.findings
}

/// Who has a name.
#[derive(Clone, PartialEq)]
struct Owner {
    /// `message game.v1.Foo`.
    what: String,
    at: Option<Location>,
}

struct Names<'a> {
    model: &'a Model,
    /// The names of each module, struct, enum and trait, by what holds them.
    scopes: HashMap<String, HashMap<String, Owner>>,
    findings: Vec<Finding>,
}

impl Names<'_> {
    /// Takes `name` in `scope`; false where another has it. `kind` is what both would be.
    fn claim(&mut self, scope: &str, name: String, kind: &str, owner: Owner) -> bool {
        let location = owner.at.clone();
        let bare = name.trim_start_matches("r#").trim_end_matches('_').is_empty();
        let (what, fix) = if bare {
            let what = format!("{} has a name of bars alone, of which nothing is left in Rust", owner.what);
            (what, "give it a name with a letter")
        } else {
            let taken = self.scopes.entry(scope.to_string()).or_default();
            let Some(other) = taken.get(&name) else {
                taken.insert(name, owner);
                return true;
            };
            // Two files of a package, or of one that holds it.
            if other.what == owner.what && other.what.starts_with("package ") {
                return true;
            }
            let place = other.at.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
            let what = format!("{} and {}{place} would both be the {kind} `{name}`", owner.what, other.what);
            (what, "rename one of them")
        };
        self.findings.extend(location.map(|location| Finding { location, what, fix: fix.to_string() }));
        false
    }

    fn file(&mut self, file: &File) {
        let places = Places::of(file);
        let proto = &file.documented;
        let module = module_of(&file.package);
        let parts: Vec<&str> = file.package.split('.').filter(|p| !p.is_empty()).collect();
        for depth in 0..parts.len() {
            let owner = Owner { what: format!("package {}", parts[..=depth].join(".")), at: places.at(&[2]) };
            let name = keyword(parts[depth].to_snake_case());
            self.claim(&module[..depth].join("::"), name, "module in Rust", owner);
        }
        let prefix = if file.package.is_empty() { String::new() } else { format!("{}.", file.package) };
        let within = Within { places: &places, file: proto, module, prefix };
        for (index, message) in (0..).zip(&proto.message_type) {
            self.message(&within, message, &[4, index]);
        }
        for (index, one) in (0..).zip(&proto.enum_type) {
            self.enumeration(&within, one, &[5, index]);
        }
        for (index, service) in (0..).zip(&proto.service) {
            self.service(&within, service, &[6, index]);
        }
    }

    fn message(&mut self, within: &Within<'_>, message: &DescriptorProto, path: &[i32]) {
        let full_name = format!("{}{}", within.prefix, message.name());
        let what = format!("message {full_name}");
        let owner = |path: &[i32], what: String| Owner { what, at: within.places.at(path) };
        let scope = within.module.join("::");
        let unlike = self.claim(&scope, type_name(message.name()), "type in Rust", owner(path, what.clone()));
        let entries = |m: &DescriptorProto| m.options.as_ref().is_some_and(|o| o.map_entry());
        // Those of `optional` hold one field, which says so itself.
        let real =
            |index: i32| message.field.iter().any(|f| f.oneof_index == Some(index) && !f.proto3_optional());
        let oneofs: Vec<_> = (0..).zip(&message.oneof_decl).filter(|(index, _)| real(*index)).collect();
        let nested = message.nested_type.iter().any(|m| !entries(m));
        let module = keyword(message.name().to_snake_case());
        if unlike && (nested || !message.enum_type.is_empty() || !oneofs.is_empty()) {
            let what = format!("what is within {what}");
            self.claim(&scope, module.clone(), "module in Rust", owner(path, what));
        }
        let inner = Within {
            module: within.module.iter().cloned().chain([module]).collect(),
            prefix: format!("{full_name}."),
            ..*within
        };
        for (index, one) in (0..).zip(&message.nested_type).filter(|(_, m)| !entries(m)) {
            self.message(&inner, one, &[path, &[3, index]].concat());
        }
        for (index, one) in (0..).zip(&message.enum_type) {
            self.enumeration(&inner, one, &[path, &[4, index]].concat());
        }
        let types: BTreeSet<String> = message
            .nested_type
            .iter()
            .map(|m| m.name())
            .chain(message.enum_type.iter().map(|e| e.name()))
            .map(type_name)
            .collect();
        let fields = format!("fields of {full_name}");
        for (index, oneof) in oneofs {
            let path = [path, &[8, index]].concat();
            let owner = owner(&path, format!("oneof {full_name}.{}", oneof.name()));
            let mut name = type_name(oneof.name());
            if types.contains(&name) {
                // As prost-build calls it then.
                name.push_str("OneOf");
            }
            self.claim(&inner.module.join("::"), name, "type in Rust", owner.clone());
            self.field_name(&fields, oneof.name(), owner);
        }
        for (index, field) in (0..).zip(&message.field) {
            let what = format!("field {full_name}.{}", field.name());
            self.map_entry(within, message, field, &[path, &[2, index]].concat());
            let owner = owner(&[path, &[2, index]].concat(), what);
            match field.oneof_index {
                Some(oneof) if !field.proto3_optional() => {
                    let scope = format!("oneof {oneof} of {full_name}");
                    self.claim(&scope, type_name(field.name()), "variant in Rust", owner);
                }
                _ if self.field_name(&fields, field.name(), owner.clone()) => {
                    self.methods(within, message, field, &format!("methods of {full_name}"), &owner);
                }
                _ => {}
            }
        }
    }

    /// The entries of a map are a message that the compiler names, `FooEntry`; Python's library knows which names can be.
    fn map_entry(
        &mut self,
        within: &Within<'_>,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        path: &[i32],
    ) {
        let name = field.type_name().rsplit('.').next().unwrap_or_default();
        if name.starts_with(|c: char| c.is_ascii_digit())
            && map_value(message, field, &within.prefix).is_some()
        {
            let what = format!(
                "field {}{}.{} is a map, whose entries would be the message `{name}`; Python's library refuses the name",
                within.prefix,
                message.name(),
                field.name()
            );
            let fix = "begin the field's name with a letter".to_string();
            self.findings.extend(within.places.at(path).map(|location| Finding { location, what, fix }));
        }
    }

    /// A field as Rust writes it, and as TypeScript does.
    fn field_name(&mut self, scope: &str, name: &str, owner: Owner) -> bool {
        let property = camel_case(name);
        if OF_EVERY_OBJECT.contains(&&*property) {
            let what = format!(
                "{} would be the property `{property}` in TypeScript, which every object has: it would never be unset",
                owner.what
            );
            self.findings.extend(owner.at.map(|location| Finding {
                location,
                what,
                fix: "rename it".to_string(),
            }));
            return false;
        }
        self.claim(scope, keyword(name.to_snake_case()), "field in Rust", owner.clone())
            && self.claim(&format!("{scope}, TypeScript"), camel_case(name), "property in TypeScript", owner)
    }

    /// What prost derives beside a field.
    fn methods(
        &mut self,
        within: &Within<'_>,
        message: &DescriptorProto,
        field: &FieldDescriptorProto,
        scope: &str,
        owner: &Owner,
    ) {
        let ident = keyword(field.name().to_snake_case());
        let bare = ident.trim_start_matches("r#");
        let of_enums = map_value(message, field, &within.prefix) == Some(Type::Enum);
        let repeated = field.label() == Label::Repeated;
        let optional =
            field.proto3_optional() || (within.file.syntax() != "proto3" && field.label() == Label::Optional);
        let names = match field.r#type() {
            // Without these methods where the field is a keyword: `rust.rs`, `without_bad_methods`.
            Type::Message if of_enums && bare == ident => {
                vec![format!("get_{bare}"), format!("insert_{bare}")]
            }
            Type::Message | Type::Group => vec![],
            Type::Enum if repeated => vec![ident.clone(), format!("push_{bare}")],
            Type::Enum => vec![ident.clone(), format!("set_{bare}")],
            _ if optional => vec![ident.clone()],
            _ => vec![],
        };
        for name in names {
            self.claim(scope, name, "method in Rust", owner.clone());
        }
    }

    fn enumeration(&mut self, within: &Within<'_>, one: &EnumDescriptorProto, path: &[i32]) {
        let full_name = format!("{}{}", within.prefix, one.name());
        let owner = |path: &[i32], what: String| Owner { what, at: within.places.at(path) };
        let name = type_name(one.name());
        let what = owner(path, format!("enum {full_name}"));
        self.claim(&within.module.join("::"), name.clone(), "type in Rust", what);
        let prefix = shared_prefix(one.name(), one.value.iter().map(|v| v.name())).len();
        let mut numbers = BTreeSet::new();
        for (index, value) in (0..).zip(&one.value) {
            let owner = owner(&[path, &[2, index]].concat(), format!("value {full_name}.{}", value.name()));
            let scope = format!("values of {full_name}");
            // Rust has the first name of a number alone.
            if !numbers.insert(value.number())
                || self.claim(&scope, variant(&name, value.name()), "variant in Rust", owner.clone())
            {
                let name = value.name()[prefix..].to_string();
                self.claim(&format!("{scope}, TypeScript"), name, "value in TypeScript", owner);
            }
        }
    }

    fn service(&mut self, within: &Within<'_>, service: &ServiceDescriptorProto, path: &[i32]) {
        let full_name = format!("{}{}", within.prefix, service.name());
        let scope = within.module.join("::");
        let name = type_name(service.name());
        let owner = Owner { what: format!("service {full_name}"), at: within.places.at(path) };
        if self.claim(&scope, name.clone(), "type in Rust", owner) {
            let what = format!("what tagwire adds for the service {full_name}");
            let owner = Owner { what, at: within.places.at(path) };
            self.claim(&scope, server_name(&name), "type in Rust", owner);
        }
        for (index, method) in (0..).zip(&service.method) {
            let what = format!("method {full_name}.{}", method.name());
            let owner = Owner { what, at: within.places.at(&[path, &[2, index]].concat()) };
            let scope = format!("service {full_name}");
            if self.claim(&scope, keyword(method.name().to_snake_case()), "method in Rust", owner.clone()) {
                let name = method.name().to_lower_camel_case();
                self.claim(&format!("{scope}, TypeScript"), name, "method in TypeScript", owner);
            }
        }
    }

    /// The variants of `FromClient` and `FromServer`, which bring together messages of several scopes.
    fn sets(&mut self) {
        for (_, message, rules) in self.model.tagged(Origin::Game) {
            if self.model.is_request(&message.full_name) {
                continue;
            }
            let sets = [
                ("FromClient", rules.from_client() && rules.to == "HANDLER"),
                ("FromServer", rules.from_server() || rules.relayed()),
            ];
            for (set, _) in sets.into_iter().filter(|(_, has)| *has) {
                let owner = Owner {
                    what: format!("message {}", message.full_name),
                    at: Some(message.location.clone()),
                };
                // Two of one scope have been found already.
                let scope = format!("{set} of {}", message.package);
                let other = self.scopes.get(&scope).and_then(|names| names.get(&variant_of(message)));
                let found = other.is_some_and(|other| {
                    self.findings.iter().any(|f| f.what.contains(&other.what) && f.what.contains(&owner.what))
                });
                if !found {
                    self.claim(&scope, variant_of(message), &format!("variant of {set} in Rust"), owner);
                }
            }
        }
    }
}

/// What an object of JavaScript has beside those that protobuf-es writes with `$` (`toString` and the like).
const OF_EVERY_OBJECT: &[&str] =
    &["hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString"];

/// Where a declaration stands.
struct Within<'a> {
    places: &'a Places,
    file: &'a FileDescriptorProto,
    /// The Rust module.
    module: Vec<String>,
    /// What full names begin with.
    prefix: String,
}

/// Lines of a file by the path of what is declared there.
struct Places {
    file: std::path::PathBuf,
    lines: HashMap<Vec<i32>, usize>,
}

impl Places {
    fn of(file: &File) -> Self {
        let places = file.documented.source_code_info.iter().flat_map(|info| &info.location);
        let line = |span: &[i32]| span.first().and_then(|line| usize::try_from(*line).ok()).unwrap_or(0) + 1;
        let lines = places.map(|place| (place.path.clone(), line(&place.span))).collect();
        Places { file: file.path.clone(), lines }
    }

    fn at(&self, path: &[i32]) -> Option<Location> {
        let line = self.lines.get(path).copied().unwrap_or(1);
        Some(Location { path: self.file.clone(), line })
    }
}

fn module_of(package: &str) -> Vec<String> {
    Module::from_protobuf_package_name(package).parts().map(str::to_string).collect()
}

/// As `rust.rs` calls a message in a set.
fn variant_of(message: &Message) -> String {
    message.scope.iter().chain([&message.name]).map(|name| type_name(name)).collect()
}

/// An enum's value as prost-build writes it, without the enum's own name in front.
fn variant(of: &str, name: &str) -> String {
    let full = name.to_upper_camel_case();
    match full.strip_prefix(of) {
        Some(rest) if rest.starts_with(char::is_uppercase) => type_name(rest),
        _ => type_name(name),
    }
}

/// The type of a map's values.
fn map_value(message: &DescriptorProto, field: &FieldDescriptorProto, prefix: &str) -> Option<Type> {
    let name = field.type_name().strip_prefix(&format!(".{prefix}{}.", message.name()))?;
    let entry = message.nested_type.iter().find(|m| m.name() == name)?;
    let is_entry = entry.options.as_ref().is_some_and(|o| o.map_entry());
    entry.field.iter().find(|f| is_entry && f.number() == 2).map(|f| f.r#type())
}
