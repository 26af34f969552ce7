//! The same game as a gRPC service of tonic: a stream both ways for what is played, and a method for what is asked.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clap::Parser;
use tagwire_bench::schema::bench::v1::{AskReply, AskRequest, Cast, Echo, Latest, Step};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bench.v1.Game.rs"));
}

use generated::game_server::{Game, GameServer};

/// What may wait for a client; then those who send to it wait.
const QUEUE: usize = 1024;
/// What a client may send before the server has read it.
const WINDOW_BYTES: u32 = 16 << 20;
/// Connections that wait to be accepted; tonic's own 128 would have a storm of them wait for TCP to try again.
const BACKLOG: u32 = 4096;

/// Relays messages in rooms, over gRPC.
#[derive(Parser)]
struct Arguments {
    /// To listen on, of 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// 1: tokio's current-thread runtime; more: its multi-thread one, with so many workers.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Pings a client of which nothing came for so long; not given: never.
    #[arg(long)]
    ping_ms: Option<u64>,
}

/// What a stream carries, both ways.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Play {
    #[prost(oneof = "Said", tags = "2, 4, 5, 7")]
    said: Option<Said>,
}

/// Who hears it is in the kind, as in `dialect/plain.rs`.
#[derive(Clone, PartialEq, prost::Oneof)]
enum Said {
    #[prost(message, tag = "2")]
    Echo(Echo),
    #[prost(message, tag = "4")]
    Cast(Cast),
    #[prost(message, tag = "5")]
    Step(Step),
    #[prost(message, tag = "7")]
    Latest(Latest),
}

type Sender = mpsc::Sender<Result<Play, Status>>;

#[derive(Default)]
struct Room(Mutex<Vec<(u64, Sender)>>);

impl Room {
    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Sender)>> {
        self.0.lock().expect("nobody panics while holding a room")
    }

    async fn send(&self, without: Option<u64>, play: Play) {
        let mut full = Vec::new();
        for (id, tx) in self.lock().iter() {
            if Some(*id) != without
                && let Err(TrySendError::Full(play)) = tx.try_send(Ok(play.clone()))
            {
                full.push((tx.clone(), play));
            }
        }
        for (tx, play) in full {
            // Who is gone is removed by its own task.
            let _ = tx.send(play).await;
        }
    }
}

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Arc<Room>>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Room>>> {
        self.0.lock().expect("nobody panics while holding the rooms")
    }

    fn enter(&self, name: &str, id: u64, tx: Sender) -> Arc<Room> {
        let mut rooms = self.lock();
        let room = Arc::clone(rooms.entry(name.to_owned()).or_default());
        room.lock().push((id, tx));
        room
    }

    fn leave(&self, name: &str, id: u64) {
        let mut rooms = self.lock();
        let Some(room) = rooms.get(name) else { return };
        let mut members = room.lock();
        members.retain(|(member, _)| *member != id);
        let empty = members.is_empty();
        drop(members);
        if empty {
            rooms.remove(name);
        }
    }
}

#[derive(Default)]
struct Shared {
    rooms: Arc<Rooms>,
    next_id: AtomicU64,
}

#[tonic::async_trait]
impl Game for Shared {
    type PlayStream = ReceiverStream<Result<Play, Status>>;

    async fn play(&self, request: Request<Streaming<Play>>) -> Result<Response<Self::PlayStream>, Status> {
        let name = request
            .metadata()
            .get("room")
            .and_then(|room| room.to_str().ok())
            .ok_or_else(|| Status::invalid_argument("no room in the metadata"))?
            .to_owned();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = mpsc::channel(QUEUE);
        let room = self.rooms.enter(&name, id, tx);
        let rooms = Arc::clone(&self.rooms);
        tokio::spawn(async move {
            let mut plays = request.into_inner();
            // An error is a client that is gone.
            while let Ok(Some(play)) = plays.message().await {
                match play.said {
                    Some(Said::Echo(_)) => room.send(None, play).await,
                    Some(Said::Cast(_) | Said::Step(_) | Said::Latest(_)) => room.send(Some(id), play).await,
                    // A kind of another version.
                    None => {}
                }
            }
            rooms.leave(&name, id);
        });
        Ok(Response::new(ReceiverStream::new(rx)))
    }

    async fn ask(&self, request: Request<AskRequest>) -> Result<Response<AskReply>, Status> {
        let AskRequest { sent_ns, number, kind, padding } = request.into_inner();
        Ok(Response::new(AskReply { sent_ns, number, kind, padding }))
    }
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, arguments.port).into())?;
    let incoming = TcpIncoming::from(socket.listen(BACKLOG)?).with_nodelay(Some(true));
    Server::builder()
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .http2_keepalive_interval(arguments.ping_ms.map(Duration::from_millis))
        .add_service(GameServer::new(Shared::default()))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tagwire_server::raise_descriptor_limit()?;
    let mut builder = match arguments.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        threads => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(threads);
            builder
        }
    };
    builder.enable_all().build()?.block_on(serve(arguments))
}
