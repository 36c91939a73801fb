//! Functions in place of the crate's that a row could make take minutes, or more memory than there
//! is: each takes time in proportion to what it is given, and gives a text of 64 MiB at most.

use std::cell::Cell;
use std::collections::HashSet;

use cel::common::types::{CelInt, CelList, CelMap, CelString, DYN_TYPE};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::budget;
use super::exact::Number;
use super::ours::{are_equal, environment, no_overload, number};

pub(super) const DURATION: &str = "@duration";
pub(super) const DISTINCT: &str = "@distinct";
pub(super) const INDEX_OF: &str = "@indexOf";
pub(super) const LAST_INDEX_OF: &str = "@lastIndexOf";
pub(super) const REPLACE: &str = "@replace";
pub(super) const JOIN: &str = "@join";
pub(super) const SPLIT: &str = "@split";
/// What a loop gathers passes through it.
pub(super) const KEPT: &str = "@kept";

/// The longest text that is made.
const TEXT_BYTES_MAX: usize = 64 << 20;

/// So much an expression gathers in loops and by splitting, in bytes of texts, and so many for
/// each value.
const KEPT_BYTES_MAX: usize = 64 << 20;
const VALUE_BYTES: usize = 32;

thread_local! {
    /// What the expression at hand has gathered: it runs on one thread from its begin to its end.
    static KEPT_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Takes of the budget of what is only tried.
pub(super) fn spend(units: usize) -> Result<()> {
    if budget::take(units) { Ok(()) } else { Err(refused(KEPT)) }
}

/// An expression begins.
pub(super) fn begin() {
    KEPT_BYTES.set(0);
}

/// So many lists and maps of one list are held against each other.
const TREES_MAX: usize = 1000;

type Result<T> = std::result::Result<T, ExecutionError>;

pub(super) fn register(env: &mut Env) -> std::result::Result<(), DeclarationError> {
    let args = |count| std::iter::repeat_with(|| DYN_TYPE.to_owned()).take(count).collect();
    env.add_overload(DURATION, DURATION, args(1), duration)?;
    env.add_overload(DISTINCT, DISTINCT, args(1), distinct)?;
    env.add_overload(INDEX_OF, "@indexOf_2", args(2), index_of)?;
    env.add_overload(INDEX_OF, "@indexOf_3", args(3), index_of)?;
    env.add_overload(LAST_INDEX_OF, "@lastIndexOf_2", args(2), last_index_of)?;
    env.add_overload(LAST_INDEX_OF, "@lastIndexOf_3", args(3), last_index_of)?;
    env.add_overload(REPLACE, "@replace_3", args(3), replace)?;
    env.add_overload(REPLACE, "@replace_4", args(4), replace)?;
    env.add_overload(KEPT, KEPT, args(1), kept)?;
    env.add_overload(SPLIT, "@split_2", args(2), split)?;
    env.add_overload(SPLIT, "@split_3", args(3), split)?;
    env.add_overload(JOIN, "@join_1", args(1), join)?;
    env.add_overload(JOIN, "@join_2", args(2), join)
}

fn text<'a>(function: &str, args: &'a [CowVal<'_, '_>], index: usize) -> Result<&'a str> {
    let value = args.get(index).ok_or_else(|| refused(function))?;
    let text = value.downcast_ref::<CelString<'_>>();
    text.map(CelString::inner).ok_or_else(|| no_overload(function, &**value, &**value))
}

fn integer(function: &str, args: &[CowVal<'_, '_>], index: usize) -> Result<Option<i64>> {
    let Some(value) = args.get(index) else { return Ok(None) };
    let number = value.downcast_ref::<CelInt>().map(|number| *number.inner());
    number.map(Some).ok_or_else(|| no_overload(function, &**value, &**value))
}

fn refused(function: &str) -> ExecutionError {
    ExecutionError::function_error(function, "can't be had")
}

/// Reads what is a duration as a whole: the crate's own stops at what it does not know.
fn duration<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    if let Ok(written) = text("duration", &args, 0)
        && !is_duration(written)
    {
        return Err(refused("duration"));
    }
    let own = environment().find_overload("duration", &args);
    own.ok_or_else(|| refused("duration")).and_then(|own| own(args))
}

