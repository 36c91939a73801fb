//! [`Socket`]: a socket, TCP or Unix, whose bytes may gather before they are read.
//!
//! The walsender sends each message by itself. A socket that is watched by the reactor wakes us
//! for every one of them, which costs more than all that is done with the message. While the
//! stream is behind, the socket is taken from the reactor and read every millisecond instead: one
//! wake-up then serves hundreds of messages.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Sleep, sleep};

/// Between two reads while bytes gather: the finest that the timer knows.
const PAUSE: Duration = Duration::from_millis(1);

/// A read of less than this found the server slower than us: the next one can wait.
const SHORT_READ_BYTES: usize = 64 << 10;

/// What one read of gathered bytes takes at most. The room is cleared before.
const READ_BYTES_MAX: usize = 256 << 10;

/// Lets the bytes of a socket gather, or not. Cloned freely.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gather(Arc<AtomicBool>);

impl Gather {
    pub(crate) fn set(&self, gathers: bool) {
        self.0.store(gathers, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: Inner,
    gather: Gather,
    /// Runs between two reads while bytes gather.
    pause: Option<Pin<Box<Sleep>>>,
    /// Runs while the far side takes nothing and nobody watches for it.
    write_pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Inner {
    /// Watched by the reactor.
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Not watched.
    Quiet(socket2::Socket, Family),
    /// On the way from one to the other; stays where that failed.
    Gone,
}

#[derive(Clone, Copy, Debug)]
enum Family {
    Tcp,
    Unix,
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl Socket {
    pub(crate) fn tcp(socket: TcpStream) -> Self {
        Self {
            inner: Inner::Tcp(socket),
            gather: Gather::default(),
            pause: None,
            write_pause: None,
        }
    }

    pub(crate) fn unix(socket: UnixStream) -> Self {
        Self {
            inner: Inner::Unix(socket),
            gather: Gather::default(),
            pause: None,
            write_pause: None,
        }
    }

    pub(crate) fn gather(&self) -> Gather {
        self.gather.clone()
    }

    /// Has the reactor watch it.
    fn watch(&mut self) -> io::Result<()> {
        if matches!(self.inner, Inner::Quiet(..))
            && let Inner::Quiet(socket, family) = std::mem::replace(&mut self.inner, Inner::Gone)
        {
            self.inner = match family {
                Family::Tcp => Inner::Tcp(TcpStream::from_std(socket.into())?),
                Family::Unix => Inner::Unix(UnixStream::from_std(socket.into())?),
            };
        }
        Ok(())
    }

    /// Takes it from the reactor.
    fn unwatch(&mut self) -> io::Result<&socket2::Socket> {
        self.inner = match std::mem::replace(&mut self.inner, Inner::Gone) {
            Inner::Tcp(socket) => Inner::Quiet(socket.into_std()?.into(), Family::Tcp),
            Inner::Unix(socket) => Inner::Quiet(socket.into_std()?.into(), Family::Unix),
            other => other,
        };
        match &self.inner {
            Inner::Quiet(socket, _) => Ok(socket),
            Inner::Tcp(_) | Inner::Unix(_) | Inner::Gone => Err(gone()),
        }
    }

    /// Reads what has gathered, not before the pause is over.
    fn poll_gathered(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            let room = buffer.remaining().min(READ_BYTES_MAX);
            let mut socket = self.unwatch()?;
            match socket.read(buffer.initialize_unfilled_to(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    buffer.advance(count);
                    if count < SHORT_READ_BYTES {
                        self.pause = Some(Box::pin(sleep(PAUSE)));
                    }
                    return Poll::Ready(Ok(()));
                }
            }
            self.pause = Some(Box::pin(sleep(PAUSE)));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gather.is_set() {
            return self.poll_gathered(context, buffer);
        }
        self.pause = None;
        self.watch()?;
        match &mut self.inner {
            Inner::Tcp(socket) => Pin::new(socket).poll_read(context, buffer),
            Inner::Unix(socket) => Pin::new(socket).poll_read(context, buffer),
            Inner::Quiet(..) | Inner::Gone => Poll::Ready(Err(gone())),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        while let Inner::Quiet(socket, _) = &self.inner {
            let mut socket = socket;
            match socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            let pause = self.write_pause.insert(Box::pin(sleep(PAUSE)));
            ready!(pause.as_mut().poll(context));
        }
        match &mut self.inner {
            Inner::Tcp(socket) => Pin::new(socket).poll_write(context, bytes),
            Inner::Unix(socket) => Pin::new(socket).poll_write(context, bytes),
            Inner::Quiet(..) | Inner::Gone => Poll::Ready(Err(gone())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Tcp(socket) => Pin::new(socket).poll_shutdown(context),
            Inner::Unix(socket) => Pin::new(socket).poll_shutdown(context),
            Inner::Quiet(socket, _) => Poll::Ready(socket.shutdown(Shutdown::Write)),
            Inner::Gone => Poll::Ready(Err(gone())),
        }
    }
}
