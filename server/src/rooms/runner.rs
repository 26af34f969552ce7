//! Runs the code of one room: one callback after the other, each guarded, each followed by what it did.

use std::collections::BTreeMap;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::{self, status};
use tagwire::room::{Context, Effect, Effects, Flush, MAX_TICK_HZ, Options, Player, Relayed, To};
use tagwire::service::Refusal;
use tagwire::session::fan_out::FanOut;
use tagwire::session::outbox::Lane;
use tagwire::time::Now;
use tagwire::{CloseCode, Tag};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use tracing::{debug, error, info};

use super::code::Code;
use super::mailbox::{Letter, Mail};
use super::{Boundary, Room, Rooms, too_late};
use crate::flusher::TurnGuard;
use crate::hook::Stopped;
use crate::metrics::Tally;
use crate::requests::response;
use crate::session::{Ending, Session};

/// Mail taken in one turn, before ticks and other tasks get theirs.
const MAIL_PER_TURN: usize = 256;

/// How a room ends.
#[derive(Debug)]
enum End {
    /// Nobody is inside.
    Empty,
    /// Its code says so.
    Ended(String),
    /// Its code panicked, in that callback.
    Panicked(&'static str),
}

/// The task of one room, until the room ends.
pub(super) struct Runner {
    rooms: Arc<Rooms>,
    room: Arc<Room>,
    mail: UnboundedReceiver<Mail>,
}

impl Runner {
    pub(super) fn new(rooms: Arc<Rooms>, room: Arc<Room>, mail: UnboundedReceiver<Mail>) -> Self {
        Runner { rooms, room, mail }
    }

    pub(super) async fn run(mut self) {
        let end = match Hosted::new(&self.rooms, &self.room) {
            Ok(mut hosted) => {
                let end = self.serve(&mut hosted).await;
                // What is dropped is the game's, too.
                if catch_unwind(AssertUnwindSafe(move || drop(hosted))).is_err() {
                    error!("the code of the room {:?} panicked as it was dropped", self.room.name);
                }
                end
            }
            Err(end) => end,
        };
        let name = &self.room.name;
        match end {
            End::Empty => debug!("room {name:?} is empty and ends"),
            End::Ended(reason) => {
                info!("room {name:?} ended: {reason}");
                self.rooms.end(&self.room, &reason);
            }
            End::Panicked(callback) => {
                error!("the code of the room {name:?} panicked in `{callback}`; the room ends");
                self.rooms.metrics.rooms_failed.inc();
                self.rooms.end(&self.room, "the room failed");
            }
        }
        if let Some(code) = &self.room.code {
            code.close();
        }
        self.mail.close();
        while let Ok(mail) = self.mail.try_recv() {
            if let Mail::Letter(Letter::Request { session, key, tag, done, .. }, _) = mail {
                let refusal = Refusal::unavailable("the room has ended", 0);
                answer(&session, response(key, tag, Err(refusal)), done);
            }
            // Who wants in hears of it by the end of what it waits for; what else was sent had a room to go to.
        }
    }

    async fn serve(&mut self, hosted: &mut Hosted) -> End {
        let room = Arc::clone(&self.room);
        let Some(mailbox) = &room.code else { return End::Empty };
        let mut ticks = hosted.ticks();
        if hosted.deferred() {
            mailbox.wait_for_ticks();
        }
        loop {
            let turn = tokio::select! {
                // A tick must not wait for a mailbox that never is empty, nor the mail for a tick that is always late.
                biased;
                () = next(&mut ticks) => self.ticked(hosted).await,
                () = mailbox.woken() => self.turn(hosted, MAIL_PER_TURN),
            };
            match turn {
                Ok(More::No) => {}
                Ok(More::Yes) => {
                    mailbox.wake();
                    yield_now().await;
                }
                Err(end) => return end,
            }
        }
    }

    async fn ticked(&mut self, hosted: &mut Hosted) -> Result<More, End> {
        let mut start = Instant::now();
        if !hosted.deferred() {
            hosted.tick(start)?;
            return self.turn(hosted, MAIL_PER_TURN);
        }
        // All that came in time belongs to this tick; what comes meanwhile, to the next.
        let mut left = self.mail.len();
        while left > 0 {
            let slice = left.min(MAIL_PER_TURN);
            self.turn(hosted, slice)?;
            left -= slice;
            if left > 0 {
                let paused = Instant::now();
                yield_now().await;
                start += paused.elapsed();
            }
        }
        hosted.tick(start)?;
        Ok(More::No)
    }

