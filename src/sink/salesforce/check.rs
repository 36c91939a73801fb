//! What `walgate check` looks at: that the org lets us in, and has what is written to.

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::{Mode, Salesforce};
use crate::failure::Category;
use crate::sink::Failure;
use crate::sink::web::client::Ask;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    #[serde(default)]
    createable: bool,
    #[serde(default)]
    updateable: bool,
    #[serde(default)]
    deletable: bool,
    #[serde(default)]
    fields: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Column {
    name: String,
    #[serde(default)]
    external_id: bool,
    #[serde(default)]
    id_lookup: bool,
}

impl Salesforce {
    /// Gets a token, asks for the limits and for what the object has. Returns what was seen.
    pub(super) async fn look(&self) -> Result<String, Failure> {
        let deadline = self.client.deadline();
        let mut seen = self.client.check(deadline).await?;
        self.ask(&self.limits(), deadline).await?;
        if let Some(usage) = self.budget.seen() {
            seen.push_str(&format!("; {} of {} requests a day used", usage.used, usage.max));
        }
        let Some(object) = self.object.fixed() else { return Ok(seen) };
        let wrong = |why: &str| {
            Failure::new(Category::Setup, format!("{}: {object} {why}", self.client.host()))
        };
        let describe = Ask::new(Method::GET, format!("{}/sobjects/{object}/describe", self.base));
        let heard = self.ask(&describe, deadline).await.map_err(|failure| {
            if failure.status == Some(StatusCode::NOT_FOUND.as_u16()) {
                return wrong("is not there, or not for this user");
            }
            failure
        })?;
        let described: Described = serde_json::from_slice(&heard.body)
            .map_err(|_| self.client.nonsense(&heard, "no description of an object"))?;
        if !described.createable || (self.mode == Mode::Upsert && !described.updateable) {
            return Err(wrong("can't be written by this user"));
        }
        if self.mode == Mode::PlatformEvent {
            return Ok(format!("{seen}; {object} can be published"));
        }
        if self.deletes && !described.deletable {
            return Err(wrong("can't be deleted by this user: delete = \"ignore\" leaves records"));
        }
        let name = &self.external_id;
        match described.fields.iter().find(|field| field.name == *name) {
            Some(field) if field.external_id || field.id_lookup => {
                Ok(format!("{seen}; {object} is upserted by {name}"))
            }
            Some(_) => Err(wrong(&format!("has {name}, which is no external id"))),
            None => Err(wrong(&format!("has no {name} that this user sees"))),
        }
    }
}
