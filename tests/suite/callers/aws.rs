//! AWS identities, by presigned requests for `GetCallerIdentity`.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use keyward::broker::ports::Clock as _;
use keyward::config::{Callers, CallersAws};
use keyward::runtime::clock::SystemClock;
use serde_json::{Value, json};
use tonic::Code;

use super::sts::{ACCOUNT, REGION, Signer, Sts, credential, identity, json_answer};
use super::{AUDIENCE, assert_refused, bearer, only, operator};
use crate::fake::http::{Answer, Asked, Reply, Server, Service};
use crate::harness::{Daemon, details, start_time};
use crate::peers::{Peer, moto_python};

const INVALID: &str = "CREDENTIALS_INVALID";

fn callers(server: &Server) -> Callers {
    Callers {
        aws: CallersAws {
            broker_id: AUDIENCE.to_owned(),
            accounts: vec![ACCOUNT.to_owned()],
            regions: vec![REGION.to_owned(), "eu-west-1".to_owned()],
            endpoint: format!("http://{}", server.address),
        },
        grant: vec![
            operator(&format!("aws:arn:aws:iam::{ACCOUNT}:role/operators")),
            operator(&format!("aws:arn:aws:iam::{ACCOUNT}:user/eve")),
        ],
        ..Default::default()
    }
}

#[tokio::test]
async fn an_aws_identity_is_its_arn_and_an_assumed_role_its_roles() {
    let (sts, server) = Sts::start().await;
    let (eve, role, stranger) =
        (Signer::new("TESTACCESSKEYID01"), Signer::temporary("TESTACCESSKEYID02"), Signer::new("TESTACCESSKEYID03"));
    sts.know(&eve, &format!("arn:aws:iam::{ACCOUNT}:user/eve"));
    sts.know(&role, &format!("arn:aws:sts::{ACCOUNT}:assumed-role/operators/i-0123456789abcdef0"));
    sts.know(&stranger, "arn:aws:iam::999999999999:user/eve");
    let (daemon, clock) = Daemon::start_at_rest_with(only(callers(&server))).await;
    for signer in [&eve, &role] {
        bearer(&daemon.channel, &credential(&signer.url(start_time()))).await.expect("an operator");
    }
    let headers = sts.headers.lock().expect("unharmed").clone();
    let header = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("host"), Some("sts.eu-central-1.amazonaws.com"));
    assert_eq!((header("accept"), header("x-keyward-broker")), (Some("application/json"), Some(AUDIENCE)));
    assert_eq!(header("authorization"), None);

    let answer = bearer(&daemon.channel, &credential(&stranger.url(start_time()))).await;
    assert_refused(answer, INVALID, "the AWS account is not one that is trusted");

    // One signature is asked about once, however many use it, until it expires.
    let before = sts.count();
    let again = credential(&eve.url(start_time()));
    let answers = (0..20).map(|_| bearer(&daemon.channel, &again));
    assert!(futures::future::join_all(answers).await.iter().all(Result::is_ok));
    assert_eq!(sts.count(), before, "it was remembered");
    clock.advance(Duration::from_secs(60));
    assert_refused(
        bearer(&daemon.channel, &again).await,
        INVALID,
        "the AWS identity cannot be accepted: it has expired",
    );
    let fresh = credential(&eve.url(clock.now()));
    let answers = (0..20).map(|_| bearer(&daemon.channel, &fresh));
    assert!(futures::future::join_all(answers).await.iter().all(Result::is_ok));
    assert_eq!(sts.count(), before + 1);
    daemon.stop().await;
}

