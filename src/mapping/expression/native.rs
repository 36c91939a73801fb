//! The plan of our own for what most expressions are made of.
//!
//! It means what the interpreter means: the same operands are computed, in the same order, and
//! where two of them fail the same failure is told.

use std::borrow::Cow;
use std::cmp::Ordering;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use regex::Regex;

use super::bound::{Looked, Places, Scene};
use super::value::{Fault, Scalar, Trouble};
use super::{Form, ours};

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Native(Node);

#[derive(Debug)]
enum Node {
    Literal(Scalar<'static>),
    /// A place of the change.
    Place(usize),
    Operation,
    Table,
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    If(Box<[Self; 3]>),
    Compare(Comparison, Box<[Self; 2]>),
    In(Box<Self>, Vec<Scalar<'static>>),
    Text(TextTest, Box<[Self; 2]>),
    Matches(Box<Self>, Regex),
    Add(Box<[Self; 2]>),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equals,
    Differs,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Clone, Copy, Debug)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

type Computed<'a> = Result<Scalar<'a>, Trouble>;

impl Native {
    /// Compiles a tree; none where something in it is for the interpreter.
    pub(super) fn compile(tree: &IdedExpr, places: &Places) -> Option<Self> {
        Node::compile(&tree.expr, places).map(Self)
    }

    /// Computes it for one row.
    #[inline]
    pub(super) fn evaluate<'a>(&'a self, places: &'a Places, scene: &Scene<'a>) -> Computed<'a> {
        self.0.compute(&Run { places, scene })
    }
}

struct Run<'a, 's> {
    places: &'a Places,
    scene: &'s Scene<'a>,
}

impl<'a> Run<'a, '_> {
    #[inline]
    fn place(&self, index: usize) -> Computed<'a> {
        let Some(place) = self.places.get(index) else { return Err(Fault::NoColumn.into()) };
        let looked = place.look(self.scene);
        match (place.form, looked) {
            (Form::Value, Looked::Value(text)) => Ok(place.reading.read(text)),
            (Form::Value, Looked::Null) => Ok(Scalar::Null),
            (Form::Absent, looked) => Ok(Scalar::Bool(matches!(looked, Looked::NoRow))),
            (Form::Has, Looked::Value(_) | Looked::Null) => Ok(Scalar::Bool(true)),
            (Form::Has, Looked::Unsent | Looked::NoColumn | Looked::NoRow) => {
                Ok(Scalar::Bool(false))
            }
            (_, looked) => Err(without(looked)),
        }
    }
}

#[cold]
fn without(looked: Looked<'_>) -> Trouble {
    match looked {
        Looked::Unsent => Trouble::Unsent,
        Looked::NoRow => Fault::NoOldRow.into(),
        Looked::NoColumn | Looked::Value(_) | Looked::Null => Fault::NoColumn.into(),
    }
}

impl Node {
    fn compile(expr: &Expr, places: &Places) -> Option<Self> {
        match expr {
            Expr::Literal(literal) => literal_value(literal).map(Self::Literal),
            Expr::Ident(name) => match name.as_str() {
                "op" => Some(Self::Operation),
                "table" => Some(Self::Table),
                name => {
                    let index = name.strip_prefix('@')?.parse().ok()?;
                    let place = places.get(index)?;
                    let fits = place.reading.is_scalar() && place.form != Form::Optional;
                    (fits || matches!(place.form, Form::Has | Form::Absent))
                        .then_some(Self::Place(index))
                }
            },
            Expr::Call(call) => Self::call(call, places),
            _ => None,
        }
    }

    fn call(call: &CallExpr, places: &Places) -> Option<Self> {
        let name = call.func_name.as_str();
        let node = |expr: &IdedExpr| Self::compile(&expr.expr, places);
        if let Some(target) = &call.target {
            let test = match name {
                "startsWith" => TextTest::StartsWith,
                "endsWith" => TextTest::EndsWith,
                "contains" => TextTest::Contains,
                _ => return None,
            };
            let [arg] = call.args.as_slice() else { return None };
            return Some(Self::Text(test, Box::new([node(target)?, node(arg)?])));
        }
        match call.args.as_slice() {
            [operand] if name == operators::LOGICAL_NOT => {
                Some(Self::Not(Box::new(node(operand)?)))
            }
            [left, right] => Self::binary(name, left, right, places),
            [condition, yes, no] if name == operators::CONDITIONAL => {
                Some(Self::If(Box::new([node(condition)?, node(yes)?, node(no)?])))
            }
            _ => None,
        }
    }

