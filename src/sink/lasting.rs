//! [`Lasting`]: what may be over in a moment, and is a matter of the set-up when it lasts.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Category;

/// A name or a certificate that fails for this long is a matter of the set-up. A server's restart
/// or a slow DNS is over by then.
const LASTING: Duration = Duration::from_secs(30);

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

/// Whether an error comes from TLS: a certificate that does not verify, versions that don't meet.
pub(super) fn is_of_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.any(|cause| {
        let inside = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause.is::<rustls::Error>()
            || inside.and_then(|error| error.downcast_ref::<rustls::Error>()).is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_blames_the_setup() {
        let (lasting, start) = (Lasting::default(), Instant::now());
        assert_eq!(lasting.failed(start), Category::Transient);
        assert_eq!(lasting.failed(start + LASTING / 2), Category::Transient);
        assert_eq!(lasting.failed(start + LASTING), Category::Setup);
        lasting.over();
        assert_eq!(lasting.failed(start + LASTING * 2), Category::Transient);
    }

    #[test]
    fn tls_is_found_inside_an_io_error() {
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::Expired);
        let io = std::io::Error::new(std::io::ErrorKind::InvalidData, tls);
        assert!(is_of_tls(&io));
        assert!(!is_of_tls(&std::io::Error::other("x")));
    }
}
