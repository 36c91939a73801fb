//! What `walgate check` sees of NATS: the server, JetStream, and the stream that takes the subject.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{AccountErrorKind, GetStreamByNameErrorKind};
use tokio::time::timeout;

use super::Nats;
use crate::failure::Category;
use crate::sink::Failure;

/// Whoever may only publish gets no answer to questions; so long is waited for one.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connects, and looks for the stream. Publishes nothing.
pub(super) async fn look(sink: &Nats) -> Result<String, Failure> {
    let host = sink.link.host();
    let connection = sink
        .link
        .connect()
        .await
        .map_err(|failure| Failure { category: Category::Setup, ..failure })?;
    let info = connection.client.server_info();
    let seen =
        format!("{host}: NATS {}, messages of up to {} bytes", info.version, info.max_payload);
    let asked = timeout(ANSWER_TIMEOUT, stream(sink, &connection.stream)).await;
    match asked {
        Ok(Ok(Some(found))) => Ok(format!("{seen}; {found}")),
        Ok(Ok(None)) | Err(_) => Ok(format!(
            "{seen}; it does not say which stream takes {} (no right to ask)",
            sink.subject.pattern()
        )),
        Ok(Err(message)) => Err(Failure::new(Category::Setup, format!("{host} {message}"))),
    }
}

/// Returns what takes the subject; none: the server does not say.
async fn stream(sink: &Nats, context: &Context) -> Result<Option<String>, String> {
    match context.query_account().await.map_err(|error| error.kind()) {
        Ok(_) => {}
        Err(AccountErrorKind::JetStreamUnavailable | AccountErrorKind::JetStream(_)) => {
            return Err("has no JetStream for this account".to_owned());
        }
        Err(AccountErrorKind::TimedOut | AccountErrorKind::Other) => return Ok(None),
    }
    let pattern = sink.subject.pattern();
    let name = match context.stream_by_subject(pattern.as_str()).await {
        Ok(name) => name,
        Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => {
            return Err(format!("has no stream that takes {pattern}; make one, or change subject"));
        }
        Err(_) => return Ok(None),
    };
    match &sink.stream {
        Some(expected) if *expected != name => {
            Err(format!("has {pattern} in the stream {name}, not in {expected}"))
        }
        _ => Ok(Some(match context.get_stream(&name).await {
            Ok(mut stream) => {
                let window = stream.info().await.map(|info| info.config.duplicate_window);
                let window = window.unwrap_or_default();
                format!("the stream {name} takes {pattern}, and drops repeats for {window:?}")
            }
            Err(_) => format!("the stream {name} takes {pattern}"),
        })),
    }
}
