//! Getting into a PostgreSQL server as libpq's users know it: connection strings, TLS, sockets,
//! and a session for ordinary SQL. Knows nothing of what is asked there.

pub mod conninfo;
mod error;
mod server_error;
mod session;
pub(crate) mod settings;
pub(crate) mod socket;
pub(crate) mod stream;
mod tls;

pub use error::Error;
pub use server_error::ServerError;
pub(crate) use session::{Broken, Driver, Session, drive, fits};
pub use tls::Error as TlsError;
