//! Logins of every kind, and what is answered.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use tagwire::Access;
use tagwire::pb::tagwire::v1::{self, login_part};
use tagwire::prost::Message as _;
use tagwire_server::auth::{Attempt, Authenticator, Denied, Identity, password};

use super::{Classic, frame};

/// A login that has been sent, and its connection.
pub struct Knock(pub Classic);

/// What the server said, that is no Welcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    pub code: u32,
    pub reason: String,
    pub part: login_part::Value,
    pub retry_after_ms: u32,
}

pub fn login(name: &str, password: &str, token: &str) -> v1::PlayerLogin {
    v1::PlayerLogin {
        username: name.to_string(),
        password: password.to_string(),
        token: token.to_string(),
        client: Some(v1::ClientInfo { protocol: 1, ..Default::default() }),
        ..Default::default()
    }
}

impl Knock {
    pub fn at(address: SocketAddr, login: &v1::PlayerLogin) -> Self {
        let mut knock = Knock(Classic::connect(address));
        knock.say(login);
        knock
    }

    pub fn say(&mut self, login: &v1::PlayerLogin) {
        self.0.send(&frame(login));
    }

    pub fn answer(&mut self) -> Result<v1::Welcome, Refusal> {
        match self.0.next().expect("an answer") {
            (240, payload) => Ok(v1::Welcome::decode(payload.as_slice()).unwrap()),
            (241, payload) => {
                let told = v1::Disconnect::decode(payload.as_slice()).unwrap();
                let part = told.refused();
                let v1::Disconnect { code, reason, retry_after_ms, .. } = told;
                Err(Refusal { code, reason, part, retry_after_ms })
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Logs in; the connection is dropped where nobody keeps it.
pub fn knock(address: SocketAddr, login: &v1::PlayerLogin) -> (Knock, Result<v1::Welcome, Refusal>) {
    let mut knock = Knock::at(address, login);
    let answer = knock.answer();
    (knock, answer)
}

/// A file of users, all with one password, hashed once for all.
pub fn users_file(names: impl IntoIterator<Item = String>, password: &str) -> tempfile::NamedTempFile {
    let hash = password::hash(password).unwrap();
    let mut text = "[users]\n".to_string();
    for name in names {
        text += &format!("{name} = {{ hash = \"{hash}\" }}\n");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

pub fn key_file(name: &str) -> String {
    format!("{}/tests/keys/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A token of the game's account server.
pub fn token(algorithm: Algorithm, claims: &serde_json::Value) -> String {
    let pem = |name: &str| std::fs::read(key_file(name)).unwrap();
    let key = match algorithm {
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem("ed25519.private.pem")).unwrap(),
        Algorithm::RS256 => EncodingKey::from_rsa_pem(&pem("rsa.private.pem")).unwrap(),
        // The attack that every library once fell for.
        _ => EncodingKey::from_secret(&pem("rsa.public.pem")),
    };
    encode(&Header::new(algorithm), claims, &key).unwrap()
}

pub fn now_s() -> u64 {
    get_current_timestamp()
}

/// Judges when it is told to, and remembers in which order it was asked.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    open: bool,
    /// So many may pass before it is open.
    passes: usize,
    asked: Vec<String>,
}

impl Gate {
    pub fn open(&self) {
        self.0.0.lock().unwrap().open = true;
        self.0.1.notify_all();
    }

    /// Lets one of those through who are asked about, or the next.
    pub fn pass(&self) {
        self.0.0.lock().unwrap().passes += 1;
        self.0.1.notify_all();
    }

    pub fn asked(&self) -> Vec<String> {
        self.0.0.lock().unwrap().asked.clone()
    }
}

impl Authenticator for Gate {
    fn authenticate(&self, attempt: &Attempt<'_>) -> Result<Identity, Denied> {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.asked.push(attempt.login.username.clone());
        while !state.open && state.passes == 0 {
            state = changed.wait(state).unwrap();
        }
        state.passes = state.passes.saturating_sub(1);
        Ok(Identity::new(&attempt.login.username, Access::Player))
    }
}
