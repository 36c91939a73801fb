//! The topic of an event: fixed, or named by it.

use std::fmt;

use super::Error;
use crate::sink::template::{Event, Template};

/// A topic's own name is so long, in characters.
const NAME_CHARS: std::ops::RangeInclusive<usize> = 3..=255;

/// What the settings say of topics. The project is always the same: what a row holds can't lead
/// into another.
#[derive(Debug)]
pub(super) struct Topic {
    project: String,
    name: Template,
}

/// One topic, by names that are fit to be some.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    project: String,
    topic: String,
}

impl Topic {
    /// Reads `projects/PROJECT/topics/TOPIC`.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.strip_prefix("projects/").and_then(|rest| rest.split_once("/topics/"));
        let (project, name) = parts.ok_or(Error::Topic("those words are not in it"))?;
        let of_project = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
        if project.is_empty() || !project.bytes().all(of_project) {
            return Err(Error::Topic("no project has that id"));
        }
        let template = |source| Error::Template { key: "topic".to_owned(), source };
        let name = Template::parse(name).map_err(template)?;
        if let Some(name) = name.fixed() {
            fits(name).map_err(Error::Topic)?;
        }
        Ok(Self { project: project.to_owned(), name })
    }

    /// Returns the topic of an event, or says what stands in the way. What is said holds no value.
    pub(super) fn of(&self, event: &Event<'_>) -> Result<Name, String> {
        let topic = self.name.render(event).map_err(|problem| format!("topic: {problem}"))?;
        self.named(topic)
    }

    /// Returns the topic where it is always the same.
    pub(super) fn fixed(&self) -> Option<Result<Name, String>> {
        self.name.fixed().map(|topic| self.named(topic.to_owned()))
    }

    fn named(&self, topic: String) -> Result<Name, String> {
        fits(&topic).map_err(|problem| format!("topic: {problem}"))?;
        Ok(Name { project: self.project.clone(), topic })
    }
}

impl Name {
    /// Returns the path of a method.
    pub(super) fn path(&self, method: &str) -> String {
        // Of what a name may have only this means something else in a path.
        let topic = self.topic.replace('%', "%25");
        format!("/v1/projects/{}/topics/{topic}{method}", self.project)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "projects/{}/topics/{}", self.project, self.topic)
    }
}

/// Source: <https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names>.
fn fits(name: &str) -> Result<(), &'static str> {
    if !NAME_CHARS.contains(&name.len()) {
        return Err("a topic's name has 3 to 255 characters");
    }
    if !name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Err("a topic's name begins with a letter");
    }
    if name.starts_with("goog") {
        return Err("no topic's name begins with `goog`");
    }
    let may = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte);
    if !name.bytes().all(may) {
        return Err("a topic's name has letters, digits and the signs - _ . ~ + % alone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_in_full() {
        let path = |text: &str| Topic::parse(text).unwrap().fixed().unwrap().unwrap().path(":x");
        assert_eq!(path("projects/acme-1/topics/orders"), "/v1/projects/acme-1/topics/orders:x");
        assert_eq!(path("projects/a.com:b/topics/a%b+c"), "/v1/projects/a.com:b/topics/a%25b+c:x");
        for wrong in [
            "orders",
            "projects/acme/orders",
            "projects//topics/orders",
            "projects/a/b/topics/orders",
            "projects/{{ op }}/topics/orders",
            "projects/acme/topics/",
            "projects/acme/topics/ab",
            "projects/acme/topics/1ab",
            "projects/acme/topics/google",
            "projects/acme/topics/a/b",
            "projects/acme/topics/a b c",
            "projects/acme/topics/{{ op",
        ] {
            assert_eq!(Topic::parse(wrong).unwrap_err().key(), "topic", "{wrong}");
        }
        assert!(Topic::parse("projects/acme/topics/{{ table.name }}").unwrap().fixed().is_none());
    }
}
