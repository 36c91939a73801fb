//! A row message with binary values becomes the message with text.

use super::take::Take;
use super::{Error, Form, write_text};

/// Where a message could not be made text of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The column, by its place in the row; none: the message itself.
    pub column: Option<usize>,
    /// What is the matter.
    pub error: Error,
}

/// Appends an Insert, Update or Delete message with every binary value as text. `forms` are those
/// of the table's columns, in order. Values that come as text stay as they are.
///
/// # Errors
/// A value has no text, or the message is malformed; `out` is of no worth behind its old end then.
pub fn text_frame(frame: &[u8], forms: &[Form], out: &mut Vec<u8>) -> Result<(), Problem> {
    let malformed = |error| Problem { column: None, error };
    let mut take = Take(frame);
    out.extend_from_slice(take.bytes(5).map_err(malformed)?);
    while !take.0.is_empty() {
        // `N`, `K` or `O` before each row.
        out.push(take.byte().map_err(malformed)?);
        row(&mut take, forms, out)?;
    }
    Ok(())
}

/// Wire: as [`crate::pgoutput::Tuple`], and for a column `Byte1('b') Int32(length) Byten` binary.
fn row(take: &mut Take<'_>, forms: &[Form], out: &mut Vec<u8>) -> Result<(), Problem> {
    let malformed = |error| Problem { column: None, error };
    let count: [u8; 2] = take.array().map_err(malformed)?;
    out.extend_from_slice(&count);
    for column in 0..usize::from(u16::from_be_bytes(count)) {
        let at = |error| Problem { column: Some(column), error };
        match take.byte().map_err(at)? {
            b'b' => {
                let value = take.value().map_err(at)?.ok_or_else(|| at(Error::Malformed))?;
                out.extend_from_slice(b"t\0\0\0\0");
                let start = out.len();
                write_text(forms.get(column).unwrap_or(&Form::Text), value, out).map_err(at)?;
                let length = u32::try_from(out.len() - start);
                let length = length.map_err(|_| at(Error::Malformed))?.to_be_bytes();
                if let Some(place) = out.get_mut(start - length.len()..start) {
                    place.copy_from_slice(&length);
                }
            }
            b't' => {
                let value = take.value().map_err(at)?.ok_or_else(|| at(Error::Malformed))?;
                out.push(b't');
                let length = u32::try_from(value.len()).unwrap_or(0).to_be_bytes();
                out.extend_from_slice(&length);
                out.extend_from_slice(value);
            }
            marker => out.push(marker),
        }
    }
    Ok(())
}
