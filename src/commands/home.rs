//! The data folder of `keyward dev`, and a look at a master key's file from outside.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use keyward::config::ConfigError;
use keyward::embedded::MasterKey;

/// Makes `folder` (mode 0700) and a `master.key` (mode 0600) in it where they are missing. Answers with the folder's
/// absolute path. What is there is left as it is.
pub(super) fn prepare(folder: &Path) -> anyhow::Result<PathBuf> {
    make_private(folder).with_context(|| format!("cannot make the data folder {}", folder.display()))?;
    let folder = folder.canonicalize().with_context(|| format!("cannot open the data folder {}", folder.display()))?;
    let key = folder.join("master.key");
    if !key.try_exists().with_context(|| format!("cannot look for {}", key.display()))? {
        MasterKey::generate_file(&key).with_context(|| format!("cannot write {}", key.display()))?;
    }
    Ok(folder)
}

/// Whether the folder can be entered by others than its owner.
pub(super) fn is_open_to_others(folder: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        folder.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        false
    }
}

/// Whether the file that `key` of the configuration names for a key is there; what it holds is for a start to judge.
pub(super) fn check_key_file(key: &str, path: &Path) -> Result<(), ConfigError> {
    let refused = |detail: String| ConfigError::key(key, format!("{}: {detail}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| refused(error.to_string()))?;
    if metadata.is_file() { Ok(()) } else { Err(refused("is not a file".to_owned())) }
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_is_private_and_its_key_is_kept() {
        let parent = tempfile::tempdir().expect("folder");
        let folder = parent.path().join("a/b");
        let made = prepare(&folder).expect("made");
        let key = std::fs::read_to_string(made.join("master.key")).expect("key");
        assert!(MasterKey::from_base64(&key).is_ok());
        assert!(!is_open_to_others(&made) && !is_open_to_others(&made.join("master.key")));
        prepare(&folder).expect("again");
        assert_eq!(std::fs::read_to_string(made.join("master.key")).expect("key"), key);
        assert_eq!(std::fs::read_dir(&made).expect("listed").count(), 1, "nothing else is left");
        assert!(check_key_file("embedded.master_key_file", &made.join("master.key")).is_ok());
        let error = check_key_file("embedded.master_key_file", &made).expect_err("a folder").to_string();
        assert!(error.starts_with("embedded.master_key_file: "), "{error}");
    }
}
