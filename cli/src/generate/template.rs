//! Templates: a folder of files in Jinja's language makes the client of any further one (`docs/guides/templates.md`).
//!
//! The names of the files say what is made of them. `NAME.jinja` becomes `NAME`; with `[message]` in it, once for each
//! message, and so for `[package]`, `[enum]` and `[service]`. `[message:snake]` puts the name in another case. What
//! begins with `_` is only for others to include; what does not end in `.jinja` is copied.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fs;
use std::path::Path;

use heck::{
    ToKebabCase as _, ToLowerCamelCase as _, ToPascalCase as _, ToShoutySnakeCase as _, ToSnakeCase as _,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, context};

use super::keywords;
use super::view::Schema;
use crate::failure::{Failure, Problem, io_at};

/// What ends the names of templates.
const ENDING: &str = ".jinja";
/// What a template may be rendered for each of, and the list of the schema that they are in.
const EACH: [(&str, &str); 4] =
    [("message", "messages"), ("enum", "enums"), ("service", "services"), ("package", "packages")];

/// The files that the templates below `folder` make of the schema.
///
/// # Errors
/// A template that cannot be read or rendered, by file and line.
pub(super) fn render(
    schema: &Schema,
    folder: &Path,
    options: &toml::Table,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut sources = BTreeMap::new();
    collect(folder, "", &mut sources)?;
    if !sources.keys().any(|name| name.ends_with(ENDING) && output_name(name).is_some()) {
        let what = format!("no template in it: no file ends in {ENDING}");
        return Err(Problem::new(what)
            .at(folder, None)
            .fix("docs/guides/templates.md tells what a folder holds")
            .into());
    }
    let schema = Value::from(Serde(schema));
    let mut env = environment(&schema).map_err(|error| located(folder, &error))?;
    for (name, bytes) in sources.iter().filter(|(name, _)| name.ends_with(ENDING)) {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
            Problem::new("a template is a text in UTF-8, and this is none").at(&folder.join(name), line)
        })?;
        env.add_template(name, text).map_err(|error| located(folder, &error))?;
    }
    let mut made = BTreeMap::new();
    let options = Value::from(Serde(options));
    for (name, bytes) in &sources {
        let Some(output) = output_name(name) else { continue };
        if !name.ends_with(ENDING) {
            put(&mut made, folder, name, output, bytes.clone())?;
            continue;
        }
        let place = Place { folder, name, output };
        let template = env.get_template(name).map_err(|error| located(folder, &error))?;
        for (values, path) in place.targets(&schema)? {
            let context = context! { schema => schema.clone(), options => options.clone(), ..values };
            let text = template.render(context).map_err(|error| located(folder, &error))?;
            // Nothing to say is no file.
            if !text.trim().is_empty() {
                put(&mut made, folder, name, &path, text.into_bytes())?;
            }
        }
    }
    Ok(made)
}

fn put(
    made: &mut BTreeMap<String, Vec<u8>>,
    folder: &Path,
    name: &str,
    path: &str,
    text: Vec<u8>,
) -> Result<(), Failure> {
    match made.insert(path.to_string(), text) {
        None => Ok(()),
        Some(_) => Err(Problem::new(format!("it makes {path}, which is made already"))
            .at(&folder.join(name), None)
            .fix("make names that differ, as by `[package]` beside `[message]`")
            .into()),
    }
}

/// All files below a folder, by path with `/`. Those that begin with a dot are passed over.
fn collect(folder: &Path, below: &str, into: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(io_at(folder))? {
        let path = entry.map_err(io_at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            collect(&path, &format!("{below}{name}/"), into)?;
        } else {
            let bytes = fs::read(&path).map_err(io_at(&path))?;
            into.insert(format!("{below}{name}"), bytes);
        }
    }
    Ok(())
}

/// The path of what is made of a file, still with what stands in brackets.
fn output_name(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next().unwrap_or(name);
    (!last.starts_with('_')).then(|| name.strip_suffix(ENDING).unwrap_or(name))
}

/// One template, and the path that it makes.
struct Place<'a> {
    folder: &'a Path,
    name: &'a str,
    output: &'a str,
}

