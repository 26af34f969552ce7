//! What differs between two schemas, and whether two sides that have one each understand each other.
//!
//! Only what the [`fingerprint`](mod@crate::fingerprint) covers is compared. All is indexed by name, tag and number
//! first, so that the cost is n log n in the size of the models: one of them may be a stranger's.
//!
//! The rules, with an example of each and the words for it, are in `docs/COMPATIBILITY.md`, which
//! `tests/diff.rs` writes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use crate::fingerprint::{self, Covered};
use crate::model::{Enum, Field, Kind, Label, Message, Model, Rules};

/// How two schemas go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Their fingerprints are equal.
    Same,
    /// They differ, and whatever both know means the same to both.
    Compatible,
    /// Something that both know means one thing here and another there.
    Breaking,
}

/// One difference between two schemas, told as a change from theirs to ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Full name of what differs, `arena.v1.MouseEvent.x`; or `tag 7`, where one tag has two messages.
    pub place: String,
    /// How: `int32 became string`.
    pub what: String,
    /// What goes wrong between the two sides. `None`: nothing.
    pub breaks: Option<String>,
    /// What whoever makes the change can do instead; empty where nothing goes wrong.
    pub fix: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        match &self.breaks {
            Some(breaks) => write!(f, ": {breaks}"),
            None => Ok(()),
        }
    }
}

/// What [`compare`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The sum of it.
    pub verdict: Verdict,
    /// All differences, those that break first, then by place. Empty exactly where the verdict is `Same`.
    pub differences: Vec<Difference>,
}

/// Compares two models that passed their checks: the client's and the server's, or an older and a newer.
pub fn compare(theirs: &Model, ours: &Model) -> Comparison {
    let (their_listing, our_listing) = (fingerprint::listing(theirs), fingerprint::listing(ours));
    if their_listing == our_listing {
        return Comparison { verdict: Verdict::Same, differences: vec![] };
    }
    let mut differences = differences(&Side::of(Covered::of(theirs)), &Side::of(Covered::of(ours)));
    if differences.is_empty() {
        // What is left is the presence of a map's keys and values, which proto2 and proto3 write differently.
        let changed = their_listing.lines().zip(our_listing.lines()).find(|(their, our)| their != our);
        let (their, our) = changed.unwrap_or((&their_listing, &our_listing));
        differences.push(Difference {
            place: "schema".to_string(),
            what: format!("\"{their}\" became \"{our}\""),
            breaks: None,
            fix: String::new(),
        });
    }
    differences.sort_by(|a, b| {
        (a.breaks.is_none(), &a.place, &a.what).cmp(&(b.breaks.is_none(), &b.place, &b.what))
    });
    let breaking = differences.iter().any(|d| d.breaks.is_some());
    Comparison { verdict: if breaking { Verdict::Breaking } else { Verdict::Compatible }, differences }
}

/// The differences of all that the game's files say, whether anything with a tag reaches it or not.
pub(crate) fn all_differences(theirs: &Model, ours: &Model) -> Vec<Difference> {
    differences(&Side::of(Covered::all(theirs)), &Side::of(Covered::all(ours)))
}

fn differences(theirs: &Side<'_>, ours: &Side<'_>) -> Vec<Difference> {
    let mut found = Found(vec![]);
    tags(theirs, ours, &mut found);
    for (name, their) in &theirs.covered.messages {
        // The entry of a map is compared where the map is.
        if let Some(our) = ours.covered.messages.get(name)
            && !(their.map_entry && our.map_entry)
        {
            fields(theirs, ours, their, our, &mut found);
        }
    }
    for (name, their) in &theirs.covered.enums {
        if let Some(our) = ours.covered.enums.get(name) {
            values(their, our, &mut found);
        }
    }
    services(theirs, ours, &mut found);
    found.0
}

struct Found(Vec<Difference>);

impl Found {
    fn harmless(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.0.push(Difference { place: place.into(), what: what.into(), breaks: None, fix: String::new() });
    }

