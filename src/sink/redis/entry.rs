//! The entry of an event: its stream, and its fields.

use redis::Cmd;

use super::place::Id;
use super::{Config, Error};
use crate::chunk::Operation;
use crate::envelope::Envelope;
use crate::sink::template::{Event, Part, Template};
use crate::sink::{Common, Form, outbox};

/// The field by which the entry of an event is known.
pub(super) const ID: &str = "id";

/// Whose events have no table, in its place.
const MESSAGE: &str = "message";

/// The longest name of a stream, in bytes. Redis takes more than anybody could mean.
const STREAM_BYTES_MAX: usize = 1024;

/// Makes the entries of a sink.
#[derive(Debug)]
pub(super) struct Writer {
    stream: Template,
    form: Form,
    max_len: Option<u32>,
}

impl Writer {
    pub(super) fn new(config: &Config, common: &Common) -> Result<Self, Error> {
        let stream = Template::parse(&config.stream).map_err(Error::Template)?;
        if stream.parts.is_empty() {
            return Err(Error::Stream);
        }
        Ok(Self { stream, form: common.form, max_len: config.max_len })
    }

    /// Returns the stream of all events, where there is just one.
    pub(super) fn fixed(&self) -> Option<&str> {
        self.stream.fixed()
    }

    /// Returns the stream of an event, or says what stands in the way, without a value.
    pub(super) fn stream(&self, envelope: &Envelope) -> Result<String, String> {
        let event = Event { envelope, form: self.form };
        let mut stream = String::new();
        for part in &self.stream.parts {
            match part {
                Part::Literal(literal) => stream.push_str(literal),
                Part::Place(path)
                    if path.is("table") && envelope.operation == Operation::Message =>
                {
                    stream.push_str(MESSAGE);
                }
                Part::Place(path) => {
                    stream.push_str(&event.value(path).map_err(|error| error.to_string())?);
                }
            }
        }
        match stream.len() {
            0 => Err("the stream's name is empty".to_owned()),
            1..=STREAM_BYTES_MAX => Ok(stream),
            _ => Err(format!("the stream's name is longer than {STREAM_BYTES_MAX} bytes")),
        }
    }

    /// Returns an entry's fields, or says what stands in the way, without a value. None is larger
    /// than `bytes_max`.
    pub(super) fn fields(
        event: &Envelope,
        replay: u32,
        bytes_max: u64,
    ) -> Result<Vec<(String, Vec<u8>)>, String> {
        let mut fields = vec![
            (ID.to_owned(), event.id.to_string().into_bytes()),
            ("op".to_owned(), event.operation.as_str().into()),
        ];
        if let Some(table) = event.table() {
            fields.push(("table".to_owned(), table.into_bytes()));
        }
        if !matches!(event.key.as_ref(), b"" | b"null") {
            fields.push(("key".to_owned(), event.key.to_vec()));
        }
        if replay > 0 {
            fields.push(("replay".to_owned(), replay.to_string().into_bytes()));
        }
        if let Some(outbox) = &event.outbox {
            for (name, value) in outbox::headers(outbox)? {
                let value = value.map_err(|problem| format!("an outbox header: {problem}"))?;
                fields.push((format!("header:{name}"), value.into_bytes()));
            }
        }
        fields.push(("event".to_owned(), event.body.to_vec()));
        let is_large = |bytes: usize| u64::try_from(bytes).is_ok_and(|bytes| bytes > bytes_max);
        if fields.iter().any(|(name, value)| is_large(name.len()) || is_large(value.len())) {
            return Err(format!("it is larger than the {bytes_max} bytes that the server takes"));
        }
        Ok(fields)
    }

