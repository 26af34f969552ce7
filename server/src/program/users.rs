//! `users`: who is in a file of users, and who comes into it and goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::Subcommand;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::args::Args;
use crate::auth::users::{Editor, Role, Users};

/// Longest password, bytes: with a name, it must fit into a login.
const MAX_PASSWORD_BYTES: usize = 1024;
/// Shorter ones are warned of, characters (NIST SP 800-63B, section 5.1.1.2).
const GOOD_PASSWORD_CHARS: usize = 8;

#[derive(Debug, clap::Args)]
pub(super) struct UsersArgs {
    #[command(subcommand)]
    command: UsersCommand,

    /// The file of users [default: file_auth.users of the settings]
    #[arg(long, value_name = "FILE", global = true)]
    file: Option<PathBuf>,

    /// Read the password from standard input, its first line, instead of asking for it
    #[arg(long, global = true)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Add somebody; makes the file where there is none
    Add {
        /// Name of the player
        name: String,
        /// What the player may do
        #[arg(long, value_enum, default_value = "player")]
        role: Role,
    },
    /// Give somebody another password
    Passwd {
        /// Name of the player
        name: String,
    },
    /// Take somebody out
    Remove {
        /// Name of the player
        name: String,
    },
    /// Print names and roles
    List,
}

/// `outer`: what else the command line says.
pub(super) fn run(args: UsersArgs, outer: Args) -> anyhow::Result<()> {
    let UsersArgs { command, file, password_stdin } = args;
    let file = match file {
        Some(file) => file,
        None => match outer.sources()?.load()?.config.file_auth.users {
            none if none.is_empty() => bail!("which file of users?\n  fix: --file users.toml"),
            file => file.into(),
        },
    };
    match command {
        UsersCommand::List => list(&file),
        UsersCommand::Add { name, role } => {
            let password = password(password_stdin)?;
            change(&file, |editor| Ok(editor.add(&name, role, &password)?))?;
            say(&format!("{name} is in {}", file.display()))
        }
        UsersCommand::Passwd { name } => {
            let password = password(password_stdin)?;
            change(&file, |editor| Ok(editor.set_password(&name, &password)?))?;
            say(&format!("{name} has another password in {}", file.display()))
        }
        UsersCommand::Remove { name } => {
            change(&file, |editor| Ok(editor.remove(&name)?))?;
            say(&format!("{name} is no longer in {}", file.display()))
        }
    }
}

fn change(file: &Path, change: impl FnOnce(&mut Editor) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let mut editor = Editor::open(file)?;
    change(&mut editor)?;
    Ok(editor.save()?)
}

fn list(file: &Path) -> anyhow::Result<()> {
    let path = file.display();
    let text = fs::read_to_string(file).map_err(|error| anyhow!("{path}: {error}"))?;
    let users = Users::parse(&text).map_err(|error| anyhow!("{path}: {error}"))?;
    for user in users.all() {
        say(&format!("{}\t{}", user.name, user.role.name()))?;
    }
    Ok(())
}

fn say(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        // Who reads no further has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// The terminal shows nothing that is typed, until this is dropped: rpassword sees to that only after it has asked, and who
/// types ahead, or pastes, would see it.
struct Silent(Option<(File, Termios)>);

impl Silent {
    fn new() -> Self {
        let silence = || {
            let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
            let before = tcgetattr(&terminal).ok()?;
            let mut silent = before.clone();
            // Without signals, too, as rpassword has it: Ctrl-C is an answer, and echo comes back.
            silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
            tcsetattr(&terminal, OptionalActions::Now, &silent).ok()?;
            Some((terminal, before))
        };
        // Where there is no terminal, asking says so.
        Silent(silence())
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        if let Some((terminal, before)) = &self.0
            && let Err(error) = tcsetattr(terminal, OptionalActions::Now, before)
        {
            eprintln!("warning: the terminal stays as it is: {error}\n  fix: stty sane");
        }
    }
}

/// Asks twice, without showing what is typed; or reads a line.
fn password(from_stdin: bool) -> anyhow::Result<String> {
    let password = if from_stdin {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map_err(|error| anyhow!("standard input: {error}"))?;
        line.trim_end_matches(['\r', '\n']).to_string()
    } else {
        let ask = |prompt: &str| {
            rpassword::prompt_password(prompt).map_err(|error| {
                anyhow!("the password cannot be asked for: {error}\n  fix: --password-stdin reads it from standard input")
            })
        };
        let _silent = Silent::new();
        let (first, second) = (ask("Password: ")?, ask("Again: ")?);
        if first != second {
            bail!("the two passwords differ; nothing was changed");
        }
        first
    };
    if password.is_empty() {
        bail!("a password has at least one character; nothing was changed");
    }
    if password.len() > MAX_PASSWORD_BYTES {
        bail!("a password has at most {MAX_PASSWORD_BYTES} bytes; nothing was changed");
    }
    if password.chars().count() < GOOD_PASSWORD_CHARS {
        eprintln!("warning: fewer than {GOOD_PASSWORD_CHARS} characters are guessed soon");
    }
    Ok(password)
}
