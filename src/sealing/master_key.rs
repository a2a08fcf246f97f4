//! A master key: a secret that an operator keeps for Keyward in a file or a variable, or a key service for both.
//!
//! It is read from a file or given as text or bytes, held in memory that is wiped when dropped, and never printed. It seals
//! nothing by itself: [`Root`](super::Root) derives a key for each purpose from it. Errors name the file and the rule, and
//! hold nothing of its content.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// 32 bytes of base64 are 44 characters; a longer file is not a key, and is not read to its end.
const MAX_FILE_BYTES: u64 = 128;

/// A key of 32 bytes. `Debug` is censored; there is no `Display`.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Why there is no master key.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("key file {}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("key file {}: mode {mode:03o} lets others read it; run chmod 600 on it", file.display())]
    TooOpen { file: PathBuf, mode: u32 },
    #[error("{origin}: must be base64 of 32 bytes")]
    Malformed { origin: String },
    #[error("the system gives no random bytes for a master key")]
    NoRandomness,
}

impl MasterKey {
    /// Reads a file that holds base64 of 32 bytes; white space around it is ignored. On Unix a file that its group or
    /// others can read, write or run is refused; of root's, for a process that is not root, its group may read it. So
    /// Kubernetes (`fsGroup`) and systemd (`LoadCredential`) hand a secret to one that is not root.
    pub fn from_file(path: &Path) -> Result<Self, MasterKeyError> {
        let io = |source| MasterKeyError::Io { file: path.to_owned(), source };
        let file = File::open(path).map_err(io)?;
        check_mode(&file, path)?;
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE_BYTES as usize));
        match file.take(MAX_FILE_BYTES).read_to_string(&mut text) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(MasterKeyError::Malformed { origin: described(path) });
            }
            Err(error) => return Err(io(error)),
        }
        decode(&text).ok_or_else(|| MasterKeyError::Malformed { origin: described(path) })
    }

    /// Reads base64 of 32 bytes, as an environment variable would hold it.
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        decode(text).ok_or_else(|| MasterKeyError::Malformed { origin: "master key".to_owned() })
    }

    /// One that a key service has made.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        MasterKey(bytes)
    }

    /// Makes a new key and the file that holds it, which must not exist. The file is on the disk when this returns.
    pub fn generate_file(path: &Path) -> Result<Self, MasterKeyError> {
        let mut key = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).map_err(|_| MasterKeyError::NoRandomness)?;
        let key = MasterKey(key);
        let io = |source| MasterKeyError::Io { file: path.to_owned(), source };
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(path).map_err(io)?;
        let mut text = Zeroizing::new(STANDARD.encode(key.0.as_slice()));
        text.push('\n');
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_folder(path));
        match written {
            Ok(()) => Ok(key),
            Err(error) => {
                // A torn key file would be refused for ever; the failure below is the one to report.
                let _ = std::fs::remove_file(path);
                Err(io(error))
            }
        }
    }

    pub(super) fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(censored)")
    }
}

fn described(path: &Path) -> String {
    format!("key file {}", path.display())
}

fn decode(text: &str) -> Option<MasterKey> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim_ascii()).ok()?);
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return None;
    }
    key.copy_from_slice(&bytes);
    Some(MasterKey(key))
}

#[cfg(unix)]
fn check_mode(file: &File, path: &Path) -> Result<(), MasterKeyError> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata().map_err(|source| MasterKeyError::Io { file: path.to_owned(), source })?;
    let mode = metadata.mode() & 0o777;
    match is_private(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        true => Ok(()),
        false => Err(MasterKeyError::TooOpen { file: path.to_owned(), mode }),
    }
}

#[cfg(unix)]
fn is_private(mode: u32, owner: u32, user: u32) -> bool {
    let others = if owner == 0 && user != 0 { 0o037 } else { 0o077 };
    mode & others == 0
}

#[cfg(not(unix))]
fn check_mode(_: &File, _: &Path) -> Result<(), MasterKeyError> {
    Ok(())
}

/// Readable and writable by its owner alone.
pub fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Makes the name of a new file as durable as its content.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<MasterKey, MasterKeyError>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn a_generated_file_is_read_back_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("master.key");
        let key = MasterKey::generate_file(&path).expect("generated");
        assert_eq!(MasterKey::from_file(&path).expect("read").expose(), key.expose());
        assert!(refusal(MasterKey::generate_file(&path)).contains("master.key"));
        assert_eq!(MasterKey::from_file(&path).expect("read").expose(), key.expose(), "overwritten");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("master.key");
        MasterKey::generate_file(&path).expect("generated");
        assert_eq!(path.metadata().expect("there").permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("chmod");
            let message = refusal(MasterKey::from_file(&path));
            assert!(message.contains("master.key") && message.contains(&format!("{mode:o}")), "{message}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn of_roots_files_a_group_may_read_one_that_is_for_another_user() {
        let (root, user) = (0, 1_000);
        assert!(is_private(0o440, root, user) && is_private(0o400, root, user) && is_private(0o600, user, user));
        for (mode, owner, who) in
            [(0o440, root, root), (0o440, user, user), (0o440, 1_001, user), (0o460, root, user), (0o444, root, user)]
        {
            assert!(!is_private(mode, owner, who), "{mode:o} {owner} {who}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("master.key");
        for content in [&b""[..], b"hunter2hunter2hunter2hunter2", &[0xFF; 32], &[b'A'; 300]] {
            private(OpenOptions::new().write(true).create(true).truncate(true))
                .open(&path)
                .and_then(|mut file| file.write_all(content))
                .expect("written");
            let message = refusal(MasterKey::from_file(&path));
            assert!(message.contains("base64 of 32 bytes") && !message.contains("hunter2"), "{message}");
        }
        assert!(refusal(MasterKey::from_file(&folder.path().join("none"))).contains("none"));
        assert!(refusal(MasterKey::from_base64("hunter2")).starts_with("master key: "));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key = MasterKey::from_base64(&STANDARD.encode([7; 32])).expect("valid");
        assert_eq!(format!("{key:?}"), "MasterKey(censored)");
    }
}
