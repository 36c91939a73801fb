//! The way to the far side: connections, TLS, names, and what a failure on the way means.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tower_service::Service;
use url::Url;

use super::Error;
use super::guard::{Guard, PrivateAddress};
use crate::failure::Category;
use crate::sink::{BoxFuture, Failure, tls as files};

/// How long a connection may take; less where the whole request has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// After this long without a word the far side's machine is asked whether it still is there, and
/// again as often until it counts as gone.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// How long what was sent may go without the far side's machine confirming it.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A name or a certificate that fails for this long is a matter of the set-up. A server restart
/// or a slow DNS is over by then.
const LASTING: Duration = Duration::from_secs(30);

/// Makes the TLS settings, for HTTP/1.1.
pub(in crate::sink) fn tls(
    files: &files::Files,
    https: bool,
) -> Result<Arc<rustls::ClientConfig>, files::Error> {
    let mut tls = files.client(https)?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

/// A connection, with or without TLS.
pub(in crate::sink) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// The way to one origin: no proxy, whatever the environment says.
pub(in crate::sink) struct Way {
    /// Scheme, host and port.
    origin: Uri,
    tcp: HttpConnector<Names>,
    /// For `https`: with the name that the certificate must have.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// How long a connection may take.
    limit: Duration,
}

impl Way {
    /// Makes the way to an origin, on which a request may take so long. `key` is the setting that
    /// names it.
    pub(in crate::sink) fn new(
        key: &str,
        origin: &Url,
        tls: &Arc<rustls::ClientConfig>,
        timeout: Duration,
        guard: Guard,
    ) -> Result<Self, Error> {
        let wrong = || Error::Host { key: key.to_owned() };
        // One that is written out is not looked up.
        let literal = match origin.host() {
            Some(url::Host::Ipv4(address)) => Some(address.into()),
            Some(url::Host::Ipv6(address)) => Some(address.into()),
            Some(url::Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            let private = |source| Error::Private { key: key.to_owned(), source };
            guard.check(address).map_err(private)?;
        }
        let limit = CONNECT_TIMEOUT.min(timeout);
        let mut tcp = HttpConnector::new_with_resolver(Names { guard });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        tcp.set_connect_timeout(Some(limit));
        let tls = if origin.scheme() == "https" {
            let host = origin.host_str().unwrap_or_default();
            let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(bare).map_err(|_| wrong())?;
            Some((TlsConnector::from(Arc::clone(tls)), name))
        } else {
            None
        };
        let origin = origin.origin().ascii_serialization().parse().map_err(|_| wrong())?;
        Ok(Self { origin, tcp, tls, limit })
    }

    /// Looks the name up and connects.
    pub(in crate::sink) async fn open(&self) -> Result<Stream, Broken> {
        let opened = tokio::time::timeout(self.limit, async {
            let stream = self.tcp.clone().call(self.origin.clone()).await?.into_inner();
            Ok(match &self.tls {
                Some((tls, name)) => Either::Right(tls.connect(name.clone(), stream).await?),
                None => Either::Left(stream),
            })
        });
        match opened.await {
            Ok(opened) => opened.map_err(Broken::Connect),
            Err(_) => Err(Broken::ConnectTimeout(self.limit)),
        }
    }
}

/// Looks names up with the system's resolver, and marks a failure as one of names.
#[derive(Clone, Debug)]
struct Names {
    guard: Guard,
}

/// A name that has no address to go to.
#[derive(Debug)]
pub(in crate::sink) enum NameFailure {
    /// None at all.
    Lookup(io::Error),
    /// None that requests may go to.
    Private(PrivateAddress),
}

impl fmt::Display for NameFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lookup(error) => write!(f, "the name can't be looked up: {error}"),
            Self::Private(address) => write!(f, "the name's address {address}"),
        }
    }
}

impl StdError for NameFailure {}

/// Keeps the addresses that requests may go to.
fn allowed(found: Vec<SocketAddr>, guard: Guard) -> Result<Vec<SocketAddr>, NameFailure> {
    let refused = found.iter().find_map(|address| guard.check(address.ip()).err());
    let allowed: Vec<SocketAddr> =
        found.into_iter().filter(|address| guard.check(address.ip()).is_ok()).collect();
    match refused {
        Some(refused) if allowed.is_empty() => Err(NameFailure::Private(refused)),
        _ => Ok(allowed),
    }
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = NameFailure;
    type Future = BoxFuture<'static, Result<Self::Response, NameFailure>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), NameFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guard = self.guard;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let found = found.map_err(NameFailure::Lookup)?.collect();
            Ok(allowed(found, guard)?.into_iter())
        })
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(in crate::sink) enum Broken {
    /// There is no connection.
    Connect(Box<dyn StdError + Send + Sync>),
    /// There is no connection within this time.
    ConnectTimeout(Duration),
    /// The connection broke.
    Exchange(hyper::Error),
    /// There is no answer within this time.
    Timeout(Duration),
    /// There is no answer within what is left of the request's time.
    Silent,
}

