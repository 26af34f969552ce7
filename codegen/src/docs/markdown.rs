//! `reference.md`, as GitHub shows it. Texts of a schema are plain text: nothing in them is markup.

use super::{Link, MessageEntry, Part, Reference, summary};

pub(super) fn print(of: &Reference) -> String {
    let mut out = format!(
        "<!-- {} -->\n\n# {}\n\n",
        of.generated().replace("--", "-"),
        text(&format!("{}: reference", of.title))
    );
    out += &format!(
        "All messages and services of the schema, fingerprint `{}`. Examples are protobuf JSON.\n\n",
        of.fingerprint
    );
    for part in &of.parts {
        out += &format!("- [{}](#{})\n", text(&heading(part)), part.name);
        for service in &part.services {
            out += &format!("  - [{}](#{}): service\n", text(&service.name), service.full_name);
        }
        for message in &part.messages {
            let tag = message.tag.unwrap_or_default();
            out += &format!("  - [{}](#{}): tag {tag}\n", text(&message.name), message.full_name);
        }
    }
    for part in &of.parts {
        print_part(part, &mut out);
    }
    out
}

fn heading(part: &Part) -> String {
    match part.appendix {
        true => format!("Appendix: tagwire's own messages, {}", part.name),
        false => format!("Package {}", part.name),
    }
}

fn anchored(level: &str, full_name: &str, title: &str) -> String {
    format!("\n{level} <a id=\"{full_name}\"></a>{}\n", text(title))
}

fn print_part(part: &Part, out: &mut String) {
    *out += &anchored("##", &part.name, &heading(part));
    for service in &part.services {
        *out += &anchored("###", &service.full_name, &format!("Service {}", service.name));
        paragraph(&service.comment, out);
        *out += &format!("\n{}.\n\n| method | request | reply | |\n|---|---|---|---|\n", capital(service.at));
        for method in &service.methods {
            *out += &format!(
                "| {} | {} | {} | {} |\n",
                text(&method.name),
                link(&method.request),
                link(&method.reply),
                cell(&method.comment)
            );
        }
    }
    if !part.messages.is_empty() {
        *out += "\n### Messages\n\n| tag | message | sent by | goes to | |\n|---|---|---|---|---|\n";
        for message in &part.messages {
            let fact = |name: &str| {
                message
                    .facts
                    .iter()
                    .find(|(fact, _)| *fact == name)
                    .map_or(String::new(), |(_, what)| text(what))
            };
            *out += &format!(
                "| {} | [{}](#{}) | {} | {} | {} |\n",
                message.tag.unwrap_or_default(),
                text(&message.name),
                message.full_name,
                fact("sent by"),
                fact("goes to"),
                cell(&summary(&message.comment))
            );
        }
        part.messages.iter().for_each(|message| print_message(message, out));
    }
    if !part.types.is_empty() {
        *out += "\n### Types\n\nThey travel inside of messages.\n";
        part.types.iter().for_each(|message| print_message(message, out));
    }
    if !part.enums.is_empty() {
        *out += "\n### Enums\n";
        for one in &part.enums {
            *out += &anchored("####", &one.full_name, &one.name);
            paragraph(&one.comment, out);
            *out += "\n| number | name | |\n|---|---|---|\n";
            for (number, name, comment) in &one.values {
                *out += &format!("| {number} | {} | {} |\n", text(name), cell(comment));
            }
        }
    }
}

fn print_message(message: &MessageEntry, out: &mut String) {
    *out += &anchored("####", &message.full_name, &message.name);
    paragraph(&message.comment, out);
    if let Some(tag) = message.tag {
        *out += &format!("\n- tag: {tag}\n");
        for (name, what) in &message.facts {
            *out += &format!("- {name}: {}\n", text(what));
        }
        if let Some(answer) = &message.answer {
            *out += &format!("- answered by: {}\n", link(answer));
        }
    }
    if !message.rules.is_empty() {
        *out += if message.tag.is_some() { "" } else { "\n" };
        message.rules.iter().for_each(|rule| *out += &format!("- {}\n", text(rule)));
    }
    match message.fields.is_empty() {
        true => *out += "\nIt has no fields.\n",
        false => {
            *out += "\n| no. | field | type | rules | |\n|---|---|---|---|---|\n";
            for field in &message.fields {
                let (before, kind, after) = &field.kind;
                let presence = (!field.presence.is_empty()).then_some(&field.presence);
                let rules: Vec<String> =
                    presence.into_iter().chain(&field.rules).map(|rule| cell(rule)).collect();
                *out += &format!(
                    "| {} | {} | {}{}{} | {} | {} |\n",
                    field.number,
                    text(&field.name),
                    text(before),
                    link(kind),
                    text(after),
                    rules.join("<br>"),
                    cell(&field.comment)
                );
            }
        }
    }
    // No text in it has a backtick: the example has escaped them.
    *out += &format!("\n```json\n{}\n```\n", message.example);
}

fn link(link: &Link) -> String {
    match &link.target {
        Some(target) => format!("[{}](#{target})", text(&link.text)),
        None => text(&link.text),
    }
}

fn paragraph(comment: &str, out: &mut String) {
    for block in comment.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let lines: Vec<String> =
            block.lines().map(|line| text(line.trim())).filter(|line| !line.is_empty()).collect();
        *out += &format!("\n{}\n", lines.join("\n"));
    }
}

/// For a table: one line.
fn cell(comment: &str) -> String {
    let blocks =
        comment.split("\n\n").map(|block| text(&block.split_whitespace().collect::<Vec<_>>().join(" ")));
    blocks.filter(|block| !block.is_empty()).collect::<Vec<_>>().join("<br>")
}

/// Markup that only begins a line is escaped wherever it stands; what HTML could take for its own is written as
/// entities. Control characters are shown.
fn text(plain: &str) -> String {
    let mut out = String::new();
    for c in plain.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '#' | '+' | '-' | '!' | '|'
            | '~' | '=' | ':' | '@' => {
                if matches!(c, '-' | '+' | '(' | ')' | '=' | ':' | '@' | '!' | '{' | '}') && !needs(c, &out) {
                    out.push(c);
                } else if c == '|' {
                    // Entities hold in tables too, however a renderer treats a backslash there.
                    out.push_str("&#124;");
                } else {
                    out.push('\\');
                    out.push(c);
                }
            }
            '.' if !out.is_empty() && out.bytes().all(|b| b.is_ascii_digit()) => out.push_str("\\."),
            c if c.is_control() => out.push_str(&c.escape_default().to_string().replace('\\', "\\\\")),
            c => out.push(c),
        }
    }
    out
}

/// Signs that are markup at the beginning of a line, or behind certain others, and plain elsewhere.
fn needs(c: char, before: &str) -> bool {
    match c {
        '-' | '+' | '=' | ':' => {
            before.is_empty() || before.bytes().all(|b| matches!(b, b'-' | b'=' | b' ' | b'\\'))
        }
        // Of `1) `.
        ')' => before.bytes().all(|b| b.is_ascii_digit()) && !before.is_empty(),
        '!' => true,
        '(' | '{' | '}' | '@' => false,
        _ => true,
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(text("a-b (c): d"), "a-b (c): d");
        assert_eq!(text("- x"), "\\- x");
        assert_eq!(text("1. x"), "1\\. x");
        assert_eq!(
            text("# `x` *y* _z_ <b> [a](b) a|b */"),
            "\\# \\`x\\` \\*y\\* \\_z\\_ &lt;b&gt; \\[a\\](b) a&#124;b \\*/"
        );
        assert_eq!(text("a\u{7}"), "a\\\\u{7}");
    }
}
