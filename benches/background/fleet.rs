//! A daemon with a fleet of clients, each with a few tokens.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use prost::Message as _;
use tonic::transport::Channel;

use super::harness::{self, connect, create_tenant};
use super::load::write_messages;
use super::server::Server;
use super::steady::Pace;
use super::windows::{Work, compare, until_idle};
use super::{Figure, daemon};

const CLIENTS: usize = 10_000;
const WARM: usize = CLIENTS / 5;
/// Clients whose tokens are asked for while the fleet is worked on.
const ASKED: usize = 100;
/// So long that a token of all of them has 950 bytes.
pub const SCOPES: [&str; 5] = [
    "orders/read",
    "orders/write",
    "orders/cancel",
    "orders/list",
    "orders/refund-without-a-question-asked-and-with-an-apology-of-all",
];
/// How many different sets of scopes each client's tokens are fetched for.
const SETS: usize = 10;
const TOKENS: usize = CLIENTS * SETS;
const VALIDITY: Duration = Duration::from_secs(300);
const REVOCATIONS: usize = 30_000;

pub struct Fleet {
    folder: tempfile::TempDir,
    server: Server,
    channel: Channel,
    /// When the last of all tokens had been fetched.
    fetched: std::cell::Cell<Option<Instant>>,
}

impl Fleet {
    /// With all its clients, and without a token.
    pub async fn start() -> Self {
        // In memory where the system has it: the work behind the hits then never waits for a disk, and presses all the more.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder");
        let server = daemon(folder.path());
        let channel = connect(&server.address).await;
        put_api(&channel).await;
        for tenant in ["fleet", "asked", "revoked"] {
            create_tenant(&channel, tenant, proto::Isolation::AppClient).await;
        }
        let begun = Instant::now();
        at_once(CLIENTS, async |number| create_client(&channel, "fleet", number, VALIDITY).await).await;
        println!("{CLIENTS} clients created in {:.0} s", begun.elapsed().as_secs_f64());
        for tenant in ["asked", "revoked"] {
            at_once(ASKED, async |number| create_client(&channel, tenant, number, 12 * VALIDITY).await).await;
        }
        drop(server);
        let server = daemon(folder.path());
        let channel = connect(&server.address).await;
        Fleet { folder, server, channel, fetched: Default::default() }
    }

    /// Fetches all tokens, and says what they take: the first of each client with what is known of the client, the others
    /// alone.
    pub async fn memory(&self) -> Vec<Figure> {
        at_once(ASKED, async |number| drop(self.token("asked", number, 0, Duration::ZERO).await)).await;
        let messages = (0..ASKED).map(|number| request("asked", number, 0, Duration::ZERO).encode_to_vec());
        write_messages(&self.messages(), messages);
        // What the daemon needs to work at all is there after a fifth of the fleet.
        for set in 0..SETS {
            at_once(WARM, async |number| drop(self.token("fleet", number, set, Duration::ZERO).await)).await;
        }
        until_idle(&self.server).await;

        let length = self.token("fleet", 0, 0, Duration::ZERO).await.access_token.len();
        println!("a token of all scopes has {length} bytes");
        let (begun, mut before, mut per_token) = (Instant::now(), self.server.resident_bytes(), Vec::new());
        for set in 0..SETS {
            let rest = async |at| drop(self.token("fleet", WARM + at, set, Duration::ZERO).await);
            at_once(CLIENTS - WARM, rest).await;
            until_idle(&self.server).await;
            let after = self.server.resident_bytes();
            per_token.push((after as f64 - before as f64) / (CLIENTS - WARM) as f64);
            before = after;
        }
        self.fetched.set(Some(Instant::now()));
        println!("{} tokens fetched in {:.0} s", (CLIENTS - WARM) * SETS, begun.elapsed().as_secs_f64());
        println!("bytes for each, fetched set by set: {per_token:.0?}");
        let further = per_token[1..].iter().sum::<f64>() / (per_token.len() - 1) as f64;
        vec![
            Figure::new(format!("memory for a token of {length} bytes"), further, "bytes").at_most(2_000.0),
            Figure::new("memory for a client that has a token, besides", per_token[0] - further, "bytes"),
        ]
    }

