//! A tenant's client by its own app client id and secret: HTTP Basic as OAuth 2.0 has it (RFC 6749, section 2.3.1; RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// The longest that is looked at, in characters. Ids and secrets of Cognito have below 128 each.
const MAX_CHARACTERS: usize = 4_096;

/// An id and a secret as they were given; both are wiped when dropped.
pub(super) struct Login {
    pub id: Zeroizing<String>,
    pub secret: Zeroizing<String>,
}

/// What follows `Basic `. Both parts are form-encoded, so a `+` that is meant must be written `%2B`.
///
/// `None` for whatever is not an id and a secret.
pub(super) fn read(credential: &str) -> Option<Login> {
    if credential.len() > MAX_CHARACTERS {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(credential).ok()?);
    let text = std::str::from_utf8(&bytes).ok()?;
    let (id, secret) = text.split_once(':')?;
    let (id, secret) = (form_decoded(id)?, form_decoded(secret)?);
    (!id.is_empty() && !secret.is_empty()).then_some(Login { id, secret })
}

/// One value of `application/x-www-form-urlencoded`. `None` for a broken escape, and for what is not UTF-8.
fn form_decoded(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                super::presigned::hex_byte(digits)?
            }
            byte => byte,
        });
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Option<(String, String)> {
        read(&STANDARD.encode(text)).map(|login| (login.id.to_string(), login.secret.to_string()))
    }

    #[test]
    fn both_parts_are_form_decoded_after_they_are_split() {
        let is = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(pair("1h57kf5cpq17m0eml12EXAMPLE:a_secret"), is("1h57kf5cpq17m0eml12EXAMPLE", "a_secret"));
        assert_eq!(pair("id:a%2Bb%3Ac"), is("id", "a+b:c"));
        assert_eq!(pair("id:a:b"), is("id", "a:b"));
        assert_eq!(pair("id:a+b"), is("id", "a b"));
        for none in ["", "id", ":", "id:", ":secret", "id:%", "id:%2", "id:%2x", "id:%+1", "id:%ff"] {
            assert_eq!(pair(none), None, "{none}");
        }
        for not_base64 in ["", "aWQ6YQ", "aWQ6YQ=", "aWQ6YQ===", "aWQ6 YQ==", "aWQ-YQ==", "\u{e4}"] {
            assert!(read(not_base64).is_none(), "{not_base64}");
        }
        assert!(read(&STANDARD.encode(format!("id:{}", "a".repeat(4_096)))).is_none());
    }
}
