//! stdout of a command that goes on: written whole pieces at a time, watched for who reads it.

use std::io::{self, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::cli::failure::{Exit, Failure};

/// Between two looks whether somebody still reads.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Writes a piece, however long its reader takes. False: the reader has gone.
pub(super) async fn write(text: Vec<u8>) -> Result<bool, Failure> {
    if text.is_empty() {
        return Ok(true);
    }
    // A reader that pauses must not keep the server from being answered.
    let written = tokio::task::spawn_blocking(move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&text).and_then(|()| stdout.flush())
    });
    match written.await {
        Ok(Ok(())) => Ok(true),
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Ok(Err(error)) => Err(Failure::of(Exit::Failed, &error)),
        Err(error) => Err(Failure::of(Exit::Failed, &error)),
    }
}

/// Returns once the pipe behind stdout has no reader any more, be there anything to write or not.
pub(super) async fn reader_gone() {
    let stdout = io::stdout();
    loop {
        // Nothing is asked for: only that the other end has gone is told.
        let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut watched, Some(&at_once)).is_ok() {
            let [watched] = watched;
            if watched.revents().intersects(PollFlags::ERR | PollFlags::HUP) {
                return;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
