//! The proxy, between real sockets on the loopback.
#![cfg(feature = "proxy")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tagwire_faults::ends::{Cut, Direction, Side};
use tagwire_faults::proxy::{Close, Counters, CutAfter, Faults, HalfOpen, How, Pause, Proxy, Stalling};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// Long enough for a slow machine, short enough to be a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// As long as nothing has to happen.
const QUIET: Duration = Duration::from_millis(100);

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A server's listener, and a proxy before it.
async fn start(faults: Faults) -> (TcpListener, Proxy) {
    let server = TcpListener::bind(LOCAL).await.unwrap();
    let proxy = Proxy::start(LOCAL, server.local_addr().unwrap(), faults, 7).await.unwrap();
    (server, proxy)
}

/// Both ends of one more connection.
async fn connect(server: &TcpListener, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (accepted, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    (client, accepted)
}

fn text(size: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(size as u64);
    std::iter::repeat_with(|| rng.u8(..)).take(size).collect()
}

/// All until the end, and how that came.
async fn read_to_end(socket: &mut TcpStream) -> (Vec<u8>, Option<ErrorKind>) {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 65_536]);
    loop {
        match timeout(PATIENCE, socket.read(&mut buffer)).await.expect("it never ends") {
            Ok(0) => return (all, None),
            Ok(size) => all.extend_from_slice(&buffer[..size]),
            Err(error) => return (all, Some(error.kind())),
        }
    }
}

async fn reads_nothing(socket: &mut TcpStream) -> bool {
    timeout(QUIET, socket.read(&mut [0])).await.is_err()
}

async fn wait_for(proxy: &Proxy, what: impl Fn(&Counters) -> bool) {
    let start = Instant::now();
    while !what(&proxy.counters()) {
        assert!(start.elapsed() < PATIENCE, "{:?}", proxy.counters());
        sleep(Duration::from_millis(2)).await;
    }
}

fn cut_after(direction: Direction, bytes: u64) -> Faults {
    Faults { cut: Some(CutAfter { direction: Some(direction), bytes: bytes..=bytes }), ..Faults::none() }
}

#[tokio::test]
async fn bytes_are_intact_under_delays_splits_and_stalls_in_both_directions() {
    let faults = Faults {
        delay_ms: 0..=5,
        split: Some(50),
        stall: Some(Stalling { percent: 20, for_ms: 10 }),
        ..Faults::none()
    };
    let (server, proxy) = start(faults).await;
    let (client, accepted) = connect(&server, &proxy).await;
    let sent = text(200_000);
    let talk = |socket: TcpStream| {
        let sent = sent.clone();
        async move {
            let (mut reads, mut writes) = socket.into_split();
            let writing = async {
                writes.write_all(&sent).await.unwrap();
                writes.shutdown().await.unwrap();
            };
            let mut got = Vec::new();
            let (_, read) = tokio::join!(writing, reads.read_to_end(&mut got));
            read.unwrap();
            assert!(got == sent);
        }
    };
    timeout(PATIENCE, async { tokio::join!(talk(client), talk(accepted)) }).await.unwrap();
    wait_for(&proxy, |counters| counters.ended == 1 && counters.open == 0).await;
    let counters = proxy.counters();
    assert_eq!((counters.bytes.to_server, counters.bytes.to_client), (200_000, 200_000));
    assert!(counters.stalls > 0 && counters.cuts.total() == 0, "{counters:?}");
}

#[tokio::test]
async fn a_delay_takes_its_time_and_no_delay_takes_none() {
    for (delay_ms, min_ms, max_ms) in [(30, 30, 5_000), (0, 0, 25)] {
        let faults = Faults { delay_ms: delay_ms..=delay_ms, ..Faults::none() };
        let (server, proxy) = start(faults).await;
        let (mut client, mut accepted) = connect(&server, &proxy).await;
        let mut best = Duration::MAX;
        for _ in 0..10 {
            let start = Instant::now();
            client.write_all(b"x").await.unwrap();
            accepted.read_exact(&mut [0]).await.unwrap();
            best = best.min(start.elapsed());
        }
        assert!((min_ms..max_ms).contains(&best.as_millis()), "{delay_ms}: {best:?}");
    }
}

