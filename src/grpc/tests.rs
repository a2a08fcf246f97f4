//! The services over loopback, in front of a broker that knows nothing yet.

mod handing_out;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::StreamExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::DescriptorPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::requests::{CHANGES, TABLE};
use super::*;
use crate::broker::background::Background;
use crate::broker::{Broker, Ports};
use crate::callers::Callers;
use crate::config::Config;
use crate::embedded::{Embedded, MasterKey, Options};
use crate::gate::CALL_ID_HEADER;
use crate::net::{Answers as _, Connection, Source};
use crate::permission::Permissions;
use crate::proto::client_service_client::ClientServiceClient;
use crate::proto::tenant_service_client::TenantServiceClient;
use crate::proto::verification_service_client::VerificationServiceClient;
use crate::runtime::clock::SystemClock;

/// A front over an empty broker, and the folder that the broker needs for as long as it is asked.
pub async fn front() -> (tempfile::TempDir, Front) {
    let folder = tempfile::tempdir().expect("folder");
    let gate = Gate {
        broker: Arc::new(empty_broker(folder.path()).await),
        background: Background::here(TaskTracker::new()),
        callers: Arc::new(Callers::everybody_is_operator("dev")),
        permissions: Arc::new(Permissions::open(Default::default()).expect("the built-in policies")),
        audit_file: None,
    };
    (folder, Front { gate, shutdown: CancellationToken::new(), limits: Limits::default(), counted: Arc::default() })
}

async fn serve() -> Channel {
    let (_, health) = tonic_health::server::health_reporter();
    let (folder, front) = front().await;
    let routes = routes(front, health).expect("descriptors");
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = listener.local_addr().expect("address");
    tokio::spawn(async move {
        let _folder = folder;
        serve_all(listener, routes).await;
    });
    Channel::from_shared(format!("http://{address}")).expect("address").connect().await.expect("connected")
}

/// As `net` does, without its limits.
async fn serve_all(listener: tokio::net::TcpListener, routes: Hot<Routes>) {
    loop {
        let (stream, peer) = listener.accept().await.expect("a connection");
        let connection = Connection::new(Source::Tcp(peer), Vec::new());
        let routes = routes.clone();
        let service = hyper::service::service_fn(move |request| routes.answer(&connection, request));
        tokio::spawn(async move {
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn methods() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    let services: Vec<_> = pool.services().collect();
    let methods = services.iter().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            (name, method.input().name().to_owned())
        })
        .collect()
}

/// Sends bytes as they are, and reads any answer as nothing.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        use prost::bytes::BufMut as _;
        out.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::default()
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        use prost::bytes::Buf as _;
        src.advance(src.remaining());
        Ok(Some(()))
    }
}

