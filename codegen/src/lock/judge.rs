//! Whether a schema may come after another.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Lock, shown};
use crate::diff;
use crate::fingerprint::Covered;
use crate::model::{Enum, Kind, Location, Message, Model, Origin, Reserved, Rules};

/// What [`judge`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// What breaks something, in the order of the files.
    pub broken: Vec<Broken>,
    /// What else changed, by place: full name, and how.
    pub changes: Vec<(String, String)>,
}

/// One change that breaks something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where it is in the schema of today; what was removed with all around it, where it was before.
    pub location: Location,
    /// Full name of what changed, as it was called before; `tag 7` for a tag.
    pub place: String,
    /// How.
    pub what: String,
    /// What goes wrong.
    pub breaks: String,
    /// For whom: the messages that it travels in.
    pub who: String,
    /// What to do instead.
    pub fix: String,
}

/// Judges the schema of today against what is remembered.
pub fn judge(before: &Lock, now: &Model) -> Judgement {
    let mut old = before.model.clone();
    {
        // What was removed and is there again is compared as if it had never been away.
        let now = Covered::all(now);
        let again =
            before.retired.messages.values().filter(|m| now.messages.contains_key(m.full_name.as_str()));
        for message in again {
            match message.full_name.starts_with("extend ") {
                true => old.extensions.push(message.clone()),
                false => old.messages.push(message.clone()),
            }
        }
        let again = before.retired.enums.values().filter(|e| now.enums.contains_key(e.full_name.as_str()));
        old.enums.extend(again.cloned());
    }
    let mut judge = Judge {
        places: Places::of(&old, now),
        users: Users::of(&old, now),
        found: BTreeMap::new(),
        changes: BTreeSet::new(),
    };
    for difference in diff::all_differences(&old, now) {
        match difference.breaks {
            Some(breaks) => judge.broken(difference.place, difference.what, breaks, difference.fix),
            None => {
                judge.changes.insert((difference.place, difference.what));
            }
        }
    }
    judge.files(&old, now);
    {
        let (old, now) = (Covered::all(&old), Covered::all(now));
        for (name, theirs) in old.messages.iter().filter(|(_, m)| !m.map_entry) {
            if let Some(ours) = now.messages.get(name) {
                judge.message(theirs, ours);
            }
        }
        for (name, theirs) in &old.enums {
            if let Some(ours) = now.enums.get(name) {
                judge.enumeration(theirs, ours);
            }
        }
        judge.methods(&old, &now);
        judge.retired(before, &old, &now);
    }
    judge.finish()
}

struct Judge {
    places: Places,
    users: Users,
    /// By place, what was found there.
    found: BTreeMap<String, Vec<Broken>>,
    changes: BTreeSet<(String, String)>,
}

impl Judge {
    fn broken(
        &mut self,
        place: impl Into<String>,
        what: impl Into<String>,
        breaks: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let place = place.into();
        let broken = Broken {
            location: self.places.get(&place),
            who: self.users.who(&place),
            what: what.into(),
            breaks: breaks.into(),
            fix: fix.into(),
            place: place.clone(),
        };
        self.found.entry(place).or_default().push(broken);
    }

    fn is_broken(&self, place: &str) -> bool {
        self.found.contains_key(place)
    }

    fn finish(self) -> Judgement {
        // Of a removed field, that its number is free is told, not that it is removed besides.
        let changes = self.changes.into_iter().filter(|(place, what)| {
            !(self.found.contains_key(place) && (what.ends_with("removed") || what.starts_with("the oneof")))
        });
        let changes = changes.collect();
        let mut broken: Vec<Broken> = self.found.into_values().flatten().collect();
        broken.sort_by(|a, b| (&a.location, &a.place, &a.what).cmp(&(&b.location, &b.place, &b.what)));
        Judgement { broken, changes }
    }

    /// A file keeps its package: the names of all that is in it begin with it.
    fn files(&mut self, old: &Model, now: &Model) {
        let game = |model: &Model| -> Vec<(String, String)> {
            let files = model.files.iter().filter(|f| f.origin == Origin::Game);
            files.map(|f| (f.name.clone(), f.package.clone())).collect()
        };
        let ours: HashMap<String, String> = game(now).into_iter().collect();
        for (name, theirs) in game(old) {
            let Some(ours) = ours.get(&name).filter(|ours| **ours != theirs) else { continue };
            self.broken(
                &name,
                format!("package {theirs} became {ours}"),
                "all that is in it is called otherwise, and is not taken for what it was",
                format!("write `package {theirs};` again; what is new goes into a file of its own"),
            );
        }
    }

