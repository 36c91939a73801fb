//! [`Cursor`]: reads a frame front to back. Every read names its field, and none can panic.

use super::Error;

/// A place in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Returns how many bytes were not read yet.
    pub(super) const fn remaining(self) -> usize {
        self.rest.len()
    }

    /// Returns what was not read yet.
    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Error::Truncated { field })?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(super) fn byte(&mut self, field: &'static str) -> Result<u8, Error> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    #[inline]
    pub(super) fn int16(&mut self, field: &'static str) -> Result<u16, Error> {
        self.array(field).map(u16::from_be_bytes)
    }

    #[inline]
    pub(super) fn int32(&mut self, field: &'static str) -> Result<u32, Error> {
        self.array(field).map(u32::from_be_bytes)
    }

    #[inline]
    pub(super) fn signed32(&mut self, field: &'static str) -> Result<i32, Error> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub(super) fn int64(&mut self, field: &'static str) -> Result<u64, Error> {
        self.array(field).map(u64::from_be_bytes)
    }

    pub(super) fn signed64(&mut self, field: &'static str) -> Result<i64, Error> {
        self.array(field).map(i64::from_be_bytes)
    }

    #[inline]
    pub(super) fn bytes(&mut self, length: u32, field: &'static str) -> Result<&'a [u8], Error> {
        let (head, rest) =
            self.rest.split_at_checked(length as usize).ok_or(Error::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads a string up to its zero byte.
    pub(super) fn string(&mut self, field: &'static str) -> Result<&'a str, Error> {
        let end = memchr::memchr(0, self.rest).ok_or(Error::Truncated { field })?;
        let (head, rest) = self.rest.split_at_checked(end).ok_or(Error::Truncated { field })?;
        self.rest = rest.split_first().map_or(rest, |(_, rest)| rest);
        std::str::from_utf8(head).map_err(|_| Error::NotUtf8 { field })
    }

    /// Ends the reading: bytes that no field accounts for are an error.
    pub(super) const fn end(self, message: &'static str) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::Trailing { message, bytes: self.rest.len() })
        }
    }
}
