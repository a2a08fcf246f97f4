//! What callers show to prove who they are, over TLS: good, forged and mistaken, on a program that logs all it can.

use std::path::Path;

use keyward::broker::ports::Clock as _;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::runtime::clock::SystemClock;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::needles::Needles;
use super::{assert_clean, assert_files_are_clean};
use crate::callers::AUDIENCE;
use crate::callers::issuer::Issuer;
use crate::callers::sts::{ACCOUNT, REGION, Signer, Sts, credential};
use crate::harness::audit_lines::{audit_lines, handed_out};
use crate::harness::pki::{Authority, Leaf, connect_tls, trusting};
use crate::harness::{Binary, create_client, create_tenant, details, events, folder, put_orders_api};

const ISSUER: &str = "https://issuer.example";
const ORDERS: &str = "tenants/acme/clients/orders";

fn serve(path: &Path, issuer: &Issuer, sts: &str) -> Binary {
    keyward::embedded::MasterKey::generate_file(&path.join("master.key")).expect("a master key");
    let config = format!(
        "listen = '127.0.0.1:0'\ndata_dir = '{0}/data'\nembedded.master_key_file = '{0}/master.key'\n\
         audit.file = '{0}/audit.jsonl'\nsecrets.reveal = true\nlimits.failures_per_second = 1000\n\
         [tls]\ncertificate_file = '{0}/tls.crt'\nkey_file = '{0}/tls.key'\nclient_ca_file = '{0}/clients.pem'\n\
         [callers]\nclient_secrets = true\n\
         [callers.aws]\nbroker_id = '{AUDIENCE}'\naccounts = ['{ACCOUNT}']\nregions = ['{REGION}']\nendpoint = '{sts}'\n\
         [[callers.issuer]]\nissuer = '{ISSUER}'\naudience = '{AUDIENCE}'\njwks_file = '{1}'\n\
         [[callers.grant]]\ncaller = 'dns:operator.internal'\nrole = 'operator'\n\
         [[callers.grant]]\ncaller = 'token:{ISSUER}#{{tenant}}/{{client}}'\n\
         [[callers.grant]]\ncaller = 'aws:arn:aws:iam::{ACCOUNT}:user/orders'\ntenant = 'acme'\nclient = 'orders'\n",
        path.display(),
        issuer.file.display()
    );
    std::fs::write(path.join("keyward.toml"), config).expect("written");
    let mut command = Binary::command();
    command.args(["serve", "--config"]).arg(path.join("keyward.toml")).env("RUST_LOG", "trace");
    Binary::start(&mut command)
}

