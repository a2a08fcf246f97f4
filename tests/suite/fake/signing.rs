//! AWS Signature Version 4, from the side of the one who checks it.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use super::http::Asked;
use super::world::ApiError;

pub const ACCESS_KEY_ID: &str = "an-access-key-id-of-tests";
pub const SECRET_ACCESS_KEY: &str = "fake/secret/access/key/fake/secret/access/";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Checks the signature for the service that is signed for by the name `service`; answers with the Region that it is for. A
/// request without one is refused.
pub fn check(asked: &Asked, service: &str) -> Result<String, ApiError> {
    let incomplete = |rule: &str| ApiError::new("IncompleteSignatureException", rule);
    let authorization = asked.header("authorization");
    if authorization.is_empty() {
        return Err(ApiError::new("MissingAuthenticationTokenException", "Missing Authentication Token"));
    }
    let fields = authorization.strip_prefix(ALGORITHM).ok_or_else(|| incomplete("another algorithm"))?;
    let field = |name: &str| {
        let found = fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| incomplete(name))
    };
    let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);

    let [key_id, date, region, name, "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..] else {
        return Err(incomplete("Credential is not a scope"));
    };
    if key_id != ACCESS_KEY_ID {
        let text = "The security token included in the request is invalid.";
        return Err(ApiError::new("UnrecognizedClientException", text));
    }
    if name != service {
        let text = format!("Credential should be scoped to correct service: '{service}'.");
        return Err(ApiError::new("InvalidSignatureException", text));
    }
    if !is_region(region) {
        return Err(ApiError::new("InvalidSignatureException", "Credential should be scoped to a valid region."));
    }
    let time = asked.header("x-amz-date");
    if time.len() != 16 || !time.starts_with(date) || date.len() != 8 {
        return Err(incomplete("x-amz-date is not of the scope's day"));
    }
    let names: Vec<_> = signed.split(';').collect();
    for required in ["host", "x-amz-date", "x-amz-target"] {
        if !names.contains(&required) {
            return Err(ApiError::new("InvalidSignatureException", format!("'{required}' must be a 'SignedHeader'")));
        }
    }
    if !names.is_sorted() {
        return Err(incomplete("SignedHeaders is not sorted"));
    }

    let spaced = |name: &str| asked.header(name).split_whitespace().collect::<Vec<_>>().join(" ");
    let headers: String = names.iter().map(|name| format!("{name}:{}\n", spaced(name))).collect();
    let body = hex::encode(digest(&SHA256, &asked.body));
    let request = format!("{}\n{}\n{}\n{headers}\n{signed}\n{body}", asked.method, asked.path, asked.query);
    let scope = format!("{date}/{region}/{name}/aws4_request");
    let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", hex::encode(digest(&SHA256, request.as_bytes())));
    let steps = [date, region, name, "aws4_request", &text];
    let first = format!("AWS4{SECRET_ACCESS_KEY}").into_bytes();
    let expected = steps.iter().fold(first, |key, step| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), step.as_bytes()).as_ref().to_vec()
    });
    if verify_slices_are_equal(hex::encode(expected).as_bytes(), signature.as_bytes()).is_err() {
        let text = "The request signature we calculated does not match the signature you provided.";
        return Err(ApiError::new("InvalidSignatureException", text));
    }
    Ok(region.to_owned())
}

/// `eu-central-1`: words of lower-case letters and a number at the end.
fn is_region(region: &str) -> bool {
    let mut parts: Vec<_> = region.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let is_word = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    parts.len() >= 2 && parts.iter().all(is_word) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}
