//! TLS: which certificates are shown, which are believed, and how both change while connections stand.
//!
//! It keeps no sessions and gives no tickets: every connection proves itself against the authorities of that moment, so no
//! memory outlives the removal of one. A connection that stands goes on when certificates change.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use zeroize::Zeroizing;

use super::Protocol;

/// A longer file holds no certificates, and is not read to its end.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What TLS is made of.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The server's chain in PEM, its own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM. Refused where others may read it.
    pub key: PathBuf,
    pub clients: ClientCertificates,
    /// Whether TLS 1.2 is spoken, beside 1.3.
    pub allow_tls_1_2: bool,
}

/// Whether clients show certificates. Those that are shown must be good, whether or not they must be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for.
    Unasked,
    /// By an authority of any of these, if there is one.
    Optional(Vec<Authorities>),
    /// By an authority of any of these.
    Required(Vec<Authorities>),
}

impl ClientCertificates {
    fn authorities(&self) -> &[Authorities] {
        match self {
            ClientCertificates::Unasked => &[],
            ClientCertificates::Optional(authorities) | ClientCertificates::Required(authorities) => authorities,
        }
    }
}

/// Authorities of one file, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorities {
    /// By what a connection says that they vouch for its certificates; `None` for those of no domain.
    pub domain: Option<Arc<str>>,
    pub file: PathBuf,
}

/// Why there is no TLS, or none of the new files. Nothing of a key is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}: mode {mode:03o} lets others read it; run chmod 600 on it", file.display())]
    TooOpen { file: PathBuf, mode: u32 },
    #[error("{}: {problem}", file.display())]
    Malformed { file: PathBuf, problem: String },
    #[error("{} and {} do not belong together: {source}", certificate.display(), key.display())]
    Pair { certificate: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("{}: {source}", file.display())]
    Authorities { file: PathBuf, source: VerifierBuilderError },
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS as it is now.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    now: Arc<dyn TimeProvider>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    ready: Arc<Ready>,
    /// Of the files' contents that it is made of.
    digest: Vec<u8>,
}

/// What a connection begins and is judged with, all of one reading of the files.
#[derive(Debug)]
pub(super) struct Ready {
    http_2: Arc<ServerConfig>,
    http_1: Arc<ServerConfig>,
    judges: Vec<Judge>,
    now: Arc<dyn TimeProvider>,
}

