//! Certificates to test with: authorities, what they issue, and channels that present it.
//!
//! ```ignore
//! let authority = Authority::new("clients");
//! let server = authority.issue(Leaf::server());                    // localhost, 127.0.0.1 and ::1
//! let orders = authority.issue(Leaf::client().uri("spiffe://example.org/tenants/acme/orders"));
//! let (certificate_file, key_file) = server.write(folder, "tls");  // PEM; the key has mode 0600
//! let channel = connect_tls(address, trusting(&authority, Some(&orders))).await?;
//! ```

use std::future::Future;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// Kinds of names in a certificate: tags of `GeneralName`, RFC 5280 section 4.2.1.6.
pub const DNS_NAME: u8 = 0x82;
pub const URI: u8 = 0x86;
pub const IP_ADDRESS: u8 = 0x87;

/// Who issues certificates. It is good for decades before and after any test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("a certificate");
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Authority { issuer: Issuer::new(params, key), der, pem }
    }

    /// Its own certificate, as in a file of trusted authorities.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn issue(&self, leaf: Leaf) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "not to be looked at");
        let since_1970 = |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).expect("after 1970"));
        params.not_before = date_time_ymd(1970, 1, 1) + since_1970(leaf.not_before);
        params.not_after = date_time_ymd(1970, 1, 1) + since_1970(leaf.not_after);
        params.extended_key_usages = vec![leaf.purpose];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if !leaf.names.is_empty() {
            let names: Vec<u8> = leaf.names.iter().flat_map(|(tag, value)| element(*tag, value)).collect();
            let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], element(0x30, &names));
            params.custom_extensions.push(extension);
        }
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity { certificate: certificate.der().clone(), certificate_pem: certificate.pem(), key }
    }
}

/// A certificate to be issued, with no names and good from 2000 to 2100 unless told otherwise.
#[derive(Clone)]
pub struct Leaf {
    names: Vec<(u8, Vec<u8>)>,
    not_before: Timestamp,
    not_after: Timestamp,
    purpose: ExtendedKeyUsagePurpose,
}

impl Leaf {
    fn new(purpose: ExtendedKeyUsagePurpose) -> Self {
        let at = |text: &str| text.parse().expect("a time");
        let (not_before, not_after) = (at("2000-01-01T00:00:00Z"), at("2100-01-01T00:00:00Z"));
        Leaf { names: Vec::new(), not_before, not_after, purpose }
    }

    /// For a server on this machine: localhost, 127.0.0.1 and ::1.
    pub fn server() -> Self {
        let leaf = Leaf::new(ExtendedKeyUsagePurpose::ServerAuth).dns("localhost");
        let loopback = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        leaf.name(IP_ADDRESS, [127, 0, 0, 1]).name(IP_ADDRESS, loopback)
    }

    /// For a client, without a name.
    pub fn client() -> Self {
        Leaf::new(ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Adds a URI, such as a SPIFFE ID.
    pub fn uri(self, uri: &str) -> Self {
        self.name(URI, uri)
    }

    pub fn dns(self, name: &str) -> Self {
        self.name(DNS_NAME, name)
    }

    /// Adds a name of these very bytes, whether or not a name of its kind may have them.
    pub fn name(mut self, kind: u8, bytes: impl AsRef<[u8]>) -> Self {
        self.names.push((kind, bytes.as_ref().to_vec()));
        self
    }

    /// In whole seconds.
    pub fn valid(self, not_before: Timestamp, not_after: Timestamp) -> Self {
        Leaf { not_before, not_after, ..self }
    }
}

/// A certificate with its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    pub certificate_pem: String,
    key: KeyPair,
}

impl Identity {
    /// The certificate in DER, as a connection's `certificates()` have it.
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes `<name>.crt` and `<name>.key`, which only their owner may read, over what was there.
    pub fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = (folder.join(format!("{name}.crt")), folder.join(format!("{name}.key")));
        std::fs::write(&certificate, &self.certificate_pem).expect("written");
        write_private(&key, self.key_pem().as_bytes());
        (certificate, key)
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: &[u8]) {
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).expect("opened");
    std::io::Write::write_all(&mut file, content).expect("written");
}

/// A client that believes servers of this authority and presents this identity. TLS 1.3 and 1.2, HTTP/2.
pub fn trusting(authority: &Authority, identity: Option<&Identity>) -> ClientConfig {
    trusting_with(aws_lc_rs::default_provider(), rustls::ALL_VERSIONS, authority, identity)
}

/// The same, with other versions or other cryptography.
pub fn trusting_with(
    provider: CryptoProvider,
    versions: &[&'static rustls::SupportedProtocolVersion],
    authority: &Authority,
    identity: Option<&Identity>,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority.der.clone()).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(versions).expect("versions").with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(identity.key.serialize_der()));
            builder.with_client_auth_cert(vec![identity.certificate.clone()], key).expect("an identity")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// A TLS connection on which nothing was said yet. With TLS 1.3 a server's refusal of a client's certificate comes after
/// this: the first read or call finds it.
pub async fn handshake(address: &str, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// A channel of one connection over TLS. It connects again when that ends.
pub async fn connect_tls(address: &str, config: ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect_timeout(Duration::from_secs(10)).connect_with_connector(Connector(config)).await
}

/// What [`connect_tls`] connects with. The TLS is under the channel, which therefore knows nothing of it.
#[derive(Clone)]
struct Connector(ClientConfig);

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let config = self.0.clone();
        Box::pin(async move {
            let address = uri.authority().map(|authority| authority.to_string()).unwrap_or_default();
            Ok(TokioIo::new(handshake(&address, config).await?))
        })
    }
}

/// One element of DER.
fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).expect("short");
    let mut bytes = vec![tag];
    match length {
        0..128 => bytes.push(length.to_be_bytes()[1]),
        128..256 => bytes.extend([0x81, length.to_be_bytes()[1]]),
        _ => bytes.extend([0x82, length.to_be_bytes()[0], length.to_be_bytes()[1]]),
    }
    bytes.extend_from_slice(value);
    bytes
}
