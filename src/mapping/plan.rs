//! A mapping compiled for one version of a table: [`Plan`]. Rendering walks it and appends bytes.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::convert;
use super::rule::{As, Field, From, Mapping, OnUnchanged, Policy, Rest};
use super::text::write_name;
use super::verdict::{Reason, Verdict};
use crate::change::Cell;
use crate::pgoutput::value::{is_json_null, write_json, write_text_json};
use crate::relation::{Column, Kind, Relation};

/// The output of one mapping for one version of a table.
#[derive(Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    /// What a column that the table lacks means for every row.
    verdict: Option<Verdict>,
}

#[derive(Debug)]
enum Step {
    /// `"address":{`
    Open(Vec<u8>),
    Close,
    /// `"source":"shop"`
    Constant(Vec<u8>),
    Column(Box<ColumnStep>),
}

#[derive(Debug)]
struct ColumnStep {
    /// `"email":`
    name: Vec<u8>,
    index: usize,
    kind: Kind,
    convert: Option<As>,
    on_null: Rendered,
    on_invalid: Rendered,
    on_unchanged: OnUnchanged,
    /// The field's full name, as `unchanged` and rejections say it.
    field: Arc<str>,
}

/// A policy whose value is JSON already.
#[derive(Debug)]
enum Rendered {
    Omit,
    Reject,
    Skip,
    Value(Vec<u8>),
}

/// Which row image is written, and what that means for values that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The row as it is now: what was not sent is named.
    New,
    /// The row of a delete: what was not sent is just not there.
    Gone,
    /// Old values beside the new ones: they inform, and reject nothing.
    Before,
}

/// Memory that is kept between rows.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// `"bio","notes"`: fields whose values were not sent.
    pub(super) unchanged: Vec<u8>,
    /// `"settings"`: fields that hold the JSON value null.
    pub(super) json_nulls: Vec<u8>,
    /// A policy left a field out.
    pub(super) omitted: bool,
    /// Where the objects begin that are open.
    open: Vec<usize>,
}

impl Notes {
    pub(super) fn clear(&mut self) {
        self.unchanged.clear();
        self.json_nulls.clear();
        self.omitted = false;
    }
}

impl Plan {
    /// Compiles `mapping` (none: every column as it is) for `relation`.
    pub(super) fn compile(mapping: Option<&Mapping>, relation: &Relation) -> Self {
        let mut outline = Outline::default();
        match mapping {
            None => outline.columns(relation, |_| true),
            Some(mapping) => {
                for field in &mapping.fields {
                    outline.field(field, relation);
                }
                if mapping.rest == Rest::Include {
                    let named = |column: &Column| {
                        mapping.fields.iter().any(
                            |field| matches!(&field.from, From::Column(name) if *name == column.name),
                        )
                    };
                    outline.columns(relation, |column| !named(column));
                }
            }
        }
        outline.finish()
    }

    /// Compiles the plan of a delete that is sent as an update with more fields.
    pub(super) fn compile_set(
        mapping: Option<&Mapping>,
        relation: &Relation,
        values: &Map<String, Value>,
    ) -> Self {
        let mut outline = Outline::default();
        let mut plan = Self::compile(mapping, relation);
        outline.nodes = Node::from_steps(&mut plan.steps.drain(..));
        outline.verdict = plan.verdict.take();
        for (name, value) in values {
            outline.overwrite(&[name], value);
        }
        outline.finish()
    }

    /// Appends the object of one row.
    pub(super) fn write<'a>(
        &self,
        role: Role,
        cell: impl Fn(usize) -> Cell<'a>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        if role != Role::Before
            && let Some(verdict) = &self.verdict
        {
            return Err(verdict.clone());
        }
        notes.open.clear();
        out.push(b'{');
        for step in &self.steps {
            match step {
                Step::Column(column) => column.write(role, cell(column.index), notes, out)?,
                Step::Constant(text) if role != Role::Before => {
                    comma(out);
                    out.extend_from_slice(text);
                }
                Step::Constant(_) => {}
                Step::Open(text) => {
                    notes.open.push(out.len());
                    comma(out);
                    out.extend_from_slice(text);
                }
                Step::Close => {
                    let start = notes.open.pop().unwrap_or_default();
                    // An object of which nothing was sent says nothing.
                    if out.last() == Some(&b'{') {
                        out.truncate(start);
                    } else {
                        out.push(b'}');
                    }
                }
            }
        }
        out.push(b'}');
        Ok(())
    }
}

