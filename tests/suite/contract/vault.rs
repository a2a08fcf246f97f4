//! Secrets with versions and staging labels.

use std::collections::BTreeSet;
use std::time::Duration;

use keyward::broker::ports::{Fault, Label, SecretDocument, Wanted};
use keyward::domain::id::{SecretName, VersionId};
use keyward::domain::rotation::Labels;

use super::{Backend, DAY, Ledger, secret};

pub async fn play(backend: &Backend, ledger: &mut Ledger) {
    let (vault, name) = (&backend.vault, name("contract/a"));
    let read = async |number: u8| vault.read(&name, Wanted::Version(&version(number))).await.map(shown);
    let current = async || vault.read(&name, Wanted::Current).await.map(shown);
    let labels = async || vault.labels(&name).await.map(places);
    ledger.holds("no labels", labels().await, &None::<()>);
    ledger.holds("no current version", current().await, &None::<()>);
    ledger.holds("no version", read(1).await, &None::<()>);
    ledger.fails("promote in none", vault.promote(&name, &version(1), &version(2)).await, Fault::NotFound);
    ledger.holds("clear in none", vault.clear(&name, Label::Pending, &version(1)).await, &());

    ledger.holds("stage the first", vault.stage(&name, &version(1), &document(1)).await, &());
    ledger.holds("the first is current and pending", labels().await, &on(1, Some(1), None));
    ledger.holds("stage the first again", vault.stage(&name, &version(1), &document(9)).await, &());
    ledger.holds("the first writer's value stands", read(1).await, &shown(Some(document(1))));
    ledger.holds("stage the second", vault.stage(&name, &version(2), &document(2)).await, &());
    ledger.holds("the second is pending", labels().await, &on(1, Some(2), None));
    ledger.holds("the first is still read", current().await, &shown(Some(document(1))));
    ledger.holds("the second is read by id", read(2).await, &shown(Some(document(2))));
    ledger.holds("the third is not there", read(3).await, &None::<()>);

    ledger.holds("promote the second", vault.promote(&name, &version(1), &version(2)).await, &());
    ledger.holds("the first is previous", labels().await, &on(2, Some(2), Some(1)));
    ledger.holds("promote the second again", vault.promote(&name, &version(1), &version(2)).await, &());
    ledger.holds("that moves nothing", labels().await, &on(2, Some(2), Some(1)));
    ledger.holds("the second is read", current().await, &shown(Some(document(2))));
    ledger.holds("stage the third", vault.stage(&name, &version(3), &document(3)).await, &());
    ledger.holds("the third is pending", labels().await, &on(2, Some(3), Some(1)));
    ledger.fails("promote from another", vault.promote(&name, &version(1), &version(3)).await, Fault::Conflict);
    ledger.holds("that moves nothing either", labels().await, &on(2, Some(3), Some(1)));
    ledger.holds("the second is read yet", current().await, &shown(Some(document(2))));

    ledger.holds("clear where it is not", vault.clear(&name, Label::Pending, &version(2)).await, &());
    ledger.holds("it is where it was", labels().await, &on(2, Some(3), Some(1)));
    ledger.holds("clear pending", vault.clear(&name, Label::Pending, &version(3)).await, &());
    ledger.holds("clear previous", vault.clear(&name, Label::Previous, &version(1)).await, &());
    ledger.holds("clear previous again", vault.clear(&name, Label::Previous, &version(1)).await, &());
    ledger.holds("current alone is left", labels().await, &on(2, None, None));
    ledger.holds("stage the third anew", vault.stage(&name, &version(3), &document(9)).await, &());
    ledger.holds("pending comes back to it", labels().await, &on(2, Some(3), None));
    ledger.holds("with its old content", read(3).await, &shown(Some(document(3))));
    ledger.fails("promote what is not there", vault.promote(&name, &version(2), &version(7)).await, Fault::NotFound);
    ledger.holds("current stays then", labels().await, &on(2, Some(3), None));
}

