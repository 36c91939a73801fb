//! What an answer of Redis means: contract section 4 in one place.

use redis::{ServerError, Value};

use crate::failure::Category;
use crate::sink::Failure;

/// Sorts an error by its code. `ERR` alone says nothing: then its words do, which are Redis's own.
pub(super) fn category(code: &str, details: &str) -> Category {
    match code {
        "OOM" => Category::Throttled,
        "WRONGTYPE" | "NOAUTH" | "WRONGPASS" | "NOPERM" | "MOVED" | "CROSSSLOT" | "DENIED" => {
            Category::Setup
        }
        "ERR" => of_words(&details.to_ascii_lowercase()),
        // LOADING, MASTERDOWN, CLUSTERDOWN, TRYAGAIN, BUSY, READONLY, NOREPLICAS, MISCONF, ASK,
        // and what is not known.
        _ => Category::Transient,
    }
}

fn of_words(details: &str) -> Category {
    let has = |words: &[&str]| words.iter().any(|word| details.contains(word));
    if has(&["protocol error", "invalid bulk length", "too big"]) {
        Category::Rejected
    } else if has(&["unknown command", "db index", "auth", "unknown subcommand"]) {
        Category::Setup
    } else {
        Category::Transient
    }
}

/// Says what an error means. The words are Redis's own and hold no values.
pub(super) fn refused(error: &ServerError, host: &str) -> Failure {
    let details = error.details().unwrap_or_default();
    // The name of a command's key, and of an unknown command its arguments, are values.
    let details = if error.code() == "ERR" || error.code() == "MISCONF" {
        details.split(['\'', '`', '"']).next().unwrap_or_default()
    } else {
        ""
    };
    let words = format!("{} {details}", error.code());
    let message = format!("{host} refused it: {}", words.trim());
    Failure::new(category(error.code(), error.details().unwrap_or_default()), message)
}

/// Reads the answers to MULTI, so many commands, and EXEC: one outcome a command.
///
/// # Errors
/// Nothing was done: why.
pub(super) fn transaction(
    answers: &[Value],
    commands: usize,
    host: &str,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let strange = || {
        let message = format!("{host} gave no answer that can be understood");
        Failure::new(Category::Transient, message)
    };
    // What is refused when it is queued keeps all of it from being done.
    let (exec, queued) = answers.split_last().ok_or_else(strange)?;
    let refusal = queued.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(refused(error, host)),
        _ => None,
    });
    match exec {
        Value::Array(outcomes) if outcomes.len() == commands => {
            Ok(outcomes.iter().map(|outcome| added(outcome, host)).collect())
        }
        Value::ServerError(error) => Err(refusal.unwrap_or_else(|| refused(error, host))),
        _ => Err(refusal.unwrap_or_else(strange)),
    }
}

fn added(outcome: &Value, host: &str) -> Result<(), Failure> {
    match outcome {
        Value::BulkString(_) | Value::SimpleString(_) => Ok(()),
        Value::ServerError(error) => Err(refused(error, host)),
        _ => Err(Failure::new(Category::Transient, format!("{host} named no id"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answers: &[(&str, &str)], expected: Category) {
        for (code, details) in answers {
            assert_eq!(category(code, details), expected, "{code} {details}");
        }
    }

    #[test]
    fn every_answer_is_sorted() {
        let codes =
            ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "READONLY", "MISCONF"];
        check(&codes.map(|code| (code, "")), Category::Transient);
        check(&[("NOREPLICAS", ""), ("NEW", ""), ("EXECABORT", "")], Category::Transient);
        check(
            &[("OOM", "command not allowed when used memory > 'maxmemory'.")],
            Category::Throttled,
        );
        let codes = ["WRONGTYPE", "NOAUTH", "WRONGPASS", "NOPERM", "MOVED", "CROSSSLOT"];
        check(&codes.map(|code| (code, "")), Category::Setup);
        check(&[("ERR", "Protocol error: invalid bulk length")], Category::Rejected);
        check(
            &[
                ("ERR", "unknown command 'XADD', with args beginning with: 'x'"),
                ("ERR", "DB index is out of range"),
                ("ERR", "AUTH <password> called without any password configured"),
            ],
            Category::Setup,
        );
        check(
            &[
                ("ERR", "max number of clients reached"),
                (
                    "ERR",
                    "The ID specified in XADD is equal or smaller than the target stream top item",
                ),
            ],
            Category::Transient,
        );
    }

    fn error(text: &str) -> Value {
        redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_transaction_is_done_by_command_or_not_at_all() {
        let queued = || Value::SimpleString("QUEUED".into());
        let id = || Value::BulkString(b"1-1".to_vec());
        let done =
            [Value::Okay, queued(), queued(), Value::Array(vec![id(), error("WRONGTYPE x")])];
        let outcomes = transaction(&done, 2, "h").unwrap();
        assert_eq!(outcomes[0], Ok(()));
        let failure = outcomes[1].clone().unwrap_err();
        assert_eq!(
            (failure.category, failure.message.as_str()),
            (Category::Setup, "h refused it: WRONGTYPE")
        );
        let aborted =
            [Value::Okay, error("OOM no"), queued(), error("EXECABORT Transaction discarded")];
        let failure = transaction(&aborted, 2, "h").unwrap_err();
        assert_eq!(failure.category, Category::Throttled);
        let down = [error("LOADING x"), error("LOADING x"), error("LOADING x")];
        assert_eq!(transaction(&down, 1, "h").unwrap_err().category, Category::Transient);
        assert_eq!(transaction(&[], 1, "h").unwrap_err().category, Category::Transient);
        let short = [Value::Okay, queued(), Value::Array(Vec::new())];
        assert_eq!(transaction(&short, 1, "h").unwrap_err().category, Category::Transient);
    }

    #[test]
    fn no_value_is_repeated() {
        let Value::ServerError(error) =
            error("ERR unknown command 'XADD', with args beginning with: 'secret'")
        else {
            panic!("an error")
        };
        assert_eq!(refused(&error, "h").message, "h refused it: ERR unknown command");
    }
}
