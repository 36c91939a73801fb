//! Stand-ins for services that nobody can run: servers that hold what their vendors document.
//!
//! Each rule of theirs names the page that it is from.

pub(crate) mod elasticsearch;
pub(crate) mod hubspot;
pub(crate) mod pubsub;
pub(crate) mod salesforce;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::{Body, to_bytes};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::form_urlencoded;

use crate::support::{Server, listen, loopback};

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: HashMap<String, String>,
    headers: hyper::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn form(&self) -> HashMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Says {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Says {
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, body.to_string())
    }

    pub(crate) fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a service does.
pub(crate) trait Service: Send + 'static {
    /// Answers a request.
    fn answer(&mut self, asked: &Asked) -> Says;

    /// What the next requests get in place of an answer.
    fn next(&mut self) -> &mut VecDeque<Says>;
}

/// A running service. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Fake<S> {
    address: SocketAddr,
    state: Arc<Mutex<S>>,
    server: Option<Server>,
}

impl<S: Service> Fake<S> {
    pub(crate) fn start(state: S) -> Self {
        let (address, first) = loopback();
        let state = Arc::new(Mutex::new(state));
        let of = Arc::clone(&state);
        let serve = move || async { serve(TcpListener::from_std(first).unwrap(), of).await };
        Self { address, state, server: Some(Server::start(serve)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it has and does.
    pub(crate) fn state(&self) -> MutexGuard<'_, S> {
        self.state.lock().unwrap()
    }

    /// Ends it and its connections; what it has stays.
    pub(crate) fn refuse(&mut self) {
        self.server = None;
    }

    /// Starts it again at the same address.
    pub(crate) fn listen(&mut self) {
        let (address, state) = (self.address, Arc::clone(&self.state));
        let serve = move || async move { serve(listen(address).unwrap(), state).await };
        self.server = Some(Server::start(serve));
    }
}

async fn serve<S: Service>(listener: TcpListener, state: Arc<Mutex<S>>) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&state)));
            let io = TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
        });
    }
}

async fn answer<S: Service>(
    request: hyper::Request<Incoming>,
    state: Arc<Mutex<S>>,
) -> Result<hyper::Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = to_bytes(Body::new(body), 1 << 28).await.unwrap_or_default().to_vec();
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: form_urlencoded::parse(query).into_owned().collect(),
        headers: head.headers,
        body,
    };
    let says = {
        let mut state = state.lock().unwrap();
        match state.next().pop_front() {
            Some(says) => says,
            None => state.answer(&asked),
        }
    };
    let mut response = hyper::Response::builder().status(says.status);
    for (name, value) in says.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Body::from(says.body)).unwrap())
}