/// What is of nobody yet is made current without comparing.
pub async fn play_put(backend: &Backend, ledger: &mut Ledger) {
    let (vault, name) = (&backend.vault, name("contract/put"));
    let labels = async || vault.labels(&name).await.map(places);
    let current = async || vault.read(&name, Wanted::Current).await.map(shown);
    ledger.holds("put the first", vault.put(&name, &version(1), &document(1)).await, &());
    ledger.holds("the first is current", labels().await, &on(1, None, None));
    ledger.holds("put the first again", vault.put(&name, &version(1), &document(9)).await, &());
    ledger.holds("the first put stands", current().await, &shown(Some(document(1))));
    ledger.holds("put the second", vault.put(&name, &version(2), &document(2)).await, &());
    ledger.holds("the first put is previous", labels().await, &on(2, None, Some(1)));
    ledger.holds("the second put is read", current().await, &shown(Some(document(2))));
    ledger.holds("put the first late", vault.put(&name, &version(1), &document(1)).await, &());
    ledger.holds("that moves nothing back", labels().await, &on(2, None, Some(1)));
    ledger.holds("clear the first put", vault.clear(&name, Label::Previous, &version(1)).await, &());
    ledger.holds("put the first later", vault.put(&name, &version(1), &document(1)).await, &());
    ledger.holds("that moves nothing either, after a put", labels().await, &on(2, None, None));
    ledger.holds("stage beside what was put", vault.stage(&name, &version(3), &document(3)).await, &());
    ledger.holds("it is pending there", labels().await, &on(2, Some(3), None));
    ledger.holds("put what is staged", vault.put(&name, &version(3), &document(3)).await, &());
    ledger.holds("that makes nothing current", labels().await, &on(2, Some(3), None));
}

/// For a backend whose time can be moved.
pub async fn play_deletion(backend: &Backend, ledger: &mut Ledger) {
    let (vault, name) = (&backend.vault, name("contract/deleted"));
    let labels = async || vault.labels(&name).await.map(places);
    ledger.holds("delete none", vault.schedule_deletion(&name, 7 * DAY).await, &());
    ledger.holds("restore none", vault.restore(&name).await, &false);
    vault.stage(&name, &version(1), &document(1)).await.expect("staged");
    for window in [Duration::from_secs(1), 6 * DAY, 31 * DAY] {
        ledger.fails("a window out of bounds", vault.schedule_deletion(&name, window).await, Fault::Refused);
    }
    ledger.holds("nothing is scheduled", labels().await, &on(1, Some(1), None));
    ledger.holds("schedule its deletion", vault.schedule_deletion(&name, 7 * DAY).await, &());
    ledger.holds("schedule it again", vault.schedule_deletion(&name, 7 * DAY).await, &());
    ledger.holds("it is out of sight", labels().await, &None::<()>);
    ledger.holds("so is its version", vault.read(&name, Wanted::Version(&version(1))).await, &None::<()>);
    ledger.holds("and its current one", vault.read(&name, Wanted::Current).await, &None::<()>);
    ledger.fails("promote in it", vault.promote(&name, &version(1), &version(2)).await, Fault::NotFound);
    ledger.holds("clear in it", vault.clear(&name, Label::Pending, &version(1)).await, &());
    ledger.holds("restore it", vault.restore(&name).await, &true);
    ledger.holds("it is there as it was", labels().await, &on(1, Some(1), None));
    ledger.holds("restore what is not to be deleted", vault.restore(&name).await, &false);
    ledger.holds("schedule it once more", vault.schedule_deletion(&name, 7 * DAY).await, &());

    backend.advance(6 * DAY);
    ledger.holds("stage brings it back", vault.stage(&name, &version(2), &document(2)).await, &());
    ledger.holds("with its labels", labels().await, &on(1, Some(2), None));
    backend.advance(30 * DAY);
    ledger.holds("for good", labels().await, &on(1, Some(2), None));

    vault.schedule_deletion(&name, 7 * DAY).await.expect("scheduled");
    backend.advance(8 * DAY);
    ledger.holds("restore after its window", vault.restore(&name).await, &false);
    ledger.holds("stage after its window", vault.stage(&name, &version(3), &document(3)).await, &());
    ledger.holds("it is a new secret", labels().await, &on(3, Some(3), None));
    ledger.holds("without the old", vault.read(&name, Wanted::Version(&version(1))).await, &None::<()>);
    ledger.holds("delete it at once", vault.schedule_deletion(&name, Duration::ZERO).await, &());
    ledger.holds("stage after that", vault.stage(&name, &version(4), &document(4)).await, &());
    ledger.holds("it is new again", labels().await, &on(4, Some(4), None));

    vault.schedule_deletion(&name, 7 * DAY).await.expect("scheduled");
    ledger.holds("put brings it back", vault.put(&name, &version(5), &document(5)).await, &());
    ledger.holds("with what is put as the current one", labels().await, &on(5, Some(4), Some(4)));
}

