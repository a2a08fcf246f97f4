//! rotel, a collector of OpenTelemetry, as PyPI has it: it takes spans by OTLP over gRPC and prints each of them.

use std::process::Command;

use super::process::Peer;
use super::provision::environment;

const REQUIREMENTS: &str = include_str!("rotel.txt");

impl Peer {
    /// A collector that sends nothing on.
    pub async fn rotel() -> Peer {
        let python = environment("rotel", REQUIREMENTS);
        // The package is the program itself, beside a few lines of Python.
        let place = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
        let said = Command::new(python).args(["-c", place]).output().expect("Python runs");
        let program = String::from_utf8(said.stdout).expect("a path");
        Peer::start("", |_, port| {
            let mut command = Command::new(program.trim());
            command.args(["start", "--otlp-grpc-endpoint", &format!("127.0.0.1:{port}")]);
            // It will have this one too. The system gives it a port that nobody asks for.
            command.args(["--otlp-http-endpoint", "127.0.0.1:0", "--exporter", "blackhole"]);
            command.args(["--debug-log", "traces", "--debug-log-verbosity", "detailed"]);
            command
        })
        .await
    }
}