    /// Takes so much of the mail, as far as it is there.
    fn turn(&mut self, hosted: &mut Hosted, most: usize) -> Result<More, End> {
        let _turn = TurnGuard::begin();
        hosted.now = self.rooms.clock.now();
        for _ in 0..most {
            // Whatever comes after this was said to wake the room, if it may not wait.
            let Ok(mail) = self.mail.try_recv() else { return Ok(More::No) };
            hosted.mail(mail)?;
        }
        Ok(if self.mail.is_empty() { More::No } else { More::Yes })
    }
}

/// Whether a turn ended before the mail did.
enum More {
    Yes,
    No,
}

async fn next(ticks: &mut Option<Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => pending().await,
    }
}

/// A LATEST message that waits for the tick.
struct Waiting {
    message: usize,
    payload: Bytes,
    to: To,
}

/// A room's code and what is around it.
struct Hosted {
    rooms: Arc<Rooms>,
    room: Arc<Room>,
    code: Box<dyn Code>,
    options: Options,
    /// Who is inside, as far as the code knows.
    players: BTreeMap<u32, Player>,
    effects: Effects,
    now: Now,
    tick: u64,
    /// The newest of each sender and tag, in a room with ticks.
    waiting: BTreeMap<(u32, Tag), Waiting>,
}

impl Hosted {
    fn new(rooms: &Arc<Rooms>, room: &Arc<Room>) -> Result<Self, End> {
        let kind = room.code.as_ref().ok_or(End::Empty)?.kind();
        let code = catch_unwind(AssertUnwindSafe(|| (kind.factory)(&room.name)));
        let code = code.map_err(|_| End::Panicked("the factory"))?;
        let options = catch_unwind(AssertUnwindSafe(|| code.options()));
        let mut options = options.map_err(|_| End::Panicked("options"))?;
        options.tick_hz = options.tick_hz.min(MAX_TICK_HZ);
        Ok(Hosted {
            rooms: Arc::clone(rooms),
            room: Arc::clone(room),
            code,
            options,
            players: BTreeMap::new(),
            effects: Effects::default(),
            now: rooms.clock.now(),
            tick: 0,
            waiting: BTreeMap::new(),
        })
    }

    fn ticks(&self) -> Option<Interval> {
        (self.options.tick_hz > 0).then(|| {
            let period = Duration::from_secs(1) / self.options.tick_hz;
            let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            ticks
        })
    }

    fn deferred(&self) -> bool {
        self.options.flush == Flush::OnTick && self.options.tick_hz > 0
    }

