//! TLS towards a destination: whom it trusts, and the certificate that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The files of a sink's table that say whom to trust and what to show.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Certificates to trust beside the system's (PEM).
    pub ca: Option<PathBuf>,
    /// Client certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
}

/// Files that TLS can't be made of. `key` is the setting's name in the sink's table.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not PEM.
    #[error("`{key}`: no PEM can be read from {path}", path = path.display())]
    Pem {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Half of a client certificate.
    #[error("`{key}` is missing: `cert` and `key` come together")]
    Half {
        /// The setting that is missing.
        key: &'static str,
    },
    /// rustls refuses them.
    #[error("`{key}` can't be used")]
    Refused {
        /// The setting.
        key: &'static str,
        /// Why.
        source: rustls::Error,
    },
}

impl Error {
    /// Returns the setting that is wrong.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Pem { key, .. } | Self::Half { key } | Self::Refused { key, .. } => key,
        }
    }
}

impl Files {
    /// Makes the settings: the system's roots and the file's, ring, TLS 1.2 and 1.3. Where TLS is
    /// not spoken (`is_used` false), the system's roots are not read.
    ///
    /// # Errors
    /// A file can't be read or used.
    pub fn client(&self, is_used: bool) -> Result<rustls::ClientConfig, Error> {
        let mut roots = rustls::RootCertStore::empty();
        if is_used {
            // What can't be read of the system's store is left out; a root that is missing then
            // shows as a certificate that can't be verified.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if let Some(path) = &self.ca {
            for certificate in certificates("ca", path)? {
                roots.add(certificate).map_err(|source| Error::Refused { key: "ca", source })?;
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Refused { key: "ca", source })?
            .with_root_certificates(roots);
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_| Error::Pem { key: "key", path: key.clone() })?;
                builder
                    .with_client_auth_cert(certificates("cert", cert)?, key)
                    .map_err(|source| Error::Refused { key: "cert", source })
            }
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(_), None) => Err(Error::Half { key: "key" }),
            (None, Some(_)) => Err(Error::Half { key: "cert" }),
        }
    }
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let wrong = || Error::Pem { key, path: path.to_owned() };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|_| wrong())?
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    if certificates.is_empty() { Err(wrong()) } else { Ok(certificates) }
}
