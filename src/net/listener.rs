//! What connections are accepted from.

use std::io;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::inherited::Handed;
use super::socket_file::{self, SocketFile};
use super::{Address, Source};

/// A bound address. The file of a Unix socket that was made here goes when it is dropped.
#[derive(Debug)]
pub struct Listener {
    address: Address,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    /// Without a file of ours where the socket was handed over.
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
    },
}

/// A connection before anything was said on it.
#[derive(Debug)]
pub(super) enum Accepted {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Listener {
    /// Listens at `address`. Connections queue up until somebody accepts them.
    pub async fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                Ok(Listener { address: Address::Tcp(listener.local_addr()?), kind: Kind::Tcp(listener) })
            }
            Address::Unix(path) => {
                let (listener, file) = socket_file::listen(path)?;
                Ok(Listener { address: address.clone(), kind: Kind::Unix { listener, _file: Some(file) } })
            }
        }
    }

    /// Accepts from a socket that somebody else listens on too. What is not accepted by the end stays in its queue.
    pub fn handed_over(address: &Address, socket: Handed) -> io::Result<Listener> {
        let kind = match socket {
            Handed::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Kind::Tcp(TcpListener::from_std(listener)?)
            }
            Handed::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Kind::Unix { listener: UnixListener::from_std(listener)?, _file: None }
            }
        };
        Ok(Listener { address: address.clone(), kind })
    }

    /// Where it listens, with the real port where 0 was asked for.
    pub fn address(&self) -> &Address {
        &self.address
    }

    pub(super) async fn accept(&self) -> io::Result<(Accepted, Source)> {
        match &self.kind {
            Kind::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small messages, each of which is waited for.
                stream.set_nodelay(true)?;
                Ok((Accepted::Tcp(stream), Source::Tcp(address)))
            }
            Kind::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                let peer = stream.peer_cred()?;
                let source = Source::Unix { uid: peer.uid(), gid: peer.gid(), pid: peer.pid() };
                Ok((Accepted::Unix(stream), source))
            }
        }
    }
}

/// Whether accepting failed for want of descriptors or memory, and not because of that one connection (`accept(2)`).
pub(super) fn is_exhausted(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let code = Errno::from_io_error(error);
    matches!(code, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}
