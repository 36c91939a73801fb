//! What the server's error codes mean.
//!
//! Source: ClickHouse `src/Common/ErrorCodes.cpp`; those that pass are as in ClickHouse's own
//! connector for Kafka Connect.

use crate::failure::Category;

/// Sorts an error. What is not known may pass.
pub(super) const fn category(code: u32) -> Category {
    match code {
        // The rows don't fit: they can't be parsed, are out of range, violate a constraint, or are
        // too many of something.
        6 | 25 | 26 | 27 | 32 | 33 | 38 | 41 | 43 | 44 | 53 | 69 | 70 | 72 | 117 | 128 | 130
        | 131 | 321 | 349 | 376 | 407 | 441 | 467 | 469 | 621 | 675 | 676 | 691 => {
            Category::Rejected
        }
        // Who asks may not, or what is asked for is not there or not so.
        7
        | 8
        | 10
        | 16
        | 20
        | 36
        | 46
        | 47
        | 48
        | 60
        | 62
        | 73
        | 81
        | 115
        | 164
        | 192..=195
        | 291
        | 452
        | 472
        | 497
        | 516 => Category::Setup,
        // Too many parts, mutations, queries or inserts at once; a quota; memory.
        201 | 202 | 241 | 252 | 439 | 692 | 700 | 745 => Category::Throttled,
        _ => Category::Transient,
    }
}

/// Returns the name of an error that people meet.
pub(super) const fn name(code: u32) -> Option<&'static str> {
    Some(match code {
        6 => "CANNOT_PARSE_TEXT",
        16 => "NO_SUCH_COLUMN_IN_TABLE",
        26 => "CANNOT_PARSE_QUOTED_STRING",
        27 => "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
        38 => "CANNOT_PARSE_DATE",
        41 => "CANNOT_PARSE_DATETIME",
        47 => "UNKNOWN_IDENTIFIER",
        53 => "TYPE_MISMATCH",
        60 => "UNKNOWN_TABLE",
        62 => "SYNTAX_ERROR",
        69 => "ARGUMENT_OUT_OF_BOUND",
        72 => "CANNOT_PARSE_NUMBER",
        81 => "UNKNOWN_DATABASE",
        115 => "UNKNOWN_SETTING",
        117 => "INCORRECT_DATA",
        130 => "CANNOT_READ_ARRAY_FROM_TEXT",
        131 => "TOO_LARGE_STRING_SIZE",
        159 => "TIMEOUT_EXCEEDED",
        164 => "READONLY",
        192 => "UNKNOWN_USER",
        193 => "WRONG_PASSWORD",
        194 => "REQUIRED_PASSWORD",
        201 => "QUOTA_EXCEEDED",
        202 => "TOO_MANY_SIMULTANEOUS_QUERIES",
        241 => "MEMORY_LIMIT_EXCEEDED",
        242 => "TABLE_IS_READ_ONLY",
        252 => "TOO_MANY_PARTS",
        321 => "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
        349 => "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
        376 => "CANNOT_PARSE_UUID",
        469 => "VIOLATED_CONSTRAINT",
        497 => "ACCESS_DENIED",
        516 => "AUTHENTICATION_FAILED",
        691 => "UNKNOWN_ELEMENT_OF_ENUM",
        999 => "KEEPER_EXCEPTION",
        _ => return None,
    })
}
