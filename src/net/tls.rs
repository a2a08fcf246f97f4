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
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use zeroize::Zeroizing;

/// A longer file holds no certificates, and is not read to its end.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// ALPN's name of HTTP/2 over TLS, RFC 9113 section 3.2.
pub(super) const HTTP_2: &[u8] = b"h2";

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
    /// By an authority of this file, in PEM, if there is one.
    Optional(PathBuf),
    /// By an authority of this file, in PEM.
    Required(PathBuf),
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
    config: Arc<ServerConfig>,
    /// Of the files' contents that `config` is made of.
    digest: Vec<u8>,
}

impl Tls {
    /// Reads the files. `now` is the time since 1970 by which clients' certificates are judged.
    pub fn load(files: TlsFiles, now: impl Fn() -> Duration + Send + Sync + 'static) -> Result<Tls, TlsError> {
        let now: Arc<dyn TimeProvider> = Arc::new(Now(now));
        let contents = Contents::read(&files)?;
        let state = State { config: contents.config(&files, now.clone())?, digest: contents.digest() };
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
        let config = contents.config(&self.files, self.now.clone())?;
        *self.state() = State { config, digest };
        Ok(true)
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.state().config.clone()
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
    authorities: Option<Vec<u8>>,
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let authorities = match &files.clients {
            ClientCertificates::Unasked => None,
            ClientCertificates::Optional(file) | ClientCertificates::Required(file) => Some(read(file, |_| Ok(()))?),
        };
        let key = Zeroizing::new(read(&files.key, |opened| check_mode(opened, &files.key))?);
        Ok(Contents { certificate: read(&files.certificate, |_| Ok(()))?, key, authorities })
    }

    fn digest(&self) -> Vec<u8> {
        let of = |content: &[u8]| digest(&SHA256, content).as_ref().to_vec();
        [of(&self.certificate), of(&self.key), of(self.authorities.as_deref().unwrap_or_default())].concat()
    }

    fn config(&self, files: &TlsFiles, now: Arc<dyn TimeProvider>) -> Result<Arc<ServerConfig>, TlsError> {
        const NEWEST: &[&SupportedProtocolVersion] = &[&version::TLS13];
        const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        // Its groups begin with X25519MLKEM768, which a recording of today does not give away to a quantum computer.
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_details(provider.clone(), now)
            .with_protocol_versions(if files.allow_tls_1_2 { BOTH } else { NEWEST })?;
        let verifier = |file: &Path| {
            let roots = Arc::new(self.roots(file)?);
            Ok::<_, TlsError>(WebPkiClientVerifier::builder_with_provider(roots, provider))
        };
        let failed = |file: &Path| {
            let file = file.to_owned();
            move |source| TlsError::Authorities { file, source }
        };
        let verifier = match &files.clients {
            ClientCertificates::Unasked => WebPkiClientVerifier::no_client_auth(),
            ClientCertificates::Optional(file) => {
                verifier(file)?.allow_unauthenticated().build().map_err(failed(file))?
            }
            ClientCertificates::Required(file) => verifier(file)?.build().map_err(failed(file))?,
        };
        let pair = |source| TlsError::Pair { certificate: files.certificate.clone(), key: files.key.clone(), source };
        let chain = certificates(&self.certificate, &files.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| malformed(&files.key, &error))?;
        let mut config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key).map_err(pair)?;
        config.alpn_protocols = vec![HTTP_2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn roots(&self, file: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(self.authorities.as_deref().unwrap_or_default(), file)? {
            let problem = |error: rustls::Error| error.to_string();
            let added = roots.add(certificate).map_err(problem);
            added.map_err(|problem| TlsError::Malformed { file: file.to_owned(), problem })?;
        }
        Ok(roots)
    }
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