#[tokio::test]
async fn a_split_shows_as_small_reads() {
    let (server, proxy) = start(Faults { split: Some(1), ..Faults::none() }).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    for _ in 0..10 {
        client.write_all(&text(50)).await.unwrap();
        let (mut reads, mut bytes) = (0, 0);
        while bytes < 50 {
            bytes += accepted.read(&mut [0; 50]).await.unwrap();
            reads += 1;
        }
        assert!(reads >= 3, "{reads}");
    }
}

#[tokio::test]
async fn a_cut_is_exactly_at_its_byte_by_fin_and_by_reset() {
    for direction in Direction::BOTH {
        for bytes in [0, 1, 2, 999, 1_000, 5_000] {
            for (percent, seen) in [(0, None), (100, Some(ErrorKind::ConnectionReset))] {
                let faults =
                    Faults { reset_percent: percent, split: Some(300), ..cut_after(direction, bytes) };
                let (server, proxy) = start(faults).await;
                let (mut client, mut accepted) = connect(&server, &proxy).await;
                let (from, to) = match direction {
                    Direction::ToServer => (&mut client, &mut accepted),
                    Direction::ToClient => (&mut accepted, &mut client),
                };
                // Cut at 0 it may be gone already.
                let _ = from.write_all(&text(5_000)).await;
                let (got, how) = read_to_end(to).await;
                assert_eq!(got.len() as u64, bytes, "{direction:?} {seen:?}");
                assert!(text(5_000).starts_with(&got));
                assert_eq!(how, seen, "{direction:?} at {bytes}");
                let (back, how) = read_to_end(from).await;
                assert_eq!((back.len(), how), (0, seen), "{direction:?} at {bytes}");
                let cuts = proxy.counters().cuts;
                assert_eq!((cuts.closed, cuts.reset), if percent == 0 { (1, 0) } else { (0, 1) });
            }
        }
    }
}

#[tokio::test]
async fn a_cut_counts_both_directions_together_where_none_is_named() {
    let cut = Some(CutAfter { direction: None, bytes: 150..=150 });
    let (server, proxy) = start(Faults { cut, ..Faults::none() }).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    client.write_all(&text(100)).await.unwrap();
    accepted.read_exact(&mut [0; 100]).await.unwrap();
    accepted.write_all(&text(100)).await.unwrap();
    assert_eq!(read_to_end(&mut client).await.0.len(), 50);
    assert_eq!(read_to_end(&mut accepted).await, (vec![], None));
}

#[tokio::test]
async fn the_same_seed_cuts_the_same_connections_at_the_same_bytes() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let cut = Some(CutAfter { direction: Some(Direction::ToServer), bytes: 0..=4_000 });
        let (server, proxy) = start(Faults { cut, reset_percent: 50, ..Faults::none() }).await;
        let mut run = Vec::new();
        for _ in 0..10 {
            let (mut client, mut accepted) = connect(&server, &proxy).await;
            let _ = client.write_all(&text(5_000)).await;
            let (got, how) = read_to_end(&mut accepted).await;
            run.push((got.len(), how));
        }
        runs.push(run);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].iter().any(|(_, how)| how.is_some()) && runs[0].iter().any(|(_, how)| how.is_none()));
    assert!(runs[0].iter().all(|(size, _)| *size != runs[0][0].0) || runs[0][0].0 != runs[0][1].0);
}

