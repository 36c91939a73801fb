//! [`Error`]: why a batch was not written, and what that means.

use tokio_postgres::error::DbError;

use super::name::Name;
use super::text::Unfit;
use crate::failure::{Category, chain};
use crate::libpq::{self, Broken};
use crate::sink::Failure;

/// What a server's answer may be long, in bytes.
const ANSWER_BYTES_MAX: usize = 2048;

/// Why it was not written.
#[derive(Debug)]
pub(super) enum Error {
    /// There is no connection.
    Connect(Box<libpq::Error>),
    /// The connection broke.
    Lost(Option<tokio_postgres::Error>),
    /// The server refused a statement.
    Refused(Box<Refused>),
    /// There is no such table, and none may be made.
    NoTable(Name),
    /// The table has no such column, and none may be added.
    NoColumn {
        /// As SQL takes it.
        table: String,
        /// The column.
        column: String,
    },
    /// The event at fault, and what is the matter with it.
    Event(String),
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Refused {
    code: String,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    table: Option<String>,
    column: Option<String>,
    constraint: Option<String>,
}

impl From<Broken> for Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Sql(error) => error.into(),
            Broken::Closed => Self::Lost(None),
        }
    }
}

impl From<libpq::Error> for Error {
    fn from(error: libpq::Error) -> Self {
        Self::Connect(Box::new(error))
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(said) => Self::Refused(Box::new(Refused::of(said))),
            None => Self::Lost(Some(error)),
        }
    }
}

impl Refused {
    fn of(error: &DbError) -> Self {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Self {
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: owned(error.detail()),
            hint: owned(error.hint()),
            table: owned(error.table()),
            column: owned(error.column()),
            constraint: owned(error.constraint()),
        }
    }
}

impl Error {
    /// Makes one of an event whose value does not fit its column.
    pub(super) fn unfit(table: &Name, column: &str, unfit: Unfit) -> Self {
        Self::Event(format!("field \"{column}\" for {table} {unfit}"))
    }

    /// The connection is of no more use.
    pub(super) const fn is_lost(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Lost(_) => true,
            Self::Refused(_) | Self::NoTable(_) | Self::NoColumn { .. } | Self::Event(_) => false,
        }
    }

    /// What is remembered of the tables may no longer be so.
    pub(super) fn is_stale(&self) -> bool {
        match self {
            Self::Refused(said) => matches!(said.code.get(..2), Some("42" | "3F" | "0A")),
            Self::NoTable(_) | Self::NoColumn { .. } => true,
            Self::Connect(_) | Self::Lost(_) | Self::Event(_) => false,
        }
    }

    /// Says what it means. `host` is where the server is.
    pub(super) fn failure(&self, host: &str) -> Failure {
        match self {
            Self::Connect(error) => connect(error),
            Self::Lost(error) => {
                let why = error.as_ref().map(|error| chain(error));
                let why = why.unwrap_or_else(|| "the server closed it".to_owned());
                Failure::new(Category::Transient, format!("the connection to {host} broke: {why}"))
            }
            Self::Refused(said) => said.failure(host),
            Self::NoTable(name) => Failure::new(
                Category::Setup,
                format!("there is no table {name} at {host}; make it, or set evolve = true"),
            ),
            Self::NoColumn { table, column } => Failure::new(
                Category::Setup,
                format!(
                    "{table} at {host} has no column \"{column}\"; add it, or set evolve = true"
                ),
            ),
            Self::Event(message) => Failure::new(Category::Rejected, message.clone()),
        }
    }
}

fn connect(error: &libpq::Error) -> Failure {
    use libpq::Error as E;
    let category = match error {
        E::Tls { source, .. } if source.is_local() => Category::Setup,
        E::Connect { .. } | E::Tls { .. } | E::Sql(_) | E::Closed => Category::Transient,
        E::Cleartext { .. }
        | E::NoPassword { .. }
        | E::ChannelBinding { .. }
        | E::Login { .. }
        | E::NoHost => Category::Setup,
        // A standby may be promoted.
        E::SessionAttributes { .. } => Category::Transient,
        E::Refused { source, .. } => category(&source.code),
    };
    Failure::new(category, chain(error))
}

