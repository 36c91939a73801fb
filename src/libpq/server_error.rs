//! [`ServerError`]: what the server said in an `ErrorResponse` or NoticeResponse.

use std::fmt;

/// The parts of an `ErrorResponse` that are fit to be shown. Detail and context stay out, as they
/// may quote rows.
///
/// Source: <https://www.postgresql.org/docs/current/protocol-error-fields.html>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerError {
    /// ERROR, FATAL, WARNING …, never translated.
    pub severity: String,
    /// The SQLSTATE, five characters.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// What the server suggests.
    pub hint: Option<String>,
}

impl std::error::Error for ServerError {}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (SQLSTATE {})", self.severity, self.message, self.code)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl ServerError {
    /// Reads the body of an `ErrorResponse` or NoticeResponse.
    ///
    /// Wire: `(Byte1(field) String)… Byte1(0)`.
    pub(crate) fn read(body: &[u8]) -> Self {
        let mut error = Self::default();
        let mut localized = None;
        for field in body.split(|byte| *byte == 0) {
            let Some((kind, text)) = field.split_first() else { break };
            let text = String::from_utf8_lossy(text).into_owned();
            match kind {
                b'S' => localized = Some(text),
                b'V' => error.severity = text,
                b'C' => error.code = text,
                b'M' => error.message = text,
                b'H' => error.hint = Some(text),
                _ => {}
            }
        }
        if error.severity.is_empty() {
            error.severity = localized.unwrap_or_default();
        }
        error
    }

    /// Takes the same parts from an error of tokio-postgres.
    pub(crate) fn of(error: &tokio_postgres::error::DbError) -> Self {
        Self {
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }

    /// Logs it where it is a notice or a warning.
    pub(crate) fn log_notice(&self) {
        let Self { severity, code, message, .. } = self;
        match severity.as_str() {
            "WARNING" => tracing::warn!(%code, %message, "the server warns"),
            _ => tracing::debug!(%severity, %code, %message, "the server notes"),
        }
    }

    /// The login was refused: a wrong password, no such role, no line in `pg_hba.conf`.
    pub(crate) fn is_login(&self) -> bool {
        self.code.starts_with("28")
    }

    /// It names this setting: no language translates that.
    pub(crate) fn is_about(&self, setting: &str) -> bool {
        self.message.contains(&format!("\"{setting}\""))
    }

    /// The role lacks a right.
    pub(crate) fn is_rights(&self) -> bool {
        self.code == "42501"
    }
}
