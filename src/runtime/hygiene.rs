//! Keeps what the process holds in memory from leaving it by accident: core dumps, swap, the eyes of other processes,
//! panics.
//!
//! It protects against accidents and against other users of the machine, not against root, who can undo all of it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::Write as _;
use std::panic::PanicHookInfo;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// What was done, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    pub core_dumps: Measure,
    /// The kernel lets no other process of the same user look into this one: `/proc/PID/environ` and `/proc/PID/mem` are
    /// root's, and debuggers are refused.
    pub inspection: Measure,
    /// Memory is never written to swap.
    pub swap: Measure,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Measure {
    Prevented,
    /// Not, and why.
    Possible(String),
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Measure::Prevented => f.write_str("prevented"),
            Measure::Possible(why) => write!(f, "possible: {why}"),
        }
    }
}

impl Measure {
    fn of(outcome: rustix::io::Result<()>) -> Self {
        match outcome {
            Ok(()) => Measure::Prevented,
            Err(error) => Measure::Possible(error.to_string()),
        }
    }
}

/// Protects this process, for good. To be called before a secret is read; it may be called again.
///
/// Nothing of this is worth not starting for: what cannot be had is told.
pub fn protect() -> Protection {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Protection {
        core_dumps: Measure::of(setrlimit(Resource::Core, none)),
        inspection: Measure::of(set_dumpable_behavior(DumpableBehavior::NotDumpable)),
        swap: lock_memory(),
    }
}

/// With a limit, memory that is asked for beyond it would be refused, and the process would end; only without one it is
/// safe to lock what is there and what is to come. Pages are locked when they are first used, so that address space that
/// is only reserved, as for stacks, costs nothing.
fn lock_memory() -> Measure {
    match getrlimit(Resource::Memlock).current {
        None => Measure::of(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)),
        Some(bytes) => Measure::Possible(format!(
            "the limit on locked memory is {bytes} bytes; memory is locked where it is unlimited"
        )),
    }
}

/// From now on a panic says where and in which thread, and not what: its message may quote what a caller sent, a secret
/// or a token. With `RUST_BACKTRACE` it also says how it came there.
pub fn censor_panics() {
    std::panic::set_hook(Box::new(say_where));
}

fn say_where(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    // Names of functions only, no values.
    let trace = Backtrace::capture();
    let trace = if trace.status() == BacktraceStatus::Captured { trace.to_string() } else { String::new() };
    if tracing::dispatcher::has_been_set() {
        tracing::error!(thread, place, trace, "a panic; its message is left out, since it may quote a secret");
    } else {
        // There are no logs yet, and a closed standard error must not make this a second panic.
        let text = format!("keyward: a panic in thread {thread} at {place}\n{trace}");
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

    /// Run by the tests below in a process of its own, since all of this is for good.
    #[test]
    #[ignore = "is the child of another test"]
    fn child() {
        censor_panics();
        let protection = protect();
        assert_eq!(protect(), protection, "it can be repeated");
        assert_eq!((protection.core_dumps, protection.inspection), (Measure::Prevented, Measure::Prevented));
        assert_eq!(getrlimit(Resource::Core), Rlimit { current: Some(0), maximum: Some(0) });
        assert_eq!(rustix::process::dumpable_behavior().expect("told"), DumpableBehavior::NotDumpable);
        let limits = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let locked = limits.lines().find_map(|line| line.strip_prefix("VmLck:")).expect("told").trim();
        println!("swap {}; locked {locked}", protection.swap);
        if std::env::var_os("LOGS").is_some() {
            crate::runtime::telemetry::init(crate::runtime::telemetry::Format::Json, "trace").expect("logs");
        }
        let panics = std::thread::Builder::new().name("worker".to_owned()).spawn(|| panic!("{SECRET} does not fit"));
        assert!(panics.expect("started").join().is_err());
    }

    fn child_with(edit: impl FnOnce(&mut Command)) -> (String, String) {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "runtime::hygiene::tests::child", "--ignored", "--nocapture"]).env_remove("RUST_LOG");
        edit(&mut command);
        let output = command.output().expect("ran");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
        (out, err)
    }

    #[test]
    fn a_panic_says_where_and_nothing_of_what() {
        for backtrace in ["0", "1"] {
            for logs in [false, true] {
                let (out, err) = child_with(|command| {
                    command.env("RUST_BACKTRACE", backtrace);
                    if logs {
                        command.env("LOGS", "1");
                    }
                });
                assert!(err.contains("src/runtime/hygiene.rs:") && err.contains("worker"), "{err}");
                assert_eq!(err.contains("say_where"), backtrace == "1", "{err}");
                assert!(!err.contains(&SECRET[..8]) && !out.contains(&SECRET[..8]), "{out}{err}");
            }
        }
    }

    #[test]
    fn memory_is_locked_where_there_is_no_limit_and_it_says_so() {
        let (out, _) = child_with(|_| {});
        match getrlimit(Resource::Memlock).current {
            None => assert!(out.contains("swap prevented") && !out.contains("locked 0 kB"), "{out}"),
            Some(bytes) => {
                let why = format!("swap possible: the limit on locked memory is {bytes} bytes");
                assert!(out.contains(&why) && out.contains("locked 0 kB"), "{out}");
            }
        }
    }
}
