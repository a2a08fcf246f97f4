//! The key of shared tokens where KMS has it: one for all brokers, opened by whoever may and nobody else, followed when it
//! changes; and a KMS that is away costs no token.

mod changes;
mod trouble;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use futures::future::join_all;
use jiff::Timestamp;
use keyward::broker::TokenKeys;
use keyward::broker::ports::{Clock as _, DataKeys, Fault, KeptKey, PortResult};
use tokio::sync::{Barrier, Semaphore};
use zeroize::Zeroizing;

use super::super::tables::TABLE;
use super::fleet::{BILLING, CHECKOUT, Fleet, Item, stop, token};
use crate::harness::brokers::Working;
use crate::peers::Peer;

const ALIAS: &str = "alias/keyward";
const MAKE: &str = "GenerateDataKeyWithoutPlaintext";
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);

/// A fleet whose key is to be found under a KMS key, which is there.
struct Keys {
    fleet: Fleet,
    /// The ARN of the KMS key.
    kms_key: String,
}

impl Keys {
    async fn before(peer: Peer) -> Self {
        let fleet = Fleet::before(peer).await;
        let kms_key = new_kms_key(&fleet).await;
        let alias = fleet.between.kms().create_alias().alias_name(ALIAS).target_key_id(&kms_key);
        alias.send().await.expect("an alias");
        Keys { fleet, kms_key }
    }

    async fn port(&self, table: &str, kms_key: &str) -> Arc<dyn DataKeys> {
        self.fleet.between.aws_at(self.fleet.bench.clock.clone()).await.data_keys(table, kms_key)
    }

    /// Of one broker that starts now.
    async fn begun(&self) -> Arc<TokenKeys> {
        let keys = Arc::new(TokenKeys::found(self.port(TABLE, ALIAS).await, TABLE));
        keys.begin(&*self.fleet.bench.clock).await;
        keys
    }

    async fn broker(&self) -> Working {
        self.fleet.broker_under(self.begun().await, FETCH_TIMEOUT).await
    }

    /// The keys of five brokers that begin at once, and of one that sees what they see and is slower than all of them.
    async fn begun_at_once(&self) -> Vec<Arc<TokenKeys>> {
        let (all_have_read, may_make) = (Arc::new(Barrier::new(6)), Arc::new(Semaphore::new(0)));
        let begin = async |places: Arc<Semaphore>| {
            let port = self.port(TABLE, ALIAS).await;
            let port = Held { port, all_have_read: all_have_read.clone(), has_waited: AtomicBool::new(false), places };
            let keys = Arc::new(TokenKeys::found(Arc::new(port), TABLE));
            keys.begin(&*self.fleet.bench.clock).await;
            keys
        };
        let others = async {
            let others = join_all((0..5).map(|_| begin(Arc::new(Semaphore::new(1))))).await;
            may_make.add_permits(1);
            others
        };
        let (slow, mut all) = tokio::join!(begin(may_make.clone()), others);
        all.push(slow);
        all
    }

    /// What is in the table in place of data keys.
    async fn items(&self) -> Vec<Item> {
        let is_data_key = |item: &Item| item["pk"].as_s().is_ok_and(|pk| pk == "token-key");
        self.fleet.items().await.into_iter().filter(is_data_key).collect()
    }

    fn calls(&self) -> [usize; 2] {
        [MAKE, "Decrypt"].map(|operation| self.fleet.between.calls_of(operation))
    }
}

/// A broker's way to the data key, on which it makes none before all have read that there is none, and it is let.
struct Held {
    port: Arc<dyn DataKeys>,
    all_have_read: Arc<Barrier>,
    has_waited: AtomicBool,
    places: Arc<Semaphore>,
}

#[async_trait]
impl DataKeys for Held {
    async fn kept(&self) -> PortResult<Option<KeptKey>> {
        self.port.kept().await
    }

    async fn make(&self, seen: Option<&KeptKey>, now: Timestamp) -> PortResult<()> {
        if !self.has_waited.swap(true, Ordering::Relaxed) {
            self.all_have_read.wait().await;
        }
        let _place = self.places.acquire().await.expect("never closed");
        self.port.make(seen, now).await
    }

    async fn open(&self, kept: &KeptKey) -> PortResult<Option<Zeroizing<[u8; 32]>>> {
        self.port.open(kept).await
    }
}

async fn new_kms_key(fleet: &Fleet) -> String {
    let made = fleet.between.kms().create_key().send().await.expect("a KMS key");
    made.key_metadata.expect("said").arn.expect("an ARN")
}