pub async fn play_the_rest(backend: &Backend, ledger: &mut Ledger) {
    let vault = &backend.vault;
    let names = ["contract-list/one", "contract-list/two", "contract-list-not/three"].map(name);
    for name in &names {
        vault.stage(name, &version(1), &document(1)).await.expect("staged");
    }
    let listed = async || {
        let (mut listed, mut after) = (BTreeSet::new(), None);
        loop {
            let page = vault.list("contract-list/", after.as_deref()).await?;
            listed.extend(page.items.into_iter().map(|name| name.to_string()));
            after = page.next;
            if after.is_none() {
                return Ok(listed);
            }
        }
    };
    ledger.holds("list a prefix", listed().await, &BTreeSet::from(["contract-list/one", "contract-list/two"]));
    let readers = ["arn:aws:iam::123456789012:role/orders".to_owned()];
    ledger.holds("set readers", vault.set_readers(&names[0], &readers).await, &());
    ledger.holds("set them again", vault.set_readers(&names[0], &readers).await, &());
    ledger.holds("set none", vault.set_readers(&names[0], &[]).await, &());
    let foreign = vault.read_foreign("somebody/elses").await.map(|text| text.is_some());
    ledger.holds("read a foreign secret that is not there", foreign, &false);
    vault.schedule_deletion(&names[0], 7 * DAY).await.expect("scheduled");
    ledger.holds("list without what goes", listed().await, &BTreeSet::from(["contract-list/two"]));
}

fn name(text: &str) -> SecretName {
    SecretName::parse("name", text).expect("a secret's name")
}

/// As Secrets Manager wants ids of versions: 32 characters at least.
fn version(number: u8) -> VersionId {
    VersionId::parse("version", &format!("00000000-0000-4000-8000-{number:012}")).expect("a version's id")
}

fn document(byte: u8) -> SecretDocument {
    SecretDocument {
        client_id: None,
        client_secret: secret(byte),
        token_endpoint: "https://example.com/oauth2/token".to_owned(),
        issuer: "https://example.com".to_owned(),
        scopes: "orders/read".to_owned(),
    }
}

/// As the JSON that it is kept as, since `Debug` keeps the secret to itself.
fn shown(document: Option<SecretDocument>) -> Option<String> {
    document.map(|document| serde_json::to_string(&document).expect("JSON"))
}

/// The last digit of the version that each label is on: current, pending, previous; `-` for none.
fn places(labels: Option<Labels>) -> Option<String> {
    let digit =
        |version: Option<VersionId>| version.map_or('-', |version| version.as_str().chars().last().unwrap_or('-'));
    labels.map(|labels| [labels.current, labels.pending, labels.previous].map(digit).iter().collect())
}

fn on(current: u8, pending: Option<u8>, previous: Option<u8>) -> Option<String> {
    let digit = |number: Option<u8>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    Some([Some(current), pending, previous].map(digit).concat())
}
