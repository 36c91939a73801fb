//! The `amqp` sink, against a real RabbitMQ, read back with its client for Python.

mod answers;
mod pipeline;
pub(crate) mod server;

/// A sink of that exchange (none: the default one) and routing key; `more` are keys of the sink.
fn sink(url: &str, exchange: &str, routing_key: &str, more: &str) -> String {
    let exchange = match exchange {
        "" => String::new(),
        name => format!("exchange = \"{name}\"\n"),
    };
    format!(
        "[sink.far]\nretry = {{ initial = \"50ms\", max = \"500ms\" }}\nhalt_probe = \"500ms\"\n\
         breaker = {{ cooldown = \"500ms\" }}\n{more}\n[sink.far.amqp]\nurl = \"{url}\"\n\
         {exchange}routing_key = \"{routing_key}\"\n"
    )
}
