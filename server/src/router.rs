//! What a message does: every frame of every client inside comes through here.

use std::ops::ControlFlow;
use std::sync::Arc;

use tagwire::bytes::Bytes;
use tagwire::room::To;
use tagwire::session::Fault;
use tagwire::session::fan_out::FanOut;
use tagwire::session::outbox::Lane;
use tagwire::session::server::{Dropped, Incoming, Reply, ServerSession};
use tagwire::time::Now;
use tagwire::{Delivery, Frame, Schema, Tag};
use tracing::debug;

use crate::flusher::TurnGuard;
use crate::hook::{Hooks, Stopped};
use crate::metrics::{Metrics, Tally};
use crate::requests::{Requests, Step};
use crate::rooms::{Letter, Mailbox, Room, Rooms, Unposted};
use crate::session::{Ending, Session};

/// So much is gathered of a client's messages before the room is handed them.
const MAX_RUN_BYTES: usize = 16 * 1024;

/// Why nothing more of a client is read. In a box, for hardly any message comes to that.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The session ends.
    End(Ending),
    /// The mailbox of its room is full: not before this is posted.
    Full(Arc<Room>, Letter),
}

/// A turn of a connection: what the frames that come in it have in common is looked up once, and counted together. Ends
/// with [`Router::deliver`].
#[derive(Debug)]
pub(crate) struct InTurn<'a> {
    /// One look at the clock a turn.
    now: Now,
    known: Option<Known>,
    /// Messages of the client to the members of the room in `known`, one behind the other, which go on together: before
    /// anything else comes of the turn.
    run: FanOut,
    /// To the client, too.
    to_all: bool,
    tally: Tally<'a>,
    /// Ends behind what is counted, for then it may be written.
    #[expect(dead_code, reason = "ends the turn when it is dropped")]
    turn: TurnGuard,
}

impl<'a> InTurn<'a> {
    /// The turn begins; it ends when this is dropped.
    pub(crate) fn begin(now: Now, metrics: &'a Metrics, session: &Session) -> Self {
        let (tally, turn) = (Tally::new(metrics), TurnGuard::begin_of(session));
        InTurn { now, known: None, run: FanOut::new(), to_all: false, tally, turn }
    }
}

/// Where the session was when that was last looked up.
#[derive(Debug)]
struct Known {
    /// How often it had moved by then.
    moves: u32,
    room: Arc<Room>,
    max_deliveries_per_second: u32,
}

fn to(to_all: bool, player: u32) -> To {
    if to_all { To::All } else { To::AllBut(player) }
}

fn post(room: &Arc<Room>, code: &Mailbox, letter: Letter) -> ControlFlow<Box<Stop>> {
    match code.try_post(letter) {
        Ok(()) => ControlFlow::Continue(()),
        Err(Unposted(letter)) => ControlFlow::Break(Box::new(Stop::Full(Arc::clone(room), letter))),
    }
}

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) schema: Arc<Schema>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) metrics: Arc<Metrics>,
}

