//! The file itself: found or made, mended, appended to, followed when it is renamed.
//!
//! A batch of lines is one write and one `fdatasync`, and counts only when both succeeded. What a failed write, a killed
//! process or a power failure left behind a batch that counts was told to nobody; it is cut off before the next write, so
//! that the file is always whole lines. Before each batch the path is looked at: where it is another file than the open one,
//! as after logrotate has renamed it, or none, the path is opened anew and the chain goes on there.
//!
//! Everything here blocks.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::line::{End, MAX_LINE_BYTES, Record};
use crate::broker::ports::Clock;

/// The most that one write holds, in bytes, apart from one line more.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

pub struct Writer {
    path: PathBuf,
    clock: Arc<dyn Clock>,
    /// What the next line follows, in whichever file it was.
    end: End,
    opened: Option<Opened>,
    buffer: Vec<u8>,
}

struct Opened {
    file: File,
    id: (u64, u64),
    /// A device, as `/dev/full` is, has no length, no past and nothing to be synced.
    is_regular: bool,
    /// Up to where everything counts.
    length: u64,
    /// Whether a failed write may have left something behind that.
    is_torn: bool,
    /// Whether the file has a line that says it was opened.
    is_announced: bool,
}

impl Writer {
    /// Opens the file, made with mode 0600 where it is missing, and finds where it ends by reading no more than its tail.
    /// Fails when it cannot be opened or is another process's, or when its last line is not one of Keyward's.
    pub fn open(path: &Path, clock: Arc<dyn Clock>) -> io::Result<Writer> {
        let (opened, end) = Opened::open(path)?;
        let end = end.unwrap_or_default();
        Ok(Writer { path: path.to_owned(), clock, end, opened: Some(opened), buffer: Vec::new() })
    }

    pub fn end(&self) -> End {
        self.end
    }

    /// Appends a line for each record; they are on the disk when this succeeds. When it fails, none of them counts.
    pub fn append<'r>(&mut self, records: impl Iterator<Item = &'r Record>) -> io::Result<()> {
        let opened = match self.opened.take().filter(|opened| opened.is_at(&self.path)) {
            Some(opened) => opened,
            None => {
                let (opened, end) = Opened::open(&self.path)?;
                // A file that has lines already is gone on with from its own last one.
                if let Some(there) = end {
                    self.end = End { last_event: self.end.last_event.max(there.last_event), ..there };
                }
                opened
            }
        };
        let opened = self.opened.insert(opened);
        opened.mend()?;
        self.buffer.clear();
        let mut end = self.end;
        if !opened.is_announced {
            end.append(&Record::Opened(self.clock.now()), &mut self.buffer)?;
        }
        for record in records {
            end.append(record, &mut self.buffer)?;
        }
        opened.write(&self.buffer)?;
        opened.is_announced = true;
        self.end = end;
        Ok(())
    }
}

impl Opened {
    fn open(path: &Path) -> io::Result<(Opened, Option<End>)> {
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        let is_regular = metadata.is_file();
        let mut opened = Opened { file, id: id(&metadata), is_regular, length: 0, is_torn: false, is_announced: false };
        if !is_regular {
            return Ok((opened, None));
        }
        match opened.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(io::ErrorKind::WouldBlock, "another process writes it"));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if is_new {
            // The name of a new file must be as durable as its lines.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
        }
        let (length, end) = tail(&mut opened.file, metadata.len())?;
        opened.length = length;
        opened.is_torn = length < metadata.len();
        if opened.is_torn {
            let bytes = metadata.len() - length;
            tracing::warn!(file = %path.display(), bytes, "the audit file ends in half a line, which is cut off");
        }
        opened.mend()?;
        Ok((opened, end))
    }

    /// Whether this file is still the one at the path.
    fn is_at(&self, path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| id(&metadata) == self.id)
    }

    /// Cuts off what does not count.
    fn mend(&mut self) -> io::Result<()> {
        if !self.is_regular {
            return Ok(());
        }
        let length = self.file.metadata()?.len();
        if self.is_torn && length > self.length {
            self.file.set_len(self.length)?;
        } else if length != self.length {
            tracing::error!(expected = self.length, length, "the audit file was cut or written to by somebody else");
            self.length = length;
        }
        self.is_torn = false;
        Ok(())
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.is_torn = true;
        self.file.write_all(lines)?;
        if self.is_regular {
            self.file.sync_data()?;
            self.length += lines.len() as u64;
        }
        self.is_torn = false;
        Ok(())
    }
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Up to where a file of `length` bytes is whole lines, and what its last line says; `None` when it has none.
fn tail(file: &mut File, length: u64) -> io::Result<(u64, Option<End>)> {
    // What one interrupted write can leave, and the line before it.
    const READ: u64 = (MAX_BATCH_BYTES + 2 * MAX_LINE_BYTES) as u64;
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "its last line is not one of Keyward's; move it away");
    let start = length.saturating_sub(READ);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(READ).read_to_end(&mut bytes)?;
    let Some(last) = bytes.iter().rposition(|byte| *byte == b'\n') else {
        // Half of a first line, or something else altogether.
        return if start == 0 && bytes.len() <= MAX_LINE_BYTES { Ok((0, None)) } else { Err(foreign()) };
    };
    let whole = &bytes[..last];
    let line = match whole.iter().rposition(|byte| *byte == b'\n') {
        Some(before) => &whole[before + 1..],
        None if start == 0 => whole,
        None => return Err(foreign()),
    };
    Ok((start + last as u64 + 1, Some(End::of(line).ok_or_else(foreign)?)))
}

#[cfg(test)]
mod tests;
