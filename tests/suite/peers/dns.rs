//! A name server: dnslib's, of PyPI, which takes DNS apart and puts it together, cuts what is too long for UDP, and answers over
//! TCP. What its zone says is the test's to write, and counts from the next question on.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::Peer;
use super::provision::environment;

const REQUIREMENTS: &str = include_str!("dns.txt");
const SCRIPT: &str = include_str!("dns.py");

pub struct NameServer {
    peer: Peer,
    folder: TempDir,
}

impl NameServer {
    /// One that knows no names.
    pub async fn start() -> Self {
        let python = environment("dns", REQUIREMENTS);
        let folder = tempfile::tempdir().expect("a folder");
        let (script, zone) = (folder.path().join("dns.py"), folder.path().join("zone"));
        std::fs::write(&script, SCRIPT).expect("written");
        std::fs::write(&zone, "").expect("written");
        let peer = Peer::start("", |_, port| {
            let mut command = Command::new(&python);
            command.arg(&script).arg(port.to_string()).arg(&zone);
            command
        })
        .await;
        NameServer { peer, folder }
    }

    /// Its address with its port.
    pub fn address(&self) -> String {
        self.peer.endpoint.trim_start_matches("http://").to_owned()
    }

    /// What it knows from now on, as a zone file.
    pub fn knows(&self, zone: &str) {
        // Whole or not at all, as somebody may ask meanwhile.
        let new: PathBuf = self.folder.path().join("new");
        std::fs::write(&new, zone).expect("written");
        std::fs::rename(new, self.folder.path().join("zone")).expect("put in place");
    }

    /// It says that it failed, whatever it is asked.
    pub fn fails(&self) {
        self.knows("SERVFAIL");
    }

    /// It says nothing.
    pub fn is_silent(&self) {
        self.knows("SILENT");
    }
}
