//! Pages of lists, and the tokens that lead from one to the next.
//!
//! A token holds where the next page starts, and a digest over that, the method and every other field of the request:
//! with another query, or changed or cut, it is refused. It holds nothing that the list itself did not show, so it is
//! not sealed.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::broker::api::Page;
use crate::domain::error::{Error, Reason, Result};
use crate::grpc::requests::Asked;
use crate::proto;

const DEFAULT_SIZE: usize = 50;
const MAX_SIZE: usize = 1000;
/// The form of the token: raised whenever that changes.
const VERSION: u8 = 2;
const DIGEST_BYTES: usize = 8;
/// The longest token that is looked at. Keys are names of resources, the longest an encoded identifier of 256
/// characters.
const MAX_TOKEN: usize = 2048;

/// A request for one page of a list.
pub trait Paged: Asked {
    /// Takes `page_size` and `page_token` out; what is left is the query.
    fn take_page(&mut self) -> (i32, String);
}

macro_rules! paged {
    ($($request:ident),*) => {
        $(impl Paged for proto::$request {
            fn take_page(&mut self) -> (i32, String) {
                (std::mem::take(&mut self.page_size), std::mem::take(&mut self.page_token))
            }
        })*
    };
}

paged!(
    ListTenantsRequest,
    ListClientsRequest,
    ListRotationsRequest,
    ListResourceServersRequest,
    ListPoolsRequest,
    ListAuditEventsRequest
);

/// What a page token is bound to.
#[derive(Clone, Debug)]
pub struct Query(Vec<u8>);

impl Query {
    fn of<M: Paged>(without_page: &M) -> Self {
        let mut text = M::METHOD.as_bytes().to_vec();
        text.push(0);
        text.extend(without_page.encode_to_vec());
        Query(digest(&SHA256, &text).as_ref().to_vec())
    }

    /// The token of the page that starts after `next`; empty when there is none.
    pub fn token(&self, next: Option<String>) -> String {
        let Some(after) = next else { return String::new() };
        let mut bytes = vec![VERSION];
        bytes.extend(self.digest_with(after.as_bytes()));
        bytes.extend(after.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn digest_with(&self, after: &[u8]) -> Vec<u8> {
        let whole = digest(&SHA256, &[&self.0, after].concat());
        whole.as_ref().iter().copied().take(DIGEST_BYTES).collect()
    }

    fn read(&self, token: &str) -> Option<String> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (given, after) = bytes.strip_prefix(&[VERSION])?.split_at_checked(DIGEST_BYTES)?;
        if after.is_empty() || given != self.digest_with(after) {
            return None;
        }
        String::from_utf8(after.to_vec()).ok()
    }
}

/// The page that is asked for, and what makes the token of the next one. Leaves the page's own fields empty.
pub fn page<M: Paged>(message: &mut M) -> Result<(Page, Query)> {
    let (size, token) = message.take_page();
    let size = match usize::try_from(size) {
        Ok(0) => DEFAULT_SIZE,
        Ok(size) => size.min(MAX_SIZE),
        Err(_) => return Err(Error::invalid("page_size", "must not be negative")),
    };
    let query = Query::of(message);
    let after = match token.as_str() {
        "" => None,
        token => Some(query.read(token).ok_or_else(|| {
            let rule = "is not the next_page_token of a page of this query";
            Error::invalid_because(Reason::PageTokenInvalid, "page_token", rule)
        })?),
    };
    Ok((Page { after, size }, query))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ListClientsRequest, ListRotationsRequest};

    fn clients(parent: &str, page_size: i32, page_token: &str) -> ListClientsRequest {
        ListClientsRequest { parent: parent.into(), page_size, page_token: page_token.into() }
    }

    #[test]
    fn a_size_is_given_bounded_or_the_default() {
        let size = |size| page(&mut clients("tenants/acme", size, "")).map(|(page, _)| page.size);
        assert_eq!(size(0).expect("valid"), 50);
        assert_eq!(size(7).expect("valid"), 7);
        assert_eq!(size(i32::MAX).expect("valid"), 1000);
        assert_eq!(size(-1).expect_err("negative").fields()[0].field, "page_size");
    }

    #[test]
    fn a_token_leads_on_where_the_page_ended() {
        let (first, query) = page(&mut clients("tenants/acme", 10, "")).expect("valid");
        assert_eq!(first.after, None);
        let token = query.token(Some("tenants/acme/clients/orders".into()));
        let (second, _) = page(&mut clients("tenants/acme", 20, &token)).expect("valid");
        assert_eq!(second.after.as_deref(), Some("tenants/acme/clients/orders"));
        assert_eq!(query.token(None), "");
    }

    #[test]
    fn a_token_fits_no_other_query() {
        let (_, query) = page(&mut clients("tenants/acme", 0, "")).expect("valid");
        let token = query.token(Some("x".into()));
        let mut rotations =
            ListRotationsRequest { parent: "tenants/acme".into(), page_token: token.clone(), ..Default::default() };
        assert_eq!(page(&mut rotations).expect_err("other method").reason(), Reason::PageTokenInvalid);
        let error = page(&mut clients("tenants/globex", 0, &token)).expect_err("other filter");
        assert_eq!(error.reason(), Reason::PageTokenInvalid);
        assert_eq!(error.fields()[0].field, "page_token");
    }

    #[test]
    fn no_garbage_is_a_token() {
        let (_, query) = page(&mut clients("tenants/acme", 0, "")).expect("valid");
        let good = query.token(Some("key".into()));
        let empty = query.token(Some(String::new()));
        let padded = format!("{good}=");
        let mut other_version = URL_SAFE_NO_PAD.decode(&good).expect("base64");
        other_version[0] = 1;
        let other_version = URL_SAFE_NO_PAD.encode(other_version);
        let long = "A".repeat(1 << 17);
        for bad in ["x", "====", "ÄÖÜ", &good[1..], &empty, &padded, &other_version, &long, "AQ"] {
            let error = page(&mut clients("tenants/acme", 0, bad)).expect_err(bad);
            assert_eq!(error.reason(), Reason::PageTokenInvalid);
        }
    }
}