    fn breaking(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        breaks: &str,
        fix: impl Into<String>,
    ) {
        self.0.push(Difference {
            place: place.into(),
            what: what.into(),
            breaks: Some(breaks.to_string()),
            fix: fix.into(),
        });
    }
}

/// A model with what is looked up in it.
struct Side<'a> {
    covered: Covered<'a>,
    /// Messages that travel alone, by tag and by full name.
    by_tag: BTreeMap<u32, &'a Message>,
    tagged: BTreeMap<&'a str, (u32, &'a Rules)>,
    /// Service, method, request and reply, by the service's and the method's name, and by the request.
    methods: BTreeMap<(&'a str, &'a str), Call<'a>>,
    by_request: HashMap<&'a str, Call<'a>>,
}

#[derive(Clone, Copy)]
struct Call<'a> {
    service: &'a str,
    method: &'a str,
    request: &'a str,
    reply: &'a str,
}

impl<'a> Side<'a> {
    fn of(covered: Covered<'a>) -> Self {
        let mut side = Side {
            by_tag: BTreeMap::new(),
            tagged: BTreeMap::new(),
            methods: BTreeMap::new(),
            by_request: HashMap::new(),
            covered,
        };
        for (name, message) in &side.covered.messages {
            if let Some((tag, rules)) = message.rules.as_ref().and_then(|r| Some((r.tag?, r))) {
                side.by_tag.insert(tag, message);
                side.tagged.insert(name, (tag, rules));
            }
        }
        for service in side.covered.services.values() {
            for method in &service.methods {
                let call = Call {
                    service: &service.full_name,
                    method: &method.name,
                    request: &method.request,
                    reply: &method.reply,
                };
                side.methods.insert((call.service, call.method), call);
                side.by_request.insert(call.request, call);
            }
        }
        side
    }

    /// The type of a field as it is written in a schema.
    fn written(&self, field: &Field) -> String {
        let kind = kind_name(&field.kind);
        match field.label {
            Label::Implicit => kind.to_string(),
            // A message, or a member of a oneof, has presence without a word for it.
            Label::Optional if matches!(field.kind, Kind::Message(_)) || field.oneof.is_some() => {
                kind.to_string()
            }
            Label::Optional => format!("optional {kind}"),
            Label::Required => format!("required {kind}"),
            Label::Repeated => format!("repeated {kind}"),
            Label::Map => {
                let entry = self.covered.messages.get(kind);
                let part = |number: u32| {
                    let field = entry.and_then(|e| e.fields.iter().find(|f| f.number == number));
                    field.map_or("?", |f| kind_name(&f.kind))
                };
                format!("map<{}, {}>", part(1), part(2))
            }
        }
    }
}

fn kind_name(kind: &Kind) -> &str {
    match kind {
        Kind::Scalar(name) => name,
        Kind::Message(name) | Kind::Enum(name) => name,
    }
}

fn tags(theirs: &Side<'_>, ours: &Side<'_>, found: &mut Found) {
    for (tag, their) in &theirs.by_tag {
        if let Some(our) = ours.by_tag.get(tag)
            && our.full_name != their.full_name
        {
            found.breaking(
                format!("tag {tag}"),
                format!("{} became {}", their.full_name, our.full_name),
                "each side takes what the other sends for its own",
                format!("give {} a tag that was never used", our.full_name),
            );
        }
    }
    for (name, (tag, rules)) in &theirs.tagged {
        match ours.tagged.get(name) {
            Some((our_tag, our_rules)) => {
                if tag != our_tag {
                    found.breaking(
                        *name,
                        format!("tag {tag} became {our_tag}"),
                        "the other side does not know it by this tag",
                        format!("write `tag: {tag}` again"),
                    );
                }
                rules_of(name, rules, our_rules, found);
                push_or_request(name, theirs, ours, found);
            }
            None if !ours.by_tag.contains_key(tag) => found.harmless(*name, format!("tag {tag} removed")),
            None => {}
        }
    }
    for (name, (tag, _)) in &ours.tagged {
        if !theirs.tagged.contains_key(name) && !theirs.by_tag.contains_key(tag) {
            found.harmless(*name, format!("tag {tag} added"));
        }
    }
}