fn id(keys: &TokenKeys) -> String {
    keys.current().expect("a key").id().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_share_a_token_under_a_data_key_that_none_was_given_on_ministack() {
    one_token_for_two(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_share_a_token_under_a_data_key_that_none_was_given_on_moto() {
    one_token_for_two(Peer::moto().await).await;
}

async fn one_token_for_two(peer: Peer) {
    let keys = Keys::before(peer).await;
    let brokers = [keys.broker().await, keys.broker().await];
    assert_eq!(keys.calls(), [1, 2], "one makes it, both open it");
    let first = token(&brokers[0], CHECKOUT).await;
    // The first puts it there behind its caller.
    let [one, other] = brokers;
    one.stop().await;
    assert_eq!(token(&other, CHECKOUT).await.expose(), first.expose());
    assert_eq!(keys.fleet.fetches.count(), 1);
    stop([other]).await;

    let items = keys.items().await;
    assert_eq!(items.len(), 1);
    let mut names: Vec<_> = items[0].keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["data_key", "kms_key", "make_time", "pk", "sk"], "what more is there must be looked at here");
    assert_eq!(items[0]["kms_key"].as_s().expect("text"), &keys.kms_key);
    let data_key = in_clear(&keys, &items[0]).await;
    assert_eq!(data_key.len(), 32);
    for text in [format!("{:?}", keys.fleet.items().await), format!("{items:?}")] {
        assert!(!text.contains(&hex::encode(&data_key)) && !text.contains(&as_base64(&data_key)));
    }
    let wrapped = items[0]["data_key"].as_b().expect("bytes").as_ref();
    assert!(!wrapped.windows(8).any(|part| part == &data_key[..8]));
    assert_eq!(keys.fleet.between.complaints(), Vec::<String>::new());
}

/// What whoever may use the KMS key for this purpose and table makes of it.
async fn in_clear(keys: &Keys, item: &Item) -> Vec<u8> {
    let wrapped = item["data_key"].as_b().expect("bytes").as_ref();
    let open = keys.fleet.between.kms().decrypt().key_id(ALIAS).ciphertext_blob(Blob::new(wrapped));
    let open = open.encryption_context("keyward:table", TABLE);
    let open = open.encryption_context("keyward:purpose", "shared-tokens").send().await.expect("opened");
    open.plaintext.expect("a key").into_inner()
}

fn as_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_brokers_all_have_the_data_key_of_one_on_ministack() {
    one_data_key(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_first_brokers_all_have_the_data_key_of_one_on_moto() {
    one_data_key(Peer::moto().await).await;
}

async fn one_data_key(peer: Peer) {
    let keys = Keys::before(peer).await;
    let first = keys.begun_at_once().await;
    assert_eq!(keys.calls(), [6, 6], "none of them was there before the others");
    assert!(first.iter().all(|other| id(other) == id(&first[0])), "they have different keys");
    assert_eq!(keys.items().await.len(), 1);
    let late = keys.begun().await;
    assert_eq!((id(&late), keys.calls()), (id(&first[0]), [0, 1]));
    assert_eq!(keys.fleet.between.complaints(), Vec::<String>::new());
}

/// Made and read back.
async fn kept(port: &dyn DataKeys, keys: &Keys) -> KeptKey {
    port.make(None, keys.fleet.bench.clock.now()).await.expect("made");
    port.kept().await.expect("read").expect("kept")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_for_another_table_or_purpose_does_not_open_on_ministack() {
    only_in_its_place(Peer::ministack().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_made_for_another_table_or_purpose_does_not_open_on_moto() {
    only_in_its_place(Peer::moto().await).await;
}

async fn only_in_its_place(peer: Peer) {
    let keys = Keys::before(peer).await;
    let port = keys.port(TABLE, ALIAS).await;
    assert_eq!(port.kept().await.expect("read"), None);
    let kept = kept(&*port, &keys).await;
    assert_eq!((kept.wrapping_key.as_str(), kept.make_time), (keys.kms_key.as_str(), keys.fleet.bench.clock.now()));
    let opened = port.open(&kept).await.expect("asked").expect("opened");
    assert_eq!(opened, port.open(&kept).await.expect("asked").expect("opened"));

    let elsewhere = keys.port("another-table", ALIAS).await;
    assert_eq!(elsewhere.open(&kept).await.expect("asked"), None, "another table");
    let kms = keys.fleet.between.kms();
    let other = kms.generate_data_key_without_plaintext().key_id(ALIAS).key_spec("AES_256".into());
    let other = other.encryption_context("keyward:table", TABLE).encryption_context("keyward:purpose", "another");
    let wrapped = other.send().await.expect("made").ciphertext_blob.expect("a key").into_inner();
    assert_eq!(port.open(&KeptKey { wrapped, ..kept.clone() }).await.expect("asked"), None, "another purpose");

    // A second is not put where the first is, nor in the place of one that is not there.
    let refused = port.make(None, kept.make_time).await.expect_err("one is there");
    assert!(refused.is(Fault::Conflict), "{refused:?}");
    let stale = KeptKey { wrapped: vec![1, 2, 3], ..kept.clone() };
    let refused = port.make(Some(&stale), kept.make_time).await.expect_err("another is there");
    assert!(refused.is(Fault::Conflict), "{refused:?}");
    port.make(Some(&kept), kept.make_time).await.expect("in its place");
    let next = port.kept().await.expect("read").expect("kept");
    assert_ne!(port.open(&next).await.expect("asked").expect("opened"), opened);
    assert_eq!(keys.fleet.between.complaints(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_kms_key_has_made_does_not_open_and_is_no_error() {
    let keys = Keys::before(Peer::ministack().await).await;
    let kept = kept(&*keys.port(TABLE, ALIAS).await, &keys).await;
    // This peer opens it under any key, as if there were no difference, and says which one it was asked for.
    let other = keys.port(TABLE, &new_kms_key(&keys.fleet).await).await;
    assert_eq!(other.open(&kept).await.expect("asked"), None);
    assert_eq!(other.kept().await.expect("read"), None, "each KMS key has a place of its own");
    for said in ["IncorrectKeyException", "InvalidCiphertextException"] {
        keys.fleet.between.order("Decrypt", &[super::super::between::Fate::Refused(said)]);
        assert_eq!(keys.port(TABLE, ALIAS).await.open(&kept).await.expect("asked"), None, "{said}");
    }

    let keys = Keys::before(Peer::moto().await).await;
    let port = keys.port(TABLE, ALIAS).await;
    let mut changed = self::kept(&*port, &keys).await;
    *changed.wrapped.last_mut().expect("bytes") ^= 1;
    assert_eq!(port.open(&changed).await.expect("asked"), None);
}