    fn message(&mut self, theirs: &Message, ours: &Message) {
        let our_fields: HashMap<u32, _> = ours.fields.iter().map(|f| (f.number, f)).collect();
        for their in &theirs.fields {
            let place = format!("{}.{}", theirs.full_name, their.name);
            let Some(our) = our_fields.get(&their.number) else {
                let kept = ours.reserved.has(their.number.into()) || theirs.full_name.starts_with("extend ");
                if !kept && !self.is_broken(&place) {
                    self.broken(
                        place,
                        format!("{} removed, and its number {} is not reserved", shown(their), their.number),
                        "whatever takes the number next is misread by those who have the old field",
                        format!(
                            "write `reserved {}; reserved \"{}\";` into the message",
                            their.number, their.name
                        ),
                    );
                }
                continue;
            };
            if their.default != our.default {
                let said = |default: &Option<String>| match default {
                    Some(text) => format!("default {text}"),
                    None => "no default".to_string(),
                };
                self.broken(
                    &place,
                    format!("{} became {}", said(&their.default), said(&our.default)),
                    "each side reads its own default where nothing was sent",
                    "leave the default as it was, and send the value",
                );
            }
            if their.group != our.group {
                self.broken(
                    &place,
                    if our.group { "a message became a group" } else { "a group became a message" },
                    "what the other side sends in it is lost",
                    "leave it as it was; a new field takes a new number",
                );
            }
            if let (Some(their), Some(our)) = (&their.oneof, &our.oneof)
                && their != our
                && !self.is_broken(&place)
            {
                let place = format!("{}.{their}", theirs.full_name);
                if !self.is_broken(&place) {
                    self.broken(
                        place,
                        format!("the oneof is called {our} now"),
                        "nothing on the wire, but code that asks by its name which member is set",
                        format!("call it {their} again"),
                    );
                }
            }
        }
        self.reserved(&theirs.full_name, &theirs.reserved, &ours.reserved);
    }

    fn enumeration(&mut self, theirs: &Enum, ours: &Enum) {
        let our_numbers: HashSet<i32> = ours.values.iter().map(|v| v.number).collect();
        for their in theirs.values.iter().filter(|v| !our_numbers.contains(&v.number)) {
            let place = format!("{}.{}", theirs.full_name, their.name);
            if !ours.reserved.has(their.number.into()) && !self.is_broken(&place) {
                self.broken(
                    place,
                    format!("value {} removed, and not reserved", their.number),
                    "whatever takes the number next is taken for it by those who have the old value",
                    format!("write `reserved {}; reserved \"{}\";` into the enum", their.number, their.name),
                );
            }
        }
        self.reserved(&theirs.full_name, &theirs.reserved, &ours.reserved);
    }

    fn reserved(&mut self, place: &str, theirs: &Reserved, ours: &Reserved) {
        for (first, last) in theirs.numbers.iter().filter(|range| !holds(&ours.numbers, **range)) {
            let shown = if first == last { first.to_string() } else { format!("{first} to {last}") };
            self.broken(
                place,
                format!("`reserved {shown}` removed"),
                "what takes such a number is misread by those who have what it was once",
                format!("write `reserved {shown};` again"),
            );
        }
        for name in theirs.names.iter().filter(|name| !ours.names.contains(name)) {
            self.broken(
                place,
                format!("`reserved \"{name}\"` removed"),
                "what takes the name is taken for what it was once, in JSON and in code",
                format!("write `reserved \"{name}\";` again"),
            );
        }
    }

    fn methods(&mut self, old: &Covered<'_>, now: &Covered<'_>) {
        for (name, theirs) in &old.services {
            let Some(ours) = now.services.get(name) else { continue };
            for their in &theirs.methods {
                let Some(our) = ours.methods.iter().find(|m| m.name == their.name) else { continue };
                let place = format!("{name}.{}", their.name);
                if their.streaming != our.streaming {
                    self.broken(
                        &place,
                        if our.streaming { "became a stream" } else { "is no stream any more" },
                        "the other side waits for more, or for less",
                        "make a new method",
                    );
                }
                if their.idempotency != our.idempotency {
                    let shown =
                        |level: &Option<String>| level.clone().unwrap_or("IDEMPOTENCY_UNKNOWN".to_string());
                    self.broken(
                        &place,
                        format!("{} became {}", shown(&their.idempotency), shown(&our.idempotency)),
                        "one side repeats what the other runs twice",
                        "leave `idempotency_level` as it was, or make a new method",
                    );
                }
            }
        }
    }