#[tokio::test]
async fn who_is_not_told_of_a_cut_hears_nothing_until_the_hold_is_over() {
    for (half_open, blind) in
        [(HalfOpen::Client, [true, false]), (HalfOpen::Server, [false, true]), (HalfOpen::Both, [true, true])]
    {
        for direction in Direction::BOTH {
            let faults =
                Faults { half_open_percent: 100, half_open, half_open_ms: 400, ..cut_after(direction, 10) };
            let (server, proxy) = start(faults).await;
            let (mut client, mut accepted) = connect(&server, &proxy).await;
            let (from, to) = match direction {
                Direction::ToServer => (&mut client, &mut accepted),
                Direction::ToClient => (&mut accepted, &mut client),
            };
            from.write_all(&text(20)).await.unwrap();
            let mut got = [0; 10];
            to.read_exact(&mut got).await.unwrap();
            assert_eq!(got, text(20)[..10]);
            wait_for(&proxy, |counters| counters.half_open == 1 && counters.open == 0).await;
            let mut ends: Vec<_> = [&mut client, &mut accepted].into_iter().zip(blind).collect();
            for (socket, blind) in &mut ends {
                if *blind {
                    assert!(reads_nothing(socket).await, "{half_open:?} {direction:?}");
                    socket.write_all(b"anybody there?").await.unwrap();
                } else {
                    assert_eq!(read_to_end(socket).await, (vec![], None), "{half_open:?} {direction:?}");
                }
            }
            for (socket, _) in ends.iter_mut().filter(|(_, blind)| *blind) {
                let reset = Some(ErrorKind::ConnectionReset);
                assert_eq!(read_to_end(socket).await, (vec![], reset), "{half_open:?} {direction:?}");
            }
            wait_for(&proxy, |counters| counters.half_open == 0).await;
            let cuts = proxy.counters().cuts;
            assert_eq!(
                [cuts.blind_client, cuts.blind_server, cuts.silent],
                match half_open {
                    HalfOpen::Client => [1, 0, 0],
                    HalfOpen::Server => [0, 1, 0],
                    _ => [0, 0, 1],
                }
            );
        }
    }
}

#[tokio::test]
async fn who_is_not_told_can_write_until_the_buffers_are_full() {
    let faults = Faults { half_open_ms: 60_000, ..Faults::none() };
    let (server, proxy) = start(faults).await;
    let (mut client, _accepted) = connect(&server, &proxy).await;
    wait_for(&proxy, |counters| counters.open == 1).await;
    proxy.cut_all(Some(How { cut: Cut::HalfOpen { blind: Side::Client }, close: Close::Fin }));
    wait_for(&proxy, |counters| counters.half_open == 1).await;
    let chunk = vec![0; 65_536];
    let mut written = 0_usize;
    while let Ok(size) = timeout(QUIET, client.write(&chunk)).await {
        written += size.unwrap();
        assert!(written < 100_000_000);
    }
    assert!(written > 10_000, "{written}");
    // Stopping does not wait for what is held.
    timeout(Duration::from_secs(1), proxy.stop()).await.unwrap();
}