    fn binary(name: &str, left: &IdedExpr, right: &IdedExpr, places: &Places) -> Option<Self> {
        let both = || {
            let node = |expr: &IdedExpr| Self::compile(&expr.expr, places);
            Some(Box::new([node(left)?, node(right)?]))
        };
        match name {
            operators::LOGICAL_AND => return both().map(Self::And),
            operators::LOGICAL_OR => return both().map(Self::Or),
            operators::ADD | ours::ADD => return both().map(Self::Add),
            ours::MATCHES => {
                let Expr::Ident(pattern) = &right.expr else { return None };
                let index: usize = pattern.strip_prefix("@p")?.parse().ok()?;
                let pattern = places.parsed().patterns.get(index)?.clone();
                return Some(Self::Matches(Box::new(Self::compile(&left.expr, places)?), pattern));
            }
            _ => {}
        }
        let comparison = match ours::sign_of(name)? {
            "==" => Comparison::Equals,
            "!=" => Comparison::Differs,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            "in" => {
                let Expr::List(list) = &right.expr else { return None };
                let literal = |element: &IdedExpr| match &element.expr {
                    Expr::Literal(literal) => literal_value(literal),
                    _ => None,
                };
                let elements = list.elements.iter().map(literal).collect::<Option<Vec<_>>>()?;
                if !list.optional_indices.is_empty() {
                    return None;
                }
                return Some(Self::In(Box::new(Self::compile(&left.expr, places)?), elements));
            }
            _ => return None,
        };
        both().map(|operands| Self::Compare(comparison, operands))
    }

    fn compute<'a>(&'a self, run: &Run<'a, '_>) -> Computed<'a> {
        match self {
            Self::Literal(literal) => Ok(borrowed(literal)),
            Self::Place(index) => run.place(*index),
            Self::Operation => Ok(Scalar::Text(Cow::Borrowed(run.scene.operation()))),
            Self::Table => Ok(Scalar::Text(Cow::Borrowed(run.places.table()))),
            Self::Not(operand) => match operand.compute(run)? {
                Scalar::Bool(value) => Ok(Scalar::Bool(!value)),
                other => Err(types("!", &other, &Scalar::Bool(true))),
            },
            Self::And(operands) => junction(operands, false, "&&", run),
            Self::Or(operands) => junction(operands, true, "||", run),
            Self::If(parts) => {
                let [condition, yes, no] = parts.as_ref();
                match condition.compute(run)? {
                    Scalar::Bool(true) => yes.compute(run),
                    Scalar::Bool(false) => no.compute(run),
                    other => Err(types("?", &other, &Scalar::Bool(true))),
                }
            }
            Self::Compare(comparison, operands) => {
                let [left, right] = operands.as_ref();
                let (left, right) = (left.compute(run)?, right.compute(run)?);
                comparison.test(&left, &right).map(Scalar::Bool)
            }
            Self::In(value, elements) => {
                let value = value.compute(run)?;
                Ok(Scalar::Bool(elements.iter().any(|element| value.equals(element))))
            }
            Self::Text(test, operands) => {
                let [text, part] = operands.as_ref();
                // The interpreter computes the argument before what it is asked of.
                let part = part.compute(run)?;
                let text = text.compute(run)?;
                test.test(&text, &part).map(Scalar::Bool)
            }
            Self::Matches(text, pattern) => match text.compute(run)? {
                Scalar::Text(text) => Ok(Scalar::Bool(pattern.is_match(&text))),
                other => Err(types("matches", &other, &Scalar::Text(Cow::Borrowed("")))),
            },
            Self::Add(operands) => {
                let [left, right] = operands.as_ref();
                let (left, right) = (left.compute(run)?, right.compute(run)?);
                add(left, &right)
            }
        }
    }
}

