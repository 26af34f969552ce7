//! What a message does: every frame of every client inside comes through here.

use std::ops::ControlFlow;
use std::sync::{Arc, PoisonError};

use tagwire::session::Fault;
use tagwire::session::outbox::Lane;
use tagwire::session::server::{Dropped, Incoming, Reply, ServerSession};
use tagwire::time::Now;
use tagwire::{Delivery, Frame, Schema};
use tracing::debug;

use crate::metrics::Metrics;
use crate::requests::{Requests, Step};
use crate::rooms::{Busy, Relayed, Rooms};
use crate::session::{Ending, Session};

#[derive(Debug)]
pub(crate) struct Router {
    pub(crate) schema: Arc<Schema>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) requests: Arc<Requests>,
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
            Incoming::Request { key, tag, body } => {
                self.requests.run(session, vec![Step::Run { key, tag, body }], false);
            }
            Incoming::Batch { requests, stop_on_error } => {
                let steps = requests.into_iter().filter_map(|request| self.step(request)).collect();
                self.requests.run(session, steps, stop_on_error);
            }
            Incoming::Answered(response) => session.send_response(&response),
            Incoming::Repeated => debug!("a request of {} runs already", session.player.name),
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
