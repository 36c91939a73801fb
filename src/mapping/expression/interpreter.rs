//! The crate's interpreter, with the columns of one row as its variables.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelOptional, CelString};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{Context, ExecutionError, Value};

use super::bound::{Looked, Place, Places, Scene};
use super::ours::{self, Pattern};
use super::value::{Fault, Reading, Scalar, Trouble};
use super::{Form, tree};
use crate::pgoutput::value::write_json;

/// Computes an expression of one row.
pub(super) fn evaluate(
    places: &Places,
    patterns: &[Pattern],
    scene: &Scene<'_>,
) -> Result<Value, Trouble> {
    let variables = Variables {
        places,
        patterns,
        scene,
        unsent: AtomicBool::new(false),
        missing: AtomicBool::new(false),
        rowless: AtomicBool::new(false),
    };
    let mut context = Context::with_env(Arc::clone(ours::environment()));
    context.set_variable_resolver(&variables);
    // Whatever a row holds, one expression that breaks the interpreter breaks nothing else.
    let resolve = || Value::resolve(places.tree(), &context);
    let resolved = catch_unwind(AssertUnwindSafe(resolve));
    let broken = || Fault::Other("the interpreter broke at its value".into());
    resolved.map_err(|_| broken())?.map_err(|error| {
        let is_set = |mark: &AtomicBool| mark.load(Ordering::Relaxed);
        if is_set(&variables.unsent) {
            Trouble::Unsent
        } else if is_set(&variables.rowless) {
            Fault::NoOldRow.into()
        } else if is_set(&variables.missing) {
            Fault::NoColumn.into()
        } else {
            fault(&error).into()
        }
    })
}

/// What a name of the tree stands for, in one row.
struct Variables<'s> {
    places: &'s Places,
    patterns: &'s [Pattern],
    scene: &'s Scene<'s>,
    /// What kept a name from having a value.
    unsent: AtomicBool,
    missing: AtomicBool,
    rowless: AtomicBool,
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
        let place = self.places.get(name.parse().ok()?)?;
        let looked = place.look(self.scene);
        match place.form {
            Form::Absent => Some(boolean(matches!(looked, Looked::NoRow))),
            Form::Has => match looked {
                Looked::NoRow => self.without(looked),
                looked => Some(boolean(matches!(looked, Looked::Value(_) | Looked::Null))),
            },
            Form::Value => self.value(place, looked),
            Form::Optional if matches!(looked, Looked::NoColumn) => {
                Some(CowVal::owned(CelOptional::none()))
            }
            Form::Optional => {
                let value = self.value(place, looked)?;
                Some(CowVal::owned(CelOptional::of(value.into_owned())))
            }
        }
    }
}

impl<'s> Variables<'s> {
    fn value<'b>(&'b self, place: &'b Place, looked: Looked<'b>) -> Option<CowVal<'b, 'b>> {
        let Looked::Value(bytes) = looked else {
            return match looked {
                Looked::Null => Some(CowVal::owned(CelNull)),
                looked => self.without(looked),
            };
        };
        if let Reading::Tree(kind) = &place.reading {
            let mut json = Vec::new();
            write_json(kind, bytes, &mut json);
            return tree::read(&json).map(CowVal::Owned);
        }
        Some(match place.reading.read(bytes) {
            Scalar::Null => CowVal::owned(CelNull),
            Scalar::Bool(value) => boolean(value),
            Scalar::Int(number) => CowVal::owned(CelInt::from(number)),
            Scalar::Double(number) => CowVal::owned(CelDouble::from(number)),
            Scalar::Text(std::borrow::Cow::Borrowed(value)) => text(value),
            Scalar::Text(std::borrow::Cow::Owned(value)) => CowVal::owned(CelString::from(value)),
        })
    }

    /// Remembers why there is no value.
    fn without<'b>(&self, looked: Looked<'_>) -> Option<CowVal<'b, 'b>> {
        let mark = match looked {
            Looked::Unsent => &self.unsent,
            Looked::NoRow => &self.rowless,
            Looked::NoColumn | Looked::Value(_) | Looked::Null => &self.missing,
        };
        mark.store(true, Ordering::Relaxed);
        None
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
        ExecutionError::FunctionError { function, .. } => {
            format!("`{function}` can't be had of its value")
        }
        ExecutionError::UnexpectedType { got, want } => {
            format!("{want} is needed, and it is {got}")
        }
        ExecutionError::UndeclaredReference(name) => format!("there is no `{name}` here"),
        ExecutionError::UnsupportedBinaryOperator(operator, left, right) => {
            let (left, right) = (left.type_of(), right.type_of());
            format!("`{operator}` means nothing for {left} and {right}")
        }
        _ => "it means nothing for values of these types".to_owned(),
    };
    Fault::Other(message.into())
}
