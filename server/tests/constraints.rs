//! Constraints mean the same compiled, read at run time, and to protovalidate: cases.json holds what the last says,
//! which `scripts/tests/test_constraints.py` keeps true.

#![allow(missing_docs, clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tagwire::Schema;
use tagwire::schema::Invalid;
use tagwire_server::read_schema;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod printed {
    include!("../../codegen/tests/golden/valid.rs");
}

#[derive(Deserialize)]
struct Case {
    /// Name in the package `valid.v1`.
    message: String,
    /// The message in protobuf's text format, for people.
    text: String,
    /// The same as Google's library encodes it: others leave out a -0.0.
    hex: String,
    /// `path: rule` of all that is broken. The check stops at the first that it finds.
    broken: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../codegen/tests/golden/valid")
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("cases.json")).unwrap()).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn judge(schema: &Schema, name: &str, payload: &[u8]) -> Option<String> {
    let info = schema.messages().iter().find(|info| info.full_name == format!("valid.v1.{name}")).unwrap();
    match (info.check)(payload) {
        Ok(()) => None,
        Err(Invalid::Rule(broken)) => Some(format!("{}: {}", broken.path(), broken.rule())),
        Err(other) => panic!("{name}: {other}"),
    }
}

#[test]
fn each_case_is_judged_as_protovalidate_judges_it() {
    let cases = cases();
    let schemas = [("compiled", printed::schema()), ("read", read_schema(&folder()).unwrap())];
    let mut wrong = vec![];
    for Case { message, text, hex, broken } in &cases {
        let payload = bytes(hex);
        for (way, schema) in &schemas {
            let got = judge(schema, message, &payload);
            let right = match &got {
                None => broken.is_empty(),
                Some(got) => broken.contains(got),
            };
            if !right {
                wrong.push(format!("{message} {{ {text} }}: {way} {got:?}, protovalidate {broken:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(cases.len() >= 350, "{}", cases.len());
}

#[test]
fn every_rule_that_is_supported_has_cases_that_keep_and_break_it() {
    let broken: Vec<String> = cases().into_iter().flat_map(|case| case.broken).collect();
    for (kind, rules) in tagwire_codegen::constraints::SUPPORTED {
        for rule in rules {
            let is = |kinds: &[&str]| {
                broken.iter().any(|broken| {
                    let id = broken.rsplit(": ").next().unwrap_or_default();
                    kinds.iter().any(|kind| {
                        // Two bounds are one id, and an empty value has one of its own.
                        id.strip_prefix(&format!("{kind}.")).is_some_and(|id| id == *rule)
                    })
                })
            };
            let found = match kind {
                "number" => {
                    is(&["int32", "int64", "uint32", "fixed32", "fixed64", "sfixed32", "float", "double"])
                }
                "container" => is(&["repeated", "map"]),
                kind => is(&[kind]),
            };
            assert!(found, "no case breaks {kind}.{rule}");
        }
    }
}

#[test]
fn the_two_ways_have_one_schema() {
    let (read, compiled) = (read_schema(&folder()).unwrap(), printed::schema());
    assert_eq!(read.fingerprint(), compiled.fingerprint());
    assert_eq!(read.descriptors(), compiled.descriptors());
    let validate = b"buf.validate";
    let holds = |bytes: &[u8]| bytes.windows(validate.len()).any(|window| window == validate);
    assert!(!holds(compiled.descriptors()), "validate.proto does not travel");
}

#[test]
fn a_broken_rule_reads_well() {
    use tagwire::validate::Validate;
    let item = printed::valid::v1::Item { name: "far too long".to_string(), ..Default::default() };
    let lists = printed::valid::v1::Lists { items: vec![item], required: vec![1], ..Default::default() };
    let broken = lists.validate().unwrap_err();
    assert_eq!(broken.to_string(), "items[0].name: string.max_len: must be at most 8 characters");
}
