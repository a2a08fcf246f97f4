//! A client that says what it likes over HTTP/2, and stops where it likes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use h2::client::{ResponseFuture, SendRequest};
use h2::{Error, Ping, PingPong, SendStream};
use prost::bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tonic::codegen::http::{HeaderMap, Request};
use tonic::{Code, Status};

/// One connection.
pub struct Raw {
    sender: SendRequest<Bytes>,
    ping: PingPong,
    driver: Driver,
}

/// What moves a connection's bytes, until it is dropped.
pub struct Driver {
    is_frozen: Arc<AtomicBool>,
    task: JoinHandle<Result<(), Error>>,
}

impl Raw {
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Raw {
        Raw::try_over(stream).await.expect("HTTP/2")
    }

    pub async fn try_over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Raw, Error> {
        let (sender, mut connection) = h2::client::handshake(stream).await?;
        let ping = connection.ping_pong().expect("the first to ask");
        let is_frozen = Arc::new(AtomicBool::new(false));
        let frozen = is_frozen.clone();
        let task = tokio::spawn(std::future::poll_fn(move |cx| match frozen.load(Ordering::Relaxed) {
            true => Poll::Pending,
            false => Pin::new(&mut connection).poll(cx),
        }));
        Ok(Raw { sender, ping, driver: Driver { is_frozen, task } })
    }

    /// Begins a call and sends nothing of its message.
    pub async fn begin(&mut self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_begin(request).await.expect("a call")
    }

    pub async fn try_begin(&mut self, request: Request<()>) -> Result<(ResponseFuture, SendStream<Bytes>), Error> {
        self.sender = self.sender.clone().ready().await?;
        self.sender.send_request(request, false)
    }

    /// Sends a message, prefix and all, and waits for the end of the answer: its status.
    pub async fn answer(&mut self, request: Request<()>, message: &[u8]) -> Result<Status, Error> {
        let (answer, mut body) = self.try_begin(request).await?;
        body.send_data(Bytes::copy_from_slice(message), true)?;
        ended(answer).await
    }

    /// Returns when the server has read all that was sent.
    pub async fn ping(&mut self) {
        self.ping.ping(Ping::opaque()).await.expect("a pong");
    }

    /// From now on nothing is read and nothing sent, while the connection stays open.
    pub fn freeze(self) -> Driver {
        self.driver.is_frozen.store(true, Ordering::Relaxed);
        self.driver
    }

    /// Returns when the connection has ended.
    pub async fn ended(mut self) -> Result<(), Error> {
        (&mut self.driver.task).await.expect("it ends by itself")
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads an answer to its end.
pub async fn ended(answer: ResponseFuture) -> Result<Status, Error> {
    let (head, mut body) = answer.await?.into_parts();
    if let Some(status) = Status::from_header_map(&head.headers) {
        return Ok(status);
    }
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
    }
    let trailers: HeaderMap = body.trailers().await?.unwrap_or_default();
    Ok(Status::from_header_map(&trailers).unwrap_or_else(|| Status::new(Code::Unknown, "no status")))
}

/// A message as it is sent: uncompressed, behind its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}

pub fn get_token() -> Request<()> {
    call("keyward.v1.TokenService/GetToken")
}

/// The head of a call.
pub fn call(method: &str) -> Request<()> {
    let request = Request::post(format!("http://localhost/{method}"));
    request.header("content-type", "application/grpc").header("te", "trailers").body(()).expect("a request")
}

/// What a client sends that begins a connection, then so many calls, each of which it takes back at once.
pub fn calls_taken_back(count: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    // HPACK, RFC 7541: POST and http by their indices, the path (4), the authority (1) and the content type (31) in full.
    let path = b"/keyward.v1.TokenService/GetToken";
    let mut head = vec![0x83, 0x86, 0x04, u8::try_from(path.len()).expect("short")];
    head.extend(path);
    head.extend(b"\x01\x09localhost\x0f\x10\x10application/grpc");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for stream in (1..).step_by(2).take(count.try_into().expect("not too many")) {
        // HEADERS with END_HEADERS; RST_STREAM with CANCEL.
        bytes.extend(frame(1, 4, stream, &head));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes
}

/// Why the server ended a connection, from all that it sent: the code of its last GOAWAY.
pub fn reason_for_going(mut sent: &[u8]) -> Option<u32> {
    let mut reason = None;
    while let [a, b, c, kind, _flags, _, _, _, _, rest @ ..] = sent {
        let length = usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).expect("24 bits");
        let (payload, next) = rest.split_at_checked(length)?;
        if *kind == 7 {
            reason = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four")));
        }
        sent = next;
    }
    reason
}
