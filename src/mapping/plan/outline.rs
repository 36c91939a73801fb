//! The objects of a plan's output while they are put together.

use std::sync::Arc;

use serde_json::Value;

use super::super::expression::Bound;
use super::super::field::{Field, From, Mapping, Policy, Rest};
use super::super::text::write_name;
use super::super::verdict::{Reason, Verdict};
use super::field::FieldStep;
use super::{Plan, Step};
use crate::relation::{Column, Relation};
use crate::secret::Secret;

/// The output's objects while they are put together; steps once they are.
#[derive(Debug, Default)]
pub(super) struct Outline {
    nodes: Vec<Node>,
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Node {
    /// `"name":` and what stands in the object.
    Object(Vec<u8>, Vec<Self>),
    /// `"name":` and its step.
    Leaf(Vec<u8>, Step),
}

impl Outline {
    /// Lays out `mapping` (none: every column as it is) for `relation`.
    pub(super) fn of(mapping: Option<&Mapping>, relation: &Relation) -> Self {
        let mut outline = Self::default();
        let Some(mapping) = mapping else {
            outline.columns(relation, |_| true);
            return outline;
        };
        for field in &mapping.fields {
            outline.field(field, relation, mapping.mask_key.as_ref());
        }
        if mapping.rest == Rest::Include {
            outline.columns(relation, |column| !mapping.names(&column.name));
        }
        outline
    }

    fn columns(&mut self, relation: &Relation, wanted: impl Fn(&Column) -> bool) {
        for (index, column) in relation.columns.iter().enumerate() {
            if wanted(column) {
                let field = Field::column(column.name.as_str(), column.name.as_str());
                let path = [column.name.as_str()];
                let step = FieldStep::column(&field, &path, index, column, None);
                insert(&mut self.nodes, &path, Step::Field(Box::new(step)), false);
            }
        }
    }

    fn field(&mut self, field: &Field, relation: &Relation, key: Option<&Secret>) {
        let path: Vec<&str> = field.path().collect();
        let step = match &field.from {
            From::Value(value) => Some(constant(&path, value)),
            From::Column(name) => match relation.column(name) {
                Some(index) => relation
                    .columns
                    .get(index)
                    .map(|column| FieldStep::column(field, &path, index, column, key))
                    .map(|step| Step::Field(Box::new(step))),
                None => self.missing(field, name, &path),
            },
            From::Expr(expression) => match Bound::new(expression, relation) {
                Ok(bound) => {
                    Some(Step::Field(Box::new(FieldStep::expression(field, &path, bound, key))))
                }
                Err(column) => self.missing(field, &column, &path),
            },
        };
        if let Some(step) = step {
            insert(&mut self.nodes, &path, step, false);
        }
    }

    fn missing(&mut self, field: &Field, column: &str, path: &[&str]) -> Option<Step> {
        let reason = || Reason::NoColumn(column.into());
        let target: Arc<str> = field.target.as_str().into();
        match field.missing_policy() {
            Policy::Null => Some(constant(path, &Value::Null)),
            Policy::Default(value) => Some(constant(path, &value)),
            Policy::Omit => None,
            Policy::Reject => {
                self.verdict.get_or_insert_with(|| Verdict::reject(&target, reason()));
                None
            }
            Policy::Skip => {
                self.verdict.get_or_insert_with(|| Verdict::skip(&target, reason()));
                None
            }
        }
    }

    /// Sets a field of `on_delete = { set = … }`: a dot nests, but for one in a column's own name.
    pub(super) fn set(&mut self, name: &str, value: &Value) {
        let mut own = Vec::new();
        write_name(name, &mut own);
        if self.nodes.iter().any(|node| node.name() == own) {
            self.overwrite(&[name], value);
        } else {
            self.overwrite(&name.split('.').collect::<Vec<_>>(), value);
        }
    }

    /// Sets a constant, in place of what stood there; an object only where it says something.
    fn overwrite(&mut self, path: &[&str], value: &Value) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    let mut path = path.to_vec();
                    path.push(name);
                    self.overwrite(&path, value);
                }
            }
            _ => insert(&mut self.nodes, path, constant(path, value), true),
        }
    }

    pub(super) fn finish(self) -> Plan {
        let mut steps = Vec::new();
        for node in self.nodes {
            node.into_steps(&mut steps);
        }
        Plan { steps, verdict: self.verdict }
    }
}

impl Node {
    fn name(&self) -> &[u8] {
        match self {
            Self::Object(name, _) | Self::Leaf(name, _) => name,
        }
    }

    fn into_steps(self, steps: &mut Vec<Step>) {
        match self {
            Self::Leaf(_, step) => steps.push(step),
            Self::Object(mut name, nodes) => {
                name.push(b'{');
                steps.push(Step::Open(name));
                for node in nodes {
                    node.into_steps(steps);
                }
                steps.push(Step::Close);
            }
        }
    }
}

/// Puts a step at its path. A name that is taken stays as it is, unless `replace`: two fields of
/// one name are a problem that the config has told of.
fn insert(nodes: &mut Vec<Node>, path: &[&str], step: Step, replace: bool) {
    let Some((first, rest)) = path.split_first() else { return };
    let mut name = Vec::new();
    write_name(first, &mut name);
    let found = nodes.iter_mut().find(|node| node.name() == name);
    match (found, rest.is_empty()) {
        (Some(Node::Object(_, nodes)), false) => insert(nodes, rest, step, replace),
        (Some(node), whole) if replace => {
            *node = if whole { Node::Leaf(name, step) } else { object(name, rest, step) };
        }
        (Some(_), _) => {}
        (None, true) => nodes.push(Node::Leaf(name, step)),
        (None, false) => nodes.push(object(name, rest, step)),
    }
}

fn object(name: Vec<u8>, rest: &[&str], step: Step) -> Node {
    let mut nodes = Vec::new();
    insert(&mut nodes, rest, step, false);
    Node::Object(name, nodes)
}

pub(super) fn last_name(path: &[&str]) -> Vec<u8> {
    let mut name = Vec::new();
    write_name(path.last().copied().unwrap_or_default(), &mut name);
    name
}

fn constant(path: &[&str], value: &Value) -> Step {
    let mut text = last_name(path);
    text.extend_from_slice(value.to_string().as_bytes());
    Step::Constant(text)
}
