//! Policies that never come into force, and where it is said that they are wrong.

use super::*;

#[test]
fn what_is_wrong_is_told_by_file_and_line() {
    for (text, start) in [
        ("permit (principal, action, resource", "mine.cedar:1: "),
        ("\n\npermit (principal, action, resource) when { 1 + };", "mine.cedar:3: "),
        ("// a comment\npermit (principal, action == Keyward::Action::\"GetTokens\", resource);", "mine.cedar:2: "),
        ("permit (principal is Keyward::Client, action, resource);", "mine.cedar:1: "),
        ("permit (principal in Keyward::Role::\"admin\", action, resource);", "mine.cedar:1: "),
        ("permit (principal, action, resource)\nwhen { principal.tenant == resource };", "mine.cedar:2: "),
        ("permit (principal, action, resource)\nwhen { resource.getTag(\"env\") == \"prod\" };", "mine.cedar:2: "),
        ("permit (principal, action, resource)\nwhen { context.scope.contains(\"a\") };", "mine.cedar:2: "),
        (
            "permit (principal, action, resource)\nwhen { context.source.isInRange(ip(\"10.0.0.0/8\")) };",
            "mine.cedar:2: ",
        ),
        ("permit (principal, action, resource)\nwhen { ip(\"10.0.0.0/33\").isIpv4() };", "mine.cedar:2: "),
        ("permit (principal == ?principal, action, resource);", "mine.cedar: a template"),
        // It could never apply.
        ("permit (principal, action, resource)\nwhen { principal.proof == \"aws\" && false };", "mine.cedar:"),
        // It only looks like another text: the first letter is Cyrillic.
        ("permit (principal, action, resource)\nwhen { principal.proof == \"\u{0430}ws\" };", "mine.cedar:"),
    ] {
        let error = in_force(text, false).map(|_| ()).expect_err(text).to_string();
        assert!(error.starts_with(start) && !error.contains('\n'), "{text:?} gave {error:?}");
    }
}

#[test]
fn nothing_at_all_is_refused() {
    for text in ["", "// permit (principal, action, resource);"] {
        let error = in_force(text, true).map(|_| ()).expect_err("nobody could do anything").to_string();
        assert!(error.starts_with("mine.cedar: there must be 1 to 1000 policies"), "{error}");
    }
}

#[test]
fn too_many_policies_are_refused() {
    let many = "permit (principal in Keyward::Role::\"verifier\", action, resource);\n".repeat(1_001);
    let error = in_force(&many, true).map(|_| ()).expect_err("too many").to_string();
    assert!(error.contains("there must be 1 to 1000 policies, and there are 1001"), "{error}");
}

#[test]
fn places_without_policies_and_too_much_text_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = |path: &Path| {
        let origin = Origin { path: Some(path.to_owned()), replace_defaults: false };
        Permissions::open(origin).map(|_| ()).map_err(|error| error.to_string())
    };
    let path = folder.path();
    let wrong = |path: &Path| open(path).expect_err("refused");
    assert!(wrong(&path.join("nowhere")).contains("nowhere: cannot be read: "));
    assert!(wrong(path).contains("holds no file that ends with .cedar"));
    std::fs::write(path.join("notes.txt"), "permit").expect("written");
    std::fs::write(path.join(".hidden.cedar"), "permit").expect("written");
    assert!(wrong(path).contains("holds no file that ends with .cedar"));
    std::fs::write(path.join("good.cedar"), "permit (principal, action, resource);").expect("written");
    assert_eq!(open(path), Ok(()));
    assert_eq!(open(&path.join("good.cedar")), Ok(()));
    std::fs::write(path.join("long.cedar"), "// ".to_owned() + &"x".repeat(1 << 20)).expect("written");
    assert!(wrong(path).contains("long.cedar: is too long"));
    std::fs::write(path.join("long.cedar"), [0xff, 0xfe]).expect("written");
    assert!(wrong(path).contains("long.cedar: cannot be read: "));
    std::fs::remove_file(path.join("long.cedar")).expect("removed");
    for number in 0..100 {
        std::fs::write(path.join(format!("{number}.cedar")), "").expect("written");
    }
    assert!(wrong(path).contains("holds more than 100 files"));
}
