//! The image: nothing is in it but what the program needs, and the program runs there as it is run in a container: as
//! nobody's user, with a root that cannot be written. Docker itself is not asked, since that needs a daemon; what the image
//! is made of is laid out by the same script, from the program that was built for the tests.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward::embedded::MasterKey;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Binary, folder};

const DOCKERFILE: &str = include_str!("../../../deploy/container/Dockerfile");
const USER: u32 = 65_532;

#[test]
fn it_holds_the_program_its_libraries_and_nothing_else() {
    let (_folder, root) = laid_out();
    let (libraries, others): (Vec<_>, Vec<_>) = files(&root).into_iter().partition(|file| file.contains(".so"));
    assert_eq!(
        others,
        ["/etc/group", "/etc/nsswitch.conf", "/etc/passwd", "/etc/ssl/certs/ca-certificates.crt", "/usr/bin/keyward"]
    );
    let linked = Command::new("ldd").arg(env!("CARGO_BIN_EXE_keyward")).output().expect("ldd runs");
    let linked = String::from_utf8(linked.stdout).expect("UTF-8");
    let linked: BTreeSet<_> =
        linked.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned).collect();
    assert_eq!(libraries.into_iter().collect::<BTreeSet<_>>(), linked);
    // glibc, its loader and the unwinder: whatever else it is one day linked with is seen here first.
    assert!(linked.len() <= 4, "{linked:?}");
    assert!(DOCKERFILE.contains("\nFROM scratch\n") && DOCKERFILE.contains(&format!("\nUSER {USER}:{USER}\n")));
    assert!(
        DOCKERFILE.contains("ENTRYPOINT [\"/usr/bin/keyward\"]\n") && DOCKERFILE.contains("\nSTOPSIGNAL SIGTERM\n")
    );
}

#[tokio::test]
async fn the_program_serves_in_it_as_nobodys_user_with_a_root_that_cannot_be_written() {
    let (_folder, root) = laid_out();
    let (etc, data) = (root.join("etc/keyward"), root.join("var/lib/keyward"));
    std::fs::create_dir(&etc).expect("a folder");
    MasterKey::generate_file(&etc.join("master.key")).expect("a key");
    let text = "listen = \"127.0.0.1:0\"\ndata_dir = \"/var/lib/keyward\"\ncallers.trust_loopback = true\n\
                embedded.master_key_file = \"/etc/keyward/master.key\"\n";
    std::fs::write(etc.join("keyward.toml"), text).expect("written");
    let is_root = rustix::process::geteuid().is_root();
    let user = if is_root {
        chown(&data, Some(USER), Some(USER)).expect("given away");
        // As Kubernetes hands a secret to a pod with an fsGroup: root's, for a group to read.
        chown(etc.join("master.key"), None, Some(USER)).expect("given to a group");
        std::fs::set_permissions(etc.join("master.key"), Permissions::from_mode(0o440)).expect("set");
        format!("--userspec={USER}:{USER}")
    } else {
        "--userspec=0:0".to_owned()
    };
    // A root of its own that cannot be written, but for a volume.
    let enter = "set -e; mount --bind \"$0\" \"$0\"; mount --bind \"$0/var/lib/keyward\" \"$0/var/lib/keyward\"; \
                 mount -o remount,ro,bind \"$0\"; exec chroot \"$1\" \"$0\" /usr/bin/keyward serve --config /etc/keyward/keyward.toml";
    let mut command = Command::new("unshare");
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "--propagation", "private", "sh", "-c", enter]).arg(&root).arg(user).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let broker = Binary::start(&mut command);
    let answer = HealthClient::new(broker.channel().await).check(HealthCheckRequest::default()).await;
    assert_eq!(answer.expect("answered").into_inner().status(), ServingStatus::Serving);
    let status = std::fs::read_to_string(format!("/proc/{}/mountinfo", broker.id()));
    if let Ok(mounts) = status {
        assert!(mounts.lines().any(|mount| mount.contains(" / ro,")), "its root can be written:\n{mounts}");
    }
    broker.signal("TERM");
    let (status, log) = tokio::task::spawn_blocking(|| broker.wait()).await.expect("waited for");
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(data.join("keyward.db").exists(), "its data is elsewhere");
}

/// The root of an image with the program under test.
fn laid_out() -> (tempfile::TempDir, PathBuf) {
    let (folder, path) = folder();
    let root = path.join("image");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/container/lay-out");
    let output = Command::new(script).arg(env!("CARGO_BIN_EXE_keyward")).arg(&root).output().expect("it runs");
    assert!(output.status.success(), "{output:?}");
    // So that another user can come to it.
    std::fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("set");
    (folder, root)
}

/// All files below, in order, as they are seen from there.
fn files(root: &Path) -> BTreeSet<String> {
    let (mut found, mut folders) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(format!("/{}", path.strip_prefix(root).expect("below").display()));
            }
        }
    }
    found
}
