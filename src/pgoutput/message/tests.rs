//! Messages from bytes.
