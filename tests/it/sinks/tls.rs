//! The `http` sink over TLS: whom it trusts, and what it says when it does not.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use walgate::failure::Category;
use walgate::sink::web::Reach;
use walgate::sink::{self, Answer, Config, Sink, http};

use super::{COMMON, batch, failure};
use crate::support::{Server, loopback};

/// A certificate authority and a pair of certificates from it, as files.
pub(super) struct Authority {
    folder: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another than those it signs: to some a certificate that names itself is its own authority.
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        write("ca.pem", params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        for (name, host) in [("server", "127.0.0.1"), ("client", "walgate")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
            write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
            write(&format!("{name}.key"), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server with the certificate that says 200 to everything.
    fn serve(&self, client_certificate: bool) -> (SocketAddr, Server) {
        let acceptor = self.acceptor(client_certificate);
        let (address, listener) = loopback();
        let server = Server::start(move || accept(listener, acceptor));
        (address, server)
    }

    /// Returns what greets who connects, with the server's certificate.
    pub(super) fn acceptor(&self, client_certificate: bool) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let builder = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client_certificate {
            true => builder.with_client_cert_verifier(verifier.build().unwrap()),
            false => builder.with_no_client_auth(),
        };
        let chain = vec![CertificateDer::from_pem_file(self.path("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }
}

async fn accept(listener: std::net::TcpListener, acceptor: TlsAcceptor) {
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let mut request = Vec::new();
            while matches!(stream.read_buf(&mut request).await, Ok(1..)) {
                if request.ends_with(b"}}") {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                    request.clear();
                }
            }
        });
    }
}

fn build(address: SocketAddr, change: impl FnOnce(&mut http::Config)) -> Box<dyn Sink> {
    let mut config = http::Config::to(format!("https://{address}/"));
    change(&mut config);
    sink::build("crm", &Config::Http(Box::new(config)), &COMMON).unwrap()
}

#[tokio::test]
async fn a_private_authority_is_trusted_once_it_is_named() {
    let authority = Authority::new();
    let (address, _server) = authority.serve(false);
    let stranger = build(address, |_| {});
    let refused = failure(stranger.deliver(&batch(0..1)).await);
    assert_eq!(refused.category, Category::Transient, "at first: {}", refused.message);
    assert!(refused.message.contains("certificate"), "{}", refused.message);
    let seen = stranger.check().await.unwrap_err();
    assert_eq!(seen.category, Category::Setup);
    assert!(seen.message.contains("certificate"), "{}", seen.message);

    let friend = build(address, |config| config.reach.tls.ca = Some(authority.path("ca.pem")));
    assert_eq!(friend.deliver(&batch(0..1)).await, Answer::Acknowledged);
    let seen = friend.check().await.unwrap();
    assert!(seen.ends_with("TLS 1.3, certificate verified"), "{seen}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let (address, _server) = authority.serve(false);
    let url = format!("https://localhost:{}/", address.port());
    let config = http::Config {
        reach: Reach {
            tls: sink::tls::Files { ca: Some(authority.path("ca.pem")), ..Default::default() },
            ..Default::default()
        },
        ..http::Config::to(url)
    };
    let sink = sink::build("crm", &Config::Http(Box::new(config)), &COMMON).unwrap();
    let refused = failure(sink.deliver(&batch(0..1)).await);
    assert!(refused.message.contains("certificate"), "{}", refused.message);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_ours() {
    let authority = Authority::new();
    let (address, _server) = authority.serve(true);
    let nobody = build(address, |config| config.reach.tls.ca = Some(authority.path("ca.pem")));
    assert_eq!(failure(nobody.deliver(&batch(0..1)).await).category, Category::Transient);
    let known = build(address, |config| {
        config.reach.tls.ca = Some(authority.path("ca.pem"));
        config.reach.tls.cert = Some(authority.path("client.pem"));
        config.reach.tls.key = Some(authority.path("client.key"));
    });
    assert_eq!(known.deliver(&batch(0..1)).await, Answer::Acknowledged);
}

#[tokio::test]
async fn check_tells_what_stands_in_the_way_without_sending() {
    let receiver = crate::support::receiver::Receiver::start();
    let to = |url: String| {
        sink::build("crm", &Config::Http(Box::new(http::Config::to(url))), &COMMON).unwrap()
    };
    let seen = to(receiver.url("/")).check().await.unwrap();
    assert!(seen.contains("without TLS"), "{seen}");
    assert_eq!(receiver.journal().requests.len(), 0);
    receiver.refuse();
    for url in [receiver.url("/"), "http://no-such-host.invalid/".to_owned()] {
        let sink = to(url);
        assert_eq!(sink.check().await.unwrap_err().category, Category::Setup);
        let refused = failure(sink.deliver(&batch(0..1)).await);
        assert_eq!(refused.category, Category::Transient, "at first: {}", refused.message);
    }
}
