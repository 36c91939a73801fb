//! What `walgate check` sees of Redis: the server, whether it keeps what it is given, the stream.

use redis::{Cmd, Value};

use super::{Redis, answer};
use crate::failure::Category;
use crate::sink::Failure;

/// Connects and looks. Adds nothing.
pub(super) async fn look(sink: &Redis) -> Result<String, Failure> {
    let host = sink.link.host();
    let setup = |failure: Failure| Failure { category: Category::Setup, ..failure };
    let mut connection = sink.link.connect().await.map_err(setup)?;
    let mut commands = vec![
        command(&["INFO", "server"]),
        command(&["CONFIG", "GET", "appendonly"]),
        command(&["CONFIG", "GET", "maxmemory-policy"]),
    ];
    commands.extend(sink.writer.fixed().map(|stream| command(&["TYPE", stream])));
    let answers = connection.ask(&commands).await.map_err(|broken| setup(broken.failure(host)))?;
    if let Some(Value::ServerError(error)) = answers.iter().find(|answer| is_of_credentials(answer))
    {
        return Err(setup(answer::refused(error, host)));
    }
    let mut seen = format!("{host}: {}", answers.first().map_or_else(String::new, version));
    let setting = |place: usize| answers.get(place).and_then(value);
    if setting(1).as_deref() == Some("no") {
        seen.push_str("; appendonly is off: what it has taken can be lost with it");
    }
    if let Some(policy) = setting(2).filter(|policy| policy.starts_with("allkeys")) {
        seen.push_str(&format!("; maxmemory-policy {policy}: streams may be evicted"));
    }
    match (sink.writer.fixed(), answers.get(3)) {
        (Some(stream), Some(Value::SimpleString(kind))) if kind != "stream" && kind != "none" => {
            let message = format!("{host}: {stream} is a {kind}, not a stream; change stream");
            Err(Failure::new(Category::Setup, message))
        }
        _ => Ok(seen),
    }
}

fn command(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

/// Whether nobody is known by what walgate says of itself.
fn is_of_credentials(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if matches!(error.code(), "NOAUTH" | "WRONGPASS"))
}

/// Reads the version from the answer to INFO.
fn version(answer: &Value) -> String {
    let text = match answer {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    };
    let of = |name: &str| text.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
    let valkey = of("valkey_version:").map(|version| format!("Valkey {version}"));
    let redis = || of("redis_version:").map(|version| format!("Redis {version}"));
    valkey.or_else(redis).unwrap_or_else(|| "Redis accepts connections".to_owned())
}

/// Reads the answer to CONFIG GET of one setting.
fn value(answer: &Value) -> Option<String> {
    let Value::Array(pair) = answer else { return None };
    match pair.get(1) {
        Some(Value::BulkString(bytes)) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}
