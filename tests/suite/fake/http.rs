//! An HTTP/1.1 server that can also misbehave: answer with nothing, reset, or tear its answer apart.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use async_trait::async_trait;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A request, read to its end.
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    /// A header's text, empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

pub enum Reply {
    Whole(Answer),
    /// The head and half of the body.
    Torn(Answer),
    /// The connection ends as if all were said (FIN).
    Close,
    /// The connection breaks (RST).
    Reset,
}

#[async_trait]
pub trait Service: Send + Sync + 'static {
    async fn answer(&self, asked: Asked) -> Reply;
}

/// Serves until it is dropped.
pub struct Server {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start(service: Arc<dyn Service>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let accepting = tokio::spawn(async move {
            let mut lines = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                lines.spawn(serve(stream, service.clone()));
                while lines.try_join_next().is_some() {}
            }
        });
        Server { address, accepting }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(stream: TcpStream, service: Arc<dyn Service>) {
    // Answers are small, and a delayed acknowledgement would cost 40 ms each.
    let _ = stream.set_nodelay(true);
    let breaks = Arc::new(AtomicBool::new(false));
    let line = Line { stream, breaks: breaks.clone() };
    let exchange = service_fn(move |request| exchange(request, service.clone(), breaks.clone()));
    // A connection that ends badly is the other side's to notice.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(line), exchange).await;
}

async fn exchange(
    request: Request<hyper::body::Incoming>,
    service: Arc<dyn Service>,
    breaks: Arc<AtomicBool>,
) -> Result<Response<Text>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    let (answer, is_torn) = match service.answer(asked).await {
        Reply::Whole(answer) => (answer, false),
        Reply::Torn(answer) => (answer, true),
        Reply::Close => return Err(io::Error::other("closed")),
        Reply::Reset => {
            breaks.store(true, Ordering::SeqCst);
            return Err(io::Error::other("reset"));
        }
    };
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Text::new(answer.body, is_torn)).expect("a response"))
}

/// A connection that is reset rather than closed when it is told so.
struct Line {
    stream: TcpStream,
    breaks: Arc<AtomicBool>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.breaks.load(Ordering::SeqCst) {
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A body whose announced length is true, and which may end before it.
struct Text {
    length: u64,
    left: Option<Bytes>,
    is_torn: bool,
    /// Whether what was given has had its chance to be sent.
    is_flushed: bool,
}

impl Text {
    fn new(body: Vec<u8>, is_torn: bool) -> Self {
        let length = body.len() as u64;
        let kept = if is_torn { body.len() / 2 } else { body.len() };
        let left = Bytes::from(body).slice(..kept);
        Text { length, left: (!left.is_empty()).then_some(left), is_torn, is_flushed: false }
    }
}

impl Body for Text {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(bytes) = self.left.take() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.is_torn {
            return Poll::Ready(None);
        }
        if !self.is_flushed {
            self.is_flushed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(io::Error::other("torn"))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_none() && !self.is_torn
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}