    /// What was removed keeps its tags and numbers.
    fn retired(&mut self, before: &Lock, old: &Covered<'_>, now: &Covered<'_>) {
        let by_tag: BTreeMap<u32, &str> =
            now.messages.iter().filter_map(|(name, m)| Some((tag(m)?, *name))).collect();
        let old_tags: HashSet<u32> = old.messages.values().filter_map(|m| tag(m)).collect();
        for gone in before.retired.messages.values() {
            let Some(tag) = tag(gone).filter(|tag| !old_tags.contains(tag)) else { continue };
            let Some(name) = by_tag.get(&tag).filter(|name| **name != gone.full_name) else { continue };
            self.broken(
                format!("tag {tag}"),
                format!("{name} has it, and once it was {}'s", gone.full_name),
                "those who still have the old message take the new one for it",
                format!("give {name} a tag that was never used"),
            );
        }
        for ((name, number), gone) in &before.retired.fields {
            let find = |side: &Covered<'_>| {
                let message = side.messages.get(name.as_str())?;
                message.fields.iter().find(|f| f.number == *number).cloned()
            };
            let (None, Some(field)) = (find(old), find(now)) else { continue };
            let place = format!("{name}.{}", field.name);
            if field.name == gone.name && field.kind == gone.kind && field.label == gone.label {
                self.changes.insert((place, "is back".to_string()));
                continue;
            }
            self.broken(
                place,
                format!("{} has the number {number}, which once was {}", shown(&field), shown(gone)),
                "those who still have the old field misread the new one",
                "give it a number that was never used, and `reserved` to the old one",
            );
        }
        for ((name, number), gone) in &before.retired.values {
            let find = |side: &Covered<'_>| {
                let one = side.enums.get(name.as_str())?;
                one.values.iter().find(|v| v.number == *number).map(|v| v.name.clone())
            };
            let (None, Some(value)) = (find(old), find(now)) else { continue };
            let place = format!("{name}.{value}");
            if value == *gone {
                self.changes.insert((place, "is back".to_string()));
                continue;
            }
            self.broken(
                place,
                format!("it has the number {number}, which once was {gone}"),
                "those who still have the old value take the new one for it",
                "give it a number that was never used, and `reserved` to the old one",
            );
        }
    }
}

fn tag(message: &Message) -> Option<u32> {
    message.rules.as_ref()?.tag
}

/// True where the ranges together hold all of one.
fn holds(ranges: &[(i64, i64)], (first, last): (i64, i64)) -> bool {
    let mut ranges = ranges.to_vec();
    ranges.sort_unstable();
    let mut next = first;
    for (from, to) in ranges {
        if from <= next && to >= next {
            next = to + 1;
        }
    }
    next > last
}

/// Where everything is, by full name.
struct Places {
    now: HashMap<String, Location>,
    old: HashMap<String, Location>,
}

impl Places {
    fn of(old: &Model, now: &Model) -> Self {
        let mut places = Places { now: index(now), old: index(old) };
        // What was renamed is found by its number.
        let ours: HashMap<&str, &Message> = now.messages.iter().map(|m| (m.full_name.as_str(), m)).collect();
        for message in &old.messages {
            let Some(our) = ours.get(message.full_name.as_str()) else { continue };
            for field in &message.fields {
                if let Some(renamed) = our.fields.iter().find(|f| f.number == field.number) {
                    let name = format!("{}.{}", message.full_name, field.name);
                    places.now.entry(name).or_insert_with(|| renamed.location.clone());
                }
            }
        }
        places
    }

    /// Of the place, or of what is around it now; else of where it was.
    fn get(&self, place: &str) -> Location {
        let mut around = place;
        loop {
            if let Some(location) = self.now.get(around) {
                return location.clone();
            }
            match around.rsplit_once('.') {
                Some((outer, _)) => around = outer,
                None => break,
            }
        }
        self.old.get(place).cloned().unwrap_or(Location { path: place.into(), line: 1 })
    }
}

