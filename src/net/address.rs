//! Where to listen, as it is written: `127.0.0.1:7443` or `unix:/run/keyward/keyward.sock`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The kernel takes paths of up to 107 bytes; a few are for the name under which a socket is made.
const MAX_PATH_BYTES: usize = 100;

/// A place to listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// Port 0 takes a free one.
    Tcp(SocketAddr),
    /// An absolute path.
    Unix(PathBuf),
}

impl Address {
    /// Whether only processes of this machine can connect.
    pub fn is_local(&self) -> bool {
        match self {
            Address::Tcp(address) => address.ip().is_loopback(),
            Address::Unix(_) => true,
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') && path.len() <= MAX_PATH_BYTES && !path.ends_with('/') => {
                Ok(Address::Unix(PathBuf::from(path)))
            }
            Some(_) => Err("must have an absolute path of at most 100 bytes after unix:"),
            None => text.parse().map(Address::Tcp).map_err(
                |_| "must be an IP address with a port, such as 127.0.0.1:7443, or unix: with an absolute path",
            ),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "{address}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["127.0.0.1:7443", "[::1]:0", "0.0.0.0:443", "unix:/run/keyward/keyward.sock"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        let long = format!("unix:/{}", "x".repeat(100));
        for bad in ["", "7443", "localhost:7443", "unix:", "unix:relative", "unix:/folder/", "UNIX:/x", &long] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn loopback_and_unix_sockets_are_local() {
        let local = |text: &str| text.parse::<Address>().expect(text).is_local();
        assert!(local("127.9.9.9:1") && local("[::1]:1") && local("unix:/x"));
        assert!(!local("0.0.0.0:1") && !local("[::]:1") && !local("192.0.2.1:1"));
    }
}