    pub async fn rotations_and_revocations(&self) -> Vec<Figure> {
        let pace = self.pace();
        let rotate = async |number| {
            let name = client_name("fleet", number);
            let request = proto::RotateClientSecretRequest { name, ..Default::default() };
            let rotation = ClientServiceClient::new(self.channel.clone()).rotate_client_secret(request).await;
            let state = rotation.expect("rotated").into_inner().state();
            assert_eq!(state, proto::RotationState::Overlap);
        };
        let work = Work { name: "rotations of a fleet of 10,000", pieces: CLIENTS, piece: rotate };
        let mut figures = compare(&self.server, &pace, work).await;
        let revoke = async |number: usize| {
            use proto::revoke_tokens_request::Target;
            let target = match number % 10 {
                0 => Target::Client(client_name("revoked", number % ASKED)),
                _ => Target::TokenId(format!("a-token-{number}")),
            };
            let request = proto::RevokeTokensRequest { target: Some(target), ..Default::default() };
            ClientServiceClient::new(self.channel.clone()).revoke_tokens(request).await.expect("revoked");
        };
        let work = Work { name: "revocations in a storm", pieces: REVOCATIONS, piece: revoke };
        figures.extend(compare(&self.server, &pace, work).await);
        figures
    }

    /// Every token is asked for by a caller for whom it does not last long enough any more.
    pub async fn refreshes(&self) -> Vec<Figure> {
        let fetched = self.fetched.get().expect("tokens were fetched");
        tokio::time::sleep_until((fetched + VALIDITY / 2).into()).await;
        let refresh = async |number: usize| {
            drop(self.token("fleet", number % CLIENTS, number / CLIENTS, VALIDITY / 2).await);
        };
        let work = Work { name: "refreshes of 100,000 tokens", pieces: TOKENS, piece: refresh };
        compare(&self.server, &self.pace(), work).await
    }

    async fn token(&self, tenant: &str, number: usize, set: usize, min_remaining: Duration) -> proto::AccessToken {
        let request = request(tenant, number, set, min_remaining);
        TokenServiceClient::new(self.channel.clone()).get_token(request).await.expect("a token").into_inner()
    }

    fn messages(&self) -> PathBuf {
        self.folder.path().join("messages")
    }

    fn pace(&self) -> Pace {
        Pace { address: self.server.address.clone(), messages: self.messages(), calls_per_tick: 5, seconds: 3.0 }
    }
}

/// Does as many things as that, some at one time.
pub async fn at_once(times: usize, one: impl AsyncFn(usize)) {
    let next = AtomicUsize::new(0);
    let some = async || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= times {
                return;
            }
            one(number).await;
        }
    };
    futures::future::join_all((0..64).map(|_| some())).await;
}

pub fn daemon(folder: &Path) -> Server {
    daemon::start(folder, "keyward", daemon::EVERYBODY, &[])
}

pub async fn put_api(channel: &Channel) {
    let names = SCOPES.map(|scope| scope.trim_start_matches("orders/"));
    harness::put_api(channel, "orders", "Orders", &names).await;
}

pub async fn create_client(channel: &Channel, tenant: &str, number: usize, validity: Duration) {
    let client = proto::Client {
        scopes: SCOPES.map(str::to_owned).to_vec(),
        access_token_validity: Some(validity.try_into().expect("in range")),
        ..Default::default()
    };
    let request = proto::CreateClientRequest {
        parent: format!("tenants/{tenant}"),
        client_id: client_id(number),
        client: Some(client),
        ..Default::default()
    };
    ClientServiceClient::new(channel.clone()).create_client(request).await.expect("the client is created");
}

pub fn client_id(number: usize) -> String {
    format!("client-{number:06}")
}

pub fn client_name(tenant: &str, number: usize) -> String {
    format!("tenants/{tenant}/clients/{}", client_id(number))
}

/// The sets are of about one length: the longest scope is in each of them. The first is all scopes, which needs no word.
pub fn request(tenant: &str, number: usize, set: usize, min_remaining: Duration) -> proto::GetTokenRequest {
    let is_in = |at: &usize| set != 0 && set & 1 << at == 0;
    proto::GetTokenRequest {
        name: client_name(tenant, number),
        scopes: (0..SCOPES.len()).filter(is_in).map(|at| SCOPES[at].to_owned()).collect(),
        min_remaining: Some(min_remaining.try_into().expect("in range")),
    }
}