impl ColumnStep {
    #[inline]
    fn write(
        &self,
        role: Role,
        cell: Cell<'_>,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match cell {
            Cell::Value(text) => self.write_value(role, text, notes, out),
            Cell::Null if role == Role::Before => {
                match &self.on_null {
                    Rendered::Value(value) => self.put(value, out),
                    Rendered::Omit => {}
                    Rendered::Reject | Rendered::Skip => self.put(b"null", out),
                }
                Ok(())
            }
            Cell::Null => self.apply(&self.on_null, Reason::Null, notes, out),
            Cell::Unchanged | Cell::Absent => self.write_unchanged(role, notes),
        }
    }

    #[inline]
    fn write_value(
        &self,
        role: Role,
        text: &[u8],
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        let start = out.len();
        comma(out);
        out.extend_from_slice(&self.name);
        match self.convert {
            None => write_json(&self.kind, text, out),
            Some(target) if convert::write(target, &self.kind, text, out) => {}
            Some(target) => {
                out.truncate(start);
                return match (&self.on_invalid, role) {
                    (Rendered::Reject | Rendered::Skip, Role::Before) => Ok(()),
                    (policy, _) => self.apply(policy, Reason::Invalid(target), notes, out),
                };
            }
        }
        if self.kind == Kind::Json
            && role != Role::Before
            && matches!(self.convert, None | Some(As::Json))
            && is_json_null(&self.kind, text)
        {
            note(&self.field, &mut notes.json_nulls);
        }
        Ok(())
    }

    #[cold]
    fn write_unchanged(&self, role: Role, notes: &mut Notes) -> Result<(), Verdict> {
        match (role, self.on_unchanged) {
            (Role::Before, _) => {}
            (_, OnUnchanged::Reject) => {
                return Err(Verdict::reject(&self.field, Reason::Unchanged));
            }
            (Role::New, OnUnchanged::Omit) => note(&self.field, &mut notes.unchanged),
            (Role::Gone, OnUnchanged::Omit) => {}
        }
        Ok(())
    }

    fn apply(
        &self,
        policy: &Rendered,
        reason: Reason,
        notes: &mut Notes,
        out: &mut Vec<u8>,
    ) -> Result<(), Verdict> {
        match policy {
            Rendered::Value(value) => self.put(value, out),
            Rendered::Omit => notes.omitted = true,
            Rendered::Reject => return Err(Verdict::reject(&self.field, reason)),
            Rendered::Skip => return Err(Verdict::skip(&self.field, reason)),
        }
        Ok(())
    }

    fn put(&self, value: &[u8], out: &mut Vec<u8>) {
        comma(out);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(value);
    }
}

/// Parts a member from the one before it. No value ends in an opening brace, so the last byte
/// tells whether there is one.
#[inline]
fn comma(out: &mut Vec<u8>) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
}

fn note(field: &str, list: &mut Vec<u8>) {
    if !list.is_empty() {
        list.push(b',');
    }
    write_text_json(field.as_bytes(), list);
}

impl Rendered {
    fn new(policy: &Policy) -> Self {
        match policy {
            Policy::Null => Self::Value(b"null".to_vec()),
            Policy::Omit => Self::Omit,
            Policy::Reject => Self::Reject,
            Policy::Skip => Self::Skip,
            Policy::Default(value) => Self::Value(value.to_string().into_bytes()),
        }
    }
}

/// The output's objects while they are put together; steps once they are.
#[derive(Debug, Default)]
struct Outline {
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
    fn columns(&mut self, relation: &Relation, wanted: impl Fn(&Column) -> bool) {
        for (index, column) in relation.columns.iter().enumerate() {
            if wanted(column) {
                let field = Field::column(column.name.as_str(), column.name.as_str());
                let path = [column.name.as_str()];
                let step = Step::Column(Box::new(column_step(&field, &path, index, column)));
                insert(&mut self.nodes, &path, step, false);
            }
        }
    }

    fn field(&mut self, field: &Field, relation: &Relation) {
        let path: Vec<&str> = field.path().collect();
        let step = match &field.from {
            From::Value(value) => Some(constant(&path, value)),
            From::Column(name) => match relation.column(name) {
                Some(index) => relation
                    .columns
                    .get(index)
                    .map(|column| Step::Column(Box::new(column_step(field, &path, index, column)))),
                None => self.missing(field, name, &path),
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

    fn finish(self) -> Plan {
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

    fn from_steps(steps: &mut impl Iterator<Item = Step>) -> Vec<Self> {
        let mut nodes = Vec::new();
        while let Some(step) = steps.next() {
            nodes.push(match step {
                Step::Close => break,
                Step::Open(mut name) => {
                    name.pop();
                    Self::Object(name, Self::from_steps(steps))
                }
                Step::Column(ref column) => Self::Leaf(column.name.clone(), step),
                Step::Constant(ref text) => Self::Leaf(constant_name(text).to_vec(), step),
            });
        }
        nodes
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

fn last_name(path: &[&str]) -> Vec<u8> {
    let mut name = Vec::new();
    write_name(path.last().copied().unwrap_or_default(), &mut name);
    name
}

fn constant(path: &[&str], value: &Value) -> Step {
    let mut text = last_name(path);
    text.extend_from_slice(value.to_string().as_bytes());
    Step::Constant(text)
}

/// Returns the `"name":` that a constant begins with.
fn constant_name(text: &[u8]) -> &[u8] {
    let mut escaped = false;
    for (index, byte) in text.iter().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return text.get(..index + 2).unwrap_or_default(),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text
}

fn column_step(field: &Field, path: &[&str], index: usize, column: &Column) -> ColumnStep {
    ColumnStep {
        name: last_name(path),
        index,
        kind: column.kind.clone(),
        convert: field.convert,
        on_null: Rendered::new(&field.null_policy()),
        on_invalid: Rendered::new(&field.invalid_policy()),
        on_unchanged: field.on_unchanged,
        field: field.target.as_str().into(),
    }
}
