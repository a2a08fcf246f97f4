//! What the system's service manager is told: that the daemon serves, that it ends, that it lives (sd_notify(3)).
//!
//! Datagrams go to the socket that `NOTIFY_SOCKET` names; nothing is read from it, and without the variable nothing is
//! said. Which program listens there is not known. Whoever runs the daemon can read what is said, so it must never hold
//! more than addresses and words. A datagram that cannot be sent is complained of in the log, and the daemon goes on: it
//! serves, whether or not somebody is told.
//!
//! There is no word for reloading: nothing has to ask for it, since files that change are followed.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as Datagrams};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How long a datagram may wait until the manager has room for it, as while a machine starts all of its services.
const PATIENCE: Duration = Duration::from_secs(5);
/// So often within the time after which the manager takes a silent daemon for dead.
const BEATS: u32 = 2;

/// Who started the process, if they want to hear of it.
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    silence: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`. Call it within a runtime.
    pub fn from_env() -> Self {
        let variable = |name| std::env::var_os(name);
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(Arc::new(socket)),
            Err(error) => {
                tracing::warn!(socket = %name.display(), %error, "NOTIFY_SOCKET cannot be used: nobody is told that the daemon serves");
                None
            }
        });
        let text = |name| variable(name).and_then(|value| value.into_string().ok());
        let silence = silence(text("WATCHDOG_USEC").as_deref(), text("WATCHDOG_PID").as_deref(), std::process::id());
        ServiceManager { socket, silence }
    }

    /// It was started, and does not serve yet.
    pub async fn starts(&self) {
        self.say("STATUS=starts").await;
    }

    /// It serves at these addresses.
    pub async fn serves(&self, addresses: &str) {
        // A line feed would begin another variable.
        let addresses: String = addresses.chars().filter(|c| !c.is_control()).collect();
        self.say(&format!("READY=1\nSTATUS=serves at {addresses}")).await;
    }

    /// It ends, which takes no longer than `within`, whatever else the manager would allow.
    pub async fn ends(&self, within: Duration) {
        let within = within.as_micros();
        self.say(&format!("STOPPING=1\nSTATUS=ends; calls under way are finished\nEXTEND_TIMEOUT_USEC={within}")).await;
    }

    /// From now on says that it lives, where the manager wants to hear that: each time after every one of `runtimes` has
    /// run something. One that hangs for long keeps it silent, and the manager starts the daemon anew.
    ///
    /// `None` where nobody wants to hear it. Runs on the runtime that this is called on.
    pub fn keep_saying_that_it_lives(&self, runtimes: Vec<Handle>) -> Option<JoinHandle<()>> {
        let (Some(socket), Some(silence)) = (&self.socket, self.silence) else { return None };
        let manager = ServiceManager { socket: Some(socket.clone()), silence: None };
        let mut beats = interval((silence / BEATS).max(Duration::from_millis(1)));
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(tokio::spawn(async move {
            loop {
                beats.tick().await;
                for runtime in &runtimes {
                    // One that has ended does not hang.
                    let _ = runtime.spawn(std::future::ready(())).await;
                }
                manager.say("WATCHDOG=1").await;
            }
        }))
    }

    async fn say(&self, words: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = timeout(PATIENCE, socket.send(words.as_bytes())).await;
        if let Err(error) = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            tracing::warn!(%error, "the service manager was not told what the daemon does");
        }
    }
}

/// An absolute path, or after an `@` a name without a file (unix(7)).
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt as _;
            SocketAddr::from_abstract_name(name)?
        }
        _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "neither a path nor a name after @")),
    };
    let socket = Datagrams::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)
}

/// How long the process `own` may be silent, where it is the one that is meant.
fn silence(micros: Option<&str>, process: Option<&str>, own: u32) -> Option<Duration> {
    let is_meant = process.is_none_or(|process| process.parse() == Ok(own));
    let micros = micros?.parse().ok().filter(|micros| is_meant && *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// What a manager would hear, and who tells it.
    fn hearing(silence: Option<Duration>) -> (UnixDatagram, ServiceManager) {
        let (ear, mouth) = UnixDatagram::pair().expect("a pair");
        (ear, ServiceManager { socket: Some(Arc::new(mouth)), silence })
    }

    async fn heard(ear: &UnixDatagram) -> String {
        let mut words = [0; 512];
        let length = ear.recv(&mut words).await.expect("said");
        String::from_utf8(words[..length].to_vec()).expect("UTF-8")
    }

    #[tokio::test]
    async fn it_is_told_of_the_whole_life_in_words_that_it_knows() {
        let (ear, manager) = hearing(None);
        manager.starts().await;
        manager.serves("127.0.0.1:7443, unix:/run/a\nMAINPID=1").await;
        manager.ends(Duration::from_secs(50)).await;
        assert_eq!(heard(&ear).await, "STATUS=starts");
        assert_eq!(heard(&ear).await, "READY=1\nSTATUS=serves at 127.0.0.1:7443, unix:/run/aMAINPID=1");
        assert!(heard(&ear).await.ends_with("\nEXTEND_TIMEOUT_USEC=50000000"));
        assert!(manager.keep_saying_that_it_lives(Vec::new()).is_none());
        ServiceManager { socket: None, silence: Some(PATIENCE) }.starts().await;
    }

    #[tokio::test]
    async fn a_runtime_that_hangs_keeps_it_silent() {
        let (ear, manager) = hearing(Some(Duration::from_millis(20)));
        let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let saying = manager.keep_saying_that_it_lives(vec![other.handle().clone()]).expect("asked for");
        for _ in 0..2 {
            assert_eq!(heard(&ear).await, "WATCHDOG=1");
        }
        let (go_on, wait) = mpsc::channel::<()>();
        let (hanging, hangs) = tokio::sync::oneshot::channel();
        other.spawn(async move {
            let _ = hanging.send(());
            let _ = wait.recv();
        });
        hangs.await.expect("it hangs");
        // What it said before, or was about to say.
        let _ = timeout(Duration::from_millis(100), async { while heard(&ear).await == "WATCHDOG=1" {} }).await;
        assert!(timeout(Duration::from_millis(200), heard(&ear)).await.is_err(), "it says that it lives");
        drop(go_on);
        assert_eq!(heard(&ear).await, "WATCHDOG=1");
        saying.abort();
        other.shutdown_background();
    }

    #[test]
    fn silence_is_limited_for_the_process_that_is_meant() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(silence(Some("1000000"), None, 7), second);
        assert_eq!(silence(Some("1000000"), Some("7"), 7), second);
        for (micros, process) in [(None, None), (Some("0"), None), (Some("x"), None), (Some("1000000"), Some("8"))] {
            assert_eq!(silence(micros, process, 7), None, "{micros:?} {process:?}");
        }
    }

    #[tokio::test]
    async fn a_name_without_a_file_is_a_socket_too() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("keyward-test-{}", std::process::id());
        let ear = Datagrams::bind_addr(&SocketAddr::from_abstract_name(&name).expect("a name")).expect("bound");
        let socket = connect(OsStr::new(&format!("@{name}"))).expect("connected");
        ServiceManager { socket: Some(Arc::new(socket)), silence: None }.starts().await;
        let mut words = [0; 64];
        let length = ear.recv(&mut words).expect("said");
        assert_eq!(&words[..length], b"STATUS=starts");
        assert_eq!(connect(OsStr::new("vsock:2:1234")).expect_err("unknown").kind(), io::ErrorKind::Unsupported);
    }
}
