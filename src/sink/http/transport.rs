//! The way to the far side: client, TLS, names, and what a failure on the way means.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use url::Url;

use super::{Config, Error};
use crate::failure::Category;
use crate::sink::{Common, Failure};

/// How long a connection may take; less where the whole request has less.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an idle connection is kept: less than the usual 60 s after which servers and
/// balancers close theirs, since a request on a connection that is being closed is lost.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A name or a certificate that fails for this long is a matter of the set-up. A server restart
/// or a slow DNS is over by then.
const LASTING: Duration = Duration::from_secs(30);

/// Makes the client: one pool, no redirects, no proxy from the environment, no decompression.
pub(super) fn client(
    tls: &Arc<rustls::ClientConfig>,
    common: &Common,
) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(rustls::ClientConfig::clone(tls))
        .dns_resolver(Arc::new(Names {}))
        .redirect(redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .http1_only()
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(15))
        .pool_max_idle_per_host(common.concurrency.max(1))
        .pool_idle_timeout(IDLE_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT.min(common.timeout))
        .timeout(common.timeout)
        .user_agent(concat!("walgate/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(Error::Client)
}

/// Makes the TLS settings: the system's roots and the config's, ring, TLS 1.2 and 1.3.
pub(super) fn tls(config: &Config, https: bool) -> Result<Arc<rustls::ClientConfig>, Error> {
    let mut roots = rustls::RootCertStore::empty();
    if https {
        // What can't be read of the system's store is left out; a root that is missing then
        // shows as a certificate that can't be verified.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(path) = &config.ca {
        for certificate in certificates("ca", path)? {
            roots.add(certificate).map_err(|source| Error::Tls { key: "ca", source })?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Tls { key: "url", source })?
        .with_root_certificates(roots);
    let tls = match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|_| Error::Pem { key: "key", path: key.clone() })?;
            builder
                .with_client_auth_cert(certificates("cert", cert)?, key)
                .map_err(|source| Error::Tls { key: "cert", source })?
        }
        (None, None) => builder.with_no_client_auth(),
        (Some(_), None) => return Err(Error::CertWithoutKey { key: "key" }),
        (None, Some(_)) => return Err(Error::CertWithoutKey { key: "cert" }),
    };
    Ok(Arc::new(tls))
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = || Error::Pem { key, path: path.to_owned() };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|_| wrong())?
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}

/// Looks names up with the system's resolver, and marks a failure as one of names.
#[derive(Debug)]
struct Names {}

/// A name that has no address.
#[derive(Debug)]
pub(super) struct NameFailure(io::Error);

impl fmt::Display for NameFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name can't be looked up: {}", self.0)
    }
}

impl StdError for NameFailure {}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await.map_err(NameFailure)?;
            let addresses: Addrs = Box::new(found.collect::<Vec<_>>().into_iter());
            Ok(addresses)
        })
    }
}

/// Remembers since when names or certificates have failed without a break.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    since: Mutex<Option<Instant>>,
}

impl Lasting {
    /// Something else happened: whatever failed is over.
    pub(super) fn over(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It failed (again): [`Category::Setup`] once that has lasted.
    pub(super) fn failed(&self, now: Instant) -> Category {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        match since.get_or_insert(now) {
            start if now.duration_since(*start) >= LASTING => Category::Setup,
            _ => Category::Transient,
        }
    }
}

/// Sorts a request that got no answer. Nothing of the URL but `host` gets into the message.
pub(super) fn failure(
    error: reqwest::Error,
    host: &str,
    timeout: Duration,
    lasting: &Lasting,
) -> Failure {
    let error = error.without_url();
    let top: &(dyn StdError + 'static) = &error;
    let mut chain = vec![top];
    let mut below = top.source();
    while let Some(cause) = below {
        chain.push(cause);
        below = cause.source();
    }
    let category = if chain.iter().any(|cause| is_name_or_certificate(*cause)) {
        lasting.failed(Instant::now())
    } else {
        lasting.over();
        Category::Transient
    };
    let message = if error.is_timeout() && !error.is_connect() {
        format!("{host}: no answer within {timeout:?}")
    } else {
        let what = if error.is_connect() { "can't connect" } else { "the connection broke" };
        let cause = chain.last().map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{host}: {what}{cause}")
    };
    Failure::new(category, message)
}

/// Looks for [`NameFailure`] and TLS errors; I/O errors carry the latter inside.
fn is_name_or_certificate(cause: &(dyn StdError + 'static)) -> bool {
    let inside = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.is::<NameFailure>()
        || cause.is::<rustls::Error>()
        || inside.and_then(|error| error.downcast_ref::<rustls::Error>()).is_some()
}

/// Connects as a request would, TLS included, sends nothing and tells what was seen.
pub(super) async fn connect(
    origin: &Url,
    tls: &Arc<rustls::ClientConfig>,
    timeout: Duration,
) -> Result<String, Failure> {
    let name = super::origin(origin);
    let setup = |problem: String| Failure::new(Category::Setup, format!("{name}: {problem}"));
    let limit = CONNECT_TIMEOUT.min(timeout);
    tokio::time::timeout(limit, async {
        let host = origin.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = origin.port_or_known_default().unwrap_or_default();
        let addresses: Vec<_> = tokio::net::lookup_host((bare.as_str(), port))
            .await
            .map_err(|error| setup(NameFailure(error).to_string()))?
            .collect();
        let stream = TcpStream::connect(addresses.as_slice())
            .await
            .map_err(|error| setup(format!("can't connect: {error}")))?;
        let peer = stream.peer_addr().map_or_else(|_| name.clone(), |peer| peer.to_string());
        if origin.scheme() != "https" {
            return Ok(format!("{name} at {peer} accepts connections, without TLS"));
        }
        let server = ServerName::try_from(bare).map_err(|error| setup(error.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(server, stream)
            .await
            .map_err(|error| setup(format!("TLS: {error}")))?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            _ => "TLS",
        };
        Ok(format!("{name} at {peer} accepts connections, {version}, certificate verified"))
    })
    .await
    .unwrap_or_else(|_| Err(setup(format!("can't connect within {limit:?}"))))
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
    fn only_names_and_certificates_are_taken_for_the_setup() {
        let io = |error: rustls::Error| io::Error::new(io::ErrorKind::InvalidData, error);
        let certificate = || rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        assert!(is_name_or_certificate(&NameFailure(io::Error::other("x"))));
        assert!(is_name_or_certificate(&certificate()));
        assert!(is_name_or_certificate(&io(certificate())));
        assert!(!is_name_or_certificate(&io::Error::from(io::ErrorKind::ConnectionRefused)));
        assert!(!is_name_or_certificate(&io::Error::from(io::ErrorKind::UnexpectedEof)));
    }
}
