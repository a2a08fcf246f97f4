//! How many files and connections the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the process needs beside its connections: the database, the log, the backend's connections.
const OTHERS: u64 = 256;

/// Raises the limit of the process as far as it may itself, which shells and systemd keep low for the sake of programs that
/// cannot count further than 1,024. Returns how many connections fit where that is fewer than `connections`.
pub fn make_room(connections: usize) -> Option<usize> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        // It stays as it was.
        Err(_) => limit.current,
    };
    let room = usize::try_from(allowed?.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    (room < connections).then_some(room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_is_allowed() {
        assert_eq!(make_room(0), None);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        if let Some(most) = limit.maximum {
            let most = usize::try_from(most).expect("a number");
            assert_eq!(make_room(most), Some(most.saturating_sub(256)));
        }
    }
}
