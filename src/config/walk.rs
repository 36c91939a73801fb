//! Walks a parsed file along the description of its keys and notes everything that is wrong.

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::interpolate::{Environment, interpolate, plain};
use super::keys::{Key, Otherwise, Section, Shape};
use super::problem::Notes;
use super::tree::{Entry, Span, Table, Value};
use super::unit;
use crate::mapping::is_same_number;
use crate::secret::Secret;

/// How alike two words must be for one to be offered for the other (0 to 1).
const LIKENESS_MIN: f64 = 0.8;

pub(super) struct Walker<'a, 'n> {
    pub(super) notes: &'n mut Notes<'a>,
    pub(super) environment: &'n Environment<'n>,
    /// Nothing is read from the environment: `${…}` is refused.
    pub(super) is_closed: bool,
}

impl Walker<'_, '_> {
    /// Reads a table; keys that are wrong are noted and left out.
    pub(super) fn table(&mut self, section: &Section, found: &DeTable<'_>, place: Span) -> Table {
        let mut table = Table { place, entries: Vec::new(), refused: false };
        for (name, value) in in_order(found) {
            let Some(key) = self.known(section, name) else {
                table.refused = true;
                continue;
            };
            let Some(read) = self.value(key.name, &key.shape, value, &name.span()) else {
                table.refused = true;
                continue;
            };
            table.entries.push(Entry {
                name: key.name.to_owned(),
                place: name.span(),
                span: value.span(),
                given: true,
                value: read,
            });
        }
        for key in section.keys {
            if !found.contains_key(key.name) {
                self.left_out(section, key, &mut table);
            }
        }
        table
    }

    /// Notes values that stand where the one key of their table has to stand around them; none
    /// where that is so.
    fn is_wrapped(
        &mut self,
        name: &str,
        section: &Section,
        found: &DeTable<'_>,
        span: &Span,
    ) -> Option<()> {
        let [Key { name: wanted, shape: Shape::Values, .. }] = section.keys else {
            return Some(());
        };
        let mut words = found.keys().map(|word| word.get_ref().as_ref());
        let is_it = |word| suggestion(word, std::iter::once(*wanted)).is_some();
        if found.is_empty() || words.any(is_it) {
            return Some(());
        }
        let written = self.notes.text(span).filter(|text| text.starts_with('{'));
        let written = written.filter(|text| !text.contains('\n')).unwrap_or("{ … }");
        let message = format!(
            "\"{name}\" needs \"{wanted}\" around its fields; write {name} = {{ {wanted} = \
             {written} }}"
        );
        self.notes.problem(span, message);
        None
    }

