//! What is counted, from the first day in one registry; readable as text or as a snapshot.

use std::collections::BTreeMap;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tagwire::{CloseCode, Schema};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Message {
    message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: String,
}

/// The counters of one server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Sockets that are open now.
    pub(crate) connections: Gauge,
    /// Sockets accepted.
    pub(crate) accepted: Counter,
    /// Sessions that are open now.
    pub(crate) sessions: Gauge,
    /// Rooms that exist now.
    pub(crate) rooms: Gauge,
    /// Bytes that wait for sockets, as of the last turn of the timer wheel.
    pub(crate) outbox_bytes: Gauge,
    /// Logins admitted.
    pub(crate) granted: Counter,
    /// Bytes read from sockets.
    pub(crate) bytes_received: Counter,
    /// Bytes written to sockets.
    pub(crate) bytes_sent: Counter,
    /// Frames appended for one receiver of a relayed message.
    pub(crate) deliveries: Counter,
    /// Relayed messages left out because the receiver's dialect cannot carry them.
    pub(crate) unfit: Counter,
    /// LATEST messages replaced by a newer one while they waited for a full socket.
    pub(crate) conflated: Counter,
    /// UNRELIABLE messages dropped before a full socket.
    pub(crate) shed: Counter,
    /// By place in the schema, so that counting a message costs no look-up.
    received: Vec<Counter>,
    denied: Family<Reason, Counter>,
    dropped: Family<Reason, Counter>,
    disconnects: Family<Code, Counter>,
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
        let by_message: Family<Message, Counter> =
            register!("messages_received", "Messages of the schema taken from clients", Family::default());
        let received = schema
            .messages()
            .iter()
            .map(|m| by_message.get_or_create_owned(&Message { message: m.full_name.to_string() }))
            .collect();
        Metrics {
            connections: register!("connections", "Sockets open now", Gauge::default()),
            accepted: register!("connections_accepted", "Sockets accepted", Counter::default()),
            sessions: register!("sessions", "Sessions open now", Gauge::default()),
            rooms: register!("rooms", "Rooms that exist now", Gauge::default()),
            outbox_bytes: register!("outbox_bytes", "Bytes waiting for sockets", Gauge::default()),
            granted: register!("logins_granted", "Logins admitted", Counter::default()),
            bytes_received: register!("bytes_received", "Bytes read from sockets", Counter::default()),
            bytes_sent: register!("bytes_sent", "Bytes written to sockets", Counter::default()),
            deliveries: register!(
                "messages_delivered",
                "Frames queued for receivers of relayed messages",
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
            received,
            registry,
        }
    }

    pub(crate) fn message(&self, index: usize) {
        if let Some(counter) = self.received.get(index) {
            counter.inc();
        }
    }

    pub(crate) fn denied(&self, reason: &str) {
        self.denied.get_or_create(&Reason { reason: reason.to_string() }).inc();
    }

    pub(crate) fn dropped(&self, reason: &str) {
        self.dropped.get_or_create(&Reason { reason: reason.to_string() }).inc();
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
}
