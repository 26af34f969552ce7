//! Reads lines `FULL_NAME HEX`, and answers each with the hex of that message, decoded and encoded again, or with
//! `error: ...`.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use tagwire::prost::Message;

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated from proto/")]
mod schema {
    include!(concat!(env!("OUT_DIR"), "/schema.rs"));
}

include!(concat!(env!("OUT_DIR"), "/types.rs"));

fn again<M: Message + Default>(bytes: &[u8]) -> Result<Vec<u8>, String> {
    M::decode(bytes).map(|message| message.encode_to_vec()).map_err(|error| error.to_string())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
}

fn main() -> io::Result<()> {
    let types: HashMap<_, _> = TYPES.iter().copied().collect();
    assert_eq!(schema::schema().messages().iter().filter(|message| !message.request).count(), TYPES.len());
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (name, hex) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match (types.get(name), bytes(hex)) {
            (None, _) => Err(format!("no message {name}")),
            (_, None) => Err(format!("no hex in {line:?}")),
            (Some(again), Some(bytes)) => again(&bytes),
        };
        match answer {
            Ok(bytes) => writeln!(out, "{}", bytes.iter().map(|b| format!("{b:02x}")).collect::<String>())?,
            Err(error) => writeln!(out, "error: {}", error.replace('\n', " "))?,
        }
    }
    out.flush()
}