/// `0`, `1h30m`, `-1.5s`
fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    if rest == "0" {
        return true;
    }
    while !rest.is_empty() {
        let at = rest.find(|sign: char| !sign.is_ascii_digit() && sign != '.').unwrap_or_default();
        let (number, unit) = rest.split_at(at);
        let mut parts = number.split('.');
        let is_number = parts.by_ref().take(2).all(|part| !part.is_empty());
        if !is_number || parts.next().is_some() {
            return false;
        }
        let Some(behind) =
            ["ns", "us", "ms", "h", "m", "s"].iter().find_map(|name| unit.strip_prefix(name))
        else {
            return false;
        };
        rest = behind;
    }
    !text.is_empty() && text != "-"
}

/// What is the same for equal values without parts.
#[derive(PartialEq, Eq, Hash)]
enum Plain {
    Integer(i128),
    Double(u64),
    Text(String),
    Other(String),
}

fn plain(value: &dyn Val) -> Option<Plain> {
    if let Some(number) = number(value) {
        return Some(match number {
            Number::Integer(number) => Plain::Integer(number),
            Number::Double(number) => match whole(number) {
                Some(number) => Plain::Integer(number),
                None => Plain::Double(number.to_bits()),
            },
        });
    }
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return Some(Plain::Text(text.inner().to_owned()));
    }
    match value.get_type().name() {
        "bool" | "null_type" => Some(Plain::Other(format!("{value:?}"))),
        _ => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the double is whole and below 2^100")]
fn whole(number: f64) -> Option<i128> {
    const BOUND: f64 = 1.3e30;
    (number.trunc().to_bits() == number.to_bits() && number.abs() < BOUND).then_some(number as i128)
}

fn distinct<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    let list = args.first().ok_or_else(|| refused("distinct"))?;
    let items = list.as_iterable().filter(|_| list.get_type().name() == "list");
    let mut items = items.ok_or_else(|| no_overload("distinct", &**list, &**list))?.iter();
    let (mut seen, mut trees) = (HashSet::new(), 0);
    let mut kept: Vec<Box<dyn Val + 'v>> = Vec::new();
    while let Some(item) = items.next() {
        let is_new = match plain(item) {
            Some(plain) => seen.insert(plain),
            None => {
                trees += 1;
                if trees > TREES_MAX {
                    return Err(refused("distinct"));
                }
                !kept.iter().any(|kept| are_equal(kept.as_ref(), item))
            }
        };
        if is_new {
            kept.push(item.clone_as_boxed());
        }
    }
    Ok(CowVal::owned(CelList::from(kept)))
}

/// Returns where the character `index` begins, in bytes; its end is a place too.
fn byte_of(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    let ends = std::iter::once(text.len());
    text.char_indices().map(|(at, _)| at).chain(ends).nth(index)
}

fn found<'b, 'v>(text: &str, at: Option<usize>) -> CowVal<'b, 'v> {
    let index = at.and_then(|at| text.get(..at)).map(|before| before.chars().count());
    let index = index.and_then(|index| i64::try_from(index).ok()).unwrap_or(-1);
    CowVal::owned(CelInt::from(index))
}

fn index_of<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    const NAME: &str = "indexOf";
    let (whole, part) = (text(NAME, &args, 0)?, text(NAME, &args, 1)?);
    let offset = integer(NAME, &args, 2)?.unwrap_or_default();
    let from = byte_of(whole, offset).ok_or_else(|| refused(NAME))?;
    let at = whole.get(from..).and_then(|rest| rest.find(part)).map(|at| from + at);
    Ok(found(whole, at))
}

fn last_index_of<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    const NAME: &str = "lastIndexOf";
    let (whole, part) = (text(NAME, &args, 0)?, text(NAME, &args, 1)?);
    let end = match integer(NAME, &args, 2)? {
        // A place at which the part may begin at the latest.
        Some(offset) => {
            let from = byte_of(whole, offset).ok_or_else(|| refused(NAME))?;
            let end = from.saturating_add(part.len()).min(whole.len());
            (0..=end).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or_default()
        }
        None => whole.len(),
    };
    Ok(found(whole, whole.get(..end).and_then(|rest| rest.rfind(part))))
}

