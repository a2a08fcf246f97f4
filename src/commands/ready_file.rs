//! A file that appears, whole, once the daemon answers.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use keyward::net::Address;

/// Removed when it is dropped, so that it is there exactly while the daemon answers.
#[derive(Debug)]
pub(super) struct Written(PathBuf);

/// Writes each address and a line feed, by renaming, so that nobody reads half of it.
pub(super) fn write(path: &Path, addresses: &[Address]) -> io::Result<Written> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    for address in addresses {
        writeln!(file, "{address}")?;
    }
    file.persist(path)?;
    Ok(Written(path.to_owned()))
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(file = %self.0.display(), %error, "cannot remove the ready file");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_address_and_goes_when_dropped() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("ready");
        std::fs::write(&path, "left by another").expect("written");
        let written = write(&path, &["127.0.0.1:7443".parse().expect("address")]).expect("written");
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "127.0.0.1:7443\n");
        drop(written);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }
}
