//! A client that makes so many calls over so many connections, looks at every status, and says how long they took.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use h2::client::SendRequest;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::codegen::http::{HeaderMap, Request};

/// What to ask, of whom, how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub address: String,
    /// Where `servers.pem`, `client.crt` and `client.key` are, to speak TLS with.
    pub tls: Option<PathBuf>,
    pub method: String,
    /// A file of messages, as [`write_messages`] makes it.
    pub messages: PathBuf,
    /// Another such file, of which the next message is sent in every [`ONE_IN`] calls.
    pub rare: Option<PathBuf>,
    /// Where in the files the first call is. Messages are sent in their order, and from the start again.
    pub first: usize,
    pub calls: usize,
    pub connections: usize,
    /// Calls at a time on each connection.
    pub streams: usize,
    /// Calls a second in all, evenly; as many as it takes where there is none. Latency then counts from when a call was due.
    pub rate: Option<f64>,
}

/// One call in so many has a message of the rare ones.
pub const ONE_IN: usize = 100;

/// What became of them.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub failed: usize,
    pub seconds: f64,
    /// In microseconds.
    pub p50: f64,
    pub p99: f64,
}

/// Has another process make the calls, so that it is not in the way of this one.
pub fn by_another_process(order: &Order) -> Done {
    let order = serde_json::to_string(order).expect("JSON");
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    let output = command.args(["load", &order]).stderr(Stdio::inherit()).output().expect("it loads");
    let done: Done = serde_json::from_slice(&output.stdout).expect("what became of them");
    assert_eq!(done.failed, 0, "calls failed");
    done
}

pub fn write_messages(file: &Path, messages: impl IntoIterator<Item = Vec<u8>>) {
    let mut bytes = BytesMut::new();
    for message in messages {
        bytes.put_u8(0);
        bytes.put_u32(u32::try_from(message.len()).expect("short"));
        bytes.put_slice(&message);
    }
    std::fs::write(file, &bytes).expect("written");
}

pub fn read_messages(file: &Path) -> Vec<Bytes> {
    let mut bytes = Bytes::from(std::fs::read(file).expect("the messages"));
    let mut messages = Vec::new();
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().expect("four bytes"));
        messages.push(bytes.split_to(5 + usize::try_from(length).expect("short")));
    }
    messages
}

pub fn run(order: Order) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(load(order))
}

/// What all streams have in common.
struct Shared {
    order: Order,
    messages: Vec<Bytes>,
    rare: Vec<Bytes>,
    next: AtomicUsize,
    begun: Instant,
}

impl Shared {
    fn message(&self, number: usize) -> Bytes {
        let at = self.order.first + number;
        let is_rare = !self.rare.is_empty() && at.is_multiple_of(ONE_IN);
        let (messages, at) = if is_rare { (&self.rare, at / ONE_IN) } else { (&self.messages, at) };
        messages[at % messages.len()].clone()
    }

    /// When a call is to be made, where that is said.
    async fn due(&self, number: usize) -> Instant {
        let Some(rate) = self.order.rate else { return Instant::now() };
        let due = self.begun + Duration::from_secs_f64(number as f64 / rate);
        // The runtime's timers count whole milliseconds; the rest of the wait is short.
        tokio::time::sleep_until((due - Duration::from_millis(2)).into()).await;
        while Instant::now() < due {
            tokio::task::yield_now().await;
        }
        due
    }
}

async fn load(order: Order) -> Done {
    let messages = read_messages(&order.messages);
    let rare = order.rare.as_deref().map(read_messages).unwrap_or_default();
    let mut senders = Vec::new();
    for _ in 0..order.connections {
        senders.push(connect(&order).await);
    }
    let (connections, streams) = (order.connections, order.streams);
    let shared = Arc::new(Shared { order, messages, rare, next: AtomicUsize::new(0), begun: Instant::now() });
    let mut callers = JoinSet::new();
    for _ in 0..streams {
        for sender in senders.iter().take(connections) {
            callers.spawn(call_on(sender.clone(), shared.clone()));
        }
    }
    let (mut took, mut failed) = (Vec::new(), 0);
    while let Some(caller) = callers.join_next().await {
        let (its, failures) = caller.expect("it ends");
        took.extend(its);
        failed += failures;
    }
    let seconds = shared.begun.elapsed().as_secs_f64();
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took[((took.len() as f64 * share) as usize).min(took.len() - 1)] * 1e6;
    Done { failed, seconds, p50: at(0.5), p99: at(0.99) }
}

async fn call_on(mut sender: SendRequest<Bytes>, shared: Arc<Shared>) -> (Vec<f64>, usize) {
    let (mut took, mut failed) = (Vec::new(), 0);
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        if number >= shared.order.calls {
            return (took, failed);
        }
        let asked = shared.due(number).await;
        let message = shared.message(number);
        if call(&mut sender, &shared.order.method, message).await.is_none() {
            failed += 1;
        }
        took.push(asked.elapsed().as_secs_f64());
    }
}

/// `None` unless gRPC's status says that all is well.
pub async fn call(sender: &mut SendRequest<Bytes>, method: &str, message: Bytes) -> Option<()> {
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await.ok()?;
    let request = Request::post(format!("http://localhost/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .ok()?;
    let (answer, mut body) = sender.send_request(request, false).ok()?;
    body.send_data(message, true).ok()?;
    let mut answer = answer.await.ok()?.into_body();
    while let Some(data) = answer.data().await {
        answer.flow_control().release_capacity(data.ok()?.len()).ok()?;
    }
    let trailers: HeaderMap = answer.trailers().await.ok()??;
    (trailers.get("grpc-status")?.as_bytes() == b"0").then_some(())
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub async fn connect(order: &Order) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(&order.address).await.expect("connected");
    stream.set_nodelay(true).expect("set");
    let stream: Pin<Box<dyn Stream>> = match &order.tls {
        None => Box::pin(stream),
        Some(folder) => {
            let name = ServerName::try_from("localhost").expect("a name");
            Box::pin(tokio_rustls::TlsConnector::from(tls(folder)).connect(name, stream).await.expect("TLS"))
        }
    };
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let (sender, connection) = builder.handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

fn tls(folder: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("servers.pem")).expect("an authority")).expect("one");
    let chain = vec![CertificateDer::from_pem_file(folder.join("client.crt")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).expect("a key");
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .expect("an identity");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
