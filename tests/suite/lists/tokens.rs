//! Page tokens: each leads on in its own query, and nowhere else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward::proto;

use super::{ALL, List, daemon_with};
use crate::harness::{Daemon, assert_invalid};

async fn token(list: List, daemon: &Daemon) -> String {
    let (_, token) = list.page(daemon, 1, "").await.expect("a page");
    assert!(!token.is_empty(), "{list:?} has a second page");
    token
}

#[tokio::test]
async fn a_token_is_of_no_use_to_another_method_or_parent() {
    let daemon = daemon_with(2).await;
    for one in ALL {
        let token = token(one, &daemon).await;
        for other in ALL.into_iter().filter(|other| *other != one) {
            assert_invalid(other.page(&daemon, 1, &token).await, "PAGE_TOKEN_INVALID", "page_token");
        }
        one.page(&daemon, 7, &token).await.expect("another size is no other query");
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_is_of_no_use_with_another_filter() {
    let daemon = daemon_with(2).await;
    let page_token = token(List::Tenants, &daemon).await;
    let state = proto::TenantState::Active.into();
    let request = proto::ListTenantsRequest { state, page_token, ..Default::default() };
    assert_invalid(daemon.tenants().list_tenants(request).await, "PAGE_TOKEN_INVALID", "page_token");
    let page_token = token(List::Pools, &daemon).await;
    let request = proto::ListPoolsRequest { region: "local".to_owned(), page_token, ..Default::default() };
    assert_invalid(daemon.catalog().list_pools(request).await, "PAGE_TOKEN_INVALID", "page_token");
    let page_token = token(List::Events, &daemon).await;
    let filter = Some(proto::AuditEventFilter { principal: "operator:dev".to_owned(), ..Default::default() });
    let request = proto::ListAuditEventsRequest { page_token, filter, ..Default::default() };
    assert_invalid(daemon.audit().list_audit_events(request).await, "PAGE_TOKEN_INVALID", "page_token");
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_that_was_cut_or_changed_is_refused() {
    let daemon = daemon_with(2).await;
    for list in ALL {
        let good = token(list, &daemon).await;
        for length in 1..good.len() {
            assert_invalid(list.page(&daemon, 1, &good[..length]).await, "PAGE_TOKEN_INVALID", "page_token");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&good).expect("base64url");
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let flipped = URL_SAFE_NO_PAD.encode(flipped);
            assert_invalid(list.page(&daemon, 1, &flipped).await, "PAGE_TOKEN_INVALID", "page_token");
        }
        for garbage in ["x", "=", "äöü", "AAAAAAAAAAAA", &"A".repeat(100_000)] {
            assert_invalid(list.page(&daemon, 1, garbage).await, "PAGE_TOKEN_INVALID", "page_token");
        }
    }
    daemon.stop().await;
}

#[tokio::test]
async fn a_token_is_good_after_a_restart() {
    let daemon = daemon_with(2).await;
    let mut tokens = Vec::new();
    for list in ALL {
        tokens.push((list, token(list, &daemon).await));
    }
    let daemon = daemon.restart().await;
    for (list, token) in tokens {
        let (page, _) = list.page(&daemon, 1, &token).await.expect("the next page");
        assert_eq!(page.len(), 1, "{list:?}");
    }
    daemon.stop().await;
}
