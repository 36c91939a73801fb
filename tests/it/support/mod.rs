//! What acceptance tests stand on: a [`Receiver`](receiver::Receiver) that journals and
//! misbehaves to order, and a [`Proxy`](proxy::Proxy) that spoils a connection to order. Both
//! run on a thread of their own, so that plain tests, tests with a runtime and tests with paused
//! time can use them alike.

pub(crate) mod journal;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod road;
pub(crate) mod state;
mod tests;
pub(crate) mod web;

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex};
use std::thread::JoinHandle;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// A server on a thread of its own. Dropping it ends it and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Runs what `serve` returns on a runtime of its own until the server is dropped.
    pub(crate) fn start<F: Future<Output = ()>>(
        serve: impl FnOnce() -> F + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(async {
                tokio::select! { () = serve() => {}, _ = stopped => {} }
            });
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes a free port on the loopback. The listener that is returned may be dropped and bound
/// again later: the address stays ours as far as anybody's can.
pub(crate) fn loopback() -> (SocketAddr, std::net::TcpListener) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// Listens at an address again, though old connections may still be closing.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

/// Closes a connection the rude way: the other side gets a reset.
pub(crate) fn reset(stream: &tokio::net::TcpStream) {
    let _ = socket2::SockRef::from(stream).set_linger(Some(std::time::Duration::ZERO));
}

/// Whether a server listens, so that who told it to can wait until it does as told.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    is: Mutex<bool>,
    changed: Condvar,
}

impl Listening {
    fn set(&self, is: bool) {
        *self.is.lock().unwrap() = is;
        self.changed.notify_all();
    }

    fn wait(&self, is: bool) {
        drop(self.changed.wait_while(self.is.lock().unwrap(), |now| *now != is).unwrap());
    }
}
