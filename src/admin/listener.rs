//! The listener: binds, accepts, routes. One task does it all.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::get;
use axum::{Extension, Router};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::api::{self, Peer};
use super::guard::{Guard, Refused};
use super::{Shown, answer, console, fetch, health, metrics};
use crate::config;
use crate::failure::chain;
use crate::lsn::Timestamp;

/// Between two attempts to listen at an address that can't be had.
const BIND_RETRY: Duration = Duration::from_secs(3);
/// Connections at the same time; whoever comes then waits in the listener's queue.
const CONNECTIONS_MAX: usize = 256;
/// How long a caller may take to say what it wants; one that is silent for longer is let go.
const HEAD_MAX: Duration = Duration::from_secs(60);
/// How long answers under way may take once the listener is to end.
const FAREWELL: Duration = Duration::from_secs(1);
/// A body may be so long: a mapping and some rows, for the playground.
const BODY_MAX: usize = 1 << 20;
/// A pause after an accept that failed: what is short then, such as file descriptors, is not there
/// a moment later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Answers until `stop`. An address that can't be had ends nothing: it is told, and tried again.
///
/// Cancel safety: dropping it closes every connection.
pub async fn serve(settings: config::Admin, shown: Arc<dyn Shown>, stop: CancellationToken) {
    let (listener, address) = tokio::select! {
        bound = bind(&settings.listen) => bound,
        () = stop.cancelled() => return,
    };
    tracing::info!(%address, "admin listening");
    let guard = Guard::new(&settings.listen, address.ip(), settings.token.as_ref());
    let routes = routes(Arc::new(guard), shown);
    let mut connections = FuturesUnordered::new();
    loop {
        let has_room = connections.len() < CONNECTIONS_MAX;
        tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    let routes = routes.clone().layer(Extension(Peer(peer)));
                    connections.push(connection(stream, routes, stop.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "the admin listener can't accept");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(()) = connections.next() => {}
        }
    }
    drop(listener);
    let rest = async { while connections.next().await.is_some() {} };
    // Whoever has not read its answer by then asks again.
    let _left = tokio::time::timeout(FAREWELL, rest).await;
}

/// Listens, as often as it takes.
async fn bind(listen: &str) -> (TcpListener, SocketAddr) {
    let mut told = false;
    loop {
        let bound = TcpListener::bind(listen).await;
        match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
            Ok((address, listener)) => return (listener, address),
            Err(error) if !told => {
                told = true;
                tracing::error!(
                    address = listen,
                    error = chain(&error),
                    help = help(&error),
                    "the admin listener can't listen; the run goes on, and it is tried again"
                );
            }
            Err(error) => tracing::debug!(address = listen, %error, "still can't listen"),
        }
        tokio::time::sleep(BIND_RETRY).await;
    }
}

fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there: end it, or set another address as `listen` in [admin] \
             (\"127.0.0.1:0\" takes any free port)"
        }
        _ => "set another address as `listen` in [admin]",
    }
}

/// Serves one connection. Its failures are the caller's.
async fn connection(stream: TcpStream, routes: Router, stop: CancellationToken) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admin listener broke");
    }
}

fn routes(guard: Arc<Guard>, shown: Arc<dyn Shown>) -> Router {
    let limits = Arc::new(Limits::new());
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/sinks/{name}/events", get(events))
        .merge(api::routes())
        .merge(console::routes())
        .fallback(nowhere)
        .method_not_allowed_fallback(not_so)
        .with_state(shown)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(Extension(Arc::clone(&guard)))
        .layer(middleware::from_fn_with_state(limits, limited))
        .layer(middleware::from_fn_with_state(guard, guarded))
}

async fn guarded(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response<Body> {
    let uri = request.uri();
    let authority = uri.authority().map(axum::http::uri::Authority::as_str);
    let asked = (request.method(), uri.path());
    match guard.check(asked, now(), authority, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refused::Token) if console::is_page(&request) => console::to_login(uri.path()),
        Err(refused) => answer::refusal(refused.status(), refused.reason()),
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    Timestamp::now().unix_micros() / 1_000_000
}

/// How often something may be asked that changes something.
#[derive(Debug)]
struct Limits {
    changes: DefaultDirectRateLimiter,
    logins: DefaultDirectRateLimiter,
}

impl Limits {
    fn new() -> Self {
        let burst = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        Self {
            changes: RateLimiter::direct(Quota::per_second(burst(20)).allow_burst(burst(60))),
            logins: RateLimiter::direct(Quota::per_minute(burst(20)).allow_burst(burst(10))),
        }
    }
}

/// Lets a script that runs wild change nothing too often, and nobody guess a token.
async fn limited(
    State(limits): State<Arc<Limits>>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let limit = if request.uri().path() == "/login" { &limits.logins } else { &limits.changes };
    if is_change && limit.check().is_err() {
        let mut response =
            answer::refusal(StatusCode::TOO_MANY_REQUESTS, "too many changes at a time");
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("3"));
        return response;
    }
    next.run(request).await
}

async fn healthz(State(shown): State<Arc<dyn Shown>>) -> Response<Body> {
    health::answer(&shown.ailments())
}

async fn readyz(State(shown): State<Arc<dyn Shown>>) -> Response<Body> {
    health::answer(&shown.hindrances())
}

async fn metrics(State(shown): State<Arc<dyn Shown>>) -> Response<Body> {
    let text = metrics::text(&shown.figures().await);
    answer::body(StatusCode::OK, metrics::CONTENT_TYPE, text)
}

async fn events(
    State(shown): State<Arc<dyn Shown>>,
    Path(sink): Path<String>,
    RawQuery(query): RawQuery,
) -> Response<Body> {
    fetch::answer(&*shown, &sink, &query.unwrap_or_default()).await
}

async fn nowhere(request: Request) -> Response<Body> {
    if console::is_page(&request) {
        return console::nowhere();
    }
    let why = "there is nothing here; there are the console at /, /metrics, /healthz, /readyz, \
               and /v1/openapi.json says what else";
    answer::refusal(StatusCode::NOT_FOUND, why)
}

async fn not_so() -> Response<Body> {
    answer::refusal(StatusCode::METHOD_NOT_ALLOWED, "not with this method")
}