/// Judges certificates by the authorities of one file.
#[derive(Debug)]
struct Judge {
    domain: Option<Arc<str>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Ready {
    pub fn config_for(&self, protocol: Protocol) -> &Arc<ServerConfig> {
        match protocol {
            Protocol::Http2 => &self.http_2,
            Protocol::Http1 => &self.http_1,
        }
    }

    /// Whose authorities vouch for a chain that the handshake has found good: one of them all does.
    pub fn vouchers(&self, shown: &[CertificateDer<'_>]) -> Vec<Option<Arc<str>>> {
        let ([first, between @ ..], Some(now)) = (shown, self.now.current_time()) else { return Vec::new() };
        let vouches = |judge: &&Judge| judge.verifier.verify_client_cert(first, between, now).is_ok();
        self.judges.iter().filter(vouches).map(|judge| judge.domain.clone()).collect()
    }
}

impl Tls {
    /// Reads the files. `now` is the time since 1970 by which clients' certificates are judged.
    pub fn load(files: TlsFiles, now: impl Fn() -> Duration + Send + Sync + 'static) -> Result<Tls, TlsError> {
        let now: Arc<dyn TimeProvider> = Arc::new(Now(now));
        let contents = Contents::read(&files)?;
        let state = State { ready: Arc::new(contents.ready(&files, now.clone())?), digest: contents.digest() };
        Ok(Tls { files, now, state: Mutex::new(state) })
    }

    /// Reads the files anew; whether they changed. New connections have what they say from then on. What cannot be used
    /// changes nothing: a pair half of which is written yet is a whole one the next time.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        let digest = contents.digest();
        if self.state().digest == digest {
            return Ok(false);
        }
        let ready = Arc::new(contents.ready(&self.files, self.now.clone())?);
        *self.state() = State { ready, digest };
        Ok(true)
    }

    pub(super) fn ready(&self) -> Arc<Ready> {
        self.state().ready.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // It is replaced as a whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was in the files.
struct Contents {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    /// In the order of [`TlsFiles::clients`].
    authorities: Vec<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let authorities = files.clients.authorities().iter().map(|authorities| read(&authorities.file, |_| Ok(())));
        let authorities = authorities.collect::<Result<_, _>>()?;
        let key = Zeroizing::new(read(&files.key, |opened| check_mode(opened, &files.key))?);
        Ok(Contents { certificate: read(&files.certificate, |_| Ok(()))?, key, authorities })
    }

    fn digest(&self) -> Vec<u8> {
        let of = |content: &[u8]| digest(&SHA256, content).as_ref().to_vec();
        let authorities = self.authorities.iter().flat_map(|content| of(content));
        of(&self.certificate).into_iter().chain(of(&self.key)).chain(authorities).collect()
    }

    fn ready(&self, files: &TlsFiles, now: Arc<dyn TimeProvider>) -> Result<Ready, TlsError> {
        const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        // Its groups begin with X25519MLKEM768, which a recording of today does not give away to a quantum computer.
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_details(provider.clone(), now.clone())
            .with_protocol_versions(if files.allow_tls_1_2 { BOTH } else { NEWEST })?;
        let (everybody, judges) = self.judges(files, &provider)?;
        let pair = |source| TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| malformed(&files.key, &error))?;
        let mut config = builder.with_client_cert_verifier(everybody).with_single_cert(chain, key).map_err(pair)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let speaking = |protocol: Protocol| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.name().to_vec()];
            Arc::new(config)
        };
        Ok(Ready { http_2: speaking(Protocol::Http2), http_1: speaking(Protocol::Http1), judges, now })
    }

    /// Who judges a handshake, by all authorities there are, and who judges by those of each file.
    fn judges(
        &self,
        files: &TlsFiles,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(Arc<dyn ClientCertVerifier>, Vec<Judge>), TlsError> {
        let builder =
            |roots: RootCertStore| WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let (mut all, mut judges) = (RootCertStore::empty(), Vec::new());
        for (Authorities { domain, file }, content) in files.clients.authorities().iter().zip(&self.authorities) {
            let roots = roots(content, file)?;
            all.roots.extend(roots.roots.iter().cloned());
            let failed = |source| TlsError::Authorities { file: file.clone(), source };
            judges.push(Judge { domain: domain.clone(), verifier: builder(roots).build().map_err(failed)? });
        }
        let everybody = match &files.clients {
            ClientCertificates::Unasked => return Ok((WebPkiClientVerifier::no_client_auth(), judges)),
            ClientCertificates::Optional(_) => builder(all).allow_unauthenticated(),
            ClientCertificates::Required(_) => builder(all),
        };
        let failed = |source| TlsError::Rustls(rustls::Error::General(format!("the authorities of clients: {source}")));
        Ok((everybody.build().map_err(failed)?, judges))
    }
}

fn roots(content: &[u8], file: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(content, file)? {
        let problem = |error: rustls::Error| error.to_string();
        let added = roots.add(certificate).map_err(problem);
        added.map_err(|problem| TlsError::Malformed { file: file.to_owned(), problem })?;
    }
    Ok(roots)
}

/// At least one.
fn certificates(content: &[u8], file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(content).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| malformed(file, &error))?;
    match all.is_empty() {
        true => Err(TlsError::Malformed { file: file.to_owned(), problem: "holds no certificate in PEM".to_owned() }),
        false => Ok(all),
    }
}

/// The kind of error alone: its text may quote the file.
fn malformed(file: &Path, error: &pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::NoItemsFound => "holds no private key in PEM",
        pem::Error::MissingSectionEnd { .. } => "ends within PEM",
        _ => "is not PEM",
    };
    TlsError::Malformed { file: file.to_owned(), problem: problem.to_owned() }
}

fn read(path: &Path, check: impl FnOnce(&File) -> Result<(), TlsError>) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Unreadable { file: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    check(&file)?;
    let mut content = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > MAX_FILE_BYTES {
        let problem = format!("must be at most {MAX_FILE_BYTES} bytes");
        return Err(TlsError::Malformed { file: path.to_owned(), problem });
    }
    Ok(content)
}

/// A key is for its owner alone. Root's may be for a group as well: so Kubernetes gives a pod that is not root its secrets
/// (`fsGroup`).
fn check_mode(file: &File, path: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata().map_err(|source| TlsError::Unreadable { file: path.to_owned(), source })?;
    let is_roots = metadata.uid() == 0 && !rustix::process::geteuid().is_root();
    let others = if is_roots { 0o037 } else { 0o077 };
    match metadata.mode() & others {
        0 => Ok(()),
        _ => Err(TlsError::TooOpen { file: path.to_owned(), mode: metadata.mode() & 0o777 }),
    }
}

/// The time of day, as it was given.
struct Now<F>(F);

impl<F: Fn() -> Duration + Send + Sync> TimeProvider for Now<F> {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch((self.0)()))
    }
}

impl<F> fmt::Debug for Now<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}
