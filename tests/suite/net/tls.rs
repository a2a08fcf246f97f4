//! What TLS lets in, and what it keeps.

use std::sync::Arc;
use std::time::Duration;

use keyward::config::{Demand, MinVersion};
use keyward::daemon;
use keyward::runtime::clock::SystemClock;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::{HandshakeKind, NamedGroup};
use tokio::net::TcpStream;

use super::{Site, closed, health, is_http_2, secure};
use crate::harness::pki::{Authority, Leaf, handshake, trusting, trusting_with};
use crate::harness::{Daemon, folder, start_time};

#[tokio::test]
async fn a_client_must_show_a_certificate_of_the_right_authority_that_is_good_now() {
    let site = Site::start(|_| {}).await;
    let day = Duration::from_secs(86_400);
    let good = || Leaf::client().uri("spiffe://example.org/orders");
    assert!(site.serves(Some(&site.clients.issue(good()))).await);
    assert!(site.serves(Some(&site.clients.issue(Leaf::client()))).await, "names are not looked at here");
    assert!(!site.serves(None).await, "none");
    assert!(!site.serves(Some(&Authority::new("clients").issue(good()))).await, "another authority of the same name");
    assert!(!site.serves(Some(&site.servers.issue(good()))).await, "the servers' authority");
    assert!(!site.serves(Some(&site.clients.issue(Leaf::server()))).await, "a server's certificate");
    let old = site.clients.issue(good().valid(start_time() - 2 * day, start_time() - day));
    let new = site.clients.issue(good().valid(start_time() + day, start_time() + 3 * day));
    assert!(!site.serves(Some(&old)).await, "expired");
    assert!(!site.serves(Some(&new)).await, "not yet valid");
    // By the daemon's clock.
    site.clock.advance(2 * day);
    assert!(site.serves(Some(&new)).await);
    assert_eq!(health(&site.daemon.channel).await.expect("an answer"), 1);
    site.daemon.stop().await;
}

#[tokio::test]
async fn where_it_is_optional_a_certificate_that_is_shown_must_be_good_all_the_same() {
    let site = Site::start(|config| config.tls.client_certificates = Demand::Optional).await;
    assert!(site.serves(None).await);
    assert!(site.serves(Some(&site.clients.issue(Leaf::client()))).await);
    assert!(!site.serves(Some(&Authority::new("others").issue(Leaf::client()))).await);
    site.daemon.stop().await;
}

#[tokio::test]
async fn tls_1_2_is_spoken_only_where_it_was_configured() {
    for (min_version, is_spoken) in [(MinVersion::Tls13, false), (MinVersion::Tls12, true)] {
        let site = Site::start(|config| config.tls.min_version = min_version).await;
        let client = site.clients.issue(Leaf::client());
        let with = |versions: &[&'static rustls::SupportedProtocolVersion]| {
            trusting_with(aws_lc_rs::default_provider(), versions, &site.servers, Some(&client))
        };
        assert_eq!(site.serves_with(with(&[&rustls::version::TLS12])).await, is_spoken);
        assert!(site.serves_with(with(&[&rustls::version::TLS13])).await);
        let stream = handshake(&site.daemon.address(), with(rustls::ALL_VERSIONS)).await.expect("connected");
        assert_eq!(stream.get_ref().1.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
        site.daemon.stop().await;
    }
}

#[tokio::test]
async fn keys_are_agreed_on_as_a_quantum_computer_cannot_find_out_later() {
    let site = Site::start(|_| {}).await;
    let client = site.clients.issue(Leaf::client());
    let group = |groups: Vec<_>| {
        let provider = rustls::crypto::CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
        let config = trusting_with(provider, rustls::ALL_VERSIONS, &site.servers, Some(&client));
        let address = site.daemon.address();
        async move {
            let stream = handshake(&address, config).await.expect("connected");
            stream.get_ref().1.negotiated_key_exchange_group().expect("agreed").name()
        }
    };
    let all = aws_lc_rs::default_provider().kx_groups;
    assert_eq!(group(all).await, NamedGroup::X25519MLKEM768);
    assert_eq!(group(vec![kx_group::X25519]).await, NamedGroup::X25519, "a client that cannot is served");
    site.daemon.stop().await;
}

#[tokio::test]
async fn nothing_but_http_2_is_spoken_over_tls() {
    let site = Site::start(|_| {}).await;
    let client = site.clients.issue(Leaf::client());
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = trusting(&site.servers, Some(&client));
        config.alpn_protocols = protocols;
        assert!(!site.serves_with(config).await);
    }
    // And nothing but TLS on that port.
    let stream = TcpStream::connect(site.daemon.address()).await.expect("connected");
    assert!(!is_http_2(stream).await);
    site.daemon.stop().await;
}

