//! [`Query`]: what stands behind the `?` of an address (pure).

use std::str::FromStr;

use url::form_urlencoded;

/// Names and values, each name once and known.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it; `known` are the names that may stand there. An empty text counts as none: a form
    /// sends its empty fields too.
    pub(super) fn parse(text: Option<&str>, known: &[&str]) -> Result<Self, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let there = if known.is_empty() { "nothing".to_owned() } else { known.join(", ") };
                return Err(format!("unknown \"{name}\"; there is {there}"));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(format!("\"{name}\" stands there twice"));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// Returns a value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|value| !value.is_empty())
    }

    fn raw(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Returns a value as an owned text.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// Returns a value that must be there.
    pub(super) fn need(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("\"{name}\" is needed"))
    }

    /// Returns a value that is read from text; `what` says what it must be.
    pub(super) fn read<T: FromStr>(&self, name: &str, what: &str) -> Result<Option<T>, String> {
        let read = |text: &str| text.parse().map_err(|_| format!("\"{name}\" must be {what}"));
        self.raw(name).map(read).transpose()
    }

    /// Returns the number of something, from 1.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, String> {
        match self.read(name, "a whole number from 1")? {
            Some(number) if number < 1 => Err(format!("\"{name}\" must be a whole number from 1")),
            number => Ok(number),
        }
    }

    /// Returns a whole number from 1 to `max`, or else `max`.
    pub(super) fn limit(&self, max: u32) -> Result<u32, String> {
        let what = format!("a whole number from 1 to {max}");
        match self.read("limit", &what)? {
            None => Ok(max),
            Some(limit) if (1..=max).contains(&limit) => Ok(limit),
            Some(_) => Err(format!("\"limit\" must be {what}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_stands_there_twice_is_refused() {
        let known = ["sink", "limit"];
        let parse = |text| Query::parse(Some(text), &known);
        assert_eq!(parse("sink=a%20b&limit=").unwrap().get("sink"), Some("a b"));
        assert_eq!(parse("sink=").unwrap().get("sink"), None);
        assert_eq!(parse("").unwrap().limit(500), Ok(500));
        assert_eq!(parse("limit=7").unwrap().limit(500), Ok(7));
        for wrong in ["limit=", "limit=0", "limit=501", "limit=x", "limit=-1", "limit=1.5"] {
            assert!(parse(wrong).unwrap().limit(500).is_err(), "{wrong}");
        }
        assert!(parse("snik=a").unwrap_err().contains("there is sink, limit"));
        assert!(parse("sink=a&sink=b").unwrap_err().contains("twice"));
    }
}