fn replace<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    const NAME: &str = "replace";
    let (whole, old, new) = (text(NAME, &args, 0)?, text(NAME, &args, 1)?, text(NAME, &args, 2)?);
    let limit = integer(NAME, &args, 3)?.and_then(|limit| usize::try_from(limit).ok());
    let count = whole.matches(old).count().min(limit.unwrap_or(usize::MAX));
    bounded(NAME, count.saturating_mul(new.len()).saturating_add(whole.len()))?;
    Ok(CowVal::owned(CelString::from(whole.replacen(old, new, count))))
}

fn join<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    const NAME: &str = "join";
    let list = args.first().ok_or_else(|| refused(NAME))?;
    let mark = if args.len() > 1 { text(NAME, &args, 1)? } else { "" };
    let items = list.as_iterable().filter(|_| list.get_type().name() == "list");
    let mut items = items.ok_or_else(|| no_overload(NAME, &**list, &**list))?.iter();
    let mut joined = String::new();
    let mut is_first = true;
    while let Some(item) = items.next() {
        let part = item.downcast_ref::<CelString<'_>>();
        let part = part.ok_or_else(|| no_overload(NAME, &**list, item))?.inner();
        bounded(NAME, joined.len().saturating_add(part.len()).saturating_add(mark.len()))?;
        if !is_first {
            joined.push_str(mark);
        }
        is_first = false;
        joined.push_str(part);
    }
    Ok(CowVal::owned(CelString::from(joined)))
}

fn split<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    const NAME: &str = "split";
    let (whole, mark) = (text(NAME, &args, 0)?, text(NAME, &args, 1)?);
    let limit = integer(NAME, &args, 2)?.unwrap_or(-1);
    let parts: Box<dyn Iterator<Item = &str>> = match mark {
        // Each character by itself.
        "" => Box::new(whole.split_inclusive(|_| true)),
        mark => Box::new(whole.split(mark)),
    };
    let mut list: Vec<Box<dyn Val + 'v>> = Vec::new();
    let mut taken = 0;
    for part in parts {
        if usize::try_from(limit).is_ok_and(|limit| list.len() == limit) {
            break;
        }
        let is_last = usize::try_from(limit).is_ok_and(|limit| list.len() + 1 == limit);
        let part = if is_last { whole.get(taken..).unwrap_or_default() } else { part };
        count(part.len().saturating_add(VALUE_BYTES))?;
        list.push(Box::new(CelString::from(part.to_owned())));
        taken += part.len() + mark.len();
    }
    Ok(CowVal::owned(CelList::from(list)))
}

/// Counts what a loop gathers, and gives it back.
fn kept<'b, 'v>(mut args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>> {
    let value = args.pop().ok_or_else(|| refused(KEPT))?;
    weigh(&*value)?;
    Ok(value)
}

fn weigh(value: &dyn Val) -> Result<()> {
    let text = value.downcast_ref::<CelString<'_>>().map_or(0, |text| text.inner().len());
    count(text.saturating_add(VALUE_BYTES))?;
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        return map.inner().iter().try_for_each(|(key, value)| {
            weigh(key.inner())?;
            weigh(value.as_ref())
        });
    }
    let list = value.downcast_ref::<CelList<'_>>();
    list.map_or(Ok(()), |list| list.inner().iter().try_for_each(|item| weigh(item.as_ref())))
}

fn count(bytes: usize) -> Result<()> {
    spend(bytes)?;
    let sum = KEPT_BYTES.get().saturating_add(bytes);
    KEPT_BYTES.set(sum);
    if sum > KEPT_BYTES_MAX { Err(refused(KEPT)) } else { Ok(()) }
}

/// Looks how long two texts are together.
pub(super) fn joined(left: &dyn Val, right: &dyn Val) -> Result<()> {
    let length = |value: &dyn Val| {
        value.downcast_ref::<CelString<'_>>().map_or(0, |text| text.inner().len())
    };
    bounded("+", length(left).saturating_add(length(right)))
}

fn bounded(function: &str, bytes: usize) -> Result<()> {
    spend(bytes)?;
    if bytes > TEXT_BYTES_MAX { Err(refused(function)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_one_as_a_whole() {
        for text in ["0", "1h", "1h30m", "-1.5s", "10ms", "1us2ns"] {
            assert!(is_duration(text), "{text}");
        }
        for text in
            ["", "-", "1", "1h30", "5min", "1month", "h", "1 h", "s1", "1h1.5.5s", "1h.s", "1.h"]
        {
            assert!(!is_duration(text), "{text}");
        }
    }
}
