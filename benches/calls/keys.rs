//! Many clients with several scope sets each, and a token for each of these.

use std::time::Instant;

use futures::StreamExt as _;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use keyward::proto::verify_token_response::Verdict;
use prost::Message as _;
use tonic::transport::Channel;

use super::harness::{self, create_tenant, put_api};

/// As many as a client may use, unless it is configured otherwise.
const SCOPE_SETS: usize = 16;
const CLIENTS_OF_A_TENANT: usize = 100;
/// Calls at a time.
const AT_A_TIME: usize = 64;
/// Their subsets are the scope sets.
const SCOPES: [&str; 5] = ["ledger/read", "ledger/write", "ledger/close", "ledger/audit", "ledger/export"];

/// One client and one scope set.
pub struct Key {
    /// A `GetTokenRequest`.
    pub request: Vec<u8>,
    pub token: String,
}

pub struct Keys {
    pub keys: Vec<Key>,
    /// So many of them, the first, were verified already: one of each client, whose owner is known from then on.
    verified: usize,
}

impl Keys {
    pub fn new_tokens(&self) -> &[Key] {
        &self.keys[self.verified..]
    }
}

/// Registers clients and fetches a token for each scope set, so that all of them are held afterwards. Keys of one client are
/// far apart.
pub async fn prepare(channel: &Channel, count: usize) -> Keys {
    let names = SCOPES.map(|scope| scope.trim_start_matches("ledger/"));
    put_api(channel, "ledger", "Ledger", &names).await;
    let clients = count.div_ceil(SCOPE_SETS);
    let begun = Instant::now();
    for number in 0..clients.div_ceil(CLIENTS_OF_A_TENANT) {
        create_tenant(channel, &tenant(number * CLIENTS_OF_A_TENANT), proto::Isolation::AppClient).await;
    }
    futures::stream::iter(0..clients)
        .map(|number| create_client(channel.clone(), number))
        .buffer_unordered(AT_A_TIME)
        .for_each(async |()| {})
        .await;
    println!("{clients} clients registered over gRPC in {:.0} s", begun.elapsed().as_secs_f64());

    let begun = Instant::now();
    let keys = futures::stream::iter(0..clients * SCOPE_SETS)
        .map(|number| get(channel.clone(), number % clients, number / clients))
        .buffered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    println!("{} tokens fetched in {:.0} s, {SCOPE_SETS} for each client", keys.len(), begun.elapsed().as_secs_f64());
    for key in &keys[..clients] {
        let verdict = harness::verify(channel, &key.token).await;
        assert!(matches!(verdict, Verdict::Verified(_)), "{verdict:?}");
    }
    Keys { keys, verified: clients }
}

fn tenant(client: usize) -> String {
    format!("tenant-{}", client / CLIENTS_OF_A_TENANT)
}

async fn create_client(channel: Channel, number: usize) {
    let request = proto::CreateClientRequest {
        parent: format!("tenants/{}", tenant(number)),
        client_id: format!("client-{number}"),
        client: Some(proto::Client { scopes: SCOPES.map(str::to_owned).to_vec(), ..Default::default() }),
        ..Default::default()
    };
    ClientServiceClient::new(channel).create_client(request).await.expect("the client is created");
}

/// `set`: which subset of the scopes, in binary and one more.
async fn get(channel: Channel, client: usize, set: usize) -> Key {
    let is_in = |(bit, _): &(usize, &&str)| (set + 1) & (1 << bit) != 0;
    let request = proto::GetTokenRequest {
        name: format!("tenants/{}/clients/client-{client}", tenant(client)),
        scopes: SCOPES.iter().enumerate().filter(is_in).map(|(_, scope)| (*scope).to_owned()).collect(),
        ..Default::default()
    };
    let encoded = request.encode_to_vec();
    let token = TokenServiceClient::new(channel).get_token(request).await.expect("a token").into_inner();
    Key { request: encoded, token: token.access_token }
}