fn index(model: &Model) -> HashMap<String, Location> {
    let mut places = HashMap::new();
    for message in model.messages.iter().chain(&model.extensions) {
        if let Some(rules) = &message.rules {
            places.extend(rules.tag.map(|tag| (format!("tag {tag}"), rules.location.clone())));
        }
        for field in &message.fields {
            places.insert(format!("{}.{}", message.full_name, field.name), field.location.clone());
        }
        places.insert(message.full_name.clone(), message.location.clone());
    }
    for one in &model.enums {
        for value in &one.values {
            places.insert(format!("{}.{}", one.full_name, value.name), value.location.clone());
        }
        places.insert(one.full_name.clone(), one.location.clone());
    }
    for service in &model.services {
        for method in &service.methods {
            places.insert(format!("{}.{}", service.full_name, method.name), method.location.clone());
        }
        places.insert(service.full_name.clone(), service.location.clone());
    }
    for file in &model.files {
        places.insert(file.name.clone(), Location { path: file.path.clone(), line: 1 });
    }
    places
}

/// Which messages that travel alone a type is in.
struct Users {
    /// Of each message and enum, the descriptions of those that reach it.
    of: HashMap<String, BTreeSet<String>>,
}

impl Users {
    fn of(old: &Model, now: &Model) -> Self {
        let mut users = Users { of: HashMap::new() };
        // Those of today; what is only in the old schema besides.
        for model in [now, old] {
            let messages: HashMap<&str, &Message> =
                model.messages.iter().map(|m| (m.full_name.as_str(), m)).collect();
            let tagged = model.messages.iter().filter(|m| m.origin == Origin::Game).filter_map(|m| {
                let rules = m.rules.as_ref()?;
                Some((m.full_name.as_str(), described(m, rules)?))
            });
            let replies = model.services.iter().flat_map(|s| {
                s.methods.iter().map(|m| {
                    (m.reply.as_str(), format!("{}, the answer of {}.{}", m.reply, s.full_name, m.name))
                })
            });
            let roots: Vec<(&str, String)> = tagged.chain(replies).collect();
            for (root, described) in roots {
                let (mut wanted, mut seen) = (vec![root], HashSet::new());
                while let Some(name) = wanted.pop() {
                    if !seen.insert(name) {
                        continue;
                    }
                    users.add(name, &described);
                    for field in messages.get(name).iter().flat_map(|m| &m.fields) {
                        match &field.kind {
                            Kind::Message(inner) => wanted.push(inner),
                            Kind::Enum(inner) => users.add(inner, &described),
                            Kind::Scalar(_) => {}
                        }
                    }
                }
                // `tag 7` is a place too.
                if let Some(tag) = messages.get(root).and_then(|m| tag(m)) {
                    users.add(&format!("tag {tag}"), &described);
                }
            }
            for (service, method) in model.services.iter().flat_map(|s| s.methods.iter().map(move |m| (s, m)))
            {
                let place = format!("{}.{}", service.full_name, method.name);
                users.add(&place, &format!("{place}, which clients ask"));
            }
        }
        users
    }

    fn add(&mut self, name: &str, described: &str) {
        let users = self.of.entry(name.to_string()).or_default();
        // Once a message, whatever its rules were.
        let message = described.split(' ').next().unwrap_or_default();
        if !users.iter().any(|known| known.split(' ').next() == Some(message)) {
            users.insert(described.to_string());
        }
    }

    fn who(&self, place: &str) -> String {
        const SHOWN: usize = 3;
        let mut around = place;
        let users = loop {
            match (self.of.get(around), around.rsplit_once('.')) {
                (Some(users), _) => break users,
                (None, Some((outer, _))) => around = outer,
                (None, None) => {
                    return "whoever keeps it, or sends it inside of something else: no message \
                                        with a tag has it"
                        .to_string();
                }
            }
        };
        let mut list = users.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
        if users.len() > SHOWN {
            list += &format!("; and {} more", users.len() - SHOWN);
        }
        format!("clients and servers of which one has the old schema and one the new: {list}")
    }
}

/// `game.v1.Move (tag 2, clients to their room)`.
fn described(message: &Message, rules: &Rules) -> Option<String> {
    let who = match (rules.from.as_deref(), rules.relayed()) {
        (Some("SERVER"), _) => "the server to clients",
        (Some("BOTH"), false) => "clients to the server, and back",
        (Some("BOTH"), true) => "clients to their room, and the server to clients",
        (_, false) => "clients to the server",
        (_, true) => "clients to their room",
    };
    Some(format!("{} (tag {}, {who})", message.full_name, rules.tag?))
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn ranges_hold_others_together() {
        assert!(holds(&[(5, 7), (1, 4)], (2, 6)));
        assert!(!holds(&[(1, 4), (6, 7)], (2, 6)));
        assert!(!holds(&[(1, 4)], (2, 6)));
        assert!(!holds(&[], (2, 2)));
        assert!(holds(&[(1, i64::from(i32::MAX))], (1, i64::from(i32::MAX))));
    }
}
