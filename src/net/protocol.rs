//! Which HTTP is spoken on the connections that somebody serves: one of the two, agreed on before the first word.

/// ALPN's names (RFC 9113, section 3.2; RFC 7301, section 6).
const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// For gRPC.
    Http2,
    /// For what is plain HTTP: libraries for OAuth 2.0 speak nothing else, or this too.
    Http1,
}

impl Protocol {
    /// What ALPN calls it.
    pub(super) fn name(self) -> &'static [u8] {
        match self {
            Protocol::Http2 => HTTP_2,
            Protocol::Http1 => HTTP_1_1,
        }
    }

    /// Whether that is what a handshake came to. Who does not know ALPN speaks HTTP/1.1.
    pub(super) fn is_agreed_on(self, alpn: Option<&[u8]>) -> bool {
        match alpn {
            Some(name) => name == self.name(),
            None => self == Protocol::Http1,
        }
    }
}
