//! What is counted, from the first day in one registry; readable as text or as a snapshot.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tagwire::pb::tagwire::v1::{status, verdict};
use tagwire::session::Dialect;
use tagwire::session::fan_out::FanOut;
use tagwire::session::outbox::ResumeError;
use tagwire::session::resume::ResumeRefused;
use tagwire::{CloseCode, Schema};

use crate::rooms::Delivered;
use crate::transport::Kind;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Message {
    message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verdict {
    verdict: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// Ways to answer a request.
const STATUSES: usize = status::Value::Internal as usize + 1;

/// What is counted of each message of the schema.
#[derive(Debug)]
struct MessageCounters {
    received: Counter,
    received_bytes: Counter,
    delivered: Counter,
    delivered_bytes: Counter,
    /// How long the game's code took; of requests.
    answered: Option<Histogram>,
}

/// 0.1 ms to 6.5 s, each bucket four times the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 9))
}

/// Counts the messages of one client in one turn. What came of one message of the schema is added to the counters, which all
/// threads share, when another comes, or when this is dropped.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    metrics: &'a Metrics,
    message: usize,
    received: u64,
    received_bytes: u64,
    delivered: u64,
    delivered_bytes: u64,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(metrics: &'a Metrics) -> Self {
        Tally { metrics, message: 0, received: 0, received_bytes: 0, delivered: 0, delivered_bytes: 0 }
    }

    fn begin(&mut self, message: usize) {
        if message != self.message {
            self.add_up();
            self.message = message;
        }
    }

    /// A message of a client was taken.
    pub(crate) fn received(&mut self, message: usize, bytes: usize) {
        self.begin(message);
        self.received += 1;
        self.received_bytes += bytes as u64;
    }

    /// Messages were handed to members of a room.
    pub(crate) fn delivered(&mut self, fan_out: &FanOut, delivered: &Delivered) {
        let Delivered { native, classic } = *delivered;
        for outgoing in fan_out.messages() {
            let mut receivers = native;
            if Dialect::Classic.fits(outgoing.tag, outgoing.payload_bytes) {
                receivers += classic;
            } else if classic > 0 {
                self.metrics.unfit.inc_by(classic);
            }
            self.begin(outgoing.message);
            self.delivered += receivers;
            self.delivered_bytes += outgoing.payload_bytes as u64 * receivers;
        }
    }

    fn add_up(&mut self) {
        let Some(counters) = self.metrics.messages.get(self.message) else { return };
        if self.received > 0 {
            counters.received.inc_by(take(&mut self.received));
            counters.received_bytes.inc_by(take(&mut self.received_bytes));
        }
        if self.delivered > 0 {
            counters.delivered.inc_by(take(&mut self.delivered));
            counters.delivered_bytes.inc_by(take(&mut self.delivered_bytes));
        }
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.add_up();
    }
}

/// The counters of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sockets that are open now.
    pub(crate) connections: Gauge,
    /// Sockets accepted.
    pub(crate) accepted: Counter,
    /// Connections by what they speak.
    opened: Family<Transport, Counter>,
    /// Sessions that are open now.
    pub(crate) sessions: Gauge,
    /// Those of them that have no connection, and wait for their client to come back.
    pub(crate) sessions_away: Gauge,
    /// Sessions that a client came back to.
    pub(crate) resumed: Counter,
    /// Who asked for the schema and got it.
    pub(crate) schemas_told: Counter,
    /// Rooms that exist now.
    pub(crate) rooms: Gauge,
    /// Rooms that ended because their code panicked.
    pub(crate) rooms_failed: Counter,
    /// How long ticks of rooms took, seconds.
    tick: Histogram,
    /// Ticks that took longer than the time between two.
    ticks_overrun: Counter,
    /// Bytes that wait for sockets, as of the last turn of the wheel.
    pub(crate) outbox_bytes: Gauge,
    /// Tasks, those of rooms among them, as of the last turn of the wheel.
    pub(crate) tasks: Gauge,
    /// Panics, caught or not, where [`Metrics::count_panics`] was called.
    panics: Counter,
    /// Round trips of Pings, seconds.
    pub(crate) rtt: Histogram,
    /// Logins admitted.
    pub(crate) granted: Counter,
    /// Logins that the authenticator judged on a thread of its own.
    pub(crate) judged: Counter,
    /// Logins that wait for that.
    pub(crate) logins_waiting: Gauge,
    /// Bytes read from sockets.
    pub(crate) bytes_received: Counter,
    /// Bytes written to sockets.
    pub(crate) bytes_sent: Counter,
    /// System calls that wrote to sessions' sockets, refused ones too.
    pub(crate) writes: Counter,
    /// Messages left out because the receiver's dialect cannot carry them.
    pub(crate) unfit: Counter,
    /// LATEST messages replaced by a newer one while they waited for a full socket.
    pub(crate) conflated: Counter,
    /// UNRELIABLE messages dropped before a full socket.
    pub(crate) shed: Counter,
    /// By place in the schema, so that counting a message costs no look-up.
    messages: Vec<MessageCounters>,
    denied: Family<Reason, Counter>,
    unresumed: Family<Reason, Counter>,
    dropped: Family<Reason, Counter>,
    disconnects: Family<Code, Counter>,
    limited: Family<Limit, Counter>,
    compared: Family<Verdict, Counter>,
    responses: Family<Status, Counter>,
    /// Those of them that there are, by status: so counting an answer costs no look-up.
    answered: [OnceLock<Counter>; STATUSES],
    web_requests: Family<Status, Counter>,
}

