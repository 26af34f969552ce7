//! The schemas in `docs/guides`: what is shown is admitted, or refused with just the errors that are shown below it.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

mod common;

use common::{game, read};

/// What is fenced as `kind` in a text, each with the text behind it.
fn blocks<'a>(text: &'a str, kind: &str) -> Vec<(&'a str, &'a str)> {
    let open = format!("```{kind}\n");
    let places = text.match_indices(&open).map(|(at, _)| at + open.len());
    places.map(|at| text[at..].split_once("```\n").unwrap()).collect()
}

/// A piece of a schema as a whole one.
fn whole(piece: &str) -> String {
    match piece.starts_with("syntax") {
        true => piece.to_string(),
        false => game(piece),
    }
}

#[test]
fn schemas_in_the_guides_are_judged_as_they_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let arena = fs::read_to_string(root.join("examples/arena/proto/coins/v1/coins.proto")).unwrap();
    let (mut admitted, mut refused, mut quoted) = (0, 0, 0);
    for name in ["schema.md", "rooms.md", "requests.md", "hooks.md"] {
        let guide = fs::read_to_string(root.join("docs/guides").join(name)).unwrap();
        for (piece, after) in blocks(&guide, "proto") {
            // Pieces of the example's schema, which is judged as a whole where it is built.
            if piece.split("\n\nmessage").all(|part| arena.contains(part.trim_end())) {
                quoted += 1;
                continue;
            }
            let judged = read(&[("game.proto", &whole(piece))]).map(drop);
            let shown = after
                .trim_start()
                .strip_prefix("```text\nerror: ")
                .map(|rest| rest.split_once("\n```").unwrap().0);
            match (judged, shown) {
                (Ok(()), None) => admitted += 1,
                (Err(error), Some(shown)) => {
                    assert_eq!(error, shown, "{name}");
                    refused += 1;
                }
                (judged, shown) => panic!("{name}: {judged:?}, and {shown:?} is shown\n{piece}"),
            }
        }
    }
    assert!(
        admitted > 0 && refused > 0 && quoted > 0,
        "{admitted} admitted, {refused} refused, {quoted} quoted"
    );
}
