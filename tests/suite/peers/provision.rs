//! Making a folder of `target/peers/` once, however many tests of however many processes want it at one time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder `target/peers/<name>`, made by `make` unless it was made for the same `wanted` before. The marker is
/// written last, so a folder that has it is whole; the lock is the system's, so it goes with the process that holds it.
pub fn provision(name: &str, wanted: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = root().join(name);
    let marker = folder.join("complete");
    let is_complete = || fs::read_to_string(&marker).is_ok_and(|text| text == wanted);
    if is_complete() {
        return folder;
    }
    fs::create_dir_all(root()).expect("target/peers");
    let lock = File::create(root().join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("locked");
    if !is_complete() {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
            _ => fs::create_dir_all(&folder).expect("the folder"),
        }
        make(&folder);
        fs::write(&marker, wanted).expect("the marker");
    }
    folder
}

/// A virtual environment with exactly these packages; answers with its interpreter.
pub fn environment(name: &str, requirements: &str) -> PathBuf {
    let folder = provision(name, requirements, |folder| {
        let list = folder.join("requirements.txt");
        fs::write(&list, requirements).expect("the list of packages");
        run(Command::new("python3").args(["-m", "venv"]).arg(folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--requirement"];
        run(Command::new(folder.join("bin/python")).args(pip).arg(list));
    });
    folder.join("bin/python")
}

/// Fails the test, with what the program said, unless it succeeds.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
}

/// Beside the folders of cargo itself, wherever it was told to have them.
fn root() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers")
}
