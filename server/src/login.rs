//! The way in: first bytes, login, the schema where it has to be compared, all within one deadline.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

use tagwire::bytes::Bytes;
use tagwire::frame::encode_message;
use tagwire::name::{self, NameError};
use tagwire::pb::tagwire::v1::{self, login_part, verdict};
use tagwire::session::login::Login;
use tagwire::session::resume::{ResumeRefused, ResumeToken};
use tagwire::session::server::{Incoming, ServerSession};
use tagwire::session::{Dialect, Fault};
use tagwire::{Access, CloseCode};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info};

use crate::auth::{Attempt, Denied, Identity};
use crate::config::{Limits, SchemaAccess};
use crate::core::{Core, GUEST_PREFIX};
use crate::door::Place;
use crate::exchange::{Compared, Judged, Known};
use crate::link::Last;
use crate::reader::{ReadError, Reader, Turn};
use crate::resume::{Resumed, take_over};
use crate::session::Ending;
use crate::transport::{Broken, Peer, Wire};

/// Who finds the server full is told to come back after so long.
const FULL_RETRY_US: u64 = 5_000_000;
/// And who finds too many before it who want in: about as long as they take.
const CROWDED_RETRY_US: u64 = 3_000_000;
/// Differences that a client is told at most, and their characters in all: its frames are bounded, too.
const MAX_FINDINGS: usize = 100;
const MAX_FINDINGS_CHARS: usize = 32 * 1024;

/// A player who may come in.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) login: Login,
    pub(crate) identity: Identity,
    pub(crate) verdict: verdict::Value,
}

/// Who comes in.
#[derive(Debug)]
pub(crate) enum Entry {
    /// To a session of its own.
    New(Box<Granted>),
    /// Back to a session.
    Resumed(Box<Resumed>),
    /// To no session: it asked for the schema, and may have it.
    Schema,
}

/// Somebody who may not.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) dialect: Dialect,
    /// For the counter.
    pub(crate) reason: &'static str,
    /// What is said; to nobody who has not shown that it would understand it.
    pub(crate) ending: Option<Ending>,
}