fn borrowed<'a>(scalar: &'a Scalar<'static>) -> Scalar<'a> {
    match scalar {
        Scalar::Text(text) => Scalar::Text(Cow::Borrowed(text)),
        Scalar::Null => Scalar::Null,
        Scalar::Bool(value) => Scalar::Bool(*value),
        Scalar::Int(number) => Scalar::Int(*number),
        Scalar::Double(number) => Scalar::Double(*number),
    }
}

/// `&&` and `||`: an operand that decides does so whatever the other one fails at.
fn junction<'a>(
    operands: &'a [Node; 2],
    decides: bool,
    sign: &'static str,
    run: &Run<'a, '_>,
) -> Computed<'a> {
    let [left, right] = operands;
    let left = left.compute(run);
    if let Ok(Scalar::Bool(value)) = left
        && value == decides
    {
        return Ok(Scalar::Bool(decides));
    }
    match (left, right.compute(run)?) {
        (_, Scalar::Bool(value)) if value == decides => Ok(Scalar::Bool(decides)),
        (Ok(Scalar::Bool(_)), Scalar::Bool(value)) => Ok(Scalar::Bool(value)),
        (Err(trouble), _) => Err(trouble),
        (Ok(left), right) => Err(types(sign, &left, &right)),
    }
}

impl Comparison {
    #[inline]
    fn test(self, left: &Scalar<'_>, right: &Scalar<'_>) -> Result<bool, Trouble> {
        let is: fn(Ordering) -> bool = match self {
            Self::Equals => return Ok(left.equals(right)),
            Self::Differs => return Ok(!left.equals(right)),
            Self::Less => Ordering::is_lt,
            Self::AtMost => Ordering::is_le,
            Self::Greater => Ordering::is_gt,
            Self::AtLeast => Ordering::is_ge,
        };
        left.compare(right).map(is).ok_or_else(|| types(self.sign(), left, right))
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Equals => "==",
            Self::Differs => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

impl TextTest {
    fn test(self, text: &Scalar<'_>, part: &Scalar<'_>) -> Result<bool, Trouble> {
        let (Scalar::Text(whole), Scalar::Text(of)) = (text, part) else {
            let operation = match self {
                Self::StartsWith => "startsWith",
                Self::EndsWith => "endsWith",
                Self::Contains => "contains",
            };
            return Err(types(operation, text, part));
        };
        Ok(match self {
            Self::StartsWith => whole.starts_with(of.as_ref()),
            Self::EndsWith => whole.ends_with(of.as_ref()),
            Self::Contains => whole.contains(of.as_ref()),
        })
    }
}

fn add<'a>(left: Scalar<'a>, right: &Scalar<'a>) -> Computed<'a> {
    match (left, right) {
        (Scalar::Text(left), Scalar::Text(right)) => {
            let mut text = left.into_owned();
            text.push_str(right);
            Ok(Scalar::Text(Cow::Owned(text)))
        }
        (Scalar::Int(left), Scalar::Int(right)) => match left.checked_add(*right) {
            Some(sum) => Ok(Scalar::Int(sum)),
            None => Err(Fault::Other("a number leaves 64 bits".into()).into()),
        },
        (Scalar::Double(left), Scalar::Double(right)) => Ok(Scalar::Double(left + right)),
        (left, right) => Err(types("+", &left, right)),
    }
}

#[cold]
fn types(operation: &'static str, left: &Scalar<'_>, right: &Scalar<'_>) -> Trouble {
    Fault::Types { operation, types: [left.type_name(), right.type_name()] }.into()
}

fn literal_value(literal: &LiteralValue) -> Option<Scalar<'static>> {
    Some(match literal {
        LiteralValue::Boolean(value) => Scalar::Bool(*value.inner()),
        LiteralValue::Double(number) => Scalar::Double(*number.inner()),
        LiteralValue::Int(number) => Scalar::Int(*number.inner()),
        LiteralValue::Null => Scalar::Null,
        LiteralValue::String(text) => Scalar::Text(Cow::Owned(text.inner().to_owned())),
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return None,
    })
}
