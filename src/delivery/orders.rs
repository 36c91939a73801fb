//! [`Orders`]: what a person asks of a sink while it is served.

use tokio::sync::{mpsc, oneshot};

use super::dead_letter::{Begin, Begun, Filter};
use super::window::WindowOrder;

/// Orders that may wait; whoever gives more waits with them.
const ORDERS_MAX: usize = 16;

/// What is asked, and whom to answer.
#[derive(Debug)]
pub enum Order {
    /// Send dead letters again. Answered when that is stored and has begun.
    Replay(Box<Begin>, oneshot::Sender<Begun>),
    /// Discard what was set aside, with a reason. Answered with how many there were.
    Discard(Box<Filter>, String, oneshot::Sender<u64>),
    /// Send a part of the journal again. Answered when it has begun, or with why it can't.
    Window(Box<WindowOrder>, oneshot::Sender<Result<(), String>>),
    /// Send nothing more, with a reason; none: go on.
    Pause(Option<String>, oneshot::Sender<()>),
    /// Hold this route, or let it go.
    Hold(String, bool, oneshot::Sender<()>),
}

/// Gives orders to a sink. Cloned freely.
#[derive(Clone, Debug)]
pub struct Orders(mpsc::Sender<Order>);

/// Where a sink takes its orders from.
#[derive(Debug)]
pub struct Ordered(mpsc::Receiver<Order>);

/// The sink is served no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing is sent to it: it was let go, its receivers come and ask, or the run ends")]
pub struct NotServed;

impl Orders {
    /// Makes both ends.
    #[must_use]
    pub fn new() -> (Self, Ordered) {
        let (sender, receiver) = mpsc::channel(ORDERS_MAX);
        (Self(sender), Ordered(receiver))
    }

    /// Gives an order and waits for what comes of it.
    ///
    /// Cancel safety: dropped after the order was given, it is carried out all the same.
    ///
    /// # Errors
    /// [`NotServed`] when nobody takes it.
    pub async fn give<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, NotServed> {
        let (asked, answer) = oneshot::channel();
        self.0.send(order(asked)).await.map_err(|_| NotServed)?;
        answer.await.map_err(|_| NotServed)
    }
}

impl Ordered {
    /// Waits for the next order; never returns once nobody can give one.
    ///
    /// Cancel safety: safe.
    pub(super) async fn next(&mut self) -> Order {
        match self.0.recv().await {
            Some(order) => order,
            None => std::future::pending().await,
        }
    }
}
