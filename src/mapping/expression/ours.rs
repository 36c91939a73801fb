//! What the interpreter calls in place of its own: comparisons that round nothing, and patterns
//! that are compiled once.

use std::any::Any;
use std::cmp::Ordering;
use std::sync::{Arc, OnceLock};

use cel::common::ast::operators;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelString, CelUInt, DYN_TYPE, Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::{DeclarationError, Env, ExecutionError, Value, extensions};
use regex::Regex;

use super::exact::{self, Number};
use super::functions::Before;
use super::{bounded, budget};

/// The name of `matches` with a compiled pattern.
pub(super) const MATCHES: &str = "@matches";

/// The name of what gives the keys of a map an order before they are walked.
pub(super) const ORDERED: &str = "@ordered";

const EQUALS: &str = "@equals";
const DIFFERS: &str = "@differs";
const LESS: &str = "@less";
const AT_MOST: &str = "@at_most";
const GREATER: &str = "@greater";
const AT_LEAST: &str = "@at_least";
const IN: &str = "@within";

/// The name of `+`.
pub(super) const ADD: &str = "@add";

/// Returns the name of what stands in for an operator or function.
pub(super) fn name_of(name: &str, before: Before<'_>) -> Option<&'static str> {
    Some(match (name, before) {
        (operators::EQUALS, _) => EQUALS,
        (operators::NOT_EQUALS, _) => DIFFERS,
        (operators::LESS, _) => LESS,
        (operators::LESS_EQUALS, _) => AT_MOST,
        (operators::GREATER, _) => GREATER,
        (operators::GREATER_EQUALS, _) => AT_LEAST,
        (operators::IN, _) => IN,
        (operators::ADD, _) => ADD,
        ("duration", Before::Nothing) => bounded::DURATION,
        ("distinct", Before::Value) => bounded::DISTINCT,
        ("indexOf", Before::Value) => bounded::INDEX_OF,
        ("lastIndexOf", Before::Value) => bounded::LAST_INDEX_OF,
        ("replace", Before::Value) => bounded::REPLACE,
        ("join", Before::Value) => bounded::JOIN,
        ("split", Before::Value) => bounded::SPLIT,
        _ => return None,
    })
}

/// Returns the operator that a name stands in for, as it is written.
pub(super) fn sign_of(name: &str) -> Option<&'static str> {
    Some(match name {
        EQUALS => "==",
        DIFFERS => "!=",
        LESS => "<",
        AT_MOST => "<=",
        GREATER => ">",
        AT_LEAST => ">=",
        IN => "in",
        ADD => "+",
        MATCHES => "matches",
        _ => return None,
    })
}

/// Returns CEL's standard library with the extensions for strings, lists and numbers, and what is
/// ours.
pub(super) fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| Arc::new(build().unwrap_or_else(|_| Env::stdlib())))
}

fn build() -> Result<Env, DeclarationError> {
    let mut env = Env::stdlib();
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::lists)?;
    env.add_extension(extensions::math)?;
    let mut add = |name: &str, function| {
        env.add_overload(name, name, vec![DYN_TYPE.to_owned(), DYN_TYPE.to_owned()], function)
    };
    add(EQUALS, |args| two(&args, |left, right| Ok(are_equal(left, right))))?;
    add(DIFFERS, |args| two(&args, |left, right| Ok(!are_equal(left, right))))?;
    add(LESS, |args| ordered(&args, "<", Ordering::is_lt))?;
    add(AT_MOST, |args| ordered(&args, "<=", Ordering::is_le))?;
    add(GREATER, |args| ordered(&args, ">", Ordering::is_gt))?;
    add(AT_LEAST, |args| ordered(&args, ">=", Ordering::is_ge))?;
    add(IN, |args| two(&args, within))?;
    add(MATCHES, |args| two(&args, matches))?;
    env.add_overload(ADD, ADD, vec![DYN_TYPE.to_owned(), DYN_TYPE.to_owned()], sum)?;
    env.add_overload(ORDERED, ORDERED, vec![DYN_TYPE.to_owned()], ordered_keys)?;
    bounded::register(&mut env)?;
    Ok(env)
}

type Test = fn(&dyn Val, &dyn Val) -> Result<bool, ExecutionError>;

