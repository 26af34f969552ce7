//! Identifiers, as protobuf-es chooses them; and others where those would be no TypeScript.

use std::cmp::Ordering;

/// `snake_case` as the name of a property: the default name in JSON.
pub(crate) fn camel_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    let mut capital = false;
    for c in name.chars() {
        if c == '_' {
            capital = true;
        } else {
            out.push(if capital { c.to_ascii_uppercase() } else { c });
            capital = false;
        }
    }
    out
}

/// A property that hides nothing which every object has.
pub(super) fn property(name: &str) -> String {
    let taken = matches!(name, "constructor" | "toString" | "toJSON" | "valueOf");
    if taken { format!("{name}$") } else { name.to_string() }
}

/// A property where it is declared. protobuf-es itself forgets that a name like `_1st` leaves `1st`.
pub(super) fn declared_property(name: &str) -> String {
    let plain = name.starts_with(|c: char| !c.is_ascii_digit());
    if plain { name.to_string() } else { format!("\"{name}\"") }
}

/// A value of an enum. protobuf-es forgets the two that are numbers to TypeScript.
pub(super) fn enum_value(name: &str) -> String {
    if matches!(name, "NaN" | "Infinity") { format!("{name}$") } else { property(name) }
}

/// What a name is the name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A type alias: a message.
    Type,
    /// An enum.
    Enum,
    /// A constant: a service's description, an extension.
    Value,
    /// A class, which is a type and a value.
    Class,
}

/// True for a word that cannot be declared as this, though protobuf-es does: what it prints then does not compile.
pub(super) fn is_forgotten(kind: Kind, name: &str) -> bool {
    let of_types = matches!(
        name,
        "any" | "infer" | "keyof" | "never" | "readonly" | "symbol" | "undefined" | "unique" | "unknown"
    );
    let of_values = matches!(name, "arguments" | "eval");
    match (kind, name) {
        (_, "await") => true,
        (Kind::Type, "as") => true,
        // Its methods return promises, which it would hide.
        (Kind::Class, "Promise") => true,
        (Kind::Type, _) => of_types,
        (Kind::Value, _) => of_values,
        (Kind::Enum | Kind::Class, _) => of_types || of_values,
    }
}

/// An identifier that is no word of the language.
pub(super) fn identifier(name: &str) -> String {
    const TAKEN: &[&str] = &[
        // Keywords, and what may become one.
        "await",
        "break",
        "case",
        "catch",
        "class",
        "const",
        "continue",
        "debugger",
        "default",
        "delete",
        "do",
        "else",
        "enum",
        "export",
        "extends",
        "false",
        "finally",
        "for",
        "function",
        "if",
        "implements",
        "import",
        "in",
        "instanceof",
        "interface",
        "let",
        "new",
        "null",
        "package",
        "private",
        "protected",
        "public",
        "return",
        "static",
        "super",
        "switch",
        "this",
        "throw",
        "true",
        "try",
        "typeof",
        "var",
        "void",
        "while",
        "with",
        "yield",
        // Types of TypeScript, and globals that the printed code uses.
        "bigint",
        "boolean",
        "number",
        "object",
        "string",
        "Object",
        "Partial",
        "Uint8Array",
        "globalThis",
    ];
    if TAKEN.contains(&name) { format!("{name}$") } else { name.to_string() }
}

/// The first of `name`, `name$`, `name$1`, ... of which `free` is true, as an identifier.
pub(super) fn salted(name: &str, free: impl Fn(&str) -> bool) -> String {
    let salts = [String::new(), "$".to_string()].into_iter().chain((1..).map(|n| format!("${n}")));
    let mut names = salts.map(|salt| identifier(&format!("{name}{salt}")));
    names.find(|name| free(name)).expect("numbers do not end")
}

/// What all names of an enum's values begin with, in lower case, and what they can go without: `colour_`, so that
/// `Colour.RED` need not be `Colour.COLOUR_RED`. Empty where there is nothing of the kind.
pub(crate) fn shared_prefix<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> String {
    let mut prefix = String::new();
    for (at, c) in name.char_indices() {
        if at > 0 && c.is_ascii_uppercase() {
            prefix.push('_');
        }
        prefix.push(c.to_ascii_lowercase());
    }
    prefix.push('_');
    let fits = |value: &str| {
        value.to_ascii_lowercase().starts_with(&prefix)
            && value[prefix.len()..].starts_with(|c: char| !c.is_ascii_digit())
    };
    if values.into_iter().all(fits) { prefix } else { String::new() }
}

/// The order in which imported names stand: that of the Unicode collation algorithm's root, with which protobuf-es
/// sorts them. Of what can be in an identifier: `_`, `$`, digits, letters; of two that differ only in capitals, the
/// one with the small letter.
pub(super) fn order(a: &str, b: &str) -> Ordering {
    let weight = |c: char| match c {
        '_' => (0, c),
        '$' => (1, c),
        '0'..='9' => (2, c),
        _ => (3, c.to_ascii_lowercase()),
    };
    let small_first = |c: char| c.is_ascii_uppercase();
    a.chars()
        .map(weight)
        .cmp(b.chars().map(weight))
        .then_with(|| a.chars().map(small_first).cmp(b.chars().map(small_first)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_properties_are_those_in_json() {
        for (name, expected) in
            [("left_click", "leftClick"), ("a_1b", "a1b"), ("__x_", "X"), ("URL", "URL"), ("_", "")]
        {
            assert_eq!(camel_case(name), expected);
        }
    }

    #[test]
    fn names_are_salted_until_they_are_free() {
        assert_eq!(salted("A", |_| true), "A");
        assert_eq!(salted("A", |n| n != "A"), "A$");
        assert_eq!(salted("A", |n| !["A", "A$", "A$1"].contains(&n)), "A$2");
        assert_eq!(salted("class", |_| true), "class$");
    }

    #[test]
    fn imported_names_are_sorted_as_by_a_dictionary() {
        let mut names = ["b", "B", "a1", "aB", "ab", "a_b", "a$1", "A", "a"];
        names.sort_by(|a, b| order(a, b));
        assert_eq!(names, ["a", "A", "a_b", "a$1", "a1", "ab", "aB", "b", "B"]);
    }

    #[test]
    fn a_prefix_is_taken_off_where_all_values_can_go_without() {
        assert_eq!(shared_prefix("MyEnum", ["MY_ENUM_A", "my_enum_b"]), "my_enum_");
        assert_eq!(shared_prefix("MyEnum", ["MY_ENUM_A", "OTHER"]), "");
        assert_eq!(shared_prefix("MyEnum", ["MY_ENUM_1"]), "");
        assert_eq!(shared_prefix("MyEnum", ["MY_ENUM_"]), "");
    }
}
