//! Which threads go first where more of them are at work than there are processors.

/// Further behind, a thread that has a lock would let those wait for long that want it and go first.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lets others go first: the calling thread, and those that it starts from now on.
///
/// On Linux a thread has a nice value of its own (sched(7)); with 10 it gets about a tenth of a processor that a thread of
/// the usual 0 wants too, and all of one that nobody wants. Elsewhere the value is the whole process's, and stays as it is.
pub fn give_way() {
    // Set, not added: a thread may have been started by one that has it already. Nothing is wrong where the system does
    // not let it.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}