/// Sorts an SQLSTATE.
///
/// Source: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn category(code: &str) -> Category {
    match (code, code.get(..2).unwrap_or_default()) {
        // Rights, and a database that is not there.
        ("42501" | "3D000" | "57P04", _) => Category::Setup,
        // The data: values, constraints, limits of a row, what a trigger or a view says.
        (_, "22" | "23" | "44" | "54" | "P0" | "0A" | "21" | "09" | "27") => Category::Rejected,
        // The login; tables, columns and types that are not as they should be.
        (_, "28" | "42" | "3F" | "2F" | "38" | "39") => Category::Setup,
        // The connection, resources, an operator, a lock, a serialization; and what is unknown.
        _ => Category::Transient,
    }
}

impl Refused {
    fn failure(&self, host: &str) -> Failure {
        let Self { code, message, hint, .. } = self;
        let place = self.place();
        let said = self.said();
        let mut text = format!("{host} refused {place}: {said} (SQLSTATE {code})");
        if let Some(hint) = hint.as_ref().filter(|_| !self.may_quote()) {
            text.push_str("; ");
            text.push_str(hint);
        }
        let mut answer = message.clone();
        for more in [&self.detail, hint].into_iter().flatten() {
            answer.push('\n');
            answer.push_str(more);
        }
        answer.truncate(answer.floor_char_boundary(ANSWER_BYTES_MAX));
        let category = category(code);
        Failure { answer: Some(answer), ..Failure::new(category, text) }
    }

    /// The server's own words may hold values of the row.
    fn may_quote(&self) -> bool {
        matches!(self.code.get(..2), Some("22" | "P0" | "XX" | "44")) && self.code != "22001"
    }

    /// What the server said, without values.
    fn said(&self) -> &str {
        if !self.may_quote() {
            return &self.message;
        }
        match self.code.as_str() {
            "22003" => "a number is out of range",
            "22007" | "22008" => "a date or time that can't be",
            "22P02" | "22P03" => "a value that the column's type does not take",
            "22P05" | "22021" => "a character that the database can't hold",
            "P0001" => "a function or trigger raised an exception",
            _ => "the values don't fit",
        }
    }

    fn place(&self) -> String {
        match (&self.table, &self.column, &self.constraint) {
            (Some(table), Some(column), _) => format!("column \"{column}\" of \"{table}\""),
            (Some(table), None, Some(constraint)) => {
                format!("rows for \"{table}\" by \"{constraint}\"")
            }
            (Some(table), None, None) => format!("rows for \"{table}\""),
            (None, ..) => "the batch".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(codes: &[&str], expected: Category) {
        for code in codes {
            assert_eq!(category(code), expected, "{code}");
        }
    }

    #[test]
    fn codes_are_sorted() {
        let transient = [
            "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57014", "53100", "53300",
            "08006", "25006", "58030", "XX000", "",
        ];
        check(&transient, Category::Transient);
        check(&["22001", "22P02", "23505", "23514", "P0001", "54000"], Category::Rejected);
        check(&["28P01", "28000", "3D000", "42501", "42P01", "42703", "42P10"], Category::Setup);
    }

    #[test]
    fn no_value_is_in_the_message() {
        let refused = Refused {
            code: "22P02".to_owned(),
            message: "invalid input syntax for type integer: \"secret\"".to_owned(),
            detail: Some("Failing row contains (secret).".to_owned()),
            hint: None,
            table: None,
            column: None,
            constraint: None,
        };
        let failure = refused.failure("there");
        assert!(!failure.message.contains("secret"), "{}", failure.message);
        assert!(failure.answer.unwrap().contains("secret"));
        let refused = Refused {
            code: "23514".to_owned(),
            message: "new row for relation \"t\" violates check constraint \"c\"".to_owned(),
            detail: Some("Failing row contains (secret).".to_owned()),
            table: Some("t".to_owned()),
            constraint: Some("c".to_owned()),
            ..refused
        };
        let failure = refused.failure("there");
        assert!(failure.message.contains("check constraint \"c\""), "{}", failure.message);
        assert!(!failure.message.contains("secret"), "{}", failure.message);
    }
}