#[tokio::test]
async fn what_was_signed_for_something_else_is_refused() {
    let (sts, server) = Sts::start().await;
    let eve = Signer::new("TESTACCESSKEYID01");
    sts.know(&eve, &format!("arn:aws:iam::{ACCOUNT}:user/eve"));
    let (daemon, _) = Daemon::start_at_rest_with(|config| {
        only(callers(&server))(config);
        config.limits.failures_per_second = 1_000;
    })
    .await;
    let now = start_time();
    let base = format!("https://sts.{REGION}.amazonaws.com/");
    let good = eve.url(now);
    let signed =
        |base: &str, region: &str, broker: &str| eve.url_for(base, region, &[("x-keyward-broker", broker)], now);
    bearer(&daemon.channel, &credential(&good)).await.expect("the one that all others are made from");

    // STS would accept each of these: they never get there.
    let unseen = [
        (eve.url_for(&base, REGION, &[], now), "its signed headers"),
        (eve.url_for(&base, REGION, &[("x-keyward-broker", AUDIENCE), ("x-more", "1")], now), "its signed headers"),
        (signed("https://sts.us-east-1.amazonaws.com/", "us-east-1", AUDIENCE), "its Region is not"),
        (signed("https://sts.amazonaws.com/", "us-east-1", AUDIENCE), "its host is not"),
        (signed(&base, "eu-west-1", AUDIENCE), "its credential is not"),
        (eve.url(now - Duration::from_secs(60)), "it has expired"),
        (eve.url(now + Duration::from_secs(6)), "it was signed in the future"),
        (good.replace("https://", "http://"), "its URL is not https"),
        (good.replace("Action=GetCallerIdentity", "Action=GetSessionToken"), "it asks for something else"),
        (format!("{good}&Action=AssumeRole"), "it has a parameter twice"),
        (format!("{good}&action=AssumeRole"), "it has an unknown parameter"),
        (format!("{good}&x-amz-security-token=x"), "it has an unknown parameter"),
        (format!("{good}#"), "its URL has characters"),
    ];
    let before = sts.count();
    for (url, problem) in unseen {
        let message = format!("the AWS identity cannot be accepted: {problem}");
        assert_refused(bearer(&daemon.channel, &credential(&url)).await, INVALID, &message);
    }
    assert_eq!(sts.count(), before, "STS was asked about what could be seen here");

    // And these it refuses, for what is signed is not what this broker asks it.
    let (rest, signature) = good.split_once("X-Amz-Signature=").expect("a signature");
    let turned =
        format!("{rest}X-Amz-Signature={}{}", if signature.starts_with('0') { '1' } else { '0' }, &signature[1..]);
    let unknown = Signer::new("TESTACCESSKEYID09");
    for url in [
        signed(&base, REGION, "another-broker.example.org"),
        signed("https://sts.eu-west-1.amazonaws.com/", "eu-west-1", "Keyward.example.org"),
        turned,
        good.replace("X-Amz-Expires=60", "X-Amz-Expires=900"),
        format!("{good}&X-Amz-Security-Token=x"),
        unknown.url(now),
    ] {
        let answer = bearer(&daemon.channel, &credential(&url)).await;
        assert_refused(answer, INVALID, "STS does not accept the signature");
    }
    assert_eq!(sts.count(), before + 6);
    daemon.stop().await;
}

#[tokio::test]
async fn an_answer_that_is_not_one_is_no_identity() {
    let (sts, server) = Sts::start().await;
    let eve = Signer::new("TESTACCESSKEYID01");
    let arn = format!("arn:aws:iam::{ACCOUNT}:user/eve");
    sts.know(&eve, &arn);
    let (daemon, clock) = Daemon::start_at_rest_with(only(callers(&server))).await;
    let answer = |status, kind: &str, body: String| {
        let headers = vec![("content-type", kind.to_owned())];
        Reply::Whole(Answer { status, headers, body: body.into_bytes() })
    };
    let Reply::Whole(Answer { body, .. }) = identity(&arn) else { panic!("an answer") };
    let good = String::from_utf8(body).expect("text");
    let moved = Reply::Whole(Answer {
        status: 307,
        headers: vec![("location", format!("http://{}/", server.address))],
        body: Vec::new(),
    });
    for reply in [
        answer(200, "text/xml", good.clone()),
        answer(200, "text/xml", format!("<GetCallerIdentityResponse><Arn>{arn}</Arn></GetCallerIdentityResponse>")),
        answer(200, "application/json", good.replace("GetCallerIdentityRes", "GetSessionTokenRes")),
        answer(200, "application/json", good.replace("\"Arn\":", "\"Arn\":\"x\",\"Arn\":")),
        answer(200, "application/json", format!("{good}{}", " ".repeat(20_000))),
        answer(200, "application/json", format!("{good}x")),
        answer(200, "application/json", String::new()),
        answer(201, "application/json", good.clone()),
        answer(500, "application/json", good.clone()),
        answer(429, "application/json", good),
        json_answer(400, &json!({ "Error": { "Code": "Throttling", "Type": "Sender" } })),
        identity(&format!("arn:aws-cn:iam::{ACCOUNT}:user/eve")),
        identity(&format!("arn:aws:iam::{ACCOUNT}:group/eve")),
        moved,
        Reply::Close,
        Reply::Torn(Answer { status: 200, headers: Vec::new(), body: vec![b' '; 100] }),
    ] {
        *sts.instead.lock().expect("unharmed") = Some(reply);
        let status = bearer(&daemon.channel, &credential(&eve.url(clock.now()))).await.expect_err("nobody can tell");
        let told = details(&status);
        assert_eq!((told.code, told.reason.as_str()), (Code::Unavailable, "UPSTREAM_UNAVAILABLE"), "{status:?}");
        assert!(!status.message().contains("Signature"), "{status:?}");
        clock.advance(Duration::from_secs(1));
    }
    bearer(&daemon.channel, &credential(&eve.url(clock.now()))).await.expect("an operator");
    let other = identity("arn:aws:iam::999999999999:user/eve");
    *sts.instead.lock().expect("unharmed") = Some(other);
    clock.advance(Duration::from_secs(1));
    let answer = bearer(&daemon.channel, &credential(&eve.url(clock.now()))).await;
    assert_refused(answer, INVALID, "the AWS account");
    daemon.stop().await;
}