impl Place<'_> {
    fn wrong(&self, what: String, fix: &str) -> Failure {
        Problem::new(what).at(&self.folder.join(self.name), None).fix(fix).into()
    }

    /// What is rendered: the values that the template gets beside the schema, and the path.
    fn targets(&self, schema: &Value) -> Result<Vec<(Value, String)>, Failure> {
        let parts = self.parts()?;
        let each = EACH.iter().find(|(what, _)| parts.iter().any(|p| p.what.as_deref() == Some(what)));
        let Some((what, list)) = each else {
            return Ok(vec![(context! {}, self.path(&parts, schema, &Value::UNDEFINED, "")?)]);
        };
        let items =
            schema.get_attr(list).and_then(|list| list.try_iter()).map_err(|e| located(self.folder, &e))?;
        let mut targets = vec![];
        for item in items {
            let values = Value::from(BTreeMap::from([(*what, item.clone())]));
            targets.push((values, self.path(&parts, schema, &item, what)?));
        }
        Ok(targets)
    }

    /// The path with what stands in brackets filled in.
    fn path(&self, parts: &[Part], schema: &Value, item: &Value, each: &str) -> Result<String, Failure> {
        let text = |of: &Value, key: &str| of.get_attr(key).map(|v| v.to_string()).unwrap_or_default();
        let mut path = String::new();
        for part in parts {
            let name = match part.what.as_deref() {
                None => part.text.clone(),
                Some("schema") => text(schema, "name"),
                Some("package") if each == "package" => text(item, "name"),
                Some("package") => text(item, "package"),
                // With the names around it: two messages may have an inner one of the same name.
                Some(what) if what == each => {
                    let scope = item.get_attr("scope").and_then(|s| s.try_iter()).into_iter().flatten();
                    scope.map(|s| s.to_string()).chain([text(item, "name")]).collect::<Vec<_>>().join("_")
                }
                Some(other) => {
                    let what = format!("its name has both [{each}] and [{other}]");
                    return Err(self.wrong(what, "one of them; [package] may stand beside it"));
                }
            };
            path += &match part.case.as_deref() {
                None => name,
                Some("path") => name.replace('.', "/"),
                Some(case) => in_case(case, &name).ok_or_else(|| {
                    self.wrong(
                        format!("there is no case `{case}`"),
                        "use snake, camel, pascal, screaming, kebab or path",
                    )
                })?,
            };
        }
        Ok(path)
    }

    fn parts(&self) -> Result<Vec<Part>, Failure> {
        let mut parts = vec![];
        let mut rest = self.output;
        while let Some((before, after)) = rest.split_once('[') {
            let Some((inner, behind)) = after.split_once(']') else {
                return Err(self.wrong("its name has a `[` without a `]`".to_string(), "write `[message]`"));
            };
            let (what, case) = inner.split_once(':').map_or((inner, None), |(what, case)| (what, Some(case)));
            if what != "schema" && !EACH.iter().any(|(known, _)| *known == what) {
                let fix = "there are [schema], [package], [message], [enum] and [service]";
                return Err(self.wrong(format!("its name has [{what}]"), fix));
            }
            parts.push(Part { text: before.to_string(), what: None, case: None });
            parts.push(Part {
                text: String::new(),
                what: Some(what.to_string()),
                case: case.map(str::to_string),
            });
            rest = behind;
        }
        parts.push(Part { text: rest.to_string(), what: None, case: None });
        Ok(parts)
    }
}

/// A piece of a path: a text, or what is filled in.
struct Part {
    text: String,
    what: Option<String>,
    case: Option<String>,
}

fn in_case(case: &str, name: &str) -> Option<String> {
    Some(match case {
        "snake" => name.to_snake_case(),
        "camel" => name.to_lower_camel_case(),
        "pascal" => name.to_pascal_case(),
        "screaming" => name.to_shouty_snake_case(),
        "kebab" => name.to_kebab_case(),
        _ => return None,
    })
}

fn environment(schema: &Value) -> Result<Environment<'static>, Error> {
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    // What is made is code: `<` stays what it is, also in a file that ends in .html or .json.
    env.set_auto_escape_callback(|_| AutoEscape::None);
    let syntax =
        SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build()?;
    env.set_syntax(syntax);
    for case in ["snake", "camel", "pascal", "screaming", "kebab"] {
        env.add_filter(case, move |text: &str| in_case(case, text));
    }
    env.add_filter("comment", comment);
    env.add_filter("json", |value: Value| {
        serde_json::to_string(&value).map_err(|e| Error::new(ErrorKind::InvalidOperation, e.to_string()))
    });
    env.add_filter("keyword", |name: &str, language: &str| match keywords::of(language) {
        Some(words) if words.contains(&name) => Ok(format!("{name}_")),
        Some(_) => Ok(name.to_string()),
        None => {
            let what = format!(
                "no list of keywords for \"{language}\"; there are {}",
                keywords::LANGUAGES.join(", ")
            );
            Err(Error::new(ErrorKind::InvalidOperation, what))
        }
    });
    env.add_function("refuse", |why: &str| -> Result<String, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, why.to_string()))
    });
    for (function, list) in [("find_message", "messages"), ("find_enum", "enums")] {
        let mut by_name: BTreeMap<String, Value> = BTreeMap::new();
        for one in schema.get_attr(list)?.try_iter()? {
            by_name.insert(one.get_attr("full_name")?.to_string(), one);
        }
        env.add_function(function, move |name: &str| by_name.get(name).cloned().unwrap_or_default());
    }
    Ok(env)
}

/// Each line behind `prefix`, without the blanks that this leaves at ends. What would end a block comment does not.
fn comment(text: &str, prefix: &str, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    let indent = " ".repeat(indent.unwrap_or(0));
    let text = text.replace("*/", "* /");
    let lines = text.lines().map(|line| format!("{indent}{prefix}{line}").trim_end().to_string());
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

/// The innermost place that an error tells, and all that it says.
fn located(folder: &Path, error: &Error) -> Failure {
    let mut what = vec![];
    let mut place = None;
    let mut next = Some(error);
    while let Some(error) = next {
        what.push(match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        });
        place = error.name().map(|name| (name.to_string(), error.line())).or(place);
        next = error.source().and_then(|source| source.downcast_ref::<Error>());
    }
    let problem = Problem::new(what.join(": "));
    match place {
        Some((name, line)) => problem.at(&folder.join(name), line).into(),
        None => problem.at(folder, None).into(),
    }
}