fn push_or_request(name: &str, theirs: &Side<'_>, ours: &Side<'_>, found: &mut Found) {
    let (what, fix) = match (theirs.by_request.contains_key(name), ours.by_request.contains_key(name)) {
        (false, true) => {
            ("a push became a request", "let the method take a new message, with a tag of its own")
        }
        (true, false) => (
            "a request became a push",
            "keep its method, or remove the message with it and push a new one, with a tag of its own",
        ),
        _ => return,
    };
    found.breaking(name, what, "what the other side sends is refused", fix);
}

fn rules_of(name: &str, theirs: &Rules, ours: &Rules, found: &mut Found) {
    let from = |rules: &Rules| rules.from.clone().unwrap_or_default();
    let (their_from, our_from) = (from(theirs), from(ours));
    if their_from != our_from {
        let what = format!("from {their_from} became {our_from}");
        if theirs.from_client() && !ours.from_client() {
            let fix = format!(
                "write `from: {their_from}` again; or make a new message, and remove this one when no client sends it"
            );
            found.breaking(name, what, "a client that sends it is turned out", fix);
        } else if their_from == "BOTH" || our_from == "BOTH" {
            found.harmless(name, what);
        } else {
            let fix = format!("write `from: {their_from}` or `from: BOTH`; or make a new message");
            found.breaking(name, what, "neither side sends it any more", fix);
        }
    }
    if theirs.delivery != ours.delivery {
        found.breaking(
            name,
            format!("delivery {} became {}", theirs.delivery, ours.delivery),
            "one side may lose what the other counts on",
            format!(
                "write `delivery: {}` again; or make a new message, with a tag of its own",
                theirs.delivery
            ),
        );
    }
    if theirs.max_bytes != ours.max_bytes {
        let shown = |bytes: u32| match bytes {
            0 => "the server's limit".to_string(),
            bytes => bytes.to_string(),
        };
        found.harmless(
            name,
            format!("max_bytes {} became {}", shown(theirs.max_bytes), shown(ours.max_bytes)),
        );
    }
    // The rest speaks of what clients send; where one side lets none send, that is said above.
    if !theirs.from_client() || !ours.from_client() {
        return;
    }
    if theirs.to != ours.to {
        found.breaking(
            name,
            format!("to {} became {}", theirs.to, ours.to),
            "it reaches others than the other side thinks",
            format!("write `to: {}` again; or make a new message, with a tag of its own", theirs.to),
        );
    }
    if theirs.access != ours.access {
        found.harmless(name, format!("access {} became {}", theirs.access, ours.access));
    }
    let rate = |rules: &Rules| rules.rate_per_second().ok().flatten().unwrap_or(0);
    if rate(theirs) != rate(ours) {
        let shown = |rate: u32| match rate {
            0 => "the server's limit".to_string(),
            rate => format!("{rate}/s"),
        };
        found.harmless(name, format!("max_rate {} became {}", shown(rate(theirs)), shown(rate(ours))));
    }
}

