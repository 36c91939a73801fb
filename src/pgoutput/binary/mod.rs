//! Values in binary form become exactly the text that the server would have sent (pure).
//!
//! The text is that of the stream's session: `DateStyle` ISO, `IntervalStyle` `iso_8601`,
//! `TimeZone` UTC, `bytea_output` hex, floats shortest. So nothing behind the source can tell in
//! which form a row came. Knows nothing of where the forms of types come from.

mod built_in;
mod container;
mod float;
mod form;
mod frame;
mod geometry;
mod network;
mod number;
mod search;
mod take;
mod time;

use std::sync::Arc;

pub use built_in::built_in;
pub use form::Form;
pub use frame::{Problem, text_frame};

use self::take::Take;

/// Types nest no deeper than this; Postgres has no such bound, nobody was seen to pass four.
const DEPTH_MAX: u32 = 64;

/// Why a value has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its bytes are not what its type sends.
    #[error("its bytes are not what its type sends")]
    Malformed,
    /// Nobody knows how this type is sent.
    #[error("walgate does not know the binary form of type {0}")]
    NoForm(Arc<str>),
}

/// Appends the text of a value.
///
/// # Errors
/// The value is not of this form, or of one that is not known; `out` is of no worth then.
pub fn write_text(form: &Form, value: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    write(form, value, DEPTH_MAX, out)
}

fn write(form: &Form, value: &[u8], depth: u32, out: &mut Vec<u8>) -> Result<(), Error> {
    let deeper = || depth.checked_sub(1).ok_or(Error::Malformed);
    let mut take = Take(value);
    match form {
        Form::Text => {
            out.extend_from_slice(take.rest());
            return Ok(());
        }
        // A version, then text.
        Form::Versioned => {
            if take.byte()? != 1 {
                return Err(Error::Malformed);
            }
            out.extend_from_slice(take.rest());
            return Ok(());
        }
        Form::Bytea => {
            number::write_hex(take.rest(), out);
            return Ok(());
        }
        Form::Char => number::write_char(take.byte()?, out),
        Form::Bool => out.push(if take.byte()? == 0 { b'f' } else { b't' }),
        Form::Int2 => number::write_integer(i16::from_be_bytes(take.array()?), out),
        Form::Int4 => number::write_integer(i32::from_be_bytes(take.array()?), out),
        Form::Int8 => number::write_integer(i64::from_be_bytes(take.array()?), out),
        Form::Unsigned4 => number::write_integer(u32::from_be_bytes(take.array()?), out),
        Form::Unsigned8 => number::write_integer(u64::from_be_bytes(take.array()?), out),
        Form::Lsn => number::write_lsn(take.array()?, out),
        Form::Money => number::write_money(i64::from_be_bytes(take.array()?), out),
        Form::Numeric => number::write_numeric(&mut take, out)?,
        Form::Snapshot => number::write_snapshot(&mut take, out)?,
        Form::Tid => number::write_tid(&mut take, out)?,
        Form::Bits => number::write_bits(&mut take, out)?,
        Form::Float4 => float::write_single(f32::from_be_bytes(take.array()?), out),
        Form::Float8 => float::write_double(f64::from_be_bytes(take.array()?), out),
        Form::Uuid => network::write_uuid(take.array()?, out),
        Form::MacAddr => network::write_mac(&take.array::<6>()?, out),
        Form::MacAddr8 => network::write_mac(&take.array::<8>()?, out),
        Form::Inet => network::write_inet(&mut take, out)?,
        Form::Date => time::write_date(i32::from_be_bytes(take.array()?), out),
        Form::Time => time::write_time(i64::from_be_bytes(take.array()?), out),
        Form::TimeTz => time::write_time_tz(&mut take, out)?,
        Form::Timestamp => time::write_timestamp(i64::from_be_bytes(take.array()?), b"", out),
        Form::TimestampTz => time::write_timestamp(i64::from_be_bytes(take.array()?), b"+00", out),
        Form::Interval => time::write_interval(&mut take, out)?,
        Form::Shape(shape) => geometry::write(*shape, &mut take, out)?,
        Form::TsVector => search::write_vector(&mut take, out)?,
        Form::TsQuery => search::write_query(&mut take, out)?,
        Form::Hstore => container::write_hstore(&mut take, out)?,
        Form::Vector => container::write_vector(&mut take, out)?,
        Form::Array { element, delimiter } => {
            container::write_array(element, *delimiter, &mut take, deeper()?, out)?;
        }
        Form::Record { fields } => container::write_record(fields, &mut take, deeper()?, out)?,
        Form::Range { bound } => container::write_range(bound, &mut take, deeper()?, out)?,
        Form::Multirange { bound } => {
            container::write_multirange(bound, &mut take, deeper()?, out)?;
        }
        Form::Unknown(name) => return Err(Error::NoForm(Arc::clone(name))),
    }
    take.end()
}

#[cfg(test)]
mod tests;
