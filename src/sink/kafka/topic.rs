//! [`Topic`]: where an event goes.

use std::borrow::Cow;

use super::Error;
use crate::sink::template::{Event, Part, Template};

/// Longer names no broker takes.
const NAME_BYTES_MAX: usize = 249;

/// A topic's name, or how it is made of an event.
#[derive(Debug)]
pub(super) struct Topic {
    /// As the config has it: what is shown, since a name that is made may hold a row's value.
    pub(super) text: String,
    template: Template,
}

impl Topic {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let template = Template::parse(text).map_err(Error::Template)?;
        if let Some(name) = template.fixed() {
            legal(name).map_err(Error::Topic)?;
        }
        for part in &template.parts {
            if let Part::Literal(literal) = part
                && let Some(why) = foreign(literal)
            {
                return Err(Error::Topic(why));
            }
        }
        Ok(Self { text: text.to_owned(), template })
    }

    /// Returns the name, where it is the same for every event.
    pub(super) fn fixed(&self) -> Option<&str> {
        self.template.fixed()
    }

    /// Returns the name for an event, or what stands in its way; that holds no value.
    pub(super) fn name(&self, event: &Event<'_>) -> Result<Cow<'_, str>, String> {
        if let Some(name) = self.template.fixed() {
            return Ok(Cow::Borrowed(name));
        }
        let name = self.template.render(event).map_err(|error| format!("topic: {error}"))?;
        legal(&name).map_err(|why| format!("topic `{}` {why} once it is filled in", self.text))?;
        Ok(Cow::Owned(name))
    }
}

fn legal(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("is empty"),
        "." | ".." => Err("is `.` or `..`"),
        _ if name.len() > NAME_BYTES_MAX => Err("is longer than 249 bytes"),
        _ => foreign(name).map_or(Ok(()), Err),
    }
}

fn foreign(text: &str) -> Option<&'static str> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!text.chars().all(fine)).then_some("has other signs than letters, digits, `.`, `_` and `-`")
}
