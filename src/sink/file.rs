//! The `file` sink: JSON lines, on disk before they are acknowledged.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Answer, Batch, BoxFuture, Failure, Sink};
use crate::failure::Category;

/// The kind's word.
pub const KIND: &str = "file";

/// `[sink.NAME.file]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that is appended to.
    pub path: PathBuf,
    /// Past this size, in bytes, it is put aside and a new one begun; 0: never.
    pub max_size: u64,
}

/// Appends events to a file.
#[derive(Debug)]
pub struct File {
    path: PathBuf,
    writer: Arc<Mutex<Option<fs::File>>>,
}

impl File {
    /// Makes the sink; the file is opened by the first delivery.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { path: config.path.clone(), writer: Arc::default() }
    }
}

/// Puts each event on a line of its own.
pub(super) fn lines(batch: &Batch) -> Vec<u8> {
    let bytes: usize = batch.events.iter().map(|event| event.body.len().saturating_add(1)).sum();
    let mut lines = Vec::with_capacity(bytes);
    for event in &batch.events {
        lines.extend_from_slice(&event.body);
        lines.push(b'\n');
    }
    lines
}

impl Sink for File {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn deliver<'a>(&'a self, batch: &'a Batch) -> BoxFuture<'a, Answer> {
        let lines = lines(batch);
        let writer = Arc::clone(&self.writer);
        let path = self.path.clone();
        Box::pin(async move {
            let written = tokio::task::spawn_blocking(move || {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                if writer.is_none() {
                    *writer = Some(OpenOptions::new().create(true).append(true).open(&path)?);
                }
                let Some(file) = writer.as_mut() else { return Ok(()) };
                file.write_all(&lines)?;
                file.sync_data()
            });
            match written.await.map_err(io::Error::other).flatten() {
                Ok(()) => Answer::Acknowledged,
                Err(error) => Answer::Failed(Failure::new(
                    Category::Transient,
                    format!("{}: {error}", self.path.display()),
                )),
            }
        })
    }

    fn check(&self) -> BoxFuture<'_, Result<String, Failure>> {
        Box::pin(async { Ok(self.path.display().to_string()) })
    }
}
