//! What a schema must not do, whatever is generated from it (`docs/PROTOCOL.md`, section "Schema").

mod constraints;
mod names;
pub(crate) mod pattern;

use std::collections::{HashMap, HashSet};
use std::path::Path;

pub use self::pattern::MAX_PATTERN_BYTES;
use crate::constraints::{Constant, Constraints};
use crate::error::{Finding, Findings};
use crate::model::{Message, Model, Origin, Rules};

/// Largest payload of a frame, bytes, whatever the limits; a test holds it to the protocol's own.
pub const MAX_FRAME_BYTES: u32 = 16 * 1024 * 1024;

/// Tags that belong to the stack; a test holds it to the protocol's own list.
pub fn is_reserved(tag: u32) -> bool {
    matches!(tag, 0 | 1 | 3 | 240..=255 | 65280..=65535)
}

/// Judges the game's part of a model.
///
/// # Errors
/// All findings, in the order of the files.
pub fn check(model: &Model) -> Result<(), Findings> {
    // Looked up once: a model may come from a stranger, and a look at all of it for each message would cost seconds.
    let mut check = Check {
        model,
        messages: model.messages.iter().map(|m| (m.full_name.as_str(), m)).collect(),
        proto2: model.files.iter().filter(|f| !f.proto3).map(|f| f.path.as_path()).collect(),
        free_tag: free_tag(model),
        findings: vec![],
    };
    check.messages();
    check.services();
    let mut findings = check.findings;
    findings.sort_by(|a, b| a.location.cmp(&b.location));
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings)) }
}

/// Whether all names of a model are still different where they are written as each language does. Apart from
/// [`check`]: whose model it is prints the code, so a stranger's may have any names.
///
/// # Errors
/// All findings, in the order of the files.
pub fn check_names(model: &Model) -> Result<(), Findings> {
    let mut findings = names::findings(model);
    findings.sort_by(|a, b| a.location.cmp(&b.location));
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings)) }
}

/// A `string.pattern`, which is in RE2's syntax, for the crate `regex`. `None` where [`check`] refuses it.
pub fn translate_pattern(pattern: &str) -> Option<String> {
    pattern::translate(pattern).ok()
}

/// Whether the regular expressions of a model that passed [`check`] can be compiled within the limit. Apart from it,
/// since that may cost much more time than their length, and a model may come from a stranger.
///
/// # Errors
/// All findings, in the order of the files.
pub fn check_patterns(model: &Model) -> Result<(), Findings> {
    fn texts<'a>(of: &'a Constraints, into: &mut Vec<&'a str>) {
        if let Some(Constant::Text(text)) = of.rule("pattern") {
            into.push(text);
        }
        for inner in [&of.items, &of.keys, &of.values].into_iter().flatten() {
            texts(inner, into);
        }
    }
    let mut findings = vec![];
    for message in model.messages.iter().filter(|m| m.origin == Origin::Game) {
        for field in &message.fields {
            let Some(placed) = &field.constraints else { continue };
            let mut found = vec![];
            texts(&placed.constraints, &mut found);
            for text in found {
                if let Err((what, fix)) = pattern::translate(text).and_then(|text| pattern::compile(&text)) {
                    let what =
                        format!("{}.{} has the rule `string.pattern`: {what}", message.full_name, field.name);
                    findings.push(Finding { location: placed.location.clone(), what, fix });
                }
            }
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings)) }
}

