//! A JWT taken apart (RFC 7515, section 7.1; RFC 7519), before anything in it is believed.
//!
//! Which algorithm and which key a token may have is for whoever knows the issuer to say; never for the token. What a
//! token would choose its own key or rules by is only noticed here: `crit`, `jku`, `jwk`, `x5u`, `x5c` (RFC 7515, section
//! 4.1; RFC 8725, section 3.10).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The longest token that is looked at, in bytes. Cognito's and Kubernetes' are about 1,000.
pub const MAX_TOKEN_BYTES: usize = 16_384;

/// Header parameters by which a token would choose its own key or rules. `x5t` only names a key, and is not looked at.
const CHOOSING: [&str; 5] = ["crit", "jku", "jwk", "x5u", "x5c"];

/// A token taken apart; nothing of it is believed yet.
pub struct Jws<'a> {
    pub alg: String,
    pub kid: Option<String>,
    pub typ: Option<String>,
    /// Whether the header would choose the token's own key or rules.
    pub chooses: bool,
    /// A JSON object whose names are distinct.
    pub payload: Vec<u8>,
    /// Header and payload as they were signed.
    pub signed: &'a str,
    /// Base64url, without padding.
    pub signature: &'a str,
    /// The same, decoded.
    pub signature_bytes: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
}

impl<'a> Jws<'a> {
    /// Fails with what keeps `token` from being a JWT.
    pub fn read(token: &'a str) -> Result<Self, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("it is longer than 16,384 bytes");
        }
        let (signed, signature) = token.rsplit_once('.').ok_or("it has no dots")?;
        let (header, payload) = signed.split_once('.').ok_or("it has fewer than three parts")?;
        if payload.contains('.') {
            return Err("it has more than three parts");
        }
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| "its header is not base64url")?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "its payload is not base64url")?;
        let signature_bytes = URL_SAFE_NO_PAD.decode(signature).map_err(|_| "its signature is not base64url")?;
        let names = members(&header).ok_or("its header is not an object of distinct names")?;
        let chooses = CHOOSING.iter().any(|parameter| names.iter().any(|Name(name)| name == parameter));
        let header: Header =
            serde_json::from_slice(&header).map_err(|_| "its header has no alg, or one of a wrong type")?;
        members(&payload).ok_or("its payload is not an object of distinct names")?;
        let kid = header.kid.filter(|kid| (1..=256).contains(&kid.len()));
        Ok(Jws { alg: header.alg, kid, typ: header.typ, chooses, payload, signed, signature, signature_bytes })
    }
}

/// The names in a JSON object, sorted; `None` if it is not one, names something twice (RFC 7515, section 4; RFC 7519, section 4), or is
/// not UTF-8 (RFC 7519, section 7.2), also where nobody reads it: a text that is passed over is not looked at otherwise.
fn members(json: &[u8]) -> Option<Vec<Name<'_>>> {
    let text = std::str::from_utf8(json).ok()?;
    let Names(mut names) = serde_json::from_str::<Names<'_>>(text).ok()?;
    names.sort_unstable();
    let is_distinct = names.windows(2).all(|pair| pair[0] != pair[1]);
    is_distinct.then_some(names)
}

/// A name in a JSON object. Copied only where it is written with escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The names in a JSON object, as they come.
struct Names<'a>(Vec<Name<'a>>);

impl<'de> Deserialize<'de> for Names<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Names<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names<'de>, A::Error> {
                let mut names = Vec::new();
                while let Some((name, IgnoredAny)) = map.next_entry()? {
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(header: &[u8], payload: &[u8]) -> Result<(), &'static str> {
        let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        Jws::read(&token).map(|_| ())
    }

    #[test]
    fn both_parts_are_utf8_also_where_nobody_reads_them() {
        let header = br#"{"alg":"RS256"}"#;
        assert_eq!(read(header, "{\"name\":\"\u{e4}\"}".as_bytes()), Ok(()));
        let problem = Err("its payload is not an object of distinct names");
        assert_eq!(read(header, b"{\"name\":\"\xff\"}"), problem);
        assert_eq!(read(header, b"{\"name\":[\"\xc3\"]}"), problem);
        let problem = Err("its header is not an object of distinct names");
        assert_eq!(read(b"{\"alg\":\"RS256\",\"other\":\"\xff\"}", b"{}"), problem);
    }
}