async fn send(channel: &Channel, method: &str, message: Vec<u8>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.expect("ready");
    let path = PathAndQuery::try_from(format!("/{method}")).expect("path");
    let stream = tokio_stream::once(message);
    let mut answers = client.streaming(Request::new(stream), path, Raw).await?.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

fn violations(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let fields = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
    fields.into_iter().map(|violation| violation.field).collect()
}

#[test]
fn the_table_of_requests_is_the_contracts() {
    let listed: BTreeSet<_> = TABLE.iter().map(|(method, request)| (method.to_string(), request.to_string())).collect();
    let described: BTreeSet<_> = methods().into_iter().collect();
    assert_eq!(listed, described);
}

#[tokio::test]
async fn every_method_is_there_and_blames_the_caller_for_what_cannot_be_read() {
    let channel = serve().await;
    for (method, _) in methods() {
        let status = send(&channel, &method, vec![0xFF; 9]).await.expect_err(&method);
        assert_eq!(status.code(), Code::InvalidArgument, "{method}: {status:?}");
        assert_eq!(violations(&status), ["(message)"], "{method}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().expect("ErrorInfo").reason, "FIELD_INVALID", "{method}");
    }
}

#[test]
fn policies_speak_of_exactly_the_methods_and_know_which_change_something() {
    let permissions = Permissions::open(Default::default()).expect("the built-in policies");
    let actions = permissions.actions();
    let methods: BTreeSet<_> =
        methods().into_iter().map(|(name, _)| name.split_once('/').expect("a method").1.to_owned()).collect();
    assert_eq!(actions.keys().cloned().collect::<BTreeSet<_>>(), methods);
    for (method, changes) in CHANGES {
        let (_, action) = method.split_once('/').expect("a method");
        let groups: Vec<_> = actions[action].iter().map(String::as_str).collect();
        // Whatever gives out a credential is not among the reads, so that who may look at everything may not have it.
        let expected: &[&str] = match action {
            "GetToken" | "WatchToken" => &["tokens"],
            "VerifyToken" | "VerifyTokens" | "WatchTrust" => &["verification"],
            "RevealClientSecret" => &[],
            _ if *changes => &["changes"],
            _ => &["reads"],
        };
        assert_eq!(groups, expected, "{method}");
    }
}

#[tokio::test]
async fn a_token_of_ten_megabytes_is_bad_input() {
    let channel = serve().await;
    let token = "a".repeat(10 * 1024 * 1024);
    let request = proto::VerifyTokenRequest { token: token.clone(), ..Default::default() };
    let mut verification = VerificationServiceClient::new(channel.clone());
    let status = verification.verify_token(request).await.expect_err("too long");
    assert_eq!((status.code(), violations(&status)), (Code::InvalidArgument, vec!["token".to_owned()]), "{status:?}");
    assert!(status.metadata().contains_key(CALL_ID_HEADER));

    let target = Some(proto::revoke_tokens_request::Target::Token(token.clone()));
    let request = proto::RevokeTokensRequest { target, ..Default::default() };
    let status = ClientServiceClient::new(channel.clone()).revoke_tokens(request).await.expect_err("too long");
    assert_eq!((status.code(), violations(&status)), (Code::InvalidArgument, vec!["token".to_owned()]), "{status:?}");

    let request = proto::GetTenantRequest { name: token };
    let status = TenantServiceClient::new(channel).get_tenant(request).await.expect_err("too long");
    assert_eq!((status.code(), violations(&status)), (Code::InvalidArgument, vec!["(message)".to_owned()]));
}

#[tokio::test]
async fn a_token_over_the_limit_is_bad_input_and_not_a_verdict() {
    let mut verification = VerificationServiceClient::new(serve().await);
    for token in [String::new(), "a".repeat(16_385)] {
        let request = proto::VerifyTokenRequest { token, ..Default::default() };
        let status = verification.verify_token(request).await.expect_err("refused");
        assert_eq!((status.code(), violations(&status)), (Code::InvalidArgument, vec!["token".to_owned()]));
    }
}

#[tokio::test]
async fn one_bad_item_does_not_end_a_stream() {
    let mut verification = VerificationServiceClient::new(serve().await);
    let item = |id: &str, token: &str| proto::VerifyTokensRequest {
        correlation_id: id.into(),
        request: Some(proto::VerifyTokenRequest { token: token.into(), ..Default::default() }),
    };
    let missing = proto::VerifyTokensRequest { correlation_id: "c".into(), request: None };
    let items = tokio_stream::iter([item("a", ""), item("", "x"), missing, item("d", &"x".repeat(16_385))]);
    let mut answers = verification.verify_tokens(items).await.expect("open").into_inner();
    let mut seen = Vec::new();
    while let Some(answer) = answers.message().await.expect("no error ends the stream") {
        match answer.verdict {
            Some(proto::verify_tokens_response::Verdict::Error(error)) => {
                assert_eq!((error.code, error.reason.as_str()), (3, "FIELD_INVALID"));
                seen.push((answer.correlation_id, error.message.split(':').next().expect("field").to_owned()));
            }
            other => panic!("{other:?}"),
        }
    }
    let expected = [("a", "request.token"), ("", "correlation_id"), ("c", "request"), ("d", "request.token")];
    let expected: Vec<_> = expected.map(|(id, field)| (id.to_owned(), field.to_owned())).into();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn an_answer_carries_the_id_of_its_call() {
    let mut tenants = TenantServiceClient::new(serve().await);
    let mut request = Request::new(proto::GetTenantRequest { name: "nonsense".into() });
    request.metadata_mut().insert(CALL_ID_HEADER, "my.call-1".parse().expect("ascii"));
    let status = tenants.get_tenant(request).await.expect_err("bad name");
    assert_eq!(status.metadata().get(CALL_ID_HEADER).expect("id"), "my.call-1");
    assert_eq!(violations(&status), ["name"]);
}

#[tokio::test]
async fn a_request_id_has_a_form() {
    let mut tenants = TenantServiceClient::new(serve().await);
    let request = proto::ResumeTenantRequest { name: "tenants/acme".into(), request_id: "not one".into() };
    let status = tenants.resume_tenant(request).await.expect_err("bad id");
    assert_eq!(violations(&status), ["request_id"]);
}

#[tokio::test]
async fn health_and_reflection_are_left_alone() {
    let channel = serve().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: String::new() };
    health.check(request).await.expect("serving");
    for version in ["v1", "v1alpha"] {
        let method = format!("grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        // Field 7, `list_services`, with an empty string.
        send(&channel, &method, vec![0x3A, 0x00]).await.expect(version);
    }
}

#[tokio::test]
async fn a_stream_ends_when_the_broker_drains() {
    let (_folder, front) = front().await;
    let front = Arc::new(front);
    let request = Request::new(proto::TailAuditEventsRequest::default());
    let open = |_: &_, _| Ok(futures::stream::iter([Ok(1)]).chain(futures::stream::pending()).boxed());
    let response = front.stream(request, open, |n: u64| n).await.expect("open");
    assert!(response.metadata().contains_key(CALL_ID_HEADER));
    let mut answers = response.into_inner();
    assert_eq!(answers.next().await.expect("an item").expect("no error"), 1);
    front.shutdown.cancel();
    let status = answers.next().await.expect("an end").expect_err("an error");
    assert_eq!(status.code(), Code::Unavailable);
    let details = status.get_error_details();
    assert_eq!(details.error_info().expect("ErrorInfo").reason, "SHUTTING_DOWN");
    assert!(details.retry_info().is_some());
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn a_change_goes_on_when_its_caller_gives_up_and_a_read_does_not() {
    let ((_folder, front), tracker) = (front().await, TaskTracker::new());
    let gate = Gate { background: Background::here(tracker.clone()), ..front.gate };
    let front = Arc::new(Front { gate, ..front });
    let (begin, begun) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (sender, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let work = |what: &'static str| {
        let (begin, begun, sender) = (begin.clone(), begun.clone(), sender.clone());
        async move {
            begun.notify_one();
            begin.notified().await;
            let _ = sender.send(what);
            Ok(())
        }
    };
    let change = front.answer(Request::new(proto::ResumeTenantRequest::default()), |_, _, _| work("change"));
    tokio::select! { _ = change => panic!("not ended yet"), () = begun.notified() => {} }
    let read = front.answer(Request::new(proto::GetTenantRequest::default()), |_, _, _| work("read"));
    tokio::select! { _ = read => panic!("not ended yet"), () = begun.notified() => {} }

    begin.notify_one();
    tracker.close();
    tracker.wait().await;
    drop(sender);
    assert_eq!((ended.recv().await, ended.recv().await), (Some("change"), None));
}

#[tokio::test]
async fn a_panic_is_an_answer_without_its_words() {
    let (_folder, front) = front().await;
    let front = Arc::new(front);
    let request = Request::new(proto::ResumeTenantRequest::default());
    let answer = front.answer::<_, (), _, _>(request, |_, _, _| async { panic!("private") }).await;
    let status = answer.expect_err("a fault");
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("private"));
}

#[tokio::test]
async fn an_error_is_the_last_of_a_stream() {
    let (_folder, front) = front().await;
    let front = Arc::new(front);
    let request = Request::new(proto::TailAuditEventsRequest::default());
    let lost = || Err(Error::new(Reason::SequenceUnknown, "the log begins at 7"));
    let open = |_: &_, _| Ok(futures::stream::iter([lost(), lost()]).boxed());
    let answers = front.stream(request, open, |n: u64| n).await.expect("open").into_inner();
    let answers: Vec<_> = answers.collect().await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].as_ref().expect_err("an error").code(), Code::OutOfRange);
}

/// A broker on an empty embedded backend. The folder goes with the returned guard.
async fn empty_broker(folder: &std::path::Path) -> Broker {
    let clock = Arc::new(SystemClock);
    let key = MasterKey::generate_file(&folder.join("master.key")).expect("a key");
    let file = folder.join("keyward.db");
    let embedded = Embedded::open(&file, &key, Options::default(), clock.clone()).await.expect("opened");
    let ports = Ports {
        user_pools: embedded.user_pools(),
        token_endpoint: embedded.token_endpoint(),
        key_source: embedded.key_source(),
        shared: None,
        vault: embedded.vault(),
        registry: embedded.registry(),
        domain_proofs: Arc::new(crate::dns::Dns::new(Default::default())),
        clock,
    };
    let background = Background::here(TaskTracker::new());
    Broker::open(ports, crate::daemon::settings(&Config::default()), background).await.expect("opened")
}
