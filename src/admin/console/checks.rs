//! `/checks`: whether everything is ready, looked at when somebody asks.

use std::sync::Arc;

use axum::extract::State;
use maud::{Markup, html};

use super::parts::twin;
use super::{Page, Paged, frame};
use crate::admin::Shown;
use crate::inspect::check::{self, Check, Status};

pub(super) async fn page(State(shown): State<Arc<dyn Shown>>) -> Paged {
    let report = check::examine(shown.config(), false).await;
    let of = |status: Status| report.checks().iter().filter(move |it| it.status == status);
    let body = html! {
        // It asks the server and every sink: not every other second.
        div data-still {
            section.card {
                header.row {
                    h1 { "Checks" }
                    a.button href="/checks" { "Look again" }
                }
                (twin("walgate check"))
                @if of(Status::Fail).next().is_some() { p.banner.bad { "Something would keep a run from working." } }
                @else if of(Status::Warn).next().is_some() { p.banner.warn { "It works; some things want to be looked at." } }
                @else { p.banner.good { "All is as it should be." } }
                @for status in [Status::Fail, Status::Warn, Status::Ok] {
                    @if of(status).next().is_some() {
                        div.scroll { table {
                            thead { tr { th { "" } th { "What" } th { "Seen" } th { "What mends it" } } }
                            tbody { @for check in of(status) { (row(check)) } }
                        } }
                    }
                }
            }
        }
    };
    Ok(Page(frame::page("Checks", "/source", &body)))
}

fn row(check: &Check) -> Markup {
    let tone = match check.status {
        Status::Ok => "badge good",
        Status::Warn => "badge warn",
        Status::Fail => "badge bad",
    };
    html! {
        tr {
            td { span class=(tone) { (check.status.as_str()) } }
            td { (check.subject) }
            td { (check.seen) }
            td { @if let Some(fix) = &check.fix { code.answer { (fix) } } }
        }
    }
}
