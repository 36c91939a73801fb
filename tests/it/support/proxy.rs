//! [`Proxy`]: a TCP connection between walgate and a server, spoiled to order.
//!
//! ```ignore
//! let proxy = Proxy::start(cluster.address());
//! // … walgate connects to proxy.address() …
//! proxy.set(Faults { split: true, ..Faults::default() });   // every byte in a write of its own
//! proxy.cut();                                                 // every connection is reset, now
//! proxy.set(Faults::default());                               // all well again
//! ```

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Listening, Server, listen, loopback, reset};

/// How connections fare. The default lets everything through at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Nobody listens: new connections are refused, open ones are reset.
    pub(crate) refuse: bool,
    /// Nothing flows either way, and nobody is told; new connections are accepted. What was held
    /// back flows on once this ends.
    pub(crate) blackhole: bool,
    /// The server is gone and the client is not told: the server's side is closed, and what the
    /// client sends is thrown away. Connections that fared so stay dead.
    pub(crate) half_open: bool,
    /// Each piece waits so long, in both directions.
    pub(crate) delay: Duration,
    /// Bytes a second in each direction of a connection; 0: no limit.
    pub(crate) bytes_per_second: u64,
    /// Each byte is written by itself.
    pub(crate) split: bool,
    /// A connection is reset once the server has sent it so many bytes; 0: never.
    pub(crate) cut_after: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    faults: Faults,
    /// Rises with each cut.
    cuts: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    from_server: AtomicU64,
    listening: Listening,
}

/// A TCP proxy on the loopback. Dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
    counts: Arc<Counts>,
    _server: Server,
}

impl Proxy {
    /// Starts one in front of `target`.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let (address, listener) = loopback();
        let (orders, ordered) = watch::channel(Orders::default());
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let server = Server::start(move || serve(listener, address, target, ordered, counted));
        counts.listening.wait(true);
        Self { address, orders, counts, _server: server }
    }

    /// Returns where to connect instead of the target.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the faults, for open connections too.
    pub(crate) fn set(&self, faults: Faults) {
        self.orders.send_modify(|orders| orders.faults = faults);
        self.counts.listening.wait(!faults.refuse);
    }

    /// Resets every open connection now; new ones are accepted.
    pub(crate) fn cut(&self) {
        self.orders.send_modify(|orders| orders.cuts += 1);
    }

    /// Returns how many connections were made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the server has sent through so far.
    pub(crate) fn bytes_from_server(&self) -> u64 {
        self.counts.from_server.load(Ordering::Relaxed)
    }
}

async fn serve(
    first: std::net::TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    counts: Arc<Counts>,
) {
    let mut listener = Some(TcpListener::from_std(first).unwrap());
    let passed_on = orders.clone();
    loop {
        let bound = listener.take().unwrap_or_else(|| listen(address).unwrap());
        counts.listening.set(true);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = bound.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    counts.connections.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(join(stream, target, passed_on.clone(), Arc::clone(&counts)));
                }
                Some(_) = connections.join_next() => {}
                _ = orders.wait_for(|orders| orders.faults.refuse) => break,
            }
        }
        drop(bound);
        connections.shutdown().await;
        counts.listening.set(false);
        if orders.wait_for(|orders| !orders.faults.refuse).await.is_err() {
            return;
        }
    }
}

/// Joins a client with the server until both have ended, one breaks, or an order ends it.
async fn join(
    mut client: TcpStream,
    target: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    counts: Arc<Counts>,
) {
    let cuts = orders.borrow_and_update().cuts;
    let Ok(mut server) = TcpStream::connect(target).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watched = orders.clone();
    let ended = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        let up = pump(from_client, to_server, orders.clone(), None);
        let down = pump(from_server, to_client, orders.clone(), Some(&counts.from_server));
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.is_ok(),
            _ = watched.wait_for(|o| o.cuts != cuts || o.faults.half_open) => false,
        }
    };
    if ended {
        return;
    }
    reset(&server);
    drop(server);
    if orders.borrow().faults.half_open && orders.borrow().cuts == cuts {
        let mut thrown_away = vec![0; 64 * 1024];
        while matches!(client.read(&mut thrown_away).await, Ok(1..)) {}
    }
    reset(&client);
}

/// Carries one direction; its end is passed on.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut orders: watch::Receiver<Orders>,
    counter: Option<&AtomicU64>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut carried = 0;
    loop {
        let _ = orders.wait_for(|orders| !orders.faults.blackhole).await;
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            changed = orders.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            },
        };
        let _ = orders.wait_for(|orders| !orders.faults.blackhole).await;
        if read == 0 {
            return to.shutdown().await;
        }
        let faults = orders.borrow().faults;
        tokio::time::sleep(faults.delay).await;
        let mut piece = &buffer[..read];
        if let (Some(_), 1..) = (counter, faults.cut_after) {
            let left = usize::try_from(faults.cut_after.saturating_sub(carried)).unwrap();
            piece = &piece[..read.min(left)];
        }
        for bytes in piece.chunks(if faults.split { 1 } else { read }) {
            to.write_all(bytes).await?;
            if faults.split {
                tokio::task::yield_now().await;
            }
        }
        let bytes = u64::try_from(piece.len()).unwrap();
        carried += bytes;
        if let Some(counter) = counter {
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
        if piece.len() < read {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let micros = (bytes * 1_000_000).checked_div(faults.bytes_per_second).unwrap_or_default();
        tokio::time::sleep(Duration::from_micros(micros)).await;
    }
}