/// A request as botocore presigns it, with the header of this broker added before it signs: what a client in Python does.
const PRESIGN: &str = r#"
import sys
from botocore.session import Session
session = Session()
session.set_credentials(sys.argv[1], sys.argv[2])
client = session.create_client("sts", region_name=sys.argv[3], endpoint_url=f"https://sts.{sys.argv[3]}.amazonaws.com")
def bind(request, **_):
    request.headers["x-keyward-broker"] = sys.argv[4]
client.meta.events.register("before-sign.sts.GetCallerIdentity", bind)
print(client.generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET"), end="")
"#;

#[tokio::test]
async fn a_request_that_botocore_presigned_is_accepted() {
    let (sts, server) = Sts::start().await;
    let signer = Signer::new("TESTACCESSKEYID04");
    sts.know(&signer, &format!("arn:aws:iam::{ACCOUNT}:user/eve"));
    let secret = "of/the/tests/of/the/tests/of/the/tests+";
    let made = Command::new(moto_python()).args(["-c", PRESIGN, &signer.key_id, secret, REGION, AUDIENCE]).output();
    let made = made.expect("python runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let url = String::from_utf8(made.stdout).expect("a URL");
    let daemon = Daemon::start_with(Arc::new(SystemClock), only(callers(&server))).await;
    bearer(&daemon.channel, &credential(&url)).await.expect("an operator");
    daemon.stop().await;
}

/// Passes a request on to moto in the form that moto knows: it takes a presigned GET for one to S3, asks for no signature,
/// and answers in JSON only to `ContentType=JSON`. What it answers goes back as it is.
struct ByPost {
    moto: String,
    /// Content type and body of the last answer.
    last: std::sync::Mutex<(String, Value)>,
}

/// A request to moto, which looks at no signature but at whose it is and for which service.
async fn ask_moto(moto: &str, service: &str, key_id: &str, form: String) -> (u16, String, Vec<u8>) {
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    let scope = format!("{key_id}/20260101/{REGION}/{service}/aws4_request");
    let answer = http
        .post(moto)
        .header("authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("an answer");
    let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (status, kind) = (answer.status().as_u16(), kind.to_owned());
    (status, kind, answer.bytes().await.expect("a body").to_vec())
}

#[async_trait]
impl Service for ByPost {
    async fn answer(&self, asked: Asked) -> Reply {
        let (_, scope) = asked.query.split_once("X-Amz-Credential=").expect("a credential");
        let (key_id, _) = scope.split_once("%2F").expect("a scope");
        let form = format!("{}&ContentType=JSON", asked.query);
        let (status, kind, body) = ask_moto(&self.moto, "sts", key_id, form).await;
        let said = serde_json::from_slice(&body).unwrap_or_default();
        *self.last.lock().expect("unharmed") = (kind.clone(), said);
        Reply::Whole(Answer { status, headers: vec![("content-type", kind)], body })
    }
}

#[tokio::test]
async fn the_answer_of_motos_sts_is_read() {
    let moto = Peer::moto().await;
    let iam = async |action: &str| {
        let form = format!("Action={action}&UserName=eve&Version=2010-05-08");
        let (_, _, body) = ask_moto(&moto.endpoint, "iam", "TESTACCESSKEYID05", form).await;
        String::from_utf8(body).expect("text")
    };
    iam("CreateUser").await;
    let key = iam("CreateAccessKey").await;
    let (_, key) = key.split_once("<AccessKeyId>").expect("a key");
    let (key_id, _) = key.split_once('<').expect("a key");

    let passing = Arc::new(ByPost { moto: moto.endpoint.clone(), last: Default::default() });
    let server = Server::start(passing.clone()).await;
    let daemon = Daemon::start_with(Arc::new(SystemClock), only(callers(&server))).await;
    let answer = bearer(&daemon.channel, &credential(&Signer::new(key_id).url(SystemClock.now()))).await;
    let (kind, said) = passing.last.lock().expect("unharmed").clone();
    let result = &said["GetCallerIdentityResponse"]["GetCallerIdentityResult"];
    assert_eq!(result["Arn"], format!("arn:aws:iam::{ACCOUNT}:user/eve"), "{kind}: {said}");
    answer.unwrap_or_else(|status| panic!("{kind}: {said}: {status:?}"));
    daemon.stop().await;
}
