//! What became of each change, as text for people.

use super::told::{AtSink, Mapping, Told, ToldTry};

/// An answer is cut here in text for people.
const ANSWER_CHARS_MAX: usize = 200;

impl Told {
    /// Returns it for people.
    #[must_use]
    pub fn text(&self) -> String {
        let time = self.time.as_deref().unwrap_or("no time");
        let mut out = format!("{time}  {}  {}\n", self.op, self.event_id);
        if let (Some(before), Some(key)) = (&self.before_key, &self.key) {
            out.push_str(&format!(
                "  key      {} became {}\n",
                plain(before.get()),
                plain(key.get())
            ));
        }
        if !self.columns.is_empty() {
            out.push_str(&format!("  columns  {}\n", plain(&self.columns.join(", "))));
        }
        if self.sinks.is_empty() {
            out.push_str("  no route takes it\n");
        }
        let width = |text: fn(&AtSink) -> &str| {
            self.sinks.iter().map(|at| text(at).chars().count()).max().unwrap_or(0)
        };
        let (sinks, states) = (width(|at| &at.sink).max(7), width(|at| &at.state));
        for at in &self.sinks {
            out.push_str(&format!("  {:<sinks$}  {:<states$}  {}\n", at.sink, at.state, at.text()));
            for tried in &at.tries {
                out.push_str(&format!("  {:<sinks$}    {}\n", "", tried.text()));
            }
        }
        out
    }
}

impl AtSink {
    /// What stands behind sink and state.
    fn text(&self) -> String {
        let mut parts = vec![match &self.mapping {
            Some(Mapping { name, version }) => format!("{} ({name} {version})", self.route),
            None => self.route.clone(),
        }];
        if let Some(attempts) = self.attempts {
            parts.push(format!("{attempts} attempt{}", if attempts == 1 { "" } else { "s" }));
        }
        if let Some(at) = &self.delivered_at {
            parts.push(at.clone());
        }
        if let Some(took) = self.took_ms {
            parts.push(format!("{took} ms"));
        }
        match (&self.category, &self.reason) {
            (Some(category), Some(reason)) => parts.push(format!("{category}: {}", plain(reason))),
            (None, Some(reason)) => parts.push(plain(reason)),
            (Some(category), None) => parts.push(category.clone()),
            (None, None) => {}
        }
        parts.join(", ")
    }
}

impl ToldTry {
    fn text(&self) -> String {
        let mut text = format!("{}  {}", self.time, self.category.as_deref().unwrap_or("accepted"));
        if let Some(status) = self.status {
            text.push_str(&format!("  {status}"));
        }
        if let Some(answer) = self.answer.as_deref().filter(|answer| !answer.is_empty()) {
            text.push_str(&format!("  {}", plain(answer)));
        }
        text
    }
}

/// What others wrote, fit for a terminal: one line, no control characters, not endless.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for (count, char) in text.chars().enumerate() {
        if count == ANSWER_CHARS_MAX {
            out.push('…');
            break;
        }
        if char.is_control() { out.extend(char.escape_default()) } else { out.push(char) }
    }
    out
}
