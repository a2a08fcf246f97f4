//! The same daemon with a thousand clients, and with a million.
//!
//! The thousand are made by calls. The others are written into the registry's file beside them, records of the same kinds
//! that differ from those by names and ids alone: a million calls would take an hour. They have no secrets and no app clients,
//! so tokens are asked for of the thousand only; those are spread among the million.

use std::path::Path;
use std::time::{Duration, Instant};

use keyward::domain::client::{Client, Owner};
use keyward::domain::rotation::Credential;
use keyward::proto;
use keyward::proto::client_service_client::ClientServiceClient;
use keyward::proto::token_service_client::TokenServiceClient;
use rusqlite::{Connection, params};
use tonic::transport::Channel;

use super::Figure;
use super::fleet::{SCOPES, at_once, client_id, client_name, create_client, daemon, put_api, request};
use super::harness::{connect, create_tenant};
use super::server::Server;
use super::windows::until_idle;

const FEW: usize = 1_000;
const MANY: usize = 1_000_000;
const PER_TENANT: usize = 10_000;
const VALIDITY: Duration = Duration::from_secs(3_600);
const STARTS: usize = 5;
const HITS: usize = 20_000;
const ROUNDS: usize = 5;

pub async fn compare() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path()).await;
    let few = Costs::measure(folder.path(), |at| at * (MANY / FEW)).await;
    let begun = Instant::now();
    let bytes = multiply(&folder.path().join("keyward/keyward.db"));
    println!("\n{MANY} clients registered in {:.0} s, {} MB", begun.elapsed().as_secs_f64(), bytes / 1_000_000);
    // Of those that were written beside them, which nobody has looked at yet.
    let many = Costs::measure(folder.path(), |at| at * (MANY / FEW) + MANY / FEW / 2).await;
    println!("with {FEW}: {few:.2?}\nwith {MANY}: {many:.2?}");
    vec![
        Figure::new("time to start with 1,000,000 clients", many.start_ms, "ms"),
        Figure::new("time to start with 1,000,000 clients ÷ with 1,000", many.start_ms / few.start_ms, ""),
        Figure::new("memory at start with 1,000,000 clients", many.start_mb, "MB"),
        Figure::new("memory at start with 1,000,000 clients ÷ with 1,000", many.start_mb / few.start_mb, ""),
        Figure::new("cost of a hit with 1,000,000 clients ÷ with 1,000", many.hit_us / few.hit_us, ""),
        Figure::new(
            "cost of a client's first lookup with 1,000,000 clients ÷ with 1,000",
            many.lookup_us / few.lookup_us,
            "",
        ),
        Figure::new(
            "cost of a client's first token with 1,000,000 clients ÷ with 1,000",
            many.first_token_us / few.first_token_us,
            "",
        ),
    ]
}

/// Medians; microseconds are the server's on a processor, for one call.
#[derive(Debug)]
struct Costs {
    start_ms: f64,
    start_mb: f64,
    lookup_us: f64,
    first_token_us: f64,
    hit_us: f64,
}

impl Costs {
    /// `looked_up` tells which clients are looked up for the first time.
    async fn measure(folder: &Path, looked_up: impl Fn(usize) -> usize) -> Self {
        let (mut starts, mut memory, mut lookups, mut tokens, mut hits) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..STARTS {
            let begun = Instant::now();
            let server = daemon(folder);
            starts.push(begun.elapsed().as_secs_f64() * 1e3);
            until_idle(&server).await;
            memory.push(server.resident_bytes() as f64 / 1e6);
            let channel = connect(&server.address).await;
            token(&channel, 0).await;
            lookups.push(cost(&server, FEW, async |at| get_client(&channel, looked_up(at)).await).await);
            tokens.push(cost(&server, FEW, async |at| token(&channel, at * (MANY / FEW)).await).await);
            for _ in 0..ROUNDS {
                hits.push(cost(&server, HITS, async |at| token(&channel, at % FEW * (MANY / FEW)).await).await);
            }
        }
        Costs {
            start_ms: median(starts),
            start_mb: median(memory),
            lookup_us: median(lookups),
            first_token_us: median(tokens),
            hit_us: median(hits),
        }
    }
}