#[tokio::test]
async fn cut_all_cuts_200_connections_and_leaves_no_task() {
    let (server, proxy) = start(Faults::none()).await;
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let mut pairs = Vec::new();
    for _ in 0..200 {
        pairs.push(connect(&server, &proxy).await);
    }
    for (client, accepted) in &mut pairs {
        client.write_all(b"ping").await.unwrap();
        accepted.read_exact(&mut [0; 4]).await.unwrap();
    }
    assert_eq!(proxy.counters().open, 200);
    assert_eq!(proxy.cut_all(Some(How { cut: Cut::Both, close: Close::Reset })), 200);
    for (client, accepted) in &mut pairs {
        for socket in [client, accepted] {
            assert_eq!(read_to_end(socket).await, (vec![], Some(ErrorKind::ConnectionReset)));
        }
    }
    wait_for(&proxy, |counters| counters.open == 0).await;
    assert_eq!(proxy.counters().cuts.reset, 200);
    // New ones are not cut by it.
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    client.write_all(b"x").await.unwrap();
    accepted.read_exact(&mut [0]).await.unwrap();
    let address = proxy.address();
    proxy.stop().await;
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks() + 1, before);
    assert_eq!(read_to_end(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_dropped_proxy_takes_its_connections_and_tasks_with_it() {
    let (server, proxy) = start(Faults { delay_ms: 60_000..=60_000, ..Faults::none() }).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    client.write_all(b"late").await.unwrap();
    drop(proxy);
    for socket in [&mut client, &mut accepted] {
        assert_eq!(read_to_end(socket).await, (vec![], Some(ErrorKind::ConnectionReset)));
    }
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
}

#[tokio::test]
async fn settings_change_what_is_connected_already() {
    let (server, proxy) = start(cut_after(Direction::ToServer, 10)).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    client.write_all(&text(9)).await.unwrap();
    accepted.read_exact(&mut [0; 9]).await.unwrap();
    proxy.set(Faults::none());
    client.write_all(&text(100)).await.unwrap();
    accepted.read_exact(&mut [0; 100]).await.unwrap();
    // Counted from now.
    proxy.set(cut_after(Direction::ToServer, 5));
    client.write_all(&text(100)).await.unwrap();
    assert_eq!(read_to_end(&mut accepted).await, (text(100)[..5].to_vec(), None));
    // At 0: nothing needs to be said for it.
    proxy.set(Faults::none());
    let (mut client, _accepted) = connect(&server, &proxy).await;
    wait_for(&proxy, |counters| counters.open == 1).await;
    proxy.set(cut_after(Direction::ToServer, 0));
    assert_eq!(read_to_end(&mut client).await, (vec![], None));
}

#[tokio::test]
async fn a_paused_proxy_refuses_or_lets_wait_and_carries_on_what_it_has() {
    let (server, proxy) = start(Faults::none()).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    proxy.pause(Pause::Refuse);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(read_to_end(&mut refused).await.1, Some(ErrorKind::ConnectionReset));
    proxy.pause(Pause::Stall);
    let mut waits = TcpStream::connect(proxy.address()).await.unwrap();
    waits.write_all(b"hello").await.unwrap();
    assert!(reads_nothing(&mut waits).await);
    client.write_all(b"x").await.unwrap();
    accepted.read_exact(&mut [0]).await.unwrap();
    assert_eq!((proxy.counters().connections, proxy.counters().refused), (1, 1));
    proxy.resume();
    let (mut waited, _) = timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
    let mut got = [0; 5];
    waited.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
}

#[tokio::test]
async fn more_connections_than_allowed_wait_until_one_ends() {
    let (server, proxy) = start(Faults { max_connections: 1, ..Faults::none() }).await;
    let (client, _accepted) = connect(&server, &proxy).await;
    let _second = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(timeout(QUIET, server.accept()).await.is_err());
    drop((client, _accepted));
    timeout(PATIENCE, server.accept()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_reset() {
    let gone = TcpListener::bind(LOCAL).await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(LOCAL, gone, Faults::none(), 1).await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(read_to_end(&mut client).await.1, Some(ErrorKind::ConnectionReset));
    assert_eq!(proxy.counters().unreachable, 1);
}

#[tokio::test]
async fn a_half_close_and_a_reset_go_through_as_they_are() {
    let (server, proxy) = start(Faults::none()).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    client.write_all(b"last").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut accepted).await, (b"last".to_vec(), None));
    accepted.write_all(b"answer").await.unwrap();
    drop(accepted);
    assert_eq!(read_to_end(&mut client).await, (b"answer".to_vec(), None));

    let (client, mut accepted) = connect(&server, &proxy).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(read_to_end(&mut accepted).await, (vec![], Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn what_was_said_before_a_reset_still_arrives_under_a_delay() {
    let (server, proxy) = start(Faults { delay_ms: 100..=100, ..Faults::none() }).await;
    let (mut client, mut accepted) = connect(&server, &proxy).await;
    accepted.write_all(b"answer").await.unwrap();
    // The proxy has it then.
    sleep(Duration::from_millis(30)).await;
    socket2::SockRef::from(&accepted).set_linger(Some(Duration::ZERO)).unwrap();
    drop(accepted);
    client.write_all(b"nobody hears it").await.unwrap();
    assert_eq!(read_to_end(&mut client).await, (b"answer".to_vec(), Some(ErrorKind::ConnectionReset)));
    wait_for(&proxy, |counters| counters.open == 0 && counters.ended == 1).await;
}

#[tokio::test]
async fn who_does_not_read_stops_the_sender() {
    let (server, proxy) = start(Faults { delay_ms: 1..=1, ..Faults::none() }).await;
    let (mut client, _accepted) = connect(&server, &proxy).await;
    let chunk = vec![0; 65_536];
    let mut written = 0_usize;
    while let Ok(size) = timeout(QUIET, client.write(&chunk)).await {
        written += size.unwrap();
        assert!(written < 100_000_000, "the proxy holds it all");
    }
}

#[tokio::test]
async fn an_address_that_is_taken_is_an_error() {
    let (server, proxy) = start(Faults::none()).await;
    let error =
        Proxy::start(proxy.address(), server.local_addr().unwrap(), Faults::none(), 1).await.unwrap_err();
    assert!(error.to_string().contains(&proxy.address().to_string()), "{error}");
}
