//! Why the value of one of our options is wrong: the compiler says only that it is.

use prost_reflect::{DescriptorPool, DynamicMessage};

/// What is wrong with the option at `line` and `column` (both from 1) of `text`, and the fix. `complaint` is the
/// compiler's. `None` where it speaks of something else.
pub(crate) fn explain(
    pool: &DescriptorPool,
    complaint: &str,
    text: &str,
    line: usize,
    column: usize,
) -> Option<(String, String)> {
    let (_, of) = complaint.split_once("invalid value of type '")?;
    let (type_name, _) = of.split_once('\'')?;
    let start: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let before: usize = text[start..].chars().take(column.checked_sub(1)?).map(char::len_utf8).sum();
    let value = braces(&text[start + before..])?;
    let error =
        DynamicMessage::parse_text_format(pool.get_message_by_name(type_name)?, &value).err()?.to_string();
    // Its texts end in the name of the message or enum that lacks what was written.
    let lacks = error.trim_end_matches('\'').rsplit('\'').next().unwrap_or_default();
    let can_be: Vec<String> = match (pool.get_message_by_name(lacks), pool.get_enum_by_name(lacks)) {
        (Some(message), _) => message.fields().map(|f| f.name().to_string()).collect(),
        (_, Some(one)) => one.values().map(|v| v.name().to_string()).filter(|v| v != "UNSPECIFIED").collect(),
        _ => vec![],
    };
    let fix = match can_be.is_empty() {
        true => "write it as in `{ tag: 2, from: CLIENT, max_rate: \"20/s\" }`".to_string(),
        false => format!("write one of: {}", can_be.join(", ")),
    };
    Some((error, fix))
}

/// What stands between the first brace and the one that closes it, comments blanked out.
fn braces(text: &str) -> Option<String> {
    let mut rest = &text[text.find('{')? + 1..];
    let mut inner = String::new();
    let mut depth = 1;
    while let Some(c) = rest.chars().next() {
        let mut len = c.len_utf8();
        match c {
            '/' if rest.starts_with("//") => len = rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => len = rest.find("*/").map_or(rest.len(), |at| at + 2),
            '"' | '\'' => {
                len += string(&rest[1..], c);
                inner.push_str(&rest[..len]);
            }
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(inner);
        }
        if !matches!(c, '"' | '\'') {
            inner.push_str(if len > c.len_utf8() { " " } else { &rest[..len] });
        }
        rest = &rest[len..];
    }
    None
}

/// Bytes of a string up to and with its closing quote.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_mind_strings_and_comments() {
        let text = "option (a) = { x: \"}\\\"}\" // }\n y { z: '}' } /* } */ } after }";
        assert_eq!(braces(text).as_deref(), Some(" x: \"}\\\"}\"  \n y { z: '}' }   "));
        assert_eq!(braces("{ open"), None);
        assert_eq!(braces("none"), None);
    }
}
