//! The names that expressions may call, each in the form in which it is called.
//!
//! Macros (`has`, `all`, `map`, `math.greatest`, …) are expanded before anything is looked at here:
//! one that is still there is called with what it does not take.

use cel::common::ast::operators;

/// `name(…)`
const GLOBALS: &[&str] = &[
    "size",
    "matches",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "bool",
    "timestamp",
    "duration",
    "type",
    "dyn",
];

/// `value.name(…)`
const METHODS: &[&str] = &[
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "split",
    "substring",
    "format",
    "reverse",
    "distinct",
    "flatten",
    "slice",
    "sort",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getSeconds",
    "hasValue",
    "value",
    "or",
    "orValue",
];

/// `math.name(…)`
const MATH: &[&str] = &[
    "abs",
    "bitAnd",
    "bitNot",
    "bitOr",
    "bitShiftLeft",
    "bitShiftRight",
    "bitXor",
    "ceil",
    "floor",
    "isFinite",
    "isInf",
    "isNaN",
    "round",
    "sign",
    "sqrt",
    "trunc",
];

/// Macros, for whoever is near one.
const MACROS: &[&str] = &[
    "has",
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "sortBy",
    "optMap",
    "optFlatMap",
    "greatest",
    "least",
];

const OPERATORS: &[&str] = &[
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    "_-_",
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::OPT_INDEX,
    operators::OPT_SELECT,
    operators::NOT_STRICTLY_FALSE,
    operators::IN,
];

/// What stands before the name of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before<'a> {
    /// Nothing.
    Nothing,
    /// A namespace: `math`.
    Namespace(&'a str),
    /// A value.
    Value,
}

/// Whether a function can be called so.
pub(super) fn is_known(name: &str, before: Before<'_>) -> bool {
    // The parser's own, of operators and macros, can't be written.
    if OPERATORS.contains(&name) || name.contains('@') {
        return true;
    }
    match before {
        Before::Nothing => GLOBALS.contains(&name),
        Before::Value => METHODS.contains(&name),
        Before::Namespace("math") => MATH.contains(&name),
        Before::Namespace("strings") => name == "quote",
        Before::Namespace("optional") => ["of", "none", "ofNonZeroValue"].contains(&name),
        Before::Namespace(_) => false,
    }
}

/// Returns every name, however it is called.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    [GLOBALS, METHODS, MATH, MACROS].into_iter().flatten().copied()
}

/// Returns how a function is called that is called in another way.
pub(super) fn form(name: &str) -> Option<String> {
    if MATH.contains(&name) || ["greatest", "least"].contains(&name) {
        return Some(format!("math.{name}(…)"));
    }
    if METHODS.contains(&name) {
        return Some(format!("row.x.{name}(…)"));
    }
    GLOBALS.contains(&name).then(|| format!("{name}(…)"))
}

/// What stands before the dot of some of them.
pub(super) const NAMESPACES: &[&str] = &["math", "strings", "optional"];

/// Types, which are values too.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What every expression may read.
pub(super) const VARIABLES: &[&str] = &["row", "before", "op", "table"];
