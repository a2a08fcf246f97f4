//! Packages of npm, for programs of Node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::provision::{provision, run};

/// A copy of `script` in a folder that has exactly the packages of the lock file beside it; answers with the copy. They run
/// no code of theirs when they are installed. Fails the test where Node or npm is missing.
pub fn node_packages(name: &str, package: &str, lock: &str, script: &Path) -> PathBuf {
    for program in ["node", "npm"] {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok_and(|it| it.status.success()), "{program} is missing: these tests need Node 20 or later");
    }
    let text = fs::read_to_string(script).expect("a script");
    let folder = provision(name, &format!("{package}{lock}{text}"), |folder| {
        fs::write(folder.join("package.json"), package).expect("written");
        fs::write(folder.join("package-lock.json"), lock).expect("written");
        fs::write(folder.join("script.mjs"), &text).expect("written");
        let options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--silent"];
        run(Command::new("npm").args(options).current_dir(folder));
    });
    folder.join("script.mjs")
}
