//! What stands between the AWS SDK and an emulator of DynamoDB and KMS.
//!
//! It lets one request through at a time, as if each were made at one moment: DynamoDB's transactions are isolated from each
//! other, moto's are not. It checks signatures, which no emulator does, counts what is called, and keeps answers back where
//! a test says so.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use keyward::aws::{Aws, Credentials, DynamoDb, OpenTableError, Options};
use keyward::broker::ports::Clock;
use keyward::runtime::clock::SystemClock;

use crate::contract::peer_options;
use crate::fake::http::{Answer, Asked, Reply, Server, Service};
use crate::fake::signing;
use crate::harness::ports::in_time;
use crate::peers::Peer;

/// What becomes of a request of this operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has its effect, and the connection breaks before its answer.
    Unheard,
    /// The connection breaks before it comes through.
    Unsent,
    /// The service's own error of this name.
    Refused(&'static str),
    /// It waits before it comes through, and is never answered.
    Held,
    /// It comes through as any other.
    Passed,
}

pub struct Between {
    server: Server,
    shared: Arc<Shared>,
    _peer: Peer,
}

struct Shared {
    endpoint: String,
    http: reqwest::Client,
    one_at_a_time: tokio::sync::Mutex<()>,
    /// How long each request takes besides.
    distance: Mutex<Duration>,
    held: tokio::sync::Notify,
    fates: Mutex<VecDeque<(&'static str, Fate)>>,
    called: Mutex<Vec<String>>,
    complaints: Mutex<Vec<String>>,
}

impl Between {
    pub async fn before(peer: Peer) -> Self {
        let shared = Arc::new(Shared {
            endpoint: peer.endpoint.clone(),
            http: reqwest::Client::builder().no_proxy().build().expect("an HTTP client"),
            one_at_a_time: tokio::sync::Mutex::default(),
            distance: Mutex::default(),
            held: tokio::sync::Notify::new(),
            fates: Mutex::default(),
            called: Mutex::default(),
            complaints: Mutex::default(),
        });
        let server = Server::start(Arc::new(Passing(shared.clone()))).await;
        Between { server, shared, _peer: peer }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// The next requests of this operation fare so, one after the other.
    pub fn order(&self, operation: &'static str, fates: &[Fate]) {
        lock(&self.shared.fates).extend(fates.iter().map(|fate| (operation, *fate)));
    }

    /// Returns once a request is held.
    pub async fn holds(&self) {
        in_time(self.shared.held.notified()).await;
    }

    /// Each request takes so much longer.
    pub fn distance(&self, distance: Duration) {
        *lock(&self.shared.distance) = distance;
    }

    /// How often the operation was called since this was asked last.
    pub fn calls_of(&self, operation: &str) -> usize {
        let mut called = lock(&self.shared.called);
        let before = called.len();
        called.retain(|other| other != operation);
        before - called.len()
    }

    /// Whatever was not as it should be.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.shared.complaints).clone()
    }

    /// A client of the emulator for what a broker never does.
    pub fn sdk(&self) -> aws_sdk_dynamodb::Client {
        use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
        let credentials = Credentials::new(signing::ACCESS_KEY_ID, signing::SECRET_ACCESS_KEY, None, None, "test");
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(crate::fake::REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(credentials);
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// As an operator would have it, for what a broker never does.
    pub fn kms(&self) -> aws_sdk_kms::Client {
        use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
        let credentials = Credentials::new(signing::ACCESS_KEY_ID, signing::SECRET_ACCESS_KEY, None, None, "test");
        let config = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(crate::fake::REGION))
            .endpoint_url(self.endpoint())
            .credentials_provider(credentials);
        aws_sdk_kms::Client::from_conf(config.build())
    }

    pub async fn aws(&self) -> Aws {
        self.aws_at(Arc::new(SystemClock)).await
    }

    pub async fn aws_at(&self, clock: Arc<dyn Clock>) -> Aws {
        Aws::connect(self.options(), clock).await.expect("connected")
    }

    pub async fn open(&self, table: &str) -> Result<DynamoDb, OpenTableError> {
        self.aws().await.open_registry(table).await
    }

    fn options(&self) -> Options {
        let mut options = peer_options(&self._peer, &self._peer);
        options.endpoints.dynamodb = self.endpoint();
        options.endpoints.kms = self.endpoint();
        // moto copies its table for each transaction; on a busy machine that takes its time.
        options.quota_wait = Duration::from_secs(20);
        options.credentials = Credentials::Fixed {
            access_key_id: signing::ACCESS_KEY_ID.to_owned(),
            secret_access_key: signing::SECRET_ACCESS_KEY.to_owned(),
        };
        options
    }
}

struct Passing(Arc<Shared>);

#[async_trait]
impl Service for Passing {
    async fn answer(&self, asked: Asked) -> Reply {
        let shared = &self.0;
        let target = asked.header("x-amz-target").to_owned();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let (service, shape) = match target.starts_with("TrentService.") {
            true => ("kms", ""),
            false => ("dynamodb", "com.amazonaws.dynamodb.v20120810#"),
        };
        if let Err(error) = signing::check(&asked, service) {
            lock(&shared.complaints).push(format!("{operation}: {error:?}"));
        }
        lock(&shared.called).push(operation.clone());
        let fate = {
            let mut fates = lock(&shared.fates);
            let place = fates.iter().position(|(of, _)| *of == operation);
            place.and_then(|place| fates.remove(place)).map(|(_, fate)| fate)
        };
        match fate {
            Some(Fate::Unsent) => return Reply::Reset,
            Some(Fate::Refused(name)) => {
                let body = format!(r#"{{"__type":"{shape}{name}","message":"so it was ordered"}}"#);
                return Reply::Whole(json(400, body.into_bytes()));
            }
            Some(Fate::Held) => {
                shared.held.notify_one();
                std::future::pending::<()>().await;
            }
            Some(Fate::Unheard | Fate::Passed) | None => {}
        }
        let distance = *lock(&shared.distance);
        let _turn = shared.one_at_a_time.lock().await;
        if !distance.is_zero() {
            let now = SystemClock.now();
            SystemClock.sleep_until(now + jiff::SignedDuration::try_from(distance).expect("short")).await;
        }
        let mut request = shared.http.post(&shared.endpoint).body(asked.body.to_vec());
        for name in ["x-amz-target", "content-type", "authorization", "x-amz-date"] {
            request = request.header(name, asked.header(name));
        }
        let answer = request.send().await.expect("the emulator answers");
        let status = answer.status().as_u16();
        let body = answer.bytes().await.expect("the answer's body").to_vec();
        if status >= 500 {
            lock(&shared.complaints).push(format!("{operation}: {status} {}", String::from_utf8_lossy(&body)));
        }
        match fate {
            Some(Fate::Unheard) => Reply::Reset,
            _ => Reply::Whole(json(status, body)),
        }
    }
}

fn json(status: u16, body: Vec<u8>) -> Answer {
    Answer { status, headers: vec![("content-type", "application/x-amz-json-1.0".to_owned())], body }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics under it")
}