fn fields(their_side: &Side<'_>, our_side: &Side<'_>, theirs: &Message, ours: &Message, found: &mut Found) {
    let (their_rules, our_rules) = (&theirs.constraints, &ours.constraints);
    constraints(
        &theirs.full_name,
        &fingerprint::message_lines(their_rules),
        &fingerprint::message_lines(our_rules),
        found,
    );
    let (their_fields, our_fields) = (by_number(theirs), by_number(ours));
    let our_names: HashMap<&str, u32> = ours.fields.iter().map(|f| (f.name.as_str(), f.number)).collect();
    let their_names: BTreeSet<&str> = theirs.fields.iter().map(|f| f.name.as_str()).collect();
    let renamed = renamed_oneofs(&their_fields, &our_fields);
    for (their, our) in &renamed {
        found.harmless(format!("{}.{their}", theirs.full_name), format!("the oneof is called {our} now"));
    }
    for their in their_fields.values() {
        let place = format!("{}.{}", theirs.full_name, their.name);
        let our = our_fields.get(&their.number);
        match our_names.get(their.name.as_str()) {
            Some(number) if *number != their.number => {
                found.breaking(
                    &place,
                    format!("number {} became {number}", their.number),
                    "what the other side sends in it is lost or misread",
                    format!(
                        "write `{} = {}` again; the field that has the number now takes a new one",
                        their.name, their.number
                    ),
                );
            }
            Some(_) => {}
            // The new name is told, unless it is a name that moved here.
            None => match our {
                Some(our) if !their_names.contains(our.name.as_str()) => {
                    found.harmless(&place, format!("is called {} now", our.name));
                }
                Some(_) => found.harmless(&place, "removed"),
                None => one_sided(&place, their_side, their, "removed", found),
            },
        }
        if let Some(our) = our {
            if their.kind == our.kind {
                let lines = |field: &Field| {
                    let placed = field.constraints.as_ref();
                    placed.map_or_else(Vec::new, |placed| fingerprint::constraint_lines(&placed.constraints))
                };
                constraints(&place, &lines(their), &lines(our), found);
            }
            field(place, their_side, our_side, their, our, found);
            moved(theirs, their, our, &renamed, found);
        }
    }
    for our in our_fields.values() {
        if !their_names.contains(our.name.as_str()) && !their_fields.contains_key(&our.number) {
            one_sided(&format!("{}.{}", ours.full_name, our.name), our_side, our, "added", found);
        }
    }
}

/// Rules of one field or message. The server judges by its own, so a stricter one refuses single messages of an older
/// client, as a smaller `max_bytes` does, and says which rule; what is let through means the same to both.
fn constraints(place: &str, theirs: &[String], ours: &[String], found: &mut Found) {
    // By path; a message may have the same one with several values.
    fn by_path(lines: &[String]) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut by_path: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for line in lines {
            let (path, value) = line.split_once(' ').unwrap_or((line, ""));
            by_path.entry(path).or_default().insert(value);
        }
        by_path
    }
    /// One that people can read as it is listed.
    fn number(values: &BTreeSet<&str>) -> Option<i128> {
        values.first().filter(|_| values.len() == 1)?.parse().ok()
    }
    let (theirs, ours) = (by_path(theirs), by_path(ours));
    for (path, their) in &theirs {
        match ours.get(path) {
            None => found.harmless(place, format!("rule {path} removed")),
            Some(our) if our != their => {
                let how = match (number(their), number(our)) {
                    (Some(their), Some(our)) => format!("{their} became {our}"),
                    _ => "changed".to_string(),
                };
                found.harmless(place, format!("rule {path} {how}; the server refuses what breaks it"));
            }
            Some(_) => {}
        }
    }
    for path in ours.keys().filter(|path| !theirs.contains_key(*path)) {
        found.harmless(place, format!("rule {path} added; the server refuses what breaks it"));
    }
}

fn by_number(message: &Message) -> BTreeMap<u32, &Field> {
    message.fields.iter().map(|f| (f.number, f)).collect()
}

fn one_sided(place: &str, side: &Side<'_>, field: &Field, what: &str, found: &mut Found) {
    let what = format!("{} {what}", side.written(field));
    match field.label {
        Label::Required => {
            let fix = "make it `optional`, and let the code say what it needs";
            found.breaking(place, what, "the side that has it cannot read the other's messages", fix)
        }
        _ => found.harmless(place, what),
    }
}

