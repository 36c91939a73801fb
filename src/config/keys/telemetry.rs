//! The keys of `[telemetry]`.

use super::Otherwise::{None, Required, Toml};
use super::Shape::{Boolean, Duration, Either, Path, Ratio, Secret, Secrets, Table, Values};
use super::{Section, key};

pub(super) static TELEMETRY: Section = Section {
    title: "[telemetry]",
    keys: &[key("otlp", Table(&OTLP), None, "a collector of OpenTelemetry")],
};

static OTLP: Section = Section {
    title: "[telemetry.otlp]",
    keys: &[
        key(
            "endpoint",
            Secret,
            Required,
            "where it listens for OTLP over HTTP: `http://127.0.0.1:4318`; `/v1/metrics` and `/v1/traces` are put behind it",
        ),
        key(
            "headers",
            Secrets,
            None,
            "names and values, for collectors that want to know who it is",
        ),
        key("interval", Duration(1), Toml("\"15s\""), "between two exports of the metrics"),
        key(
            "traces",
            Either(&[Boolean, Ratio]),
            Toml("false"),
            "a span a request to a sink: all of them, none, or this part of the traces. A trace is what is sent of one batch until it is taken, known by its first event, by which it is also decided whether it is kept; HTTP sinks send `traceparent`",
        ),
        key(
            "resource",
            Values,
            None,
            "attributes beside `service.name`, `service.version` and `service.instance.id` (slot and host), or in their place",
        ),
        key(
            "timeout",
            Duration(1),
            Toml("\"10s\""),
            "until an export is given up that nobody answers",
        ),
        key(
            "allow_private",
            Boolean,
            Toml("false"),
            "it may lie at a private address (10.0.0.0/8 and the like); on this machine it always may",
        ),
        key("ca", Path, None, "certificates to trust beside the system's (PEM)"),
        key("cert", Path, None, "client certificate chain (PEM)"),
        key("key", Path, None, "the client certificate's private key (PEM)"),
    ],
};