impl Metrics {
    /// All at zero.
    pub(crate) fn new(schema: &Schema) -> Self {
        let mut registry = Registry::with_prefix("tagwire");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        type ByMessage = Family<Message, Counter>;
        let received: ByMessage =
            register!("messages_received", "Messages of the schema taken from clients", Family::default());
        let received_bytes: ByMessage =
            register!("message_bytes_received", "Payload bytes of those", Family::default());
        let delivered: ByMessage =
            register!("messages_delivered", "Relayed messages, once for each receiver", Family::default());
        let delivered_bytes: ByMessage =
            register!("message_bytes_delivered", "Payload bytes of those", Family::default());
        let answered: Family<Message, Histogram, fn() -> Histogram> = register!(
            "request_seconds",
            "How long the game's code took to answer",
            Family::new_with_constructor(seconds as fn() -> Histogram)
        );
        let counters = |name: &str, request: bool| {
            let of = |family: &ByMessage| family.get_or_create_owned(&Message { message: name.to_string() });
            MessageCounters {
                received: of(&received),
                received_bytes: of(&received_bytes),
                delivered: of(&delivered),
                delivered_bytes: of(&delivered_bytes),
                answered: request
                    .then(|| answered.get_or_create_owned(&Message { message: name.to_string() })),
            }
        };
        let messages = schema.messages().iter().map(|m| counters(&m.full_name, m.request)).collect();
        Metrics {
            connections: register!("connections", "Sockets open now", Gauge::default()),
            accepted: register!("connections_accepted", "Sockets accepted", Counter::default()),
            opened: register!("connections_opened", "Connections by what they speak", Family::default()),
            sessions: register!("sessions", "Sessions open now", Gauge::default()),
            sessions_away: register!(
                "sessions_away",
                "Sessions without a connection, whose client may come back",
                Gauge::default()
            ),
            resumed: register!("sessions_resumed", "Sessions that a client came back to", Counter::default()),
            unresumed: register!(
                "resumes_refused",
                "Sessions that a client did not get back",
                Family::default()
            ),
            schemas_told: register!(
                "schemas_told",
                "Connections that asked for the schema and were told",
                Counter::default()
            ),
            rooms: register!("rooms", "Rooms that exist now", Gauge::default()),
            rooms_failed: register!("rooms_failed", "Rooms whose code panicked", Counter::default()),
            tick: register!("tick_seconds", "How long ticks of rooms took", seconds()),
            ticks_overrun: register!(
                "ticks_overrun",
                "Ticks that took longer than the time between two",
                Counter::default()
            ),
            outbox_bytes: register!("outbox_bytes", "Bytes waiting for sockets", Gauge::default()),
            tasks: register!("tasks", "Tasks, those of rooms among them", Gauge::default()),
            panics: register!("panics", "Panics of the server's code", Counter::default()),
            rtt: register!(
                "rtt_seconds",
                "Round trips of Pings",
                // 0.5 ms to 8 s, each bucket twice the one before.
                Histogram::new(exponential_buckets(0.0005, 2.0, 15))
            ),
            granted: register!("logins_granted", "Logins admitted", Counter::default()),
            logins_waiting: register!("logins_waiting", "Logins that wait to be judged", Gauge::default()),
            judged: register!(
                "logins_judged",
                "Logins judged on a thread of their own, since it takes long",
                Counter::default()
            ),
            bytes_received: register!("bytes_received", "Bytes read from sockets", Counter::default()),
            bytes_sent: register!("bytes_sent", "Bytes written to sockets", Counter::default()),
            writes: register!(
                "socket_writes",
                "System calls that wrote to sockets of sessions",
                Counter::default()
            ),
            unfit: register!(
                "messages_unfit",
                "Relayed messages that a receiver's dialect cannot carry",
                Counter::default()
            ),
            conflated: register!(
                "messages_conflated",
                "LATEST messages replaced while they waited",
                Counter::default()
            ),
            shed: register!(
                "messages_shed",
                "UNRELIABLE messages dropped at full sockets",
                Counter::default()
            ),
            denied: register!("logins_denied", "Logins refused", Family::default()),
            dropped: register!("messages_dropped", "Messages of clients not taken", Family::default()),
            disconnects: register!("disconnects", "Ended sessions by close code", Family::default()),
            limited: register!(
                "limits_reached",
                "What was refused for a limit, by its name",
                Family::default()
            ),
            compared: register!("schemas_compared", "Logins by how the schemas compare", Family::default()),
            web_requests: register!(
                "web_requests",
                "Requests by HTTP that became no WebSocket, by the status of the answer",
                Family::default()
            ),
            responses: register!(
                "requests_answered",
                "Requests by how they were answered",
                Family::default()
            ),
            answered: Default::default(),
            messages,
            registry,
        }
    }