impl Router {
    /// Does what a frame of a client asks. `Break`: nothing more of it is to be read.
    pub(crate) fn handle(
        &self,
        turn: &mut InTurn<'_>,
        session: &Arc<Session>,
        protocol: &mut ServerSession,
        frame: Frame<'_>,
    ) -> Result<ControlFlow<Box<Stop>>, Fault> {
        let now = turn.now;
        let incoming = protocol.handle_frame(now, frame)?;
        if !matches!(incoming, Incoming::Relay { .. }) {
            self.deliver(turn, session, protocol);
        }
        match incoming {
            Incoming::Relay { message, tag, to_all, payload } => {
                return Ok(self.relay(turn, session, protocol, (message, tag, payload), to_all));
            }
            Incoming::Push { message, tag, payload } => {
                self.find_room(turn, session, protocol);
                let Some(Known { room, .. }) = &turn.known else {
                    self.roomless(now, session, protocol, message, tag);
                    return Ok(ControlFlow::Continue(()));
                };
                match &room.code {
                    Some(code) if code.kind().takes(tag) => {
                        self.count(&mut turn.tally, session, message, payload.len());
                        let payload = match self.hooks.incoming(tag, payload, || session.in_room()) {
                            Ok(changed) => {
                                changed.map_or_else(|| Bytes::copy_from_slice(payload), Bytes::from)
                            }
                            Err(stopped) => return Ok(self.stopped(stopped)),
                        };
                        let player = session.player.player_id;
                        return Ok(post(room, code, Letter::Push { player, tag, payload }));
                    }
                    _ => self.dropped(session, protocol.unhandled(now, tag, self.name(message))),
                }
            }
            Incoming::Request { key, tag, body } => {
                self.requests.run(session, [Step::Run { key, tag, body }], false);
            }
            Incoming::Batch { requests, stop_on_error } => {
                let steps: Vec<_> = requests.into_iter().filter_map(|request| self.step(request)).collect();
                self.requests.run(session, steps, stop_on_error);
            }
            Incoming::Answered(response) => session.send_response(&response),
            Incoming::Repeated => debug!("a request of {} runs already", session.player.name),
            Incoming::Ping(ping) => session.pong(now, &ping)?,
            Incoming::Leave { code, reason } => {
                return Ok(ControlFlow::Break(Box::new(Stop::End(Ending::Left { code, reason }))));
            }
            Incoming::Dropped(dropped) => self.dropped(session, dropped),
            // Neither comes once the session is open.
            Incoming::Login(_) | Incoming::Offer(_) => return Err(Fault::SecondLogin),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A message goes to the members of the room.
    fn relay(
        &self,
        turn: &mut InTurn<'_>,
        session: &Arc<Session>,
        protocol: &mut ServerSession,
        (message, tag, payload): (usize, Tag, &[u8]),
        to_all: bool,
    ) -> ControlFlow<Box<Stop>> {
        self.count(&mut turn.tally, session, message, payload.len());
        let changed = match self.hooks.incoming(tag, payload, || session.in_room()) {
            Ok(changed) => changed,
            Err(stopped) => return self.stopped(stopped),
        };
        let payload = changed.as_deref().unwrap_or(payload);
        if turn.to_all != to_all || turn.run.bytes() >= MAX_RUN_BYTES {
            self.deliver(turn, session, protocol);
        }
        self.find_room(turn, session, protocol);
        let Some(Known { room, .. }) = &turn.known else {
            self.roomless(turn.now, session, protocol, message, tag);
            return ControlFlow::Continue(());
        };
        let player = session.player.player_id;
        let delivery = self.schema.messages().get(message).map_or(Delivery::Ordered, |m| m.rules.delivery);
        let lane = Lane::new(delivery, player, tag);
        if let Some(code) = &room.code {
            let payload = Bytes::copy_from_slice(payload);
            return post(room, code, Letter::Relay { player, message, tag, payload, lane, to_all });
        }
        let changed = match self.hooks.outgoing(Some(player), &to(to_all, player), tag, payload) {
            Ok(changed) => changed,
            Err(stopped) => return self.stopped(stopped),
        };
        turn.to_all = to_all;
        turn.run.push(Some(player), message, tag, changed.as_deref().unwrap_or(payload), lane);
        ControlFlow::Continue(())
    }

    /// What was gathered goes to the members of the room. To be called when the turn is over.
    pub(crate) fn deliver(
        &self,
        turn: &mut InTurn<'_>,
        session: &Arc<Session>,
        protocol: &mut ServerSession,
    ) {
        let InTurn { now, known: Some(known), run, to_all, tally, .. } = turn else { return };
        if run.is_empty() {
            return;
        }
        let Known { room, max_deliveries_per_second: max, .. } = known;
        let taken = room.take_deliveries(*now, *max, run.messages().len());
        let too_many: Vec<Tag> = run.messages()[taken..].iter().map(|message| message.tag).collect();
        run.truncate(taken);
        if !run.is_empty() {
            let delivered = room.deliver(run, &to(*to_all, session.player.player_id), false);
            tally.delivered(run, &delivered);
            run.truncate(0);
        }
        for tag in too_many {
            self.dropped(session, protocol.undelivered(*now, tag, *max));
        }
    }

    /// Sees to it that `known` is where the session is; `None`: in no room. What was gathered for another room goes there
    /// first.
    fn find_room(&self, turn: &mut InTurn<'_>, session: &Arc<Session>, protocol: &mut ServerSession) {
        // Looked at once: the session may move again before the next line.
        if turn.known.as_ref().is_some_and(|known| known.moves != session.moves()) {
            self.deliver(turn, session, protocol);
            turn.known = None;
        }
        if turn.known.is_none() {
            // Before the room is looked up: where it moves meanwhile, the next message looks again.
            let moves = session.moves();
            turn.known = session.room().map(|room| {
                let max_deliveries_per_second = room.max_deliveries_per_second();
                Known { moves, room, max_deliveries_per_second }
            });
        }
    }

    /// A message goes to a room, and there is none: its sender is told.
    fn roomless(
        &self,
        now: Now,
        session: &Arc<Session>,
        protocol: &mut ServerSession,
        message: usize,
        tag: Tag,
    ) {
        self.dropped(session, protocol.roomless(now, tag, self.name(message)));
    }

    /// A hook says that a message goes no further.
    fn stopped(&self, stopped: Stopped) -> ControlFlow<Box<Stop>> {
        self.metrics.dropped("HOOK");
        match stopped {
            Stopped::Dropped => ControlFlow::Continue(()),
            Stopped::Closed(ending) => ControlFlow::Break(Box::new(Stop::End(ending))),
        }
    }

    fn name(&self, message: usize) -> &str {
        self.schema.messages().get(message).map_or("", |info| &info.full_name)
    }

    fn count(&self, tally: &mut Tally<'_>, session: &Session, message: usize, bytes: usize) {
        tally.received(message, bytes);
        let name = self.name(message);
        debug!("message {name} of {bytes} bytes from {}", session.player.name);
    }

    fn dropped(&self, session: &Arc<Session>, dropped: Dropped) {
        self.count_dropped(&dropped);
        debug!("message with tag {} from {} dropped: {}", dropped.tag, session.player.name, dropped.text);
        match dropped.reply {
            Some(Reply::Notice(notice)) => session.send(&notice),
            Some(Reply::Response(response)) => session.send_response(&response),
            None => {}
        }
    }

    fn count_dropped(&self, dropped: &Dropped) {
        self.metrics.dropped(dropped.reason.as_str_name());
        if let Some(limit) = dropped.limit {
            self.metrics.limited(limit.name());
        }
    }

    /// The request of a frame that asks, alone or in a batch.
    fn step(&self, incoming: Incoming<'static>) -> Option<Step> {
        match incoming {
            Incoming::Request { key, tag, body } => Some(Step::Run { key, tag, body }),
            Incoming::Answered(response) => Some(Step::Answered(response)),
            Incoming::Dropped(dropped) => {
                self.count_dropped(&dropped);
                match dropped.reply {
                    Some(Reply::Response(response)) => Some(Step::Answered(response)),
                    _ => None,
                }
            }
            // A repeat of one that runs is answered with it; nothing else is in a batch.
            _ => None,
        }
    }
}
