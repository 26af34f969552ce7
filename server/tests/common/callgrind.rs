//! Instructions of a program, counted by valgrind.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// The same command under callgrind, which writes its profile to `profile` when the program has ended.
pub fn command(program: &Command, profile: &Path) -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", profile.display()));
    valgrind.arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => valgrind.env(name, value),
            None => valgrind.env_remove(name),
        };
    }
    valgrind.current_dir(program.get_current_dir().unwrap_or(Path::new(".")));
    valgrind.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    valgrind
}

/// Instructions by the file of the line, which is that of what was inlined, and by the function that it became part of.
pub type Profile = HashMap<(String, String), u64>;

/// Reads what callgrind wrote. Each instruction is counted once, where it is.
pub fn read(profile: &Path) -> Profile {
    let text = std::fs::read_to_string(profile).unwrap();
    let (mut files, mut functions) = (HashMap::new(), HashMap::new());
    let (mut file, mut function, mut is_call) = (String::new(), String::new(), false);
    let mut counted = Profile::new();
    for line in text.lines() {
        // The format of callgrind: "fl=(3) path", later "fl=(3)"; fi and fe for inlined code, c... for what is called.
        if let Some((key @ ("fl" | "fi" | "fe" | "fn" | "cfi" | "cfl" | "cfn"), said)) = line.split_once('=')
        {
            let names = if key.ends_with("fn") { &mut functions } else { &mut files };
            let (id, name) = said.split_once(' ').unwrap_or((said, ""));
            if !name.is_empty() {
                names.insert(id.to_string(), name.to_string());
            }
            match key {
                "fn" => function.clone_from(&names[id]),
                "fl" | "fi" | "fe" => file.clone_from(&names[id]),
                _ => {}
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            // "line cost". Behind a call it holds what was spent in there, which is counted in there.
            let cost: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if !std::mem::take(&mut is_call) {
                *counted.entry((file.clone(), function.clone())).or_default() += cost;
            }
        }
    }
    counted
}
