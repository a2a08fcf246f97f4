//! The file of a Unix socket: made without a moment at which others could connect, and taken away again.
//!
//! A file that is there already is removed only if it is a socket on which nobody listens: what a broker leaves behind that
//! was killed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Its owner and group may connect. Who else may is for the folder's mode and group to say.
const MODE: u32 = 0o660;

/// A socket's file, removed when this is dropped, unless another is in its place by then.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode and the time it was made at: the number of an inode is soon another file's.
type Identity = (u64, u64, i64, i64);

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

/// Listens on a socket at `path`. Fails where somebody listens already or something else is there.
pub(super) fn listen(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    clear(path)?;
    // Made under another name, so that nobody finds it before it has its mode.
    let mut making = path.as_os_str().to_owned();
    making.push(".new");
    let making = PathBuf::from(making);
    clear(&making)?;
    let listener = UnixListener::bind(&making)?;
    let placed = std::fs::set_permissions(&making, std::fs::Permissions::from_mode(MODE))
        .and_then(|()| std::fs::symlink_metadata(&making))
        .and_then(|metadata| std::fs::rename(&making, path).map(|()| metadata));
    match placed {
        Ok(metadata) => {
            let file = SocketFile { path: path.to_owned(), identity: identity(&metadata) };
            Ok((listener, file))
        }
        Err(error) => {
            // Nobody knows of it yet; the failure is the one to report.
            let _ = std::fs::remove_file(&making);
            Err(error)
        }
    }
}

/// Removes a socket on which nobody listens.
fn clear(path: &Path) -> io::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "something that is no socket is there"));
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |metadata: Metadata| identity(&metadata) == self.identity;
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_its_owner_and_group_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keyward.sock");
        let (_listener, file) = listen(&path).expect("listening");
        assert_eq!(path.metadata().expect("there").mode() & 0o777, 0o660);
        let refused = listen(&path).expect_err("in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse, "{refused}");
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_its_late_owner_leaves_the_new_one_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keyward.sock");
        let (listener, dead) = listen(&path).expect("listening");
        drop(listener);
        let (_listener, _file) = listen(&path).expect("nobody listens there any more");
        drop(dead);
        assert!(std::os::unix::net::UnixStream::connect(&path).is_ok());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("keyward.sock");
        std::fs::write(&path, "a file").expect("written");
        let target = folder.path().join("target");
        std::fs::write(&target, "precious").expect("written");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        for occupied in [&path, &link] {
            assert_eq!(listen(occupied).expect_err("occupied").kind(), io::ErrorKind::AlreadyExists);
        }
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "a file");
        assert_eq!(std::fs::read_to_string(&target).expect("there"), "precious");
    }
}