    fn known(
        &mut self,
        section: &Section,
        name: &Spanned<std::borrow::Cow<'_, str>>,
    ) -> Option<&'static Key> {
        let word = name.get_ref();
        match section.key(word) {
            Some(key) if key.otherwise == Otherwise::Later => {
                self.notes.problem(
                    &name.span(),
                    format!("\"{word}\" is not available in this version; leave it out"),
                );
                None
            }
            Some(key) => Some(key),
            None => {
                let known = section.keys.iter().filter(|key| key.otherwise != Otherwise::Later);
                let cure = suggestion(word, known.map(|key| key.name)).map_or_else(
                    || format!("{} has {}", section.title, names(section)),
                    |meant| format!("did you mean \"{meant}\"?"),
                );
                self.notes.problem(&name.span(), format!("unknown key \"{word}\"; {cure}"));
                None
            }
        }
    }

    fn left_out(&mut self, section: &Section, key: &Key, table: &mut Table) {
        let place = table.place.clone();
        let value = match key.otherwise {
            Otherwise::Required => {
                self.notes.problem(
                    &place,
                    format!("{} needs \"{}\"; {}", section.title, key.name, example(key)),
                );
                return;
            }
            Otherwise::None | Otherwise::Later => return,
            Otherwise::Toml(_) if matches!(key.shape, Shape::Table(_)) => {
                let Shape::Table(section) = key.shape else { return };
                Value::Table(self.table(section, &DeTable::new(), place.clone()))
            }
            Otherwise::Toml(text) => {
                let Ok(parsed) = DeValue::parse(text) else { return };
                let Some(value) = self.value(key.name, &key.shape, &parsed, &place) else { return };
                value
            }
        };
        let name = key.name.to_owned();
        table.entries.push(Entry { name, place: place.clone(), span: place, given: false, value });
    }

    /// Reads one value; none when it does not have the form asked for (which is then noted).
    fn value(
        &mut self,
        name: &str,
        shape: &Shape,
        value: &Spanned<DeValue<'_>>,
        key: &Span,
    ) -> Option<Value> {
        let span = value.span();
        match (shape, value.get_ref()) {
            (Shape::Either(shapes), found) => match shapes.iter().find(|s| takes(s, found)) {
                Some(shape) => self.value(name, shape, value, key),
                None => self.wrong(name, shape, value),
            },
            (Shape::Boolean, DeValue::Boolean(boolean)) => Some(Value::Boolean(*boolean)),
            (Shape::Integer(min, max), DeValue::Integer(number)) => {
                let read = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let fits =
                    read.and_then(|n| u32::try_from(n).ok()).filter(|n| (min..=max).contains(&n));
                match fits {
                    Some(number) => Some(Value::Integer(number)),
                    None => self.wrong(name, shape, value),
                }
            }
            (Shape::Ratio, DeValue::Integer(_) | DeValue::Float(_)) => {
                let read = self.json(name, value)?;
                let ratio = read.as_f64().filter(|ratio| *ratio > 0.0 && *ratio <= 1.0);
                match ratio {
                    Some(_) => Some(Value::Any(read)),
                    None => self.wrong(name, shape, value),
                }
            }
            (Shape::Any, _) => self.json(name, value).map(Value::Any),
            (Shape::Cell, _) => self.cell(name, value).map(Value::Cell),
            (Shape::Table(section), DeValue::Table(found)) => {
                self.is_wrapped(name, section, found, &span)?;
                Some(Value::Table(self.table(section, found, key.clone())))
            }
            (
                Shape::Named(_) | Shape::Secrets | Shape::Values | Shape::Cells,
                DeValue::Table(found),
            ) => Some(Value::Table(self.names(shape, found, key.clone()))),
            (Shape::List(item), DeValue::Array(found)) => {
                // A list that lacks what was wrong in it would be another.
                let read: Vec<Option<Entry>> =
                    found.iter().map(|element| self.element(name, item, element)).collect();
                read.into_iter().collect::<Option<_>>().map(Value::List)
            }
            (
                Shape::Text
                | Shape::Secret
                | Shape::Path
                | Shape::Duration(_)
                | Shape::Size
                | Shape::Rate
                | Shape::ByteRate
                | Shape::Word(..),
                DeValue::String(raw),
            ) => {
                let text = self.interpolated(raw, &span)?;
                match self.scalar(shape, &text) {
                    Some(read) => Some(read),
                    None => self.wrong(name, shape, value),
                }
            }
            _ => self.wrong(name, shape, value),
        }
    }

    fn element(
        &mut self,
        name: &str,
        shape: &Shape,
        element: &Spanned<DeValue<'_>>,
    ) -> Option<Entry> {
        let span = element.span();
        let value = self.value(name, shape, element, &span)?;
        let name = String::new();
        Some(Entry { name, place: span.clone(), span, given: true, value })
    }

    /// Reads a value that is written as a string.
    fn scalar(&self, shape: &Shape, text: &str) -> Option<Value> {
        match shape {
            Shape::Text if text.is_empty() => None,
            Shape::Text | Shape::Secret => Some(Value::Text(Secret::new(text.to_owned()))),
            Shape::Path if text.is_empty() => None,
            Shape::Path => Some(Value::Path(self.environment.folder.join(text))),
            Shape::Duration(min) => unit::duration(text)
                .filter(|d| d.as_millis() >= u128::from(*min))
                .map(Value::Duration),
            Shape::Size => unit::size(text).map(Value::Size),
            Shape::Rate => unit::rate(text).map(Value::Rate),
            Shape::ByteRate => unit::byte_rate(text).map(Value::Rate),
            Shape::Word(words, _) => {
                words.contains(&text).then(|| Value::Text(Secret::new(text.to_owned())))
            }
            _ => None,
        }
    }

    /// Reads a table whose names are the user's own.
    fn names(&mut self, shape: &Shape, found: &DeTable<'_>, place: Span) -> Table {
        let mut table = Table { place, entries: Vec::new(), refused: false };
        for (name, value) in in_order(found) {
            let inner = match shape {
                Shape::Named(section) => Shape::Table(section),
                Shape::Secrets => Shape::Secret,
                Shape::Cells => Shape::Cell,
                _ => Shape::Any,
            };
            let Some(read) = self.value(name.get_ref(), &inner, value, &name.span()) else {
                table.refused = true;
                continue;
            };
            table.entries.push(Entry {
                name: name.get_ref().to_string(),
                place: name.span(),
                span: value.span(),
                given: true,
                value: read,
            });
        }
        table
    }

    /// Turns any value into JSON; a date becomes its text. A number that a double or 64 bits
    /// can't hold exactly is refused, never rounded.
    fn json(&mut self, name: &str, value: &Spanned<DeValue<'_>>) -> Option<Json> {
        Some(match value.get_ref() {
            DeValue::String(text) => Json::String(self.interpolated(text, &value.span())?),
            DeValue::Boolean(boolean) => Json::Bool(*boolean),
            DeValue::Datetime(time) => Json::String(time.to_string()),
            DeValue::Integer(number) => {
                let Ok(number) = i64::from_str_radix(number.as_str(), number.radix()) else {
                    return self.not_json(name, "a number of 64 bits", value);
                };
                Json::from(number)
            }
            DeValue::Float(number) => {
                let written = number.as_str().strip_prefix('+').unwrap_or(number.as_str());
                let read = written.parse().ok().and_then(serde_json::Number::from_f64);
                match read.filter(|read| is_same_number(&read.to_string(), written)) {
                    Some(number) => Json::Number(number),
                    None if written.ends_with("inf") || written.ends_with("nan") => {
                        return self.not_json(name, "a number that JSON knows", value);
                    }
                    None => {
                        let what = "a number that a double holds exactly";
                        return self.not_json(name, what, value);
                    }
                }
            }
            DeValue::Array(items) => {
                Json::Array(items.iter().filter_map(|item| self.json(name, item)).collect())
            }
            DeValue::Table(found) => Json::Object(
                in_order(found)
                    .into_iter()
                    .filter_map(|(key, value)| {
                        Some((key.get_ref().to_string(), self.json(key.get_ref(), value)?))
                    })
                    .collect(),
            ),
        })
    }

    /// Notes that a value is not to be had. Returns none, always.
    pub(super) fn not_json<T>(
        &mut self,
        name: &str,
        what: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Option<T> {
        let message = format!("\"{name}\" must be {what}; write it as a string");
        self.notes.problem(&value.span(), message);
        None
    }

    pub(super) fn interpolated(&mut self, raw: &str, span: &Span) -> Option<String> {
        let read = if self.is_closed { plain(raw) } else { interpolate(raw, self.environment) };
        match read {
            Ok(text) => Some(text),
            Err(problems) => {
                for problem in problems {
                    self.notes.problem(span, problem);
                }
                None
            }
        }
    }

    /// Notes that a value has not the form asked for. Returns none, always.
    fn wrong(&mut self, name: &str, shape: &Shape, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        if let (Shape::Word(words, later), DeValue::String(found)) = (shape, value.get_ref()) {
            let message = wrong_word(name, words, later, found);
            self.notes.problem(&span, message);
            return None;
        }
        let message = match (shape, value.get_ref()) {
            (Shape::Duration(_), DeValue::Integer(number)) => {
                format!("\"{name}\" needs a unit; did you mean \"{number}s\"?")
            }
            (Shape::Size, DeValue::Integer(number)) => {
                format!("\"{name}\" needs a unit; did you mean \"{number}B\"?")
            }
            (Shape::Rate, DeValue::Integer(number)) => {
                format!("\"{name}\" needs a time; did you mean \"{number}/s\"?")
            }
            (Shape::List(Shape::Table(_)), DeValue::Table(_)) => {
                format!("\"{name}\" must be a list of tables; write [[{name}]]")
            }
            (Shape::Secret, _) => format!("\"{name}\" must be {}", expected(shape)),
            (_, found) => {
                format!("\"{name}\" must be {}, not {}", expected(shape), shown(found))
            }
        };
        self.notes.problem(&span, message);
        None
    }
}

