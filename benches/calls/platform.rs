//! The daemons that are measured, with a platform on them.

use std::path::{Path, PathBuf};

use keyward::proto;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verification_service_client::VerificationServiceClient;
use prost::Message as _;
use tonic::transport::Channel;

use super::cases::{CALLS, FIRST_SEEN};
use super::daemon;
use super::harness::pki::{Authority, Leaf, connect_tls, trusting};
use super::harness::{SCOPES, connect, create_client, create_tenant, put_orders_api};
use super::keys::{self, Key, Keys};
use super::load::{ONE_IN, write_messages};
use super::server::Server;

const CLIENT: &str = "tenants/acme/clients/orders";

pub struct Platform {
    /// Messages to send are here, and what a client needs to speak TLS.
    pub folder: PathBuf,
    pub plaintext: Server,
    pub tls: Server,
    /// What is signed of a token that is verified for the first time.
    pub signed_bytes: usize,
}

impl Platform {
    /// `rounds`: how often every case will be measured. `keys`: clients and scope sets beside the hot one.
    pub fn start(folder: &Path, rounds: usize, keys: usize) -> Self {
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        servers.issue(Leaf::server()).write(folder, "tls");
        std::fs::write(folder.join("servers.pem"), servers.pem()).expect("written");
        std::fs::write(folder.join("clients.pem"), clients.pem()).expect("written");
        clients.issue(Leaf::client().uri("spiffe://example.org/tenants/acme/orders")).write(folder, "client");
        let operator = clients.issue(Leaf::client().uri("spiffe://example.org/operators/bench"));

        let plaintext = daemon::start(folder, "plaintext", daemon::EVERYBODY, &[]);
        let proof = format!(
            "[tls]\ncertificate_file = '{0}/tls.crt'\nkey_file = '{0}/tls.key'\nclient_ca_file = '{0}/clients.pem'\n\
             client_certificates = 'required'\n[[callers.spiffe]]\ntrust_domain = 'example.org'\n[[callers.grant]]\n\
             caller = 'spiffe://example.org/operators/*'\nrole = 'operator'\n[[callers.grant]]\n\
             caller = 'spiffe://example.org/tenants/{{tenant}}/{{client}}'",
            folder.display()
        );
        let tls = daemon::start(folder, "tls", &proof, &[]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let keys = runtime.block_on(async {
            let channel = connect_tls(&tls.address, trusting(&servers, Some(&operator))).await.expect("connected");
            prepare(&channel).await;
            let channel = connect(&plaintext.address).await;
            prepare(&channel).await;
            ask(&channel, folder).await;
            keys::prepare(&channel, keys).await
        });
        write_many(folder, rounds, &keys);
        let signed_bytes = keys.new_tokens()[0].token.rfind('.').expect("a JWT");
        Platform { folder: folder.to_owned(), plaintext, tls, signed_bytes }
    }
}

async fn prepare(channel: &Channel) {
    put_orders_api(channel).await;
    create_tenant(channel, "acme", proto::Isolation::AppClient).await;
    create_client(channel, "acme", "orders").await;
}

/// Asks once, and writes down what was asked and answered.
async fn ask(channel: &Channel, folder: &Path) {
    let get = proto::GetTokenRequest { name: CLIENT.to_owned(), ..Default::default() };
    let token = TokenServiceClient::new(channel.clone()).get_token(get.clone()).await.expect("a token").into_inner();
    let verify = proto::VerifyTokenRequest {
        token: token.access_token.clone(),
        required_scopes: vec![SCOPES[0].to_owned()],
        ..Default::default()
    };
    let mut verification = VerificationServiceClient::new(channel.clone());
    let verdict = verification.verify_token(verify.clone()).await.expect("an answer").into_inner();
    assert!(matches!(verdict.verdict, Some(proto::verify_token_response::Verdict::Verified(_))), "{verdict:?}");
    std::fs::write(folder.join("get_token.answer"), token.encode_to_vec()).expect("written");
    std::fs::write(folder.join("verify_token.answer"), verdict.encode_to_vec()).expect("written");
    println!("GetToken: {} bytes in, {} out", get.encoded_len(), token.encoded_len());
    println!("VerifyToken: {} bytes in, {} out", verify.encoded_len(), verdict.encoded_len());
    write_messages(&folder.join("get-one"), [get.encode_to_vec()]);
    write_messages(&folder.join("verify-one"), [verify.encode_to_vec()]);
}

/// Each token is in one file, once, so that it is new when it is sent.
fn write_many(folder: &Path, rounds: usize, keys: &Keys) {
    write_messages(&folder.join("get-many"), keys.keys.iter().map(|key| key.request.clone()));
    let verify =
        |key: &Key| proto::VerifyTokenRequest { token: key.token.clone(), ..Default::default() }.encode_to_vec();
    let (new, others) = keys.new_tokens().split_at(rounds * FIRST_SEEN);
    let rare = &others[..rounds * CALLS / ONE_IN];
    println!("VerifyToken, first seen: {} bytes in", verify(&new[0]).len());
    write_messages(&folder.join("verify-new"), new.iter().map(verify));
    write_messages(&folder.join("verify-rare"), rare.iter().map(verify));
}
