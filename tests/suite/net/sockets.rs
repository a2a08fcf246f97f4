//! Where connections come from: TCP, TLS and Unix sockets, and what each request is told of its own.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::body::Incoming;
use keyward::net::{
    Answers, Authorities, ClientCertificates, Connection, Cores, Limits, Listener, Protocol, Source, Tls, TlsFiles,
    serve,
};
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::{Request, Response};

use super::{health, is_http_2};
use crate::harness::http2::{Raw, get_token};
use crate::harness::pki::{Authority, Leaf, handshake, trusting};
use crate::harness::{Binary, Daemon, connect, folder};

const LIMITS: Limits = Limits {
    max_connections: 16,
    handshake_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(10),
    max_header_bytes: 16_384,
    max_concurrent_streams: 16,
    keepalive_interval: Duration::from_secs(30),
};

/// Answers with nothing, and keeps the connections of the requests.
#[derive(Clone)]
struct Witness(Arc<Mutex<Vec<Connection>>>);

impl Answers<Incoming> for Witness {
    type Body = String;
    type Error = Infallible;
    type Answering = Ready<Result<Response<String>, Infallible>>;

    fn answer(&self, connection: &Connection, _: Request<Incoming>) -> Self::Answering {
        self.0.lock().expect("whole").push(connection.clone());
        ready(Ok(Response::new(String::new())))
    }
}

#[tokio::test]
async fn each_request_comes_with_its_connection() {
    let (_files, path) = folder();
    let authority = Authority::new("all");
    let (server, client) = (authority.issue(Leaf::server()), authority.issue(Leaf::client().dns("orders.example.org")));
    let (certificate, key) = server.write(&path, "tls");
    let file = path.join("clients.pem");
    std::fs::write(&file, authority.pem()).expect("written");
    let clients = ClientCertificates::Optional(vec![Authorities { domain: None, file }]);
    let tls =
        Tls::load(TlsFiles { certificate, key, clients, allow_tls_1_2: false }, || Duration::from_secs(1_767_225_600));
    let tls = Arc::new(tls.expect("whole"));

    let unix = format!("unix:{}", path.join("socket").display()).parse().expect("an address");
    let listeners = vec![
        Listener::bind(&"127.0.0.1:0".parse().expect("an address")).await.expect("bound"),
        Listener::bind(&unix).await.expect("bound"),
    ];
    let tcp = listeners[0].address().to_string();
    let seen: Arc<Mutex<Vec<Connection>>> = Arc::default();
    let service = Witness(seen.clone());
    let cores = Cores::start().expect("threads");
    let serving = serve(Protocol::Http2, listeners, Some(tls), LIMITS, service, &cores, CancellationToken::new());

    for identity in [Some(&client), None] {
        let stream = handshake(&tcp, trusting(&authority, identity)).await.expect("connected");
        let local = stream.get_ref().0.local_addr().expect("an address");
        let mut raw = Raw::over(stream).await;
        for _ in 0..2 {
            raw.answer(get_token(), b"").await.expect("an answer");
        }
        let seen = std::mem::take(&mut *seen.lock().expect("whole"));
        assert_eq!(seen.len(), 2);
        for connection in seen {
            assert_eq!(connection.source(), Source::Tcp(local));
            let shown: Vec<_> = identity.iter().map(|identity| identity.der()).collect();
            assert_eq!(connection.certificates(), shown);
        }
    }
    let stream = tokio::net::UnixStream::connect(path.join("socket")).await.expect("connected");
    Raw::over(stream).await.answer(get_token(), b"").await.expect("an answer");
    let seen = std::mem::take(&mut *seen.lock().expect("whole"));
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let pid = i32::try_from(std::process::id()).expect("a process id");
    assert_eq!(seen[0].source(), Source::Unix { uid, gid, pid: Some(pid) });
    assert_eq!(seen[0].certificates(), [] as [Vec<u8>; 0]);
    assert_eq!(serving.drain(Duration::from_secs(20)).await, 0);
}

#[tokio::test]
async fn a_broker_listens_on_several_addresses() {
    let (_files, path) = folder();
    let socket = path.join("keyward.sock");
    let (daemon, _) = Daemon::start_at_rest_with(|config| {
        config.listen.0.push(keyward::net::Address::Unix(socket.clone()));
    })
    .await;
    let channel = connect(&format!("unix:{}", socket.display())).await;
    assert_eq!(health(&channel).await.expect("an answer"), 1);
    assert_eq!(health(&daemon.channel).await.expect("an answer"), 1);
    drop(channel);
    daemon.stop().await;
    assert!(!socket.exists(), "the socket stays behind");
}

#[tokio::test]
async fn a_socket_that_a_killed_broker_left_is_used_again_and_one_in_use_is_not() {
    let (_files, path) = folder();
    keyward::embedded::MasterKey::generate_file(&path.join("master.key")).expect("a master key");
    let configure = |name: &str| {
        let config = format!(
            "listen = 'unix:{0}/socket'\ndata_dir = '{0}/{name}'\n[callers]\ntrust_loopback = true\n[embedded]\n\
             master_key_file = '{0}/master.key'\n",
            path.display()
        );
        std::fs::write(path.join(name).with_extension("toml"), config).expect("written");
        path.join(name).with_extension("toml")
    };
    let (one, two) = (configure("one"), configure("two"));
    let serve = |config| Binary::start(Binary::command().args(["serve", "--config"]).arg(config));
    let broker = serve(&one);
    assert_eq!(broker.address, format!("unix:{}/socket", path.display()));
    let other = Binary::command().args(["serve", "--config"]).arg(&two).output().expect("it runs");
    let told = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(!other.status.success() && told.contains("another process listens there"), "{told}");
    broker.kill();
    let broker = serve(&two);
    assert_eq!(health(&connect(&broker.address).await).await.expect("an answer"), 1);
    let stream = tokio::net::UnixStream::connect(path.join("socket")).await.expect("connected");
    assert!(is_http_2(stream).await);
}
