//! HTTP to others: clients that follow nobody, and bodies that end.
//!
//! No redirects, no proxy from the environment, no cookies, no `Referer`; connections kept and reused, HTTP/2 where it is
//! offered.

use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, Response};
use zeroize::Zeroizing;

/// Idle connections of one host.
const MAX_IDLE: usize = 32;
const IDLE: Duration = Duration::from_secs(60);

/// `call_timeout` is for a whole exchange, the reading of its answer included.
pub fn client(connect_timeout: Duration, call_timeout: Duration) -> ClientBuilder {
    ClientBuilder::new()
        .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .connect_timeout(connect_timeout)
        .timeout(call_timeout)
        .pool_max_idle_per_host(MAX_IDLE)
        .pool_idle_timeout(IDLE)
}

/// Why a body was not read.
#[derive(Debug)]
pub enum BodyError {
    /// It is, or says that it is, longer than allowed.
    TooLarge,
    Broken(reqwest::Error),
}

/// The body, wiped when dropped. A larger one than `limit` is not read to its end.
pub async fn body(mut response: Response, limit: usize) -> Result<Zeroizing<Vec<u8>>, BodyError> {
    let said = response.content_length().and_then(|length| usize::try_from(length).ok());
    if said.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge);
    }
    // As large as it can become, since a buffer that grows leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(said.unwrap_or(limit)));
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Broken)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error and all under it, in one line. reqwest's own words name the URL, never a header or a body.
pub fn words(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// One whose redirect were followed would be asked twice, and answers once.
    #[tokio::test]
    async fn nobody_is_followed() {
        for status in [301, 302, 303, 307, 308] {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: http://{address}/\r\ncontent-length: 0\r\n\r\n");
            let served = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let mut asked = [0; 1_024];
                let read = stream.read(&mut asked).await.expect("a request");
                assert!(read > 0);
                stream.write_all(answer.as_bytes()).await.expect("written");
                stream
            };
            let client = client(Duration::from_secs(5), Duration::from_secs(5)).build().expect("a client");
            let (response, _stream) = tokio::join!(client.get(format!("http://{address}/")).send(), served);
            assert_eq!(response.expect("the redirect itself").status(), status);
        }
    }
}
