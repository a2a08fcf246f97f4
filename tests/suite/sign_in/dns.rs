//! Asking DNS by itself: what is there, what is not, and what nobody can tell.

use std::time::Duration;

use keyward::broker::ports::{DomainProofs as _, Fault};
use keyward::dns::{Dns, Options};

use crate::peers::NameServer;

const NAME: &str = "_keyward.acme.example";
const VALUE: &str = "keyward=0123456789abcdef";
/// A machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

fn asking(names: &NameServer, timeout: Duration) -> Dns {
    Dns::new(Options { resolvers: vec![names.address().parse().expect("an address")], timeout })
}

#[tokio::test]
async fn a_text_is_there_or_it_is_not() {
    let names = NameServer::start().await;
    let dns = asking(&names, PATIENCE);
    let text = |text: &str| format!("{NAME}. 60 IN TXT \"{text}\"\n");
    let elsewhere = |text: &str| format!("{NAME}. 60 IN CNAME proof.example.\nproof.example. 60 IN TXT \"{text}\"\n");
    for (zone, is_there) in [
        (text(VALUE), true),
        (text("v=spf1 -all") + &text(VALUE), true),
        (format!("{NAME}. 60 IN TXT \"{}\" \"{}\"\n", &VALUE[..9], &VALUE[9..]), true),
        (elsewhere(VALUE), true),
        (elsewhere("another"), false),
        (format!("{NAME}. 60 IN CNAME nothing.example.\n"), false),
        (format!("{NAME}. 60 IN A 127.0.0.1\n"), false),
        (text(&format!("{VALUE}0")), false),
        (text(&format!("0{VALUE}")), false),
        (text(&VALUE[1..]), false),
        (text(&VALUE[..9]), false),
        (format!("{NAME}. 60 IN TXT \"{VALUE}\" \"x\"\n"), false),
        (text(&VALUE.to_uppercase()), false),
        (format!("acme.example. 60 IN TXT \"{VALUE}\"\nx.{NAME}. 60 IN TXT \"{VALUE}\"\n"), false),
        (String::new(), false),
    ] {
        names.knows(&zone);
        assert_eq!(dns.has_txt(NAME, VALUE).await.expect("answered"), is_there, "{zone}");
    }
}

#[tokio::test]
async fn where_nobody_can_tell_that_is_said() {
    let names = NameServer::start().await;
    let (dns, impatient) = (asking(&names, PATIENCE), asking(&names, Duration::from_millis(300)));
    let zone = format!("{NAME}. 60 IN TXT \"{VALUE}\"\n");
    names.knows(&zone);
    assert!(dns.has_txt(NAME, VALUE).await.expect("answered"));
    names.fails();
    assert_eq!(dns.has_txt(NAME, VALUE).await.map_err(|error| error.fault), Err(Fault::Unavailable));
    names.is_silent();
    assert_eq!(impatient.has_txt(NAME, VALUE).await.map_err(|error| error.fault), Err(Fault::Unavailable));
    let too_long = format!("{}.example", "a".repeat(64));
    let error = dns.has_txt(&too_long, VALUE).await.expect_err("no name");
    assert_eq!(error.fault, Fault::Unavailable);
    names.knows(&zone);
    assert!(dns.has_txt(NAME, VALUE).await.expect("answered"));
}
