//! `llms.txt`: title, summary, links, and the reference in few words. <https://llmstxt.org>

use super::{FieldEntry, MessageEntry, Reference};

pub(super) fn print(of: &Reference) -> String {
    let mut out = format!("# {}\n\n", line(&of.title));
    out += &format!(
        "> The messages of the game {}, which players and the server send each other by tagwire: protobuf messages, \
         each with a tag, over TCP or WebSocket. {}\n\n",
        line(&of.title),
        of.generated()
    );
    out += "## Files\n\n- [Reference](reference.md): every message with its rules, fields and an example\n\
            - [The same as a page](index.html): with search\n";
    for part in &of.parts {
        let heading = if part.appendix { "tagwire's own messages" } else { "Package" };
        out += &format!("\n## {heading} {}\n", part.name);
        for service in &part.services {
            out += &format!("\n### service {} ({})\n\n", service.full_name, service.at);
            said(&service.comment, &mut out);
            for method in &service.methods {
                let comment = with(": ", &method.comment);
                out += &format!(
                    "- {}({}) returns {}{comment}\n",
                    method.name, method.request.text, method.reply.text
                );
            }
        }
        part.messages.iter().chain(&part.types).for_each(|message| print_message(message, &mut out));
        for one in &part.enums {
            out += &format!("\n### enum {}\n\n", one.full_name);
            said(&one.comment, &mut out);
            for (number, name, comment) in &one.values {
                out += &format!("- {name} = {number}{}\n", with(": ", comment));
            }
        }
    }
    out
}

fn print_message(message: &MessageEntry, out: &mut String) {
    let tag = message.tag.map_or(String::new(), |tag| format!(" (tag {tag})"));
    *out += &format!("\n### message {}{tag}\n\n", message.full_name);
    said(&message.comment, out);
    let mut facts: Vec<String> = message.facts.iter().map(|(name, what)| format!("{name} {what}")).collect();
    facts.extend(message.answer.iter().map(|answer| format!("answered by {}", answer.text)));
    facts.extend(message.rules.iter().map(|rule| line(rule)));
    if !facts.is_empty() {
        *out += &format!("{}.\n\n", facts.join("; "));
    }
    message.fields.iter().for_each(|field| print_field(field, out));
}

fn print_field(field: &FieldEntry, out: &mut String) {
    let (before, kind, after) = &field.kind;
    let presence = (!field.presence.is_empty()).then_some(&field.presence);
    let rules: Vec<String> = presence.into_iter().chain(&field.rules).map(|rule| line(rule)).collect();
    let rules = if rules.is_empty() { String::new() } else { format!(" ({})", rules.join("; ")) };
    let comment = with(": ", &field.comment);
    *out += &format!("- {before}{}{after} {} = {}{rules}{comment}\n", kind.text, field.name, field.number);
}

fn said(comment: &str, out: &mut String) {
    if !comment.trim().is_empty() {
        *out += &format!("{}\n\n", line(comment));
    }
}

fn with(before: &str, comment: &str) -> String {
    let text = line(comment);
    if text.is_empty() { text } else { format!("{before}{text}") }
}

/// On one line, so that no text begins a heading or an entry; without what a terminal would obey.
fn line(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}