    /// Runs a callback. What it did waits in `effects`; where it panics, nothing of that is left.
    fn call<T>(
        &mut self,
        callback: &'static str,
        run: impl FnOnce(&mut dyn Code, &mut Context<'_>) -> T,
    ) -> Result<T, End> {
        let Hosted { room, code, players, effects, now, tick, .. } = self;
        let mut cx = Context::new(*now, *tick, &room.name, players, effects);
        catch_unwind(AssertUnwindSafe(|| run(&mut **code, &mut cx))).map_err(|_| {
            self.effects.clear();
            End::Panicked(callback)
        })
    }

    /// The same for something of a player. `None`: the player is not inside any more, it sent that as it went.
    fn call_for<T>(
        &mut self,
        callback: &'static str,
        id: u32,
        run: impl FnOnce(&mut dyn Code, &mut Context<'_>, &Player) -> T,
    ) -> Result<Option<T>, End> {
        self.call(callback, |code, cx| cx.player(id).map(|player| run(code, cx, player)))
    }

    /// Does what the code did.
    fn carry_out(&mut self) -> Result<(), End> {
        let mut end = Ok(());
        for effect in self.effects.iter() {
            match effect {
                Effect::Send { to, tag, full_name, payload, delivery } => {
                    let Some((message, info)) = self.rooms.schema.get(tag) else {
                        error!(
                            "room {:?}: {full_name} is not in the schema that is served: not sent",
                            self.room.name
                        );
                        continue;
                    };
                    let max = self.rooms.limits.load().max_frame_bytes;
                    let max = info.rules.max_bytes.map_or(max, |bytes| max.min(bytes as usize));
                    if payload.len() > max {
                        let (room, bytes) = (&self.room.name, payload.len());
                        error!("room {room:?}: {full_name} of {bytes} bytes, limit {max}: not sent");
                        continue;
                    }
                    self.send(None, tag, message, payload, to, Lane::new(delivery, 0, tag));
                }
                Effect::Kick { player, reason } => {
                    if let Some(session) = self.room.members().get(&player) {
                        session.end(Ending::told(CloseCode::KICKED, reason));
                    }
                }
                Effect::End { reason } => end = Err(End::Ended(reason.to_string())),
            }
        }
        self.effects.clear();
        end
    }

    fn mail(&mut self, mail: Mail) -> Result<(), End> {
        match mail {
            Mail::Join { session, boundary, reply } => self.join(&session, boundary, reply),
            Mail::Away { player } => self.told(player, "away", |code, cx, player| code.away(cx, player)),
            Mail::Back { player } => self.told(player, "back", |code, cx, player| code.back(cx, player)),
            Mail::Left { player } => self.left(player),
            Mail::Close => Err(End::Empty),
            Mail::Letter(Letter::Push { player, tag, payload }, _) => self.push(player, tag, payload),
            Mail::Letter(Letter::Relay { player, message, tag, payload, lane, to_all }, _) => {
                let to = if to_all { To::All } else { To::AllBut(player) };
                self.relay(player, tag, lane, Waiting { message, payload, to })
            }
            Mail::Letter(Letter::Request { session, key, tag, body, done }, _) => {
                self.request(&session, key, tag, body, done)
            }
        }
    }

    fn join(
        &mut self,
        session: &Arc<Session>,
        boundary: Boundary,
        reply: oneshot::Sender<Result<(), Refusal>>,
    ) -> Result<(), End> {
        let id = session.player.player_id;
        let new = !self.players.contains_key(&id);
        let mut end = Ok(());
        let refusal = match () {
            () if reply.is_closed() => Some(too_late()),
            // Let in by an earlier one of its requests.
            () if !new => None,
            () if self.players.len() >= self.options.max_members => {
                let text = format!("the room is full ({} members)", self.players.len());
                Some(Refusal::unavailable(text, 0))
            }
            () => {
                let player = session.in_room();
                self.players.insert(id, player.clone());
                match self.call("joined", |code, cx| code.joined(cx, &player)) {
                    Ok(joined) => joined.err(),
                    Err(panicked) => {
                        end = Err(panicked);
                        Some(Refusal::internal())
                    }
                }
            }
        };
        let placed = self.rooms.decide(&self.room, session, refusal.is_none().then_some(boundary));
        let (decided, end) = match refusal {
            None if placed => (Ok(()), self.carry_out()),
            Some(refusal) => {
                self.effects.clear();
                if new {
                    self.players.remove(&id);
                }
                debug!("{} does not enter the room {:?}: {refusal}", session.player.name, self.room.name);
                (Err(refusal), end)
            }
            None => {
                self.effects.clear();
                (Err(too_late()), if new { self.left(id) } else { Ok(()) })
            }
        };
        // Who does not wait any more need not be told.
        let _ = reply.send(decided);
        end
    }

    fn told(
        &mut self,
        id: u32,
        callback: &'static str,
        run: impl FnOnce(&mut dyn Code, &mut Context<'_>, &Player),
    ) -> Result<(), End> {
        self.call_for(callback, id, run)?;
        self.carry_out()
    }

    fn left(&mut self, id: u32) -> Result<(), End> {
        let Some(player) = self.players.remove(&id) else { return Ok(()) };
        self.waiting.retain(|(sender, _), _| *sender != id);
        self.call("left", |code, cx| code.left(cx, &player))?;
        self.carry_out()
    }

    fn push(&mut self, id: u32, tag: Tag, payload: Bytes) -> Result<(), End> {
        if self.call_for("message", id, |code, cx, player| code.message(cx, player, tag, payload))?
            == Some(false)
        {
            error!(
                "room {:?}: a message with tag {tag} passed the schema's check and is none",
                self.room.name
            );
        }
        self.carry_out()
    }

    fn relay(&mut self, id: u32, tag: Tag, lane: Lane, waiting: Waiting) -> Result<(), End> {
        let relayed = Relayed { tag, payload: &waiting.payload };
        let granted = self.call_for("relay", id, |code, cx, player| code.relay(cx, player, relayed))?;
        let Some(granted) = granted else { return Ok(()) };
        match lane {
            _ if !granted => self.rooms.metrics.dropped("VETOED"),
            Lane::Latest { .. } if self.options.tick_hz > 0 => {
                if self.waiting.insert((id, tag), waiting).is_some() {
                    self.rooms.metrics.conflated.inc();
                }
            }
            _ => self.send(Some(id), tag, waiting.message, &waiting.payload, &waiting.to, lane),
        }
        self.carry_out()
    }

    /// Hands a message to members: of a player, or of the room itself.
    fn send(&self, sender: Option<u32>, tag: Tag, message: usize, payload: &[u8], to: &To, lane: Lane) {
        let changed = match self.rooms.hooks.outgoing(sender, to, tag, payload) {
            Ok(changed) => changed,
            Err(stopped) => {
                self.rooms.metrics.dropped("HOOK");
                let sender = sender.and_then(|sender| self.room.members().get(&sender).cloned());
                if let (Stopped::Closed(ending), Some(session)) = (stopped, sender) {
                    session.end(ending);
                }
                return;
            }
        };
        let payload = changed.as_deref().unwrap_or(payload);
        let mut fan_out = FanOut::new();
        fan_out.push(sender, message, tag, payload, lane);
        let delivered = self.room.deliver(&fan_out, to, self.deferred());
        Tally::new(&self.rooms.metrics).delivered(&fan_out, &delivered);
    }

    fn request(
        &mut self,
        session: &Arc<Session>,
        key: u64,
        tag: Tag,
        body: Bytes,
        done: oneshot::Sender<status::Value>,
    ) -> Result<(), End> {
        // It timed out: it was told so, and must not run.
        if done.is_closed() {
            return Ok(());
        }
        let id = session.player.player_id;
        let start = Instant::now();
        let mut end = Ok(());
        let answer =
            match self.call_for("request", id, |code, cx, player| code.request(cx, player, tag, body)) {
                Ok(Some(Some(Ok(reply)))) => {
                    end = self.carry_out();
                    self.rooms.hooks.reply(session, tag, reply).map_err(|stopped| {
                        self.rooms.metrics.dropped("HOOK");
                        stopped.refuse(session)
                    })
                }
                Ok(Some(Some(Err(refusal)))) => {
                    self.effects.clear();
                    Err(refusal)
                }
                Ok(Some(None)) => Err(Refusal::unknown(format!("the room does not answer tag {tag}"))),
                Ok(None) => Err(Refusal::unavailable("you are not in the room any more", 0)),
                Err(panicked) => {
                    end = Err(panicked);
                    Err(Refusal::internal())
                }
            };
        if let Some((message, _)) = self.rooms.schema.get(tag) {
            self.rooms.metrics.request(message, start.elapsed());
        }
        self::answer(session, response(key, tag, answer), done);
        end
    }

    /// `start`: when the work of this tick began.
    fn tick(&mut self, start: Instant) -> Result<(), End> {
        let _turn = TurnGuard::begin();
        self.now = self.rooms.clock.now();
        self.tick += 1;
        for ((sender, tag), Waiting { message, payload, to }) in std::mem::take(&mut self.waiting) {
            self.send(Some(sender), tag, message, &payload, &to, Lane::Latest { sender, tag });
        }
        let end = self.call("tick", |code, cx| code.tick(cx)).and_then(|()| self.carry_out());
        if self.deferred() {
            self.room.flush();
        }
        self.rooms.metrics.tick(start.elapsed(), Duration::from_secs(1) / self.options.tick_hz.max(1));
        end
    }
}

fn answer(session: &Arc<Session>, response: v1::Response, done: oneshot::Sender<status::Value>) {
    let status = response.status();
    session.respond(response);
    // It may have timed out meanwhile: then nobody waits.
    let _ = done.send(status);
}