    /// The game's code took so long to answer a request.
    pub(crate) fn request(&self, message: usize, took: Duration) {
        if let Some(answered) = self.messages.get(message).and_then(|counters| counters.answered.as_ref()) {
            answered.observe(took.as_secs_f64());
        }
    }

    /// A request was answered so.
    pub(crate) fn answered(&self, status: status::Value) {
        let counter =
            || self.responses.get_or_create_owned(&Status { status: status.as_str_name().to_string() });
        match self.answered.get(status as usize) {
            Some(known) => known.get_or_init(counter).inc(),
            None => counter().inc(),
        };
    }

    /// A browser, or what is like one, was answered so.
    pub(crate) fn web_request(&self, status: u16) {
        self.web_requests.get_or_create(&Status { status: status.to_string() }).inc();
    }

    /// A room's tick took so long; the next is due after that period.
    pub(crate) fn tick(&self, took: Duration, period: Duration) {
        self.tick.observe(took.as_secs_f64());
        if took > period {
            self.ticks_overrun.inc();
        }
    }

    /// Counts every panic of the process from now on, besides what its panic hook does already.
    pub fn count_panics(&self) {
        let (panics, hook) = (self.panics.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            panics.inc();
            hook(info);
        }));
    }

    /// A connection turned out to be of this kind.
    pub(crate) fn opened(&self, kind: Kind) {
        self.opened.get_or_create(&Transport { transport: kind.name().to_string() }).inc();
    }

    pub(crate) fn denied(&self, reason: &str) {
        self.denied.get_or_create(&Reason { reason: reason.to_string() }).inc();
    }

    /// A session was not given back.
    pub(crate) fn not_resumed(&self, refused: &ResumeRefused) {
        let reason = match refused {
            ResumeRefused::Wrong => "wrong token",
            ResumeRefused::Gone => "ended",
            ResumeRefused::Insecure => "no TLS",
            ResumeRefused::Late => "late",
            ResumeRefused::Expired => "expired",
            ResumeRefused::Count(ResumeError::Forgotten { .. }) => "forgotten",
            ResumeRefused::Count(ResumeError::Ahead(_)) => "never sent",
            _ => "other",
        };
        self.unresumed.get_or_create(&Reason { reason: reason.to_string() }).inc();
    }

    pub(crate) fn dropped(&self, reason: &str) {
        self.dropped.get_or_create(&Reason { reason: reason.to_string() }).inc();
    }

    /// Something was refused for the limit of that name.
    pub(crate) fn limited(&self, limit: &str) {
        self.limited.get_or_create(&Limit { limit: limit.to_string() }).inc();
    }

    /// A client came with a schema that compares so.
    pub(crate) fn compared(&self, verdict: verdict::Value) {
        self.compared.get_or_create(&Verdict { verdict: verdict.as_str_name().to_string() }).inc();
    }

    pub(crate) fn disconnect(&self, code: Option<CloseCode>) {
        let code = code.map_or_else(|| "none".to_string(), |code| code.0.to_string());
        self.disconnects.get_or_create(&Code { code }).inc();
    }

    /// The whole registry in the text format of OpenMetrics.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("writing to a String cannot fail");
        out
    }

    /// Every value by name with labels, `tagwire_disconnects_total{code="3000"}`.
    pub fn snapshot(&self) -> BTreeMap<String, f64> {
        let text = self.encode();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_string(), value.parse().ok()?))
            })
            .collect()
    }

    /// Gauges, and counters that are not zero, in one line for a log. Buckets of histograms are left out.
    pub fn line(&self) -> String {
        let counted = |name: &str| ["_total", "_count", "_sum"].iter().any(|part| name.contains(part));
        let shown = |(name, value): &(String, f64)| match () {
            () if name.contains("_bucket{") => false,
            () => *value != 0.0 || !counted(name),
        };
        let values = self.snapshot().into_iter().filter(shown);
        values.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    }
}
