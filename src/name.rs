//! Names of players and of rooms: their form, and which are the same.

use std::borrow::Cow;

use caseless::Caseless;
use unicode_normalization::UnicodeNormalization;

/// Most characters of a player's name.
pub const MAX_PLAYER_CHARS: usize = 32;
/// Most characters of a room's name.
pub const MAX_ROOM_CHARS: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("a name has at least one character")]
    Empty,
    /// Too long.
    #[error("a name has at most {0} characters")]
    Long(usize),
    /// A line break, a bell, ...
    #[error("a name has no control characters")]
    Control,
}

/// The name of a player as everyone is told it: in Unicode's normal form C. Empty stays empty: a guest's.
///
/// # Errors
/// It has more than [`MAX_PLAYER_CHARS`] characters in that form, or control characters.
pub fn player(text: &str) -> Result<String, NameError> {
    normalised(text, MAX_PLAYER_CHARS)
}

/// The name of a room, in Unicode's normal form C. Capitals make another room.
///
/// # Errors
/// It is empty, has more than [`MAX_ROOM_CHARS`] characters in that form, or control characters.
pub fn room(text: &str) -> Result<String, NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    normalised(text, MAX_ROOM_CHARS)
}

fn normalised(text: &str, max_chars: usize) -> Result<String, NameError> {
    // One more than allowed decides; the rest of a long text is never looked at.
    let name: String = match text.is_ascii() {
        // It has that form already, as most names do.
        true => text.chars().take(max_chars + 1).collect(),
        false => text.nfc().take(max_chars + 1).collect(),
    };
    if name.chars().count() > max_chars {
        return Err(NameError::Long(max_chars));
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(name)
}

/// Equal for names of players that are the same: canonical caseless matching, definition D145 of the Unicode
/// Standard, section 3.13.
pub fn key(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        return name.nfd().default_case_fold().nfc().collect();
    }
    // What the rules come to here.
    match name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => name.to_ascii_lowercase().into(),
        false => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_has_one_form() {
        assert_eq!(player("Mu\u{308}ller"), Ok("Müller".to_string()));
        assert_eq!(room("Cafe\u{301}"), Ok("Café".to_string()));
        // 64 characters before, 32 after: what counts is what everyone is told.
        assert_eq!(player(&"u\u{308}".repeat(32)), Ok("ü".repeat(32)));
    }

    #[test]
    fn a_name_is_bounded_and_printable() {
        assert_eq!(player(""), Ok(String::new()));
        assert!(player(&"x".repeat(32)).is_ok());
        assert_eq!(player(&"x".repeat(33)), Err(NameError::Long(32)));
        assert_eq!(room(""), Err(NameError::Empty));
        assert!(room(&"字".repeat(64)).is_ok());
        assert_eq!(room(&"字".repeat(65)), Err(NameError::Long(64)));
        for control in ["a\nb", "\u{7f}", "\u{9b}31m", "\0"] {
            assert_eq!(player(control), Err(NameError::Control), "{control:?}");
            assert_eq!(room(control), Err(NameError::Control), "{control:?}");
        }
    }

    #[test]
    fn capitals_and_composition_make_no_other_player() {
        for (a, b) in [
            ("Player1", "pLAYER1"),
            ("Müller", "MU\u{308}LLER"),
            ("Straße", "STRASSE"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("ﬁsh", "FISH"),
        ] {
            assert_eq!(key(a), key(b), "{a} {b}");
        }
        assert_ne!(key("Muller"), key("Müller"));
        assert_ne!(key("player1"), key("player2"));
    }

    proptest! {
        /// What most names are spared changes nothing.
        #[test]
        fn names_of_ascii_have_the_form_that_the_rules_give_them(name in "[ -~]{1,32}") {
            prop_assert_eq!(player(&name), Ok(name.nfc().collect::<String>()));
            prop_assert_eq!(key(&name), name.nfd().default_case_fold().nfc().collect::<String>());
        }
    }
}
