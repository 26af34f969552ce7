//! Constraints in words.

use crate::constraints::{Constant, Constraints, Ignore, MessageConstraints};

/// Those of a field, each as a phrase.
pub(super) fn of(constraints: &Constraints) -> Vec<String> {
    let mut words = vec![];
    collect("", constraints, &mut words);
    words
}

/// Those of a message beside its fields.
pub(super) fn of_message(constraints: &MessageConstraints) -> Vec<String> {
    let oneofs = constraints.oneofs.iter().map(|rule| {
        let how = if rule.required { "exactly one" } else { "at most one" };
        format!("{how} of {} is set", rule.fields.join(", "))
    });
    let required = constraints.required.iter().map(|name| format!("one member of the oneof {name} is set"));
    oneofs.chain(required).collect()
}

fn collect(before: &str, of: &Constraints, into: &mut Vec<String>) {
    if of.required {
        into.push(format!("{before}must be set"));
    }
    for rule in &of.rules {
        into.push(format!("{before}{}", phrase(&of.kind, &rule.name, &rule.value)));
    }
    match of.ignore {
        Ignore::Unset => {}
        Ignore::Zero => into.push(format!("{before}the rules hold where it is not zero or empty")),
        Ignore::Always => into.push(format!("{before}no rule holds for now")),
    }
    for (name, inner) in [("each item: ", &of.items), ("each key: ", &of.keys), ("each value: ", &of.values)]
    {
        if let Some(inner) = inner {
            collect(&format!("{before}{name}"), inner, into);
        }
    }
}

fn phrase(kind: &str, rule: &str, value: &Constant) -> String {
    let shown = constant(value);
    let characters = if kind == "bytes" { "bytes" } else { "characters" };
    match rule {
        "const" => format!("is {shown}"),
        "lt" => format!("less than {shown}"),
        "lte" => format!("at most {shown}"),
        "gt" => format!("more than {shown}"),
        "gte" => format!("at least {shown}"),
        "in" => format!("one of {shown}"),
        "not_in" => format!("none of {shown}"),
        "len" => format!("exactly {shown} {characters}"),
        "min_len" => format!("at least {shown} {characters}"),
        "max_len" => format!("at most {shown} {characters}"),
        "len_bytes" => format!("exactly {shown} bytes in UTF-8"),
        "min_bytes" => format!("at least {shown} bytes in UTF-8"),
        "max_bytes" => format!("at most {shown} bytes in UTF-8"),
        "pattern" => format!("matches the regular expression {shown}"),
        "prefix" => format!("begins with {shown}"),
        "suffix" => format!("ends with {shown}"),
        "contains" => format!("contains {shown}"),
        "not_contains" => format!("does not contain {shown}"),
        "email" => "an address of e-mail".to_string(),
        "hostname" => "a name of a host".to_string(),
        "ip" => "an IP address".to_string(),
        "ipv4" => "an IPv4 address".to_string(),
        "ipv6" => "an IPv6 address".to_string(),
        "address" => "a name of a host, or an IP address".to_string(),
        "host_and_port" => "host:port".to_string(),
        "uuid" => "a UUID".to_string(),
        "tuuid" => "a UUID without dashes".to_string(),
        "ulid" => "a ULID".to_string(),
        "finite" => "not infinite, and a number".to_string(),
        "defined_only" => "a value of the enum".to_string(),
        "min_items" | "min_pairs" => format!("at least {shown} of them"),
        "max_items" | "max_pairs" => format!("at most {shown} of them"),
        "unique" => "no two alike".to_string(),
        other => format!("{other} {shown}"),
    }
}

fn constant(value: &Constant) -> String {
    match value {
        Constant::Bool(value) => value.to_string(),
        Constant::Int(value) => value.to_string(),
        Constant::Uint(value) => value.to_string(),
        Constant::Float(value) => value.to_string(),
        Constant::Text(value) => format!("\"{}\"", value.escape_debug()),
        Constant::Bytes(value) => {
            let hex = value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
            if hex.is_empty() { "no bytes".to_string() } else { format!("the bytes {hex}") }
        }
        Constant::List(list) => list.iter().map(constant).collect::<Vec<_>>().join(", "),
    }
}
