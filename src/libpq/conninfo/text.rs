//! The two forms of a connection string, taken apart into keys and values.

use std::path::Path;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Error;

/// Keys whose value is a file.
const FILES: [&str; 4] = ["sslrootcert", "sslcert", "sslkey", "passfile"];

/// Returns the connection string with the files that it names by relative paths in `folder`. One
/// that can't be read is left as it is.
#[must_use]
pub fn anchored(text: &str, folder: &Path) -> String {
    let mut out = text.to_owned();
    for (key, value) in pairs(text).unwrap_or_default() {
        let is_system = key == "sslrootcert" && value == "system";
        let is_file = FILES.contains(&key.as_str()) && !value.is_empty() && !is_system;
        if !is_file || Path::new(&value).is_absolute() {
            continue;
        }
        let Some(path) = folder.join(value).to_str().map(str::to_owned) else { continue };
        // Of two with one key the last counts.
        if text.contains("://") {
            out.push(if out.contains('?') { '&' } else { '?' });
            out.extend([key.as_str(), "="]);
            out.extend(utf8_percent_encode(&path, NON_ALPHANUMERIC));
        } else {
            let path = path.replace('\\', "\\\\").replace('\'', "\\'");
            out.extend([" ", &key, "='", &path, "'"]);
        }
    }
    out
}

/// Takes apart either form: a URL (`postgresql://…`) or `key=value` pairs.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, Error> {
    let trimmed = text.trim();
    match trimmed.strip_prefix("postgresql://").or_else(|| trimmed.strip_prefix("postgres://")) {
        Some(rest) => url(rest),
        None if trimmed.contains("://") => {
            Err(Error::Syntax { what: "the address must start with postgresql:// or postgres://" })
        }
        None => key_value(trimmed),
    }
}

/// Shape: `[user[:password]@][host[:port][,…]][/database][?key=value[&…]]`.
fn url(rest: &str) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::new();
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(a, b)| (a, Some(b)));
    // A password may hold an unescaped slash or '@' only percent-encoded, as libpq has it; still
    // the last '@' parts the user from the hosts, so that a forgotten '@' in one is forgiven.
    let (authority, database) = match rest.rsplit_once('@') {
        Some((user, hosts)) => {
            user_and_password(user, &mut pairs)?;
            hosts.split_once('/').map_or((hosts, None), |(a, b)| (a, Some(b)))
        }
        None => rest.split_once('/').map_or((rest, None), |(a, b)| (a, Some(b))),
    };
    hosts(authority, &mut pairs)?;
    if let Some(database) = database.filter(|database| !database.is_empty()) {
        pairs.push(("dbname".to_owned(), decode(database)?));
    }
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair
            .split_once('=')
            .ok_or(Error::Syntax { what: "a parameter behind the ? of the URL has no =" })?;
        let (key, value) = (decode(key)?, decode(value)?);
        // JDBC's spelling, which libpq takes too.
        if key == "ssl" && value == "true" {
            pairs.push(("sslmode".to_owned(), "require".to_owned()));
        } else {
            pairs.push((key, value));
        }
    }
    Ok(pairs)
}

fn user_and_password(text: &str, pairs: &mut Vec<(String, String)>) -> Result<(), Error> {
    let (user, password) = text.split_once(':').map_or((text, None), |(a, b)| (a, Some(b)));
    if !user.is_empty() {
        pairs.push(("user".to_owned(), decode(user)?));
    }
    if let Some(password) = password {
        pairs.push(("password".to_owned(), decode(password)?));
    }
    Ok(())
}

fn hosts(text: &str, pairs: &mut Vec<(String, String)>) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in text.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let (address, rest) = bracketed
                    .split_once(']')
                    .ok_or(Error::Syntax { what: "an IPv6 address lacks its closing ]" })?;
                match rest.strip_prefix(':') {
                    Some(port) => (address, port),
                    None if rest.is_empty() => (address, ""),
                    None => {
                        return Err(Error::Syntax { what: "text between ] and : in the address" });
                    }
                }
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(port.to_owned());
    }
    if names.iter().any(|name| !name.is_empty()) {
        pairs.push(("host".to_owned(), names.join(",")));
    }
    if ports.iter().any(|port| !port.is_empty()) {
        pairs.push(("port".to_owned(), ports.join(",")));
    }
    Ok(())
}

fn decode(text: &str) -> Result<String, Error> {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = |digit: Option<u8>| digit.is_some_and(|digit| digit.is_ascii_hexdigit());
            let (high, low) = (rest.next(), rest.next());
            if !hex(high) || !hex(low) || (high, low) == (Some(b'0'), Some(b'0')) {
                return Err(Error::Syntax {
                    what: "a % in the URL is not followed by two hex digits (write % as %25)",
                });
            }
        }
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Error::Syntax { what: "a percent-encoded part of the URL is not UTF-8" })
}

/// Shape: `key = value key='quo\'ted'`, with blanks around `=` allowed.
fn key_value(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut pairs = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=' && !c.is_whitespace()) {
            key.push(c);
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        if rest.next() != Some('=') {
            return Err(Error::Syntax { what: "a key without = (is it meant as a URL?)" });
        }
        while rest.next_if(|c| c.is_whitespace()).is_some() {}
        let mut value = String::new();
        let quoted = rest.next_if_eq(&'\'').is_some();
        loop {
            match rest.next() {
                None if quoted => {
                    return Err(Error::Syntax { what: "a quoted value lacks its closing '" });
                }
                None => break,
                Some('\'') if quoted => break,
                Some(c) if !quoted && c.is_whitespace() => break,
                Some('\\') => value.extend(rest.next()),
                Some(c) => value.push(c),
            }
        }
        pairs.push((key, value));
    }
}
