//! Text search: vectors of lexemes, and queries.

use super::Error;
use super::number::write_integer;
use super::take::Take;

/// How deep a query may nest on right sides.
const DEPTH_MAX: u32 = 1000;

/// Wire: `Int32(lexemes)`, then a lexeme: `String Int16(positions)`, then a position: `Int16`, its
/// upper two bits the weight. Text `'cat':3A,7 'fat'`.
pub(super) fn write_vector(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let count = take.count(3)?;
    for index in 0..count {
        if index > 0 {
            out.push(b' ');
        }
        push_lexeme(take.string()?, out);
        let positions = u16::from_be_bytes(take.array()?);
        for index in 0..positions {
            out.push(if index == 0 { b':' } else { b',' });
            let position = u16::from_be_bytes(take.array()?);
            write_integer(position & 0x3FFF, out);
            match position >> 14 {
                3 => out.push(b'A'),
                2 => out.push(b'B'),
                1 => out.push(b'C'),
                _ => {}
            }
        }
    }
    Ok(())
}

fn push_lexeme(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'\'');
    for byte in text {
        if matches!(byte, b'\'' | b'\\') {
            out.push(*byte);
        }
        out.push(*byte);
    }
    out.push(b'\'');
}

/// An operator of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Or,
    And,
    Phrase(i16),
    Not,
}

impl Operator {
    /// What binds closer is higher.
    const fn priority(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Phrase(_) => 3,
            Self::Not => 4,
        }
    }
}

/// Wire: `Int32(items)`, then the items, an operator before its right side and that before its
/// left: `Int8(1) Int8(weights) Int8(prefix) String` or
/// `Int8(2) Int8(1 not, 2 and, 3 or, 4 phrase) [Int16(distance)]`. Text `'fat' & !( 'cat' | 'rat' )`.
pub(super) fn write_query(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    if take.count(3)? == 0 {
        return Ok(());
    }
    write_item(take, 0, false, DEPTH_MAX, out)
}

/// Writes an item and all below it. Along the left sides, where a long query nests, it goes without
/// a call a level.
fn write_item(
    take: &mut Take<'_>,
    mut parent: u8,
    mut is_right_of_phrase: bool,
    depth: u32,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::Malformed)?;
    // Operators whose left sides are being written, with their right sides.
    let mut open = Vec::new();
    loop {
        match take.byte()? {
            1 => break,
            2 => {}
            _ => return Err(Error::Malformed),
        }
        let operator = match take.byte()? {
            1 => Operator::Not,
            2 => Operator::And,
            3 => Operator::Or,
            4 => Operator::Phrase(take.int16()?),
            _ => return Err(Error::Malformed),
        };
        let is_phrase = matches!(operator, Operator::Phrase(_));
        let priority = operator.priority();
        let in_brackets = priority < parent || (is_phrase && is_right_of_phrase);
        if in_brackets {
            out.extend_from_slice(b"( ");
        }
        let mut right = Vec::new();
        if operator == Operator::Not {
            out.push(b'!');
        } else {
            write_item(take, priority, is_phrase, depth, &mut right)?;
        }
        open.push((operator, right, in_brackets));
        (parent, is_right_of_phrase) = (priority, false);
    }
    write_operand(take, out)?;
    while let Some((operator, right, in_brackets)) = open.pop() {
        match operator {
            Operator::Not => {}
            Operator::Or => out.extend_from_slice(b" | "),
            Operator::And => out.extend_from_slice(b" & "),
            Operator::Phrase(1) => out.extend_from_slice(b" <-> "),
            Operator::Phrase(distance) => {
                out.extend_from_slice(format!(" <{distance}> ").as_bytes());
            }
        }
        out.extend_from_slice(&right);
        if in_brackets {
            out.extend_from_slice(b" )");
        }
    }
    Ok(())
}

fn write_operand(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    let (weights, prefix) = (take.byte()?, take.byte()?);
    push_lexeme(take.string()?, out);
    if weights == 0 && prefix == 0 {
        return Ok(());
    }
    out.push(b':');
    if prefix != 0 {
        out.push(b'*');
    }
    for (bit, weight) in [(8, b'A'), (4, b'B'), (2, b'C'), (1, b'D')] {
        if weights & bit != 0 {
            out.push(weight);
        }
    }
    Ok(())
}
