//! Connections in: who may connect, how long they may take, what they have proven before the first call.
//!
//! It knows no tenants and no methods. It never serves a request before the handshake is over, waits for nobody without a
//! limit, holds no memory without a limit, and drops no connection because certificates changed. Time of day is given to
//! it; its own limits are periods.

mod address;
mod cores;
mod crowd;
mod http_1;
mod http_2;
mod inherited;
mod limits;
mod listener;
mod preface;
mod protocol;
mod seldom;
mod serving;
mod socket;
mod socket_file;
mod tls;
mod turns;

use std::any::Any;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

pub use address::Address;
pub use cores::Cores;
use crowd::Guest;
pub use inherited::{InheritError, Inherited};
pub use limits::Limits;
pub use listener::Listener;
pub use protocol::Protocol;
pub use seldom::Seldom;
pub use serving::{Answers, Serving, serve};
pub use tls::{Authorities, ClientCertificates, Tls, TlsError, TlsFiles};

/// What is known of a connection once it stands. Cheap to clone; each request comes with one.
#[derive(Clone, Debug)]
pub struct Connection(Arc<Proven>);

#[derive(Debug)]
struct Proven {
    source: Source,
    shown: Shown,
    remembered: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// `None` for one that was not accepted by a server.
    guest: Option<Arc<Guest>>,
    tally: Arc<AtomicUsize>,
}

/// What a client has shown of itself.
#[derive(Debug, Default)]
struct Shown {
    /// In DER, its own first.
    certificates: Vec<Vec<u8>>,
    /// The domains whose authorities vouch for them; `None` is those of no domain.
    vouchers: Vec<Option<Arc<str>>>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Tcp(SocketAddr),
    /// A Unix socket, with what the kernel says of the process at its other end.
    Unix {
        uid: u32,
        gid: u32,
        pid: Option<i32>,
    },
}

impl Connection {
    /// `certificates` are the client's, in DER, its own first, already verified against the authorities of no domain; none
    /// where it gave none.
    pub fn new(source: Source, certificates: Vec<Vec<u8>>) -> Self {
        Connection::with(None, source, Shown { certificates, vouchers: vec![None] })
    }

    fn of(guest: Arc<Guest>, source: Source, shown: Shown) -> Self {
        Connection::with(Some(guest), source, shown)
    }

    fn with(guest: Option<Arc<Guest>>, source: Source, shown: Shown) -> Self {
        Connection(Arc::new(Proven { source, shown, remembered: OnceLock::new(), guest, tally: Arc::default() }))
    }

    pub fn source(&self) -> Source {
        self.0.source
    }

    /// The client's verified certificates in DER, its own first.
    pub fn certificates(&self) -> &[Vec<u8>] {
        &self.0.shown.certificates
    }

    /// Whether the certificates are by an authority of this domain; `None`: by one of no domain.
    pub fn is_vouched_for_by(&self, domain: Option<&str>) -> bool {
        self.0.shown.vouchers.iter().any(|voucher| voucher.as_deref() == domain)
    }

    /// What its one user has made of it, kept for as long as the connection is: made by whoever asks first.
    pub fn remember<T: Send + Sync + 'static>(&self, make: impl Fn() -> T) -> Arc<T> {
        let kept = self.0.remembered.get_or_init(|| Arc::new(make())).clone();
        // Of another type only if it had two users.
        kept.downcast().unwrap_or_else(|_| Arc::new(make()))
    }

    /// A number that whoever answers the requests may keep for the connection. It begins at zero.
    pub fn tally(&self) -> Arc<AtomicUsize> {
        self.0.tally.clone()
    }

    /// To be told when a caller was authenticated on it. From then on it does not give way to others.
    pub fn has_known_caller(&self) {
        if let Some(guest) = self.0.guest.as_ref().filter(|guest| guest.is_stranger()) {
            guest.is_known();
        }
    }
}