fn wrong_word(name: &str, words: &[&str], later: &[&str], found: &str) -> String {
    if later.contains(&found) {
        let offered = one_of(words);
        return format!("{name} = \"{found}\" is not available in this version; write {offered}");
    }
    let cure = suggestion(found, words.iter().copied())
        .map(|meant| format!("; did you mean \"{meant}\"?"))
        .unwrap_or_default();
    format!("\"{name}\" must be {}, not \"{found}\"{cure}", one_of(words))
}

/// Returns the known word that is most like `word`, when one is like it enough.
pub(crate) fn suggestion<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    known
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Returns `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn names(section: &Section) -> String {
    let known = section.keys.iter().filter(|key| key.otherwise != Otherwise::Later);
    let names: Vec<&str> = known.map(|key| key.name).collect();
    if names.is_empty() { "no keys".to_owned() } else { names.join(", ") }
}

fn example(key: &Key) -> String {
    match key.shape {
        Shape::Table(_) => format!("add [{}]", key.name),
        Shape::Values => format!("add {} = {{ … }}: {}", key.name, key.doc),
        Shape::Named(_) => format!("add [{}.NAME]", key.name),
        Shape::List(Shape::Table(_)) => format!("add [[{}]]", key.name),
        Shape::Integer(min, _) => format!("add {} = {min}", key.name),
        _ => format!("add {} = \"…\": {}", key.name, key.doc),
    }
}

fn takes(shape: &Shape, found: &DeValue<'_>) -> bool {
    match shape {
        Shape::Any | Shape::Cell => true,
        Shape::Boolean => found.is_bool(),
        Shape::Integer(..) => found.is_integer(),
        Shape::Ratio => found.is_integer() || found.is_float(),
        Shape::Table(_) | Shape::Named(_) | Shape::Secrets | Shape::Values | Shape::Cells => {
            found.is_table()
        }
        Shape::List(_) => found.is_array(),
        Shape::Either(shapes) => shapes.iter().any(|shape| takes(shape, found)),
        _ => found.is_str(),
    }
}

/// Says what should have stood there.
fn expected(shape: &Shape) -> String {
    match shape {
        Shape::Text => "a string that is not empty".to_owned(),
        Shape::Secret => "a string".to_owned(),
        Shape::Path => "a path".to_owned(),
        Shape::Integer(min, u32::MAX) => format!("a whole number from {min}"),
        Shape::Integer(min, max) => format!("a whole number from {min} to {max}"),
        Shape::Boolean => "true or false".to_owned(),
        Shape::Ratio => "a number above 0, up to 1".to_owned(),
        Shape::Duration(0) => "a duration such as \"250ms\", \"1s\", \"5m\" or \"7d\"".to_owned(),
        Shape::Duration(_) => {
            "a duration above zero such as \"250ms\", \"1s\", \"5m\" or \"7d\"".to_owned()
        }
        Shape::Size => "a size such as \"64KiB\" or \"10GiB\"".to_owned(),
        Shape::Rate => "a rate such as \"50/s\" or \"1000/m\"".to_owned(),
        Shape::ByteRate => "a rate such as \"10MiB/s\"".to_owned(),
        Shape::Word(words, _) => one_of(words),
        Shape::Any | Shape::Cell => "a value".to_owned(),
        Shape::Table(_) | Shape::Named(_) | Shape::Secrets | Shape::Values | Shape::Cells => {
            "a table".to_owned()
        }
        Shape::List(item) => format!("a list, each {}", expected(item)),
        Shape::Either(shapes) => shapes.iter().map(expected).collect::<Vec<_>>().join(", or "),
    }
}

/// Shows what stands there, as it was written: never what a variable held.
fn shown(found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// The entries as they stand in the file; the parser sorts them by name.
pub(super) type Pair<'t, 'i> = (&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>);

pub(super) fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Pair<'t, 'i>> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
