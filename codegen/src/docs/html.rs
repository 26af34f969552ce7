//! `index.html`: one page without anything from elsewhere. Works without scripts; one adds the search.

use super::{EnumEntry, Link, MessageEntry, Part, Reference, ServiceEntry, summary};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn print(of: &Reference) -> String {
    let title = text(&format!("{}: reference", of.title));
    let generated = text(&of.generated().replace("--", "-"));
    let mut out = format!(
        "<!doctype html>\n<!-- {generated} -->\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    out += "<nav aria-label=\"Contents\">\n<input id=\"search\" type=\"search\" placeholder=\"Search: / \" aria-label=\"Search\" hidden>\n";
    for part in &of.parts {
        out += &format!("<p class=\"part\"><a href=\"#{0}\">{0}</a></p>\n<ul>\n", text(&part.name));
        let services = part.services.iter().map(|s| (&s.full_name, &s.name, "service".to_string()));
        let messages = part
            .messages
            .iter()
            .map(|m| (&m.full_name, &m.name, m.tag.map_or(String::new(), |tag| tag.to_string())));
        let types = part.types.iter().map(|m| (&m.full_name, &m.name, String::new()));
        let enums = part.enums.iter().map(|e| (&e.full_name, &e.name, "enum".to_string()));
        for (full_name, name, note) in services.chain(messages).chain(types).chain(enums) {
            out += &format!(
                "<li data-for=\"{0}\"><a href=\"#{0}\">{1}</a> <span>{2}</span></li>\n",
                text(full_name),
                text(name),
                text(&note)
            );
        }
        out += "</ul>\n";
    }
    out += &format!(
        "</nav>\n<main>\n<h1>{title}</h1>\n<p>All messages and services of the schema. Fingerprint <code>{}</code>. \
         Examples are protobuf JSON.</p>\n<p id=\"nothing\" hidden>Nothing has that in it.</p>\n",
        of.fingerprint
    );
    of.parts.iter().for_each(|part| print_part(part, &mut out));
    out += &format!("<footer>{generated}</footer>\n</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n");
    out
}

fn print_part(part: &Part, out: &mut String) {
    let heading = if part.appendix { "Appendix: tagwire's own messages, " } else { "Package " };
    *out += &format!("<h2 id=\"{0}\">{heading}{0}</h2>\n", text(&part.name));
    if !part.messages.is_empty() {
        *out += "<div class=\"wide overview\"><table>\n<thead><tr><th>tag</th><th>message</th><th>sent by</th><th>goes to</th><th></th></tr></thead>\n<tbody>\n";
        for message in &part.messages {
            let fact = |name: &str| {
                message
                    .facts
                    .iter()
                    .find(|(fact, _)| *fact == name)
                    .map_or(String::new(), |(_, what)| text(what))
            };
            *out += &format!(
                "<tr><td>{}</td><td><a href=\"#{}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                message.tag.unwrap_or_default(),
                text(&message.full_name),
                text(&message.name),
                fact("sent by"),
                fact("goes to"),
                text(&summary(&message.comment))
            );
        }
        *out += "</tbody>\n</table></div>\n";
    }
    part.services.iter().for_each(|service| print_service(service, out));
    part.messages.iter().chain(&part.types).for_each(|message| print_message(message, out));
    part.enums.iter().for_each(|one| print_enum(one, out));
}

/// The beginning of an entry.
fn open(full_name: &str, kind: &str, name: &str, note: &str, out: &mut String) {
    *out += &format!(
        "<article id=\"{0}\">\n<h3>{kind} {1} {note}<a class=\"anchor\" href=\"#{0}\" aria-label=\"Link to {1}\">#</a></h3>\n",
        text(full_name),
        text(name)
    );
}

fn print_service(service: &ServiceEntry, out: &mut String) {
    open(&service.full_name, "service", &service.name, "", out);
    paragraphs(&service.comment, out);
    *out += &format!(
        "<p>It is {}.</p>\n<div class=\"wide\"><table>\n<thead><tr><th>method</th><th>request</th><th>reply</th><th></th></tr></thead>\n<tbody>\n",
        service.at
    );
    for method in &service.methods {
        *out += &format!(
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            text(&method.name),
            link(&method.request),
            link(&method.reply),
            cell(&method.comment)
        );
    }
    *out += "</tbody>\n</table></div>\n</article>\n";
}

fn print_message(message: &MessageEntry, out: &mut String) {
    let tag = message.tag.map_or(String::new(), |tag| format!("<span class=\"tag\">tag {tag}</span> "));
    open(&message.full_name, "", &message.name, &tag, out);
    paragraphs(&message.comment, out);
    if !message.facts.is_empty() {
        *out += "<dl>\n";
        for (name, what) in &message.facts {
            *out += &format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", text(what));
        }
        if let Some(answer) = &message.answer {
            *out += &format!("<div><dt>answered by</dt><dd>{}</dd></div>\n", link(answer));
        }
        *out += "</dl>\n";
    }
    if !message.rules.is_empty() {
        *out += "<ul>\n";
        message.rules.iter().for_each(|rule| *out += &format!("<li>{}</li>\n", text(rule)));
        *out += "</ul>\n";
    }
    match message.fields.is_empty() {
        true => *out += "<p>It has no fields.</p>\n",
        false => {
            *out += "<div class=\"wide\"><table>\n<thead><tr><th>no.</th><th>field</th><th>type</th><th>rules</th><th></th></tr></thead>\n<tbody>\n";
            for field in &message.fields {
                let (before, kind, after) = &field.kind;
                let presence = (!field.presence.is_empty()).then_some(&field.presence);
                let rules: Vec<String> =
                    presence.into_iter().chain(&field.rules).map(|rule| text(rule)).collect();
                *out += &format!(
                    "<tr><td>{}</td><td><code>{}</code></td><td class=\"type\">{}{}{}</td><td>{}</td><td>{}</td></tr>\n",
                    field.number,
                    text(&field.name),
                    text(before),
                    link(kind),
                    text(after),
                    rules.join("<br>"),
                    cell(&field.comment)
                );
            }
            *out += "</tbody>\n</table></div>\n";
        }
    }
    *out += &format!("<pre class=\"wide\"><code>{}</code></pre>\n</article>\n", text(&message.example));
}

fn print_enum(one: &EnumEntry, out: &mut String) {
    open(&one.full_name, "enum", &one.name, "", out);
    paragraphs(&one.comment, out);
    *out += "<div class=\"wide\"><table>\n<thead><tr><th>number</th><th>name</th><th></th></tr></thead>\n<tbody>\n";
    for (number, name, comment) in &one.values {
        *out += &format!(
            "<tr><td>{number}</td><td><code>{}</code></td><td>{}</td></tr>\n",
            text(name),
            cell(comment)
        );
    }
    *out += "</tbody>\n</table></div>\n</article>\n";
}

fn link(link: &Link) -> String {
    match &link.target {
        Some(target) => format!("<a href=\"#{}\">{}</a>", text(target), text(&link.text)),
        None => text(&link.text),
    }
}

fn paragraphs(comment: &str, out: &mut String) {
    for block in comment.split("\n\n").filter(|block| !block.trim().is_empty()) {
        *out += &format!("<p>{}</p>\n", text(block.trim()));
    }
}

fn cell(comment: &str) -> String {
    comment.split("\n\n").map(|block| text(block.trim())).collect::<Vec<_>>().join("<br>")
}

/// For anywhere in the page but inside of styles and scripts, which hold nothing of a schema.
fn text(plain: &str) -> String {
    let mut out = String::new();
    for c in plain.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push_str(&c.escape_default().to_string()),
            c => out.push(c),
        }
    }
    out
}
