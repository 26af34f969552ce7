//! One's own authenticator: players from a table in SQLite. Its settings say `auth = "game"`. The table:
//!
//! ```sql
//! CREATE TABLE players (key TEXT PRIMARY KEY, name TEXT, hash TEXT, operator INTEGER)
//! ```

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension as _};
use tagwire::{Access, name};
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity, password};

/// Players by name and password, from a database.
struct Players(Mutex<Connection>);

impl Players {
    fn find(&self, name: &str) -> rusqlite::Result<Option<(String, String, bool)>> {
        let database = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let row = "SELECT name, hash, operator FROM players WHERE key = ?1";
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        database.query_row(row, [name::key(name)], columns).optional()
    }
}

impl Authenticator for Players {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let unavailable = |error: &dyn std::error::Error| Denied::Unavailable(error.to_string());
        let found = self.find(&attempt.login.username).map_err(|error| unavailable(&error))?;
        let hash = found.as_ref().map(|(_, hash, _)| hash.as_str());
        // Where there is no hash it takes as long, so that nobody learns who has a name here.
        let good = password::verify(&attempt.login.password, hash).map_err(|error| unavailable(&error))?;
        match found {
            Some((name, _, true)) if good => Ok(Identity::new(name, Access::Operator)),
            Some((name, _, false)) if good => Ok(Identity::new(name, Access::Player)),
            _ => Err(Denied::WrongPassword),
        }
    }
}

fn main() -> ExitCode {
    let path = std::env::var("PLAYERS").unwrap_or("players.sqlite".to_string());
    match Connection::open(&path) {
        Ok(players) => {
            let players = Players(Mutex::new(players));
            tagwire_server::run(tagwire::pb::schema(), |server| server.auth(players))
        }
        Err(error) => {
            eprintln!("error: {path}: {error}");
            ExitCode::from(2)
        }
    }
}
