//! Hooks: a game's own code sees its messages on their way, changes them, drops them, ends sessions over them.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use common::*;
use tagwire::pb::tagwire::v1::status::Value as Status;
use tagwire::prost::Message as _;
use tagwire::room::{Context, Player as Member, Room, To};
use tagwire::service::Refusal;
use tagwire::{CloseCode, Message};
use tagwire_server::hook::{Hook, Passing, Verdict};

#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod game {
    include!("../../codegen/tests/golden/table.rs");
}

use game::table::v1::{
    CountRequest, DealReply, DealRequest, Dealer, DealerServer, FromClient, Say, Shout, Told,
};

type Log = Arc<Mutex<Vec<String>>>;

/// Does what the text of a message says, and keeps a log. Its name goes before what it changes.
struct Watch {
    name: &'static str,
    log: Log,
}

impl Watch {
    fn judge(&self, what: &str, message: &mut Passing<'_>) -> Verdict {
        let text = match () {
            () if message.tag() == Shout::TAG => message.decode::<Shout>().unwrap().text,
            () if message.tag() == Say::TAG => message.decode::<Say>().unwrap().text,
            () if message.tag() == Told::TAG => message.decode::<Told>().unwrap().text,
            () => format!("tag {}", message.tag()),
        };
        self.log.lock().unwrap().push(format!("{} {what}: {text}", self.name));
        match text.split_once(' ').unwrap_or((&text, "")) {
            (verb, _) if verb == format!("{}-change-{what}", self.name) => {
                message.replace(Shout { text: format!("changed by {}", self.name) }.encode_to_vec());
                Verdict::Pass
            }
            (verb, _) if verb == format!("{}-drop-{what}", self.name) => Verdict::Drop,
            (verb, _) if verb == format!("{}-panic-{what}", self.name) => panic!("the secret of the hook"),
            (verb, reason) if verb == format!("{}-close-{what}", self.name) => {
                Verdict::Close { code: CloseCode(4500), reason: reason.to_string() }
            }
            _ => Verdict::Pass,
        }
    }
}

impl Hook for Watch {
    fn incoming(&self, from: &Member, message: &mut Passing<'_>) -> Verdict {
        assert!(!from.name.is_empty());
        self.judge("in", message)
    }

    fn outgoing(&self, from: Option<u32>, to: &To, message: &mut Passing<'_>) -> Verdict {
        assert_eq!(from.is_some(), message.tag() == Shout::TAG, "{to:?}");
        self.judge("out", message)
    }
}

struct Echo;

impl Room for Echo {
    type Message = FromClient;
    type Services = DealerServer;

    fn message(&mut self, cx: &mut Context<'_>, _: &Member, message: FromClient) {
        if let FromClient::Say(Say { text }) = message {
            cx.send_all(&Told { text });
        }
    }
}

impl Dealer for Echo {
    fn deal(&mut self, _: &mut Context<'_>, _: &Member, request: DealRequest) -> Result<DealReply, Refusal> {
        Ok(DealReply { room: request.what, heard: vec![] })
    }
}

/// Refuses every request and changes every reply.
struct Requests;

