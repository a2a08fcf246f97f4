//! Forms of OAuth 2.0: `application/x-www-form-urlencoded` as RFC 6749, appendix B, has it, which is UTF-8 behind the escapes.
//!
//! Libraries for forms take whatever they are given: a broken escape stays as it is, bytes that are no UTF-8 become
//! replacement characters, and of a name that is there twice each program takes the one it likes. Here a text has one meaning
//! or none. Everything that comes out is wiped when dropped, since it may be a secret.

use std::fmt;

use zeroize::Zeroizing;

/// One value without its escapes; `+` is what `plus` says. `None` for a broken escape, for what is not UTF-8 behind the escapes, and
/// for a character that a form must escape: one that is not printable ASCII.
pub(super) fn unescaped(text: &[u8], plus: u8) -> Option<Zeroizing<String>> {
    // As long as it can become, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match first {
            b'+' => plus,
            b'%' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                hex_byte(digits)?
            }
            byte => Some(byte).filter(u8::is_ascii_graphic)?,
        });
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Two hexadecimal digits.
pub(super) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = *digits else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(high)? * 16 + digit(low)?)
}

/// The body of a request to a token endpoint, or to one that introspects, taken apart (RFC 6749, sections 3.2 and 4.4.2; RFC
/// 7662, section 2.1). Whoever speaks OAuth 2.0 knows what the parameters mean.
pub struct Form(Vec<(Zeroizing<String>, Zeroizing<String>)>);

impl Form {
    /// The longest body that is looked at, in bytes: twice the longest token. Whoever reads it from a connection stops there.
    pub const MAX_BYTES: usize = 32_768;

    /// The most parameters, known and unknown. OAuth 2.0 and its extensions have about ten for one request.
    pub const MAX_PARAMETERS: usize = 32;

    /// Takes a body apart. An empty one is a form without parameters.
    ///
    /// Fails with what is wrong with it, in words that hold nothing of it. It is wrong where a name is there twice (RFC 6749,
    /// section 3.2), known or not, with a value or without.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        if body.len() > Form::MAX_BYTES {
            return Err("it is longer than 32,768 bytes");
        }
        let mut parameters: Vec<(Zeroizing<String>, Zeroizing<String>)> = Vec::new();
        if body.is_empty() {
            return Ok(Form(parameters));
        }
        for parameter in body.split(|&byte| byte == b'&') {
            if parameters.len() == Form::MAX_PARAMETERS {
                return Err("it has more than 32 parameters");
            }
            let end = parameter.iter().position(|&byte| byte == b'=').unwrap_or(parameter.len());
            let (name, value) = parameter.split_at(end);
            let value = value.strip_prefix(b"=").unwrap_or_default();
            const NOT_ESCAPED: &str = "a parameter is not escaped as it must be, or is not UTF-8";
            let (name, value) = (unescaped(name, b' ').ok_or(NOT_ESCAPED)?, unescaped(value, b' ').ok_or(NOT_ESCAPED)?);
            if name.is_empty() {
                return Err("a parameter has no name");
            }
            if parameters.iter().any(|(known, _)| *known == name) {
                return Err("it has a parameter twice");
            }
            parameters.push((name, value));
        }
        Ok(Form(parameters))
    }

    /// The value of a parameter. `None` where it is not there or has no value, which is the same (RFC 6749, section 3.2).
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known.as_str() == name)?;
        Some(value.as_str()).filter(|value| !value.is_empty())
    }

    /// The names of the parameters that have a value, in the order of the body.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str())
    }
}

/// Values may be secrets, and of names nobody knows what they are.
impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("parameters", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(body: &str) -> Result<Vec<(String, String)>, &'static str> {
        let form = Form::read(body.as_bytes())?;
        Ok(form.names().map(|name| (name.to_owned(), form.get(name).unwrap_or_default().to_owned())).collect())
    }

    fn are(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, &'static str> {
        Ok(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_form_is_its_parameters_without_escapes() {
        assert_eq!(
            pairs("grant_type=client_credentials&scope=invoices%2Fread+invoices/write"),
            are(&[("grant_type", "client_credentials"), ("scope", "invoices/read invoices/write")])
        );
        // RFC 6749, appendix B.
        assert_eq!(pairs("a=+%25%26%2B%C2%A3%E2%82%AC"), are(&[("a", " %&+\u{a3}\u{20ac}")]));
        assert_eq!(pairs("a=b=c=="), are(&[("a", "b=c==")]));
        assert_eq!(pairs("%61=b"), are(&[("a", "b")]));
        assert_eq!(pairs("a=%00%0d%0A"), are(&[("a", "\0\r\n")]));
        assert_eq!(pairs(""), are(&[]));
    }

    #[test]
    fn a_parameter_without_a_value_is_as_if_it_were_not_there() {
        assert_eq!(pairs("scope=&a=b&client_id"), are(&[("a", "b")]));
    }

    #[test]
    fn a_form_has_one_meaning_or_none() {
        for twice in ["a=1&a=2", "a=1&a=1", "a=1&%61=1", "a=&a=1", "a&a", "a=1&b=2&a="] {
            assert_eq!(pairs(twice), Err("it has a parameter twice"), "{twice}");
        }
        for nameless in ["&", "=", "=a", "a=1&", "&a=1", "a=1&&b=2"] {
            assert_eq!(pairs(nameless), Err("a parameter has no name"), "{nameless}");
        }
        let broken =
            "a=%|a=%2|a=%2x|a=%+1|a=%%41|a=%ff|a=%C2|a=%C2&b=%A3|%=a|a=b c|a=b\n|a=\0|a=\u{e4}|a=%ED%A0%80|a=%C0%80";
        for broken in broken.split('|') {
            let problem = "a parameter is not escaped as it must be, or is not UTF-8";
            assert_eq!(pairs(broken), Err(problem), "{broken}");
        }
    }

    #[test]
    fn a_form_has_limits() {
        let many = |count: usize| (0..count).map(|at| format!("p{at}=1")).collect::<Vec<_>>().join("&");
        assert_eq!(pairs(&many(32)).map(|pairs| pairs.len()), Ok(32));
        assert_eq!(pairs(&many(33)), Err("it has more than 32 parameters"));
        let long = |length: usize| format!("a={}", "b".repeat(length - 2));
        assert!(pairs(&long(32_768)).is_ok());
        assert_eq!(pairs(&long(32_769)), Err("it is longer than 32,768 bytes"));
    }

    #[test]
    fn a_form_is_never_printed() {
        let form = Form::read(b"client_secret=classified&classified=1").expect("a form");
        assert!(!format!("{form:?}").contains("classified"));
    }
}
