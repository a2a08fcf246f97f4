//! Asks DNS for the TXT records that prove claims to names, by hickory: the port [`DomainProofs`].
//!
//! Each question is asked anew, of resolvers as they are configured at that moment; nothing of an answer is remembered. Names
//! are asked for as they are, never below a search domain, and CNAMEs are followed, so that whoever has a name may leave its
//! record to somebody else (as for certificates: RFC 8555, section 8.4, with RFC 1034, section 3.6.2).
//!
//! It must never take an answer for another name's, nor a part of a text for the text. It believes what the resolver says:
//! whether that checks DNSSEC is for whoever runs it. It fails with [`Fault::Unavailable`] where nobody answers in time, or with
//! something else than records or their absence. A message of DNS has at most 64 KiB, which bounds what is looked at.

use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hickory_resolver::config::{NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::ProtoError;
use hickory_resolver::proto::rr::{Name, RData};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Resolver, TokioResolver};
use tokio::time::timeout;

use crate::broker::ports::{DomainProofs, Fault, Peer, PortError, PortResult};

const DOING: &str = "looking for a TXT record";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whom to ask, over UDP and, for what is too long for that, over TCP. None: those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// How long the answer to one question may take.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options { resolvers: Vec::new(), timeout: Duration::from_secs(5) }
    }
}

pub struct Dns(Options);

impl Dns {
    pub fn new(options: Options) -> Self {
        Dns(options)
    }

    async fn resolver(&self) -> Result<TokioResolver, NetError> {
        let (config, mut options) = match self.0.resolvers.as_slice() {
            [] => {
                // A small file, and a disk may be slow all the same.
                let read = tokio::task::spawn_blocking(read_system_conf).await;
                read.map_err(|lost| NetError::Msg(lost.to_string()))??
            }
            resolvers => {
                (ResolverConfig::from_name_servers(resolvers.iter().map(server).collect()), ResolverOpts::default())
            }
        };
        // Two of them are asked at one time, and after half of the time once more, those first that were not silent.
        options.timeout = self.0.timeout / 2;
        options.attempts = 1;
        options.cache_size = 0;
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        *builder.options_mut() = options;
        builder.build()
    }
}

/// With a dot at its end, so that nobody looks below a search domain for it.
fn whole(name: &str) -> Result<Name, ProtoError> {
    Name::from_ascii(format!("{name}."))
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections.iter_mut().for_each(|connection| connection.port = address.port());
    server
}

#[async_trait]
impl DomainProofs for Dns {
    async fn has_txt(&self, name: &str, value: &str) -> PortResult<bool> {
        let unavailable = |detail: String| PortError::new(Peer::DomainProofs, Fault::Unavailable, DOING, detail);
        let asked = whole(name).map_err(|error| unavailable(error.to_string()))?;
        let asking = async {
            let resolver = self.resolver().await?;
            resolver.txt_lookup(asked).await
        };
        match timeout(self.0.timeout, asking).await {
            Err(_) => Err(unavailable(format!("{name}: no answer in time"))),
            Ok(Err(error)) if error.is_no_records_found() => Ok(false),
            Ok(Err(error)) => Err(unavailable(format!("{name}: {error}"))),
            Ok(Ok(found)) => Ok(found.answers().iter().any(|record| match &record.data {
                RData::TXT(txt) => txt.txt_data.concat() == value.as_bytes(),
                _ => false,
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_asked_for_whole() {
        let name = whole("_keyward.acme.example").expect("a name");
        assert!(name.is_fqdn());
        assert_eq!(name.to_string(), "_keyward.acme.example.");
    }
}
