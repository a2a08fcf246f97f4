//! Provisioning, and that what it makes does start.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::provision::provision;
use super::{Peer, service_model};

#[tokio::test]
async fn both_emulators_start_at_one_time_on_ports_of_their_own() {
    let (ministack, moto) = tokio::join!(Peer::ministack(), Peer::moto());
    assert_ne!(ministack.endpoint, moto.endpoint);
}

#[tokio::test]
async fn an_emulator_ends_when_it_is_dropped() {
    let peer = Peer::ministack().await;
    let endpoint = peer.endpoint.clone();
    drop(peer);
    let http = reqwest::Client::builder().no_proxy().build().expect("an HTTP client");
    assert!(http.get(endpoint).send().await.expect_err("nobody there").is_connect());
}

#[test]
fn the_service_models_know_what_the_design_rests_on() {
    let cognito = service_model("cognito-idp");
    for operation in
        ["AddUserPoolClientSecret", "ListUserPoolClientSecrets", "DeleteUserPoolClientSecret", "GetClientToken"]
    {
        assert!(cognito["operations"][operation].is_object(), "{operation}");
    }
    assert_eq!(cognito["shapes"]["ClientSecretType"]["pattern"], r"[\w+]+");
    assert!(service_model("secretsmanager")["operations"]["UpdateSecretVersionStage"].is_object());
}

#[test]
fn what_many_want_at_one_time_is_made_once_and_again_only_for_another_wish() {
    let name = format!("test-{}", std::process::id());
    let made = AtomicUsize::new(0);
    let want = |wish: &str| {
        let folder = provision(&name, wish, |folder| {
            made.fetch_add(1, Ordering::SeqCst);
            fs::write(folder.join("content"), wish).expect("written");
        });
        assert_eq!(fs::read_to_string(folder.join("content")).expect("there"), wish);
        folder
    };
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| want("one"));
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    let folder = want("two");
    assert_eq!(made.load(Ordering::SeqCst), 2);
    fs::remove_file(folder.join("complete")).expect("there");
    want("two");
    assert_eq!(made.load(Ordering::SeqCst), 3, "a folder that is not whole is made again");
    fs::remove_dir_all(&folder).expect("removed");
    fs::remove_file(folder.with_extension("lock")).expect("removed");
}
