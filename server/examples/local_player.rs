//! The same game for one player and for many: the code of the game and the code of a player do not know whether sockets lie
//! between them.
//!
//! ```text
//! local_player                          one player, and a server within the program: no socket, no port
//! local_player --open 127.0.0.1:7777    the same, and others may come in
//! local_player --join 127.0.0.1:7777    one of the others
//! ```

use std::collections::BTreeMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tagwire::frame::Decoder;
use tagwire::pb::arena::v1::{MouseEvent, Score};
use tagwire::pb::schema;
use tagwire::prost::Message as _;
use tagwire::room::{Context, Player, Relayed, Room};
use tagwire::session::client::{ClientSession, Credentials, Event};
use tagwire::session::outbox::OutboxLimits;
use tagwire::time::Now;
use tagwire::{CloseCode, Message};
use tagwire_server::{Config, Server, bind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

const CLICKS_TO_WIN: i32 = 5;

/// The game: whoever clicks most often.
#[derive(Default)]
struct Clicks(BTreeMap<u32, i32>);

impl Room for Clicks {
    type Message = ();
    type Services = ();

    fn message(&mut self, _: &mut Context<'_>, _: &Player, (): ()) {}

    fn relay(&mut self, cx: &mut Context<'_>, player: &Player, message: Relayed<'_>) -> bool {
        if message.decode::<MouseEvent>().is_some_and(|mouse| mouse.left_click) {
            let points = self.0.entry(player.id).or_default();
            *points += 1;
            cx.send_all(&Score { player: player.id, points: *points });
        }
        // The points say all of it.
        false
    }
}

/// A player, by whatever way: clicks until it has won.
async fn play(mut stream: impl AsyncRead + AsyncWrite + Unpin, name: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let now = || Now {
        monotonic_us: start.elapsed().as_micros() as u64,
        unix_us: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64),
    };
    let credentials =
        Credentials { username: name.to_string(), password: "welcome".to_string(), ..Credentials::default() };
    let mut session = ClientSession::new(Arc::new(schema()), credentials, OutboxLimits::default());
    let (mut decoder, mut buffer, mut me) = (Decoder::default(), vec![0; 64 * 1024], 0);
    session.connect(now());
    loop {
        while !session.unwritten().is_empty() {
            let written = stream.write(session.unwritten()).await?;
            session.wrote(written);
        }
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err("the server has gone".into());
        }
        let mut input = &buffer[..count];
        while let Some(frame) = decoder.next(&mut input)? {
            match session.handle_frame(now(), frame)? {
                Event::Welcome(welcome) => {
                    me = welcome.player_id;
                    session.send(&MouseEvent { left_click: true, ..MouseEvent::default() })?;
                }
                Event::Message { tag: Score::TAG, payload, .. } => {
                    let Score { player, points } = Score::decode(payload)?;
                    println!("{name} sees: player {player} has {points}");
                    if player == me && points == CLICKS_TO_WIN {
                        session.close(CloseCode::NORMAL, "won");
                        stream.write_all(session.unwritten()).await?;
                        println!("{name} has won");
                        return Ok(());
                    }
                    if player == me {
                        session.send(&MouseEvent { left_click: true, ..MouseEvent::default() })?;
                    }
                }
                Event::Disconnect { code, reason, .. } => return Err(format!("{code}: {reason}").into()),
                _ => {}
            }
        }
    }
}

/// A server within the program, and a player on it without a socket. `open`: where others may come in.
async fn host(open: Option<&str>) -> Result<(), Box<dyn Error>> {
    let server = Server::new(Config::default(), schema()).rooms(|_| Clicks::default());
    let connector = server.connector();
    let mut listeners = vec![];
    if let Some(address) = open {
        let listener = bind(address.parse()?)?;
        println!("open on {}", listener.local_addr()?);
        listeners.push(listener);
    }
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(server.serve(listeners, async { drop(stopped.await) }));
    play(connector.connect().await?, "local").await?;
    if open.is_some() {
        println!("others play on until Ctrl-C");
        tokio::signal::ctrl_c().await?;
    }
    drop(stop);
    Ok(serving.await??)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        [] => host(None).await,
        ["--open", address] => host(Some(address)).await,
        ["--join", address] => match TcpStream::connect(address).await {
            Ok(stream) => play(stream, "remote").await,
            Err(error) => Err(format!("{address}: {error}").into()),
        },
        _ => {
            eprintln!("usage: local_player [--open ADDRESS | --join ADDRESS]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
