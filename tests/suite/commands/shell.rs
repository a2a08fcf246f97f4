//! What makes the program comfortable in a shell: completions, and the manual.

use std::process::{Command, Stdio};

use super::run;
use crate::harness::{Binary, folder};

const COMMANDS: [&str; 9] = ["dev", "serve", "check", "tour", "audit", "migrate", "plan", "completions", "man"];

#[test]
fn bash_completes_commands_options_and_values() {
    let (_folder, path) = folder();
    let script = path.join("completions");
    std::fs::write(&script, run(Binary::command().args(["completions", "bash"])).out).expect("written");
    let is_right = Command::new("bash").arg("-n").arg(&script).status().expect("bash runs");
    assert!(is_right.success());
    for (line, wanted) in [
        ("ser", vec!["serve"]),
        ("m", vec!["migrate", "man"]),
        ("serve --re", vec!["--ready-file"]),
        ("audit ver", vec!["verify"]),
        ("dev --log-format ", vec!["text", "json"]),
        ("completions z", vec!["zsh"]),
    ] {
        // As bash calls it: the words, the place of the one that is completed, that one, and the one before.
        let complete = "source \"$0\"; words=(keyward \"$@\"); COMP_WORDS=(\"${words[@]}\"); COMP_CWORD=$#; \
                        \"$(complete -p keyward | sed 's/.*-F \\([^ ]*\\).*/\\1/')\" keyward \"${words[-1]}\" \"${words[-2]}\"; \
                        printf '%s\\n' \"${COMPREPLY[@]}\"";
        let mut bash = Command::new("bash");
        bash.args(["-c", complete]).arg(&script).args(line.split(' '));
        let offered = run(&mut bash);
        assert_eq!(offered.out.lines().collect::<Vec<_>>(), wanted, "{line}: {}", offered.err);
    }
}

#[test]
fn other_shells_are_told_of_every_command() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let ran = run(Binary::command().args(["completions", shell]));
        let missing: Vec<_> = COMMANDS.iter().filter(|command| !ran.out.contains(**command)).collect();
        assert!(ran.code == 0 && missing.is_empty(), "{shell}: {missing:?}");
    }
    assert_eq!(run(Binary::command().args(["completions", "cmd"])).code, 2);
}

#[test]
fn the_manual_has_a_page_for_each_command_with_all_that_help_says() {
    let (_folder, path) = folder();
    let ran = run(Binary::command().args(["man", "--folder"]).arg(&path));
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let entries = std::fs::read_dir(&path).expect("listed").map(|entry| entry.expect("a page").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.sort();
    let mut wanted: Vec<_> = COMMANDS.iter().map(|command| format!("keyward-{command}.1")).collect();
    wanted.extend(["keyward.1".to_owned(), "keyward-audit-verify.1".to_owned()]);
    wanted.sort();
    assert_eq!(names, wanted);

    let main = run(Binary::command().arg("man")).out;
    assert_eq!(main, std::fs::read_to_string(path.join("keyward.1")).expect("the page"));
    let title = format!(".TH keyward 1 {} Keyward \"Keyward Manual\"\n", env!("CARGO_PKG_VERSION"));
    assert!(main.contains(&title), "{main}");
    for section in
        ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "SUBCOMMANDS", "EXAMPLES", "\"EXIT CODES\"", "ENVIRONMENT"]
    {
        assert!(main.contains(&format!(".SH {section}\n")), "{section} is not in\n{main}");
    }
    let is_typeset = Command::new("groff").arg("--version").stdout(Stdio::null()).status().is_ok();
    for name in names {
        let page = path.join(&name);
        let text = std::fs::read_to_string(&page).expect("the page");
        assert!(text.contains(".SH EXAMPLES"), "{name} has no examples");
        if is_typeset {
            let typeset = run(Command::new("groff").args(["-man", "-Tutf8", "-ww", "-Kutf8", "-P-cbou"]).arg(&page));
            assert_eq!((typeset.code, typeset.err.as_str()), (0, ""), "{name}");
            let ends = typeset.out.contains("EXAMPLES") && typeset.out.contains("keyward ");
            assert!(ends, "{name}: {}", typeset.out);
        }
    }
}