/// Type and label of a field that both have.
fn field(
    place: String,
    their_side: &Side<'_>,
    our_side: &Side<'_>,
    theirs: &Field,
    ours: &Field,
    found: &mut Found,
) {
    let (their_type, our_type) = (their_side.written(theirs), our_side.written(ours));
    let single = |label: Label| matches!(label, Label::Implicit | Label::Optional);
    let what = format!("{their_type} became {our_type}");
    let fix = format!(
        "write `{their_type} {} = {}` again; what is of the new type takes a new number and name",
        theirs.name, theirs.number
    );
    if theirs.label == Label::Map && ours.label == Label::Map {
        if their_type != our_type {
            found.breaking(place, what, "what the other side sends in it is lost or misread", fix);
        } else if theirs.kind != ours.kind && theirs.name == ours.name {
            let names = (kind_name(&theirs.kind), kind_name(&ours.kind));
            found.harmless(
                place,
                format!("the message of its entries, {}, is called {} now", names.0, names.1),
            );
        }
    } else if theirs.kind != ours.kind {
        let breaks = match wire(theirs) == wire(ours) {
            true => "what the other side sends in it is misread",
            false => "what the other side sends in it is lost",
        };
        found.breaking(place, what, breaks, fix);
    } else if theirs.label == ours.label {
    } else if single(theirs.label) && single(ours.label) {
        // Where it moved into or out of a oneof, that is told.
        if theirs.oneof.is_none() && ours.oneof.is_none() {
            found.harmless(place, what);
        }
    } else if single(theirs.label) || single(ours.label) {
        let breaks = match theirs.label == Label::Required || ours.label == Label::Required {
            true => "the side that requires it cannot read messages without it",
            false => "what the other side sends in it is lost",
        };
        found.breaking(place, what, breaks, fix);
    } else {
        found.breaking(place, what, "what the other side sends in it is lost", fix);
    }
}

/// How the values of a field lie on the wire: <https://protobuf.dev/programming-guides/encoding/#structure>.
fn wire(field: &Field) -> u8 {
    if field.label == Label::Repeated || field.label == Label::Map {
        return 2;
    }
    match &field.kind {
        Kind::Scalar("double" | "fixed64" | "sfixed64") => 1,
        Kind::Scalar("float" | "fixed32" | "sfixed32") => 5,
        Kind::Scalar("string" | "bytes") | Kind::Message(_) => 2,
        Kind::Scalar(_) | Kind::Enum(_) => 0,
    }
}

/// The oneofs of a message that only have another name: all that both sides have of the one is in the other.
fn renamed_oneofs<'a>(
    theirs: &BTreeMap<u32, &'a Field>,
    ours: &BTreeMap<u32, &'a Field>,
) -> BTreeSet<(&'a str, &'a str)> {
    let mut forth: HashMap<&str, BTreeSet<Option<&str>>> = HashMap::new();
    let mut back: HashMap<&str, BTreeSet<Option<&str>>> = HashMap::new();
    let mut renamed = BTreeSet::new();
    for (number, their) in theirs {
        let Some(our) = ours.get(number) else { continue };
        let (their, our) = (their.oneof.as_deref(), our.oneof.as_deref());
        if let Some(their) = their {
            forth.entry(their).or_default().insert(our);
        }
        if let Some(our) = our {
            back.entry(our).or_default().insert(their);
        }
        if let (Some(their), Some(our)) = (their, our)
            && their != our
        {
            renamed.insert((their, our));
        }
    }
    let one = |of: &HashMap<&str, BTreeSet<Option<&str>>>, name| of.get(name).is_some_and(|to| to.len() == 1);
    renamed.retain(|(their, our)| one(&forth, *their) && one(&back, *our));
    renamed
}

/// Where a field that both have is in different oneofs.
fn moved(
    message: &Message,
    theirs: &Field,
    ours: &Field,
    renamed: &BTreeSet<(&str, &str)>,
    found: &mut Found,
) {
    let what = match (theirs.oneof.as_deref(), ours.oneof.as_deref()) {
        (None, Some(our)) => format!("moved into the oneof {our}"),
        (Some(their), None) => format!("moved out of the oneof {their}"),
        (Some(their), Some(our)) if their != our && !renamed.contains(&(their, our)) => {
            format!("moved from the oneof {their} to {our}")
        }
        _ => return,
    };
    let breaks = "values that one side sends together clear each other on the other";
    let fix = match &theirs.oneof {
        Some(oneof) => format!("put it into `oneof {oneof}` again; or make a new field, with a new number"),
        None => "take it out again; or make a new field in the oneof, with a new number".to_string(),
    };
    found.breaking(format!("{}.{}", message.full_name, theirs.name), what, breaks, fix);
}

