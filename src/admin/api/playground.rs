//! `POST /v1/playground`: an edited mapping tried on a row. Changes nothing.

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{self, Json};
use super::{Shared, document};
use crate::admin::answer;
use crate::admin::refusal::Refusal;
use crate::admin::trial::{self, NotTried};
use crate::chunk::Operation;
use crate::config::Problems;
use crate::inspect::playground::{Asked, Row, in_force};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    mapping: String,
    #[serde(default, deserialize_with = "body::there")]
    route: Option<String>,
    #[serde(default, deserialize_with = "body::there")]
    toml: Option<String>,
    #[serde(default, deserialize_with = "row")]
    row: Option<Which>,
}

/// One of the three, and `op` beside `values` alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default, deserialize_with = "body::there")]
    event: Option<String>,
    #[serde(default, deserialize_with = "body::id")]
    dead_letter: Option<i64>,
    #[serde(default)]
    values: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "op")]
    op: Option<Op>,
}

/// What is done with a row that is written down.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Op {
    Insert,
    Update,
    Delete,
    Read,
}

impl From<Op> for Operation {
    fn from(op: Op) -> Self {
        match op {
            Op::Insert => Self::Insert,
            Op::Update => Self::Update,
            Op::Delete => Self::Delete,
            Op::Read => Self::Read,
        }
    }
}

/// Takes one that is there.
fn op<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Op>, D::Error> {
    Op::deserialize(deserializer).map(Some)
}

/// Takes a row that is there: `null` is none.
fn row<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Which>, D::Error> {
    Which::deserialize(deserializer).map(Some)
}

impl Which {
    fn row(self) -> Result<Row, Refusal> {
        let wrong = || {
            let message = "\"row\" has one of \"event\", \"dead_letter\" and \"values\"; \"op\" \
                           stands beside \"values\"";
            Refusal::wrong(message)
        };
        match self {
            Self { event: Some(id), dead_letter: None, values: None, op: None } => {
                Ok(Row::Event(id))
            }
            Self { event: None, dead_letter: Some(id), values: None, op: None } => {
                Ok(Row::DeadLetter(id))
            }
            Self { event: None, dead_letter: None, values: Some(values), op } => Ok(Row::Typed {
                json: values.get().to_owned(),
                operation: op.map_or(Operation::Insert, Into::into),
            }),
            _ => Err(wrong()),
        }
    }
}

/// `POST /v1/playground`
pub(super) async fn tried(
    State(shown): Shared,
    Json(asked): Json<Trial>,
) -> Result<Response<Body>, Refusal> {
    let Trial { mapping, route, toml, row } = asked;
    let row = row.map(Which::row).transpose()?;
    in_force(shown.config(), &mapping)?;
    match trial::run(&shown, Asked { mapping, route, toml, row }).await {
        Ok(tried) => document(&tried),
        Err(NotTried::Text(problems)) => Ok(wrong(&problems)),
        Err(NotTried::Refused(refusal)) => Err(refusal),
    }
}

/// Says what is wrong with a text, each with its place.
fn wrong(problems: &Problems) -> Response<Body> {
    let listed: Vec<_> = problems
        .0
        .iter()
        .map(|it| json!({ "line": it.line, "column": it.column, "message": it.message }))
        .collect();
    let body = json!({ "error": problems.to_string(), "problems": listed });
    answer::document(StatusCode::UNPROCESSABLE_ENTITY, &body)
}