struct Check<'a> {
    model: &'a Model,
    messages: HashMap<&'a str, &'a Message>,
    proto2: HashSet<&'a Path>,
    free_tag: u32,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn find(&mut self, location: &crate::model::Location, what: String, fix: String) {
        self.findings.push(Finding { location: location.clone(), what, fix });
    }

    fn messages(&mut self) {
        let mut seen: HashMap<u32, &Message> = HashMap::new();
        for message in self.model.messages.iter().filter(|m| m.origin == Origin::Game) {
            self.constraints(message);
            let Some(rules) = &message.rules else { continue };
            self.tag(message, rules);
            if let Some(tag) = rules.tag
                && let Some(other) = seen.insert(tag, message)
            {
                self.find(
                    &rules.location,
                    format!(
                        "{} has tag {tag}, which {} has too ({}); a receiver could not tell them apart",
                        message.full_name, other.full_name, other.location
                    ),
                    format!("give one of them `tag: {}`, which is free", self.free_tag),
                );
            }
            self.sender(message, rules);
            self.limits(message, rules);
            self.syntax(message, rules);
        }
    }

    fn tag(&mut self, message: &Message, rules: &Rules) {
        let free = self.free_tag;
        match rules.tag {
            None => self.find(
                &rules.location,
                format!("{} has rules but no tag; it has no number to travel under", message.full_name),
                format!("add `tag: {free}`, which is free; or remove the rules if it is only part of others"),
            ),
            Some(tag) if tag > 65535 => self.find(
                &rules.location,
                format!("{} has tag {tag}; the wire has 16 bits for it", message.full_name),
                format!("use 2, 4 to 239 or 256 to 65279: `tag: {free}` is free"),
            ),
            Some(tag) if is_reserved(tag) => self.find(
                &rules.location,
                format!("{} has tag {tag}, which belongs to tagwire itself", message.full_name),
                format!("use 2, 4 to 239 or 256 to 65279: `tag: {free}` is free"),
            ),
            Some(_) => {}
        }
    }

    fn sender(&mut self, message: &Message, rules: &Rules) {
        let Some(from) = rules.from.as_deref() else {
            self.find(
                &rules.location,
                format!("{} does not say who may send it", message.full_name),
                "add `from: CLIENT`, `from: SERVER` or `from: BOTH`".to_string(),
            );
            return;
        };
        if from == "SERVER" {
            for rule in ["to", "access", "max_rate"] {
                if rules.written.iter().any(|w| w == rule) {
                    self.find(
                        &rules.location,
                        format!(
                            "{} has `{rule}` beside `from: SERVER`; the rule speaks of what clients send",
                            message.full_name
                        ),
                        format!("remove `{rule}`, or let clients send it: `from: BOTH`"),
                    );
                }
            }
        }
    }

    fn limits(&mut self, message: &Message, rules: &Rules) {
        if rules.rate_per_second().is_err() {
            self.find(
                &rules.location,
                format!("{} has max_rate \"{}\", which is not a rate", message.full_name, rules.max_rate),
                "write messages per second as \"N/s\", N from 1 to 1000000: `max_rate: \"20/s\"`".to_string(),
            );
        }
        if rules.max_bytes > MAX_FRAME_BYTES {
            self.find(
                &rules.location,
                format!(
                    "{} has max_bytes {}; no frame is larger than {MAX_FRAME_BYTES}",
                    message.full_name, rules.max_bytes
                ),
                format!("write at most `max_bytes: {MAX_FRAME_BYTES}`, or send it in pieces"),
            );
        }
    }

    /// Presence and defaults of proto2 differ from what our clients are promised.
    fn syntax(&mut self, message: &Message, rules: &Rules) {
        if self.proto2.contains(message.location.path.as_path()) {
            self.find(
                &rules.location,
                format!(
                    "{} travels alone but its file is proto2; only proto3 messages may",
                    message.full_name
                ),
                "write `syntax = \"proto3\";` on the first line of the file".to_string(),
            );
        }
    }

    fn services(&mut self) {
        let mut takers: HashMap<&str, String> = HashMap::new();
        for service in self.model.services.iter().filter(|s| s.origin == Origin::Game) {
            for method in &service.methods {
                let name = format!("{}.{}", service.full_name, method.name);
                if method.streaming {
                    self.find(
                        &method.location,
                        format!("{name} is a stream; a request has one answer here"),
                        "remove `stream`, and let the server push a message `from: SERVER` as often as it likes"
                            .to_string(),
                    );
                }
                if let Some(other) = takers.insert(&method.request, name.clone()) {
                    self.find(
                        &method.location,
                        format!(
                            "{name} takes {}, which {other} takes too; its tag would name both",
                            method.request
                        ),
                        "give each method a request message of its own".to_string(),
                    );
                }
                self.request(&name, method);
            }
        }
    }

    fn request(&mut self, name: &str, method: &crate::model::Method) {
        let Some(message) = self.messages.get(method.request.as_str()).copied() else { return };
        if message.origin != Origin::Game {
            self.find(
                &method.location,
                format!("{name} takes {}, which is not a message of yours", message.full_name),
                "take a message of your own, with a tag".to_string(),
            );
            return;
        }
        let Some(rules) = &message.rules else {
            let option = option_name(&message.package);
            self.find(
                &message.location,
                format!("{} is the request of {name} but has no tag to travel under", message.full_name),
                format!("add `option {option} = {{ tag: {}, from: CLIENT }};`", self.free_tag),
            );
            return;
        };
        if rules.from.as_deref() == Some("SERVER") {
            self.find(
                &rules.location,
                format!("{} is the request of {name} but no client may send it", message.full_name),
                "write `from: CLIENT`".to_string(),
            );
        }
        if rules.relayed() {
            self.find(
                &rules.location,
                format!(
                    "{} is the request of {name}; it is answered, not relayed (`to: {}`)",
                    message.full_name, rules.to
                ),
                "remove `to`, or make a message of its own for what goes to the room".to_string(),
            );
        }
        if rules.delivery != "ORDERED" {
            self.find(
                &rules.location,
                format!(
                    "{} is the request of {name}; it must arrive, so `delivery: {}` cannot be",
                    message.full_name, rules.delivery
                ),
                "remove `delivery`".to_string(),
            );
        }
    }
}

/// The smallest tag that no message has.
fn free_tag(model: &Model) -> u32 {
    let taken: HashSet<u32> =
        model.messages.iter().filter_map(|m| m.rules.as_ref().and_then(|r| r.tag)).collect();
    (2..65280).find(|tag| !is_reserved(*tag) && !taken.contains(tag)).unwrap_or(65279)
}

/// How the option is written in a package: an inner `tagwire` would hide ours.
fn option_name(package: &str) -> &'static str {
    if package.split('.').any(|part| part == "tagwire") {
        "(.tagwire.v1.rules)"
    } else {
        "(tagwire.v1.rules)"
    }
}
