//! TLS as libpq does it: every `sslmode`, root and client certificates, channel binding.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode;

use super::conninfo::{RootCert, SslMode, Tls};
use super::socket::Socket;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates or keys cannot be used.
    #[error("cannot use {} as {role}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it is for.
        role: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The file holds nothing of the kind.
    #[error("{} holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// `sslmode=verify-ca` or `verify-full` without roots.
    #[error("sslmode asks for the server's certificate to be checked, and there is no sslrootcert")]
    NoRoot,
    /// `sslcert` without its key.
    #[error("sslcert is given and sslkey is not")]
    NoKey,
    /// The system has no trusted roots.
    #[error("no root certificate was found on this system")]
    NoSystemRoots,
    /// The host is neither a DNS name nor an address.
    #[error("the host's name cannot be used with TLS")]
    Name,
    /// rustls refuses the certificates or the key.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
    /// The server would not do TLS.
    #[error("the server does not offer TLS, and sslmode asks for it")]
    NotOffered,
    /// The server answered the request for TLS with neither yes nor no.
    #[error("the server answered the request for TLS with something else")]
    Negotiation,
    /// The handshake failed; the certificate's check is part of it.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
}

impl Error {
    /// The files on this side are at fault, or what was asked of them.
    pub(crate) const fn is_local(&self) -> bool {
        match self {
            Self::File { .. }
            | Self::Empty { .. }
            | Self::NoRoot
            | Self::NoKey
            | Self::NoSystemRoots
            | Self::Name
            | Self::Setup(_) => true,
            Self::NotOffered | Self::Negotiation | Self::Handshake(_) => false,
        }
    }
}

/// Makes TLS of plain connections.
#[derive(Clone)]
pub(crate) struct Connector(TlsConnector);

impl Connector {
    /// Reads the certificates and keys that `tls` names.
    pub(crate) fn load(tls: &Tls) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Verifier::load(tls, &provider)?);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Setup)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &tls.certificate {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let chain = certificates(path, "client certificate")?;
                let path = tls.key.as_ref().ok_or(Error::NoKey)?;
                let key = PrivateKeyDer::from_pem_file(path).map_err(|source| Error::File {
                    path: path.clone(),
                    role: "client key",
                    source,
                })?;
                builder.with_client_auth_cert(chain, key).map_err(Error::Setup)?
            }
        };
        if tls.direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// Runs the handshake; returns the stream and what SCRAM binds itself to, where the server's
    /// certificate defines it.
    pub(crate) async fn handshake(
        &self,
        stream: Socket,
        host: &str,
    ) -> Result<(TlsStream<Socket>, Option<Vec<u8>>), Error> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| Error::Name)?;
        let stream = self.0.connect(name, stream).await.map_err(Error::Handshake)?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let binding = certificate.and_then(|certificate| server_end_point(certificate));
        Ok((stream, binding))
    }
}

fn certificates(path: &Path, role: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), role, source };
    let all = CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if all.is_empty() { Err(Error::Empty { path: path.to_owned() }) } else { Ok(all) }
}

/// `tls-server-end-point` of RFC 5929: the certificate under the hash of its own signature, MD5
/// and SHA-1 raised to SHA-256. None where the signature has no such hash (Ed25519).
fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let algorithm = match parsed.signature_algorithm().oid.to_string().as_str() {
        // RSA and ECDSA with MD5, SHA-1 and SHA-256.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => &ring::digest::SHA256,
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => &ring::digest::SHA384,
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => &ring::digest::SHA512,
        _ => return None,
    };
    Some(ring::digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// Checks the server's certificate as far as `sslmode` asks.
#[derive(Debug)]
struct Verifier {
    /// None checks nothing (`require` and weaker without roots).
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// The roots themselves: a server's own self-signed certificate may be given as its root, as
    /// OpenSSL takes it and webpki does not.
    roots: Vec<CertificateDer<'static>>,
    with_name: bool,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn load(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Self, Error> {
        let with_name = tls.mode == SslMode::VerifyFull;
        let provider = Arc::clone(provider);
        let (chain, roots) = match &tls.root {
            None if tls.mode >= SslMode::VerifyCa => return Err(Error::NoRoot),
            // libpq: weaker modes look at the roots only when it is `require`.
            Some(_) | None if tls.mode < SslMode::Require => (None, Vec::new()),
            None => (None, Vec::new()),
            Some(root) => {
                let roots = match root {
                    RootCert::File(path) => certificates(path, "sslrootcert")?,
                    RootCert::System => rustls_native_certs::load_native_certs().certs,
                };
                let mut store = RootCertStore::empty();
                let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
                if added == 0 {
                    return Err(match root {
                        RootCert::File(path) => Error::Empty { path: path.clone() },
                        RootCert::System => Error::NoSystemRoots,
                    });
                }
                let built = WebPkiServerVerifier::builder_with_provider(
                    Arc::new(store),
                    Arc::clone(&provider),
                )
                .build();
                let wrong = |_| Error::Setup(rustls::Error::General("no usable roots".to_owned()));
                (Some(built.map_err(wrong)?), roots)
            }
        };
        Ok(Self { chain, roots, with_name, provider })
    }

    /// The certificate is one of the roots, and in force.
    fn is_root(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
        self.roots.iter().any(|root| root == certificate)
            && x509_cert::Certificate::from_der(certificate).is_ok_and(|parsed| {
                let validity = parsed.tbs_certificate().validity();
                let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
                let now = now.as_secs();
                seconds(&validity.not_before) <= now && now <= seconds(&validity.not_after)
            })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.is_root(end_entity, now) {
            if self.with_name {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&parsed, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let checked =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match checked {
            // The name is looked at last: everything else was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.with_name => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
