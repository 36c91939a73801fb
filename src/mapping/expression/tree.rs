//! JSON into values of the interpreter and back, without rounding a number.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::Value;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString,
};
use cel::common::value::Val;
use cel::objects::{Key, OptionalValue};
use serde_json::value::RawValue;

use super::exact;
use super::value::write_double;
use crate::pgoutput::value::write_text_json;
use crate::relation::Kind;

/// Deeper documents are not read: they would be walked by recursion.
const DEPTH_MAX: u32 = 100;

/// Reads a JSON document; none where it nests too deep.
pub(super) fn read(json: &[u8]) -> Option<Box<dyn Val>> {
    node(serde_json::from_slice::<&RawValue>(json).ok()?, DEPTH_MAX)
}

fn node(raw: &RawValue, depth: u32) -> Option<Box<dyn Val>> {
    let depth = depth.checked_sub(1)?;
    let text = raw.get();
    Some(match text.as_bytes().first()? {
        b'{' => {
            let members: HashMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            let members = members.into_iter().map(|(name, value)| {
                node(value, depth).map(|value| (CelMapKey::from(name), value))
            });
            let members: HashMap<CelMapKey<'static>, Box<dyn Val>> =
                members.collect::<Option<_>>()?;
            Box::new(CelMap::from(members))
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let items: Option<Vec<Box<dyn Val>>> =
                items.into_iter().map(|item| node(item, depth)).collect();
            Box::new(CelList::from(items?))
        }
        b'"' => Box::new(CelString::from(serde_json::from_str::<String>(text).ok()?)),
        b't' => Box::new(CelBool::from(true)),
        b'f' => Box::new(CelBool::from(false)),
        b'n' => Box::new(CelNull),
        _ => number(text),
    })
}

/// A whole number is an int, another a double; a text where 64 bits can't hold it.
fn number(text: &str) -> Box<dyn Val> {
    if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return match text.parse::<i64>() {
            Ok(number) => Box::new(CelInt::from(number)),
            Err(_) => Box::new(CelString::from(text.to_owned())),
        };
    }
    match exact::double(text) {
        Some(number) => Box::new(CelDouble::from(number)),
        None => Box::new(CelString::from(text.to_owned())),
    }
}

/// Appends a result as Postgres would print a value of the kind that is returned; the inner none
/// is null, the outer one a value that has no such form.
#[expect(clippy::option_option, reason = "null is a value, and not every result has one")]
pub(super) fn write(value: &Value, out: &mut Vec<u8>) -> Option<Option<Kind>> {
    let kind = match value {
        Value::Null => return Some(None),
        Value::Opaque(opaque) => {
            return match opaque.downcast_ref::<OptionalValue>()?.value() {
                Some(value) => write(value, out),
                None => Some(None),
            };
        }
        Value::Bool(value) => {
            out.push(if *value { b't' } else { b'f' });
            Kind::Boolean
        }
        Value::Int(_) | Value::UInt(_) => {
            write_json(value, DEPTH_MAX, out)?;
            Kind::Integer
        }
        Value::Float(number) => {
            write_double(*number, out);
            Kind::Float
        }
        Value::List(_) | Value::Map(_) => {
            write_json(value, DEPTH_MAX, out)?;
            Kind::Json
        }
        other => {
            out.extend_from_slice(text(other)?.as_bytes());
            Kind::Text
        }
    };
    Some(Some(kind))
}

fn write_json(value: &Value, depth: u32, out: &mut Vec<u8>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(number) => out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes()),
        Value::UInt(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
        }
        Value::Float(number) if number.is_finite() => write_double(*number, out),
        Value::Float(number) => {
            out.push(b'"');
            write_double(*number, out);
            out.push(b'"');
        }
        Value::List(items) => {
            let mut mark = b'[';
            for item in items.iter() {
                out.push(mark);
                mark = b',';
                write_json(item, depth, out)?;
            }
            if items.is_empty() {
                out.push(mark);
            }
            out.push(b']');
        }
        Value::Map(map) => {
            // The interpreter keeps no order; the same change has the same bytes each time.
            let mut members: Vec<(String, &Value)> =
                map.map.iter().map(|(key, value)| (name(key), value)).collect();
            members.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            // Keys of two types that are written alike.
            if members.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
                return None;
            }
            let mut mark = b'{';
            for (name, value) in &members {
                out.push(mark);
                mark = b',';
                write_text_json(name.as_bytes(), out);
                out.push(b':');
                write_json(value, depth, out)?;
            }
            if members.is_empty() {
                out.push(mark);
            }
            out.push(b'}');
        }
        Value::Opaque(opaque) => match opaque.downcast_ref::<OptionalValue>()?.value() {
            Some(value) => write_json(value, depth, out)?,
            None => out.extend_from_slice(b"null"),
        },
        other => write_text_json(text(other)?.as_bytes(), out),
    }
    Some(())
}

fn name(key: &Key) -> String {
    key.to_string()
}

fn text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.as_str().to_owned(),
        Value::Bytes(bytes) => STANDARD.encode(bytes.as_slice()),
        Value::Timestamp(time) => {
            let time = time.to_utc().to_rfc3339();
            let time = time.strip_suffix("+00:00").unwrap_or(&time);
            match time.split_once('.') {
                Some((seconds, fraction)) => {
                    let fraction = fraction.trim_end_matches('0');
                    let dot = if fraction.is_empty() { "" } else { "." };
                    format!("{seconds}{dot}{fraction}Z")
                }
                None => format!("{time}Z"),
            }
        }
        Value::Duration(duration) => {
            let nanos = duration.num_nanoseconds()?;
            let sign = if nanos < 0 { "-" } else { "" };
            let (seconds, rest) =
                (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
            let fraction = format!("{rest:09}");
            let fraction = fraction.trim_end_matches('0');
            let dot = if fraction.is_empty() { "" } else { "." };
            format!("{sign}{seconds}{dot}{fraction}s")
        }
        _ => return None,
    })
}
