//! What the transport costs by itself: servers that answer every call with the same bytes.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use keyward::proto;
use keyward::proto::token_service_server::{TokenService, TokenServiceServer};
use keyward::proto::verification_service_server::{VerificationService, VerificationServiceServer};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http;
use tonic::{Request, Response, Status};

/// The bytes of both answers, without gRPC's prefix.
#[derive(Clone)]
pub struct Answers {
    pub get_token: Bytes,
    pub verify_token: Bytes,
}

impl Answers {
    pub fn read(folder: &Path) -> Self {
        let read = |name: &str| Bytes::from(std::fs::read(folder.join(name)).expect("an answer"));
        Answers { get_token: read("get_token.answer"), verify_token: read("verify_token.answer") }
    }
}

/// As tonic's documentation has it: one runtime of many threads, generated services, messages that are encoded each time.
pub fn stock(answers: &Answers) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let echo = Stock {
            get_token: proto::AccessToken::decode(answers.get_token.clone()).expect("an answer"),
            verify_token: proto::VerifyTokenResponse::decode(answers.verify_token.clone()).expect("an answer"),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        announce(listener.local_addr().expect("an address"));
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .add_service(TokenServiceServer::new(echo.clone()))
            .add_service(VerificationServiceServer::new(echo));
        server.serve_with_incoming(incoming).await.expect("it serves");
    });
    unreachable!("it serves until it is killed")
}

fn announce(address: SocketAddr) {
    eprintln!("listening on {address}");
}

#[derive(Clone)]
struct Stock {
    get_token: proto::AccessToken,
    verify_token: proto::VerifyTokenResponse,
}

#[tonic::async_trait]
impl TokenService for Stock {
    async fn get_token(&self, _: Request<proto::GetTokenRequest>) -> Result<Response<proto::AccessToken>, Status> {
        Ok(Response::new(self.get_token.clone()))
    }

    type WatchTokenStream = futures::stream::Empty<Result<proto::AccessToken, Status>>;

    async fn watch_token(
        &self,
        _: Request<proto::WatchTokenRequest>,
    ) -> Result<Response<Self::WatchTokenStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl VerificationService for Stock {
    async fn verify_token(
        &self,
        _: Request<proto::VerifyTokenRequest>,
    ) -> Result<Response<proto::VerifyTokenResponse>, Status> {
        Ok(Response::new(self.verify_token.clone()))
    }

    type VerifyTokensStream = futures::stream::Empty<Result<proto::VerifyTokensResponse, Status>>;

    async fn verify_tokens(
        &self,
        _: Request<tonic::Streaming<proto::VerifyTokensRequest>>,
    ) -> Result<Response<Self::VerifyTokensStream>, Status> {
        Err(Status::unimplemented(""))
    }

    type WatchTrustStream = futures::stream::Empty<Result<proto::WatchTrustResponse, Status>>;

    async fn watch_trust(
        &self,
        _: Request<proto::WatchTrustRequest>,
    ) -> Result<Response<Self::WatchTrustStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// One runtime for each processor, each with a socket of its own; answers that are encoded already; frames that leave in one
/// write.
pub fn tuned(answers: &Answers) -> ! {
    let processors = std::thread::available_parallelism().expect("some").get();
    let mut address: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let threads: Vec<_> = (0..processors)
        .map(|_| {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.set_reuseport(true).expect("shared");
            socket.bind(address).expect("bound");
            address = socket.local_addr().expect("an address");
            let answers = answers.clone();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                runtime.block_on(accept(socket, answers));
            })
        })
        .collect();
    announce(address);
    threads.into_iter().for_each(|thread| thread.join().expect("it serves"));
    unreachable!("it serves until it is killed")
}

async fn accept(socket: TcpSocket, answers: Answers) {
    let listener = socket.listen(1_024).expect("listening");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("set");
        let service = TowerToHyperService::new(Tuned(answers.clone()));
        tokio::spawn(async move {
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(OneWrite(stream)), service).await;
        });
    }
}

/// A stream that takes one buffer at a time, so that small frames are gathered and leave in one write.
struct OneWrite(TcpStream);

impl AsyncRead for OneWrite {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for OneWrite {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[derive(Clone)]
struct Tuned(Answers);

impl tower::Service<http::Request<hyper::body::Incoming>> for Tuned {
    type Response = http::Response<tonic::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<hyper::body::Incoming>) -> Self::Future {
        let is_get = request.uri().path().ends_with("/GetToken");
        let answer = if is_get { self.0.get_token.clone() } else { self.0.verify_token.clone() };
        Box::pin(async move { Ok(tonic::server::Grpc::new(AsBytes).unary(Fixed(answer), request).await) })
    }
}

struct Fixed(Bytes);

impl tonic::server::UnaryService<Bytes> for Fixed {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        std::future::ready(Ok(Response::new(self.0.clone())))
    }
}

/// Messages as they are on the wire.
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = AsBytes;
    type Decoder = AsBytes;

    fn encoder(&mut self) -> AsBytes {
        AsBytes
    }

    fn decoder(&mut self) -> AsBytes {
        AsBytes
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