async fn cost(server: &Server, times: usize, one: impl AsyncFn(usize)) -> f64 {
    let before = server.cpu();
    at_once(times, one).await;
    (server.cpu() - before).as_secs_f64() * 1e6 / times as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tenant(number: usize) -> String {
    format!("many-{:03}", number / PER_TENANT)
}

async fn token(channel: &Channel, number: usize) {
    let request = request(&tenant(number), number, 0, Duration::ZERO);
    TokenServiceClient::new(channel.clone()).get_token(request).await.expect("a token");
}

async fn get_client(channel: &Channel, number: usize) {
    let request = proto::GetClientRequest { name: client_name(&tenant(number), number) };
    ClientServiceClient::new(channel.clone()).get_client(request).await.expect("a client");
}

/// Makes the few, by calls.
async fn prepare(folder: &Path) {
    let server = daemon(folder);
    let channel = connect(&server.address).await;
    put_api(&channel).await;
    for number in (0..MANY).step_by(PER_TENANT) {
        create_tenant(&channel, &tenant(number), proto::Isolation::AppClient).await;
    }
    at_once(FEW, async |at| {
        let number = at * (MANY / FEW);
        create_client(&channel, &tenant(number), number, VALIDITY).await;
    })
    .await;
}

/// Makes many of the few, and says how large the file is.
fn multiply(file: &Path) -> u64 {
    let mut connection = Connection::open(file).expect("the file");
    let tune = "PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; PRAGMA cache_size = -2000000";
    connection.execute_batch(tune).expect("tuned");
    let change = connection.transaction().expect("begun");
    for at in 0..FEW {
        let first = at * (MANY / FEW);
        let template = Template::read(&change, first);
        let mut insert = change
            .prepare_cached("INSERT INTO records (shelf, key, version, body, due) VALUES (?1, ?2, 1, ?3, ?4)")
            .expect("prepared");
        for number in first + 1..first + MANY / FEW {
            for (shelf, key, body, due) in &template.records {
                let (key, body) = (template.with_names_of(number, key), template.with_names_of(number, body));
                insert.execute(params![shelf, key, body.as_bytes(), due]).expect("inserted");
            }
        }
        template.check();
    }
    change.commit().expect("committed");
    std::fs::metadata(file).expect("it is there").len()
}

/// What the registry has of one client: shelf, key, body, due time.
struct Template {
    client_id: String,
    uid: String,
    app_client: String,
    records: Vec<(&'static str, String, String, Option<String>)>,
}

impl Template {
    fn read(change: &rusqlite::Transaction<'_>, number: usize) -> Self {
        let read = |shelf: &'static str, key: String| {
            let sql = "SELECT key, body, due FROM records WHERE shelf = ?1 AND key >= ?2 ORDER BY key LIMIT 1";
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?, row.get(2)?));
            let found = change.prepare_cached(sql).expect("prepared").query_row(params![shelf, key], row);
            let (found, body, due) = found.expect("a record");
            assert!(found.starts_with(&key), "{shelf} {key}: there is only {found}");
            (shelf, found, String::from_utf8(body).expect("JSON"), due)
        };
        let key = format!("{}/{}", tenant(number), client_id(number));
        let client = read("client", key.clone());
        let known: Client = serde_json::from_str(&client.2).expect("a client");
        let app_client = known.app_client.expect("it is made").to_string();
        let mut records = vec![client, read("credential", key.clone()), read("owner", format!("{app_client} "))];
        records.extend(SCOPES.map(|scope| read("use", format!("{scope} {key}"))));
        Template { client_id: client_id(number), uid: known.uid, app_client, records }
    }

    /// The key or the body of a record, as it would be of another client.
    fn with_names_of(&self, number: usize, text: &str) -> String {
        let text = text.replace(&self.client_id, &client_id(number));
        let text = text.replace(&self.app_client, &format!("{number:026}"));
        text.replace(&self.uid, &format!("{number:016x}"))
    }

    /// That these are the daemon's own records.
    fn check(&self) {
        let body = |at: usize| self.with_names_of(1, &self.records[at].2);
        serde_json::from_str::<Client>(&body(0)).expect("a client");
        serde_json::from_str::<Credential>(&body(1)).expect("a credential");
        serde_json::from_str::<Owner>(&body(2)).expect("an owner");
    }
}
