//! [`Take`]: the bytes of a value, taken from the front.

use super::Error;

/// What is left of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Take<'a>(pub(super) &'a [u8]);

impl<'a> Take<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn int16(&mut self) -> Result<i16, Error> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn int32(&mut self) -> Result<i32, Error> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self) -> Result<i64, Error> {
        self.array().map(i64::from_be_bytes)
    }

    /// A count that is not negative, and no larger than the bytes that are left can hold at `each`
    /// bytes: one that lies costs no memory.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, Error> {
        let count = usize::try_from(self.int32()?).map_err(|_| Error::Malformed)?;
        if count.checked_mul(each).is_none_or(|bytes| bytes > self.0.len()) {
            return Err(Error::Malformed);
        }
        Ok(count)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Error::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A length and so many bytes; none where the length is -1: NULL.
    pub(super) fn value(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.int32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Error::Malformed)?;
                self.bytes(length).map(Some)
            }
        }
    }

    /// Text up to its zero byte.
    pub(super) fn string(&mut self) -> Result<&'a [u8], Error> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Error::Malformed)?;
        let text = self.bytes(end)?;
        self.byte()?;
        Ok(text)
    }

    pub(super) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }

    pub(super) const fn end(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Malformed) }
    }
}
