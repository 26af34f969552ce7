//! A configuration as a file with comments.

use toml_edit::{DocumentMut, Item};

use super::{Config, PASSWORD};

/// Every key with its default, and what a game's developer should know of it.
const TEMPLATE: &str = include_str!("../../tagwire.toml");
/// The password's line there, and what stands in its place.
const PASSWORD_LINE: &str = "password = \"welcome\"\n";
const NO_PASSWORD: &str = "# password = \"...\"  (left out: it is never printed)\n";

impl Config {
    /// The file `tagwire.toml` with these values: every key but the password, which is not for showing.
    pub fn to_commented_toml(&self) -> String {
        let template = TEMPLATE.replace(PASSWORD_LINE, NO_PASSWORD);
        let mut document: DocumentMut = template.parse().expect("tagwire.toml is TOML");
        for (key, value) in self.leaves().into_iter().filter(|(key, _)| key != PASSWORD) {
            let item = key.split('.').fold(document.as_item_mut(), |item, name| &mut item[name]);
            *item = Item::Value(value.to_string().parse().expect("a printed value is TOML"));
        }
        document.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_complete_and_holds_the_defaults() {
        let file: toml::Table = TEMPLATE.parse().expect("TOML");
        assert_eq!(super::super::leaves(&file), Config::default().leaves());
    }

    #[test]
    fn printed_defaults_are_the_file_without_the_password() {
        assert_eq!(Config::default().to_commented_toml(), TEMPLATE.replace(PASSWORD_LINE, NO_PASSWORD));
        assert!(!Config::default().to_commented_toml().contains("welcome"));
    }

    /// The bounds that the comments tell are those that `validate` has.
    #[test]
    fn each_range_in_a_comment_is_the_one_that_counts() {
        let file: toml::Table = TEMPLATE.parse().expect("TOML");
        let mut checked = 0;
        let mut table = String::new();
        let mut comment = String::new();
        for line in TEMPLATE.lines() {
            if line.starts_with('#') {
                comment += line;
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                table = name.replace(']', ".");
            }
            let key = line.split_once(" = ").map(|(name, _)| format!("{table}{name}"));
            let bounds = range_in(&std::mem::take(&mut comment));
            let (Some(key), Some((least, most))) = (key, bounds) else { continue };
            if key == "default_room" {
                continue;
            }
            let names = |value: u64| {
                let mut file = file.clone();
                // These two ask for room in others.
                file["limits"]["max_bytes_per_second"] = 0.into();
                if key == "limits.max_frame_bytes" {
                    file["limits"]["outbox_max_bytes"] = (1 << 30).into();
                    file["limits"]["outbox_max_kept_bytes"] = (1 << 30).into();
                }
                if ["limits.outbox_max_bytes", "limits.outbox_max_kept_bytes"].contains(&key.as_str()) {
                    file["limits"]["max_frame_bytes"] = 8192.into();
                }
                let value = toml::Value::try_from(value).expect("it fits");
                match key.split_once('.') {
                    Some((table, name)) => file[table][name] = value,
                    None => file[&key] = value,
                };
                let config: Config = file.try_into().expect("a whole number is of the right kind");
                config.validate().is_err_and(|error| error.key == key)
            };
            assert!(!names(least) && !names(most), "{key}: {least} to {most} is admitted");
            assert!(names(most + 1), "{key}: over {most} is refused");
            assert!(least == 0 || names(least - 1), "{key}: below {least} is refused");
            checked += 1;
        }
        assert_eq!(checked, 26, "every number of the file has its range");
    }

    /// "... 1 to 600000 ..."
    fn range_in(comment: &str) -> Option<(u64, u64)> {
        let words: Vec<_> = comment.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        words.windows(3).find_map(|three| match three {
            [least, "to", most] => Some((least.parse().ok()?, most.parse().ok()?)),
            _ => None,
        })
    }
}