impl Hook for Requests {
    fn incoming(&self, _: &Member, message: &mut Passing<'_>) -> Verdict {
        match message.tag() {
            CountRequest::TAG => Verdict::Drop,
            DealRequest::TAG => {
                let asked = message.decode::<DealRequest>().unwrap();
                message.replace(DealRequest { what: format!("{}!", asked.what) }.encode_to_vec());
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    fn outgoing(&self, _: Option<u32>, to: &To, message: &mut Passing<'_>) -> Verdict {
        if message.tag() == DealRequest::TAG {
            assert!(matches!(to, To::One(_)));
            let reply = DealReply::decode(message.payload()).unwrap();
            message.replace(DealReply { room: format!("{}?", reply.room), heard: vec![] }.encode_to_vec());
        }
        Verdict::Pass
    }
}

fn serve(room: &str) -> (TestServer, Log) {
    let log = Log::default();
    let watch = |name| Watch { name, log: Arc::clone(&log) };
    let server = TestServer::with_game(
        game::schema(),
        |config| config.default_room = room.to_string(),
        |server| server.rooms_named("echo", |_| Echo).hook(watch("a")).hook(watch("b")).hook(Requests),
    );
    (server, log)
}

fn login(server: &TestServer, name: &str) -> Player {
    let stream = TcpStream::connect(server.address).unwrap();
    Player::login_with(game::schema(), stream, name, "welcome").unwrap()
}

fn shout(text: &str) -> Shout {
    Shout { text: text.to_string() }
}

#[test]
fn hooks_see_change_and_drop_in_their_order() {
    // In a room with code and in one without it is the same.
    for room in ["echo", "main"] {
        let (server, log) = serve(room);
        let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
        let id = a.id();
        let mut heard = || {
            let (sender, tag, payload) = b.message();
            assert_eq!((sender, tag), (Some(id), Shout::TAG));
            Shout::decode(payload.as_slice()).unwrap().text
        };
        a.send(&shout("plain"));
        assert_eq!(heard(), "plain");
        let seen = ["a in: plain", "b in: plain", "a out: plain", "b out: plain"];
        assert_eq!(std::mem::take(&mut *log.lock().unwrap()), seen, "{room}");
        for (text, hears) in [
            ("a-change-in", Some("changed by a")),
            ("b-change-out", Some("changed by b")),
            ("a-drop-in", None),
            ("b-drop-out", None),
            ("a-panic-in", None),
            ("b-panic-out", None),
            ("last", Some("last")),
        ] {
            a.send(&shout(text));
            if let Some(hears) = hears {
                assert_eq!(heard(), hears, "{room}");
            }
        }
        let log = log.lock().unwrap();
        assert_eq!(
            &log[..4],
            ["a in: a-change-in", "b in: changed by a", "a out: changed by a", "b out: changed by a"]
        );
        assert!(
            log.contains(&"a in: a-drop-in".to_string()) && !log.contains(&"b in: a-drop-in".to_string())
        );
        assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"HOOK\"}"), 4.0);
    }
}

#[test]
fn a_hook_may_end_the_session_of_who_sent_something() {
    for room in ["echo", "main"] {
        for way in ["in", "out"] {
            let (server, _) = serve(room);
            let (mut a, mut b) = (login(&server, "a"), login(&server, "b"));
            a.send(&shout(&format!("b-close-{way} no advertising")));
            let ended = a.ended();
            assert_eq!((ended.code, ended.reason.as_str()), (Some(CloseCode(4500)), "no advertising"));
            login(&server, "c").send(&shout("next"));
            assert_eq!(Shout::decode(b.message().2.as_slice()).unwrap().text, "next", "{room} {way}");
        }
    }
}

#[test]
fn what_a_room_says_and_what_is_asked_pass_them_too() {
    let (server, log) = serve("echo");
    let mut a = login(&server, "a");
    for text in ["a-drop-out", "a-close-out nobody sent it", "heard"] {
        a.send(&Say { text: text.to_string() });
    }
    assert_eq!(Told::decode(a.message().2.as_slice()).unwrap().text, "heard");
    let response = a.request(&DealRequest { what: "hi".to_string() });
    assert_eq!(DealReply::decode(response.body).unwrap().room, "hi!?");
    let response = a.request(&CountRequest {});
    assert_eq!(
        (response.status(), response.message.as_str()),
        (Status::Denied, "the server does not take this")
    );
    assert!(
        log.lock().unwrap().contains(&"b out: tag 400".to_string()),
        "answers by the tag of their request"
    );
    // What is the stack's own they do not see.
    log.lock().unwrap().clear();
    assert_eq!(a.join("elsewhere").status(), Status::Ok);
    assert_eq!(*log.lock().unwrap(), Vec::<String>::new());
}
