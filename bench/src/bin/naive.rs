//! The server that a game developer writes first with tokio: two tasks a client, `Framed`, prost, a channel for what goes out, and a
//! flush for every message. It decodes what comes, and encodes it again for each receiver. Its wire is `dialect/plain.rs`.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use futures_util::stream::SplitSink;
use futures_util::{SinkExt as _, StreamExt as _};
use prost::Message as _;
use tagwire_bench::dialect::plain;
use tagwire_bench::schema::bench::v1::{AskReply, AskRequest, Cast, Echo, Latest, Step};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};
use tokio_util::bytes::{Buf as _, BufMut as _, BytesMut};
use tokio_util::codec::{Decoder, Encoder, Framed};

/// What may wait for a client; then those who send to it wait.
const QUEUE: usize = 1024;

/// Connections that wait to be accepted; with tokio's own 1024 a storm of them waits for TCP to try again, by the second.
const BACKLOG: u32 = 4096;

/// Relays messages in rooms, as one would write it first.
#[derive(Parser)]
struct Arguments {
    /// To listen on, of 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// 1: tokio's current-thread runtime; more: its multi-thread one, with so many workers.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Pings each client so often; not given: never.
    #[arg(long)]
    ping_ms: Option<u64>,
}

#[derive(Debug, Clone)]
enum Message {
    Enter(String),
    Ping(u64),
    Echo(Echo),
    Cast(Cast),
    Step(Step),
    Latest(Latest),
    Ask(AskRequest),
    Reply(AskReply),
}

struct Codec;

impl Decoder for Codec {
    type Item = Message;
    type Error = anyhow::Error;

    fn decode(&mut self, input: &mut BytesMut) -> anyhow::Result<Option<Message>> {
        let Some((tag, payload, bytes)) = plain::next(input) else { return Ok(None) };
        let message = match tag {
            1 => Message::Enter(String::from_utf8(payload.to_vec()).context("the name of a room")?),
            2 => Message::Echo(Echo::decode(payload)?),
            3 => Message::Ping(u64::from_be_bytes(payload.try_into().context("a ping has 8 bytes")?)),
            4 => Message::Cast(Cast::decode(payload)?),
            5 => Message::Step(Step::decode(payload)?),
            7 => Message::Latest(Latest::decode(payload)?),
            8 => Message::Ask(AskRequest::decode(payload)?),
            _ => bail!("a frame with the tag {tag}"),
        };
        input.advance(bytes);
        Ok(Some(message))
    }
}

impl Encoder<Message> for Codec {
    type Error = anyhow::Error;

    fn encode(&mut self, message: Message, out: &mut BytesMut) -> anyhow::Result<()> {
        let (tag, payload) = match message {
            Message::Enter(room) => (1, room.into_bytes()),
            Message::Echo(echo) => (2, echo.encode_to_vec()),
            Message::Ping(number) => (3, number.to_be_bytes().to_vec()),
            Message::Cast(cast) => (4, cast.encode_to_vec()),
            Message::Step(step) => (5, step.encode_to_vec()),
            Message::Latest(latest) => (7, latest.encode_to_vec()),
            Message::Ask(ask) => (8, ask.encode_to_vec()),
            Message::Reply(reply) => (8, reply.encode_to_vec()),
        };
        match u8::try_from(payload.len()) {
            Ok(length) => out.put_slice(&[length, tag]),
            Err(_) => {
                out.put_slice(&[0xff, 0, 0, tag]);
                out.put_u32(payload.len() as u32);
            }
        }
        out.put_slice(&payload);
        Ok(())
    }
}

type Members = HashMap<SocketAddr, mpsc::Sender<Message>>;

#[derive(Default)]
struct Rooms(Mutex<HashMap<String, Members>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Members>> {
        self.0.lock().expect("nobody panics while holding the rooms")
    }

    /// The client is told before anybody can send to it.
    fn enter(&self, room: &str, address: SocketAddr, tx: mpsc::Sender<Message>) -> anyhow::Result<()> {
        let mut rooms = self.lock();
        tx.try_send(Message::Enter(room.to_owned()))?;
        rooms.entry(room.to_owned()).or_default().insert(address, tx);
        Ok(())
    }

    fn leave(&self, room: &str, address: SocketAddr) {
        let mut rooms = self.lock();
        if let Some(members) = rooms.get_mut(room) {
            members.remove(&address);
            if members.is_empty() {
                rooms.remove(room);
            }
        }
    }

    async fn send(&self, room: &str, without: Option<SocketAddr>, message: Message) {
        // The lock is std's: it may not be held while one waits.
        let receivers: Vec<_> = match self.lock().get(room) {
            Some(members) => members
                .iter()
                .filter(|(address, _)| Some(**address) != without)
                .map(|(_, tx)| tx.clone())
                .collect(),
            None => return,
        };
        for tx in receivers {
            // Who is gone is removed by its own task.
            let _ = tx.send(message.clone()).await;
        }
    }
}

async fn write(
    mut sink: SplitSink<Framed<TcpStream, Codec>, Message>,
    mut rx: mpsc::Receiver<Message>,
) -> anyhow::Result<()> {
    while let Some(message) = rx.recv().await {
        sink.send(message).await?;
    }
    Ok(())
}

async fn ping(every: Duration, tx: mpsc::Sender<Message>) {
    let mut interval = interval_at(Instant::now() + every, every);
    for number in 0.. {
        interval.tick().await;
        if tx.send(Message::Ping(number)).await.is_err() {
            return;
        }
    }
}

async fn client(
    stream: TcpStream,
    address: SocketAddr,
    rooms: Arc<Rooms>,
    ping_every: Option<Duration>,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let (sink, mut messages) = Framed::new(stream, Codec).split();
    let Some(first) = messages.next().await.transpose()? else { return Ok(()) };
    let Message::Enter(room) = first else { bail!("{first:?} came before a room") };
    let (tx, rx) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(write(sink, rx));
    rooms.enter(&room, address, tx.clone())?;
    let pinger = ping_every.map(|every| tokio::spawn(ping(every, tx.clone())));
    let done = async {
        while let Some(message) = messages.next().await.transpose()? {
            match message {
                Message::Echo(_) => rooms.send(&room, None, message).await,
                Message::Cast(_) | Message::Step(_) | Message::Latest(_) => {
                    rooms.send(&room, Some(address), message).await;
                }
                Message::Ask(AskRequest { sent_ns, number, kind, padding }) => {
                    tx.send(Message::Reply(AskReply { sent_ns, number, kind, padding })).await?;
                }
                Message::Ping(_) => {}
                Message::Enter(_) | Message::Reply(_) => bail!("a client said {message:?}"),
            }
        }
        anyhow::Ok(())
    }
    .await;
    rooms.leave(&room, address);
    if let Some(pinger) = pinger {
        pinger.abort();
    }
    drop(tx);
    done.and(writer.await?)
}

async fn serve(arguments: Arguments) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, arguments.port).into())?;
    let listener = socket.listen(BACKLOG)?;
    let rooms = Arc::new(Rooms::default());
    let ping_every = arguments.ping_ms.map(Duration::from_millis);
    loop {
        let (stream, address) = listener.accept().await?;
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            if let Err(error) = client(stream, address, rooms, ping_every).await {
                eprintln!("{address}: {error:#}");
            }
        });
    }
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