fn two<'b, 'v>(args: &[CowVal<'b, 'v>], test: Test) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    bounded::spend(budget::LOOK)?;
    test(&**left, &**right).map(|value| CowVal::owned(CelBool::from(value)))
}

fn ordered<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    sign: &str,
    test: fn(Ordering) -> bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    bounded::spend(budget::LOOK)?;
    let (left, right) = (&**left, &**right);
    let order = match (number(left), number(right)) {
        (Some(a), Some(b)) => exact::compare(a, b),
        _ => left.as_comparer().and_then(|comparer| comparer.compare(right).ok()),
    };
    let order = order.ok_or_else(|| no_overload(sign, left, right))?;
    Ok(CowVal::owned(CelBool::from(test(order))))
}

/// A map that is added to a list would add its keys in no order.
fn sum<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [left, right] = args.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    bounded::joined(&**left, &**right)?;
    let adder = left.as_adder().filter(|_| right.downcast_ref::<CelMap<'_>>().is_none());
    let sum = adder.and_then(|adder| adder.add(&**right).ok().map(CowVal::into_owned));
    match sum {
        Some(sum) => Ok(CowVal::Owned(sum)),
        None if number(&**left).is_some() && number(&**right).is_some() => {
            let same = left.get_type().name() == right.get_type().name();
            let overflow = ExecutionError::Overflow("add", Value::Null, Value::Null);
            Err(if same { overflow } else { no_overload("+", &**left, &**right) })
        }
        None => Err(no_overload("+", &**left, &**right)),
    }
}

pub(super) fn no_overload(operation: &str, left: &dyn Val, right: &dyn Val) -> ExecutionError {
    let name = |value: &dyn Val| value.get_type().name().to_owned();
    ExecutionError::no_such_overload(operation, vec![name(left), name(right)])
}

pub(super) fn number(value: &dyn Val) -> Option<Number> {
    if let Some(number) = value.downcast_ref::<CelInt>() {
        return Some(Number::Integer((*number.inner()).into()));
    }
    if let Some(number) = value.downcast_ref::<CelUInt>() {
        return Some(Number::Integer((*number.inner()).into()));
    }
    value.downcast_ref::<CelDouble>().map(|number| Number::Double(*number.inner()))
}

pub(super) fn are_equal(left: &dyn Val, right: &dyn Val) -> bool {
    match (number(left), number(right)) {
        (Some(a), Some(b)) => exact::compare(a, b) == Some(Ordering::Equal),
        _ => left.equals(right),
    }
}

fn within(value: &dyn Val, container: &dyn Val) -> Result<bool, ExecutionError> {
    // Of a map the keys are looked up.
    if container.get_type().name() != "map"
        && let Some(list) = container.as_iterable()
    {
        let mut elements = list.iter();
        while let Some(element) = elements.next() {
            if are_equal(value, element) {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    let container_of =
        container.as_container().ok_or_else(|| no_overload("in", value, container))?;
    container_of.contains(value).map_err(|_| no_overload("in", value, container))
}

/// Maps are hashed: their keys come in another order in each process. The same change has the same
/// bytes each time, so a macro walks a list of them.
fn ordered_keys<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let Some(range) = args.pop() else { return Err(ExecutionError::invalid_argument_count(1, 0)) };
    let steps = match (range.downcast_ref::<CelMap<'_>>(), range.downcast_ref::<CelList<'_>>()) {
        (Some(map), _) => map.inner().len(),
        (None, list) => list.map_or(0, |list| list.inner().len()),
    };
    bounded::spend(steps.saturating_add(1).saturating_mul(budget::STEP))?;
    let Some(map) = range.downcast_ref::<CelMap<'_>>() else { return Ok(range) };
    let mut keys: Vec<_> = map.inner().keys().collect();
    keys.sort_unstable();
    let keys: Vec<Box<dyn Val + 'v>> =
        keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
    Ok(CowVal::owned(CelList::from(keys)))
}

fn matches(subject: &dyn Val, pattern: &dyn Val) -> Result<bool, ExecutionError> {
    let text = subject.downcast_ref::<CelString<'_>>();
    match (text, pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(pattern)) => {
            bounded::spend(text.inner().len())?;
            Ok(pattern.0.is_match(text.inner()))
        }
        _ => Err(no_overload("matches", subject, pattern)),
    }
}

/// A compiled pattern, as a value.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}
