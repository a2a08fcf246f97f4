//! The line between one broker and one of the services that it needs, which can be cut and mended.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::{self, Receiver};
use tokio::task::{JoinHandle, JoinSet};

/// How a line is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Connections end, and whoever makes a new one sees it end at once.
    Broken,
    /// Nothing comes through, and nobody is told. What was sent meanwhile arrives when the line is mended, late.
    Silent,
}

/// A TCP proxy on a port of its own. Gone when dropped.
pub struct Line {
    pub address: SocketAddr,
    cut: watch::Sender<Option<Cut>>,
    accepting: JoinHandle<()>,
}

impl Line {
    pub async fn to(service: SocketAddr) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (cut, seen) = watch::channel(None);
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                connections.spawn(pass(stream, service, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Line { address, cut, accepting }
    }

    /// How it is cut, now and later.
    pub fn state(&self) -> Receiver<Option<Cut>> {
        self.cut.subscribe()
    }

    pub fn cut(&self, cut: Cut) {
        self.cut.send_replace(Some(cut));
    }

    pub fn mend(&self) {
        self.cut.send_replace(None);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Lets a connection through for as long as its line is not broken.
pub async fn pass(broker: TcpStream, service: SocketAddr, mut cut: Receiver<Option<Cut>>) {
    let copying = copy(broker, service, cut.clone());
    let breaking = cut.wait_for(|cut| *cut == Some(Cut::Broken));
    tokio::select! {
        // Either is the end of the connection, which is theirs to notice.
        () = copying => {}
        _ = breaking => {}
    }
}

async fn copy(broker: TcpStream, service: SocketAddr, cut: Receiver<Option<Cut>>) {
    let Ok(service) = TcpStream::connect(service).await else { return };
    for stream in [&broker, &service] {
        // Messages are small, and a delayed acknowledgement would cost 40 ms each.
        let _ = stream.set_nodelay(true);
    }
    let ((from_broker, to_broker), (from_service, to_service)) = (broker.into_split(), service.into_split());
    tokio::join!(forward(from_broker, to_service, cut.clone()), forward(from_service, to_broker, cut));
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut cut: Receiver<Option<Cut>>) {
    let mut buffer = vec![0; 16_384];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let is_gone = cut.wait_for(|cut| *cut != Some(Cut::Silent)).await.is_err();
        if is_gone || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
