//! Sockets that somebody else listens on for the broker, as systemd does.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::is_http_2;
use crate::harness::{Binary, folder};

#[tokio::test]
async fn callers_wait_while_it_is_started_anew_and_nobody_is_refused() {
    let (_folder, path) = folder();
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("an address");
    let early = TcpStream::connect(address).expect("queued");
    let broker = Binary::start(&mut started(&path, &address.to_string(), copy(&socket)));
    assert_eq!(broker.address, address.to_string());
    assert!(is_http_2(tcp(early)).await && is_http_2(tcp(TcpStream::connect(address).expect("connected"))).await);

    broker.signal("TERM");
    let (status, log) = tokio::task::spawn_blocking(|| broker.wait()).await.expect("waited for");
    assert_eq!(status.code(), Some(0), "{log}");
    let meanwhile = TcpStream::connect(address).expect("queued");
    let _broker = Binary::start(&mut started(&path, &address.to_string(), copy(&socket)));
    assert!(is_http_2(tcp(meanwhile)).await);
}

#[tokio::test]
async fn the_file_of_a_unix_socket_stays_where_it_was_made() {
    let (_folder, path) = folder();
    let file = path.join("keyward.sock");
    let socket = UnixListener::bind(&file).expect("bound");
    let broker = Binary::start(&mut started(&path, &format!("unix:{}", file.display()), copy(&socket)));
    let stream = UnixStream::connect(&file).expect("connected");
    stream.set_nonblocking(true).expect("set");
    assert!(is_http_2(tokio::net::UnixStream::from_std(stream).expect("a stream")).await);
    broker.signal("TERM");
    tokio::task::spawn_blocking(|| broker.wait()).await.expect("waited for");
    assert!(UnixStream::connect(&file).is_ok(), "it took away a file that is not its own");
}

#[tokio::test]
async fn one_that_is_not_listened_on_or_that_the_configuration_does_not_have_keeps_it_from_starting() {
    let (_folder, path) = folder();
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = socket.local_addr().expect("an address").to_string();
    let connected = TcpStream::connect(&address).expect("connected");
    let file = std::fs::File::open("/dev/null").expect("opened");
    for (socket, code, words) in [
        (copy(&socket), 2, format!("listen: must have {address}")),
        (OwnedFd::from(connected), 1, "descriptor 3: nobody listens on it".to_owned()),
        (OwnedFd::from(file), 1, "descriptor 3: must be a stream socket".to_owned()),
    ] {
        let output = output(&mut started(&path, "127.0.0.1:0", socket)).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(&words), "{said}");
    }
    let output = output(started(&path, &address, copy(&socket)).env("COUNT", "9")).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("LISTEN_FDS must be a number of at most 8"), "{said}");
}

#[tokio::test]
async fn what_was_handed_to_another_process_is_left_alone() {
    let (_folder, path) = folder();
    let socket = TcpListener::bind("127.0.0.1:0").expect("bound");
    let handed = socket.local_addr().expect("an address").to_string();
    let mut command = started(&path, "127.0.0.1:0", copy(&socket));
    let broker = Binary::start(command.env("FOR", "1"));
    assert_ne!(broker.address, handed);
}

/// `keyward serve` with `listen` and one socket at descriptor 3, as systemd starts it.
fn started(folder: &Path, listen: &str, socket: OwnedFd) -> Command {
    let (key, config) = (folder.join("master.key"), folder.join("keyward.toml"));
    if !key.exists() {
        keyward::embedded::MasterKey::generate_file(&key).expect("a master key");
    }
    let text = format!(
        "listen = {listen:?}\ndata_dir = {:?}\ncallers.trust_loopback = true\nembedded.master_key_file = {key:?}\n",
        folder.join("data")
    );
    std::fs::write(&config, text).expect("written");
    // The variables are the shell's own after it has become the program: only so it can know its process id.
    let hand_over =
        "exec 3<&0 0</dev/null; LISTEN_FDS=${COUNT:-1} LISTEN_PID=${FOR:-$$} exec \"$0\" serve --config \"$1\"";
    let mut command = Command::new("bash");
    command.args(["-c", hand_over, env!("CARGO_BIN_EXE_keyward")]).arg(config);
    command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET").stdin(Stdio::from(socket));
    command
}

/// What it says until it ends by itself, or serves for half a minute, which it should not.
async fn output(command: &mut Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let mut looks = crate::harness::pauses(Duration::from_millis(20));
    for _ in 0..1_500 {
        if child.try_wait().expect("asked for").is_some() {
            break;
        }
        looks.tick().await;
    }
    // It may have ended.
    let _ = child.kill();
    child.wait_with_output().expect("its output")
}

fn copy<S: std::os::fd::AsFd>(socket: &S) -> OwnedFd {
    socket.as_fd().try_clone_to_owned().expect("copied")
}

fn tcp(stream: TcpStream) -> tokio::net::TcpStream {
    stream.set_nonblocking(true).expect("set");
    tokio::net::TcpStream::from_std(stream).expect("a stream")
}