/// Asks for the client's token with these `authorization` headers.
async fn ask(channel: &Channel, authorization: &[&str]) -> Result<proto::AccessToken, Status> {
    let mut request = Request::new(proto::GetTokenRequest { name: ORDERS.to_owned(), ..Default::default() });
    for value in authorization {
        request.metadata_mut().append("authorization", value.parse().expect("a header's value"));
    }
    Ok(TokenServiceClient::new(channel.clone()).get_token(request).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_credential_that_was_shown_is_in_a_log_an_error_an_event_or_a_file() {
    let (_folder, path) = folder();
    let (servers, clients, issuer) = (Authority::new("servers"), Authority::new("clients"), Issuer::new(ISSUER));
    servers.issue(Leaf::server()).write(&path, "tls");
    std::fs::write(path.join("clients.pem"), clients.pem()).expect("written");
    let (sts, server) = Sts::start().await;
    let (identity, stranger) = (Signer::temporary("TESTACCESSKEYID01"), Signer::temporary("TESTACCESSKEYID02"));
    sts.know(&identity, &format!("arn:aws:iam::{ACCOUNT}:user/orders"));
    let broker = serve(&path, &issuer, &format!("http://{}", server.address));
    let operator = clients.issue(Leaf::client().dns("operator.internal"));
    let operator = connect_tls(&broker.address, trusting(&servers, Some(&operator))).await.expect("connected");
    let nobody = connect_tls(&broker.address, trusting(&servers, None)).await.expect("connected");

    put_orders_api(&operator).await;
    create_tenant(&operator, "acme", proto::Isolation::AppClient).await;
    let id = create_client(&operator, "acme", "orders").await.app_client_id;
    let request = proto::RevealClientSecretRequest { name: ORDERS.to_owned(), reason: "a look".to_owned() };
    let secret = ClientServiceClient::new(operator.clone()).reveal_client_secret(request).await.expect("revealed");
    let secret = secret.into_inner().client_secret;

    let now = SystemClock.now();
    let basic = |secret: &str| {
        use base64::Engine as _;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}")))
    };
    let jwt = issuer.token("acme/orders", now);
    let presigned = identity.url(now);
    let good = [format!("Bearer {jwt}"), format!("Bearer {}", credential(&presigned)), basic(&secret)];
    let mut given = Vec::new();
    for header in &good {
        given.push(ask(&nobody, &[header]).await.expect("a token").access_token);
    }

    let wrong: String = secret.chars().rev().collect();
    let (signed, signature) = jwt.rsplit_once('.').expect("three parts");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let unsigned = stranger.url(now);
    let bad = [
        format!("Bearer {forged}"),
        format!("Bearer {}", issuer.token("acme/orders", now - std::time::Duration::from_secs(7_200))),
        format!("Bearer {}", given[0]),
        format!("Bearer {}", credential(&unsigned)),
        format!("Bearer {}", credential(&presigned.replace("GetCallerIdentity", "AssumeRole"))),
        format!("Digest {secret}"),
        format!("Bearer {secret} {jwt}"),
        basic(&wrong),
        basic(&jwt),
    ];
    let mut errors = Vec::new();
    for header in &bad {
        errors.push(ask(&nobody, &[header]).await.expect_err("a refusal"));
    }
    errors.push(ask(&nobody, &[&good[0], &good[2]]).await.expect_err("two credentials"));
    errors.push(ask(&operator, &[&good[2]]).await.expect_err("a certificate beside it"));
    for error in &errors {
        assert_eq!(error.code(), Code::Unauthenticated, "{error:?}");
    }

    let mut needles = Needles::default();
    [&secret, &wrong].iter().for_each(|secret| needles.add_secret(secret));
    for url in [&presigned, &unsigned] {
        let (_, signature) = url.split_once("X-Amz-Signature=").expect("signed");
        needles.add_secret(&signature[..64]);
    }
    needles.add_secret(identity.security_token.as_deref().expect("temporary"));
    [&jwt, &forged].into_iter().chain(&given).for_each(|token| needles.add_token(token));

    let file = path.join("audit.jsonl");
    let lines = audit_lines(&file);
    let receivers: Vec<_> = handed_out(&lines).iter().map(|line| line["principal"].as_str().unwrap_or("")).collect();
    let expected = [
        "dns:operator.internal".to_owned(),
        format!("token:{ISSUER}#acme/orders"),
        format!("aws:arn:aws:iam::{ACCOUNT}:user/orders"),
        format!("client:{ORDERS}"),
    ];
    assert_eq!(receivers, expected, "whoever was given something is on record");
    for error in &errors {
        let text = format!("{} {:?} {:?}", error.message(), details(error).reason, error.metadata());
        assert_clean(&needles, "an error", text.as_bytes());
        assert_clean(&needles, "an error", error.details());
    }
    let events = events(&operator).await;
    assert!(events.iter().filter(|event| event.principal == "anonymous").count() >= bad.len(), "{events:#?}");
    assert_clean(&needles, "an event", format!("{events:?}").as_bytes());
    assert_clean(&needles, "the audit file", &std::fs::read(&file).expect("the audit file"));
    assert_files_are_clean(&needles, &path.join("data"));
    drop((operator, nobody));
    broker.signal("TERM");
    let (status, log) = broker.wait();
    assert!(status.success(), "{log}");
    assert!(log.contains("CREDENTIALS_INVALID") && log.contains("keyward.v1.TokenService/GetToken"), "{log}");
    for line in log.lines() {
        assert_eq!(needles.first_in(line.as_bytes()), None, "in a log line about {line:.120}");
    }
}
