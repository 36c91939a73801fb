//! OpenTelemetry: metrics and spans to a collector, by OTLP over HTTP in JSON.
//!
//! The protocol is written here: its libraries bring a runtime's worth of HTTP and gRPC of their
//! own, where requests are to go as those of sinks do. `metrics` and `spans` are what is sent,
//! `verdict` is what an answer means (all pure), `outlet` sends, `exporter` says when.
//!
//! Knows figures and spans, not what they are of. Nothing waits for it, and it ends nothing.
//! Source: <https://opentelemetry.io/docs/specs/otlp/>.

mod exporter;
mod json;
mod losses;
mod metrics;
mod outlet;
mod resource;
mod spans;
mod verdict;

pub use exporter::Exporter;
pub use losses::Losses;
