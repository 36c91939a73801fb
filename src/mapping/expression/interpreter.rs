//! The crate's interpreter, with the columns of one row as its variables.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelOptional, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, Value};

use super::bound::{Looked, Place, Places, Scene};
use super::bounded;
use super::ours::{self, Pattern};
use super::value::{Fault, Reading, Scalar, Trouble};
use super::{Form, tree};
use crate::pgoutput::value::write_json;

/// So many bytes of a row an expression is handed at most: a loop that asks for a large value each
/// time would take as long as there is time.
const BYTES_MAX: usize = 64 << 20;

/// What a document counts that was read before.
const TREE_BYTES: usize = 64;

/// Computes an expression of one row.
pub(super) fn evaluate(
    places: &Places,
    patterns: &[Pattern],
    scene: &Scene<'_>,
) -> Result<Value, Trouble> {
    let trees = std::iter::repeat_with(OnceLock::new).take(places.count()).collect();
    let variables = Variables { places, patterns, scene, trees, handed: AtomicUsize::new(0) };
    let mut context = Context::with_env(Arc::clone(ours::environment()));
    context.set_variable_resolver(&variables);
    bounded::begin();
    // Whatever a row holds, one expression that breaks the interpreter breaks nothing else.
    let resolve = || Value::resolve(places.tree(), &context);
    let resolved = catch_unwind(AssertUnwindSafe(resolve));
    let broken = || Fault::Other("the interpreter broke at its value".into());
    resolved.map_err(|_| broken())?.map_err(|error| variables.trouble(&error))
}

/// What a name of the tree stands for, in one row.
struct Variables<'s> {
    places: &'s Places,
    patterns: &'s [Pattern],
    scene: &'s Scene<'s>,
    /// Documents are read once; none: one that nests too deep. By the place's index.
    trees: Vec<OnceLock<Option<Box<dyn Val>>>>,
    /// Bytes that were handed out.
    handed: AtomicUsize,
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let Some(name) = variable.strip_prefix('@') else {
            return match variable {
                "op" => Some(text(self.scene.operation())),
                "table" => Some(text(self.places.table())),
                _ => None,
            };
        };
        if let Some(pattern) = name.strip_prefix('p') {
            let pattern = self.patterns.get(pattern.parse::<usize>().ok()?)?;
            return Some(CowVal::Borrowed(pattern));
        }
        let index: usize = name.parse().ok()?;
        let place = self.places.get(index)?;
        let looked = place.look(self.scene);
        match place.form {
            Form::Absent => Some(boolean(matches!(looked, Looked::NoRow))),
            Form::Has => Some(boolean(matches!(looked, Looked::Value(_) | Looked::Null))),
            Form::Value => self.value(index, place, looked),
            Form::Optional if matches!(looked, Looked::NoColumn) => {
                Some(CowVal::owned(CelOptional::none()))
            }
            Form::Optional => {
                let value = self.value(index, place, looked)?;
                Some(CowVal::owned(CelOptional::of(value.into_owned())))
            }
        }
    }
}

impl Variables<'_> {
    /// Returns what is at a place; none where there is no value, which the interpreter tells as a
    /// name that it does not know.
    fn value<'b>(
        &'b self,
        index: usize,
        place: &'b Place,
        looked: Looked<'b>,
    ) -> Option<CowVal<'b, 'b>> {
        let bytes = match looked {
            Looked::Value(bytes) => bytes,
            Looked::Null => return Some(CowVal::owned(CelNull)),
            Looked::Unsent | Looked::NoColumn | Looked::NoRow => return None,
        };
        let tree = self.trees.get(index)?;
        let counts = if tree.get().is_some() { TREE_BYTES } else { bytes.len() };
        if self.handed.fetch_add(counts, Ordering::Relaxed) > BYTES_MAX {
            return None;
        }
        if let Reading::Tree(kind) = &place.reading {
            let tree = tree.get_or_init(|| {
                let mut json = Vec::new();
                write_json(kind, bytes, &mut json);
                tree::read(&json)
            });
            return tree.as_deref().map(CowVal::Borrowed);
        }
        Some(match place.reading.read(bytes) {
            Scalar::Null => CowVal::owned(CelNull),
            Scalar::Bool(value) => boolean(value),
            Scalar::Int(number) => CowVal::owned(CelInt::from(number)),
            Scalar::Double(number) => CowVal::owned(CelDouble::from(number)),
            Scalar::Text(Cow::Borrowed(value)) => text(value),
            Scalar::Text(Cow::Owned(value)) => CowVal::owned(CelString::from(value)),
        })
    }

    /// Says why there is no result.
    fn trouble(&self, error: &ExecutionError) -> Trouble {
        let ExecutionError::UndeclaredReference(name) = error else { return fault(error).into() };
        let index = name.strip_prefix('@').and_then(|name| name.parse().ok());
        let Some(place) = index.and_then(|index| self.places.get(index)) else {
            return fault(error).into();
        };
        let other = |message: &str| Fault::Other(message.into()).into();
        match place.look(self.scene) {
            Looked::Unsent => Trouble::Unsent,
            Looked::NoRow => Fault::NoOldRow.into(),
            Looked::NoColumn => Fault::NoColumn.into(),
            Looked::Value(_) | Looked::Null => {
                if self.handed.load(Ordering::Relaxed) > BYTES_MAX {
                    other("it takes too much to compute")
                } else {
                    other("a document nests deeper than 100 levels")
                }
            }
        }
    }
}

fn text<'b>(text: &'b str) -> CowVal<'b, 'b> {
    CowVal::owned(CelString::from(text))
}

fn boolean<'b>(value: bool) -> CowVal<'b, 'b> {
    let value: Box<dyn Val> = Box::new(CelBool::from(value));
    CowVal::Owned(value)
}

/// Says what failed without the values that it failed on.
fn fault(error: &ExecutionError) -> Fault {
    let message = match error {
        ExecutionError::NoSuchOverload(overload) => {
            let name = overload.function();
            let name = ours::sign_of(name).unwrap_or(name);
            let name = name.trim_matches(|sign| sign == '_' || sign == '@');
            let types = overload.argument_types().join(" and ").replace("null_type", "null");
            format!("`{name}` means nothing for {types}")
        }
        ExecutionError::NoSuchKey(_) => "a map has no such key".to_owned(),
        ExecutionError::IndexOutOfBounds(_) => "a list is shorter than the index".to_owned(),
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "it divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "a number leaves 64 bits".to_owned(),
        ExecutionError::FunctionError { function, .. } if function == bounded::KEPT => {
            "it takes too much to compute".to_owned()
        }
        ExecutionError::FunctionError { function, .. } => {
            format!("`{function}` can't be had of its value")
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("{want} is needed, and it is {got}")
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}` here"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let operator = match *operator {
                "add" => "+",
                "sub" => "-",
                "mul" => "*",
                "div" => "/",
                "rem" => "%",
                other => other,
            };
            let (left, right) = (left.type_of(), right.type_of());
            format!("`{operator}` means nothing for {left} and {right}")
        }
        _ => "it means nothing for values of these types".to_owned(),
    };
    Fault::Other(message.into())
}