impl Broken {
    /// Says what happened. Names neither host nor URL.
    fn words(&self) -> String {
        match self {
            Self::Connect(_) => format!("can't connect{}", self.cause()),
            Self::ConnectTimeout(limit) => format!("can't connect within {limit:?}"),
            Self::Exchange(_) => format!("the connection broke{}", self.cause()),
            Self::Timeout(limit) => format!("no answer within {limit:?}"),
            Self::Silent => "no answer in time".to_owned(),
        }
    }

    /// The last cause is the one that says most.
    fn cause(&self) -> String {
        self.chain().last().map_or_else(String::new, |cause| format!(": {cause}"))
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let top: Option<&(dyn StdError + 'static)> = match self {
            Self::Connect(error) => Some(error.as_ref()),
            Self::Exchange(error) => Some(error),
            Self::ConnectTimeout(_) | Self::Timeout(_) | Self::Silent => None,
        };
        std::iter::successors(top, |error| (*error).source())
    }
}

/// Remembers since when names or certificates have failed without a break.
#[derive(Debug, Default)]
pub(in crate::sink) struct Lasting {
    since: Mutex<Option<Instant>>,
}

impl Lasting {
    /// Something else happened: whatever failed is over.
    pub(in crate::sink) fn over(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It failed (again): [`Category::Setup`] once that has lasted.
    pub(in crate::sink) fn failed(&self, now: Instant) -> Category {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match since.get_or_insert(now) {
            start if now.duration_since(*start) >= LASTING => Category::Setup,
            _ => Category::Transient,
        }
    }
}

/// Sorts a request that got no answer. Nothing of the URL but `host` gets into the message.
pub(in crate::sink) fn failure(broken: &Broken, host: &str, lasting: &Lasting) -> Failure {
    let category = if broken.chain().any(is_private) {
        Category::Setup
    } else if broken.chain().any(is_name_or_certificate) {
        lasting.failed(Instant::now())
    } else {
        lasting.over();
        Category::Transient
    };
    Failure::new(category, format!("{host}: {}", broken.words()))
}

/// A name whose address no request may go to: waiting mends nothing.
fn is_private(cause: &(dyn StdError + 'static)) -> bool {
    matches!(cause.downcast_ref(), Some(NameFailure::Private(_)))
}

/// Looks for [`NameFailure`] and TLS errors; I/O errors carry the latter inside.
fn is_name_or_certificate(cause: &(dyn StdError + 'static)) -> bool {
    let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<NameFailure>()
        || cause.is::<rustls::Error>()
        || inside.and_then(|error| error.downcast_ref::<rustls::Error>()).is_some()
}

/// Connects as a request would, TLS included, sends nothing and tells what was seen.
pub(in crate::sink) async fn connect(way: &Way, host: &str) -> Result<String, Failure> {
    let stream = way
        .open()
        .await
        .map_err(|broken| Failure::new(Category::Setup, format!("{host}: {}", broken.words())))?;
    let (tcp, tls) = match &stream {
        Either::Left(tcp) => (tcp, None),
        Either::Right(tls) => (tls.get_ref().0, Some(tls.get_ref().1.protocol_version())),
    };
    let peer = tcp.peer_addr().map_or_else(|_| host.to_owned(), |peer| peer.to_string());
    let at = if peer == host { peer } else { format!("{host} at {peer}") };
    let how = match tls {
        None => "without TLS",
        Some(Some(rustls::ProtocolVersion::TLSv1_2)) => "TLS 1.2, certificate verified",
        Some(Some(rustls::ProtocolVersion::TLSv1_3)) => "TLS 1.3, certificate verified",
        Some(_) => "TLS, certificate verified",
    };
    Ok(format!("{at} accepts connections, {how}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_certificate_blames_the_setup_only_once_its_failure_lasts() {
        let (lasting, start) = (Lasting::default(), Instant::now());
        assert_eq!(lasting.failed(start), Category::Transient);
        assert_eq!(lasting.failed(start + LASTING / 2), Category::Transient);
        assert_eq!(lasting.failed(start + LASTING), Category::Setup);
        assert_eq!(lasting.failed(start + LASTING * 9), Category::Setup);
        lasting.over();
        assert_eq!(lasting.failed(start + LASTING * 10), Category::Transient);
    }

    #[test]
    fn a_name_goes_only_where_requests_may_go() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let both = || vec![address("10.0.0.1"), address("8.8.8.8")];
        assert_eq!(allowed(both(), Guard::Public).unwrap(), [address("8.8.8.8")]);
        assert_eq!(allowed(both(), Guard::Any).unwrap(), both());
        assert_eq!(allowed(Vec::new(), Guard::Public).unwrap(), []);
        let refused = allowed(vec![address("10.0.0.1")], Guard::Public).unwrap_err();
        assert!(is_private(&refused) && refused.to_string().contains("10.0.0.1 is a private"));
    }

    #[test]
    fn only_names_and_certificates_are_taken_for_the_setup() {
        let io = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let certificate = || rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(is_name_or_certificate(&NameFailure::Lookup(io::Error::other("x"))));
        assert!(is_name_or_certificate(&certificate()));
        assert!(is_name_or_certificate(&io(certificate())));
        assert!(!is_name_or_certificate(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(!is_name_or_certificate(&io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
}
