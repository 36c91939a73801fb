//! What a session is told as it begins.

use super::conninfo::Conninfo;

/// What makes text in and out canonical, whatever the role or the database sets. They come as
/// `options` behind the user's own, so that they win over both and over ALTER ROLE and ALTER
/// DATABASE SET.
///
/// Since PostgreSQL 12 any `extra_float_digits` above zero prints the shortest exact text; 3 is
/// what the server's own subscribers and `pg_dump` ask for.
pub(crate) const TEXT: &[(&str, &str)] = &[
    ("client_encoding", "UTF8"),
    ("datestyle", "ISO,MDY"),
    ("intervalstyle", "iso_8601"),
    ("timezone", "UTC"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("xmlbinary", "base64"),
    ("lc_monetary", "C"),
    ("lc_numeric", "C"),
    ("quote_all_identifiers", "off"),
];

/// Returns the `options` of a connection: the user's, those of [`TEXT`], and more.
pub(crate) fn options<'a>(
    conninfo: &Conninfo,
    more: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> String {
    let mut options = conninfo.options.clone();
    for (name, value) in TEXT.iter().copied().chain(more) {
        options.push_str(" -c ");
        options.push_str(name);
        options.push('=');
        options.push_str(value);
    }
    options
}
