//! A tenant's client by its own app client id and secret: HTTP Basic as OAuth 2.0 has it (RFC 6749, section 2.3.1; RFC 7617).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::form::unescaped;

/// The longest that is looked at, in characters. Ids and secrets of Cognito have below 128 each.
const MAX_CHARACTERS: usize = 4_096;

/// An id and a secret as they were given, neither of them empty; both are wiped when dropped.
pub struct Login {
    pub id: Zeroizing<String>,
    pub secret: Zeroizing<String>,
}

impl Login {
    /// What follows `Basic `. Both parts are form-encoded, but for a `+`, which may be written `%2B` and as it is. Libraries
    /// do either: some form-encode as RFC 6749 has it, some do nothing, as RFC 7617 has it and Cognito takes it. A space, which
    /// is what a `+` stands for in a form, is in no id and no secret, so nothing has two meanings.
    ///
    /// `None` for whatever is not an id and a secret, and for what is longer than 4,096 characters.
    pub fn read(credential: &str) -> Option<Self> {
        if credential.len() > MAX_CHARACTERS {
            return None;
        }
        let bytes = Zeroizing::new(STANDARD.decode(credential).ok()?);
        let colon = bytes.iter().position(|&byte| byte == b':')?;
        let (id, secret) = (unescaped(&bytes[..colon], b'+')?, unescaped(&bytes[colon + 1..], b'+')?);
        (!id.is_empty() && !secret.is_empty()).then_some(Login { id, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Option<(String, String)> {
        Login::read(&STANDARD.encode(text)).map(|login| (login.id.to_string(), login.secret.to_string()))
    }

    #[test]
    fn both_parts_are_form_decoded_after_they_are_split() {
        let is = |id: &str, secret: &str| Some((id.to_owned(), secret.to_owned()));
        assert_eq!(pair("1h57kf5cpq17m0eml12EXAMPLE:a_secret"), is("1h57kf5cpq17m0eml12EXAMPLE", "a_secret"));
        assert_eq!(pair("id:a%2Bb%3Ac"), is("id", "a+b:c"));
        assert_eq!(pair("id:a:b"), is("id", "a:b"));
        assert_eq!(pair("id:a+b"), is("id", "a+b"));
        for none in [
            "",
            "id",
            ":",
            "id:",
            ":secret",
            "id:%",
            "id:%2",
            "id:%2x",
            "id:%+1",
            "id:%ff",
            "id:\u{e4}",
            "id:a b",
            "id:a\n",
        ] {
            assert_eq!(pair(none), None, "{none}");
        }
        for not_base64 in ["", "aWQ6YQ", "aWQ6YQ=", "aWQ6YQ===", "aWQ6 YQ==", "aWQ-YQ==", "\u{e4}"] {
            assert!(Login::read(not_base64).is_none(), "{not_base64}");
        }
        assert!(Login::read(&STANDARD.encode(format!("id:{}", "a".repeat(4_096)))).is_none());
    }
}
