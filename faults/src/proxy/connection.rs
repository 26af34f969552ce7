//! One connection through the proxy, from its beginning to its end.

use std::sync::Arc;

use fastrand::Rng;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep, sleep_until, timeout};

use super::Shared;
use super::faults::{Close, How};
use super::pump::{Budget, Pump, Stopped};
use crate::ends::{Direction, Side};

/// How long the proxy waits for the ends to close what it has closed by FIN. Closing at once with bytes unread would
/// send RST instead.
const MAX_FIN_MS: u64 = 1_000;

/// How long the server may take to be connected to.
const MAX_CONNECT_MS: u64 = 10_000;

/// How long one direction may go on after the other failed: for what it has read before the sender was gone.
const MAX_FLUSH_MS: u64 = 1_000;

/// How a connection's forwarding ended.
enum Over {
    /// By its own ends.
    Ended,
    /// A socket failed.
    Failed,
    /// Cut; nobody said how: by its draws.
    Cut(Option<How>),
}

/// Counts what it is for as long as it lives; also when its task is aborted.
struct Gauge<'a> {
    shared: &'a Shared,
    of: fn(&mut super::Counters) -> &mut u64,
}

impl<'a> Gauge<'a> {
    fn new(shared: &'a Shared, of: fn(&mut super::Counters) -> &mut u64) -> Self {
        shared.count(|counters| *of(counters) += 1);
        Gauge { shared, of }
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.shared.count(|counters| *(self.of)(counters) -= 1);
    }
}

/// Makes dropping the socket send RST.
pub(super) fn reset(socket: &TcpStream) {
    // Without it the end is told by FIN; nothing else can be done.
    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
}

/// Carries one connection. `number`: in the order of arrival, from 0.
pub(super) async fn run(mut client: TcpStream, number: u64, shared: Arc<Shared>) {
    // Subscribed before anybody can see it counted: what is called from then on reaches it.
    let mut cuts = shared.cuts.subscribe();
    let faults = shared.faults.subscribe();
    shared.count(|counters| counters.connections += 1);
    let open = Gauge::new(&shared, |counters| &mut counters.open);
    // Aborted at any point, it ends with RST; who shall see FIN is told so below.
    reset(&client);
    // A cut that is called meanwhile comes right after: half-open is something only with two ends.
    let connecting = timeout(Duration::from_millis(MAX_CONNECT_MS), TcpStream::connect(shared.upstream));
    let Ok(Ok(mut server)) = connecting.await else {
        shared.count(|counters| counters.unreachable += 1);
        return;
    };
    reset(&server);
    for socket in [&client, &server] {
        // Else splits would be joined; where it fails, they are.
        let _ = socket.set_nodelay(true);
    }

    // A golden ratio apart: neighbouring seeds and numbers do not share draws.
    let mut rng = Rng::with_seed(shared.seed ^ number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let budget = Budget::new(rng.fork(), Arc::clone(&shared.faults.borrow()));
    let over = {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let mut pump = |direction, from, to| {
            let rng = rng.fork();
            Pump { direction, from, to, rng, faults: faults.clone(), budget: &budget, shared: &shared }.run()
        };
        let to_server = pump(Direction::ToServer, client_reads, server_writes);
        let to_client = pump(Direction::ToClient, server_reads, client_writes);
        tokio::pin!(to_server, to_client);
        let (mut server_over, mut client_over) = (false, false);
        let mut failed = None;
        loop {
            let stopped = tokio::select! {
                stopped = &mut to_server, if !server_over => { server_over = true; stopped }
                stopped = &mut to_client, if !client_over => { client_over = true; stopped }
                () = sleep_until(failed.unwrap_or_else(Instant::now)), if failed.is_some() => break Over::Failed,
                changed = cuts.changed() => break match changed {
                    Ok(()) => Over::Cut(cuts.borrow().1),
                    Err(_) => Over::Failed,
                },
            };
            match stopped {
                Stopped::AtCut => break Over::Cut(None),
                Stopped::Failed => {
                    failed = failed.or(Some(Instant::now() + Duration::from_millis(MAX_FLUSH_MS)));
                }
                Stopped::Ended => {}
            }
            if server_over && client_over {
                break if failed.is_some() { Over::Failed } else { Over::Ended };
            }
        }
    };
    match over {
        Over::Ended => {
            shared.count(|counters| counters.ended += 1);
            fin(&mut client, &mut server).await;
        }
        // One end is gone, by RST mostly: the other learns of it the same way.
        Over::Failed => shared.count(|counters| counters.ended += 1),
        Over::Cut(how) => {
            let faults = Arc::clone(&faults.borrow());
            let how = how.unwrap_or_else(|| faults.how(&mut rng));
            shared.count(|counters| counters.cuts.count(how));
            let half_open = !how.cut.tells(Side::Client) || !how.cut.tells(Side::Server);
            let held = half_open.then(|| Gauge::new(&shared, |counters| &mut counters.half_open));
            drop(open);
            let hold = Duration::from_millis(faults.half_open_ms);
            let ends = [(Side::Client, client), (Side::Server, server)];
            let [one, other] = ends.map(|(side, socket)| end(socket, how.cut.tells(side), how.close, hold));
            // The end that was told may take longer to close than the other is held.
            let holding = async {
                if let Some(held) = held {
                    sleep(hold).await;
                    drop(held);
                }
            };
            tokio::join!(one, other, holding);
        }
    }
}

/// Ends one socket after a cut.
async fn end(mut socket: TcpStream, told: bool, close: Close, hold: Duration) {
    match close {
        // Neither read nor written: what comes fills the kernel's buffers, and then the sender's.
        _ if !told => sleep(hold).await,
        Close::Reset => {}
        Close::Fin => close_by_fin(&mut socket).await,
    }
}

async fn fin(client: &mut TcpStream, server: &mut TcpStream) {
    tokio::join!(close_by_fin(client), close_by_fin(server));
}

/// Sends FIN and reads on until the other end closes, too, within limits.
async fn close_by_fin(socket: &mut TcpStream) {
    let closing = async {
        let _ = socket.shutdown().await;
        let mut buffer = [0; 1024];
        while let Ok(1..) = socket.read(&mut buffer).await {}
    };
    if timeout(Duration::from_millis(MAX_FIN_MS), closing).await.is_ok() {
        // It is closed on both sides: nothing is left that RST would be for.
        let _ = SockRef::from(&*socket).set_linger(None);
    }
}