fn values(theirs: &Enum, ours: &Enum, found: &mut Found) {
    // Aliases: one number may have several names.
    fn names(one: &Enum) -> BTreeMap<i32, BTreeSet<&str>> {
        let mut names: BTreeMap<i32, BTreeSet<&str>> = BTreeMap::new();
        for value in &one.values {
            names.entry(value.number).or_default().insert(&value.name);
        }
        names
    }
    fn number_of(one: &Enum) -> HashMap<&str, i32> {
        one.values.iter().map(|v| (v.name.as_str(), v.number)).collect()
    }
    let (their_names, our_names) = (names(theirs), names(ours));
    let (their_numbers, our_numbers) = (number_of(theirs), number_of(ours));
    for (number, their) in &their_names {
        for name in their {
            let place = format!("{}.{name}", theirs.full_name);
            match our_numbers.get(*name) {
                Some(other) if other != number => found.breaking(
                    place,
                    format!("number {number} became {other}"),
                    "each side reads another value than was meant",
                    format!("write `{name} = {number}` again; a new value takes a new number"),
                ),
                Some(_) => {}
                None => {
                    // Called by what is new there, so that a name that moved is not taken for one.
                    let new = our_names
                        .get(number)
                        .and_then(|our| our.iter().find(|name| !their_numbers.contains_key(**name)).copied());
                    match new {
                        Some(new) => found.harmless(place, format!("is called {new} now")),
                        None => found.harmless(place, format!("value {number} removed")),
                    }
                }
            }
        }
    }
    for (number, our) in &our_names {
        let their = their_names.get(number);
        // A new name of a number that lost one is told as its other name.
        let lost = their.is_some_and(|their| their.iter().any(|name| !our_numbers.contains_key(*name)));
        for (at, name) in our.iter().filter(|name| !their_numbers.contains_key(**name)).enumerate() {
            if !(lost && at == 0) {
                found.harmless(format!("{}.{name}", ours.full_name), format!("value {number} added"));
            }
        }
    }
}

fn services(theirs: &Side<'_>, ours: &Side<'_>, found: &mut Found) {
    for (name, their) in &theirs.covered.services {
        match ours.covered.services.get(name) {
            Some(our) if their.at != our.at => {
                found.harmless(*name, format!("at {} became {}", their.at, our.at));
            }
            Some(_) => {}
            None => found.harmless(*name, "service removed"),
        }
    }
    for name in ours.covered.services.keys() {
        if !theirs.covered.services.contains_key(name) {
            found.harmless(*name, "service added");
        }
    }
    for (key, their) in &theirs.methods {
        let place = format!("{}.{}", their.service, their.method);
        let same_name = ours.methods.get(key);
        // A request travels by its tag alone, so a method of another name with that request is the same.
        let same_request = ours.by_request.get(their.request);
        if let Some(our) = same_name
            && our.request != their.request
        {
            found.breaking(
                &place,
                format!("request {} became {}", their.request, our.request),
                "what the other side asks is not answered",
                format!("let it take {} again; or make a new method", their.request),
            );
        }
        match (same_request, same_name) {
            (Some(our), None) => {
                found.harmless(&place, format!("is called {}.{} now", our.service, our.method));
            }
            (None, None) => found.harmless(&place, "method removed"),
            _ => {}
        }
        if let Some(our) = same_request.or(same_name)
            && our.reply != their.reply
        {
            found.breaking(
                &place,
                format!("reply {} became {}", their.reply, our.reply),
                "the answer is misread",
                format!("let it give {} again; or make a new method, with a request of its own", their.reply),
            );
        }
    }
    for (key, our) in &ours.methods {
        if !theirs.methods.contains_key(key) && !theirs.by_request.contains_key(our.request) {
            found.harmless(format!("{}.{}", our.service, our.method), "method added");
        }
    }
}