    /// Makes the command that adds an entry; none: the server makes its id.
    pub(super) fn add(&self, stream: &str, id: Option<Id>, fields: &[(String, Vec<u8>)]) -> Cmd {
        let mut command = redis::cmd("XADD");
        command.arg(stream);
        if let Some(max_len) = self.max_len {
            command.arg("MAXLEN").arg("~").arg(max_len);
        }
        match id {
            Some(id) => command.arg(id.to_string()),
            None => command.arg("*"),
        };
        for (name, value) in fields {
            command.arg(name).arg(value);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::redis::tests::{COMMON, envelope};

    fn writer(stream: &str, max_len: Option<u32>) -> Writer {
        let config = Config { stream: stream.to_owned(), max_len, ..Config::default() };
        Writer::new(&config, &COMMON).unwrap()
    }

    fn words(command: &Cmd) -> Vec<String> {
        let packed = String::from_utf8(command.get_packed_command()).unwrap();
        let lines: Vec<&str> = packed.split("\r\n").collect();
        lines[1..].chunks(2).filter_map(|pair| pair.get(1)).map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_entry_has_the_event_and_what_is_looked_for_in_it() {
        let event = envelope(7, "{}");
        let fields = Writer::fields(&event, 0, 1000).unwrap();
        let add = writer("s", Some(100)).add("s", Some(Id { lsn: 25, seq: 7 }), &fields);
        let id = "00000001-00000000017C8338-00000007";
        let body = String::from_utf8(event.body.to_vec()).unwrap();
        let head = ["XADD", "s", "MAXLEN", "~", "100", "25-7"];
        let rest = ["id", id, "op", "insert", "key", r#"{"id":7}"#, "event", &body];
        assert_eq!(words(&add), [&head[..], &rest[..]].concat());
        let auto = words(&writer("s", None).add("s", None, &fields));
        assert_eq!(auto[..3], ["XADD", "s", "*"]);
        let again = Writer::fields(&event, 2, 1000).unwrap();
        assert!(again.contains(&("replay".to_owned(), b"2".to_vec())));
    }

    #[test]
    fn an_outbox_brings_its_headers_as_fields() {
        let with = |headers: &str| {
            let text = format!(r#"{{"headers":{headers}}}"#);
            Envelope { outbox: Some(Box::new(text.into())), ..envelope(7, "{}") }
        };
        let fields = Writer::fields(&with(r#"{"trace":"a","n":3,"x":null}"#), 0, 1000).unwrap();
        let of = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &field.1[..]);
        assert_eq!((of("header:trace"), of("header:n")), (Some(&b"a"[..]), Some(&b"3"[..])));
        assert_eq!(of("header:x"), None);
        assert!(Writer::fields(&with(r#"{"x":[]}"#), 0, 1000).is_err());
    }

    #[test]
    fn what_the_server_does_not_take_is_not_sent() {
        let event = envelope(7, &format!(r#"{{"v":"{}"}}"#, "x".repeat(1000)));
        let why = Writer::fields(&event, 0, 1000).unwrap_err();
        assert_eq!(why, "it is larger than the 1000 bytes that the server takes");
        assert!(Writer::fields(&event, 0, 2000).is_ok());
    }

    #[test]
    fn the_stream_is_built_from_the_event() {
        let with = |value: &str| envelope(1, &format!(r#"{{"v":{value}}}"#));
        let of = |stream: &str, event: &Envelope| writer(stream, None).stream(event);
        assert_eq!(of("s:{{ data.v }}:{{ op }}", &with(r#""a b.c""#)).unwrap(), "s:a b.c:insert");
        assert_eq!(of("{{ data.v }}", &with("null")).unwrap_err(), "`data.v` is null");
        assert_eq!(of("{{ data.v }}", &with(r#""""#)).unwrap_err(), "the stream's name is empty");
        let message = Envelope { operation: Operation::Message, ..with("1") };
        assert_eq!(of("walgate:{{ table }}", &message).unwrap(), "walgate:message");
        assert_eq!(writer("s", None).fixed(), Some("s"));
        assert_eq!(writer("s{{ op }}", None).fixed(), None);
    }
}
