//! What a case plays on: a client under test and a server in its hands.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tagwire::pb::tagwire::v1::{Limits, PlayerLogin, Relayed, Welcome, verdict};
use tagwire::{Message, Schema};

use crate::driver::{Driver, command};
use crate::peer::{Link, Peer};
use crate::schema;

/// The player's number in `welcome`.
pub(crate) const ME: u32 = 41;
/// What opens the session again in `resumable`.
pub(crate) const TOKEN: &[u8] = b"a secret of 16 b";
/// The server's clock in `welcome`, microseconds.
pub(crate) const SERVER_TIME_US: u64 = 1_700_000_000_000_000;
/// How long it is watched that something does not happen.
pub(crate) const WHILE: Duration = Duration::from_millis(250);

/// A server's answer to a login, to a session that cannot be resumed.
pub(crate) fn welcome() -> Welcome {
    Welcome {
        session_id: 7,
        player_id: ME,
        name: "player1".into(),
        protocol: 1,
        fingerprint: schema::schema().fingerprint().0.to_vec().into(),
        verdict: verdict::Value::Same.into(),
        ping_interval_ms: 1000,
        limits: Some(Limits { max_frame_bytes: 65536, max_frames_per_second: 0, max_bytes_per_second: 0 }),
        server_time_us: SERVER_TIME_US,
        room: "main".into(),
        ..Welcome::default()
    }
}

/// The same to a session that can.
pub(crate) fn resumable() -> Welcome {
    Welcome { resume_token: TOKEN.into(), resume_window_ms: 60_000, ..welcome() }
}

/// The answer to a login that resumes it: the server has handled so many frames.
pub(crate) fn resumed(frames_received: u64) -> Welcome {
    Welcome { resumed: true, frames_received, ..resumable() }
}

/// What the server sends when a player has sent a message.
pub(crate) fn relayed<M: Message>(player: u32, message: &M) -> Relayed {
    Relayed { player, tag: M::TAG.0.into(), body: message.encode_to_vec().into() }
}

/// How a client that is tested for coming back does so: soon.
pub(crate) fn quick() -> Value {
    json!({ "first_delay_ms": 20, "max_delay_ms": 40, "give_up_after_ms": 20_000 })
}

/// One case's client and server.
pub(crate) struct Stage {
    pub(crate) driver: Driver,
    pub(crate) peer: Peer,
    /// The command line of drivers, for cases with two of them.
    pub(crate) client: Vec<String>,
    /// Where the real server's binary is, for cases with it.
    pub(crate) server: Option<String>,
}

impl Stage {
    pub(crate) fn schema(&self) -> Schema {
        schema::schema()
    }

    /// Tells the client to connect, with `player1` and `welcome` unless said otherwise.
    pub(crate) fn connect(&mut self, options: Value) -> Result<Link> {
        let mut fields =
            json!({ "address": self.peer.address(), "username": "player1", "password": "welcome" });
        if let (Value::Object(fields), Value::Object(options)) = (&mut fields, options) {
            fields.extend(options);
        }
        self.driver.tell(&command("connect", fields))?;
        self.peer.accept()
    }

    /// Lets the client log in; the server has not answered.
    pub(crate) fn asked(&mut self, options: Value) -> Result<(Link, PlayerLogin)> {
        let mut link = self.connect(options)?;
        let login = link.login()?;
        Ok((link, login))
    }

    /// A client that is logged in with this answer.
    pub(crate) fn opened(&mut self, welcome: &Welcome) -> Result<Link> {
        let (mut link, _) = self.asked(json!({ "reconnect": quick() }))?;
        link.send(welcome)?;
        self.driver.expect("connected")?;
        Ok(link)
    }

    /// A client that is logged in.
    pub(crate) fn open(&mut self) -> Result<Link> {
        self.opened(&welcome())
    }

    /// A client that is logged in and may come back.
    pub(crate) fn open_resumable(&mut self) -> Result<Link> {
        self.opened(&resumable())
    }

    /// The client comes back and asks for its session, which is its `connection`th, as `frames_received` says.
    pub(crate) fn asks_again(&mut self, connection: u32, frames_received: u64) -> Result<Link> {
        let mut link = self.peer.accept()?;
        let login = link.login()?;
        let resume = login.resume.context("the client does not ask for its session")?;
        ensure!(resume.token == TOKEN, "another token");
        ensure!(resume.connection == connection, "connection {} should be {connection}", resume.connection);
        let count = resume.frames_received;
        ensure!(
            count == frames_received,
            "the client says it handled {count} frames, it was {frames_received}"
        );
        Ok(link)
    }

    /// It does, and the session goes on: the server has handled so many frames.
    pub(crate) fn back(&mut self, connection: u32, frames_received: u64, handled: u64) -> Result<Link> {
        let mut link = self.asks_again(connection, frames_received)?;
        link.send(&resumed(handled))?;
        self.driver.expect_like("reconnected", json!({ "resumed": true, "lost": 0 }))?;
        Ok(link)
    }

    pub(crate) fn tell(&mut self, what: &str, fields: Value) -> Result<()> {
        self.driver.tell(&command(what, fields))
    }

    /// Tells the client to send a `Note`.
    pub(crate) fn note(&mut self, number: u32, text: &str) -> Result<()> {
        let mut message = json!({});
        if number != 0 {
            message["number"] = number.into();
        }
        if !text.is_empty() {
            message["text"] = text.into();
        }
        self.tell("send", json!({ "type": "conformance.v1.Note", "message": message }))
    }

    /// Tells the client to ask something of the desk.
    pub(crate) fn ask(&mut self, id: u32, number: u32, options: Value) -> Result<()> {
        let mut fields = question(id, number);
        if let (Value::Object(fields), Value::Object(options)) = (&mut fields, options) {
            fields.extend(options);
        }
        self.tell("request", fields)
    }

    /// What the client knows by now.
    pub(crate) fn state(&mut self) -> Result<Value> {
        self.tell("state", json!({}))?;
        self.driver.expect("state")
    }

    /// The client has ended with this code, told by the server, and does not come back.
    pub(crate) fn ended_by_peer(&mut self, code: u16) -> Result<Value> {
        let closed = self.driver.expect_like("closed", json!({ "code": code, "by_peer": true }))?;
        self.peer.nobody_comes(WHILE)?;
        Ok(closed)
    }
}

/// One question to the desk, as a command has it.
pub(crate) fn question(id: u32, number: u32) -> Value {
    json!({
        "id": id,
        "type": "conformance.v1.AskRequest",
        "message": { "number": number },
        "reply": "conformance.v1.AskReply",
        "timeout_ms": 10_000,
    })
}
