//! [`Filter`]: which of the events that were set aside are meant.

use rusqlite::types::Value;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::failure::Category;

/// Which events are meant: those that everything given fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// These rows.
    pub ids: Vec<i64>,
    /// Of this sink.
    pub sink: Option<String>,
    /// Of this route.
    pub route: Option<String>,
    /// Of this table, as SQL would quote it.
    pub table: Option<String>,
    /// With these values in the key: column and JSON text of each; see [`Filter::set_key`].
    pub key: Vec<(String, String)>,
    /// That failed so.
    pub category: Option<String>,
    /// That failed with exactly this message.
    pub message: Option<String>,
    /// In this state.
    pub state: Option<String>,
    /// That failed last at or after this time, in microseconds since 1970.
    pub since: Option<i64>,
    /// That failed last before this time, in microseconds since 1970.
    pub until: Option<i64>,
}

/// What was given as a key is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is a JSON object of its columns, such as {{\"id\": 42}}")]
pub struct KeyError;

impl Filter {
    /// Whether nothing was given, so that everything fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Asks for a key, given as a JSON object of columns: `{"id": 42}`. Digits are compared as
    /// they stand.
    ///
    /// # Errors
    /// [`KeyError`] when it is not an object with something in it.
    pub fn set_key(&mut self, text: &str) -> Result<(), KeyError> {
        let fields: std::collections::BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(text).map_err(|_| KeyError)?;
        if fields.is_empty() {
            return Err(KeyError);
        }
        self.key = fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect();
        Ok(())
    }

    /// Asks for a category.
    pub fn set_category(&mut self, category: Category) {
        self.category = Some(category.as_str().to_owned());
    }

    /// Returns a condition on `dead_letters` and its values, numbered from 1.
    pub(super) fn sql(&self) -> (String, Vec<Value>) {
        let mut parts = vec!["1".to_owned()];
        let mut values = Vec::new();
        let mut add = |parts: &mut Vec<String>, sql: &str, value: Value| {
            values.push(value);
            parts.push(sql.replace('?', &format!("?{}", values.len())));
        };
        if !self.ids.is_empty() {
            let ids: Vec<String> = self.ids.iter().map(i64::to_string).collect();
            let list = Value::Text(format!("[{}]", ids.join(",")));
            add(&mut parts, "id IN (SELECT value FROM json_each(?))", list);
        }
        let texts = [
            ("sink = ?", &self.sink),
            ("route = ?", &self.route),
            ("\"table\" = ?", &self.table),
            ("category = ?", &self.category),
            ("message = ?", &self.message),
            ("state = ?", &self.state),
        ];
        for (sql, text) in texts {
            if let Some(text) = text {
                add(&mut parts, sql, Value::Text(text.clone()));
            }
        }
        for (column, value) in &self.key {
            values.push(Value::Text(column.clone()));
            values.push(Value::Text(value.clone()));
            let count = values.len();
            // As a path, so that a column of any name is one: `->` takes `$…` for a path itself.
            parts.push(format!("\"key\" -> ('$.' || json_quote(?{})) = ?{count}", count - 1));
        }
        for (sql, time) in [("last_failed >= ?", self.since), ("last_failed < ?", self.until)] {
            if let Some(time) = time {
                values.push(Value::Integer(time));
                parts.push(sql.replace('?', &format!("?{}", values.len())));
            }
        }
        (parts.join(" AND "), values)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, params_from_iter};

    use super::*;

    #[track_caller]
    fn check(key: &str, asked: &str, is_it: bool) {
        let mut filter = Filter::default();
        filter.set_key(asked).unwrap();
        let (sql, values) = filter.sql();
        let connection = Connection::open_in_memory().unwrap();
        let sql = format!("SELECT count(*) FROM (SELECT '{key}' AS \"key\") WHERE {sql}");
        let count = |sql: &str| -> rusqlite::Result<i64> {
            connection.prepare(sql)?.query_row(params_from_iter(&values), |row| row.get(0))
        };
        assert_eq!(count(&sql), Ok(i64::from(is_it)), "{asked} in {key}");
    }

    #[test]
    fn a_column_of_any_name_is_found() {
        check(r#"{"id":42}"#, r#"{"id": 42}"#, true);
        check(r#"{"id":42}"#, r#"{"id": 42.0}"#, false);
        for name in ["", "$", "$.id", "a.b", "0", "[0]", "#", "Größe", "a b"] {
            let key = format!(r#"{{"id":1,"{name}":"x"}}"#);
            check(&key, &format!(r#"{{"{name}": "x"}}"#), true);
            check(&key, &format!(r#"{{"{name}": "y"}}"#), false);
            check(r#"{"id":1}"#, &format!(r#"{{"{name}": 1}}"#), false);
        }
    }
}
