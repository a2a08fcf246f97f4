//! The check of an audit file, from its first line to its last.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::line::{MAX_LINE_BYTES, link};
use crate::domain::chain::{Break, Noted, Walk, Walked};

/// Walks along all lines of the file, holding one at a time; with `noted`, also compares one line with what was noted of
/// it. A file that is being written may end in half a line, which does not count. Fails when it cannot be read. Blocks.
///
/// A file may begin with any line, since the lines before may be in an older file; the first one tells of the last there.
pub fn check_file(path: &Path, noted: Option<Noted>) -> io::Result<Result<Walked, Break>> {
    let mut reader = BufReader::new(File::open(path)?);
    let mut walk = Walk::new(1, noted);
    let mut broken: Option<Break> = None;
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        (&mut reader).take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
        let is_at_end = line.len() <= MAX_LINE_BYTES && line.last() != Some(&b'\n');
        if is_at_end {
            break;
        }
        line.pop();
        match (link(&line), &mut broken) {
            (Some(link), None) => {
                number = link.number;
                broken = walk.step(link).err();
            }
            (None, None) => broken = Some(Break::Unreadable { number: number + 1 }),
            // What comes after a break may explain it.
            (Some(link), Some(broken)) => broken.explained_by(&link),
            (None, Some(_)) => {}
        }
    }
    Ok(match broken {
        Some(broken) => Err(broken),
        None => walk.finish(None),
    })
}
