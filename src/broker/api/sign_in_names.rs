//! Names as people write them, brought into the one form in which they are claimed and looked for.

use std::borrow::Cow;

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};

/// The ASCII form of a host name or of a domain of email addresses: lower case, internationalised labels as `xn--…` (UTS 46,
/// as browsers do it; letters, digits and hyphens alone). `None` for what is no name. A dot at the end is left out.
pub fn ascii_name(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    // Nothing that DNS could hold is as long, and none of it is looked at.
    if text.len() > 1_024 {
        return None;
    }
    let name = Uts46::new().to_ascii(text.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify);
    name.ok().map(Cow::into_owned)
}

/// The domain of an email address, or one that stands alone, in its ASCII form. Nothing before the last `@` is looked at.
pub fn email_domain(text: &str) -> Option<String> {
    ascii_name(text.rsplit_once('@').map_or(text, |(_, domain)| domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form_however_it_is_written() {
        for (written, name) in [
            ("example.com", "example.com"),
            ("EXAMPLE.Com.", "example.com"),
            ("B\u{fc}cher.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            // The full-width letters and the ideographic full stop of an input method.
            ("\u{ff45}xample\u{3002}com", "example.com"),
            ("r3---sn-x.example", "r3---sn-x.example"),
        ] {
            assert_eq!(ascii_name(written).as_deref(), Some(name), "{written}");
        }
    }

    #[test]
    fn what_is_no_name_has_none() {
        let (label, long) = ("a".repeat(64), format!("{}com", "a.".repeat(126)));
        let bad = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b.example",
            "a_b.example",
            "-a.example",
            "a:443",
            "[::1]",
            "a/b",
            "a@b",
            "xn--a.example",
        ];
        for bad in
            bad.into_iter().chain([label.as_str(), &long, &"a".repeat(2_000), "a\0.example", "\u{202e}a.example"])
        {
            assert_eq!(ascii_name(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn of_an_address_only_what_follows_the_last_at_counts() {
        for (written, domain) in [
            ("ann@Example.com", Some("example.com")),
            ("\"ann@home\"@example.com", Some("example.com")),
            ("example.com", Some("example.com")),
            ("@example.com", Some("example.com")),
            ("ann@", None),
            ("ann@exa mple.com", None),
        ] {
            assert_eq!(email_domain(written).as_deref(), domain, "{written}");
        }
    }
}
