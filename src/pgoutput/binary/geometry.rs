//! Geometric types: floats between brackets.

use super::Error;
use super::float::write_double;
use super::form::Shape;
use super::take::Take;

pub(super) fn write(shape: Shape, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    match shape {
        Shape::Point => point(take, out),
        Shape::Line => {
            out.push(b'{');
            numbers(3, take, out)?;
            out.push(b'}');
            Ok(())
        }
        Shape::Segment => points(2, Some((b'[', b']')), take, out),
        Shape::Box => points(2, None, take, out),
        Shape::Path => {
            let is_closed = take.byte()? != 0;
            let count = take.count(16)?;
            let brackets = if is_closed { (b'(', b')') } else { (b'[', b']') };
            points(count, Some(brackets), take, out)
        }
        Shape::Polygon => {
            let count = take.count(16)?;
            points(count, Some((b'(', b')')), take, out)
        }
        Shape::Circle => {
            out.push(b'<');
            point(take, out)?;
            out.push(b',');
            numbers(1, take, out)?;
            out.push(b'>');
            Ok(())
        }
    }
}

fn points(
    count: usize,
    brackets: Option<(u8, u8)>,
    take: &mut Take<'_>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.extend(brackets.map(|(open, _)| open));
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        point(take, out)?;
    }
    out.extend(brackets.map(|(_, close)| close));
    Ok(())
}

fn point(take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    out.push(b'(');
    numbers(2, take, out)?;
    out.push(b')');
    Ok(())
}

fn numbers(count: usize, take: &mut Take<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
    for index in 0..count {
        if index > 0 {
            out.push(b',');
        }
        write_double(f64::from_be_bytes(take.array()?), out);
    }
    Ok(())
}
