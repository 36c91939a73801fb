//! The names that expressions may call, each in the form in which it is called.
//!
//! Macros (`has`, `all`, `map`, `math.greatest`, …) are expanded before anything is looked at here:
//! one that is still there is called with what it does not take.

use cel::common::ast::operators;

/// A name, and how many arguments it takes: at least, at most.
type Known = (&'static str, usize, usize);

/// `name(…)`
const GLOBALS: &[Known] = &[
    ("size", 1, 1),
    ("matches", 2, 2),
    ("int", 1, 1),
    ("uint", 1, 1),
    ("double", 1, 1),
    ("string", 1, 1),
    ("bytes", 1, 1),
    ("bool", 1, 1),
    ("timestamp", 1, 1),
    ("duration", 1, 1),
    ("type", 1, 1),
    ("dyn", 1, 1),
];

/// `value.name(…)`
const METHODS: &[Known] = &[
    ("size", 0, 0),
    ("contains", 1, 1),
    ("startsWith", 1, 1),
    ("endsWith", 1, 1),
    ("matches", 1, 1),
    ("charAt", 1, 1),
    ("indexOf", 1, 2),
    ("lastIndexOf", 1, 2),
    ("join", 0, 1),
    ("lowerAscii", 0, 0),
    ("upperAscii", 0, 0),
    ("trim", 0, 0),
    ("replace", 2, 3),
    ("split", 1, 2),
    ("substring", 1, 2),
    ("format", 1, 1),
    ("reverse", 0, 0),
    ("distinct", 0, 0),
    ("flatten", 0, 1),
    ("slice", 2, 2),
    ("sort", 0, 0),
    ("getDate", 0, 1),
    ("getDayOfMonth", 0, 1),
    ("getDayOfWeek", 0, 1),
    ("getDayOfYear", 0, 1),
    ("getFullYear", 0, 1),
    ("getHours", 0, 1),
    ("getMilliseconds", 0, 1),
    ("getMinutes", 0, 1),
    ("getMonth", 0, 1),
    ("getSeconds", 0, 1),
    ("hasValue", 0, 0),
    ("value", 0, 0),
    ("or", 1, 1),
    ("orValue", 1, 1),
];

/// `math.name(…)`
const MATH: &[Known] = &[
    ("abs", 1, 1),
    ("bitAnd", 2, 2),
    ("bitNot", 1, 1),
    ("bitOr", 2, 2),
    ("bitShiftLeft", 2, 2),
    ("bitShiftRight", 2, 2),
    ("bitXor", 2, 2),
    ("ceil", 1, 1),
    ("floor", 1, 1),
    ("isFinite", 1, 1),
    ("isInf", 1, 1),
    ("isNaN", 1, 1),
    ("round", 1, 1),
    ("sign", 1, 1),
    ("sqrt", 1, 1),
    ("trunc", 1, 1),
];

/// `strings.name(…)`
const STRINGS: &[Known] = &[("quote", 1, 1)];

/// `optional.name(…)`
const OPTIONAL: &[Known] = &[("of", 1, 1), ("none", 0, 0), ("ofNonZeroValue", 1, 1)];

/// Macros, and how each is written.
const MACROS: &[(&str, &str)] = &[
    ("has", "has(row.x)"),
    ("all", "row.x.all(v, …)"),
    ("exists", "row.x.exists(v, …)"),
    ("exists_one", "row.x.exists_one(v, …)"),
    ("map", "row.x.map(v, …)"),
    ("filter", "row.x.filter(v, …)"),
    ("sortBy", "row.x.sortBy(v, …)"),
    ("optMap", "row.?x.optMap(v, …)"),
    ("optFlatMap", "row.?x.optFlatMap(v, …)"),
    ("greatest", "math.greatest(…)"),
    ("least", "math.least(…)"),
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

/// Returns what is wrong with a call of `count` arguments, behind the name of what is read.
pub(super) fn problem(name: &str, before: Before<'_>, count: usize) -> Option<String> {
    // The parser's own, of operators and macros, can't be written.
    if OPERATORS.contains(&name) || name.contains('@') {
        return None;
    }
    let known = match before {
        Before::Nothing => GLOBALS,
        Before::Value => METHODS,
        Before::Namespace("math") => MATH,
        Before::Namespace("strings") => STRINGS,
        Before::Namespace(_) => OPTIONAL,
    };
    match known.iter().find(|(known, ..)| *known == name) {
        Some((_, least, most)) if (*least..=*most).contains(&count) => None,
        Some((_, least, most)) if least == most => {
            Some(format!("calls \"{name}\" with {count} arguments; it takes {least}"))
        }
        Some((_, least, most)) => {
            Some(format!("calls \"{name}\" with {count} arguments; it takes {least} to {most}"))
        }
        None => {
            let cure = form(name).map_or_else(|| similar(name), |form| format!("; write {form}"));
            Some(format!("calls \"{name}\", which there is not{cure}"))
        }
    }
}

/// Returns how a function is called that is called in another way.
fn form(name: &str) -> Option<String> {
    let has = |known: &[Known]| known.iter().any(|(known, ..)| *known == name);
    if let Some((_, form)) = MACROS.iter().find(|(known, _)| *known == name) {
        return Some((*form).to_owned());
    }
    let forms = [
        (MATH, "math."),
        (STRINGS, "strings."),
        (OPTIONAL, "optional."),
        (METHODS, "row.x."),
        (GLOBALS, ""),
    ];
    let found = forms.into_iter().find(|(known, _)| has(known));
    found.map(|(_, before)| format!("{before}{name}(…)"))
}

/// Offers a name that is much like another.
fn similar(name: &str) -> String {
    let likeness = |known: &str| strsim::jaro_winkler(name, known);
    let known = [GLOBALS, METHODS, MATH, STRINGS, OPTIONAL].into_iter().flatten();
    let known = known.map(|(name, ..)| *name).chain(MACROS.iter().map(|(name, _)| *name));
    let best = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let best = best.filter(|best| likeness(best) >= 0.8);
    best.map(|best| format!("; did you mean \"{best}\"?")).unwrap_or_default()
}

/// What stands before the dot of some of them.
pub(super) const NAMESPACES: &[&str] = &["math", "strings", "optional"];

/// Types, which are values too.
pub(super) const TYPES: &[&str] =
    &["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What every expression may read.
pub(super) const VARIABLES: &[&str] = &["row", "before", "op", "table"];
