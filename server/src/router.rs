//! What a message does: every frame of every client inside comes through here.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use tagwire::bytes::Bytes;
use tagwire::pb::tagwire::v1::{self, status};
use tagwire::prost::Message as _;
use tagwire::session::Fault;
use tagwire::session::outbox::Lane;
use tagwire::session::server::{Dropped, Incoming, Reply, ServerSession};
use tagwire::time::Now;
use tagwire::{Delivery, Frame, Message, Schema, Tag};
use tracing::debug;

use crate::metrics::Metrics;
use crate::rooms::{Busy, Relayed, RoomError, Rooms};
use crate::session::{Ending, Session};

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) schema: Arc<Schema>,
    pub(crate) rooms: Rooms,
    pub(crate) metrics: Arc<Metrics>,
}

impl Router {
    /// Does what a frame of a client asks. `Break`: the session ends.
    pub(crate) fn handle(
        &self,
        now: Now,
        session: &Arc<Session>,
        protocol: &mut ServerSession,
        frame: Frame<'_>,
    ) -> Result<ControlFlow<Ending>, Fault> {
        match protocol.handle_frame(now, frame)? {
            Incoming::Relay { message, tag, to_all, payload } => {
                self.count(session, message, payload.len());
                let delivery =
                    self.schema.messages().get(message).map_or(Delivery::Ordered, |m| m.rules.delivery);
                let lane = match delivery {
                    Delivery::Ordered => Lane::Ordered,
                    Delivery::Latest => Lane::Latest { sender: session.player.player_id, tag },
                    Delivery::Unreliable => Lane::Unreliable,
                };
                let room = session.room.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let Some(room) = room else { return Ok(ControlFlow::Continue(())) };
                match room.relay(now, session, tag, payload, lane, to_all) {
                    Ok(Relayed { delivered, unfit }) => {
                        self.metrics.delivered(message, payload.len(), delivered);
                        if unfit > 0 {
                            self.metrics.unfit.inc_by(unfit);
                        }
                    }
                    Err(Busy(max)) => self.dropped(session, protocol.undelivered(now, tag, max)),
                }
            }
            Incoming::Push { message, tag, .. } => {
                let name = self.schema.messages().get(message).map_or("", |info| &info.full_name);
                self.dropped(session, protocol.unhandled(now, tag, name));
            }
            Incoming::Request { key, tag, body } => self.request(session, key, tag, body),
            Incoming::Answered(response) => session.send(&response),
            Incoming::Ping(ping) => session.pong(now, &ping)?,
            Incoming::Leave { code, reason } => {
                return Ok(ControlFlow::Break(Ending::Left { code, reason }));
            }
            Incoming::Dropped(dropped) => self.dropped(session, dropped),
            // Neither comes once the session is open.
            Incoming::Login(_) | Incoming::Offer(_) => return Err(Fault::SecondLogin),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn count(&self, session: &Session, message: usize, bytes: usize) {
        self.metrics.received(message, bytes);
        let name = self.schema.messages().get(message).map_or("", |info| &info.full_name);
        debug!("message {name} of {bytes} bytes from {}", session.player.name);
    }

    fn dropped(&self, session: &Arc<Session>, dropped: Dropped) {
        let Dropped { tag, reason, text, limit, reply } = dropped;
        self.metrics.dropped(reason.as_str_name());
        if let Some(limit) = limit {
            self.metrics.limited(limit.name());
        }
        debug!("message with tag {tag} from {} dropped: {text}", session.player.name);
        match reply {
            Some(Reply::Notice(notice)) => session.send(&notice),
            Some(Reply::Response(response)) => session.send(&response),
            None => {}
        }
    }

    fn request(&self, session: &Arc<Session>, key: u64, tag: Tag, body: Bytes) {
        let response = |status: status::Value, body: Bytes, message: String| v1::Response {
            key,
            tag: u32::from(tag.0),
            status: status.into(),
            body,
            message,
            ..v1::Response::default()
        };
        let refused = |status, message: String| session.send(&response(status, Bytes::new(), message));
        if tag != v1::JoinRoom::TAG {
            let name = self.schema.get(tag).map_or("", |(_, info)| &info.full_name);
            debug!("request with tag {tag} from {}: nothing answers it", session.player.name);
            return refused(status::Value::Unknown, format!("no service here answers tag {tag} {name}"));
        }
        let v1::JoinRoom { room } = match v1::JoinRoom::decode(body) {
            Ok(join) => join,
            Err(error) => return refused(status::Value::Invalid, error.to_string()),
        };
        let granted = |room: &str| {
            let reply = v1::JoinRoomReply { room: room.to_string() }.encode_to_vec();
            session.send(&response(status::Value::Ok, reply.into(), String::new()));
        };
        match self.rooms.enter(session, &room, granted) {
            Ok(()) => debug!("{} entered room {room:?}", session.player.name),
            Err(error @ RoomError::Name(_)) => refused(status::Value::Invalid, error.to_string()),
            Err(error) => {
                debug!("{} did not enter room {room:?}: {error}", session.player.name);
                refused(status::Value::Unavailable, error.to_string());
            }
        }
    }
}