/// Why nobody came in.
#[derive(Debug, thiserror::Error)]
enum NotIn {
    #[error("it went without a word")]
    Gone,
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What ends the way in before it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interrupted {
    Deadline,
    Stopping,
}

impl Interrupted {
    pub(crate) fn refused(self, core: &Core, dialect: Dialect) -> Refused {
        let (reason, ending) = match self {
            Interrupted::Deadline => {
                ("deadline", Ending::told(CloseCode::LOGIN_TIMEOUT, "the login took too long"))
            }
            Interrupted::Stopping => ("stopping", core.shutdown_ending()),
        };
        Refused { dialect, reason, ending: Some(ending) }
    }
}

impl Refused {
    /// What is said to the client.
    pub(crate) fn last(&self) -> Last {
        let Refused { dialect, ending, .. } = self;
        let bytes = ending.as_ref().and_then(|ending| ending.frame(*dialect));
        Last { bytes: bytes.unwrap_or_default(), close: ending.as_ref().and_then(Ending::close) }
    }
}

/// Waits for a part of the way in.
pub(crate) async fn until<T>(
    core: &Core,
    deadline: Instant,
    part: impl Future<Output = T>,
) -> Result<T, Interrupted> {
    tokio::select! {
        done = timeout_at(deadline, part) => done.map_err(|_| Interrupted::Deadline),
        () = core.stopping.cancelled() => Err(Interrupted::Stopping),
    }
}

/// From the first frame to Welcome. To be bounded in time by the caller.
pub(crate) async fn log_in(
    core: &Core,
    limits: &Limits,
    place: &Place,
    reader: &mut Reader,
    protocol: &mut ServerSession,
    peer: Peer,
) -> Result<Entry, Refused> {
    let mut login = read_login(core, reader, protocol).await.map_err(|not_in| turned_away(not_in, peer))?;
    let secure = reader.wire().kind().is_secure();
    if !secure && !core.admits_plaintext(peer) {
        return Err(without_tls(&login, peer));
    }
    let wire = reader.wire();
    if login.wants_schema {
        may_ask(core, limits, place, login, wire, peer).await?;
        return Ok(Entry::Schema);
    }
    if let Some(resume) = login.resume.take()
        && let Some(resumed) = come_back(core, limits, &login, resume, wire, peer).await?
    {
        return Ok(Entry::Resumed(Box::new(resumed)));
    }
    let (login, identity) = judge(core, limits, place, login, wire, peer).await?;
    let verdict = match login.dialect {
        Dialect::Native => agree(core, reader, protocol, &login, peer).await?,
        Dialect::Classic => verdict::Value::NotCompared,
    };
    Ok(Entry::New(Box::new(Granted { login, identity, verdict })))
}

/// A connection that did not even bring a login. What is said goes to those alone who have shown that they understand it.
fn turned_away(not_in: NotIn, peer: Peer) -> Refused {
    debug!(%peer, "connection ended before a login: {not_in}");
    let (dialect, ending) = match not_in {
        // A version of the protocol that is not ours is the one thing that such a client is told.
        NotIn::Read(ReadError::Fault(fault @ Fault::Version(_))) => {
            (Dialect::Native, Some(Ending::told(CloseCode::from(&fault), fault.to_string())))
        }
        NotIn::Read(ReadError::Fault(fault)) => {
            (Dialect::Classic, Some(Ending::told(CloseCode::from(&fault), fault.to_string())))
        }
        NotIn::Read(ReadError::Broken(broken)) => (Dialect::Classic, Some(Ending::broken(broken))),
        NotIn::Gone => (Dialect::Classic, None),
    };
    Refused { dialect, reason: "no login", ending }
}

/// A login that anyone on the way could have read. It is not looked at.
fn without_tls(login: &Login, peer: Peer) -> Refused {
    let why = "this server asks for TLS: connect to tagwires:// or wss://";
    info!(
        "ACCESS DENIED for {} from {peer}: no TLS, and plaintext does not admit that",
        login.username.escape_debug()
    );
    let ending = Some(Ending::told(CloseCode::LOGIN_REFUSED, why));
    Refused { dialect: login.dialect, reason: "plaintext", ending }
}

async fn read_login(core: &Core, reader: &mut Reader, protocol: &mut ServerSession) -> Result<Login, NotIn> {
    loop {
        let turn = poll_fn(|cx| {
            reader.poll_turn(cx, |frame| {
                Ok(match protocol.handle_frame(core.clock.now(), frame)? {
                    Incoming::Login(login) => ControlFlow::Break(login),
                    _ => ControlFlow::Continue(()),
                })
            })
        });
        match turn.await? {
            Turn::Broke(login) => return Ok(login),
            Turn::Read => {}
            Turn::Eof => return Err(NotIn::Gone),
        }
    }
}

/// The session that the login asks for. `None`: it cannot be had, but what else the login has may open a new one.
async fn come_back(
    core: &Core,
    limits: &Limits,
    login: &Login,
    resume: v1::Resume,
    wire: &Wire,
    peer: Peer,
) -> Result<Option<Resumed>, Refused> {
    let now = core.clock.now();
    // Who has guessed too often already may not try that either: the judge says so.
    if core.door.may_try(now, peer.ip(), "", limits).is_err() {
        return Ok(None);
    }
    let mut taken = take_over(core, resume.clone(), wire.kind().is_secure()).await;
    if matches!(taken, Err(ResumeRefused::Expired))
        && login.has_credentials()
        && renew(core, limits, login, &resume, wire, peer).await?
    {
        taken = take_over(core, resume, wire.kind().is_secure()).await;
    }
    let refused = match taken {
        Ok(resumed) => return Ok(Some(resumed)),
        Err(refused) => refused,
    };
    info!("no session is resumed for {} from {peer}: {refused}", login.username.escape_debug());
    core.metrics.not_resumed(&refused);
    if refused == ResumeRefused::Wrong {
        core.door.failed(now, peer.ip(), "", limits);
    }
    // Who comes late must not take the place of the one who was here before.
    if login.has_credentials() && refused != ResumeRefused::Late {
        return Ok(None);
    }
    let ending = Ending::told(CloseCode::RESUME_REFUSED, refused.to_string());
    Err(Refused { dialect: login.dialect, reason: "resume", ending: Some(ending) })
}

/// Judges fresh credentials for a session whose own have expired. False: they are not the same player's, or may do
/// something else; then they may open a session of their own.
async fn renew(
    core: &Core,
    limits: &Limits,
    login: &Login,
    resume: &v1::Resume,
    wire: &Wire,
    peer: Peer,
) -> Result<bool, Refused> {
    let mut login = login.clone();
    // A name that is none is the judge's to refuse.
    let Ok(username) = name::player(&login.username) else { return Ok(false) };
    login.username = username;
    let identity = authenticate(core, limits, &login, wire, peer).await?;
    let address = ResumeToken::address(&resume.token);
    let Some(session) = address.ok().and_then(|(_, id)| core.directory.session(id)) else { return Ok(false) };
    let player = &session.player;
    if name::key(&identity.name) != name::key(&player.name) || identity.access != player.access {
        return Ok(false);
    }
    player.valid_until_us.store(identity.valid_until_us.unwrap_or(u64::MAX), Ordering::Relaxed);
    Ok(true)
}

/// Says that somebody is refused.
fn deny(login: &Login, peer: Peer, why: &dyn fmt::Display) {
    info!("ACCESS DENIED for {} from {peer}: {why}", login.username.escape_debug());
}

/// Asks everyone who has a say in whether a player comes in. The name of the login is in its normal form then.
async fn judge(
    core: &Core,
    limits: &Limits,
    place: &Place,
    mut login: Login,
    wire: &Wire,
    peer: Peer,
) -> Result<(Login, Identity), Refused> {
    let dialect = login.dialect;
    let refused = |reason, ending| Refused { dialect, reason, ending: Some(ending) };
    if dialect == Dialect::Classic && !core.config.classic {
        deny(&login, peer, &"classic clients are not served here");
        return Err(refused("classic", Ending::told(CloseCode::VERSION, "")));
    }
    has_place(core, place, &login, peer)?;
    let bad_name = |login: &Login, error: NameError| {
        deny(login, peer, &error);
        refused("name", Ending::refused(&Denied::BadName(error)))
    };
    login.username = name::player(&login.username).map_err(|error| bad_name(&login, error))?;
    let nameless = login.username.is_empty() && !login.has_credentials();
    if core.config.guests && dialect == Dialect::Native && nameless {
        return Ok((login, Identity::new("", Access::Guest)));
    }
    let mut identity = authenticate(core, limits, &login, wire, peer).await?;
    identity.name = name::player(&identity.name).map_err(|error| bad_name(&login, error))?;
    if core.config.guests && name::key(&identity.name).starts_with(GUEST_PREFIX) {
        let denied = Denied::Refused(format!("names that begin with {GUEST_PREFIX} are for guests"));
        deny(&login, peer, &denied);
        return Err(refused("name", Ending::refused(&denied)));
    }
    Ok((login, identity))
}

/// Whether there is room for one more.
fn has_place(core: &Core, place: &Place, login: &Login, peer: Peer) -> Result<(), Refused> {
    let Some(full) = place.full else { return Ok(()) };
    deny(login, peer, &full.reason());
    core.metrics.limited(full.limit());
    let ending = Ending::told_later(CloseCode::OVERLOAD, full.reason(), ms(FULL_RETRY_US));
    Err(Refused { dialect: login.dialect, reason: "full", ending: Some(ending) })
}

/// Whether somebody may be told the schema: who could log in, where it is not for everyone.
async fn may_ask(
    core: &Core,
    limits: &Limits,
    place: &Place,
    login: Login,
    wire: &Wire,
    peer: Peer,
) -> Result<(), Refused> {
    let not_told = |login: &Login, why: &dyn fmt::Display, ending| {
        deny(login, peer, why);
        Refused { dialect: login.dialect, reason: "schema access", ending: Some(ending) }
    };
    match core.schema_access() {
        SchemaAccess::Anyone => return has_place(core, place, &login, peer),
        SchemaAccess::Nobody => {
            let why = "this server tells its schema to nobody (its setting schema_access)";
            return Err(not_told(&login, &why, Ending::told(CloseCode::LOGIN_REFUSED, why)));
        }
        // Auto was resolved; where it was not, nothing is open.
        SchemaAccess::Player | SchemaAccess::Auto => {}
    }
    // That it is the name is told, for another one helps: of the refusals for who shows nothing it is the only one.
    let players = |login: &Login| {
        let why = "this server tells its schema to players alone (its setting schema_access): \
                   log in with name and password, or with a token";
        let denied = Denied::Refused(why.to_string());
        not_told(login, &denied, Ending::refused(&denied))
    };
    // Who shows nothing has guessed nothing.
    if login.username.is_empty() && !login.has_credentials() && wire.certificate().is_none() {
        return Err(players(&login));
    }
    let (login, identity) = judge(core, limits, place, login, wire, peer).await?;
    match identity.access {
        Access::Guest => Err(players(&login)),
        Access::Player | Access::Operator => Ok(()),
    }
}

/// Has the credentials judged, in turn where that takes long.
async fn authenticate(
    core: &Core,
    limits: &Limits,
    login: &Login,
    wire: &Wire,
    peer: Peer,
) -> Result<Identity, Refused> {
    let (ip, key, secure) = (peer.ip(), name::key(&login.username), wire.kind().is_secure());
    let refused = |reason, ending| Refused { dialect: login.dialect, reason, ending: Some(ending) };
    let may_try = || {
        core.door.may_try(core.clock.now(), ip, &key, limits).map_err(|(limit, wait_us)| {
            let text = format!("too many logins failed; try again in {} s", wait_us.div_ceil(1_000_000));
            deny(login, peer, &text);
            core.metrics.limited(limit);
            refused("limited", Ending::told_later(CloseCode::LOGIN_REFUSED, text, ms(wait_us)))
        })
    };
    may_try()?;
    let (auth, certificate) = (core.auth.load_full(), wire.certificate());
    // The game's, too: a panic in it ends this login alone.
    let mut slot = None;
    let judged = if auth.is_quick() {
        catch_unwind(AssertUnwindSafe(|| {
            auth.authenticate(&Attempt { login, peer: ip, secure, certificate: certificate.as_deref() })
        }))
        .map_err(|_| ())
    } else {
        let Ok(turn) = core.logins.turn(limits.max_logins_waiting).await else {
            let text = "too many players log in at once";
            deny(login, peer, &text);
            core.metrics.limited("max_logins_waiting");
            return Err(refused(
                "crowded",
                Ending::told_later(CloseCode::OVERLOAD, text, ms(CROWDED_RETRY_US)),
            ));
        };
        // Who hung up while it waited is not worth a hash; nor is who has failed too often by now.
        if wire.is_gone() {
            return Err(refused("gone", Ending::Lost("the client closed the connection".to_string())));
        }
        may_try()?;
        core.metrics.judged.inc();
        let login = login.clone();
        let judge = move || {
            auth.authenticate(&Attempt {
                login: &login,
                peer: ip,
                secure,
                certificate: certificate.as_deref(),
            })
        };
        turn.run(judge).await.map_err(|_| ()).map(|(judged, turn)| {
            slot = Some(turn);
            judged
        })
    };
    let judged = judged.map_err(|()| {
        error!("the authenticator panicked; {} from {peer} is not let in", login.username.escape_debug());
        refused("panic", Ending::told(CloseCode::OVERLOAD, "the server failed"))
    })?;
    let judged = judged.map_err(|denied| {
        match denied.detail() {
            Some(detail) => deny(login, peer, &format_args!("{denied} ({detail})")),
            None => deny(login, peer, &denied),
        }
        if let Denied::Unavailable(why) = &denied {
            error!("logins cannot be judged: {why}");
            let ending = Ending::told_later(CloseCode::OVERLOAD, denied.to_string(), ms(FULL_RETRY_US));
            return refused("unavailable", ending);
        }
        if denied.is_guess() {
            // A token is not a guess at somebody's password.
            let name = if denied.part() == login_part::Value::Token { "" } else { &key };
            core.door.failed(core.clock.now(), ip, name, limits);
        }
        refused("credentials", Ending::refused(&denied))
    });
    // What failed is remembered by now: the next of the same name may be one too many.
    drop(slot);
    judged
}

/// Milliseconds, rounded up.
fn ms(us: u64) -> u32 {
    u32::try_from(us.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Sees to it that both sides mean the same by their messages.
async fn agree(
    core: &Core,
    reader: &mut Reader,
    protocol: &mut ServerSession,
    login: &Login,
    peer: Peer,
) -> Result<verdict::Value, Refused> {
    let name = login.username.escape_debug();
    let refused = |ending| Refused { dialect: Dialect::Native, reason: "schema", ending: Some(ending) };
    let fault = |fault: &Fault| refused(Ending::told(CloseCode::from(fault), fault.to_string()));
    let judged = match core.exchange.known(&login.fingerprint) {
        Known::Judged(judged) => judged,
        Known::Unknown(claimed) => {
            let offered = ask_schema(core, reader, protocol).await.map_err(|error| match error {
                ReadError::Fault(error) => fault(&error),
                ReadError::Broken(broken) => refused(Ending::broken(broken)),
            })?;
            core.exchange.compare(claimed, offered).await.map_err(|error| {
                info!("ACCESS DENIED for {name} from {peer}: {error}");
                refused(Ending::told(CloseCode::VIOLATION, error.to_string()))
            })?
        }
    };
    match judged {
        Judged::Admitted(verdict) => {
            core.metrics.compared(verdict);
            Ok(verdict)
        }
        Judged::Mismatch(compared) => {
            let ending = mismatch(&compared);
            core.metrics.compared(compared.verdict);
            info!("ACCESS DENIED for {name} from {peer}: {ending}");
            compared.differences.iter().for_each(|difference| debug!(%peer, "{difference}"));
            Err(refused(ending))
        }
    }
}

fn mismatch(compared: &Compared) -> Ending {
    let Compared { differences, breaking, .. } = compared;
    let reason = match breaking {
        0 => format!("this server admits its own schema alone, and {} things differ", differences.len()),
        1 => "the schemas contradict each other in one place".to_string(),
        count => format!("the schemas contradict each other in {count} places"),
    };
    let (mut findings, mut chars) = (vec![], 0);
    for difference in differences {
        chars += difference.len();
        if findings.len() + 1 >= MAX_FINDINGS || chars > MAX_FINDINGS_CHARS {
            findings.push(format!("... and {} more", differences.len() - findings.len()));
            break;
        }
        findings.push(difference.clone());
    }
    let refused = login_part::Value::Untold;
    Ending::Told { code: CloseCode::SCHEMA_MISMATCH, reason, retry_after_ms: 0, findings, refused }
}

/// Asks the client for its schema and waits for it.
async fn ask_schema(
    core: &Core,
    reader: &mut Reader,
    protocol: &mut ServerSession,
) -> Result<Bytes, ReadError> {
    let mut question = vec![];
    encode_message(&protocol.ask_schema(), &mut question);
    reader.set_limits(protocol.decoder_limits());
    // Nothing was written before: the socket's buffer takes these two bytes whole.
    poll_fn(|cx| reader.wire().poll_writable(cx)).await;
    reader.wire().try_write(&question).map_err(Broken::from)?;
    loop {
        let turn = poll_fn(|cx| {
            reader.poll_turn(cx, |frame| {
                Ok(match protocol.handle_frame(core.clock.now(), frame)? {
                    Incoming::Offer(descriptors) => ControlFlow::Break(descriptors),
                    _ => ControlFlow::Continue(()),
                })
            })
        });
        match turn.await? {
            Turn::Broke(descriptors) => return Ok(descriptors),
            Turn::Read => {}
            Turn::Eof => return Err(Broken::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into()),
        }
    }
}