#[tokio::test]
async fn every_connection_proves_itself_anew() {
    let site = Site::start(|config| config.tls.min_version = MinVersion::Tls12).await;
    let client = site.clients.issue(Leaf::client());
    for versions in [&[&rustls::version::TLS13], &[&rustls::version::TLS12]] {
        // With a memory for sessions, which both connections share.
        let config = trusting_with(aws_lc_rs::default_provider(), versions, &site.servers, Some(&client));
        for _ in 0..2 {
            let stream = handshake(&site.daemon.address(), config.clone()).await.expect("connected");
            let kind = stream.get_ref().1.handshake_kind();
            assert!(matches!(kind, Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)), "{kind:?}");
            // What a server gives for the next time, it gives by now.
            assert!(is_http_2(stream).await);
        }
    }
    site.daemon.stop().await;
}

#[tokio::test]
async fn a_connection_that_does_not_get_anywhere_is_closed() {
    let site = Site::start(|config| config.limits.handshake_timeout = Duration::from_secs(2)).await;
    let client = site.clients.issue(Leaf::client());
    // Nothing at all; TLS and then nothing.
    closed(TcpStream::connect(site.daemon.address()).await.expect("connected")).await;
    closed(handshake(&site.daemon.address(), trusting(&site.servers, Some(&client))).await.expect("connected")).await;
    site.daemon.stop().await;

    let daemon = Daemon::start_with(Arc::new(SystemClock), |config| {
        config.limits.handshake_timeout = Duration::from_secs(2);
    });
    let daemon = daemon.await;
    closed(TcpStream::connect(daemon.address()).await.expect("connected")).await;
    let mut half = TcpStream::connect(daemon.address()).await.expect("connected");
    tokio::io::AsyncWriteExt::write_all(&mut half, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
    closed(half).await;
    daemon.stop().await;
}

#[tokio::test]
async fn files_that_cannot_be_used_keep_the_daemon_from_starting_and_are_named() {
    use std::os::unix::fs::PermissionsExt as _;
    let (_files, path) = folder();
    let authority = Authority::new("servers");
    let refusal = |spoil: &dyn Fn()| {
        let (data, key) = (path.join("data"), path.join("master.key"));
        if !key.exists() {
            keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
        }
        let mut config = keyward::config::Config::dev("127.0.0.1:0".parse().expect("an address"), data).expect("valid");
        config.embedded.master_key_file = Some(key);
        config.callers.trust_loopback = false;
        secure(&mut config, &path, &authority.issue(Leaf::server()), Some(&authority));
        spoil();
        async move {
            match daemon::start(config, Arc::new(SystemClock)).await {
                Ok(_) => panic!("it starts"),
                Err(error) => error.to_string(),
            }
        }
    };
    let write = |name: &str, text: &str| std::fs::write(path.join(name), text).expect("written");
    let other = authority.issue(Leaf::server());
    let half = other.certificate_pem.split_at(200).0.to_owned();
    for mode in [0o644, 0o640, 0o604] {
        let open = || {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(path.join("tls.key"), permissions).expect("changed");
        };
        let error = refusal(&open).await;
        assert!(error.contains("tls.key") && error.contains(&format!("mode {mode:o} lets others read it")), "{error}");
    }
    std::fs::remove_file(path.join("tls.key")).expect("removed");
    let cases: [(&dyn Fn(), &str); 5] = [
        (&|| write("tls.crt", &other.certificate_pem), "do not belong together"),
        (&|| write("tls.crt", &half), "tls.crt: ends within PEM"),
        (&|| write("tls.crt", ""), "tls.crt: holds no certificate"),
        (&|| write("clients.pem", ""), "clients.pem: holds no certificate"),
        (&|| write("tls.key", "hunter2"), "tls.key: holds no private key"),
    ];
    for (spoil, expected) in cases {
        let error = refusal(spoil).await;
        assert!(error.starts_with("tls: ") && error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
}
