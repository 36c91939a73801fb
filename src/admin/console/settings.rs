//! `/config`: the config in force.

use std::sync::Arc;

use axum::extract::State;
use maud::html;

use super::parts::twin;
use super::{Page, Paged, frame};
use crate::admin::Shown;

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>) -> Paged {
    let config = shown.config();
    let body = html! {
        section.card {
            h1 { "Config in force" }
            p.note { "As this run was started with it, defaults too. Secrets are not shown." }
            @for warning in &config.warnings { p.reason { (warning) } }
            (twin("walgate check --offline"))
            pre.json { code { (config.text) } }
        }
    };
    Ok(Page(frame::page("Config", "/config", &body)))
}
