//! Certificates that change under a running broker: the real program, with its own clock and log.

use std::path::Path;

use rustls::ClientConfig;

use super::health;
use crate::harness::pki::{Authority, Identity, Leaf, connect_tls, handshake, trusting, write_private};
use crate::harness::{Binary, folder};

fn serve(folder: &Path) -> Binary {
    keyward::embedded::MasterKey::generate_file(&folder.join("master.key")).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\n[embedded]\nmaster_key_file = '{0}/master.key'\n[tls]\n\
         certificate_file = '{0}/tls.crt'\nkey_file = '{0}/tls.key'\nclient_ca_file = '{0}/clients.pem'\n\
         client_certificates = 'required'\nreload_interval = '1s'\n",
        folder.display()
    );
    std::fs::write(folder.join("keyward.toml"), config).expect("written");
    Binary::start(Binary::command().arg("serve").arg("--config").arg(folder.join("keyward.toml")))
}

/// The certificate that the server shows to a new connection.
async fn shown(address: &str, config: ClientConfig) -> Vec<u8> {
    let stream = handshake(address, config).await.expect("connected");
    stream.get_ref().1.peer_certificates().expect("shown")[0].to_vec()
}

#[tokio::test]
async fn new_connections_get_new_certificates_and_old_ones_go_on() {
    let (_files, path) = folder();
    let (servers, clients, others) = (Authority::new("servers"), Authority::new("clients"), Authority::new("others"));
    let identity = |authority: &Authority| authority.issue(Leaf::client());
    let (one, two) = (servers.issue(Leaf::server()), servers.issue(Leaf::server()));
    one.write(&path, "tls");
    std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
    let broker = serve(&path);
    let old = trusting(&servers, Some(&identity(&clients)));
    let channel = connect_tls(&broker.address, old.clone()).await.expect("connected");
    assert_eq!(health(&channel).await.expect("an answer"), 1);
    assert_eq!(shown(&broker.address, old.clone()).await, one.der());

    // Half of the new pair is there.
    std::fs::write(path.join("tls.crt"), &two.certificate_pem).expect("written");
    let log = broker.logs("cannot be used; those from before stay in use").await;
    assert!(log.contains("do not belong together"), "{log}");
    assert_eq!(shown(&broker.address, old.clone()).await, one.der());

    // All of it, and the authority of the clients is another.
    write_private(&path.join("tls.key"), two.key_pem().as_bytes());
    std::fs::write(path.join("clients.pem"), others.pem()).expect("written");
    broker.logs("new connections get the certificates that are in the files now").await;
    let new = trusting(&servers, Some(&identity(&others)));
    let connected = connect_tls(&broker.address, new.clone()).await.expect("connected");
    assert_eq!(health(&connected).await.expect("an answer"), 1);
    assert_eq!(shown(&broker.address, new).await, two.der());

    // Whoever was there before goes on, and does not come in again.
    assert_eq!(health(&channel).await.expect("an answer"), 1);
    match connect_tls(&broker.address, old).await {
        Ok(channel) => assert!(health(&channel).await.is_err(), "the old authority is still believed"),
        Err(_refused) => {}
    }
    drop((channel, connected));
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    assert!(!log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn files_that_are_swapped_by_a_symbolic_link_are_followed() {
    // As Kubernetes mounts secrets: the names are links through a link to a folder, and that one is replaced.
    let (_files, path) = folder();
    let authority = Authority::new("all");
    let (one, two) = (authority.issue(Leaf::server()), authority.issue(Leaf::server()));
    let version = |name: &str, identity: &Identity| {
        let folder = path.join(name);
        std::fs::create_dir(&folder).expect("a folder");
        identity.write(&folder, "tls");
        std::fs::write(folder.join("clients.pem"), authority.pem()).expect("written");
    };
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, path.join(name)).expect("linked");
    version("..1", &one);
    link("..1", "..data");
    for name in ["tls.crt", "tls.key", "clients.pem"] {
        link(&format!("..data/{name}"), name);
    }
    let broker = serve(&path);
    let config = trusting(&authority, Some(&authority.issue(Leaf::client())));
    assert_eq!(shown(&broker.address, config.clone()).await, one.der());
    version("..2", &two);
    link("..2", "..next");
    std::fs::rename(path.join("..next"), path.join("..data")).expect("swapped");
    broker.logs("new connections get the certificates that are in the files now").await;
    assert_eq!(shown(&broker.address, config).await, two.der());
}
